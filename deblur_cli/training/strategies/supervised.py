"""Supervised learning: the loss alone."""

from collections.abc import Sequence

from deblur_cli.host.recipes import Recipe
from deblur_cli.training.feeding.batches import Batch
from deblur_cli.training.learning import Learner, Learning, Losses


class SupervisedSteps:
    """One update of the network on each batch."""

    learners: Sequence[Learner] = ()

    def __init__(self, recipe: Recipe, learning: Learning) -> None:
        self._learning = learning

    def batches_needed(self, epoch: int) -> int:
        """One."""
        return 1

    def step(self, batches: Sequence[Batch], *, epoch: int) -> Losses:
        """Minimise the recipe's loss."""
        learning = self._learning
        return learning.update(
            learning.generator, batches[0], lambda part: learning.content(learning.restore(part), part)
        )
