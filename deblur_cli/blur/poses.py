"""Poses of a pinhole camera: homographies of a picture from angles and translations, centred, and what they measure."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DIAGONAL_35MM = 43.267
_MARKS = np.array([(0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5)])  # the corners and the centre
_GRID = np.array([(x / 4, y / 4) for y in range(5) for x in range(5)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Poses:
    """The homographies of a shake, (N, 3, 3), from the sharp picture to each frame, in px of the whole picture.

    extent_px : largest displacement of a corner; rms_px : root mean square displacement of the centre
    """

    homographies: Floats
    extent_px: float
    rms_px: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A pinhole camera whose principal point is the centre of the whole picture; lengths in px, depth in m."""

    focal_px: float
    depth_m: float
    height: int
    width: int

    def homographies(self, path: Floats) -> Floats:
        """(5, N) angles in rad and translations in m -> (N, 3, 3). A camera at rest gives exactly the identity."""
        cx, cy, f = (self.width - 1) / 2, (self.height - 1) / 2, self.focal_px
        intrinsic = np.array([[f, 0, cx], [0, f, cy], [0, 0, 1]])
        inverse = np.array([[1 / f, 0, -cx / f], [0, 1 / f, -cy / f], [0, 0, 1]])
        moved = _rotations_less_identity(path[:3].T)
        moved[:, 0, 2] += path[3] / self.depth_m
        moved[:, 1, 2] += path[4] / self.depth_m
        homographies: Floats = np.eye(3) + intrinsic @ moved @ inverse
        return homographies

    def path_length(self, homographies: Floats) -> float:
        """The longest way in px that a corner or the centre goes."""
        steps = np.diff(project(homographies, self._at(_MARKS)), axis=0)
        return float(np.hypot(steps[..., 0], steps[..., 1]).sum(axis=0).max())

    def centred(self, homographies: Floats) -> Poses:
        """The poses less their mean as an affine map: without it roll shrinks the mean picture."""
        points = self._at(_GRID)
        mean = project(homographies, points).mean(axis=0)
        design = np.concatenate([points, np.ones((len(points), 1))], axis=1)
        solution = np.linalg.lstsq(design, mean, rcond=None)[0]  # (3, 2)
        affine = np.eye(3)
        affine[:2] = solution.T
        centred: Floats = np.linalg.inv(affine) @ homographies
        marks = self._at(_MARKS)
        moved = project(centred, marks) - marks
        distance = np.hypot(moved[..., 0], moved[..., 1])
        rms = float(np.sqrt(np.mean(distance[:, 4] ** 2)))
        return Poses(homographies=centred, extent_px=float(distance[:, :4].max()), rms_px=rms)

    def _at(self, shares: Floats) -> Floats:
        """Places given in shares of the picture's width and height, (N, 2), as x, y in px."""
        places: Floats = shares * np.array([self.width - 1.0, self.height - 1.0])
        return places


def focal_px(focal_mm: float, *, height: int, width: int) -> float:
    """A focal length as on 35 mm film, by the diagonal, in px of a picture of this size."""
    return focal_mm / _DIAGONAL_35MM * math.hypot(width, height)


def project(homographies: Floats, points: Floats) -> Floats:
    """(N, 3, 3) applied to (P, 2) points -> (N, P, 2)."""
    x, y = points.T
    # Written out: NumPy multiplies stacks of tiny matrices slowly.
    mapped = homographies[..., 0, None] * x + homographies[..., 1, None] * y + homographies[..., 2, None]
    projected: Floats = np.moveaxis(mapped[:, :2] / mapped[:, 2:], 1, 2)
    return projected


def _rotations_less_identity(angles: Floats) -> Floats:
    """R - 1 for rotation vectors (N, 3), by Rodrigues' formula; exactly 0 for no rotation, and accurate near it."""
    squared = (angles**2).sum(axis=1)[:, None, None]
    theta = np.sqrt(squared)
    cross = np.zeros((len(angles), 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -angles[:, 2], angles[:, 1], -angles[:, 0]
    cross -= cross.transpose(0, 2, 1)
    twice = angles[:, :, None] * angles[:, None, :] - squared * np.eye(3)  # cross @ cross
    # sin(t)/t and (1 - cos t)/t^2 through numpy's sinc, which knows the limit at 0
    first, second = np.sinc(theta / math.pi), np.sinc(theta / (2 * math.pi)) ** 2 / 2
    rotations: Floats = first * cross + second * twice
    return rotations
