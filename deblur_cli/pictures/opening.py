"""Handing a file to Pillow safely: which formats it may try, how large, how many pages, and without its chatter."""

import io
import logging
import os
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import BinaryIO

from PIL import Image, TiffImagePlugin, _imaging

from deblur_cli.pictures.formats import PILLOW_FORMATS, our_name

HEAD_BYTES = 4096
"""How much of a file's beginning tells its kind."""

# What decoders raise on damaged files, their own programming slips on them included.
DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, AttributeError, ArithmeticError, LookupError, EOFError,
    RuntimeError, AssertionError, struct.error, zlib.error,
)  # fmt: skip

# Pillow's size limit and Python's warning filters belong to the whole process: one picture is decoded at a time.
_ONE_AT_A_TIME = threading.RLock()

_BLOCK_BYTES = 64 << 20
_STDERR = 2

_REDUCED, _MASK = 1, 4  # bits of the TIFF tag NewSubfileType
_NEW_SUBFILE_TYPE = 254


class RefusedError(Exception):
    """The file is not read; the text says why and goes behind its name."""


@contextmanager
def memory_given_back() -> Iterator[None]:
    """Let Pillow take memory in blocks so large that freeing them gives them back to the system.

    The C library keeps freed blocks below 32 MB (Pillow takes 16 MB) whenever something small lies behind them:
    measured, four bytes a pixel stayed resident after reading a JPEG file of 108 megapixels.
    """
    before = _imaging.get_block_size()
    _imaging.set_block_size(_BLOCK_BYTES)
    try:
        yield
    finally:
        _imaging.set_block_size(before)


@contextmanager
def quiet_pillow(*, max_pixels: int | None = None) -> Iterator[None]:
    """Our size limit in place of Pillow's; no warnings and log lines: what matters of them becomes errors and notes."""
    pillow_limit = (
        None if max_pixels is None else (max_pixels + 1) // 2
    )  # Pillow refuses beyond twice its limit
    handler = logging.NullHandler()  # without any handler Python prints warnings of libraries to stderr
    loggers = [logging.getLogger(name) for name in ("PIL", "tifffile")]
    with _ONE_AT_A_TIME, memory_given_back(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, pillow_limit
        for logger in loggers:
            logger.addHandler(handler)
        try:
            yield
        except Image.DecompressionBombError as error:
            count = re.search(r"\d+", str(error))
            raise _too_large(
                f"{int(count.group()) / 1e6:,.0f}" if count else "more", max_pixels or 0
            ) from error
        finally:
            Image.MAX_IMAGE_PIXELS = before
            for logger in loggers:
                logger.removeHandler(handler)


def open_image(stream: BinaryIO, *, head: bytes) -> Image.Image:
    """Open a picture from the beginning of `stream` without decoding it.

    Raises RefusedError for an empty file and for HEIC without its extra, UnidentifiedImageError where no format fits.
    """
    if not head:
        raise RefusedError("it is empty")
    formats: tuple[str, ...] = PILLOW_FORMATS
    if is_heif(head):
        _register_heif()
        formats = ("HEIF",)
    handle = _own_handle(stream)
    try:
        return Image.open(handle, formats=formats)
    except BaseException:
        handle.close()
        raise


def load(image: Image.Image) -> None:
    """Decode an opened picture, in silence: libtiff inside Pillow writes its complaints straight to stderr."""
    tiles = getattr(image, "tile", None)
    with _without_stderr() if tiles and tiles[0].codec_name == "libtiff" else nullcontext():
        image.load()


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Send what C code writes to stderr nowhere."""
    try:
        before = os.dup(_STDERR)
    except OSError:  # closed: nothing can be written anyway
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STDERR)
        yield
    finally:
        os.dup2(before, _STDERR)
        os.close(before)
        os.close(nowhere)


def refuse_size(width: int, height: int, *, max_pixels: int) -> None:
    """Raise RefusedError for pictures of no size or of too great a size."""
    if width < 1 or height < 1:
        raise RefusedError(f"it is damaged: its size is {width} x {height} pixels")
    if width * height > max_pixels:
        raise _too_large(f"{width} x {height} = {width * height / 1e6:,.1f}", max_pixels)


def refuse_several(image: Image.Image) -> tuple[str, ...]:
    """Raise RefusedError for animations and documents of several pages; notes on pictures inside that are left out."""
    count = getattr(image, "n_frames", 1)
    if count == 1:
        return ()
    name = our_name(image.format or "")
    if image.format == "MPO":
        return (
            f"only the first of the {count} pictures in the file is read; previews and gain maps are left out",
        )
    if name == "heic":
        return (f"only the main one of the {count} pictures in the file is read",)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        if all(_is_secondary(image, page) for page in range(1, count)):
            image.seek(0)
            return ("reduced copies and masks inside the TIFF file are left out",)
        raise RefusedError(f"it has {count} pages; save each as a file of its own")
    raise RefusedError(f"it is an animation of {count} frames; save the frames as files of their own")


def why_unknown(head: bytes) -> str:
    """Why no format fits."""
    if head[4:8] == b"ftyp" and b"avif" in head[8:64]:
        return "this Pillow was built without AVIF; convert it to PNG first"
    if head.lstrip()[:5].lower() in (b"<?xml", b"<svg ", b"<!doc", b"<html"):
        return "it is not a picture of pixels but text"
    return "it is damaged, or not a picture of a known format (PNG, JPEG, TIFF, WebP, BMP, AVIF, GIF, JPEG 2000, PPM, HEIC)"


def notes_on_depth(head: bytes) -> tuple[str, ...]:
    """A note where the file holds more than 8 bits a sample and Pillow gives 8 (AVIF, JPEG 2000)."""
    av1 = head.find(b"av1C")
    if head[4:8] == b"ftyp" and 0 < av1 < len(head) - 7 and head[av1 + 6] & 0x40:
        return ("10- or 12-bit AVIF read as 8 bit",)
    header = head.find(b"ihdr")
    if head[4:8] == b"jP  " and 0 < header < len(head) - 15:
        channels, bits = struct.unpack_from(">H", head, header + 12)[0], (head[header + 14] & 0x7F) + 1
        if channels > 1 and 8 < bits <= 38:
            return (f"{bits}-bit JPEG 2000 read as 8 bit",)
    return ()


def is_heif(head: bytes) -> bool:
    """Whether the file is HEIC or HEIF and not AVIF, which shares its container."""
    if head[4:8] != b"ftyp":
        return False
    brands = head[8 : max(8, min(len(head), int.from_bytes(head[:4], "big")))]
    return b"avi" not in brands and any(
        brand in brands for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
    )


def _own_handle(stream: BinaryIO) -> BinaryIO:
    """The same bytes from their beginning under a handle that Pillow may close."""
    if isinstance(stream, io.BytesIO):
        return io.BytesIO(stream.getvalue())  # shares the bytes
    stream.seek(0)
    return os.fdopen(os.dup(stream.fileno()), "rb")


def _register_heif() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise RefusedError("HEIC pictures need the extra 'heif': pip install 'deblur-cli[heif]'") from error
    pillow_heif.register_heif_opener(thumbnails=False)


def _is_secondary(image: TiffImagePlugin.TiffImageFile, page: int) -> bool:
    image.seek(page)
    return bool(image.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & (_REDUCED | _MASK))


def _too_large(size: str, max_pixels: int) -> RefusedError:
    return RefusedError(
        f"it has {size} megapixels, more than the {max_pixels / 1e6:g} allowed; raise the limit with --max-pixels"
    )
