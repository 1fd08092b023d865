"""Drawn steps in words, for captions."""

import math
from dataclasses import MISSING, fields
from typing import Any

from deblur_cli.blur.params import limits_of
from deblur_cli.blur.pipeline import Taken

_UNIT_ENDINGS = ("_mm_s", "_dps", "_deg", "_mm", "_px", "_hz", "_s", "_m")
"""What a name may say of its unit, which its value says too; the longer first."""


def words_of(step: Taken) -> str:
    """A step that was applied: its name, and what differs from the defaults of its parameters.

    Such as "camera_shake: focal 31.2 mm, exposure 0.12 s, rate 3.4 deg/s". Values of an axis each are left out.
    """
    found = [] if step.params is None else [_words(item, step.params) for item in fields(step.params)]
    values = ", ".join(text for text in found if text)
    return f"{step.op}: {values}" if values else step.op


# `Any`: a dataclass field may be of every type.
def _words(item: Any, params: Any) -> str:
    value = getattr(params, item.name)
    if isinstance(value, tuple) or (item.default is not MISSING and value == item.default):
        return ""
    if isinstance(value, bool):
        return _name(item.name) if value else f"no {_name(item.name)}"
    if not isinstance(value, int | float):
        return f"{_name(item.name)} {value}"
    limits = limits_of(item)
    unit = limits.in_spec_units().unit
    if limits.degrees:
        value = math.degrees(value)
    name = item.name
    if unit:
        name = next((name.removesuffix(end) for end in _UNIT_ENDINGS if name.endswith(end)), name)
    return f"{_name(name)} {_number(value)} {unit}".rstrip()


def _number(value: float) -> str:
    """Three digits that count, whole numbers whole."""
    return str(value) if isinstance(value, int) else f"{value:.3g}"


def _name(field: str) -> str:
    return field.replace("_", " ")
