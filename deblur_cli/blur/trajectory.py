"""Motion along a random path of a hand-held camera, the same everywhere in the picture.

The path follows G. Boracchi and A. Foi, "Modeling the performance of image restoration from motion blur", IEEE
Transactions on Image Processing 21(8), 2012, in the form O. Kupyn et al. train with ("DeblurGAN", CVPR 2018). We differ:
the pull is scaled by the length and the random terms by the number of samples, so that neither changes the shape; the
first direction has length 1; the kernel is centred by its centroid and sums to 1 whatever the fraction.
"""

import cmath
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.distributions import Choice, Constant, Distribution, Uniform, greatest
from deblur_cli.blur.kernels import Floats, splat
from deblur_cli.blur.params import check_ranges, number

_SAMPLES = 2000  # for which the original gives its numbers
_LENGTH_PX = 60.0  # likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """anxiety : overall shake, 0 = a straight line; length : of the full path in px, 0 = identity

    fraction : of the path that the exposure lasts
    shake_rate : how often the camera jerks back, tremor : amplitude, pull : back to the start; `anxiety` scales all three
    angle : of the first direction (cos a, sin a), x to the right, y down, rad
    samples : of the full path
    """

    anxiety: float = number(ge=0, le=1, drawn=Choice((0.003, 0.005, 0.007, 0.008, 0.009, 0.01)))
    length: float = number(unit="px", ge=0, le=500, drawn=Constant(60.0))
    fraction: float = number(gt=0, le=1, drawn=Choice((0.1, 0.5, 1.0)))
    shake_rate: float = number(ge=0, le=1, drawn=Uniform(0.0, 0.2))
    tremor: float = number(ge=0, le=100, drawn=Uniform(0.0, 10.0))
    pull: float = number(ge=0, le=10, drawn=Uniform(0.0, 0.7))
    angle: float = number(
        unit="rad", ge=-2 * math.pi, le=2 * math.pi, degrees=True, drawn=Uniform(0.0, 360.0)
    )
    samples: int = number(ge=2, le=100_000, drawn=Constant(_SAMPLES))

    def __post_init__(self) -> None:
        check_ranges(self)


def bound(node: Mapping[str, Distribution]) -> int:
    """The largest distance in px at which a drawn blur looks: a curve stays within half its length of its centroid."""
    longest = greatest(node["fraction"]) * greatest(node["length"])
    return math.ceil(longest / 2) + 1 if longest > 0 else 0


def kernel(params: Trajectory, rng: np.random.Generator) -> Floats:
    """The exposed part of the path, centred: odd square, float64, summing to 1; a single 1 for no length."""
    if params.length == 0:
        return np.ones((1, 1))
    exposed = max(1, math.floor(params.fraction * params.samples + 0.5))
    points = path(params, rng, count=exposed)
    points -= points.mean()
    return splat(np.stack([points.real, points.imag], axis=1))


def path(params: Trajectory, rng: np.random.Generator, *, count: int | None = None) -> NDArray[np.complex128]:
    """The first `count` samples of the path (None = all), x + iy in px from its start.

    `rng` gives as many numbers whatever `count` is: of each step two uniform, then of each two normal ones.
    """
    steps = params.samples - 1
    uniform, normal = rng.random((steps, 2)), rng.standard_normal((steps, 2))
    time_step = (_SAMPLES - 1) / steps  # in those of the original
    tremor = params.anxiety * math.sqrt(time_step) * params.tremor * (normal[:, 0] + 1j * normal[:, 1])
    jerks = uniform[:, 0] < min(1.0, time_step * params.shake_rate * params.anxiety)
    # A jerk adds twice the direction turned by about half a turn; scaled by 1 it would come to rest.
    turn = np.where(jerks, 1 - 2 * np.exp(1j * (uniform[:, 1] - 0.5)), 1.0)
    last = (params.samples if count is None else count) - 1
    return _walk(
        turn[:last].tolist(),
        tremor[:last].tolist(),
        pull=params.anxiety * time_step * params.pull * _LENGTH_PX / params.length if params.length else 0.0,
        first=cmath.exp(1j * params.angle),
        step_px=params.length / steps,
    )


def _walk(
    turn: list[complex], tremor: list[complex], *, pull: float, first: complex, step_px: float
) -> NDArray[np.complex128]:
    """Steps of equal length, each in the last one's direction, changed. Plain numbers: NumPy's scalars are 20 times slower."""
    place, direction = 0j, first
    places = [place]
    for turned, trembled in zip(turn, tremor, strict=True):
        heading = direction * turned + trembled - pull * place
        size = abs(heading)
        if size > 1e-12:
            direction = heading / size
        place += step_px * direction
        places.append(place)
    return np.array(places)
