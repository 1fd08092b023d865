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

    A budget of steps or minutes squeezes or stretches the recipe's epochs to fit, so that every schedule runs its course.
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
        losses = tuple(row["val_loss"] for row in state.history)
        if self.epochs is not None:  # not rounded by way of the progress
            done = min(1.0, (state.epoch + state.batch / batches_per_epoch) / self.epochs)
            return Moment(
                step=state.step, epoch=state.epoch, epochs=self.epochs, progress=done, val_losses=losses
            )
        if self.steps is not None:
            done = min(1.0, state.step / self.steps)
            epoch = min(
                state.step * recipe.epochs // self.steps, recipe.epochs
            )  # exact: no rounding by way of `done`
        else:
            assert self.minutes is not None
            done = min(1.0, state.seconds / (60 * self.minutes))
            epoch = int(done * recipe.epochs)
        return Moment(step=state.step, epoch=epoch, epochs=recipe.epochs, progress=done, val_losses=losses)
