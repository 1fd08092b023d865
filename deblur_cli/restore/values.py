"""Between pixels and what a network takes and gives: windows, ranges, rounding."""

from typing import Any

import numpy as np

from deblur_cli.errors import PictureError
from deblur_cli.restore.arrays import Array
from deblur_cli.restore.running import FloatPixels
from deblur_cli.restore.tiling import Span, reflected_indices


def check_array(image: Array) -> None:
    """Raise PictureError unless an array is (H, W, 1 or 3) of uint8, uint16 or float32 in [0, 1]."""
    if image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise PictureError(
            f"cannot restore an array of shape {image.shape}; it must be (height, width, 1 or 3)"
        )
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        raise PictureError(
            f"cannot restore an array of {image.dtype}; it must be uint8, uint16 or float32 in [0, 1]"
        )
    if image.dtype == np.float32 and not (image.min() >= 0 and image.max() <= 1):
        raise PictureError(
            f"cannot restore float32 values from {image.min():g} to {image.max():g}; they must lie in [0, 1]: scale or clip them"
        )


def scale_of(dtype: "np.dtype[Any]") -> float:
    """The value that full brightness has: 255, 65535, or 1 for float32."""
    return 1.0 if dtype == np.float32 else float(np.iinfo(dtype).max)


def read_window(image: Array, row: Span, column: Span, *, scale: float) -> FloatPixels:
    """What a window reads, (h, w, C) float32 in [0, 1], beyond the picture's end its reflection."""
    height, width = image.shape[:2]
    if row.read_stop <= height and column.read_stop <= width:
        part = image[row.read_start : row.read_stop, column.read_start : column.read_stop]
    else:
        rows = reflected_indices(row.read_start, row.read_stop, length=height)
        columns = reflected_indices(column.read_start, column.read_stop, length=width)
        part = image[np.ix_(rows, columns)]
    window: FloatPixels = np.array(part, np.float32, order="C")  # a copy always: a network may work in place
    if scale != 1:
        window /= np.float32(scale)
    return window


def finish(values: FloatPixels, *, scale: float) -> int:
    """Clip and scale in place, whole numbers for integers; returns how many values were not numbers."""
    non_finite = int(values.size - np.count_nonzero(np.isfinite(values)))
    if scale == 1:
        np.clip(values, 0, 1, out=values)
        return non_finite
    if non_finite:
        np.nan_to_num(values, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
    np.clip(values, 0, 1, out=values)
    values *= np.float32(scale)
    np.rint(values, out=values)
    return non_finite
