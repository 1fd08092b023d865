"""Kodak's Lossless True Color Image Suite: 24 sharp pictures, scanned from film, that much of imaging is measured on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deblur_cli.data import KODAK_LAYOUT
from deblur_cli.data.files import read_opaque
from deblur_cli.data.listing import list_names, path_of, text_of
from deblur_cli.data.pairs import SharpPicture, picture_size
from deblur_cli.errors import MissingError
from deblur_cli.pictures.picture import Pixels

PICTURES = 24
_FILE = re.compile(r"kodim(\d\d)\.\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class KodakPicture:
    """A picture in a file of any format. number : from 1 to 24"""

    file: Path
    number: int

    @property
    def name(self) -> str:
        """Such as kodim01, whatever format it was saved in."""
        return f"kodim{self.number:02d}"

    @property
    def group(self) -> str:
        """The picture itself: no two of them belong together."""
        return self.name

    @property
    def index(self) -> int:
        """Its place among all 24, whichever are there."""
        return self.number - 1

    @property
    def part(self) -> str:
        """All of it is for testing."""
        return "test"

    def size(self) -> tuple[int, int]:
        """Height and width in px, from the header. Raises PictureError where it cannot be read."""
        return picture_size(self.file)

    def load(self) -> Pixels:
        """(512, 768, 3) or (768, 512, 3) uint8. Raises PictureError where it cannot be read."""
        return read_opaque(self.file)


def pictures(root: Path, split: str) -> Sequence[SharpPicture]:
    """The pictures in a folder, by their numbers; none of them for another split than "test".

    Raises
    ------
    MissingError : there are none
    """
    files = {
        int(match[1]): path_of(root, name)
        for name in list_names(root)
        if (match := _FILE.fullmatch(text_of(name).lower())) and 1 <= int(match[1]) <= PICTURES
    }
    if not files:
        raise MissingError(
            f"no pictures of Kodak's suite\n  expected: {root}/{KODAK_LAYOUT}\n  looked in: {root}"
        )
    return [KodakPicture(file=files[number], number=number) for number in sorted(files) if split == "test"]
