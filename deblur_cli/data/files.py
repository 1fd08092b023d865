"""Picture and text files of data sets."""

import contextlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.opencv import import_opencv
from deblur_cli.errors import MissingError, PictureError
from deblur_cli.pictures.atomic import atomic_write, write_error
from deblur_cli.pictures.formats import READABLE_EXTENSIONS
from deblur_cli.pictures.picture import Pixels
from deblur_cli.pictures.reading import read_picture


def as_text(path: Path) -> str:
    """A path with / between its parts; bytes that are no text are escaped, for names are written and hashed as UTF-8."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def find_pictures(folder: Path) -> list[Path]:
    """All pictures in a folder and its sub-folders, sorted by the bytes of their relative POSIX paths.

    Hidden files and folders are left out. A path that is a file stands for itself.

    Raises
    ------
    MissingError : there is no such folder
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise MissingError(f"there is no folder {folder}")
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if _is_picture(name)]
    return sorted(found, key=lambda path: os.fsencode(path.relative_to(folder).as_posix()))


def read_opaque(path: Path) -> Pixels:
    """The pixels of a picture without transparency, (H, W, C) uint8 or uint16, C = 1 or 3.

    Raises
    ------
    PictureError : it cannot be read, or parts of it are transparent
    """
    picture = read_picture(path)
    if picture.alpha is not None and (picture.alpha < np.iinfo(picture.alpha.dtype).max).any():
        raise PictureError(f"cannot use {path}: parts of it are transparent; save it without alpha")
    return picture.pixels


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """The pixels of a picture as (H, W, 3) uint8; transparency is left aside, 16 bit rounded, grey repeated.

    Raises
    ------
    PictureError : it cannot be read
    """
    pixels = read_picture(path).pixels
    eight = pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257)  # 65535 / 255 = 257
    return np.broadcast_to(eight, (*eight.shape[:2], 3)).astype(np.uint8, copy=eight.shape[2] == 1)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """The PNG file of (H, W, C) pixels, C = 1 or 3. OpenCV takes a third of Pillow's time for small pictures."""
    cv2 = import_opencv()
    done, data = cv2.imencode(
        ".png", pixels if pixels.shape[2] == 1 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    )
    assert done, "OpenCV encodes every 8-bit picture"
    encoded: bytes = data.tobytes()
    return encoded


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write (H, W, C) pixels losslessly, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(encode_png(pixels))


def write_plainly(path: str, data: bytes) -> None:
    """Write a file without waiting for the disk: the records prove that it is whole.

    Raises
    ------
    NotEnoughRoomError : the disk is full
    PictureError : it cannot be written; nothing is left of it
    """
    try:
        with open(path, "wb", buffering=0) as file:
            while data:  # a disk that gets full takes a part before it refuses the rest
                data = data[file.write(data) :]
    except OSError as error:
        with contextlib.suppress(OSError):  # it is a folder, or lies in none
            Path(path).unlink()
        raise write_error(error, path) from error


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in READABLE_EXTENSIONS
