"""How a batch becomes updates: one file a strategy. A plugin may bring its own, built on `Learning` like these."""

from collections.abc import Sequence
from typing import Protocol

from deblur_cli.host.declarations import import_object
from deblur_cli.host.recipes import Recipe
from deblur_cli.training.batches import Batch
from deblur_cli.training.learning import Learner, Learning, Losses


class Steps(Protocol):
    """What a strategy's `steps` names: a class that is built as (recipe, learning) and has these.

    learners : the further networks that learn, such as a critic; they are saved with the run
    """

    @property
    def learners(self) -> Sequence[Learner]:
        """The networks that learn besides the one that restores."""
        ...

    def batches_needed(self, epoch: int) -> int:
        """How many batches one step of this epoch takes. epoch : of the recipe, as a schedule counts them"""
        ...

    def step(self, batches: Sequence[Batch], *, epoch: int) -> Losses:
        """Update the parameters once; returns the losses by name, as they are logged. There may be fewer batches."""
        ...


def build_steps(recipe: Recipe, learning: Learning) -> Steps:
    """The strategy of a recipe, at work."""
    steps: Steps = import_object(type(recipe.strategy).steps)(recipe, learning)
    return steps
