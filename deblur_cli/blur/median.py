"""Median of a square, used as if it were blur. It is no convolution: it has no kernel, and edges stay where they are."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deblur_cli.blur.borders import require_room
from deblur_cli.blur.distributions import Choice, Distribution, greatest
from deblur_cli.blur.opencv import import_opencv
from deblur_cli.blur.params import check_ranges, number
from deblur_cli.pictures.scaling import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Median:
    """k : side in px; 1 = identity."""

    k: int = number(unit="px", ge=1, le=31, odd=True, drawn=Choice((5, 9, 13)))

    def __post_init__(self) -> None:
        check_ranges(self)


def bound(node: Mapping[str, Distribution]) -> int:
    """The largest distance in px at which a drawn filter looks."""
    return int(greatest(node["k"])) // 2


def apply(image: Image, params: Median, rng: np.random.Generator | None = None) -> Image:
    """The median around each pixel, channel by channel, repeating the outermost pixels at the border.

    Parameters
    ----------
    image : (H, W, C) float32, any light, which makes no difference; k = 1 returns this very array
    rng : not used

    Raises
    ------
    PictureError : the picture is not larger than k/2
    """
    if params.k == 1:
        return image
    require_room(image, params.k // 2)
    levels = np.unique(image)
    if (
        len(levels) <= 256
    ):  # as all pictures that were stored in 8 bit; OpenCV takes floats for k = 3 and 5 only
        codes = np.searchsorted(levels, image).astype(np.uint8)
        chosen: Image = levels[import_opencv().medianBlur(codes, params.k).reshape(image.shape)]
        return chosen
    from scipy.ndimage import median_filter

    result: Image = median_filter(image, size=(params.k, params.k, 1), mode="nearest")
    return result
