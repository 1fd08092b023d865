"""Strategies: how one batch becomes updates of the parameters, as values. deblur_cli.training.strategies carries them out.

A plugin brings its own by a subclass of Strategy whose `steps` names the class that carries it out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from deblur_cli.host.checks import is_number, require, require_import_path
from deblur_cli.host.optimizers import Optimizer
from deblur_cli.host.schedules import require_count, require_number

_STEPS = "deblur_cli.training.strategies"
_CRITICS = "deblur_cli.networks.critics"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How a batch becomes updates.

    kind : what a recipe file calls it; a plugin's own is called by its import path
    steps : import path of the class that does it (deblur_cli.training.strategies.Steps says what it must have)
    """

    kind: ClassVar[str] = ""
    steps: ClassVar[str] = ""

    def __post_init__(self) -> None:
        require_import_path(self.steps, f"{type(self).__name__}.steps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised(Strategy):
    """The network learns from the loss alone."""

    kind: ClassVar[str] = "supervised"
    steps: ClassVar[str] = f"{_STEPS}.supervised:SupervisedSteps"


@dataclass(frozen=True, slots=True, kw_only=True)
class WassersteinGP(Strategy):
    """WGAN-GP: a critic learns the distance of restored from sharp pictures, the network to shorten it.

    Critic: mean C(R) - mean C(S) + gradient_penalty * GP. Network: loss - adversarial * mean C(R).

    critic : import path of an nn.Module, (B, 3, H, W) in the network's range -> scores of any shape with B in front;
        their mean is the picture's score. critic_options : its keywords
    n_critic : updates of the critic before each one of the network
    critic_batches : "same" = all of them on the network's batch; "fresh" = each on a batch of its own
    penalty_norm : "image" = one gradient norm a picture; "pixel" = one over the colours of each pixel (S1's code)
    dropout_for_critic : whether the pictures that the critic sees are made with dropout
    pretrain_epochs : of the recipe's epochs, those in which the network first learns from the loss alone; fewer than all
    optimizer : of the critic, None = as the network's
    """

    kind: ClassVar[str] = "wgan-gp"
    steps: ClassVar[str] = f"{_STEPS}.wasserstein_gp:WassersteinSteps"

    critic: str = f"{_CRITICS}:LayerNormPatchCritic"
    critic_options: Mapping[str, Any] = field(default_factory=dict)
    n_critic: int = 5
    critic_batches: str = "same"
    gradient_penalty: float = 10.0
    penalty_norm: str = "image"
    adversarial: float = 1e-4
    dropout_for_critic: bool = True
    pretrain_epochs: int = 0
    optimizer: Optimizer | None = None

    def __post_init__(self) -> None:
        require_import_path(self.critic, "strategy.critic")
        require_count(self.n_critic, "strategy.n_critic", at_least=1)
        require_count(self.pretrain_epochs, "strategy.pretrain_epochs", at_least=0)
        require(
            self.critic_batches in ("same", "fresh"),
            "strategy.critic_batches",
            self.critic_batches,
            "same or fresh",
        )
        require(
            self.penalty_norm in ("image", "pixel"),
            "strategy.penalty_norm",
            self.penalty_norm,
            "image or pixel",
        )
        for name in ("gradient_penalty", "adversarial"):
            value = getattr(self, name)
            require(is_number(value) and 0 <= value < math.inf, f"strategy.{name}", value, "a number >= 0")
        _require_optimizer(self.optimizer)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionalGAN(Strategy):
    """Conditional non-saturating GAN: a critic tells (blurry, sharp) from (blurry, restored), the network deceives it.

    critic : import path of an nn.Module, (blurry, picture) -> logits of any shape; critic_options : its keywords
    adversarial : weight of mean softplus(-logits of the restored) beside the loss
    optimizer : of the critic, None = as the network's
    """

    kind: ClassVar[str] = "conditional-gan"
    steps: ClassVar[str] = f"{_STEPS}.conditional_gan:ConditionalSteps"

    critic: str = f"{_CRITICS}:ConditionalPatchCritic"
    critic_options: Mapping[str, Any] = field(default_factory=dict)
    adversarial: float = 1.0
    optimizer: Optimizer | None = None

    def __post_init__(self) -> None:
        require_import_path(self.critic, "strategy.critic")
        require_number(self.adversarial, "strategy.adversarial", above=0)
        _require_optimizer(self.optimizer)


def _require_optimizer(value: object) -> None:
    require(
        value is None or isinstance(value, Optimizer), "strategy.optimizer", value, "an Optimizer, or None"
    )


STRATEGIES: tuple[type[Strategy], ...] = (Supervised, WassersteinGP, ConditionalGAN)
