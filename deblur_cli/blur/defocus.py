"""Defocus: the image of the aperture, a disk or a regular polygon, the same everywhere in the picture."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deblur_cli.blur.distributions import Constant, Distribution, Uniform, greatest
from deblur_cli.blur.kernels import Floats
from deblur_cli.blur.params import check_ranges, draw_values, number


@dataclass(frozen=True, slots=True, kw_only=True)
class Defocus:
    """radius : of the disk or the polygon's corners in px; up to 0.5, which one pixel holds, it is the identity

    blades : corners of the polygon, 0 = a disk; rotation : of its first corner, rad
    """

    radius: float = number(unit="px", ge=0, le=64, drawn=Uniform(0.5, 6.0))
    blades: int = number(among=(0, 5, 6, 7, 8, 9), drawn=Constant(0))
    rotation: float = number(unit="rad", ge=0, le=2 * math.pi, degrees=True, derived=True, default=0.0)

    def __post_init__(self) -> None:
        check_ranges(self)


def draw(node: Mapping[str, Distribution], rng: np.random.Generator, number: int) -> Defocus:
    """Parameters field by field; the rotation of a polygon is uniform where `node` does not say it."""
    values = draw_values(Defocus, node, rng, number)
    if values["blades"] and "rotation" not in values:
        values["rotation"] = 2 * math.pi / values["blades"] * float(rng.random())
    return Defocus(**values)


def bound(node: Mapping[str, Distribution]) -> int:
    """The largest distance in px at which a drawn blur looks."""
    return _radius(greatest(node["radius"]))


def kernel(params: Defocus, rng: np.random.Generator | None = None) -> Floats:
    """The aperture, centred: odd square, float64, summing to 1; a single 1 for no defocus. `rng` is not used."""
    if _radius(params.radius) == 0:
        return np.ones((1, 1))
    covered = coverage(params)
    total: Floats = covered / covered.sum()
    return total


def coverage(params: Defocus) -> Floats:
    """The share of each pixel that the aperture covers: (2r + 1, 2r + 1) float64 in [0, 1]."""
    side = 2 * _radius(params.radius) + 1
    return _polygon(params, side) if params.blades else _disk(params.radius, side)


def _disk(radius: float, side: int) -> Floats:
    """Counted at 16 x 16 places a pixel, 64 x 64 for small ones."""
    fine = 64 if radius < 3 else 16
    squared = _places(side, fine) ** 2
    inside = squared[:, None] + squared <= radius**2
    shares: Floats = inside.reshape(side, fine, side, fine).mean(axis=(1, 3))
    return shares


def _polygon(params: Defocus, side: int) -> Floats:
    """Exact along x, at 256 places along y: 16 x 16 would miss up to 2e-3 of the area where an edge lies along an axis."""
    fine = 256
    y = _places(side, fine)
    left, right = np.full(len(y), -side / 2), np.full(len(y), side / 2)
    for edge in range(params.blades):
        normal = params.rotation + (2 * edge + 1) * math.pi / params.blades
        along, across = math.cos(normal), math.sin(normal)
        room = params.radius * math.cos(math.pi / params.blades) - y * across  # x * along must not be above
        if abs(along) < 1e-9:
            right = np.where(room < 0, left, right)
        elif along > 0:
            right = np.minimum(right, room / along)
        else:
            left = np.maximum(left, room / along)
    borders = np.arange(side + 1) - side / 2
    passed = np.clip(borders, left[:, None], np.maximum(left, right)[:, None])
    shares: Floats = np.diff(passed, axis=1).reshape(side, fine, side).mean(axis=1)
    return shares


def _places(side: int, fine: int) -> Floats:
    """Positions in px from the centre of a row of pixels, several a pixel."""
    return (np.arange(side * fine) + 0.5) / fine - side / 2


def _radius(radius: float) -> int:
    return math.ceil(radius + 0.5) if radius > 0.5 else 0
