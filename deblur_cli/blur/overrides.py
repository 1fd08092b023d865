"""`--set step.0.sigma=2`: single values of a spec changed from outside its file."""

import tomllib
from collections.abc import Sequence
from typing import Any

from deblur_cli.blur.positions import KeyPath, path_text
from deblur_cli.errors import UsageError

Document = dict[str, Any]  # `Any`: what TOML holds

_REMOVED = "none"


def apply_overrides(document: Document, overrides: Sequence[str]) -> dict[KeyPath, str]:
    """Change a document in place.

    Parameters
    ----------
    overrides : each "KEY.KEY=VALUE", elements of arrays counted from 0. VALUE is TOML, or else a text as it stands;
        `none` removes the key

    Returns
    -------
    by key path, the text of the override that touched it

    Raises
    ------
    UsageError : overrides are no assignments, or lead nowhere; a line for each
    """
    touched: dict[KeyPath, str] = {}
    errors = []
    for text in overrides:
        try:
            path = _apply(document, text)
        except UsageError as error:
            errors.append(f"--set {text}: {error}")
        else:
            touched.pop(path, None)  # to the end: what was set last counts
            touched[path] = text
    if errors:
        raise UsageError("\n".join(errors))
    return touched


def _apply(document: Document, text: str) -> KeyPath:
    """Apply one override; returns where it leads."""
    name, equals, value = text.partition("=")
    keys = [key.strip() for key in name.split(".")]
    if not equals or not all(keys) or not _is_unicode(text):
        raise UsageError("write it as KEY=VALUE, such as step.0.sigma=2 or patch=[128,128]")
    return _assign(document, keys, value.strip())


def _assign(document: Document, keys: Sequence[str], value: str) -> KeyPath:
    """Set or remove one value; returns where it is."""
    inside: Any = document
    path: KeyPath = ()
    for position, key in enumerate(keys):
        part = _part(inside, key, path)
        path = (*path, part)
        if position == len(keys) - 1:
            _put(inside, part, value)
        elif isinstance(part, int):
            inside = inside[part]
        else:
            inside = inside.setdefault(part, {})
    return path


def _part(inside: object, key: str, path: KeyPath) -> str | int:
    """A key as it is used in what lies around it."""
    where = path_text(path) or "the spec"
    if isinstance(inside, dict):
        return key
    if not isinstance(inside, list):
        raise UsageError(f"{where} is a single value and has no {key!r}; set {where} itself")
    if not (key.isascii() and key.isdigit()) or int(key) >= len(inside):
        raise UsageError(f"{where} has no {key!r}; it has {len(inside)}, counted from 0")
    return int(key)


def _put(inside: Any, part: str | int, value: str) -> None:
    if value != _REMOVED:
        inside[part] = _parsed(value)
    elif isinstance(part, int):
        raise UsageError("an element of an array cannot be removed, which would number the others anew")
    else:
        inside.pop(part, None)


def _is_unicode(text: str) -> bool:
    """False for what a command line held that is no text, which could not be written to a file again."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _parsed(value: str) -> object:
    try:
        read = tomllib.loads(f"value = {value}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return value
    return read["value"] if len(read) == 1 else value
