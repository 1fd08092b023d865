"""What travels with the pixels: EXIF, XMP, resolution, JPEG tables, PNG colour chunks."""

import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

from deblur_cli.pictures.picture import JpegStyle

ORIENTATION = 0x0112
_EXIF_IFD = 0x8769
_GPS_IFD = 0x8825
_PIXEL_WIDTH, _PIXEL_HEIGHT = 0xA002, 0xA003
_SHORT, _LONG = 3, 4

# Of a TIFF file's own tags only these describe the picture; the others describe how the file stores it.
_DESCRIPTIVE = (270, 271, 272, 305, 306, 315, 316, 33432)

_EXIF_PREFIX = b"Exif\0\0"
_EMPTY_EXIF = 20  # bytes of a block without a single tag
_PHOTOSHOP = b"Photoshop 3.0\0"

# Table K.1 of ITU-T T.81 in natural order: libjpeg scales it by the quality.
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
).reshape(64)


def upright_exif(exif: bytes, *, width: int, height: int) -> bytes:
    """EXIF of a picture that has been turned upright: orientation 1, its new size, and no thumbnail.

    The block is patched in place and otherwise stays as it is, byte for byte, because makers' notes hold offsets that
    do not survive being written anew. The thumbnail shows the picture before restoring, so its directory is cut off.

    Raises ValueError where the block is no TIFF structure.
    """
    block = bytearray(exif)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(block[:4]))
    if order is None:
        raise ValueError("EXIF does not begin like a TIFF file")
    try:
        (first,) = struct.unpack_from(order + "I", block, 4)
        for tag, position in entries(block, order, first):
            if tag == ORIENTATION:
                _set_integer(block, order, position, 1)
            elif tag == _EXIF_IFD:
                (details,) = struct.unpack_from(order + "I", block, position + 8)
                for detail, place in entries(block, order, details):
                    if detail in (_PIXEL_WIDTH, _PIXEL_HEIGHT):
                        _set_integer(block, order, place, width if detail == _PIXEL_WIDTH else height)
        struct.pack_into(order + "I", block, _next_pointer(block, order, first), 0)
    except struct.error as error:
        raise ValueError("EXIF is cut off") from error
    return bytes(block)


def has_thumbnail(exif: bytes) -> bool:
    """Whether the EXIF block has a second directory, which is where a thumbnail stands."""
    order = "<" if exif[:2] == b"II" else ">"
    try:
        (first,) = struct.unpack_from(order + "I", exif, 4)
        return bool(struct.unpack_from(order + "I", exif, _next_pointer(exif, order, first))[0])
    except struct.error:
        return False


def upright_xmp(xmp: bytes) -> bytes:
    """XMP of a picture that has been turned upright."""
    return re.sub(rb"""(tiff:Orientation(?:\s*=\s*["']|\s*>\s*))[2-8]""", rb"\g<1>1", xmp)


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation of a loaded picture, 1 where there is none or nonsense."""
    return valid_orientation(image.getexif().get(ORIENTATION))


def valid_orientation(value: object) -> int:
    """1 to 8 as they are, 1 for anything else."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def descriptive_exif(found: Image.Exif) -> bytes | None:
    """The descriptive tags of a TIFF file and its EXIF and GPS directories, as an EXIF block."""
    exif = Image.Exif()
    for tag in _DESCRIPTIVE:
        if tag in found:
            exif[tag] = found[tag]
    for tag in (_EXIF_IFD, _GPS_IFD):
        if directory := found.get_ifd(tag):
            exif.get_ifd(tag).update(directory)
    return without_prefix(exif.tobytes()) if len(exif.tobytes()) > _EMPTY_EXIF else None


def prefixed(exif: bytes) -> bytes:
    """EXIF as Pillow wants it."""
    return _EXIF_PREFIX + exif


def without_prefix(exif: bytes) -> bytes:
    """EXIF as a bare TIFF structure."""
    return exif.removeprefix(_EXIF_PREFIX)


