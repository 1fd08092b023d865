"""Conditional non-saturating GAN (Isola et al. 2017): a critic that sees the blurred picture too.

    critic:   L_D = mean softplus(-D(B, S)) + mean softplus(D(B, R))
    network:  L_G = content(R, S) + adversarial * mean softplus(-D(B, R))

D gives logits, one a patch; -log sigmoid(z) = softplus(-z). The critic is updated first.

Logged as they are added up: critic_sharp and critic_restored are the two parts of L_D, adversarial is the weighted one of L_G.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from deblur_cli.host.recipes import Recipe
from deblur_cli.host.strategies import ConditionalGAN
from deblur_cli.training.feeding.batches import Batch, Part
from deblur_cli.training.learning import Learner, Learning, Losses
from deblur_cli.training.strategies.critics import build_critic, without_gradients


class ConditionalSteps:
    """One update of the critic, then one of the network, on the same batch."""

    def __init__(self, recipe: Recipe, learning: Learning) -> None:
        assert isinstance(recipe.strategy, ConditionalGAN)
        self._strategy = recipe.strategy
        self._learning = learning
        self._critic = build_critic(
            recipe.strategy.critic,
            recipe.strategy.critic_options,
            recipe.strategy.optimizer or recipe.optimizer,
            learning,
        )
        self.learners: Sequence[Learner] = (self._critic,)

    def batches_needed(self, epoch: int) -> int:
        """One."""
        return 1

    def step(self, batches: Sequence[Batch], *, epoch: int) -> Losses:
        """Update the critic, then the network."""
        critic_losses = self._learning.update(self._critic, batches[0], self._critic_losses)
        with without_gradients(self._critic.network):
            losses = self._learning.update(self._learning.generator, batches[0], self._network_losses)
        return {**losses, **critic_losses}

    def _critic_losses(self, part: Part) -> Mapping[str, Tensor]:
        with torch.no_grad():
            restored = self._learning.restore(part)[0]
        return {
            "critic_sharp": F.softplus(-self._logits(part, part.sharp)).mean(),
            "critic_restored": F.softplus(self._logits(part, restored)).mean(),
        }

    def _network_losses(self, part: Part) -> Mapping[str, Tensor]:
        outputs = self._learning.restore(part)
        deceived = F.softplus(-self._logits(part, outputs[0])).mean()
        return {**self._learning.content(outputs, part), "adversarial": self._strategy.adversarial * deceived}

    def _logits(self, part: Part, picture: Tensor) -> Tensor:
        with self._learning.placement.autocast():
            logits: Tensor = self._critic.network(part.blurry, picture)
        return logits.to(self._learning.placement.parameters)
