"""The names of the pictures in a folder, for millions of them: one sorted list of bytes and nothing else a picture."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import AnyStr

from deblur_cli.errors import MissingError
from deblur_cli.pictures.formats import READABLE_EXTENSIONS

_EXTENSIONS = frozenset(os.fsencode(extension) for extension in READABLE_EXTENSIONS)


def list_names(folder: Path) -> list[bytes]:
    """The pictures in a folder and its sub-folders: relative POSIX paths as bytes, sorted by these bytes.

    Hidden files and folders are left out; links to folders are followed. A name costs its bytes, the 33 of a bytes
    object and 8 in the list; no Path is made for it.

    Raises
    ------
    MissingError : there is no such folder, or one in it cannot be read (its pictures would shift the index of others)
    """
    if not folder.is_dir():
        raise MissingError(f"there is no folder {folder}{', it is a file' if folder.exists() else ''}")
    names = list(_walk(os.fsencode(folder), b"", inside=frozenset()))
    names.sort()
    return names


def path_of(folder: Path, name: bytes) -> Path:
    """The file that a name of `list_names` stands for."""
    return folder / os.fsdecode(name)


def text_of(name: bytes) -> str:
    """A name as text for records and messages; bytes that are no text are escaped, so that UTF-8 can hold it."""
    return name.decode("utf-8", "backslashreplace")


def _walk(folder: bytes, prefix: bytes, *, inside: frozenset[tuple[int, int]]) -> Iterator[bytes]:
    """Names below `folder`, `prefix` put before them. inside : the folders above, against links that lead in a circle."""
    try:
        status = os.stat(folder)
        entries = os.scandir(folder)
    except OSError as error:
        raise MissingError(f"cannot read the folder {os.fsdecode(folder)}: {error.strerror}") from error
    here = (status.st_dev, status.st_ino)
    if here in inside:
        entries.close()
        return
    with entries:
        for entry in entries:
            if entry.name.startswith(b"."):
                continue
            is_inner = is_folder(entry)
            if os.path.splitext(entry.name)[1].lower() in _EXTENSIONS and not is_inner:
                yield prefix + entry.name
            elif is_inner:
                yield from _walk(entry.path, prefix + entry.name + b"/", inside=inside | {here})


def is_folder(entry: os.DirEntry[AnyStr]) -> bool:
    """Whether it is one, or a link to one. A link that leads to itself is a file which reading complains of."""
    try:
        return entry.is_dir()
    except OSError:
        return False
