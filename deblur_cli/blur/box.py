"""Box blur: the mean of a square."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.convolution import convolve_axes
from deblur_cli.blur.distributions import Choice, Distribution, greatest
from deblur_cli.blur.params import check_ranges, number
from deblur_cli.pictures.scaling import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """k : side in px; 1 = identity. Its variance is (k^2 - 1)/12 along each axis."""

    k: int = number(unit="px", ge=1, le=255, odd=True, drawn=Choice((5, 9, 13)))

    def __post_init__(self) -> None:
        check_ranges(self)


def bound(node: Mapping[str, Distribution]) -> int:
    """The largest distance in px at which a drawn blur looks."""
    return int(greatest(node["k"])) // 2


def kernel(params: Box, rng: np.random.Generator | None = None) -> NDArray[np.float64]:
    """(k, k) float64, 1/k^2 everywhere. `rng` is not used."""
    return np.full((params.k, params.k), 1 / params.k**2)


def apply(image: Image, params: Box, rng: np.random.Generator | None = None) -> Image:
    """Blur along y, then x; k = 1 returns the very array given. `rng` is not used.

    Raises PictureError where the picture is not larger than the blur's radius.
    """
    return convolve_axes(image, np.full(params.k, 1 / params.k))
