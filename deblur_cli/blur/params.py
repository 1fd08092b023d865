"""Fields of parameter dataclasses: unit, range and default distribution stand in each field's metadata.

The constructor checks the range, the spec reader checks keys and values by the same metadata, and `--describe` prints it.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, get_type_hints

import numpy as np

from deblur_cli.blur.distributions import Constant, Distribution
from deblur_cli.errors import UsageError

# `Any` in this module: a dataclass field and its value may be of every type, and `field` is typed the same way.
P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a parameter may be. ge, le : inclusive ends; gt : exclusive lower end; odd : odd integers only.

    among : the only values there are
    unit : of the value itself; degrees : the value is in rad, specs give it in degrees
    drawn : what it is drawn from where a spec does not say, in the units of a spec
    derived : a spec may leave it out though nothing is `drawn`: the operation's own `draw` finds it then
    count : how many values, each drawn by itself (one an axis); 0 = a single number
    """

    unit: str = ""
    ge: float = -math.inf
    gt: float = -math.inf
    le: float = math.inf
    odd: bool = False
    among: tuple[int, ...] = ()
    degrees: bool = False
    drawn: Distribution | None = None
    derived: bool = False
    count: int = 0

    def text(self) -> str:
        """The range in words, such as "from 0 to 64 px"."""
        if self.among:
            return f"one of {', '.join(map(str, self.among))} {self.unit}".rstrip()
        low = f"above {self.gt:g}" if self.gt > -math.inf else f"from {self.ge:g}"
        high = f" to {self.le:g}" if self.le < math.inf else " up"
        words = f"{'odd, ' if self.odd else ''}{low}{high}"
        return f"{words} {self.unit}".rstrip()

    def allow(self, value: float) -> bool:
        """Whether a single value is within."""
        return (
            math.isfinite(value)
            and self.ge <= value <= self.le
            and value > self.gt
            and not (self.odd and value % 2 != 1)
            and not (self.among and value not in self.among)
        )

    def in_spec_units(self) -> "Limits":
        """The same, as a spec writes it."""
        if not self.degrees:
            return self
        low, high = (math.degrees(end) if math.isfinite(end) else end for end in (self.ge, self.le))
        return Limits(unit="deg", ge=low, le=high, drawn=self.drawn, count=self.count)


def number(
    *,
    unit: str = "",
    ge: float = -math.inf,
    gt: float = -math.inf,
    le: float = math.inf,
    odd: bool = False,
    among: tuple[int, ...] = (),
    degrees: bool = False,
    drawn: Distribution | None = None,
    derived: bool = False,
    count: int = 0,
    default: Any = MISSING,
) -> Any:
    """A field of a parameter dataclass with a range; arguments as of `Limits`.

    default : of the constructor; where `drawn` is a constant, that is the default
    """
    limits = Limits(
        unit=unit,
        ge=ge,
        gt=gt,
        le=le,
        odd=odd,
        among=among,
        degrees=degrees,
        drawn=drawn,
        derived=derived,
        count=count,
    )
    if default is MISSING and isinstance(drawn, Constant):
        default = math.radians(float(drawn.value)) if degrees else drawn.value
        default = (default,) * count if count else default
    return field(metadata={"limits": limits}, default=default)


def limits_of(item: "Field[Any]") -> Limits:
    """The limits of a field; those without (enums, flags) are drawn as their default."""
    if "limits" in item.metadata:
        limits: Limits = item.metadata["limits"]
        return limits
    return Limits(drawn=None if item.default is MISSING else Constant(item.default))


def check_ranges(params: Any) -> None:
    """Refuse values outside the range of their field.

    Raises
    ------
    UsageError : names the dataclass, the field, the value and the range
    """
    for name, limits in _ranges(type(params)):  # type: ignore[arg-type]  # classes can be hashed, see `_plan`
        value = getattr(params, name)
        for single in value if isinstance(value, tuple) else (value,):
            if not limits.allow(single):
                owner = type(params).__name__
                raise UsageError(f"{owner}: {name} is {single!r}; it must be {limits.text()}")


def complete(kind: type[Any], node: Mapping[str, Distribution]) -> dict[str, Distribution]:
    """What each parameter is drawn from: what the spec says, else the field's own. Derived ones may be missing."""
    found = {name: node.get(name, limits.drawn) for name, limits, _ in _plan(kind)}
    return {name: distribution for name, distribution in found.items() if distribution is not None}


def draw_values(
    kind: type[Any], node: Mapping[str, Distribution], rng: np.random.Generator, number: int
) -> dict[str, Any]:
    """Values of all parameters that have a distribution, drawn in the order of the dataclass.

    Parameters
    ----------
    node : what the spec says, in its units; fields it does not name are drawn from their own distribution
    number : of the draw, for `Cycle`
    """
    values: dict[str, Any] = {}
    for name, limits, hint in _plan(kind):
        distribution = node.get(name, limits.drawn)
        if distribution is None:
            continue
        if limits.count == 0 and not limits.degrees:
            values[name] = _typed(distribution.sample(rng, number), hint)
            continue
        drawn = [distribution.sample(rng, number) for _ in range(limits.count or 1)]
        if limits.degrees:
            drawn = [math.radians(float(value)) for value in drawn]
        values[name] = tuple(drawn) if limits.count else drawn[0]
    return values


def draw_params(kind: type[P], node: Mapping[str, Distribution], rng: np.random.Generator, number: int) -> P:
    """Parameters drawn field by field: how an operation without a `draw` of its own is drawn.

    Raises
    ------
    UsageError : a value is outside its range, or one without a default is not in `node`
    """
    values = draw_values(kind, node, rng, number)
    if len(values) < len(_plan(kind)):
        missing = [item.name for item in fields(kind) if item.name not in values and item.default is MISSING]  # type: ignore[arg-type]  # a dataclass
        if missing:
            raise UsageError(f"{kind.__name__}: {', '.join(missing)} is missing")
    return kind(**values)


def as_record(params: Any) -> dict[str, Any]:
    """Parameters as a JSON object: the values of the dataclass, never rounded."""
    return {name: getattr(params, name) for name, _, _ in _plan(type(params))}


def from_record(kind: type[P], record: Mapping[str, Any]) -> P:
    """Parameters from a JSON object.

    Raises
    ------
    UsageError : a value is missing, unknown or outside its range
    """
    hints = {name: hint for name, _, hint in _plan(kind)}
    try:
        return kind(**{name: _typed(value, hints[name]) for name, value in record.items()})
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"these are no parameters of {kind.__name__}: {dict(record)!r} ({error})") from error


def _plan(kind: type[Any]) -> tuple[tuple[str, Limits, Any], ...]:
    """Name, limits and type of each field."""
    return _planned(kind)  # type: ignore[arg-type]  # classes can be hashed, mypy thinks of their instances


@cache  # looking the types up anew takes longer than a small picture's blur
def _planned(kind: type[Any]) -> tuple[tuple[str, Limits, Any], ...]:
    hints = get_type_hints(kind)
    return tuple((item.name, limits_of(item), hints[item.name]) for item in fields(kind))


@cache
def _ranges(kind: type[Any]) -> tuple[tuple[str, Limits], ...]:
    """Name and limits of each field that has a range."""
    return tuple((item.name, limits_of(item)) for item in fields(kind) if "limits" in item.metadata)


def _typed(value: Any, hint: Any) -> Any:
    """A drawn or recorded value as the type of its field."""
    if type(value) is hint:
        return value
    if isinstance(value, list):
        return tuple(value)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
