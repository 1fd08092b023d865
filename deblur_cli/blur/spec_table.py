"""Tables of a spec read key by key; whatever is wrong is gathered with its place, so that all of it is said at once."""

import difflib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeGuard, TypeVar

from deblur_cli.blur.positions import KeyPath, Place, Places, path_text
from deblur_cli.blur.toml_writer import toml_value
from deblur_cli.errors import UsageError

E = TypeVar("E", bound=StrEnum)
H = TypeVar("H")

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong with a document, and what is odd about it."""

    places: Places
    errors: list[tuple[int, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def error(self, path: KeyPath, rule: str, *, name: str = "") -> None:
        """Note that a rule is broken. path : where to look; name : what to call it, otherwise the path"""
        place = self._place(path)
        self.errors.append((place.order, f"{place.text}: {name or path_text(path)}: {rule}"))

    def warning(self, path: KeyPath, text: str) -> None:
        """Note something odd."""
        self.warnings.append(f"{self._place(path).text}: {text} (warning)")

    def raise_errors(self) -> None:
        """Raise one UsageError with a line for each error, in the order of the file."""
        if self.errors:
            in_order = sorted(self.errors, key=lambda item: item[0])
            raise UsageError("\n".join(line for _, line in in_order))

    def _place(self, path: KeyPath) -> Place:
        return self.places.find(path)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the document. Where a value is wrong, the finding is noted and something harmless returned."""

    content: Mapping[str, object]
    path: KeyPath
    findings: Findings

    def at(self, key: str) -> KeyPath:
        """The path of a key."""
        return (*self.path, key)

    def error(self, key: str, rule: str) -> None:
        """Note that a key breaks a rule."""
        self.findings.error(self.at(key), rule)

    def integer(self, key: str, *, ge: int, le: int | None = None, default: int | None = None) -> int:
        """A whole number; without a default it must be there."""
        value = self._get(key, default)
        if is_whole(value) and ge <= value and (le is None or value <= le):
            return value
        wanted = f"a whole number, {ge} or more" if le is None else f"a whole number from {ge} to {le}"
        return self._wrong(key, value, wanted, ge)

    def number(self, key: str, *, ge: float, le: float, default: float | None = None) -> float:
        """A number; without a default it must be there."""
        value = self._get(key, default)
        if is_number(value) and ge <= value <= le:
            return float(value)
        return self._wrong(key, value, f"a number from {ge:g} to {le:g}", ge)

    def text(self, key: str, *, form: str = "a text", default: str | None = None) -> str:
        """A text that is not empty; without a default it must be there. form : what it is, for messages"""
        value = self._get(key, default)
        if isinstance(value, str) and value:
            return value
        return self._wrong(key, value, form, "")

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self._get(key, default)
        return value if isinstance(value, bool) else self._wrong(key, value, "true or false", default)

    def one_of(self, key: str, kind: type[E], *, default: E) -> E:
        """A name out of a closed list."""
        value = self._get(key, default)
        if isinstance(value, str) and value in tuple(kind):
            return kind(value)
        self.error(key, f"{shown(value)} is not one of {', '.join(kind)}{nearest(value, kind)}")
        return default

    def whole_pair(self, key: str, *, form: str) -> tuple[int, int] | None:
        """Two whole numbers above 0, or None where the key is absent. form : what they are, "[rows, columns]"."""
        if key not in self.content:
            return None
        value = self.content[key]
        if isinstance(value, list) and len(value) == 2 and all(is_whole(item) and item > 0 for item in value):
            return value[0], value[1]
        return self._wrong(key, value, f"{form}, two whole numbers above 0", None)

    def table(self, key: str) -> "Table | None":
        """A table, or None where the key is absent."""
        value = self.content.get(key)
        if isinstance(value, Mapping):
            return Table(value, self.at(key), self.findings)
        return None if value is None else self._wrong(key, value, "a table", None)

    def tables(self, key: str) -> list["Table"]:
        """An array of tables, empty where the key is absent."""
        value = self.content.get(key, [])
        if isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
            return [Table(item, (*self.at(key), i), self.findings) for i, item in enumerate(value)]
        header = ".".join(part for part in self.at(key) if isinstance(part, str))
        return self._wrong(key, value, f"an array of tables, each under [[{header}]]", [])

    def refuse_others(self, known: Collection[str], *, owner: str = "") -> None:
        """Note every key that is not known. owner : what has no such key."""
        for key in self.content:
            if key not in known:
                hint = nearest(key, known) or f"; known: {', '.join(sorted(known))}"
                self.error(key, f"unknown key{owner and f' for {owner}'}{hint}")

    def _get(self, key: str, default: object) -> object:
        value = self.content.get(key, default)
        return _MISSING if value is None else value

    def _wrong(self, key: str, value: object, wanted: str, harmless: H) -> H:
        if value is _MISSING:
            self.error(key, f"missing; it must be {wanted}")
        else:
            self.error(key, f"{shown(value)} must be {wanted}")
        return harmless


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a TOML value is an integer of at most 64 bit."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a TOML value is a finite number."""
    return is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def shown(value: object) -> str:
    """A value for people: as TOML, cut off where it is long."""
    text = toml_value(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(word: object, known: Iterable[str]) -> str:
    """A hint at a name that was perhaps meant, ` (did you mean "x"?)`, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1) if isinstance(word, str) else []
    return f' (did you mean "{near[0]}"?)' if near else ""
