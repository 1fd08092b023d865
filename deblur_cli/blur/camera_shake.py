"""Blur of a shaking camera: the mean of the picture seen under many slightly rotated and moved poses.

The blur differs from place to place as it does in a photograph. A path of 257 times over the exposure holds a drifting
rotation and translation (a stationary first-order process) and a tremor on the angles; each pose is a homography of the
whole picture. The poses are centred, so that the blurred picture is not shifted against the sharp one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.borders import Window, require_room
from deblur_cli.blur.opencv import import_opencv
from deblur_cli.blur.params import check_ranges, scalar
from deblur_cli.blur.randomness import Range, log_uniform, uniform

Floats = NDArray[np.float64]

_TIMES = 257
_CORRELATION_S = 0.08  # of the drift
_ROLL_SHARE = 0.7  # a hand rolls less than it pitches and yaws
_DIAGONAL_35MM = 43.267
_MIN_POSES, _MAX_POSES = 9, 193


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraShake:
    """A camera and how it was held; what is random besides is the path. Tuples are per axis: pitch, yaw, roll.

    focal_mm : focal length, as on 35 mm film; rate_dps, move_mm_s : root mean square of the drift
    max_extent_px : no corner of the whole picture moves further; larger paths are scaled down
    """

    focal_mm: float = scalar(unit="mm", ge=5, le=2000)
    exposure_s: float = scalar(unit="s", ge=0, le=60)
    rate_dps: float = scalar(unit="deg/s", ge=0, le=360)
    tremor_hz: tuple[float, float, float] = scalar(unit="Hz", ge=0, le=100)
    tremor_deg: tuple[float, float, float] = scalar(unit="deg", ge=0, le=5)
    tremor_phase: tuple[float, float, float] = scalar(unit="rad", ge=0, le=2 * math.pi)
    move_mm_s: float = scalar(unit="mm/s", ge=0, le=1000)
    depth_m: float = scalar(unit="m", ge=0.01)
    max_extent_px: float = scalar(unit="px", ge=0, le=1000)

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Poses:
    """The homographies of a shake, (N, 3, 3), from the sharp picture to each frame, in px of the whole picture.

    extent_px : largest displacement of a corner; rms_px : root mean square displacement of the centre
    """

    homographies: Floats
    extent_px: float
    rms_px: float


def draw(
    rng: np.random.Generator,
    *,
    focal_mm: Range = (26.0, 50.0),
    exposure_s: Range = (1 / 60, 1 / 4),
    rate_dps: Range = (1.0, 8.0),
    tremor_hz: Range = (8.0, 12.0),
    tremor_deg: Range = (0.0, 0.02),
    move_mm_s: Range = (1.0, 10.0),
    depth_m: Range = (0.5, 10.0),
    max_extent_px: float = 24.0,
) -> CameraShake:
    """Parameters from the ranges: focal length and tremor uniform, the others log-uniform."""

    def per_axis(limits: Range) -> tuple[float, float, float]:
        return uniform(rng, limits), uniform(rng, limits), uniform(rng, limits)

    return CameraShake(
        focal_mm=uniform(rng, focal_mm),
        exposure_s=log_uniform(rng, exposure_s),
        rate_dps=log_uniform(rng, rate_dps),
        tremor_hz=per_axis(tremor_hz),
        tremor_deg=per_axis(tremor_deg),
        tremor_phase=per_axis((0.0, 2 * math.pi)),
        move_mm_s=log_uniform(rng, move_mm_s),
        depth_m=log_uniform(rng, depth_m),
        max_extent_px=max_extent_px,
    )


def bound(*, max_extent_px: float) -> int:
    """The largest distance in px at which a drawn blur looks."""
    return math.ceil(max_extent_px) + 1


def apply(
    image: NDArray[np.float32],
    params: CameraShake,
    rng: np.random.Generator,
    *,
    window: Window | None = None,
) -> NDArray[np.float32]:
    """Blur a picture, or a piece of one, mirroring at its border (reflect101).

    Parameters
    ----------
    image : (H, W, C) float32 in [0, 1], linear light; returned itself where the camera does not move
    rng : gives the path
    window : where `image` lies in the whole picture, whose centre is the principal point; None = it is the whole
    """
    height, width = image.shape[:2]
    window = window or Window(whole_height=height, whole_width=width)
    poses = draw_poses(params, rng, height=window.whole_height, width=window.whole_width)
    return image if poses is None else average_poses(image, poses, window=window)


def average_poses(image: NDArray[np.float32], poses: Poses, *, window: Window) -> NDArray[np.float32]:
    """The mean of `image` warped by each pose, summed in float64."""
    cv2 = import_opencv()
    require_room(image, bound(max_extent_px=poses.extent_px))
    height, width = image.shape[:2]
    to_whole = np.array([[1.0, 0.0, window.left], [0.0, 1.0, window.top], [0.0, 0.0, 1.0]])
    to_window = np.array([[1.0, 0.0, -window.left], [0.0, 1.0, -window.top], [0.0, 0.0, 1.0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    total = np.zeros(image.shape, np.float64)
    for homography in poses.homographies:
        back = to_window @ np.linalg.inv(homography) @ to_whole
        frame = cv2.warpPerspective(
            image, back, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101
        )
        total += frame.reshape(image.shape)
    return (total / len(poses.homographies)).astype(np.float32)


def draw_poses(params: CameraShake, rng: np.random.Generator, *, height: int, width: int) -> Poses | None:
    """The centred poses of one random path over a picture of this size in px; None where the camera does not move."""
    camera = _Camera.of(params, height=height, width=width)
    path = _path(params, rng)
    marks = camera.marks()
    length_px = _longest_path(marks, camera.homographies(path))
    if length_px == 0:
        return None
    scale = 1.0
    while True:
        count = min(max(2 * math.ceil(scale * length_px) + 1, _MIN_POSES), _MAX_POSES)
        homographies = _centred(camera, camera.homographies(scale * _samples(path, count)))
        moved = _project(homographies, marks) - marks
        distance = np.hypot(moved[..., 0], moved[..., 1])
        extent = float(distance[:, :4].max())
        if extent <= params.max_extent_px:
            rms = float(np.sqrt(np.mean(distance[:, 4] ** 2)))
            return Poses(homographies=homographies, extent_px=extent, rms_px=rms)
        if params.max_extent_px == 0:
            return None
        scale *= 0.999 * params.max_extent_px / extent


@dataclass(frozen=True, slots=True)
class _Camera:
    """A pinhole camera whose principal point is the centre of the whole picture; lengths in px, depth in m."""

    focal_px: float
    depth_m: float
    height: int
    width: int

    @classmethod
    def of(cls, params: CameraShake, *, height: int, width: int) -> "_Camera":
        focal_px = params.focal_mm / _DIAGONAL_35MM * math.hypot(width, height)
        return cls(focal_px, params.depth_m, height, width)

    def marks(self) -> Floats:
        """The four corners and the centre, (5, 2) as x, y."""
        right, bottom = self.width - 1.0, self.height - 1.0
        return np.array(
            [(0, 0), (right, 0), (0, bottom), (right, bottom), (right / 2, bottom / 2)], np.float64
        )

    def grid(self) -> Floats:
        """5 x 5 points over the picture, (25, 2) as x, y."""
        x, y = np.meshgrid(np.linspace(0, self.width - 1, 5), np.linspace(0, self.height - 1, 5))
        return np.stack([x.ravel(), y.ravel()], axis=1)

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


def _path(params: CameraShake, rng: np.random.Generator) -> Floats:
    """(5, 257): pitch, yaw, roll in rad, translations x, y in m, from the start of the exposure to its end."""
    normal = rng.standard_normal((5, _TIMES))
    dt = params.exposure_s / (_TIMES - 1)
    rate, move = math.radians(params.rate_dps), params.move_mm_s / 1000
    sd = np.array([rate, rate, _ROLL_SHARE * rate, move, move])
    memory = math.exp(-dt / _CORRELATION_S)
    speed = np.empty((5, _TIMES))
    speed[:, 0] = sd * normal[:, 0]
    for j in range(1, _TIMES):
        speed[:, j] = memory * speed[:, j - 1] + sd * math.sqrt(1 - memory**2) * normal[:, j]
    path = np.zeros((5, _TIMES))
    path[:, 1:] = np.cumsum((speed[:, :-1] + speed[:, 1:]) / 2, axis=1) * dt
    time = dt * np.arange(_TIMES)
    for axis, (hz, deg, phase) in enumerate(
        zip(params.tremor_hz, params.tremor_deg, params.tremor_phase, strict=True)
    ):
        path[axis] += math.radians(deg) * np.sin(2 * math.pi * hz * time + phase)
    return path


def _samples(path: Floats, count: int) -> Floats:
    """The path at the middles of `count` equal parts of the exposure, less its mean over them."""
    position = (np.arange(count) + 0.5) / count * (_TIMES - 1)
    rows: Sequence[Floats] = [np.interp(position, np.arange(_TIMES), row) for row in path]
    samples = np.stack(rows)
    centred: Floats = samples - samples.mean(axis=1, keepdims=True)
    return centred


def _rotations_less_identity(angles: Floats) -> Floats:
    """R - 1 for rotation vectors (N, 3), by Rodrigues' formula; exactly 0 for no rotation, and accurate near it."""
    theta = np.linalg.norm(angles, axis=1)[:, None, None]
    cross = np.zeros((len(angles), 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -angles[:, 2], angles[:, 1], -angles[:, 0]
    cross -= cross.transpose(0, 2, 1)
    # sin(t)/t and (1 - cos t)/t^2 through numpy's sinc, which knows the limit at 0
    first, second = np.sinc(theta / math.pi), np.sinc(theta / (2 * math.pi)) ** 2 / 2
    rotations: Floats = first * cross + second * (cross @ cross)
    return rotations


def _project(homographies: Floats, points: Floats) -> Floats:
    """(N, 3, 3) applied to (P, 2) points -> (N, P, 2)."""
    ones = np.ones((len(points), 1))
    mapped = np.concatenate([points, ones], axis=1) @ homographies.transpose(0, 2, 1)
    projected: Floats = mapped[..., :2] / mapped[..., 2:]
    return projected


def _longest_path(points: Floats, homographies: Floats) -> float:
    steps = np.diff(_project(homographies, points), axis=0)
    return float(np.hypot(steps[..., 0], steps[..., 1]).sum(axis=0).max())


def _centred(camera: _Camera, homographies: Floats) -> Floats:
    """The poses less their mean as an affine map: without it roll shrinks the mean picture."""
    points = camera.grid()
    mean = _project(homographies, points).mean(axis=0)
    design = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    solution = np.linalg.lstsq(design, mean, rcond=None)[0]  # (3, 2)
    affine = np.eye(3)
    affine[:2] = solution.T
    centred: Floats = np.linalg.inv(affine) @ homographies
    return centred
