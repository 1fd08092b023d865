"""Fields of parameter dataclasses: each carries its unit and range, and the constructor checks them."""

import math
from dataclasses import Field, field, fields
from typing import Any

from deblur_cli.errors import UsageError

# `Any` in this module: a dataclass field and its default may be of every type, and `field` is typed the same way.


def scalar(*, unit: str, ge: float, le: float = math.inf) -> Any:
    """A required number (or tuple of numbers) with `ge <= value <= le`, in `unit` ("" = without)."""
    return field(metadata={"unit": unit, "ge": ge, "le": le})


def check_ranges(params: Any) -> None:
    """Refuse values outside the range of their field.

    Raises
    ------
    UsageError : names the dataclass, the field, the value and the range
    """
    for item in fields(params):
        if "ge" in item.metadata:
            value = getattr(params, item.name)
            for number in value if isinstance(value, tuple) else (value,):
                _check(type(params).__name__, item, number)


def _check(owner: str, item: "Field[Any]", number: float) -> None:
    low, high, unit = item.metadata["ge"], item.metadata["le"], item.metadata["unit"]
    if not (math.isfinite(number) and low <= number <= high):
        limits = f"from {low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"
        raise UsageError(f"{owner}: {item.name} is {number!r}; it must be {limits} {unit}".rstrip())
