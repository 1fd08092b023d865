"""Gaussian blur: with float64 weights that reach 4 sigma, or by OpenCV's 8-bit arithmetic as published baselines had it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.borders import require_room
from deblur_cli.blur.convolution import convolve_axes
from deblur_cli.blur.distributions import Distribution, Uniform, greatest
from deblur_cli.blur.opencv import import_opencv
from deblur_cli.blur.params import check_ranges, number
from deblur_cli.errors import UsageError
from deblur_cli.pictures.scaling import Codes, Image, from_integers, to_8_bit


class Engine(StrEnum):
    """Whose arithmetic is used."""

    FLOAT = "float"  # ours
    OPENCV_U8 = (
        "opencv-u8"  # cv2.GaussianBlur on 8-bit pixels: fixed point, 3 sigma; no change below sigma = 0.2831
    )


class Form(StrEnum):
    """How the weight of a tap follows from the curve."""

    SAMPLED = "sampled"  # its value at the pixel's centre; the usual form, too narrow below sigma = 0.8
    INTEGRATED = "integrated"  # its mean over the pixel; exact for small sigma


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaussian:
    """sigma : standard deviation in px, one value for all channels; 0 = identity."""

    sigma: float = number(unit="px", ge=0, le=64, drawn=Uniform(0.0, 3.0))
    engine: Engine = Engine.FLOAT
    form: Form = Form.SAMPLED

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.engine is Engine.OPENCV_U8 and self.form is not Form.SAMPLED:
            raise UsageError(f"Gaussian: engine {self.engine} has the form sampled only, not {self.form}")


def bound(node: Mapping[str, Distribution]) -> int:
    """The largest distance in px at which a drawn blur looks."""
    integrated = Form.INTEGRATED in node["form"].extremes()
    return _radius(greatest(node["sigma"]), Form.INTEGRATED if integrated else Form.SAMPLED)


def weights(params: Gaussian) -> NDArray[np.float64]:
    """The taps of one axis, (2r + 1,) float64, summing to 1."""
    radius = _radius(params.sigma, params.form)
    if radius == 0:
        return np.ones(1)
    position = np.arange(-radius, radius + 1)
    if params.form is Form.SAMPLED:
        taps = np.exp(-(position**2) / (2 * params.sigma**2))
    else:
        edges = [math.erf((i - 0.5) / (params.sigma * math.sqrt(2))) for i in range(-radius, radius + 2)]
        taps = np.diff(edges)
        taps = (taps + taps[::-1]) / 2  # equal but for rounding
    total: NDArray[np.float64] = taps / taps.sum()
    return total


def kernel(params: Gaussian, rng: np.random.Generator | None = None) -> NDArray[np.float64]:
    """The blur as a kernel; that of the engine opencv-u8 up to its rounding. `rng` is not used."""
    taps = weights(params)
    return np.outer(taps, taps)


def apply(image: Image | Codes, params: Gaussian, rng: np.random.Generator | None = None) -> Image | Codes:
    """Blur along y, then x, mirroring at the border (reflect101).

    Parameters
    ----------
    image : (H, W, C) float32 (or float64, which the engine float keeps), any light; sigma = 0 returns this very array.
        Of uint8 the engine opencv-u8 makes uint8
    rng : not used: nothing is random once sigma is known

    Raises
    ------
    PictureError : the picture is not larger than the blur's radius
    """
    if params.sigma == 0:
        return image
    if params.engine is Engine.OPENCV_U8:
        blurred = blur_8_bit(to_8_bit(image), params.sigma)
        return blurred if image.dtype == np.uint8 else from_integers(blurred)
    return convolve_axes(from_integers(image), weights(params))


def blur_8_bit(pixels: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """cv2.GaussianBlur of (H, W, C) 8-bit pixels, in fixed point and with OpenCV's own size. sigma : px, above 0.

    Raises PictureError where the picture is not larger than the blur's radius.
    """
    require_room(pixels, (round(6 * sigma + 1) | 1) // 2)
    blurred: NDArray[np.uint8] = import_opencv().GaussianBlur(pixels, (0, 0), sigma)
    return blurred.reshape(pixels.shape)


def _radius(sigma: float, form: Form) -> int:
    return math.ceil(4 * sigma) + (1 if form is Form.INTEGRATED and sigma > 0 else 0)
