"""How long a training lasts, and the learning rate on its way."""

import math
from dataclasses import dataclass

from deblur_cli.errors import UsageError
from deblur_cli.host.recipes import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The end of a training: steps, or minutes on the clock. Exactly one of them is set."""

    steps: int | None = None
    minutes: float | None = None

    @classmethod
    def choose(
        cls,
        recipe: Recipe,
        *,
        steps_per_epoch: int,
        epochs: int | None,
        steps: int | None,
        minutes: float | None,
    ) -> "Budget":
        """What the user asked for, else the recipe's epochs.

        Raises UsageError where more than one is given.
        """
        if sum(value is not None for value in (epochs, steps, minutes)) > 1:
            raise UsageError("give one of --epochs, --steps and --minutes, not several")
        if minutes is not None:
            return cls(minutes=minutes)
        return cls(steps=steps if steps is not None else (epochs or recipe.epochs) * steps_per_epoch)

    def progress(self, *, step: int, seconds: float) -> float:
        """The share of the training that is done, in [0, 1]."""
        if self.minutes is not None:
            return min(1.0, seconds / (60 * self.minutes))
        assert self.steps is not None
        return min(1.0, step / self.steps)


def learning_rate(recipe: Recipe, *, step: int, progress: float) -> float:
    """The rate of the step after `step` steps, at `progress` of the training."""
    warmup = min(1.0, (step + 1) / recipe.warmup_steps) if recipe.warmup_steps else 1.0
    if recipe.schedule == "cosine":
        return recipe.lr * warmup * 0.5 * (1 + math.cos(math.pi * progress))
    return recipe.lr * warmup
