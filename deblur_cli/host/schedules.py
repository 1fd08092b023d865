"""Learning-rate schedules and early stopping, as values that can be printed, overridden and computed without torch.

Each is a pure function of where the training stands, so a resumed run needs no state of it, and one that ends by the clock
gets the same curve as one that ends after so many epochs.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from deblur_cli.host.checks import is_int, is_number, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Where a training stands.

    step : updates made so far; epoch : whole epochs of the recipe so far, and how many it has
    progress : share of the training that is done, in [0, 1]
    val_losses : of all validations so far, the oldest first
    """

    step: int
    epoch: int
    epochs: int
    progress: float
    val_losses: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(ABC):
    """How the learning rate goes. warmup_steps : steps over which it rises in a line from zero, by which the curve is multiplied"""

    kind: ClassVar[str]

    warmup_steps: int = 0

    def __post_init__(self) -> None:
        require_count(self.warmup_steps, "schedule.warmup_steps", at_least=0)

    def factor(self, at: Moment) -> float:
        """The share of the optimiser's lr that the next step takes."""
        warmup = min(1.0, (at.step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        return warmup * self.curve(at)

    @abstractmethod
    def curve(self, at: Moment) -> float:
        """The factor without the warm-up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantRate(Schedule):
    """The same rate from the first step to the last."""

    kind: ClassVar[str] = "constant"

    def curve(self, at: Moment) -> float:
        """1 always."""
        return 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Staircase(Schedule):
    """Exponential decay in steps: times `rate` after every `every` epochs (S0's fine-tuning: 0.7, 5)."""

    kind: ClassVar[str] = "staircase"

    rate: float = 0.7
    every: int = 5

    def __post_init__(self) -> None:
        Schedule.__post_init__(self)
        require_number(self.rate, "schedule.rate", above=0)
        require_count(self.every, "schedule.every", at_least=1)

    def curve(self, at: Moment) -> float:
        """rate^floor(epoch / every)."""
        return float(self.rate ** (at.epoch // self.every))


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearToZero(Schedule):
    """Constant for a share `start` of the epochs, then down in a line, epoch by epoch, to zero (S4: 150 of 300)."""

    kind: ClassVar[str] = "linear-to-zero"

    start: float = 0.5

    def __post_init__(self) -> None:
        Schedule.__post_init__(self)
        require(
            is_number(self.start) and 0 <= self.start < 1, "schedule.start", self.start, "a number in [0, 1)"
        )

    def curve(self, at: Moment) -> float:
        """min(1, (epochs - epoch) / (epochs - start * epochs))."""
        return max(0.0, min(1.0, (at.epochs - at.epoch) / (at.epochs * (1 - self.start))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Polynomial(Schedule):
    """(1 - progress)^power, step by step; `end` is the share of the rate that is left at the end (SRN: power 0.3)."""

    kind: ClassVar[str] = "polynomial"

    power: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        Schedule.__post_init__(self)
        require_number(self.power, "schedule.power", above=0)
        require(is_number(self.end) and 0 <= self.end <= 1, "schedule.end", self.end, "a number in [0, 1]")

    def curve(self, at: Moment) -> float:
        """end + (1 - end) (1 - progress)^power."""
        return float(self.end + (1 - self.end) * (1 - at.progress) ** self.power)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosine(Schedule):
    """Half a cosine, step by step, down to the share `end` of the rate."""

    kind: ClassVar[str] = "cosine"

    end: float = 0.0

    def __post_init__(self) -> None:
        Schedule.__post_init__(self)
        require(is_number(self.end) and 0 <= self.end <= 1, "schedule.end", self.end, "a number in [0, 1]")

    def curve(self, at: Moment) -> float:
        """end + (1 - end) (1 + cos(pi progress)) / 2."""
        return self.end + (1 - self.end) * 0.5 * (1 + math.cos(math.pi * at.progress))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plateau(Schedule):
    """Times `rate` when the validation loss has not fallen by more than `min_delta` for `patience` validations.

    Keras' convention: the rate falls at the end of the `patience`-th validation without a better loss, and counting then
    begins anew (PyTorch's ReduceLROnPlateau waits for one more). end : no lower than this share of the rate
    """

    kind: ClassVar[str] = "plateau"

    rate: float = 0.1
    patience: int = 10
    min_delta: float = 1e-4
    end: float = 0.0

    def __post_init__(self) -> None:
        Schedule.__post_init__(self)
        require_number(self.rate, "schedule.rate", above=0)
        require_count(self.patience, "schedule.patience", at_least=1)
        require(
            is_number(self.min_delta) and self.min_delta >= 0,
            "schedule.min_delta",
            self.min_delta,
            "a number >= 0",
        )
        require(is_number(self.end) and 0 <= self.end <= 1, "schedule.end", self.end, "a number in [0, 1]")

    def curve(self, at: Moment) -> float:
        """rate^(times that the loss stood still), at least `end`."""
        times = _times_stood_still(at.val_losses, patience=self.patience, min_delta=self.min_delta)
        return float(max(self.rate**times, self.end))


SCHEDULES: tuple[type[Schedule], ...] = (ConstantRate, Staircase, LinearToZero, Plateau, Polynomial, Cosine)


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping:
    """End the training when the validation loss has not fallen by more than `min_delta` for `patience` validations."""

    patience: int
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        require_count(self.patience, "early_stopping.patience", at_least=1)
        require(
            is_number(self.min_delta) and self.min_delta >= 0,
            "early_stopping.min_delta",
            self.min_delta,
            "a number >= 0",
        )

    def is_due(self, val_losses: Sequence[float]) -> bool:
        """Whether it is time, as Keras counts: `patience` validations in a row without a better loss."""
        return _times_stood_still(val_losses, patience=self.patience, min_delta=self.min_delta) > 0


def _times_stood_still(losses: Sequence[float], *, patience: int, min_delta: float) -> int:
    """How many times `patience` losses in a row were not lower than the best before them by more than `min_delta`."""
    best, waited, times = math.inf, 0, 0
    for loss in losses:
        best, waited = (loss, 0) if loss < best - min_delta else (best, waited + 1)
        if waited >= patience:
            times, waited = times + 1, 0
    return times


def require_count(value: object, where: str, *, at_least: int) -> None:
    """Raise DeclarationError unless it is a whole number of at least that."""
    require(
        isinstance(value, int) and is_int(value) and value >= at_least,
        where,
        value,
        f"a whole number >= {at_least}",
    )


def require_number(value: object, where: str, *, above: float) -> None:
    """Raise DeclarationError unless it is a finite number above that."""
    holds = isinstance(value, int | float) and is_number(value) and above < value < math.inf
    require(holds, where, value, f"a number > {above}")
