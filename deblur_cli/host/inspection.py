"""What can be known about a declared model without importing torch: where its files lie, and whether they are there."""

import ast
import json
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deblur_cli.host.checks import is_int, is_number
from deblur_cli.host.declarations import Model, Weights

_HERE = Path(__file__).parent.parent
_RELEASED = (_HERE / "_released", _HERE.parent / "weights")  # installed, and in a checkout

_MOST_HEADER_BYTES = 100_000_000  # safetensors' own limit


def released_path(model: Model, weights: Weights) -> Path | None:
    """Where a declared weights file lies: beside the plugin's package, or in the released weights; None if nowhere."""
    package = _source(model.network.partition(":")[0].partition(".")[0])
    beside = [package.parent, package.parent / "weights"] if package else []
    return _first(weights.file, (*beside, *_RELEASED))


def winners() -> dict[str, str]:
    """What the aliases "fast" and "best" stand for, NAME.TAG, decided by measuring; see `deblur_cli.evaluation.winners`."""
    path = _first("winners.json", _RELEASED)
    if path is None:
        return {}
    return {alias: won["weights"] for alias, won in json.loads(path.read_text(encoding="utf-8")).items()}


def _first(file: str, folders: Iterable[Path]) -> Path | None:
    return next((folder / file for folder in folders if (folder / file).is_file()), None)


def problems(model: Model) -> tuple[str, ...]:
    """What is visibly wrong with a model: weights that are not there, a network that cannot be found.

    A network that is there and fails when it is built shows only in `deblur plugins check`, which imports torch.
    """
    missing = [
        f"weights file {weights.file} is missing"
        for weights in model.weights
        if weights.url is None and released_path(model, weights) is None
    ]
    network = missing_network(model.network)
    return (network, *missing) if network else tuple(missing)


def missing_network(path: str) -> str | None:
    """Why the import path cannot lead anywhere, or None if it may."""
    module, _, name = path.partition(":")
    source = _source(module)
    if source is None:
        return f"network {path}: there is no module {module}"
    if source.suffix != ".py":
        return None
    try:
        names = _names(source.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        return f"network {path}: {source.name} cannot be read as Python ({error})"
    if name.partition(".")[0] in names or names & {"*", "__getattr__"}:
        return None
    return f"network {path}: {source.name} defines no {name}"


def _source(module: str) -> Path | None:
    """The file of a module, found without importing it (but for the packages it lies in)."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
        return Path(file) if file else None
    try:
        spec = find_spec(module)
    except (Exception, SystemExit):  # a stranger's package is imported on the way, and may do anything
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


@cache  # the networks of a family share their module
def _names(source: bytes) -> frozenset[str]:
    """Every name that the module may bind at its top level. Raises SyntaxError or ValueError."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
    return frozenset(names)


def stated_header(path: Path) -> Mapping[str, Any]:
    """What a weights file says of itself, read without torch: licence, a text, and scores, complete ones alone.

    Empty where it cannot be read: whether the file is sound is asked when it is used.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")  # safetensors: length, JSON header, tensors
            header = json.loads(file.read(size)) if size <= _MOST_HEADER_BYTES else {}
        stated = json.loads(header["__metadata__"]["deblur"])
        licence, scores = stated.get("licence"), stated.get("scores", [])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {
        "licence": licence if isinstance(licence, str) else None,
        "scores": [score for score in scores if _is_score(score)] if isinstance(scores, list) else [],
    }


def _is_score(score: Any) -> bool:
    """Whether it has what is shown of it."""
    try:
        figures = (*score["blurry"].values(), *score["restored"].values())
        texts = (score["data"], score["split"])
        return (
            all(isinstance(text, str) for text in texts)
            and is_int(score["pictures"])
            and all(value is None or is_number(value) for value in figures)
        )
    except (KeyError, TypeError, AttributeError):
        return False
