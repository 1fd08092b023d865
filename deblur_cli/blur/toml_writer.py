"""Values and documents as TOML text: the standard library reads TOML but does not write it."""

import json
import re
from collections.abc import Mapping, Sequence

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def toml_value(value: object) -> str:
    """A value on one line; tables inline. Numbers are written so that they are read back exactly.

    >>> toml_value({"uniform": [0, 3.5]})
    '{ uniform = [0, 3.5] }'
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(toml_value, value))}]"
    return str(value)  # int, float, dates: Python writes all of them as TOML does


def toml_document(document: Mapping[str, object], *, nested: bool = False) -> str:
    """A document: plain keys first, then tables, then arrays of tables with what lies deeper inline.

    nested : whether tables inside of tables have sections of their own, [loss.mae], instead of lying inline
    """
    plain, tables, arrays = [], [], []
    for key, value in document.items():
        if isinstance(value, Mapping):
            tables.append(_section(toml_key(key), value, nested=nested))
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            arrays += [f"\n[[{toml_key(key)}]]\n{_pairs(item)}" for item in value]
        else:
            plain.append(_pairs({key: value}))
    return "".join(plain + tables + arrays)


def _section(name: str, table: Mapping[str, object], *, nested: bool) -> str:
    inner = {key: value for key, value in table.items() if nested and value and isinstance(value, Mapping)}
    own = {key: value for key, value in table.items() if key not in inner}
    head = f"\n[{name}]\n{_pairs(own)}" if own or not inner else ""
    return head + "".join(_section(f"{name}.{toml_key(key)}", inner[key], nested=True) for key in inner)


def _pairs(table: Mapping[str, object]) -> str:
    return "".join(f"{toml_key(key)} = {_folded(value)}\n" for key, value in table.items())


def _folded(value: object) -> str:
    """An array of tables with a line for each, other values on one line."""
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        return "[\n" + "".join(f"  {toml_value(item)},\n" for item in value) + "]"
    return toml_value(value)


def toml_key(key: str) -> str:
    """A key, in quotes where it needs them."""
    return key if _BARE_KEY.fullmatch(key) else _quoted(key)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
