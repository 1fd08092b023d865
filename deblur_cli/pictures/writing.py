"""From a `Picture` to a file that is as like its origin as the format allows, and a report of what was kept."""

import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from deblur_cli.errors import DeblurError, NotEnoughRoomError, PictureError, UsageError
from deblur_cli.pictures import tiff
from deblur_cli.pictures.atomic import atomic_write, refuse_input_as_output, write_error
from deblur_cli.pictures.encoding import Encoding, encode, plan_encoding
from deblur_cli.pictures.formats import Format, can_write, format_by_name, format_of_path
from deblur_cli.pictures.luggage import Luggage, pack
from deblur_cli.pictures.opening import DECODER_ERRORS, quiet_pillow
from deblur_cli.pictures.picture import Kept, Picture, shown

if TYPE_CHECKING:
    from typing_extensions import Buffer  # a name for type checkers alone


def write_picture(
    picture: Picture,
    target: Path | str | BinaryIO,
    *,
    format: str | None = None,
    quality: int | None = None,
    overwrite: bool = False,
) -> Kept:
    """Write a picture, whole or not at all, in the depth and with the descriptions that it came with.

    Parameters
    ----------
    target : a path, or a stream such as `sys.stdout.buffer`
    format : such as "png"; by default what the path's extension says, else the format the picture was read from, and
        PNG where that cannot be written (the report's notes say so)
    quality : 1..100 for JPEG, WebP, AVIF and HEIC; by default near the input's
    overwrite : replace an existing file; the file that the picture was read from is never replaced

    Returns
    -------
    Kept : what of the input stands in the output and what does not

    Raises
    ------
    UsageError : unknown format, `target` exists, or it is the input
    NotEnoughRoomError : the disk is full or memory does not suffice
    PictureError : the format cannot hold the picture, or the folder cannot be written
    """
    path = Path(target) if isinstance(target, str | Path) else None
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"the quality must lie between 1 and 100, not {quality}")
    if path is not None and picture.origin.path is not None:
        refuse_input_as_output(picture.origin.path, path)
    name = shown(path) if path is not None else "standard output"
    chosen, notes = _choose_format(picture, path=path, format=format)
    if chosen.max_side is not None and max(picture.width, picture.height) > chosen.max_side:
        raise PictureError(
            f"cannot write {name}: {chosen.name} holds at most {chosen.max_side} pixels a side, "
            f"the picture is {picture.width} x {picture.height}; choose --format png"
        )
    encoding = plan_encoding(picture, format=chosen, quality=quality)
    luggage = _usable(pack(picture, format=chosen, channels=encoding.channels), format=chosen)
    try:
        if isinstance(target, str | Path):
            with (
                atomic_write(target, overwrite=overwrite) as temporary,
                temporary.open("r+b") as file,
                quiet_pillow(),
            ):
                hidden = cast("BinaryIO", _WithoutHandle(file))
                encode(hidden, picture, format=chosen, encoding=encoding, luggage=luggage)
        else:
            buffer = io.BytesIO()  # some formats are not written from front to back
            with quiet_pillow():
                encode(buffer, picture, format=chosen, encoding=encoding, luggage=luggage)
            target.write(buffer.getbuffer())
    except DeblurError:
        raise
    except BrokenPipeError:
        raise
    except MemoryError as error:
        raise NotEnoughRoomError(f"cannot write {name}: memory does not suffice to encode it") from error
    except OSError as error:
        raise write_error(error, name) from error
    except DECODER_ERRORS as error:
        raise PictureError(
            f"cannot write {name}: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error
    return _report(picture, format=chosen, encoding=encoding, luggage=luggage, notes=notes)


class _WithoutHandle(io.BufferedIOBase):
    """A file that hides its handle: Pillow would write to that from C and lose the reason of a failure."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: "Buffer", /) -> int:
        return self._file.write(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _choose_format(
    picture: Picture, *, path: Path | None, format: str | None
) -> tuple[Format, tuple[str, ...]]:
    """The format to write and a note where it is not the input's although nobody asked for another."""
    if format is not None:
        return format_by_name(format), ()
    by_path = None if path is None else format_of_path(path)
    origin = picture.origin.format
    if by_path is not None:
        return by_path, ()
    if origin is not None and can_write(origin):
        return format_by_name(origin), ()
    return format_by_name("png"), () if origin is None else (
        f"written as PNG, as {origin.upper()} cannot be written",
    )


def _usable(luggage: Luggage, *, format: Format) -> Luggage:
    """The same without EXIF where it would have to be taken apart and cannot; other formats get it as it is."""
    if format.name not in ("tiff", "avif", "heic") or luggage.exif is None:
        return luggage
    try:
        with quiet_pillow():
            tiff.exif_directory(luggage.exif)
    except DECODER_ERRORS:
        return replace(
            luggage,
            exif=None,
            kept=tuple(name for name in luggage.kept if name != "exif"),
            lost=(*luggage.lost, "exif"),
            notes=(*luggage.notes, "EXIF is left out, as it is damaged"),
        )
    return luggage


def _report(
    picture: Picture, *, format: Format, encoding: Encoding, luggage: Luggage, notes: tuple[str, ...]
) -> Kept:
    kept, lost = list(luggage.kept), list(luggage.lost)
    if picture.alpha is not None:
        (kept if encoding.alpha else lost).append("alpha")
    if picture.bits == 16:
        (kept if encoding.bits == 16 else lost).append("16 bit")
    return Kept(
        format=format.name,
        width=picture.width,
        height=picture.height,
        bits=encoding.bits,
        channels=encoding.channels,
        kept=tuple(kept),
        lost=tuple(lost),
        quality=encoding.quality,
        subsampling=encoding.subsampling,
        notes=(*picture.origin.notes, *notes, *encoding.notes, *luggage.notes),
    )
