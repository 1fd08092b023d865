"""What an operation takes: its parameters with unit, range and default, as a spec writes them."""

from dataclasses import MISSING, dataclass, fields, replace
from enum import StrEnum
from types import NoneType
from typing import Any, get_args, get_type_hints

from deblur_cli.blur.distributions import (
    Choice,
    Constant,
    Cycle,
    Distribution,
    Integers,
    LogUniform,
    Normal,
    Uniform,
)
from deblur_cli.blur.params import Limits, limits_of
from deblur_cli.blur.toml_writer import toml_value
from deblur_cli.host.declarations import Degradation, import_object


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of an operation. limits : in the units of a spec; kind : of a single value

    required : a spec must name it
    """

    name: str
    limits: Limits
    kind: type[bool] | type[int] | type[float] | type[str]
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A parameter for people. default : as a spec would write it, or why there is none."""

    key: str
    unit: str
    range: str
    default: str


def parameters_of(operation: Degradation) -> dict[str, Parameter]:
    """All parameters, in the order in which they are drawn.

    Raises ImportError or AttributeError where the declaration leads nowhere.
    """
    kind = import_object(operation.params)
    hints = get_type_hints(kind)
    found = {}
    for item in fields(kind):
        limits = limits_of(item).in_spec_units()
        without = limits.drawn is None and item.default is MISSING and item.default_factory is MISSING
        found[item.name] = Parameter(
            name=item.name,
            limits=limits,
            kind=_single(hints[item.name]),
            required=without and not limits_of(item).derived,
        )
    return found


def describe_operation(operation: Degradation) -> list[Row]:
    """A row for each parameter."""
    return [_row(parameter) for parameter in parameters_of(operation).values()]


def as_toml(distribution: Distribution) -> str:
    """A distribution as a spec writes it.

    >>> as_toml(Uniform(0, 3))
    '{ uniform = [0, 3] }'
    """
    return toml_value(_form(distribution))


def _row(parameter: Parameter) -> Row:
    limits = parameter.limits
    if limits.drawn is not None:
        default = as_toml(limits.drawn)
    else:
        default = "must be given" if parameter.required else "follows from the others"
    return Row(key=parameter.name, unit=limits.unit, range=_range(parameter), default=default)


def _range(parameter: Parameter) -> str:
    if issubclass(parameter.kind, StrEnum):
        return ", ".join(parameter.kind)
    if parameter.kind is bool:
        return "true, false"
    return replace(parameter.limits, unit="").text()


def _form(distribution: Distribution) -> object:
    """As TOML values."""
    match distribution:
        case Constant(value):
            return value
        case Uniform(low, high):
            return {"uniform": [low, high]}
        case LogUniform(low, high):
            return {"log_uniform": [low, high]}
        case Integers(low, high, step):
            return {"integers": [low, high]} | ({"step": step} if step != 1 else {})
        case Choice(values, weights):
            return {"choice": list(values)} | ({"weights": list(weights)} if weights else {})
        case Normal(mean, sd, low, high):
            return {"normal": [mean, sd], "within": [low, high]}
        case Cycle(values):
            return {"cycle": list(values)}
    return str(distribution)  # of a plugin's own kind


def _single(hint: Any) -> Any:
    """The type of one value of a field: optional ones and those of several values too. `Any`: a type hint may be anything."""
    inner = [part for part in get_args(hint) if part is not NoneType and part is not Ellipsis]
    return _single(inner[0]) if inner else hint
