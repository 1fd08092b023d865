"""Gaussian blur of a fixed size, as OpenCV's `GaussianBlur(image, (k, k), 0)` has it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.convolution import convolve_axes
from deblur_cli.blur.distributions import Choice, Distribution, greatest
from deblur_cli.blur.params import check_ranges, draw_values, number
from deblur_cli.errors import UsageError
from deblur_cli.pictures.scaling import Image

TABLES = {5: (1, 4, 6, 4, 1), 9: (4, 13, 30, 51, 60, 51, 30, 13, 4)}
"""What OpenCV 5 takes for these sizes instead of the formula; its versions differ in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianK:
    """k : side in px, 1 = identity; sigma : standard deviation in px, by `sigma_of` where a spec does not say

    table : for k = 5 and 9 take OpenCV's rounded weights, which know no other sigma
    """

    k: int = number(unit="px", ge=1, le=255, odd=True, drawn=Choice((5, 9, 13)))
    sigma: float = number(unit="px", gt=0, le=64, derived=True)
    table: bool = False

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.table and self.sigma != sigma_of(self.k):
            raise UsageError(
                f"GaussianK: sigma is {self.sigma:g}, but the table for k = {self.k} has its own"
            )


def sigma_of(k: int) -> float:
    """OpenCV's standard deviation for a side, both in px."""
    return 0.3 * ((k - 1) / 2 - 1) + 0.8


def draw(node: Mapping[str, Distribution], rng: np.random.Generator, number: int) -> GaussianK:
    """Parameters field by field; sigma follows k where `node` does not say it."""
    values = draw_values(GaussianK, node, rng, number)
    return GaussianK(**{"sigma": sigma_of(values["k"]), **values})


def bound(node: Mapping[str, Distribution]) -> int:
    """The largest distance in px at which a drawn blur looks."""
    return int(greatest(node["k"])) // 2


def weights(params: GaussianK) -> NDArray[np.float64]:
    """The taps of one axis, (k,) float64, summing to 1."""
    if params.table and params.k in TABLES:
        taps = np.array(TABLES[params.k], np.float64)
    else:
        position = np.arange(params.k) - params.k // 2
        taps = np.exp(-(position**2) / (2 * params.sigma**2))
    total: NDArray[np.float64] = taps / taps.sum()
    return total


def kernel(params: GaussianK, rng: np.random.Generator | None = None) -> NDArray[np.float64]:
    """(k, k) float64, summing to 1. `rng` is not used."""
    taps = weights(params)
    return np.outer(taps, taps)


def apply(image: Image, params: GaussianK, rng: np.random.Generator | None = None) -> Image:
    """Blur along y, then x; k = 1 returns the very array given. `rng` is not used.

    Raises PictureError where the picture is not larger than the blur's radius.
    """
    return convolve_axes(image, weights(params))
