"""From arrays to the bytes of one format. Whatever Pillow encodes is handed to it strip by strip."""

import struct
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin

from deblur_cli.pictures import tiff
from deblur_cli.pictures.decoding import strips
from deblur_cli.pictures.deep_png import write_deep_png
from deblur_cli.pictures.formats import Format
from deblur_cli.pictures.luggage import Luggage
from deblur_cli.pictures.metadata import prefixed
from deblur_cli.pictures.picture import Picture

DEFAULT_JPEG_QUALITY = 95
DEFAULT_LOSSY_QUALITY = 90
"""For WebP, AVIF and HEIC, whose files do not tell the quality they were made with."""

_LARGEST_PROGRESSIVE = 24_000_000
"""Pixels. The encoder holds the whole picture once more for a progressive file."""

_LOSSLESS_KINDS = (None, "png", "tiff", "bmp", "gif", "ppm")
_PLAIN_TIFF = (None, "raw", "tiff_adobe_deflate", "tiff_deflate")
_INCHES_IN_A_METRE = 1 / 0.0254


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How the pixels will stand in the file.

    channels, alpha, bits : of the file
    quality, subsampling : of a lossy file, else None
    options : for Pillow's encoder
    notes : conversions, a sentence each
    """

    channels: int
    alpha: bool
    bits: int
    quality: int | None = None
    subsampling: str | None = None
    options: dict[str, Any]  # `Any`: each of Pillow's encoders has its own
    notes: tuple[str, ...] = ()


def plan_encoding(picture: Picture, *, format: Format, quality: int | None) -> Encoding:
    """Choose depth, channels and compression near the origin's.

    Parameters
    ----------
    quality : 1..100, asked for by the user; None keeps the input's where the file tells it
    """
    has_alpha = picture.alpha is not None
    alpha = has_alpha and format.alpha
    grey = picture.pixels.shape[2] == 1 and format.grey
    notes = []
    if has_alpha and not alpha:
        notes.append(f"transparency laid on white, as {format.name} has none")
    if picture.bits == 16 and not format.deep:
        notes.append(f"16 bit rounded to 8 bit, as {format.name} holds no more here")
    options: dict[str, Any] = {}
    subsampling: str | None = None
    if format.name == "jpeg":
        quality, subsampling, options = _jpeg_options(picture, quality=quality)
        if (
            picture.origin.jpeg is not None
            and picture.origin.jpeg.progressive
            and "progressive" not in options
        ):
            notes.append("written as baseline JPEG, to save memory")
    elif format.name == "webp":
        lossless = quality is None and (
            picture.origin.lossless
            if picture.origin.lossless is not None
            else picture.origin.format in _LOSSLESS_KINDS
        )
        quality = None if lossless else quality or DEFAULT_LOSSY_QUALITY
        options = {"lossless": True} if lossless else {"quality": quality}
        options["exact"] = True  # colours under full transparency stay
        if quality is not None and picture.origin.format == "webp":
            notes.append(f"written with quality {quality}, as WebP does not tell the input's")
    elif format.name in ("avif", "heic"):
        quality = quality or DEFAULT_LOSSY_QUALITY
        options, subsampling = {"quality": quality}, "4:4:4" if format.name == "avif" else None
        if subsampling:
            options["subsampling"] = subsampling
        if picture.origin.format == format.name:
            notes.append(
                f"written with quality {quality}, as {format.name.upper()} does not tell the input's"
            )
    else:
        quality = None
        if format.name == "tiff" and picture.origin.compression not in _PLAIN_TIFF:
            notes.append(f"compressed with deflate instead of {picture.origin.compression}")
    return Encoding(
        channels=1 if grey else 3,
        alpha=alpha,
        bits=picture.bits if format.deep else 8,
        quality=quality,
        subsampling=subsampling,
        options=options,
        notes=tuple(notes),
    )


def encode(file: BinaryIO, picture: Picture, *, format: Format, encoding: Encoding, luggage: Luggage) -> None:
    """Write the picture's bytes."""
    if format.name == "tiff":
        tiff.write_tiff(
            file,
            picture.pixels,
            picture.alpha,
            compress=picture.origin.compression != "raw",
            icc=luggage.icc,
            descriptions=None if luggage.exif is None else tiff.exif_directory(luggage.exif),
            xmp=luggage.xmp,
            dpi=luggage.dpi,
        )
    elif format.name == "png" and encoding.bits == 16:
        write_deep_png(file, picture.pixels, picture.alpha, chunks=_deep_png_chunks(luggage))
    else:
        image = to_pillow(picture, channels=encoding.channels, alpha=encoding.alpha)
        image.save(file, format=format.pillow, **encoding.options, **_pillow_luggage(luggage, format=format))


