"""How long a training lasts, and where it stands on its way."""

import math
from dataclasses import dataclass

from deblur_cli.errors import UsageError
from deblur_cli.host.recipes import Recipe
from deblur_cli.host.schedules import Moment
from deblur_cli.training.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The end of a training: epochs, steps, or minutes on the clock. Exactly one of them is set.

    The recipe's epochs are squeezed or stretched to fit, so that every schedule runs its course, and a critic that joins late
    joins after the same share of the training.
    """

    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None

    @classmethod
    def choose(
        cls, recipe: Recipe, *, epochs: int | None, steps: int | None, minutes: float | None
    ) -> "Budget":
        """What the user asked for, else the recipe's epochs.

        Raises UsageError where more than one is given, or no end.
        """
        given = [value for value in (epochs, steps, minutes) if value is not None]
        if len(given) > 1:
            raise UsageError("give one of --epochs, --steps and --minutes, not several")
        if minutes is not None and not math.isfinite(minutes):
            raise UsageError(f"--minutes {minutes}: a training must end; give a number of minutes")
        return cls(epochs=epochs, steps=steps, minutes=minutes) if given else cls(epochs=recipe.epochs)

    def in_words(self) -> str:
        """Such as "20 epochs"."""
        parts = (("epoch", self.epochs), ("step", self.steps), ("minute", self.minutes))
        return next(f"{value:,.10g} {unit}{'s' * (value != 1)}" for unit, value in parts if value is not None)

    def moment(self, state: State, recipe: Recipe, *, batches_per_epoch: int) -> Moment:
        """Where the training stands."""
        if self.epochs is not None:
            before, total = state.epoch * batches_per_epoch, self.epochs * batches_per_epoch
            done = min(1.0, (before + state.batch) / total)
            # an epoch whose batches are all used is the present one until the state counts it
            epoch = (before + min(state.batch, batches_per_epoch - 1)) * recipe.epochs // total
        elif self.steps is not None:
            done = min(1.0, state.step / self.steps)
            epoch = state.step * recipe.epochs // self.steps  # exact: no rounding by way of `done`
        else:
            assert self.minutes is not None
            done = min(1.0, state.seconds / (60 * self.minutes))
            epoch = int(done * recipe.epochs)
        return Moment(
            step=state.step,
            epoch=min(epoch, recipe.epochs),
            epochs=recipe.epochs,
            progress=done,
            val_losses=tuple(row["val_loss"] for row in state.history),
        )
