"""Gaussian blur with float64 weights that reach 4 sigma."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.borders import require_room
from deblur_cli.blur.opencv import import_opencv
from deblur_cli.blur.params import check_ranges, scalar
from deblur_cli.blur.randomness import Range, uniform


class Form(StrEnum):
    """How the weight of a tap follows from the curve."""

    SAMPLED = "sampled"  # its value at the pixel's centre; the usual form, too narrow below sigma = 0.8
    INTEGRATED = "integrated"  # its mean over the pixel; exact for small sigma


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaussian:
    """sigma : standard deviation in px, one value for all channels; 0 = identity."""

    sigma: float = scalar(unit="px", ge=0, le=64)
    form: Form = Form.SAMPLED

    def __post_init__(self) -> None:
        check_ranges(self)


def draw(rng: np.random.Generator, *, sigma: Range = (0.0, 3.0), form: Form = Form.SAMPLED) -> Gaussian:
    """Parameters with sigma uniform in the range, px."""
    return Gaussian(sigma=uniform(rng, sigma), form=form)


def bound(*, sigma: Range, form: Form = Form.SAMPLED) -> int:
    """The largest distance in px at which a drawn blur looks."""
    return _radius(sigma[1], form)


def weights(params: Gaussian) -> NDArray[np.float64]:
    """The taps of one axis, (2r + 1,) float64, summing to 1. `params.sigma` must be above 0."""
    radius = _radius(params.sigma, params.form)
    position = np.arange(-radius, radius + 1)
    if params.form is Form.SAMPLED:
        taps = np.exp(-(position**2) / (2 * params.sigma**2))
    else:
        edges = [math.erf((i - 0.5) / (params.sigma * math.sqrt(2))) for i in range(-radius, radius + 2)]
        taps = np.diff(edges)
    total: NDArray[np.float64] = taps / taps.sum()
    return total


def apply(
    image: NDArray[np.float32], params: Gaussian, rng: np.random.Generator | None = None
) -> NDArray[np.float32]:
    """Blur along y, then x, mirroring at the border (reflect101).

    Parameters
    ----------
    image : (H, W, C) float32 (or float64, which stays so), any light; sigma = 0 returns this very array
    rng : not used: nothing is random once sigma is known

    Raises
    ------
    PictureError : the picture is not larger than the blur's radius
    """
    if params.sigma == 0:
        return image
    cv2 = import_opencv()
    taps = weights(params)
    require_room(image, len(taps) // 2)
    # The weights are symmetric, so OpenCV's correlation is the convolution.
    blurred = cv2.sepFilter2D(
        image.astype(np.float64), cv2.CV_64F, taps, taps, borderType=cv2.BORDER_REFLECT_101
    )
    result: NDArray[np.float32] = blurred.reshape(image.shape).astype(image.dtype)
    return result


def _radius(sigma: float, form: Form) -> int:
    return math.ceil(4 * sigma) + (1 if form is Form.INTEGRATED and sigma > 0 else 0)
