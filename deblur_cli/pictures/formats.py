"""Which picture formats there are, and what each can hold."""

import difflib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from deblur_cli.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A file format that can be written.

    name : our word for it; pillow : Pillow's
    extensions : the first is the one given to new files
    alpha, grey, deep : whether it holds transparency, single-channel pixels, 16 bits a sample
    metadata : which of icc, exif, xmp, dpi it holds
    max_side : greatest height or width in pixels, None where no picture of ours reaches it
    """

    name: str
    pillow: str
    extensions: tuple[str, ...]
    alpha: bool = True
    grey: bool = True
    deep: bool = False
    metadata: frozenset[str] = frozenset({"icc", "exif", "xmp", "dpi"})
    max_side: int | None = None


_WITHOUT_DPI = frozenset({"icc", "exif", "xmp"})

WRITABLE: tuple[Format, ...] = (
    Format(name="png", pillow="PNG", extensions=(".png",), deep=True),
    Format(
        name="jpeg",
        pillow="JPEG",
        extensions=(".jpg", ".jpeg", ".jpe", ".jfif"),
        alpha=False,
        max_side=65_535,
    ),
    Format(name="tiff", pillow="TIFF", extensions=(".tif", ".tiff"), deep=True),
    Format(
        name="webp", pillow="WEBP", extensions=(".webp",), grey=False, metadata=_WITHOUT_DPI, max_side=16_383
    ),
    Format(name="bmp", pillow="BMP", extensions=(".bmp", ".dib"), alpha=False, metadata=frozenset({"dpi"})),
    Format(
        name="avif", pillow="AVIF", extensions=(".avif",), grey=False, metadata=_WITHOUT_DPI, max_side=65_536
    ),
    Format(
        name="heic",
        pillow="HEIF",
        extensions=(".heic", ".heif", ".hif"),
        grey=False,
        metadata=_WITHOUT_DPI,
        max_side=16_384,
    ),
)

READ_ONLY: dict[str, tuple[str, ...]] = {
    "gif": (".gif",),
    "jpeg2000": (".jp2", ".j2k", ".jpx"),
    "ppm": (".ppm", ".pgm", ".pbm", ".pnm"),
}
"""Formats that can be read and are written as PNG."""

PILLOW_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "DIB", "GIF", "AVIF", "JPEG2000", "PPM")
"""All that Pillow may try; leaving out the rest keeps helper programs such as Ghostscript out of the way."""

_NAMES = {"mpo": "jpeg", "dib": "bmp", "heif": "heic", "jpg": "jpeg", "tif": "tiff"}

READABLE_EXTENSIONS = frozenset(
    extension
    for extensions in (*(known.extensions for known in WRITABLE), *READ_ONLY.values())
    for extension in extensions
)

RAW_EXTENSIONS = frozenset(
    {".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".3fr", ".iiq"}
)  # several of them are TIFF inside, and Pillow would read their small preview


def our_name(pillow_format: str) -> str:
    """Our word for a format that Pillow or a user names."""
    name = pillow_format.lower().lstrip(".")
    return _NAMES.get(name, name)


@cache
def can_write(name: str) -> bool:
    """Whether this installation can write the format."""
    if name == "avif":
        from PIL import features

        return bool(features.check("avif"))
    if name == "heic":
        return find_spec("pillow_heif") is not None
    return any(known.name == name for known in WRITABLE)


def format_by_name(name: str) -> Format:
    """The format that a user names, as in `--format jpg`; UsageError with the near names if there is none."""
    wanted = our_name(name)
    for known in WRITABLE:
        if known.name == wanted:
            if not can_write(wanted):
                raise UsageError(_cannot_write_here(known))
            return known
    near = difflib.get_close_matches(wanted, [known.name for known in WRITABLE], n=2, cutoff=0.4)
    choices = (
        f"did you mean {' or '.join(near)}"
        if near
        else f"choose from {', '.join(known.name for known in WRITABLE)}"
    )
    raise UsageError(f"cannot write the picture format {name!r}: {choices}")


def format_of_path(path: Path) -> Format | None:
    """The format that the extension stands for, None where there is no extension."""
    extension = path.suffix.lower()
    if not extension:
        return None
    for known in WRITABLE:
        if extension in known.extensions:
            if not can_write(known.name):
                raise UsageError(f"cannot write {path}: {_cannot_write_here(known)}")
            return known
    choices = ", ".join(known.extensions[0] for known in WRITABLE)
    raise UsageError(
        f"cannot write {path}: no picture format ends in {extension!r}; choose one of {choices}, or give --format"
    )


def _cannot_write_here(known: Format) -> str:
    if known.name == "heic":
        return "HEIC pictures need the extra 'heif': pip install 'deblur-cli[heif]'"
    return f"this Pillow was built without {known.pillow}; choose --format png"
