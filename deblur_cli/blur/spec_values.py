"""What a spec says of one parameter: a value, or a distribution, checked against the parameter's range."""

from collections.abc import Mapping
from enum import StrEnum

from deblur_cli.blur.describe import Parameter
from deblur_cli.blur.distributions import (
    Choice,
    Constant,
    Cycle,
    Distribution,
    Integers,
    LogUniform,
    Normal,
    Uniform,
    Value,
)
from deblur_cli.blur.spec_table import is_number, is_whole, nearest, shown
from deblur_cli.errors import UsageError

# The forms, each with what may stand beside it.
_FORMS = {
    "uniform": "",
    "log_uniform": "",
    "integers": "step",
    "choice": "weights",
    "normal": "within",
    "cycle": "",
}


def read_distribution(value: object, parameter: Parameter) -> Distribution:
    """The distribution that a TOML value stands for.

    Raises
    ------
    UsageError : says which rule it breaks, but not where
    """
    if not isinstance(value, Mapping):
        distribution: Distribution = Constant(_value(value, parameter))
    else:
        distribution = _form(value, parameter)
    if parameter.kind in (int, float):
        for extreme in distribution.extremes():
            if not parameter.limits.allow(float(extreme)):
                raise UsageError(f"{float(extreme):.15g} must be {parameter.limits.text()}")
    return distribution


def _form(table: Mapping[str, object], parameter: Parameter) -> Distribution:
    form = _name_of(table)
    argument, beside = table[form], table.get(_FORMS[form])
    if form in ("choice", "cycle"):
        if not isinstance(argument, list):
            raise UsageError(f"{form} must be an array of values")
        values = tuple(_value(item, parameter) for item in argument)
        return Cycle(values) if form == "cycle" else Choice(values, _weights(beside))
    if parameter.kind not in (int, float):
        raise UsageError(
            f"{form} gives numbers; it must be {_wanted(parameter)}, or a choice or cycle of them"
        )
    if form == "integers":
        low, high = _two(form, "[low, high]", argument)
        step = 1 if beside is None else beside
        if not (is_whole(low) and is_whole(high) and is_whole(step)):
            raise UsageError("integers, and their step, must be whole numbers")
        return Integers(low, high, step)
    if parameter.kind is int:
        raise UsageError(f"{form} gives fractions; use integers, choice or cycle")
    if form == "normal":
        mean, sd = _two(form, "[mean, sd]", argument)
        if beside is None:
            raise UsageError("normal needs within = [low, high]")
        low, high = _two("within", "[low, high]", beside)
        return Normal(float(mean), float(sd), float(low), float(high))
    low, high = _two(form, "[low, high]", argument)
    return (Uniform if form == "uniform" else LogUniform)(float(low), float(high))


def _name_of(table: Mapping[str, object]) -> str:
    """Which form a table has."""
    found = [key for key in table if key in _FORMS]
    if not found:
        written = ", ".join(f'"{key}"' for key in table) or "an empty table"
        hint = nearest(next(iter(table), ""), _FORMS) or f"; there are {', '.join(_FORMS)}"
        raise UsageError(f"{written} is no distribution{hint}")
    if len(found) > 1:
        raise UsageError(f"{' and '.join(found)} are two distributions; keep one")
    for key in table:
        if key not in (found[0], _FORMS[found[0]]):
            beside = f"beside it only {_FORMS[found[0]]}" if _FORMS[found[0]] else "nothing beside it"
            raise UsageError(f'{found[0]} takes {beside}, not "{key}"')
    return found[0]


def _value(value: object, parameter: Parameter) -> Value:
    """A single value as the parameter's own type."""
    kind = parameter.kind
    if kind is float and is_number(value):
        return float(value)
    if kind is int and is_whole(value):
        return value
    if kind is bool and isinstance(value, bool):
        return value
    if isinstance(value, str) and issubclass(kind, StrEnum) and value in tuple(kind):
        return kind(value)
    if kind is str and isinstance(value, str):
        return value
    if issubclass(kind, StrEnum):
        raise UsageError(f"{shown(value)} is not one of {', '.join(kind)}{nearest(value, kind)}")
    raise UsageError(f"{shown(value)} must be {_wanted(parameter)}")


def _wanted(parameter: Parameter) -> str:
    kind = parameter.kind
    if issubclass(kind, StrEnum):
        return f"one of {', '.join(kind)}"
    names = {bool: "true or false", int: "a whole number", float: "a number"}
    return names.get(kind, "a text")


def _two(form: str, shape: str, value: object) -> list[float]:
    if isinstance(value, list) and len(value) == 2 and all(is_number(item) for item in value):
        return value
    raise UsageError(f"{form} must be {shape}, not {shown(value)}")


def _weights(value: object) -> tuple[float, ...] | None:
    if value is None:
        return None
    if isinstance(value, list) and all(is_number(item) for item in value):
        return tuple(float(item) for item in value)
    raise UsageError(f"weights must be an array of numbers, not {shown(value)}")
