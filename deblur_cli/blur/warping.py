"""The mean of a picture warped by many homographies: in float32 by OpenCV, in float64 by NumPy."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.opencv import import_opencv

Floats = NDArray[np.float64]
Float = TypeVar("Float", np.float32, np.float64)

_STRIP_PX = 2**14  # a strip and its sum stay in the processor's cache while all warps pass over it


def mean_of_warps(image: NDArray[Float], back: Floats) -> NDArray[Float]:
    """Warp bilinearly, mirroring at the border (reflect101), and average in float64.

    Parameters
    ----------
    image : (H, W, C) with 1 or 3 channels, any values. Float64 is exact to rounding, and many times slower: for float32
        OpenCV computes places in float32, and a sample of white noise is then off by up to 2e-4
    back : (N, 3, 3), each maps a place (x, y, 1) in px of the result to one in `image`

    Returns
    -------
    (H, W, C) of the same type
    """
    image = np.ascontiguousarray(image)
    summed = _summed_by_numpy if image.dtype == np.float64 else _summed_by_opencv
    mean = np.empty_like(image)
    rows = max(1, _STRIP_PX // image.shape[1])
    for top in range(0, image.shape[0], rows):
        strip = mean[top : top + rows]
        from_strip = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, top], [0.0, 0.0, 1.0]])
        np.divide(summed(image, back @ from_strip, height=len(strip)), len(back), out=strip)
    return mean


def _summed_by_opencv(image: NDArray[np.generic], back: Floats, *, height: int) -> Floats:
    """The sum of the top `height` rows of all warps."""
    cv2 = import_opencv()
    flags, mirror = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REFLECT_101
    frame = np.empty((height, *image.shape[1:]), np.float32)
    total = np.zeros(frame.shape)
    size = (frame.shape[1], height)
    for matrix in back:
        cv2.warpPerspective(image, matrix, size, dst=frame, flags=flags, borderMode=mirror)
        cv2.accumulate(frame, total)
    return total


def _summed_by_numpy(image: NDArray[np.generic], back: Floats, *, height: int) -> Floats:
    """The sum of the top `height` rows of all warps."""
    pixels = image.astype(np.float64, copy=False)
    total = np.zeros((height, *image.shape[1:]))
    y, x = np.mgrid[:height, : image.shape[1]]
    places = np.stack([x, y, np.ones_like(x)], axis=-1)
    for matrix in back:
        mapped = places @ matrix.T
        total += _sampled(pixels, mapped[..., 0] / mapped[..., 2], mapped[..., 1] / mapped[..., 2])
    return total


def _sampled(image: Floats, x: Floats, y: Floats) -> Floats:
    left, top = np.floor(x), np.floor(y)
    share_x, share_y = (x - left)[..., None], (y - top)[..., None]
    x0, x1 = (_mirrored(left + i, image.shape[1]) for i in (0, 1))
    y0, y1 = (_mirrored(top + i, image.shape[0]) for i in (0, 1))
    upper = (1 - share_x) * image[y0, x0] + share_x * image[y0, x1]
    lower = (1 - share_x) * image[y1, x0] + share_x * image[y1, x1]
    sampled: Floats = (1 - share_y) * upper + share_y * lower
    return sampled


def _mirrored(places: Floats, count: int) -> NDArray[np.intp]:
    """Whole numbers mirrored into 0 ... count - 1, the two ends being the mirrors."""
    period = max(2 * (count - 1), 1)
    within = places.astype(np.intp) % period
    mirrored: NDArray[np.intp] = np.minimum(within, period - within)
    return mirrored
