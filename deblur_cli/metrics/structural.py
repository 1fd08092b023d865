"""Structural similarity in the four forms that tables print under one name.

    SSIM = (2 m_x m_y + C1) / (m_x^2 + m_y^2 + C1) * (2 s_xy + C2) / (s_x^2 + s_y^2 + C2),   C1 = 0.01^2,   C2 = 0.03^2

m, s^2 and s_xy are means, variances (biased) and the covariance under a Gaussian window of 11 pixels and sigma 1.5 around a
position, of values in [0, 1]. The forms differ in what they take for a picture and in where the window may lie.

Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment: From Error Visibility to Structural Similarity, IEEE
Transactions on Image Processing 13 (2004).

The window is applied here rather than by scikit-image, with the same numbers up to rounding: in strips that stay in the
cache, and of x^2 + y^2 at once, as the formula needs no more than the sum, it takes a third of the time.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from deblur_cli.errors import PictureError
from deblur_cli.metrics.full_reference import Pixels, require_same_shape

Floats = npt.NDArray[np.float64]

SSIM_WINDOW = 11
"""Side of the Gaussian window in pixels: sigma 1.5, cut at 3.5 sigma on either side."""

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, the finest first, as published."""

MS_SSIM_SMALLEST = 161
"""Pixels that a side must have so that the window fits into what four halvings leave."""

_RADIUS = SSIM_WINDOW // 2
_GAUSSIAN: Floats = np.exp(-(np.arange(-_RADIUS, _RADIUS + 1) ** 2) / (2 * 1.5**2))
_GAUSSIAN /= _GAUSSIAN.sum()
_C1, _C2 = 0.01**2, 0.03**2
_STRIP = 16
"""Rows of the map that are computed at once: with 1280 columns in colour about 0.5 MB an array."""

# Y of 8-bit Y'CbCr: from 16 for black to 235 for white, here in units of 255.
_BLACK = 16 / 255
_LUMA: Floats = np.array([65.481, 128.553, 24.966]) / 255


def ssim(restored: Pixels, sharp: Pixels) -> float:
    """Structural similarity of each channel at the positions where the window lies inside the picture; their mean.

    Parameters
    ----------
    restored, sharp : (H, W, C) floating point in [0, 1]; H, W >= 11

    Raises
    ------
    PictureError : the shapes differ, or the window does not fit

    Notes
    -----
    The same numbers as `tf.image.ssim`, and as scikit-image's with gaussian_weights=True, sigma=1.5 and
    use_sample_covariance=False; not those of scikit-image's defaults (7x7 uniform window, sample covariance).
    """
    _require("ssim", restored, sharp, smallest=SSIM_WINDOW)
    similarity, _ = _similarity(restored, sharp)
    return float(similarity.mean())


def ssim_y(restored: Pixels, sharp: Pixels) -> float:
    """`ssim` of the luma of ITU-R BT.601, Y = (16 + 65.481 R + 128.553 G + 24.966 B) / 255, not rounded.

    The first channel of MATLAB's rgb2ycbcr, whose range of values SSIM is told is 1 although Y lies in [16, 235] / 255.
    Arguments and errors as for `ssim`; a picture of one channel stands for three that are equal.
    """
    _require("ssim-y", restored, sharp, smallest=SSIM_WINDOW)
    similarity, _ = _similarity(_luma(restored), _luma(sharp))
    return float(similarity.mean())


def ssim_matlab3d(restored: Pixels, sharp: Pixels) -> float:
    """Structural similarity of the picture as a volume of H x W x C values, of which each position counts.

    The window is a Gaussian of 11x11x11 of sigma 1.5, so that colours are neighbours as pixels are. Beyond its borders the
    volume goes on with the value at the border, along rows, columns and channels: across the channels the window sees
    RRRRRRGBBBB around R, RRRRRGBBBBB around G and RRRRGBBBBBB around B. The mean is over all H x W x C positions.

    Arguments and errors as for `ssim`.

    Notes
    -----
    What MATLAB's ssim(A, B) gives for an RGB picture, which it takes for a volume, and so the figures of GoPro's publication
    and of many after it; in Python it goes by names such as ssim_3d. Greater than `ssim` as a rule.
    """
    _require("ssim-matlab3d", restored, sharp, smallest=SSIM_WINDOW)
    around = ((_RADIUS, _RADIUS), (_RADIUS, _RADIUS), (0, 0))
    similarity, _ = _similarity(
        np.pad(restored, around, mode="edge"),
        np.pad(sharp, around, mode="edge"),
        channels=_channel_window(sharp.shape[2]),
    )
    return float(similarity.mean())


