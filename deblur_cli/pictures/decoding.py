"""From a picture that Pillow has opened to arrays, strip by strip.

Pillow holds four bytes a pixel. Converting it in one go would need as much again; in strips the peak is Pillow's copy
plus the array: seven bytes a pixel for 8-bit RGB. The array is filled through a turned view, so that EXIF orientation
costs no further copy.

Pillow cuts 16-bit colour to its upper bytes without a word. It does so in the last step, where raw bytes become
pixels, so such files are decoded twice, once for each byte. This covers every compression that Pillow knows.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from deblur_cli.pictures.modes import Recipe
from deblur_cli.pictures.opening import load
from deblur_cli.pictures.picture import Pixels

_STRIP_PIXELS = 1 << 18
_DEEP = ("RGB;16", "RGBA;16", "RGBX;16", "RGBa;16", "LA;16")
_PHOTOMETRIC, _BITS_PER_SAMPLE = 262, 258


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the file says of its samples that Pillow does not show once they are decoded.

    deep : 16-bit colour; one_pass : of a kind that shows both bytes at once
    premultiplied : 16-bit colour already multiplied by alpha
    bits : 2, 4 or 12 where samples are stored in so many bits, else None
    white_is_zero : 16-bit grey stored negatively, which Pillow ignores
    """

    deep: bool
    one_pass: bool
    premultiplied: bool
    bits: int | None
    white_is_zero: bool


def stored_samples(image: Image.Image) -> Stored:
    """What an opened, not yet loaded picture says of its samples."""
    raw = _raw_mode(image)
    bits = {"L;2": 2, "L;4": 4, "L;2I": 2, "L;4I": 4, "I;12": 12}.get(raw)
    white_is_zero = False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        white_is_zero = image.mode.startswith("I;16") and image.tag_v2.get(_PHOTOMETRIC) == 0
        if image.tag_v2.get(_BITS_PER_SAMPLE) == (12,):
            bits = 12
    return Stored(
        deep=raw.startswith(_DEEP),
        one_pass=raw.startswith("LA;16"),
        premultiplied=raw.startswith("RGBa;16"),
        bits=bits,
        white_is_zero=white_is_zero,
    )


def keep_samples(image: Image.Image) -> None:
    """Before loading 16-bit colour: stop Pillow from changing the samples while it unpacks them.

    Grey with alpha is unpacked as if it were 8-bit RGBA, which shows all four bytes at once; premultiplied colour as if
    it were plain.
    """
    raw = _raw_mode(image)
    if raw.startswith("LA;16"):
        _set_raw_mode(image, "RGBA")
    elif raw.startswith("RGBa;16"):
        _set_raw_mode(image, raw.replace("RGBa", "RGBA"))


def read_once(image: Image.Image, *, recipe: Recipe, orientation: int) -> tuple[Pixels, Pixels | None]:
    """Pixels and alpha of a loaded picture, upright; Pillow's copy is freed."""
    pixels, alpha = _empty(image, recipe=recipe, orientation=orientation)
    stored_alpha = None if alpha is None else _as_stored(alpha, orientation)
    _fill(image, recipe=recipe, pixels=_as_stored(pixels, orientation), alpha=stored_alpha)
    return pixels, alpha


def read_twice(
    image: Image.Image, *, reopen: Callable[[], Image.Image], recipe: Recipe, orientation: int
) -> tuple[Pixels, Pixels | None]:
    """The same for 16-bit colour: `image` is loaded and holds the upper bytes, `reopen` gives it once more, not loaded."""
    pixels, alpha = _empty(image, recipe=recipe, orientation=orientation)
    upper, lower = (1, 0) if sys.byteorder == "little" else (0, 1)
    _fill_byte(image, upper, recipe=recipe, pixels=pixels, alpha=alpha, orientation=orientation)
    with closing(reopen()) as again:
        _show_lower_bytes(again)
        load(again)
        _fill_byte(again, lower, recipe=recipe, pixels=pixels, alpha=alpha, orientation=orientation)
    return pixels, alpha


