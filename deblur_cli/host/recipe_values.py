"""Recipes as plain values, such as JSON and TOML hold, and back: strict, with a hint for each misspelt name."""

import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from deblur_cli.host.checks import TYPE_WORDS, DeclarationError, is_int, is_number, near, near_or_all
from deblur_cli.host.declarations import import_object
from deblur_cli.host.optimizers import Optimizer
from deblur_cli.host.recipes import Recipe, Term
from deblur_cli.host.schedules import SCHEDULES, EarlyStopping, Schedule
from deblur_cli.host.strategies import STRATEGIES, Strategy

Values = dict[str, Any]  # `Any`: text, numbers, booleans, arrays and tables

D = TypeVar("D")

NONE = "none"
"""What stands for None, which neither TOML nor a command line knows."""


def as_values(recipe: Recipe) -> Values:
    """A recipe as values: what is None by default is left out, the loss is a table by name, kinds are named by `kind`."""
    return _table(recipe) | {"loss": {term.loss: _term(term) for term in recipe.terms}}


def from_values(values: Mapping[str, Any]) -> Recipe:
    """The recipe that values stand for; what is left out has its default. A text does for a kind, or for a loss.

    Raises
    ------
    DeclarationError : a name is unknown or a value is not of the type or range it must be; it says where
    """
    rest = {name: value for name, value in values.items() if name != "loss"}
    given: Values = {"loss": _loss(values["loss"])} if "loss" in values else {}
    return Recipe(**given, **_fields(Recipe, rest, where=""))


def kind_of(value: Schedule | Strategy) -> str:
    """What values call the kind: its short name, or the import path of a plugin's own."""
    return _kind_name(type(value))


def _kind_name(own: type[Schedule | Strategy]) -> str:
    return own.kind if own in (*SCHEDULES, *STRATEGIES) else f"{own.__module__}:{own.__qualname__}"


def names_of(declaration: type) -> list[str]:
    """The names that the values of a declaration may have."""
    kind = ["kind"] if issubclass(declaration, Schedule | Strategy) else []
    return kind + [item.name for item in fields(declaration)]


def part_of(declaration: type, name: str, value: object) -> type | None:
    """What the values of a field stand for: a declaration; `dict` for a table of any names; None for a single value.

    value : of the field, from which the kind of a schedule or strategy is known
    """
    hint = _required(get_type_hints(declaration)[name])
    if _has_kinds(hint):
        return _kind(hint, value.get("kind") if isinstance(value, Mapping) else value, where=name)
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    return dict if _is_table(hint) else None


def refuse_unknown(declaration: type, name: str, *, where: str) -> None:
    """Raise DeclarationError for a name that a declaration does not have, with what may have been meant.

    where : the declaration's own place in the recipe, "" for the recipe itself
    """
    known = names_of(declaration)
    if name in known:
        return
    owner, hint = where or "a recipe", near_or_all(name, known)
    if declaration is Recipe:
        deeper = [f"{part}.{name}" for part, kinds in _PARTS.items() if _having(name, kinds)]
        hint = f"; did you mean {' or '.join(deeper)}?" if deeper else hint
    elif issubclass(declaration, Schedule | Strategy):
        kinds: Iterable[type[Schedule | Strategy]] = (
            SCHEDULES if issubclass(declaration, Schedule) else STRATEGIES
        )
        others = _having(name, kinds)
        owner = f"{where}={_kind_name(declaration)}"
        hint = f"; it belongs to {' and '.join(map(_kind_name, others))}" if others else hint
    raise DeclarationError(f"{owner} has no {name!r}{hint}")


_PARTS: dict[str, Iterable[type]] = {
    "optimizer": (Optimizer,),
    "schedule": SCHEDULES,
    "strategy": STRATEGIES,
    "early_stopping": (EarlyStopping,),
}


def _having(name: str, kinds: Iterable[type[D]]) -> list[type[D]]:
    return [kind for kind in kinds if name in names_of(kind)]


def _table(value: Any) -> Values:
    kind = {"kind": kind_of(value)} if isinstance(value, Schedule | Strategy) else {}
    found = {item: getattr(value, item.name) for item in fields(value)}
    return kind | {
        item.name: NONE if part is None else _plain(part)
        for item, part in found.items()
        if part is not None or _default(item) is not None
    }


