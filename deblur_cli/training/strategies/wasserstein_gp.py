"""WGAN-GP (Gulrajani et al. 2017): a critic measures how far restored pictures are from sharp ones.

    critic:   L_C = mean C(R) - mean C(S) + gradient_penalty * mean (||grad C(X)||_2 - 1)^2,   X = eps S + (1 - eps) R
    network:  L_G = content(R, S) - adversarial * mean C(R)

C of a picture is the mean of its score map. eps ~ U[0, 1], one a sample. The penalty is computed in full precision.

Logged as they are added up, weights and signs included: critic_restored = mean C(R), critic_sharp = -mean C(S) and
gradient_penalty, of the critic's last update; adversarial = -adversarial * mean C(R) beside the terms of the content loss.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from deblur_cli.host.recipes import Recipe
from deblur_cli.host.strategies import WassersteinGP
from deblur_cli.training.feeding.batches import Batch, Part
from deblur_cli.training.learning import Learner, Learning, Losses
from deblur_cli.training.strategies.critics import build_critic, without_dropout, without_gradients


class WassersteinSteps:
    """`n_critic` updates of the critic, then one of the network."""

    def __init__(self, recipe: Recipe, learning: Learning) -> None:
        assert isinstance(recipe.strategy, WassersteinGP)
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
        """One; with fresh batches one for each update."""
        fresh = self._strategy.critic_batches == "fresh" and not self._is_pretraining(epoch)
        return self._strategy.n_critic + 1 if fresh else 1

    def step(self, batches: Sequence[Batch], *, epoch: int) -> Losses:
        """Update the critic, then the network on the last batch."""
        learning = self._learning
        batch = batches[-1]
        if self._is_pretraining(epoch):
            return learning.update(
                learning.generator, batch, lambda part: learning.content(learning.restore(part), part)
            )
        critic_losses: Losses = {}
        for number in range(self._strategy.n_critic):
            of_critic = batches[number % len(batches)]  # the same one again where there is one
            critic_losses = learning.update(
                self._critic, of_critic, partial(self._critic_losses, eps=learning.uniform(of_critic))
            )
        with without_gradients(self._critic.network):
            losses = learning.update(learning.generator, batch, self._network_losses)
        return {**losses, **critic_losses}

    def _is_pretraining(self, epoch: int) -> bool:
        return epoch < self._strategy.pretrain_epochs

    def _network_losses(self, part: Part) -> Mapping[str, Tensor]:
        outputs = self._learning.restore(part)
        adversarial = -self._strategy.adversarial * self._scores(outputs[0]).mean()
        return {**self._learning.content(outputs, part), "adversarial": adversarial}

    def _critic_losses(self, part: Part, *, eps: Tensor) -> Mapping[str, Tensor]:
        network = self._learning.generator.network
        with (
            torch.no_grad(),
            nullcontext() if self._strategy.dropout_for_critic else without_dropout(network),
        ):
            restored = self._learning.restore(part)[0]
        penalty = gradient_penalty(
            self._critic.network,
            part.sharp,
            restored,
            eps[part.samples],
            over_pixels=self._strategy.penalty_norm == "pixel",
        )
        return {
            "critic_restored": self._scores(restored).mean(),
            "critic_sharp": -self._scores(part.sharp).mean(),
            "gradient_penalty": self._strategy.gradient_penalty * penalty,
        }

    def _scores(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B,) in full precision."""
        with self._learning.placement.autocast():
            scores = self._critic.network(pictures)
        return picture_scores(scores.to(self._learning.placement.parameters))


def gradient_penalty(
    critic: nn.Module, sharp: Tensor, restored: Tensor, eps: Tensor, *, over_pixels: bool = False
) -> Tensor:
    """Mean of (norm of the critic's gradient - 1)^2 between sharp and restored pictures.

    Parameters
    ----------
    critic : (B, C, H, W) -> scores with B in front
    sharp, restored : (B, C, H, W)
    eps : (B, 1, 1, 1) in [0, 1], the share of the sharp one
    over_pixels : a norm over the colours of each pixel instead of one over the picture
    """
    between = (eps * sharp + (1 - eps) * restored.detach()).requires_grad_(True)
    scores = picture_scores(critic(between))
    (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    squares = gradient.square().sum(dim=1 if over_pixels else (1, 2, 3))
    return ((squares + 1e-12).sqrt() - 1).square().mean()


def picture_scores(scores: Tensor) -> Tensor:
    """One score a picture, the mean of its map: (B, ...) -> (B,)."""
    return scores.flatten(1).mean(dim=1) if scores.dim() > 1 else scores