def divide_by_alpha(pixels: Pixels, alpha: Pixels) -> None:
    """Undo premultiplication in place, rounding; what is fully transparent stays black."""
    full = int(np.iinfo(pixels.dtype).max)
    for rows in strips(*alpha.shape):
        divisor = np.maximum(alpha[rows], 1).astype(np.uint64)[..., None]
        pixels[rows] = np.minimum((pixels[rows] * np.uint64(full) + divisor // 2) // divisor, full)


def key_alpha(pixels: Pixels, key: tuple[int, ...]) -> Pixels:
    """Alpha of a picture in which one colour is transparent."""
    alpha = np.full(pixels.shape[:2], np.iinfo(pixels.dtype).max, pixels.dtype)
    for rows in strips(*alpha.shape):
        alpha[rows][(pixels[rows] == np.asarray(key)).all(axis=2)] = 0
    return alpha


def strips(height: int, width: int) -> Iterator[slice]:
    """Rows in portions that stay in the processor's cache."""
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def upright(samples: Pixels, orientation: int) -> Pixels:
    """Samples in the file's order turned upright, as a contiguous array."""
    height, width = samples.shape[:2]
    turned = np.empty(
        (width, height, *samples.shape[2:]) if orientation >= 5 else samples.shape, samples.dtype
    )
    _as_stored(turned, orientation)[...] = samples
    return turned


def _raw_mode(image: Image.Image) -> str:
    """How Pillow will unpack the samples of an opened, not yet loaded picture."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ""
    args = tiles[0].args
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _set_raw_mode(image: Image.Image, raw: str) -> None:
    assert isinstance(image, ImageFile.ImageFile)
    image.tile = [
        tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw)
        for tile in image.tile
    ]


def _show_lower_bytes(image: Image.Image) -> None:
    """Before loading 16-bit colour: reading it in the wrong byte order makes Pillow's upper byte the lower one."""
    keep_samples(image)
    raw = _raw_mode(image)
    native = "L" if sys.byteorder == "little" else "B"
    order = native if raw[-1] == "N" else raw[-1]
    _set_raw_mode(image, raw[:-1] + ("B" if order == "L" else "L"))


def _empty(image: Image.Image, *, recipe: Recipe, orientation: int) -> tuple[Pixels, Pixels | None]:
    width, height = image.size
    if orientation >= 5:
        width, height = height, width
    dtype = np.uint8 if recipe.bits == 8 else np.uint16
    return np.empty((height, width, recipe.channels), dtype), np.empty(
        (height, width), dtype
    ) if recipe.alpha else None


def _fill_byte(
    image: Image.Image, byte: int, *, recipe: Recipe, pixels: Pixels, alpha: Pixels | None, orientation: int
) -> None:
    def part(samples: Pixels) -> Pixels:
        return _as_stored(samples.view(np.uint8).reshape(*samples.shape, 2)[..., byte], orientation)

    _fill(image, recipe=recipe, pixels=part(pixels), alpha=None if alpha is None else part(alpha))


def _fill(image: Image.Image, *, recipe: Recipe, pixels: Pixels, alpha: Pixels | None) -> None:
    """Convert strip by strip into arrays that have rows where the file has them; then free Pillow's copy."""
    width, height = image.size
    for rows in strips(height, width):
        samples = recipe.piece(image.crop((0, rows.start, width, rows.stop)))
        pixels[rows] = samples[..., : recipe.channels]
        if alpha is not None:
            alpha[rows] = samples[..., recipe.channels]
    image.close()


def _as_stored(upright: Pixels, orientation: int) -> Pixels:
    """A view of the upright array that has rows and columns where the file has them (EXIF 2.32, table 6)."""
    turns: dict[int, Callable[[], Pixels]] = {
        2: lambda: upright[:, ::-1],
        3: lambda: upright[::-1, ::-1],
        4: lambda: upright[::-1],
        5: lambda: upright.swapaxes(0, 1),
        6: lambda: np.rot90(upright, 1),
        7: lambda: upright[::-1, ::-1].swapaxes(0, 1),
        8: lambda: np.rot90(upright, -1),
    }
    return turns[orientation]() if orientation in turns else upright
