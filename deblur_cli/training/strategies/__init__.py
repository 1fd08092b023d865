"""How a batch becomes updates: one file a strategy. A plugin may bring its own, built on `Learning` like these.

What the steps of a plugin import stands here, beside the critics of deblur_cli.networks.
"""

from collections.abc import Sequence
from typing import Protocol

from deblur_cli.errors import DeblurError, MissingError
from deblur_cli.host.declarations import import_object
from deblur_cli.host.recipes import Recipe
from deblur_cli.training.feeding.batches import Batch, Part
from deblur_cli.training.learning import Learner, Learning, Losses
from deblur_cli.training.strategies.critics import build_critic, without_dropout, without_gradients
from deblur_cli.training.strategies.wasserstein_gp import gradient_penalty, picture_scores

__all__ = [
    "Batch",
    "Learner",
    "Learning",
    "Losses",
    "Part",
    "Steps",
    "build_critic",
    "build_steps",
    "gradient_penalty",
    "picture_scores",
    "without_dropout",
    "without_gradients",
]


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
    """The strategy of a recipe, at work.

    Raises MissingError where it cannot be imported or built.
    """
    path = type(recipe.strategy).steps
    try:
        steps: Steps = import_object(path)(recipe, learning)
        names = [learner.name for learner in (learning.generator, *steps.learners)]
    except DeblurError:
        raise
    except Exception as error:  # a stranger's code may raise anything
        raise MissingError(f"the strategy {path} cannot be built: {type(error).__name__}: {error}") from error
    if len(set(names)) < len(names):  # they would be saved over each other
        raise MissingError(f"the strategy {path} gives two of its networks one name: {', '.join(names)}")
    return steps
