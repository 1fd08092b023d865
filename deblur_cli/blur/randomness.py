"""Where random numbers come from: one generator per (picture, draw and patch, step, role), and draws from uniforms.

Parameters are made from `rng.random()` alone, whose relation to the raw bits is fixed, so they survive NumPy's changes.
"""

import math
from collections.abc import Sequence
from enum import IntEnum
from statistics import NormalDist
from typing import TypeVar

import numpy as np

from deblur_cli.errors import UsageError

Range = tuple[float, float]
_T = TypeVar("_T")

PAIR_SLOT = 0
"""The slot of what concerns the pair as a whole, such as its crop; the steps count from 1."""


class Role(IntEnum):
    """What a generator of a step is for."""

    PARAMETERS = 0
    FIELD = 1  # paths and noise fields


def generator(seed: int, *, index: int, draw: int, slot: int, role: Role) -> np.random.Generator:
    """The generator of one step of one pair.

    Parameters
    ----------
    seed : of the whole data set, >= 0
    index : position of the sharp picture in the sorted list of sources
    draw : draw * patches + patch, since each patch is a draw of its own
    slot : PAIR_SLOT, or the number of the step, counted over all steps whether taken or not
    """
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(index, draw, slot, int(role)))
    return np.random.Generator(np.random.Philox(sequence))


def uniform(rng: np.random.Generator, limits: Range) -> float:
    """A number uniform in [low, high)."""
    low, high = _ordered(limits)
    return low + (high - low) * float(rng.random())


def log_uniform(rng: np.random.Generator, limits: Range) -> float:
    """A number whose logarithm is uniform; low must be above 0."""
    low, high = _ordered(limits)
    if low <= 0:
        raise UsageError(
            f"the range {low:g} to {high:g} is drawn on a logarithmic scale; its lower end must be above 0"
        )
    return low * math.exp(math.log(high / low) * float(rng.random()))


def integer(rng: np.random.Generator, limits: tuple[int, int]) -> int:
    """An integer in [low, high], both ends included."""
    low, high = _ordered(limits)
    return int(low) + math.floor((high - low + 1) * float(rng.random()))


def choice(rng: np.random.Generator, values: Sequence[_T]) -> _T:
    """One of the values, each as likely as the others."""
    return values[math.floor(len(values) * float(rng.random()))]


def normal(rng: np.random.Generator, *, mean: float, sd: float) -> float:
    """A normal number through the inverse distribution function of one uniform."""
    half_a_step = 2.0**-54  # `random` may give 0, where the inverse is infinite
    return NormalDist(mean, sd).inv_cdf(max(float(rng.random()), half_a_step))


def _ordered(limits: tuple[_T, _T]) -> tuple[_T, _T]:
    low, high = limits
    if not low <= high:  # type: ignore[operator]  # called with int and float only
        raise UsageError(f"the range {low} to {high} is empty; write the smaller end first")
    return low, high
