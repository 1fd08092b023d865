"""How each kind of pixels that a file may hold becomes 8- or 16-bit grey or RGB."""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageCms

from deblur_cli.pictures.opening import RefusedError

if TYPE_CHECKING:
    from deblur_cli.pictures.decoding import Stored

Samples = np.ndarray[Any, Any]  # `Any`: (h, w, channels) of the recipe, 8 or 16 bit


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to turn strips of one kind of picture into samples.

    piece : a strip to (h, w, channels [+ 1]) samples
    channels : 1 or 3; alpha : whether a further channel follows; bits : 8 or 16
    key : the colour that is transparent, in samples, or None
    mode : the file's own words for its pixels; notes : conversions, a sentence each
    """

    piece: Callable[[Image.Image], Samples]
    mode: str
    channels: int
    alpha: bool = False
    bits: int = 8
    key: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()


def recipe_for(image: Image.Image, *, stored: "Stored") -> Recipe:
    """How to read an opened and loaded picture.

    Raises RefusedError for integers beyond 16 bit, floating point, and whatever else would lose too much.
    """
    if stored.one_pass:
        # Loaded as if it were RGBA: the four bytes are two big-endian samples.
        return Recipe(piece=_pairs_of_bytes, mode="16-bit grey with alpha", channels=1, alpha=True, bits=16)
    known: dict[str, Callable[[], Recipe]] = {
        "RGB": lambda: Recipe(piece=_plain, mode="rgb", channels=3, key=_colour_key(image)),
        "RGBA": lambda: Recipe(piece=_plain, mode="rgb with alpha", channels=3, alpha=True),
        "L": lambda: _grey(image, bits=stored.bits),
        "1": lambda: _grey(image, bits=1),
        "LA": lambda: Recipe(piece=_plain, mode="grey with alpha", channels=1, alpha=True),
        "P": lambda: _palette(image),
        "PA": lambda: _palette(image),
        "CMYK": lambda: _cmyk(image),
        "LAB": _lab,
        "I;16": lambda: _deep_grey(image, stored=stored),
        "I;16B": lambda: _deep_grey(image, stored=stored),
        "I;16L": lambda: _deep_grey(image, stored=stored),
        "La": lambda: Recipe(piece=_converted("LA"), mode="grey with alpha", channels=1, alpha=True),
        "RGBa": lambda: Recipe(piece=_converted("RGBA"), mode="rgb with alpha", channels=3, alpha=True),
        "RGBX": lambda: Recipe(piece=_converted("RGB"), mode="rgb", channels=3),
        "YCbCr": lambda: Recipe(piece=_converted("RGB"), mode="ycbcr", channels=3),
    }
    if image.mode == "I" and image.format == "PPM":
        return Recipe(
            piece=lambda strip: _plain(strip).astype(np.uint16), mode="16-bit grey", channels=1, bits=16
        )
    if image.mode not in known:
        words = {"I": "32-bit integers", "F": "floating-point numbers"}.get(
            image.mode, f"of the kind {image.mode!r}"
        )
        raise RefusedError(f"its pixels are {words}; convert it to 8 or 16 bits a channel first")
    recipe = known[image.mode]()
    if recipe.key is not None:
        recipe = replace(recipe, notes=(*recipe.notes, "the transparent colour became an alpha channel"))
    if stored.deep:
        recipe = replace(recipe, bits=16, mode=f"16-bit {recipe.mode}")
    return recipe


def _plain(strip: Image.Image) -> Samples:
    samples = np.asarray(strip)
    return samples[..., None] if samples.ndim == 2 else samples


def _pairs_of_bytes(strip: Image.Image) -> Samples:
    return np.ascontiguousarray(_plain(strip)).view(">u2")


def _converted(mode: str) -> Callable[[Image.Image], Samples]:
    return lambda strip: _plain(strip.convert(mode))


def _colour_key(image: Image.Image) -> tuple[int, ...] | None:
    key = image.info.get("transparency")
    return key if isinstance(key, tuple) and len(key) == 3 else None


def _grey(image: Image.Image, *, bits: int | None) -> Recipe:
    key = image.info.get("transparency")
    notes: tuple[str, ...] = ()
    if bits is not None:
        notes = (f"{bits}-bit grey became 8-bit grey",)
        if isinstance(key, int) and bits > 1:  # Pillow has scaled the samples but not the key
            key = key * 255 // (2**bits - 1)
    return Recipe(
        piece=_converted("L") if bits == 1 else _plain,
        mode="grey" if bits is None else f"{bits}-bit grey",
        channels=1,
        key=(key,) if isinstance(key, int) else None,
        notes=notes,
    )


def _deep_grey(image: Image.Image, *, stored: "Stored") -> Recipe:
    def piece(strip: Image.Image) -> Samples:
        samples: Samples = _plain(strip).astype(np.uint16)
        if stored.bits == 12:  # the full range again
            samples = samples << 4 | samples >> 8
        return 65535 - samples if stored.white_is_zero else samples

    key = image.info.get("transparency")
    return Recipe(
        piece=piece,
        mode=f"{stored.bits or 16}-bit grey",
        channels=1,
        bits=16,
        key=(key,) if isinstance(key, int) else None,
        notes=("12-bit grey became 16-bit grey",) if stored.bits == 12 else (),
    )


def _palette(image: Image.Image) -> Recipe:
    has_alpha = image.mode == "PA" or "transparency" in image.info
    colours = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    is_grey = bool((colours == colours[:, :1]).all())

    def piece(strip: Image.Image) -> Samples:
        samples = _plain(strip.convert("RGBA" if has_alpha else "RGB"))
        return samples[..., [0, 3]] if is_grey and has_alpha else samples

    words = "grey" if is_grey else "RGB"
    return Recipe(
        piece=piece,
        mode="palette",
        channels=1 if is_grey else 3,
        alpha=has_alpha,
        notes=(f"palette colours became 8-bit {words}",),
    )


def _lab() -> Recipe:
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
    return Recipe(piece=_through(transform), mode="lab", channels=3, notes=("Lab colours converted to sRGB",))


def _cmyk(image: Image.Image) -> Recipe:
    """CMYK to sRGB, with the embedded profile where there is one."""
    notes: tuple[str, ...] = ()
    if any(";16" in str(tile.args) for tile in getattr(image, "tile", ())):
        notes = ("16-bit CMYK read as 8 bit",)
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"])), ImageCms.createProfile("sRGB"),
            "CMYK", "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC, flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )  # fmt: skip
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, KeyError):
        to_rgb = _converted("RGB")
        note = "CMYK converted to RGB by the plain formula, as there is no usable profile in the file"
    else:
        to_rgb = _through(transform)
        note = "CMYK converted to sRGB with the embedded profile"
    # Pillow takes every CMYK JPEG for negative, as Adobe's programs store it; without their marker it is not.
    positive = image.format in ("JPEG", "MPO") and "adobe" not in image.info

    def piece(strip: Image.Image) -> Samples:
        return to_rgb(Image.fromarray(255 - np.asarray(strip), "CMYK") if positive else strip)

    return Recipe(piece=piece, mode="cmyk", channels=3, notes=(*notes, note))


def _through(transform: ImageCms.ImageCmsTransform) -> Callable[[Image.Image], Samples]:
    def piece(strip: Image.Image) -> Samples:
        converted = ImageCms.applyTransform(strip, transform)
        assert converted is not None  # None comes from converting in place only
        return _plain(converted)

    return piece
