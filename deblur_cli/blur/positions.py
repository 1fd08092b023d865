"""On which line each key of a TOML text stands: the parser of the standard library does not say."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from deblur_cli.blur.toml_writer import toml_key

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_MULTI_LINE = {
    '"""': re.compile(
        r'"""(?:[^\\]|\\.)*?"""' + r'"{0,2}', re.DOTALL
    ),  # two more quotes may belong to the text
    "'''": re.compile(r"'''.*?'''" + r"'{0,2}", re.DOTALL),
}
_ONE_LINE = {'"': re.compile(r'"(?:[^"\\\n]|\\.)*"'), "'": re.compile(r"'[^'\n]*'")}
_DEPTH = 50  # of keys within keys; a spec needs 10, and what goes deeper by far would exhaust the stack later
_PLAIN = re.compile(r"[^\s,\]}#]+(?: \d[^\s,\]}#]*)?")  # the blank: between the day and the hour of a date


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a value was written. order : by which findings are sorted; text : for people, "mix.toml:12"."""

    order: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where each key of a document was written.

    file : its name; lines : by key path, from 1
    overrides : by key path, the text of the override that set or removed it
    """

    file: str
    lines: Mapping[KeyPath, int]
    overrides: Mapping[KeyPath, str] = field(default_factory=dict)

    def find(self, path: KeyPath) -> Place:
        """Where a key, or the nearest table around it, was written."""
        around = [path[:length] for length in range(len(path), -1, -1)]
        for position, (changed, text) in enumerate(self.overrides.items()):
            if changed in around:
                return Place(order=position - len(self.overrides), text=f"--set {text}")
        line = next((self.lines[prefix] for prefix in around if prefix in self.lines), 1)
        return Place(order=line, text=f"{self.file}:{line}")


def path_text(path: KeyPath) -> str:
    """A key path for people.

    >>> path_text(("step", 1, "branch", 2, "p"))
    'step[1].branch[2].p'
    """
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{toml_key(part)}" for part in path)
    return words.removeprefix(".")


def lines_of_keys(text: str) -> dict[KeyPath, int]:
    """The line, from 1, of every key, table and array element.

    Parameters
    ----------
    text : TOML that a parser has accepted, lines ended by a newline alone; of anything else the answer is of no use

    Raises
    ------
    RecursionError : it is nested more than 50 deep
    """
    return _Scan(text).document()


class _Scan:
    """A reader that walks through a text once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.counted = 0  # up to where newlines were counted, so that no text is counted twice
        self.line = 1
        self.lines: dict[KeyPath, int] = {}
        self.elements: dict[KeyPath, int] = {}  # of arrays of tables

    def document(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self.blank()
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)
            self.blank()
        return self.lines

    def header(self) -> KeyPath:
        array = self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        self.blank()
        line, keys = self.here(), self.keys()
        self.at += 2 if array else 1
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self.latest((*path, key))
            self.lines.setdefault(path, line)
        path = (*path, keys[-1])
        self.lines.setdefault(path, line)
        if array:
            self.elements[path] = self.elements.get(path, 0) + 1
            path = self.latest(path)
        self.lines.setdefault(path, line)
        return path

    def latest(self, path: KeyPath) -> KeyPath:
        """Of an array of tables its last element, else the path itself."""
        return (*path, self.elements[path] - 1) if path in self.elements else path

    def pair(self, table: KeyPath) -> None:
        line, path = self.here(), table
        for key in self.keys():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self.at += 1  # =
        self.blank()
        self.value(path)

    def keys(self) -> list[str]:
        """A dotted key; what follows it is reached."""
        keys = [self.key()]
        self.blank()
        while self.text.startswith(".", self.at):
            if len(keys) > _DEPTH:
                raise RecursionError("nested too deeply")
            self.at += 1
            self.blank()
            keys.append(self.key())
            self.blank()
        return keys

    def key(self) -> str:
        quote = self.text[self.at]
        if quote not in _ONE_LINE:
            return self.take(_BARE_KEY)
        return _unquoted(self.take(_ONE_LINE[quote]))

    def value(self, path: KeyPath) -> None:
        if len(path) > _DEPTH:
            raise RecursionError("nested too deeply")
        first = self.text[self.at]
        if first == "[":
            self.sequence("]", path)
        elif first == "{":
            self.sequence("}", path)
        elif self.text[self.at : self.at + 3] in _MULTI_LINE:
            self.take(_MULTI_LINE[self.text[self.at : self.at + 3]])
        else:
            self.take(_ONE_LINE.get(first, _PLAIN))

    def sequence(self, end: str, path: KeyPath) -> None:
        """The elements of an array, or the pairs of an inline table."""
        self.at += 1
        self.blank()
        position = 0
        while self.text[self.at] != end:
            if end == "]":
                self.lines[(*path, position)] = self.here()
                self.value((*path, position))
            else:
                self.pair(path)
            position += 1
            self.blank()
            if self.text[self.at] == ",":
                self.at += 1
                self.blank()
        self.at += 1

    def here(self) -> int:
        self.line += self.text.count("\n", self.counted, self.at)
        self.counted = self.at
        return self.line

    def blank(self) -> None:
        """Skip blanks, newlines and comments."""
        self.take(_BLANK)

    def take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise ValueError(f"no TOML at character {self.at}")
        self.at = found.end()
        return found.group()


def _unquoted(text: str) -> str:
    """The key that a quoted text stands for."""
    import tomllib

    (key,) = tomllib.loads(f"{text} = 0")
    return key
