"""Kernels from points: a path or an aperture drawn without rounding a position to whole pixels."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def splat(points: Floats, weights: Floats | None = None, *, radius: int | None = None) -> Floats:
    """Spread weights over the pixels around each point, bilinearly.

    Parameters
    ----------
    points : (N, 2) x and y in px, x to the right, y down; (0, 0) is the centre of the kernel
    weights : (N,); None = 1/N each
    radius : of the kernel; None = the least that holds all points, and one pixel more

    Returns
    -------
    (2r + 1, 2r + 1) float64 with the sum and the centroid of the weighted points, exactly but for rounding
    """
    if weights is None:
        weights = np.full(len(points), 1 / len(points))
    if radius is None:
        radius = math.ceil(np.abs(points).max()) + 1
    side = 2 * radius + 1
    low = np.floor(points).astype(np.intp)
    fx, fy = (points - low).T
    corner = (low[:, 1] + radius) * side + low[:, 0] + radius
    kernel = np.zeros(side * side)
    for step, share in (
        (0, (1 - fx) * (1 - fy)),
        (1, fx * (1 - fy)),
        (side, (1 - fx) * fy),
        (side + 1, fx * fy),
    ):
        kernel += np.bincount(corner + step, weights * share, minlength=side * side)[: side * side]
    return kernel.reshape(side, side)


def centroid(kernel: Floats) -> tuple[float, float]:
    """Where the weight lies on average: x and y in px from the centre of an odd square kernel."""
    position = np.arange(len(kernel)) - len(kernel) // 2
    total = kernel.sum()
    return float(kernel.sum(axis=0) @ position / total), float(kernel.sum(axis=1) @ position / total)


def variance(kernel: Floats) -> tuple[float, float]:
    """The mean square distance from the centroid along x and along y, px^2, of an odd square kernel."""
    position = np.arange(len(kernel)) - len(kernel) // 2
    total = kernel.sum()
    x, y = centroid(kernel)
    return (
        float(kernel.sum(axis=0) @ (position - x) ** 2 / total),
        float(kernel.sum(axis=1) @ (position - y) ** 2 / total),
    )
