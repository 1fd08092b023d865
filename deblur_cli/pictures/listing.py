"""From what the user names, files, folders and patterns, to the list of pictures."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deblur_cli.errors import UsageError
from deblur_cli.pictures.formats import READABLE_EXTENSIONS

_PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Listed:
    """One input.

    path : the file, or "-" for standard input
    relative : where it lies below the folder that was named, which an output folder repeats; the bare name for a file
    """

    path: Path
    relative: Path

    @property
    def is_stream(self) -> bool:
        """Whether this is standard input."""
        return self.path == Path("-")


def list_pictures(
    inputs: Sequence[str | Path], *, recursive: bool = False, leave_out: str | None = None
) -> list[Listed]:
    """All pictures that `inputs` stand for, each once.

    Files come as they are named, whether they exist or not (reading says what is wrong with them); folders and
    patterns are replaced by the pictures in them in natural order (9 before 10). Hidden files are left out there.

    Parameters
    ----------
    inputs : files, folders, patterns such as "shots/*.png", or "-"
    recursive : look into folders within folders too
    leave_out : within folders and patterns skip files whose stem ends in this, such as ".deblurred"

    Raises
    ------
    UsageError : a folder holds no picture
    """
    found: dict[str, Listed] = {}
    for item in inputs:
        for listed in _expand(str(item), recursive=recursive, leave_out=leave_out):
            found.setdefault(str(listed.path) if listed.is_stream else os.path.realpath(listed.path), listed)
    return list(found.values())


def natural_key(path: Path) -> tuple[list[list[tuple[int, int, str]]], str]:
    """Sort key by which 9 comes before 10, folder by folder, letters without regard to case first."""
    return [list(_split_digits(part)) for part in path.parts], str(path)


def _split_digits(text: str) -> Iterator[tuple[int, int, str]]:
    for index, part in enumerate(re.split(r"([0-9]+)", text.casefold())):
        yield (0, int(part), "") if index % 2 else (1, 0, part)


def _expand(item: str, *, recursive: bool, leave_out: str | None) -> Iterable[Listed]:
    path = Path(item)
    if item == "-":
        return [Listed(path, path)]
    if path.is_dir():
        return _in_folder(path, recursive=recursive, leave_out=leave_out)
    if _PATTERN.search(item) and not os.path.lexists(path):
        matches = [Path(match) for match in glob.glob(item, recursive=True)]
        if matches:
            return _matched(matches, recursive=recursive, leave_out=leave_out)
    return [Listed(path, Path(path.name))]


def _matched(matches: Iterable[Path], *, recursive: bool, leave_out: str | None) -> Iterator[Listed]:
    for match in sorted(matches, key=natural_key):
        if match.is_dir():
            if recursive:
                yield from _in_folder(match, recursive=True, leave_out=leave_out)
        elif _is_wanted(match, leave_out=leave_out):
            yield Listed(match, Path(match.name))


def _in_folder(folder: Path, *, recursive: bool, leave_out: str | None) -> list[Listed]:
    paths: list[Path] = []
    for directory, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if recursive and not name.startswith(".")]
        paths += [path for name in names if _is_wanted(path := Path(directory, name), leave_out=leave_out)]
    if not paths:
        hint = "" if recursive else "; --recursive looks into the folders below as well"
        raise UsageError(f"no pictures in the folder {folder}{hint}")
    return [Listed(path, path.relative_to(folder)) for path in sorted(paths, key=natural_key)]


def _is_wanted(path: Path, *, leave_out: str | None) -> bool:
    if path.name.startswith(".") or path.suffix.lower() not in READABLE_EXTENSIONS:
        return False
    return not (leave_out and path.stem.endswith(leave_out))
