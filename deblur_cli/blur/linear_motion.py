"""Motion along a straight line at constant speed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deblur_cli.blur.distributions import Distribution, Uniform, greatest
from deblur_cli.blur.kernels import Floats, splat
from deblur_cli.blur.params import check_ranges, number


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearMotion:
    """length : of the streak in px, 0 = identity; angle : of its direction (cos a, sin a), x to the right, y down, rad."""

    length: float = number(unit="px", ge=0, le=500, drawn=Uniform(0.0, 20.0))
    angle: float = number(
        unit="rad", ge=-2 * math.pi, le=2 * math.pi, degrees=True, drawn=Uniform(0.0, 180.0)
    )

    def __post_init__(self) -> None:
        check_ranges(self)


def bound(node: Mapping[str, Distribution]) -> int:
    """The largest distance in px at which a drawn blur looks."""
    longest = greatest(node["length"])
    return _radius(longest) if longest > 0 else 0


def kernel(params: LinearMotion, rng: np.random.Generator | None = None) -> Floats:
    """The streak, centred: odd square, float64, summing to 1; a single 1 for no length. `rng` is not used.

    At least 16 samples a pixel: exact for whole lengths along an axis, within 1e-4 for others.
    """
    if params.length == 0:
        return np.ones((1, 1))
    count = max(64, 16 * math.ceil(params.length))
    position = ((np.arange(count) + 0.5) / count - 0.5) * params.length
    direction = np.array([math.cos(params.angle), math.sin(params.angle)])
    return splat(position[:, None] * direction, radius=_radius(params.length))


def _radius(length: float) -> int:
    return math.ceil(length / 2) + 1
