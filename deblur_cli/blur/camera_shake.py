"""Blur of a shaking camera: the mean of the picture seen under many slightly rotated and moved poses.

The blur differs from place to place as it does in a photograph. A path of 257 times over the exposure holds a drifting
rotation and translation (a stationary first-order process) and a tremor on the angles; each pose is a homography of the
whole picture. The poses are centred, so that the blurred picture is not shifted against the sharp one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.borders import Window, require_room
from deblur_cli.blur.distributions import Constant, Distribution, LogUniform, Uniform, greatest
from deblur_cli.blur.kernels import splat
from deblur_cli.blur.params import check_ranges, number
from deblur_cli.blur.poses import Camera, Floats, Poses, focal_px, project
from deblur_cli.blur.warping import Float, mean_of_warps

_TIMES = 257
_CORRELATION_S = 0.08  # of the drift
_ROLL_SHARE = 0.7  # a hand rolls less than it pitches and yaws
_MIN_POSES, _MAX_POSES = 9, 193
_STRETCHES = 8  # attempts at the exact stretch, of which two do; then only the extent counts
_STRETCH_TOLERANCE = 5e-4  # below the share that is left free under the largest extent


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraShake:
    """A camera and how it was held; what is random besides is the path. Tuples are per axis: pitch, yaw, roll.

    focal_mm : focal length, as on 35 mm film; rate_dps, move_mm_s : root mean square of the drift
    max_extent_px : no corner of the whole picture moves further; larger paths are scaled down
    stretch_px : the path is scaled until the root mean square displacement of the centre is this, as far as
        max_extent_px allows; 0 = the path is left as it is
    """

    focal_mm: float = number(unit="mm", ge=5, le=2000, drawn=Uniform(26, 50))
    exposure_s: float = number(unit="s", ge=0, le=60, drawn=LogUniform(1 / 60, 1 / 4))
    rate_dps: float = number(unit="deg/s", ge=0, le=360, drawn=LogUniform(1, 8))
    tremor_hz: tuple[float, float, float] = number(unit="Hz", ge=0, le=100, count=3, drawn=Uniform(8, 12))
    tremor_deg: tuple[float, float, float] = number(unit="deg", ge=0, le=5, count=3, drawn=Uniform(0, 0.02))
    tremor_phase: tuple[float, float, float] = number(
        unit="rad", ge=0, le=2 * math.pi, degrees=True, count=3, drawn=Uniform(0, 360)
    )
    move_mm_s: float = number(unit="mm/s", ge=0, le=1000, drawn=LogUniform(1, 10))
    depth_m: float = number(unit="m", ge=0.01, drawn=LogUniform(0.5, 10))
    max_extent_px: float = number(unit="px", ge=0, le=1000, drawn=Constant(24.0))
    stretch_px: float = number(unit="px", ge=0, le=1000, drawn=Constant(0.0))

    def __post_init__(self) -> None:
        check_ranges(self)


def bound(node: Mapping[str, Distribution]) -> int:
    """The largest distance in px at which a drawn blur looks."""
    return _reach(greatest(node["max_extent_px"]))


def apply(
    image: NDArray[Float],
    params: CameraShake,
    rng: np.random.Generator,
    *,
    window: Window | None = None,
) -> NDArray[Float]:
    """Blur a picture, or a piece of one, mirroring at its border (reflect101).

    Parameters
    ----------
    image : (H, W, C) float32 (or float64, which stays so, exact and slow) in [0, 1], linear light; returned itself
        where the camera does not move
    rng : gives the path
    window : where `image` lies in the whole picture, whose centre is the principal point; None = it is the whole

    Raises
    ------
    PictureError : the picture is not larger than the blur's reach
    """
    height, width = image.shape[:2]
    window = window or Window(whole_height=height, whole_width=width)
    poses = draw_poses(params, rng, height=window.whole_height, width=window.whole_width)
    return image if poses is None else average_poses(image, poses, window=window)


def kernel(params: CameraShake, rng: np.random.Generator, *, window: Window) -> Floats:
    """The point spread at the centre of the whole picture; it differs elsewhere.

    Parameters
    ----------
    rng : gives the path, and with an equal generator the same one as in `apply`
    window : only the size of the whole picture matters, with which the blur grows

    Returns
    -------
    (2r + 1, 2r + 1) float64, summing to 1; a single 1 where the camera does not move
    """
    poses = draw_poses(params, rng, height=window.whole_height, width=window.whole_width)
    if poses is None:
        return np.ones((1, 1))
    centre = np.array([[(window.whole_width - 1) / 2, (window.whole_height - 1) / 2]])
    return splat((project(poses.homographies, centre) - centre)[:, 0])


def average_poses(image: NDArray[Float], poses: Poses, *, window: Window) -> NDArray[Float]:
    """The mean of `image` warped by each pose."""
    require_room(image, _reach(poses.extent_px))
    to_whole = np.array([[1.0, 0.0, window.left], [0.0, 1.0, window.top], [0.0, 0.0, 1.0]])
    to_window = np.array([[1.0, 0.0, -window.left], [0.0, 1.0, -window.top], [0.0, 0.0, 1.0]])
    return mean_of_warps(image, to_window @ np.linalg.inv(poses.homographies) @ to_whole)


def draw_poses(params: CameraShake, rng: np.random.Generator, *, height: int, width: int) -> Poses | None:
    """The centred poses of one random path over a picture of this size in px; None where the camera does not move."""
    focal = focal_px(params.focal_mm, height=height, width=width)
    camera = Camera(focal_px=focal, depth_m=params.depth_m, height=height, width=width)
    path = draw_path(params, rng)
    length_px = camera.path_length(camera.homographies(path))
    if length_px == 0 or params.max_extent_px == 0:
        return None
    scale, least = 1.0, _MIN_POSES
    if params.stretch_px:
        scale = _scaling(camera.centred(camera.homographies(_less_mean(path))), params, stretch=True)
    attempts = 0
    while True:
        count = min(max(2 * math.ceil(scale * length_px) + 1, least), _MAX_POSES)
        poses = camera.centred(camera.homographies(scale * samples(path, count)))
        factor = _scaling(poses, params, stretch=params.stretch_px > 0 and attempts < _STRETCHES)
        if factor == 1:
            return poses
        scale *= factor
        attempts += 1
        if params.stretch_px:
            least = count  # a number that goes up and down would keep the stretch from settling


def _scaling(poses: Poses, params: CameraShake, *, stretch: bool) -> float:
    """By how much the path must be scaled to be as the parameters ask, nearly; exactly 1 where it is."""
    if poses.extent_px == 0:
        return 1.0
    allowed = 0.999 * params.max_extent_px / poses.extent_px
    if not stretch:
        return allowed if poses.extent_px > params.max_extent_px else 1.0
    factor = min(params.stretch_px / poses.rms_px, allowed) if poses.rms_px > 0 else allowed
    return 1.0 if abs(factor - 1) <= _STRETCH_TOLERANCE else factor


def draw_path(params: CameraShake, rng: np.random.Generator) -> Floats:
    """(5, 257): pitch, yaw, roll in rad, translations x, y in m, from the start of the exposure to its end."""
    normal = rng.standard_normal((5, _TIMES))
    dt = params.exposure_s / (_TIMES - 1)
    rate, move = math.radians(params.rate_dps), params.move_mm_s / 1000
    sd = np.array([rate, rate, _ROLL_SHARE * rate, move, move])
    memory = math.exp(-dt / _CORRELATION_S)
    pushes = sd[:, None] * math.sqrt(1 - memory**2) * normal
    pushes[:, 0] = sd * normal[:, 0]  # at its spread from the start, not from rest
    speed = _remember(pushes, memory)
    path = np.zeros((5, _TIMES))
    path[:, 1:] = np.cumsum((speed[:, :-1] + speed[:, 1:]) / 2, axis=1) * dt
    time = dt * np.arange(_TIMES)
    for axis, (hz, deg, phase) in enumerate(
        zip(params.tremor_hz, params.tremor_deg, params.tremor_phase, strict=True)
    ):
        path[axis] += math.radians(deg) * np.sin(2 * math.pi * hz * time + phase)
    return path


def _remember(pushes: Floats, memory: float) -> Floats:
    """Each row as a first-order process: every value is `memory` times the one before, and its push."""
    values = []
    for row in pushes.tolist():  # plain numbers take a fifth of the time of small arrays
        now = 0.0
        for push in row:
            now = memory * now + push
            values.append(now)
    return np.array(values).reshape(pushes.shape)


def samples(path: Floats, count: int) -> Floats:
    """The path at the middles of `count` equal parts of the exposure, less its mean over them."""
    position = (np.arange(count) + 0.5) / count * (_TIMES - 1)
    rows: Sequence[Floats] = [np.interp(position, np.arange(_TIMES), row) for row in path]
    return _less_mean(np.stack(rows))


def _less_mean(path: Floats) -> Floats:
    centred: Floats = path - path.mean(axis=1, keepdims=True)
    return centred


def _reach(extent_px: float) -> int:
    return math.ceil(extent_px) + 1
