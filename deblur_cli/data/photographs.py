"""Sharp pictures in a folder, to be blurred: listed once, opened one by one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deblur_cli.blur.spec import Group
from deblur_cli.data.files import read_opaque
from deblur_cli.data.lazy import Lazy
from deblur_cli.data.listing import list_names, path_of, text_of
from deblur_cli.data.pairs import picture_size
from deblur_cli.data.splits import group_named, part_named
from deblur_cli.pictures.picture import Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePicture:
    """A sharp picture in a file. file : relative path as `list_names` gives it; index : its place in that list."""

    folder: Path
    file: bytes
    index: int
    by: Group = Group.FILE
    part: str | None = None

    @property
    def name(self) -> str:
        """Relative path."""
        return text_of(self.file)

    @property
    def group(self) -> str:
        """The file, or its folder where that stays together."""
        return group_named(self.name, self.by)

    def size(self) -> tuple[int, int]:
        """Height and width in px, from the header.

        Raises
        ------
        PictureError : it cannot be read
        """
        return picture_size(path_of(self.folder, self.file))

    def load(self) -> Pixels:
        """(H, W, C) of 8 or 16 bit.

        Raises
        ------
        PictureError : it cannot be read, or parts of it are transparent
        """
        return read_opaque(path_of(self.folder, self.file))


def pictures_below(folder: Path, *, by: Group = Group.FILE) -> Sequence[FilePicture]:
    """The sharp pictures in a folder and its sub-folders; those below train/, val/ or test/ (or REDS'
    train_sharp/) belong to that part.

    Raises
    ------
    MissingError : there is no such folder, or a part of it cannot be read
    """
    return pictures_named(folder, list_names(folder), by=by)


def pictures_named(folder: Path, names: Sequence[bytes], *, by: Group = Group.FILE) -> Sequence[FilePicture]:
    """The pictures of these names, in their order."""
    return Lazy(range(len(names)), partial(_picture, folder, names, by))


def _picture(folder: Path, names: Sequence[bytes], by: Group, index: int) -> FilePicture:
    file = names[index]
    return FilePicture(folder=folder, file=file, index=index, by=by, part=part_named(text_of(file)))
