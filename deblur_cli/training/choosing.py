"""Which recipe a training takes: one of the model's own or a file, with the user's changes."""

import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deblur_cli.blur.toml_writer import toml_document
from deblur_cli.errors import DeblurError, MissingError, UsageError
from deblur_cli.host.checks import DeclarationError, near_or_all
from deblur_cli.host.declarations import Model
from deblur_cli.host.manager import Host
from deblur_cli.host.recipe_values import Values, as_values, from_values
from deblur_cli.host.recipes import Recipe, Term
from deblur_cli.training.changes import Change

RECIPE_FILE = "recipe.toml"
"""What a run folder calls its recipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A recipe, and all options of the network. name : of one of the model's recipes, or a file"""

    name: str
    recipe: Recipe
    options: Mapping[str, Any]

    def as_values(self) -> Values:
        """As a recipe file holds it."""
        return as_values(self.recipe) | {"model": dict(self.options)}


def choose_recipe(host: Host, model: Model, name: str | None, settings: Sequence[str]) -> Choice:
    """The recipe and the network's options that a user asks for.

    Parameters
    ----------
    name : of one of the model's recipes, a .toml file, or a run folder, which holds one; None = the model's first
    settings : changes, each "KEY.KEY=VALUE": "epochs=20", "optimizer.lr=2e-4", "model.depth=5"

    Raises
    ------
    MissingError : there is no such recipe, file or loss
    UsageError : a name is unknown, or a value does not fit
    """
    found = name or next(iter(model.recipes), None)
    if found is None:
        raise MissingError(
            f"model {model.name} declares no recipe; give one in a file with --recipe FILE.toml"
        )
    values = _read(model, found)
    try:
        chosen = _resolve(host, model, found, values)
    except DeblurError as error:
        raise type(error)(f"recipe {found}: {error}") from error
    return change_recipe(host, model, chosen, settings)


def change_recipe(host: Host, model: Model, chosen: Choice, settings: Sequence[str]) -> Choice:
    """A recipe with a user's changes. Parameters and errors are those of `choose_recipe`."""
    values, errors = chosen.as_values(), []
    changes = sorted(map(Change.parse, settings), key=lambda change: change.order)
    for change in changes:
        change.apply(values)
        try:
            chosen = _resolve(host, model, chosen.name, values)
        except DeblurError as error:
            errors.append((change, error))
        else:
            errors.clear()  # one change may mend what another broke: accumulate=8 batch_size=64
    if errors:  # what is wrong in the end, and with which change it came
        last = errors[-1][1]
        change = next(change for change, error in errors if str(error) == str(last))
        raise type(last)(f"--set {change.text}: {last}") from last
    return chosen


def recipe_text(values: Values, *, model: str) -> str:
    """A recipe as the text of a .toml file. values : as `Choice.as_values` gives them; model : the network's name"""
    comment = f"# To train by this: deblur train --data NAME -m {model} --recipe FILE\n"
    return comment + toml_document(values, nested=True)


def _read(model: Model, name: str) -> Values:
    """The values of a recipe, as they stand there."""
    if name in model.recipes:
        return as_values(model.recipes[name])
    path = Path(name)
    file = path / RECIPE_FILE if path.is_dir() else path
    if file == path and path.suffix != ".toml" and not path.is_file():
        raise MissingError(f"model {model.name} has no recipe {name!r}{near_or_all(name, model.recipes)}")
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingError(f"there is no {file}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error


def _resolve(host: Host, model: Model, name: str, values: Values) -> Choice:
    """The recipe that values stand for, and the options of the network in their table `model`."""
    rest = deepcopy(values)
    options = rest.pop("model", {})
    try:
        recipe = from_values(rest)
        if not isinstance(options, Mapping):
            raise DeclarationError(f"model is {options!r}; it must be a table of the network's options")
        terms = tuple(_with_all_options(host, term) for term in recipe.terms)
        return Choice(name=name, recipe=replace(recipe, loss=terms), options=model.resolve_options(options))
    except DeclarationError as error:
        raise UsageError(str(error).removeprefix("recipe.")) from error


def _with_all_options(host: Host, term: Term) -> Term:
    """A term that says what it leaves to the loss's defaults, so that a saved recipe stays what it was."""
    declared = host.loss(term.loss)
    for option in term.options:
        if option not in declared.options:
            known = ["weight", "scales", *declared.options]
            raise DeclarationError(f"loss.{term.loss} has no {option!r}{near_or_all(option, known)}")
    return replace(term, options=declared.resolve_options(term.options))
