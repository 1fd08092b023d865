"""Recipes as plain values, such as JSON and TOML hold, and back: strict, with a hint for each misspelt name."""

import difflib
import types
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from importlib import import_module
from typing import Any, Union, get_args, get_origin, get_type_hints

from deblur_cli.host.checks import DeclarationError, is_int, is_number
from deblur_cli.host.recipes import Recipe, Term
from deblur_cli.host.schedules import SCHEDULES, Schedule
from deblur_cli.host.strategies import STRATEGIES, Strategy

Values = dict[str, Any]  # `Any`: text, numbers, booleans, arrays and tables


def as_values(recipe: Recipe) -> Values:
    """A recipe as values: what is None is left out, the loss is a table by name, kinds are named by `kind`."""
    return _table(recipe) | {"loss": {term.loss: _term(term) for term in recipe.terms}}


def from_values(values: Mapping[str, Any]) -> Recipe:
    """The recipe that values stand for; what is left out has its default. A text does for a kind, or for a loss.

    Raises
    ------
    DeclarationError : a name is unknown or a value is not of the type or range it must be; it says where
    """
    loss = values.get("loss")
    rest = {name: value for name, value in values.items() if name != "loss"}
    given: Values = {} if loss is None else {"loss": loss if isinstance(loss, str) else _terms(loss)}
    _refuse_unknown("recipe", values, [item.name for item in fields(Recipe)])
    return Recipe(**given, **_fields(Recipe, rest, where="recipe"))


def _table(value: Any) -> Values:
    kind = {"kind": kind_of(value)} if isinstance(value, Schedule | Strategy) else {}
    return kind | {
        item.name: _plain(getattr(value, item.name))
        for item in fields(value)
        if getattr(value, item.name) is not None
    }


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return value.value
    if is_dataclass(value):
        return _table(value)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def kind_of(value: Schedule | Strategy) -> str:
    """What values call the kind: its short name, or the import path of a plugin's own."""
    own = type(value)
    return own.kind if own in (*SCHEDULES, *STRATEGIES) else f"{own.__module__}:{own.__qualname__}"


def _term(term: Term) -> Values:
    return {"weight": term.weight, "scales": str(term.scales), **term.options}


def _terms(loss: Any) -> tuple[Term, ...]:
    if not isinstance(loss, Mapping):
        raise DeclarationError(f"recipe.loss is {loss!r}; it must be the name of a loss, or a table of them")
    terms = []
    for name, settings in loss.items():
        if is_number(settings):
            settings = {"weight": settings}
        if not isinstance(settings, Mapping):
            raise DeclarationError(f"recipe.loss.{name} is {settings!r}; it must be a weight, or a table")
        own = {key: value for key, value in settings.items() if key in ("weight", "scales")}
        options = {key: value for key, value in settings.items() if key not in own}
        terms.append(Term(loss=name, options=options, **_fields(Term, own, where=f"recipe.loss.{name}")))
    return tuple(terms)


def _fields(kind: type, values: Mapping[str, Any], *, where: str) -> Values:
    """The keywords of a declaration, each converted to the type that its field says."""
    known = get_type_hints(kind)
    names = [item.name for item in fields(kind)]
    _refuse_unknown(where, values, names)
    return {name: _value(known[name], value, where=f"{where}.{name}") for name, value in values.items()}


def _value(hint: Any, value: Any, *, where: str) -> Any:
    """A plain value as the type that a field says."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(choice for choice in get_args(hint) if choice is not type(None))
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise DeclarationError(f"{where} is {value!r}; it must be an array of numbers")
        return tuple(_value(float, item, where=where) for item in value)
    if get_origin(hint) is not None:  # a Mapping of options
        if not isinstance(value, Mapping):
            raise DeclarationError(f"{where} is {value!r}; it must be a table")
        return dict(value)
    if hint is Schedule or hint is Strategy:
        return _of_kind(hint, value, where=where)
    if isinstance(hint, type) and is_dataclass(hint):
        if not isinstance(value, Mapping):
            names = ", ".join(item.name for item in fields(hint))
            raise DeclarationError(f"{where} is {value!r}; it has parts of its own: {names}")
        return hint(**_fields(hint, value, where=where))
    return _simple(hint, value, where=where)


def _simple(hint: Any, value: Any, *, where: str) -> Any:
    if hint is float and is_number(value):
        return float(value)
    if issubclass(hint, StrEnum):
        choices = [str(choice) for choice in hint]
        if value not in choices:
            raise DeclarationError(
                f"{where} is {value!r}; it must be one of {', '.join(choices)}{near(value, choices)}"
            )
        return hint(value)
    if hint is int and is_int(value):
        return value
    if hint not in (int, float) and type(value) is hint:
        return value
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    raise DeclarationError(f"{where} is {value!r}; it must be {names[hint]}")


def _of_kind(base: type, value: Any, *, where: str) -> Any:
    """A schedule or strategy: a kind alone, or a table with `kind` and its fields."""
    kinds: dict[str, type] = {item.kind: item for item in (SCHEDULES if base is Schedule else STRATEGIES)}
    table = {"kind": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping) or not isinstance(table.get("kind"), str):
        raise DeclarationError(
            f"{where} is {value!r}; it must be one of {', '.join(kinds)}, or a table with a kind"
        )
    name = table["kind"]
    kind = _imported(base, name, where=where) if ":" in name else kinds.get(name)
    if kind is None:
        raise DeclarationError(
            f"{where} is {name!r}; it must be one of {', '.join(kinds)}{near(name, kinds)}"
        )
    rest = {key: item for key, item in table.items() if key != "kind"}
    return kind(**_fields(kind, rest, where=where))


def _imported(base: type, path: str, *, where: str) -> type:
    """A plugin's own kind, by its import path."""
    module, _, name = path.partition(":")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise DeclarationError(f"{where} is {path!r}, which cannot be imported: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise DeclarationError(f"{where} is {path!r}, which is no {base.__name__}")
    return kind


def _refuse_unknown(where: str, values: Mapping[str, Any], known: Iterable[str]) -> None:
    names = list(known)
    for name in values:
        if name not in names:
            raise DeclarationError(f"{where} has no {name!r}; it has: {', '.join(names)}{near(name, names)}")


def near(name: object, known: Iterable[str]) -> str:
    """ "; did you mean ...?" where a known name is close, else nothing."""
    found = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""