def ms_ssim(restored: Pixels, sharp: Pixels) -> float:
    """Structural similarity of five scales, each half as large as the one before; per channel, then mean.

    The product of the means of the second factor of SSIM at the four finer scales and of the mean SSIM at the coarsest, each
    to the power of its weight. A scale is the mean of 2x2 pixels of the finer one, an odd last row or column counting twice.
    A negative mean counts as 0.

    Parameters
    ----------
    restored, sharp : (H, W, C) floating point in [0, 1]; H, W >= 161

    Raises
    ------
    PictureError : the shapes differ, or the window does not fit into the coarsest scale

    Notes
    -----
    Wang, Simoncelli, Bovik: Multi-scale Structural Similarity for Image Quality Assessment, Asilomar Conference on Signals,
    Systems and Computers (2003), as its authors' code and `tf.image.ssim_multiscale` have it.
    """
    _require("ms-ssim", restored, sharp, smallest=MS_SSIM_SMALLEST)
    product = np.ones(sharp.shape[2])
    for weight in MS_SSIM_WEIGHTS[:-1]:
        _, structure = _similarity(restored, sharp)
        product *= np.maximum(structure, 0) ** weight
        restored, sharp = _half(restored), _half(sharp)
    similarity, _ = _similarity(restored, sharp)
    return float((product * np.maximum(similarity, 0) ** MS_SSIM_WEIGHTS[-1]).mean())


def _similarity(x: Pixels, y: Pixels, *, channels: Floats | None = None) -> tuple[Floats, Floats]:
    """Means of SSIM and of its second factor where the window lies inside, for each channel.

    channels : (C, C) weights with which channels are mixed under the window: [c, d] is that of channel c in what d sees
    """
    height, width, count = x.shape
    rows, columns = height - 2 * _RADIUS, width - 2 * _RADIUS
    sums = np.zeros((2, count))
    for top in range(0, rows, _STRIP):
        strip = slice(top, min(top + _STRIP, rows) + 2 * _RADIUS)
        a, b = x[strip].astype(np.float64), y[strip].astype(np.float64)
        mean_a, mean_b, squares, product = (
            _windowed(field, channels) for field in (a, b, a * a + b * b, a * b)
        )
        means = mean_a * mean_b
        mean_squares = mean_a * mean_a + mean_b * mean_b
        structure = (2 * (product - means) + _C2) / (squares - mean_squares + _C2)
        similarity = (2 * means + _C1) / (mean_squares + _C1) * structure
        # over rows first: a sum over all but the last axis would run along so few channels at a time
        sums += similarity.sum(axis=0).sum(axis=0), structure.sum(axis=0).sum(axis=0)
    similarity, structure = sums / (rows * columns)
    return similarity, structure


def _windowed(field: Floats, channels: Floats | None) -> Floats:
    """Means under the window, (H, W, C) -> (H - 10, W - 10, C)."""
    field = _along(_along(field, axis=0), axis=1)
    return field if channels is None else field @ channels


def _along(field: Floats, *, axis: int) -> Floats:
    """Weighted means of 11 neighbours; the two at one distance have one weight."""
    count = field.shape[axis] - 2 * _RADIUS

    def shifted(start: int) -> Any:
        return field[start : start + count] if axis == 0 else field[:, start : start + count]

    total: Floats = shifted(_RADIUS) * _GAUSSIAN[_RADIUS]
    for distance in range(1, _RADIUS + 1):
        pair = shifted(_RADIUS - distance) + shifted(_RADIUS + distance)
        pair *= _GAUSSIAN[_RADIUS + distance]
        total += pair
    return total


def _channel_window(count: int) -> Floats:
    """What a window over the channels gathers, their ends repeated: (C, C), each column sums to 1."""
    weights = np.zeros((count, count))
    for centre in range(count):
        for offset, weight in zip(range(-_RADIUS, _RADIUS + 1), _GAUSSIAN, strict=True):
            weights[min(max(centre + offset, 0), count - 1), centre] += weight
    return weights


def _half(picture: Pixels) -> Floats:
    """Means of 2x2 pixels; an odd last row or column is repeated."""
    height, width, _ = picture.shape
    even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge").astype(np.float64)
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def _luma(picture: Pixels) -> Floats:
    """(H, W, 3) or (H, W, 1) -> (H, W, 1)."""
    weights = _LUMA if picture.shape[2] == 3 else _LUMA.sum(keepdims=True)
    return (picture.astype(np.float64) @ weights + _BLACK)[..., np.newaxis]


def _require(metric: str, restored: Pixels, sharp: Pixels, *, smallest: int) -> None:
    require_same_shape(restored, sharp)
    height, width = sharp.shape[:2]
    if min(height, width) < smallest:
        raise PictureError(
            f"{metric} needs pictures of at least {smallest}x{smallest} pixels, this one is {width}x{height}; "
            "use psnr, mse or mae for it"
        )
