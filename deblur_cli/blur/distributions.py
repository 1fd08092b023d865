"""What a spec may say instead of a number: distributions from which a parameter is drawn.

Numbers come from `rng.random()` alone, whose relation to the raw bits is fixed, so parameters survive NumPy's changes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deblur_cli.errors import UsageError

Value = bool | int | float | str

_LEAST_SHARE = 1e-5
"""Of a normal distribution within its bounds: below it, drawing until a value lies within takes too long, or never ends."""


class Distribution(Protocol):
    """From which a parameter is drawn."""

    def sample(self, rng: np.random.Generator, number: int) -> Value:
        """One value. number : of the draw, which `Cycle` counts by; the others ignore it."""

    def extremes(self) -> tuple[Value, ...]:
        """Every value of a finite set, or the least and the greatest: what range checks and margins look at."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Always the same; nothing is drawn."""

    value: Value

    def sample(self, rng: np.random.Generator, number: int) -> Value:
        """The value."""
        return self.value

    def extremes(self) -> tuple[Value, ...]:
        """The value."""
        return (self.value,)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Uniform in [low, high)."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_order("uniform", self.low, self.high)

    def sample(self, rng: np.random.Generator, number: int) -> float:
        """One value."""
        return self.low + (self.high - self.low) * float(rng.random())

    def extremes(self) -> tuple[float, float]:
        """Both ends."""
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class LogUniform:
    """The logarithm is uniform; low must be above 0."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_order("log_uniform", self.low, self.high)
        if self.low <= 0:
            raise UsageError(f"log_uniform low {self.low:g} must be above 0")
        if not math.isfinite(self.high / self.low):
            raise UsageError(
                f"log_uniform low {self.low:g} is too near 0 to divide {self.high:g} by it; raise it"
            )

    def sample(self, rng: np.random.Generator, number: int) -> float:
        """One value."""
        return self.low * math.exp(math.log(self.high / self.low) * float(rng.random()))

    def extremes(self) -> tuple[float, float]:
        """Both ends."""
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class Integers:
    """low, low + step, ... up to high, which is included where a step ends there."""

    low: int
    high: int
    step: int = 1

    def __post_init__(self) -> None:
        _check_order("integers", self.low, self.high)
        if self.step < 1:
            raise UsageError(f"integers step {self.step} must be 1 or more")

    def sample(self, rng: np.random.Generator, number: int) -> int:
        """One value."""
        count = (self.high - self.low) // self.step + 1
        return self.low + self.step * math.floor(count * float(rng.random()))

    def extremes(self) -> tuple[int, ...]:
        """All values of a short range, since an odd or even one in between may matter; both ends of a long one."""
        values = range(self.low, self.high + 1, self.step)
        short = (self.high - self.low) // self.step < 1000  # `len` knows no more than 2^63 - 1
        return tuple(values) if short else (values[0], values[1], values[-1])


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the values, with equal or given weights."""

    values: tuple[Value, ...]
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise UsageError("choice has no values")
        if self.weights is not None:
            if len(self.weights) != len(self.values):
                raise UsageError(f"choice has {len(self.values)} values but {len(self.weights)} weights")
            if any(weight < 0 for weight in self.weights) or not 0 < sum(self.weights) < math.inf:
                raise UsageError("choice weights must be 0 or more, one above 0, and their sum finite")

    def sample(self, rng: np.random.Generator, number: int) -> Value:
        """One value."""
        if self.weights is None:
            return self.values[math.floor(len(self.values) * float(rng.random()))]
        return self.values[pick(self.weights, float(rng.random()))]

    def extremes(self) -> tuple[Value, ...]:
        """All values."""
        return self.values


@dataclass(frozen=True, slots=True)
class Normal:
    """Normal, drawn again until it lies in [low, high]."""

    mean: float
    sd: float
    low: float
    high: float

    def __post_init__(self) -> None:
        _check_order("within", self.low, self.high)
        if not self.sd > 0:
            raise UsageError(f"normal sd {self.sd:g} must be above 0")
        if not self.mean - 3 * self.sd <= self.high or not self.low <= self.mean + 3 * self.sd:
            raise UsageError(
                f"within [{self.low:g}, {self.high:g}] lies more than 3 sd from the mean {self.mean:g}"
            )

        if self._share() < _LEAST_SHARE:
            raise UsageError(
                f"within [{self.low:g}, {self.high:g}] holds hardly anything of a normal distribution of mean "
                f"{self.mean:g} and sd {self.sd:g}; widen it, or write a single number"
            )

    def _share(self) -> float:
        """The probability of [low, high] before anything is drawn again."""
        low, high = ((end - self.mean) / (self.sd * math.sqrt(2)) for end in (self.low, self.high))
        if low > 0:  # the same by symmetry; differences of small numbers are more exact than of those near 1
            low, high = -high, -low
        return (math.erfc(-high) - math.erfc(-low)) / 2

    def sample(self, rng: np.random.Generator, number: int) -> float:
        """One value."""
        while True:
            value = standard_normal(rng) * self.sd + self.mean
            if self.low <= value <= self.high:
                return value

    def extremes(self) -> tuple[float, float]:
        """Both ends."""
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class Cycle:
    """The values in turn, one a draw; nothing is random."""

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise UsageError("cycle has no values")

    def sample(self, rng: np.random.Generator, number: int) -> Value:
        """The value of this draw."""
        return self.values[number % len(self.values)]

    def extremes(self) -> tuple[Value, ...]:
        """All values."""
        return self.values


def greatest(distribution: Distribution) -> float:
    """The greatest number that can be drawn."""
    return max(float(value) for value in distribution.extremes())


def pick(weights: Sequence[float], share: float) -> int:
    """Which of several weights a share in [0, 1) of their sum falls on."""
    reached, total = 0.0, math.fsum(weights)
    for position, weight in enumerate(weights):
        reached += weight
        if share * total < reached:
            return position
    return max(position for position, weight in enumerate(weights) if weight > 0)  # rounding at the very end


def standard_normal(rng: np.random.Generator) -> float:
    """A normal number through the inverse distribution function of one uniform."""
    from scipy.special import ndtri

    half_a_step = 2.0**-54  # `random` may give 0, where the inverse is infinite
    return float(ndtri(max(float(rng.random()), half_a_step)))


def _check_order(name: str, low: float, high: float) -> None:
    if not low <= high:
        raise UsageError(f"{name} low {low:g} > high {high:g}")
