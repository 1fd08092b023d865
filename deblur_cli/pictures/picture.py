"""What a picture is between reading and writing, and what is reported of it."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Pixels = np.ndarray[Any, np.dtype[np.uint8 | np.uint16]]
"""Unsigned 8- or 16-bit samples. `Any`: NumPy has no way to write a shape such as (H, W, C)."""


def _text(path: Path | str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def shown(path: Path | str) -> str:
    """A path as it may stand in a message: control characters and bytes that are no text are escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "replace").decode()
        for letter in _text(path)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegStyle:
    """How a JPEG file was compressed.

    quality : 1..100 on the scale of libjpeg, estimated from the quantisation tables
    subsampling : "4:4:4", "4:2:2" or "4:2:0"; None for grey
    tables : the quantisation tables themselves, 64 values each in natural order
    """

    quality: int
    subsampling: str | None
    progressive: bool
    tables: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a picture came from: all that is needed to write it back alike.

    path : the file read; None for a stream or an array. Writing refuses to replace it
    format : "png", "jpeg", "tiff", "webp", "bmp", ...; None for an array
    mode : the file's own words for its pixels, such as "palette" or "cmyk"
    icc : colour profile; exif : EXIF block as a TIFF structure (no "Exif" prefix), already turned upright; xmp : packet
    dpi : horizontal, vertical
    jpeg : compression of a JPEG file; lossless : whether the file's compression was (WebP, AVIF)
    compression : of a TIFF file, in Pillow's words
    text : of a PNG file, keyword and value; chunks : its colour chunks (gAMA, cHRM, sRGB), name and bytes
    iptc : the Photoshop segment of a JPEG file with captions and keywords; comment : of a JPEG file
    notes : conversions made while reading, a sentence each
    """

    path: Path | None = None
    format: str | None = None
    mode: str | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    jpeg: JpegStyle | None = None
    lossless: bool | None = None
    compression: str | None = None
    text: tuple[tuple[str, str], ...] = ()
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    iptc: bytes | None = None
    comment: bytes | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture in memory, upright.

    pixels : (H, W, C) uint8 or uint16, C = 1 (grey) or 3 (RGB)
    alpha : (H, W) of the same dtype, or None
    origin : what is needed to write it back alike

    Raises ValueError where shapes or dtypes do not fit each other.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    origin: Origin = field(default_factory=Origin)

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] not in (1, 3) or 0 in shape:
            raise ValueError(f"pixels must be (H, W, 1) or (H, W, 3), got {shape}")
        if dtype not in (np.uint8, np.uint16):
            raise ValueError(f"pixels must be uint8 or uint16, got {dtype}")
        if self.alpha is not None and (self.alpha.shape != shape[:2] or self.alpha.dtype != dtype):
            raise ValueError(f"alpha must be {shape[:2]} {dtype}, got {self.alpha.shape} {self.alpha.dtype}")

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def bits(self) -> int:
        """Bits per sample, 8 or 16."""
        return self.pixels.dtype.itemsize * 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What of the input a written file holds. `as_dict` is what `--json` shows.

    kept : what came with the input and stands in the output, such as "icc" or "alpha"
    lost : what came with the input and does not
    notes : every conversion, a sentence each; empty when the output is like the input
    quality, subsampling : of a lossy output
    """

    format: str
    width: int
    height: int
    bits: int
    channels: int
    kept: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    quality: int | None = None
    subsampling: str | None = None
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """The same as values that JSON can hold."""
        return {
            "format": self.format,
            "width": self.width,
            "height": self.height,
            "bits": self.bits,
            "channels": self.channels,
            "kept": list(self.kept),
            "lost": list(self.lost),
            "quality": self.quality,
            "subsampling": self.subsampling,
            "notes": list(self.notes),
        }
