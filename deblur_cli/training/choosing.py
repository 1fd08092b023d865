"""Which recipe a training takes: one of the model's own or a file, with the user's changes."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deblur_cli.blur.overrides import apply_overrides
from deblur_cli.errors import MissingError, UsageError
from deblur_cli.host.checks import DeclarationError
from deblur_cli.host.declarations import Model
from deblur_cli.host.recipe_values import as_values, from_values
from deblur_cli.host.recipes import Recipe


def choose_recipe(
    model: Model, name: str | None, settings: Sequence[str]
) -> tuple[str, Recipe, Mapping[str, Any]]:
    """The recipe's name, the recipe, and the network's options.

    Parameters
    ----------
    name : of one of the model's recipes, or a .toml file; None = the model's first
    settings : changes, each "KEY.KEY=VALUE": "epochs=20", "optimizer.lr=2e-4", "model.depth=5"

    Raises
    ------
    MissingError : there is no such recipe or file
    UsageError : a change has an unknown name or a value that does not fit
    """
    found = name or next(iter(model.recipes), None)
    if found is None:
        raise MissingError(f"model {model.name} declares no recipe, so it cannot be trained")
    document = _read(model, found)
    apply_overrides(document, settings)
    options = document.pop("model", {})
    try:
        return found, from_values(document), model.resolve_options(options)
    except DeclarationError as error:
        raise UsageError(str(error)) from error


def _read(model: Model, name: str) -> dict[str, Any]:
    if name in model.recipes:
        return as_values(model.recipes[name])
    path = Path(name)
    if path.suffix != ".toml" and not path.is_file():
        raise MissingError(f"model {model.name} has no recipe {name!r}; it has: {', '.join(model.recipes)}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingError(f"recipe {name} does not exist") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"recipe {name} cannot be read: {error}") from error
