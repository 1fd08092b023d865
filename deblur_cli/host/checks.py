"""Checks of what a declaration says, and the error they raise."""

import difflib
import re
from collections.abc import Iterable

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

TYPE_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


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


def near(name: object, known: Iterable[str]) -> str:
    """ "; did you mean ...?" where a known name is close, else nothing."""
    found = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def near_or_all(name: object, known: Iterable[str]) -> str:
    """ "; did you mean ...?" where a known name is close, else all that are known."""
    names = list(known)
    return near(name, names) or f"; it has: {', '.join(names) or 'none'}"
