"""Pairs of pictures in folders: which blurred file belongs to which sharp one."""

import logging
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deblur_cli.data.files import as_text, read_rgb
from deblur_cli.data.listing import is_folder, list_names, path_of, text_of
from deblur_cli.errors import PictureError
from deblur_cli.pictures.picture import Pixels as Samples

_log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]

FOLDER_NAMES = (("blur", "sharp"), ("input", "target"))
"""Names of the folders of blurred and of sharp pictures that any data set may use."""


class Pair(Protocol):
    """A blurred picture and its sharp original."""

    @property
    def name(self) -> str:
        """What tells it from the others of its set; parts are separated by "/"."""

    def size(self) -> tuple[int, int]:
        """Height and width in px, without decoding where that is possible."""

    def load(self) -> tuple[Pixels, Pixels]:
        """Blurry and sharp, both (H, W, 3) uint8 of one size; PictureError where that cannot be had."""


class SharpPicture(Protocol):
    """A sharp picture out of which pairs can be made."""

    @property
    def name(self) -> str:
        """Relative path or the like, parts separated by "/"."""

    @property
    def group(self) -> str:
        """Clip, scene or folder: what must not be torn apart by a split."""

    @property
    def index(self) -> int:
        """Position in the sorted list of its source, split or not: what its random numbers depend on."""

    @property
    def part(self) -> str | None:
        """The official part it belongs to ("train", "val", "test"), None where there is none."""

    def size(self) -> tuple[int, int]:
        """Height and width in px, without decoding where that is possible."""

    def load(self) -> Samples:
        """(H, W, C) of 8 or 16 bit, C = 1 or 3; PictureError where that cannot be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePair:
    """A pair in two files. group : of which picture it is a piece, where that is known"""

    name: str
    blurry: Path
    sharp: Path
    group: str = ""

    def size(self) -> tuple[int, int]:
        """Height and width in px of the sharp picture.

        Raises
        ------
        PictureError : it cannot be read
        """
        return picture_size(self.sharp)

    def load(self) -> tuple[Pixels, Pixels]:
        """Blurry and sharp, both (H, W, 3) uint8; grey is repeated, 16 bit rounded.

        Raises
        ------
        PictureError : one of them cannot be read, or their sizes differ
        """
        blurry, sharp = read_rgb(self.blurry), read_rgb(self.sharp)
        if blurry.shape != sharp.shape:
            raise PictureError(
                f"cannot use the pair {self.name}: {self.blurry} is {_size(blurry)}, {self.sharp} is {_size(sharp)}; "
                "both must be of one size"
            )
        return blurry, sharp


def match_folders(blurry: Path, sharp: Path, *, prefix: str = "") -> list[FilePair]:
    """Pairs by equal relative path without extension, sorted by name.

    Parameters
    ----------
    blurry, sharp : folders, searched with their sub-folders; sharp pictures without a blurred one are left aside
    prefix : put before the names

    Raises
    ------
    PictureError : a blurred picture has no sharp one, or more than one
    """
    originals = _by_stem(sharp)
    pairs = []
    for stem, path in _by_stem(blurry).items():
        if stem not in originals:
            raise PictureError(
                f"{path} has no sharp picture: there is no {sharp / stem} with any picture's extension; "
                "add it, or move the blurred picture away"
            )
        pairs.append(FilePair(name=prefix + stem, blurry=path, sharp=originals[stem]))
    if pairs and len(originals) > len(pairs):
        _log.info("%d sharp pictures in %s have no blurred one", len(originals) - len(pairs), sharp)
    return pairs


def pairs_below(folder: Path, *, names: Sequence[tuple[str, str]] = FOLDER_NAMES) -> list[FilePair]:
    """Pairs of a folder that holds blur/ and sharp/ itself, or of its sub-folders that do (one a scene).

    Parameters
    ----------
    names : names of the two folders, the first that are there count
    """
    for blurry, sharp in names:
        if (folder / blurry).is_dir() and (folder / sharp).is_dir():
            return match_folders(folder / blurry, folder / sharp)
    pairs: list[FilePair] = []
    for blurry, sharp in names:
        for scene in _subfolders(folder):
            if (scene / blurry).is_dir() and (scene / sharp).is_dir():
                pairs += match_folders(scene / blurry, scene / sharp, prefix=f"{as_text(Path(scene.name))}/")
        if pairs:
            break
    return pairs


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture file in px, upright, from its header alone."""
    from PIL import Image, UnidentifiedImageError

    rotated = {5, 6, 7, 8}  # values of the EXIF orientation that exchange height and width
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            if picture.format == "PNG" and "exif" not in picture.info and not _png_may_be_turned(path):
                return height, width
            if picture.getexif().get(0x0112) in rotated:
                width, height = height, width
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError):
        return read_rgb(path).shape[:2]  # not Pillow's: a format that another reader knows, or a clear error
    return height, width


def _png_may_be_turned(path: Path) -> bool:
    """Whether a chunk may hold an orientation. It may stand at the end, where Pillow decodes all to find it."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            start = file.read(min(length, 32))
            if kind == b"eXIf" or start.startswith((b"Raw profile type", b"XML:com.adobe.xmp")):
                return True
            file.seek(length - len(start) + 4, os.SEEK_CUR)
    return False


def _by_stem(folder: Path) -> dict[str, Path]:
    """Relative path without extension -> file."""
    found: dict[str, Path] = {}
    for name in list_names(folder):
        path = path_of(folder, name)
        stem = text_of(os.path.splitext(name)[0])
        if stem in found:
            raise PictureError(
                f"{found[stem]} and {path} have one name but for the extension; keep one of them"
            )
        found[stem] = path
    return found


def _subfolders(folder: Path) -> Iterable[Path]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:  # which knows folders without a look at each of a million files
        names = [entry.name for entry in entries if not entry.name.startswith(".") and is_folder(entry)]
    return [folder / name for name in sorted(names)]


def _size(picture: Pixels) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
