"""Arrays and PIL images as colour and alpha, and back."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from deblur_cli.errors import PictureError

if TYPE_CHECKING:
    from PIL.Image import Image

# `Any`: NumPy has no way to write a shape such as (H, W, C), and the dtype is one of three
Array = np.ndarray[Any, np.dtype[Any]]

_DIRECT = ("L", "RGB", "LA", "RGBA")


def split_array(array: Array) -> tuple[Array, Callable[[Array], Array]]:
    """The colour of an array as (H, W, 1 or 3), and what gives a restored colour the array's own form.

    Parameters
    ----------
    array : (H, W) or (H, W, C), C = 1, 2 (grey, alpha), 3 or 4 (RGB, alpha)
    """
    if array.ndim == 2:
        return array[:, :, None], lambda colour: colour[:, :, 0]
    if array.ndim == 3 and array.shape[2] in (2, 4):
        alpha = array[:, :, -1:]
        return array[:, :, :-1], lambda colour: np.concatenate([colour, alpha], axis=2)
    return array, lambda colour: colour


def split_image(image: "Image") -> tuple[Array, Callable[[Array], "Image"]]:
    """The colour of a PIL image as (H, W, 1 or 3), and what makes an image of a restored colour.

    Modes L, LA, RGB, RGBA and I;16 come back as they are; palettes as RGB or RGBA, bilevel as L, the others converted.
    """
    from PIL import Image as images

    if not isinstance(image, images.Image):
        raise PictureError(
            f"cannot restore a {type(image).__name__}; give a path, a PIL image or a NumPy array"
        )
    mode = image.mode
    if mode.startswith("I;16"):
        colour, join = split_array(np.asarray(image).astype(np.uint16))
        return colour, lambda restored: _like(images.fromarray(join(restored)), image)
    if mode in ("I", "F"):
        raise PictureError(
            f"cannot restore a PIL image of mode {mode}; convert it to L, RGB or I;16, or give an array"
        )
    through = mode if mode in _DIRECT else _mode_between(image)
    colour, join = split_array(np.asarray(image.convert(through)))

    def join_image(restored: Array) -> "Image":
        result = images.fromarray(join(restored))
        return _like(
            result.convert(mode) if mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX") else result, image
        )

    return colour, join_image


def _mode_between(image: "Image") -> str:
    if image.mode == "1":
        return "L"
    return "RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB"


def _like(result: "Image", image: "Image") -> "Image":
    result.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return result