def to_pillow(picture: Picture, *, channels: int, alpha: bool) -> Image.Image:
    """An 8-bit Pillow image of the picture, made strip by strip: four bytes a pixel beside the arrays.

    Sixteen bits are rounded. With `alpha` False, transparency is laid on white.
    """
    mode = {(1, False): "L", (1, True): "LA", (3, False): "RGB", (3, True): "RGBA"}[channels, alpha]
    pixels = picture.pixels
    if (
        mode == "RGB"
        and pixels.dtype == np.uint8
        and pixels.shape[2] == 3
        and picture.alpha is None
        and pixels.flags.c_contiguous
    ):
        return Image.fromarray(pixels)  # nothing to convert: Pillow copies row by row by itself
    image = Image.new(mode, (picture.width, picture.height))
    for rows in strips(picture.height, picture.width):
        samples = _eight_bit(picture.pixels[rows])
        if picture.alpha is not None:
            opacity = _eight_bit(picture.alpha[rows])[..., None]
            if alpha:
                samples = np.concatenate(
                    [np.broadcast_to(samples, (*samples.shape[:2], channels)), opacity], axis=2
                )
            else:
                weighted = samples * opacity.astype(np.uint16) + np.uint16(255) * (255 - opacity)
                samples = ((weighted + np.uint16(127)) // 255).astype(np.uint8)
        if not alpha and channels == 3 and samples.shape[2] == 1:
            samples = np.repeat(samples, 3, axis=2)
        strip = np.ascontiguousarray(samples[..., 0] if mode == "L" else samples)
        image.paste(Image.fromarray(strip), (0, rows.start))
    return image


def _eight_bit(samples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:  # `Any`: either depth, any shape
    if samples.dtype == np.uint8:
        return samples
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _jpeg_options(picture: Picture, *, quality: int | None) -> tuple[int, str | None, dict[str, Any]]:
    """Quality, subsampling and the encoder's options: the input's own quantisation tables where they fit."""
    style, is_grey = picture.origin.jpeg, picture.pixels.shape[2] == 1
    if style is None:
        subsampling = None if is_grey else "4:4:4"
        options: dict[str, Any] = {"quality": quality or DEFAULT_JPEG_QUALITY}
    else:
        subsampling = None if is_grey else style.subsampling or "4:4:4"
        usable = picture.origin.mode in ("rgb", "grey") and all(
            1 <= step <= 255 for table in style.tables for step in table
        )
        if quality is None and usable:
            options = {"qtables": [list(table) for table in style.tables]}
        else:
            options = {"quality": quality or style.quality}
        if style.progressive and picture.height * picture.width <= _LARGEST_PROGRESSIVE:
            options["progressive"] = True
    if subsampling is not None:
        options["subsampling"] = subsampling
    return quality or (style.quality if style else DEFAULT_JPEG_QUALITY), subsampling, options


def _pillow_luggage(luggage: Luggage, *, format: Format) -> dict[str, Any]:
    """Descriptions as Pillow's encoders take them."""
    options: dict[str, Any] = {
        "icc_profile": luggage.icc,
        "exif": None if luggage.exif is None else prefixed(luggage.exif),
        "xmp": luggage.xmp,
        "dpi": luggage.dpi,
        "comment": luggage.comment,
        "extra": luggage.iptc,
    }
    if format.name == "png":
        del options["xmp"]
        options["pnginfo"] = _png_info(luggage)
    return {name: value for name, value in options.items() if value is not None}


def _png_info(luggage: Luggage) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for name, content in luggage.chunks:
        info.add(name, content)
    for keyword, text in luggage.text:
        info.add_text(keyword, text)
    if luggage.xmp is not None:
        info.add(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + luggage.xmp)
    return info


def _deep_png_chunks(luggage: Luggage) -> list[tuple[bytes, bytes]]:
    chunks = [(name, content) for name, content, *_ in _png_info(luggage).chunks]
    if luggage.icc is not None:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(luggage.icc)))
    if luggage.dpi is not None:
        across, down = (round(value * _INCHES_IN_A_METRE) for value in luggage.dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", across, down, 1)))
    if luggage.exif is not None:
        chunks.append((b"eXIf", luggage.exif))
    return chunks
