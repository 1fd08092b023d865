"""Checks of what a declaration says, and the error they raise."""

import re

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class DeclarationError(ValueError):
    """A declaration contradicts itself; the message names the declaration and the field."""


def require(holds: bool, where: str, value: object, expected: str) -> None:
    """Raise DeclarationError unless `holds`. where : declaration and field; expected : what the value must be."""
    if not holds:
        raise DeclarationError(f"{where} is {value!r}; it must be {expected}")


def require_name(value: object, where: str) -> None:
    """Raise DeclarationError unless `value` can name something on a command line."""
    holds = isinstance(value, str) and bool(_NAME.fullmatch(value))
    require(holds, where, value, "a name of a-z, 0-9, '_', '-' and '.'")


def require_import_path(value: object, where: str) -> None:
    """Raise DeclarationError unless `value` has the form of an import path; it is imported when used."""
    holds = isinstance(value, str) and bool(_IMPORT_PATH.fullmatch(value))
    require(holds, where, value, "an import path package.module:name")


def is_int(value: object) -> bool:
    """Whether it is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether it is a number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