def _default(item: "Field[Any]") -> object:
    return item.default_factory() if callable(item.default_factory) else item.default


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return value.value
    if is_dataclass(value):
        return _table(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _term(term: Term) -> Values:
    return {"weight": term.weight, "scales": str(term.scales), **_plain(term.options)}


def _loss(value: Any) -> str | tuple[Term, ...]:
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        raise DeclarationError(f"loss is {value!r}; it must be the name of a loss, or a table of them")
    terms = []
    for name, settings in value.items():
        if is_number(settings):
            settings = {"weight": settings}
        if not isinstance(settings, Mapping):
            raise DeclarationError(f"loss.{name} is {settings!r}; it must be a weight, or a table")
        own = {key: item for key, item in settings.items() if key in ("weight", "scales")}
        options = {key: item for key, item in settings.items() if key not in own}
        terms.append(Term(loss=name, options=options, **_fields(Term, own, where=f"loss.{name}")))
    return tuple(terms)


def _made(declaration: type, values: Mapping[str, Any], *, where: str) -> Any:
    """A part of a recipe from its values."""
    given = _fields(declaration, values, where=where)
    for item in fields(declaration):
        if item.name not in given and _default(item) is MISSING:
            raise DeclarationError(f"{where} needs {where}.{item.name}")
    try:
        return declaration(**given)
    except DeclarationError:
        raise
    except Exception as error:  # a stranger's code may raise anything
        raise DeclarationError(f"{where}: {type(error).__name__}: {error}") from error


def _fields(declaration: type, values: Mapping[str, Any], *, where: str) -> Values:
    """The keywords of a declaration, each converted to the type that its field says."""
    for name in values:
        refuse_unknown(declaration, name, where=where)
    hints = get_type_hints(declaration)
    start = f"{where}." if where else ""
    return {name: _value(hints[name], value, where=start + name) for name, value in values.items()}


def _value(hint: Any, value: Any, *, where: str) -> Any:
    """A plain value as the type that a field says."""
    if value == NONE and type(None) in get_args(hint):
        return None
    hint = _required(hint)
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise DeclarationError(f"{where} is {value!r}; it must be an array, such as [0.9, 0.99]")
        return tuple(_value(get_args(hint)[0], item, where=where) for item in value)
    if _has_kinds(hint):
        return _of_kind(hint, value, where=where)
    if isinstance(hint, type) and is_dataclass(hint):
        if not isinstance(value, Mapping):
            names = ", ".join(f"{where}.{name}" for name in names_of(hint))
            raise DeclarationError(f"{where} is {value!r}; set a part of it: {names}")
        return _made(hint, value, where=where)
    if _is_table(hint) and not isinstance(value, Mapping):
        raise DeclarationError(f"{where} is {value!r}; it must be a table")
    return _simple(hint, value, where=where)


def _required(hint: Any) -> Any:
    """The type of a field that may also be None; the first where there are several."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(choice for choice in get_args(hint) if choice is not type(None))
    return hint


def _has_kinds(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Schedule | Strategy)


def _is_table(hint: Any) -> bool:
    kind = get_origin(hint) or hint
    return isinstance(kind, type) and issubclass(kind, Mapping)


def _simple(hint: Any, value: Any, *, where: str) -> Any:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        choices = [str(choice) for choice in hint]
        if value not in choices:
            raise DeclarationError(
                f"{where} is {value!r}; it must be one of {', '.join(choices)}{near(value, choices)}"
            )
        return hint(value)
    if hint not in TYPE_WORDS:  # a plugin's own type, which it checks itself
        return value
    if hint is float and is_number(value):
        if abs(value) <= sys.float_info.max:
            return float(value)
        raise DeclarationError(f"{where} is {value!r}; it must be a finite number")
    if is_int(value) if hint is int else type(value) is hint and hint is not float:
        return value
    raise DeclarationError(f"{where} is {value!r}; it must be {TYPE_WORDS[hint]}")


def _of_kind(base: type, value: Any, *, where: str) -> Any:
    """A schedule or strategy: a kind alone, or a table with `kind` and its fields."""
    table = value if isinstance(value, Mapping) else {"kind": value}
    kind = _kind(base, table.get("kind"), where=where)
    return _made(kind, {key: item for key, item in table.items() if key != "kind"}, where=where)


def _kind(base: type, name: object, *, where: str) -> type:
    """The class that a kind names: by its short name, or by its import path where it is a plugin's own."""
    every: tuple[type[Schedule | Strategy], ...] = (*SCHEDULES, *STRATEGIES)
    kinds = {item.kind: item for item in every if issubclass(item, base)}
    if isinstance(name, str) and (name in kinds or ":" in name):
        return kinds.get(name) or _imported(base, name, where=where)
    raise DeclarationError(
        f"{where} is {name!r}; it must be one of {', '.join(kinds)}, or the import path of a plugin's own"
        f"{near(name, kinds)}"
    )


def _imported(base: type, path: str, *, where: str) -> type:
    try:
        found = import_object(path)
    except Exception as error:  # a stranger's code may raise anything
        raise DeclarationError(
            f"{where} is {path!r}, which cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise DeclarationError(f"{where} is {path!r}, which is no {base.__name__}")
    return found
