"""PSNR, MSE, MAE and log cosh of float pictures in [0, 1]: nothing is rounded, no border is cut, no luma is taken.

Sums run in float64 whatever comes in, so that a score does not depend on the size of the picture.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from deblur_cli.errors import PictureError

Pixels = npt.NDArray[np.floating[Any]]  # float32 or float64 alike


def mse(restored: Pixels, sharp: Pixels) -> float:
    """Mean squared error over all pixels and channels.

    Parameters
    ----------
    restored, sharp : (H, W, C) floating point in [0, 1]

    Raises
    ------
    PictureError : the shapes differ
    """
    error = _difference(restored, sharp)
    return float(np.mean(np.square(error, out=error)))


def mae(restored: Pixels, sharp: Pixels) -> float:
    """Mean absolute error over all pixels and channels; arguments and errors as for `mse`."""
    error = _difference(restored, sharp)
    return float(np.mean(np.abs(error, out=error)))


def logcosh(restored: Pixels, sharp: Pixels) -> float:
    """Mean log cosh of the error: about e^2 / 2 where it is small, |e| - log 2 where it is large.

    Written as log(1 + 2 sinh^2(e/2)), which loses no digits of small errors. Arguments and errors as for `mse`.
    """
    half = _difference(restored, sharp)
    half *= 0.5
    return float(np.mean(np.log1p(2 * np.square(np.sinh(half, out=half)))))


def psnr(restored: Pixels, sharp: Pixels) -> float:
    """Peak signal-to-noise ratio in dB for the range 1; infinite where the pictures are identical.

    Arguments and errors as for `mse`.
    """
    return psnr_from_mse(mse(restored, sharp))


def psnr_from_mse(error: float) -> float:
    """PSNR in dB of a mean squared error of values in [0, 1]; infinite for 0."""
    return math.inf if error == 0 else -10 * math.log10(error)


def _difference(restored: Pixels, sharp: Pixels) -> npt.NDArray[np.float64]:
    require_same_shape(restored, sharp)
    return np.subtract(restored, sharp, dtype=np.float64)


def require_same_shape(restored: Pixels, sharp: Pixels) -> None:
    """Raise PictureError unless two pictures can be compared."""
    if restored.shape != sharp.shape:
        raise PictureError(
            f"cannot compare a picture of shape {restored.shape} with one of {sharp.shape}; both must be of one size "
            "and have the same channels"
        )
