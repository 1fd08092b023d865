"""Writing TIFF of 8 and 16 bit, strip by strip, with EXIF and GPS directories: TIFF 6.0 and its deflate supplement.

Pillow writes no 16-bit colour and tifffile no EXIF directories. Pillow's directory writer does the tags here.
"""

import struct
import zlib
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin

from deblur_cli.errors import PictureError
from deblur_cli.pictures.metadata import ORIENTATION, entries, prefixed
from deblur_cli.pictures.picture import Pixels

_WIDTH, _HEIGHT, _BITS_PER_SAMPLE, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES_PER_PIXEL, _ROWS_PER_STRIP, _STRIP_BYTE_COUNTS = 273, 277, 278, 279
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _PREDICTOR, _EXTRA_SAMPLES = 282, 283, 296, 317, 338
_XMP, _ICC, _EXIF_IFD, _GPS_IFD = 700, 34675, 0x8769, 0x8825
_INTEROP_IFD = 0xA005  # a mere offset into the old file
_NONE, _DEFLATE = 1, 8
_BLACK_IS_ZERO, _RGB = 1, 2
_INCH, _UNASSOCIATED_ALPHA, _HORIZONTAL = 2, 2, 2
_LONG, _UNDEFINED = 4, 7
_STRIP_BYTES = 1 << 18
_LEVEL = 6
_LARGEST = 2**32 - 1  # offsets have 32 bits

Directory = TiffImagePlugin.ImageFileDirectory_v2


def exif_directory(exif: bytes) -> Directory:
    """The tags of an EXIF block with its EXIF and GPS directories, ready for `write_tiff`.

    Raises whatever Pillow raises on damaged blocks: see `opening.DECODER_ERRORS`.
    """
    tags = Directory()
    found = Image.Exif()
    found.load(prefixed(exif))
    for tag, value in found.items():
        if tag not in (_EXIF_IFD, _GPS_IFD):
            tags[tag] = value
    for tag in (_EXIF_IFD, _GPS_IFD):
        if directory := found.get_ifd(tag):
            tags[tag] = {inner: value for inner, value in directory.items() if inner != _INTEROP_IFD}
    tags[ORIENTATION] = 1
    tags.tobytes()  # raises here rather than when the pixels are written already
    return tags


def write_tiff(
    file: BinaryIO,
    pixels: Pixels,
    alpha: Pixels | None,
    *,
    compress: bool,
    icc: bytes | None,
    descriptions: Directory | None,
    xmp: bytes | None,
    dpi: tuple[float, float] | None,
) -> None:
    """Write a TIFF file of the pixels' own depth.

    Parameters
    ----------
    pixels : (H, W, C) uint8 or uint16, C = 1 or 3
    alpha : (H, W) of the same dtype, or None; written as unassociated
    compress : deflate with a horizontal predictor, else none
    descriptions : from `exif_directory`; it is filled up here and not to be used again
    """
    height, width, channels = pixels.shape
    samples = channels + (alpha is not None)
    rows_per_strip = max(1, _STRIP_BYTES // (width * samples * pixels.dtype.itemsize))
    file.write(struct.pack("<2sHI", b"II", 42, 0))
    offsets, counts = [], []
    position = 8
    for top in range(0, height, rows_per_strip):
        strip = _strip(pixels, alpha, slice(top, top + rows_per_strip), compress=compress)
        offsets.append(position)
        counts.append(len(strip))
        position += file.write(strip)
        if position > _LARGEST:
            raise PictureError(
                "cannot write the picture as TIFF: it needs more than 4 GB; choose --format png"
            )
    position += file.write(b"\0" * (position % 2))
    tags = Directory() if descriptions is None else descriptions
    tags[_WIDTH], tags[_HEIGHT] = width, height
    tags[_BITS_PER_SAMPLE] = (pixels.dtype.itemsize * 8,) * samples
    tags[_COMPRESSION] = _DEFLATE if compress else _NONE
    tags[_PHOTOMETRIC] = _RGB if channels == 3 else _BLACK_IS_ZERO
    tags[_SAMPLES_PER_PIXEL], tags[_ROWS_PER_STRIP] = samples, rows_per_strip
    for tag, numbers in ((_STRIP_OFFSETS, [0] * len(offsets)), (_STRIP_BYTE_COUNTS, counts)):
        tags.tagtype[tag] = _LONG
        tags[tag] = tuple(numbers)
    if compress:
        tags[_PREDICTOR] = _HORIZONTAL
    if alpha is not None:
        tags[_EXTRA_SAMPLES] = _UNASSOCIATED_ALPHA
    if dpi is not None:
        tags[_X_RESOLUTION], tags[_Y_RESOLUTION], tags[_RESOLUTION_UNIT] = *dpi, _INCH
    for tag, content in ((_XMP, xmp), (_ICC, icc)):
        if content is not None:
            tags.tagtype[tag] = _UNDEFINED
            tags[tag] = content
    file.write(_with_offsets(tags.tobytes(position), offsets, position=position))
    file.seek(4)
    file.write(struct.pack("<I", position))


def _strip(pixels: Pixels, alpha: Pixels | None, rows: slice, *, compress: bool) -> bytes:
    samples = pixels[rows] if alpha is None else np.dstack([pixels[rows], alpha[rows]])
    little: np.ndarray[Any, Any] = np.array(
        samples, samples.dtype.newbyteorder("<")
    )  # a copy: the next line changes it
    if not compress:
        return little.tobytes()
    little[:, 1:] = samples[:, 1:] - samples[:, :-1]  # unsigned numbers wrap round, as the predictor wants it
    return zlib.compress(little.data, _LEVEL)


def _with_offsets(directory: bytes, offsets: list[int], *, position: int) -> bytes:
    """The directory's bytes with the strips' places: Pillow would move them, as it writes the strips last."""
    block = bytearray(directory)
    for tag, place in entries(block, "<", 0):
        if tag == _STRIP_OFFSETS:
            inside = (
                place + 8 if len(offsets) == 1 else struct.unpack_from("<I", block, place + 8)[0] - position
            )
            struct.pack_into(f"<{len(offsets)}I", block, inside, *offsets)
    return bytes(block)