def jpeg_style(image: Image.Image) -> JpegStyle | None:
    """How a JPEG file was compressed; None for other files."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or not image.quantization:
        return None
    tables = tuple(
        tuple(int(step) for step in image.quantization[index]) for index in sorted(image.quantization)
    )
    sampling = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}.get(JpegImagePlugin.get_sampling(image))
    if sampling is None and image.layers == 3:
        sampling = "4:4:4"  # a rare one, such as 4:4:0: the finest loses nothing
    return JpegStyle(
        quality=estimate_quality(tables[0]),
        subsampling=sampling,
        progressive="progressive" in image.info,
        tables=tables,
    )


def estimate_quality(table: tuple[int, ...]) -> int:
    """The quality, 1..100, for which libjpeg's luminance table comes nearest to `table` (64 steps, natural order)."""
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    scaled = np.clip((_LUMINANCE * scale[:, None] + 50) // 100, 1, 255)
    distance = np.abs(scaled - np.asarray(table, dtype=np.int64)).sum(axis=1)
    return int(quality[np.flatnonzero(distance == distance.min())[-1]])


def iptc_of_jpeg(image: Image.Image) -> bytes | None:
    """The Photoshop segments of a JPEG file, in which captions and keywords stand; None where there are none."""
    segments = getattr(image, "applist", ())
    found = [data for name, data in segments if name == "APP13" and data.startswith(_PHOTOSHOP)]
    return b"".join(b"\xff\xed" + struct.pack(">H", len(data) + 2) + data for data in found) or None


def png_text(image: Image.Image) -> tuple[tuple[str, str], ...]:
    """The texts of a PNG file, but for those that are kept in other ways."""
    texts: dict[str, str] = getattr(image, "text", {})
    return tuple(
        (keyword, str(text))
        for keyword, text in texts.items()
        if keyword != "XML:com.adobe.xmp" and not keyword.lower().startswith(("raw profile type", "exif"))
    )


def png_chunks(info: Mapping[Any, Any]) -> tuple[tuple[bytes, bytes], ...]:
    """The colour chunks of a PNG file, made again from what Pillow understood of them."""
    chunks = []
    if isinstance(gamma := info.get("gamma"), float):
        chunks.append((b"gAMA", struct.pack(">I", round(gamma * 100_000))))
    if isinstance(points := info.get("chromaticity"), tuple):
        chunks.append((b"cHRM", struct.pack(">8I", *(round(point * 100_000) for point in points))))
    if isinstance(intent := info.get("srgb"), int):
        chunks.append((b"sRGB", bytes([intent])))
    return tuple(chunks)


def resolution(info: Mapping[Any, Any]) -> tuple[float, float] | None:
    """Dots per inch, horizontal and vertical; None where the file does not say or says nonsense."""
    try:
        horizontal, vertical = (float(value) for value in info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (horizontal, vertical) if 0 < horizontal < 1e5 and 0 < vertical < 1e5 else None


def icc_channels(icc: bytes) -> int | None:
    """Number of channels that a colour profile is for: 1 grey, 3 RGB, 4 CMYK; None for others."""
    return {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}.get(icc[16:20])


def is_lossless_webp(head: bytes) -> bool:
    """Whether a WebP file is of the lossless kind; `head` is its beginning."""
    position = 12
    while position + 8 <= len(head):
        name, size = struct.unpack_from("<4sI", head, position)
        if name in (b"VP8L", b"VP8 "):
            return bool(name == b"VP8L")
        position += 8 + size + size % 2
    return False


def entries(block: bytes | bytearray, order: str, offset: int) -> Iterator[tuple[int, int]]:
    """Tag and position of each entry of the directory at `offset`."""
    (count,) = struct.unpack_from(order + "H", block, offset)
    for index in range(count):
        position = offset + 2 + 12 * index
        yield struct.unpack_from(order + "H", block, position)[0], position


def _next_pointer(block: bytes | bytearray, order: str, offset: int) -> int:
    (count,) = struct.unpack_from(order + "H", block, offset)
    return int(offset + 2 + 12 * count)


def _set_integer(block: bytearray, order: str, position: int, value: int) -> None:
    kind, count = struct.unpack_from(order + "HI", block, position + 2)
    if count == 1 and kind == _SHORT:
        struct.pack_into(order + "HH", block, position + 8, value, 0)
    elif count == 1 and kind == _LONG:
        struct.pack_into(order + "I", block, position + 8, value)
    else:
        raise ValueError("EXIF holds an entry of an odd kind")
