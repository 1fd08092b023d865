"""PSNR, SSIM, MSE and MAE of float pictures in [0, 1]: nothing is rounded, no border is cut, no luma is taken.

Sums run in float64 whatever comes in, so that a score does not depend on the size of the picture.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from deblur_cli.errors import PictureError

Pixels = npt.NDArray[np.floating[Any]]  # float32 or float64 alike

SSIM_WINDOW = 11
"""Side of the Gaussian window in pixels: sigma 1.5, cut at 3.5 sigma on either side."""


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


def psnr(restored: Pixels, sharp: Pixels) -> float:
    """Peak signal-to-noise ratio in dB for the range 1; infinite where the pictures are identical.

    Arguments and errors as for `mse`.
    """
    return psnr_from_mse(mse(restored, sharp))


def psnr_from_mse(error: float) -> float:
    """PSNR in dB of a mean squared error of values in [0, 1]; infinite for 0."""
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(restored: Pixels, sharp: Pixels) -> float:
    """Structural similarity with the Gaussian window 11x11 of sigma 1.5, per channel, then mean over channels.

    K1 = 0.01, K2 = 0.03, range 1, biased covariances, only the positions at which the window lies inside the picture.

    Parameters
    ----------
    restored, sharp : (H, W, C) floating point in [0, 1]; H, W >= 11

    Raises
    ------
    PictureError : the shapes differ, or the window does not fit

    Notes
    -----
    Wang, Bovik, Sheikh, Simoncelli, IEEE Transactions on Image Processing 13 (2004). The same numbers as `tf.image.ssim`;
    not those of scikit-image's defaults (7x7 uniform window, sample covariance).
    """
    # scikit-image takes 0.3 s to import: only who asks for SSIM pays for it
    from skimage.metrics import structural_similarity

    _require_same_shape(restored, sharp)
    height, width = restored.shape[:2]
    if min(height, width) < SSIM_WINDOW:
        raise PictureError(
            f"ssim needs pictures of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels, this one is {width}x{height}; "
            "use psnr, mse or mae for it"
        )
    return float(
        structural_similarity(  # type: ignore[no-untyped-call]  # scikit-image ships no types
            np.asarray(restored, dtype=np.float64),
            np.asarray(sharp, dtype=np.float64),
            data_range=1.0,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def _difference(restored: Pixels, sharp: Pixels) -> npt.NDArray[np.float64]:
    _require_same_shape(restored, sharp)
    return np.subtract(restored, sharp, dtype=np.float64)


def _require_same_shape(restored: Pixels, sharp: Pixels) -> None:
    if restored.shape != sharp.shape:
        raise PictureError(
            f"cannot compare a picture of shape {restored.shape} with one of {sharp.shape}; both must be of one size "
            "and have the same channels"
        )
