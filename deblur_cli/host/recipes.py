"""Recipes: how a network is trained, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from deblur_cli.host.checks import is_number, require, require_import_path, require_name
from deblur_cli.host.optimizers import Optimizer
from deblur_cli.host.schedules import ConstantRate, EarlyStopping, Schedule, require_count, require_number
from deblur_cli.host.strategies import Strategy, Supervised, WassersteinGP


class Scales(StrEnum):
    """What a loss does with the outputs of a network that returns several while it trains.

    Targets of the coarser ones are bilinear reductions of the sharp picture.
    """

    FINEST = "finest"  # the picture alone
    SUM = "sum"  # sum over the outputs (S2's SRN)
    HALF_MEAN = "half-mean"  # 1 / (2K) of the sum over K outputs (S0, eq. 4.3)


class Flips(StrEnum):
    """Which mirrorings a crop may get, each with a chance of a half."""

    NONE = "none"
    HORIZONTAL = "horizontal"
    BOTH = "both"  # left-right and top-bottom, independently


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One part of a loss: a declared loss with its options, times a weight, on one or all outputs of the network."""

    loss: str
    weight: float = 1.0
    scales: Scales | str = Scales.FINEST
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(isinstance(self.loss, str), "loss", self.loss, "the name of a loss")
        require_name(self.loss.rpartition(":")[2], "loss")  # PLUGIN:NAME where two plugins have one name
        require_number(self.weight, f"loss.{self.loss}.weight", above=0)
        require(self.scales in tuple(Scales), f"loss.{self.loss}.scales", self.scales, " or ".join(Scales))
        object.__setattr__(self, "scales", Scales(self.scales))
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """What the crops of an epoch are made of.

    shares : by the name of a data set, of a folder its last part: in which proportion those named divide among them the
        crops that they would have by their pixels
    reduce : greatest factor by which pictures are made smaller, drawn log-uniformly for each crop from 1 on: those that
        are blurred on the fly before the blur, ready pairs blurred and sharp alike
    degrade : share of the crops of ready pairs whose blurred picture gets the noise and JPEG steps of --blur
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    reduce: float = 1.0
    degrade: float = 0.0

    def __post_init__(self) -> None:
        require(
            isinstance(self.shares, Mapping), "mixture.shares", self.shares, "a table of numbers by data set"
        )
        for name, share in self.shares.items():
            require_number(share, f"mixture.shares.{name}", above=0)
        object.__setattr__(self, "shares", MappingProxyType(dict(self.shares)))
        require(
            is_number(self.reduce) and 1 <= self.reduce <= 16, "mixture.reduce", self.reduce, "from 1 to 16"
        )
        require(
            is_number(self.degrade) and 0 <= self.degrade <= 1, "mixture.degrade", self.degrade, "from 0 to 1"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained, as data that a user can print and override. Sizes in pixels.

    loss : name of a declared loss, a Term, or several Terms that are added up
    strategy : how a batch becomes updates: Supervised(), WassersteinGP(...), ConditionalGAN(...), or a plugin's own
    start : import path of a function (network) -> None that prepares the fresh network, or None for its own initialisation
    early_stopping : when to end before the last epoch, None = never
    accumulate : parts into which a batch is divided, so that it needs less memory; a batch norm then sees each part alone
    crops_per_pair : of an epoch; None = so many as cover the picture, so that an epoch sees each pixel about once
    drop_last : leave out the last batch of an epoch where it is not full
    reuse : epochs for which a patch that is blurred on the fly stays: so many times less blur is made, for pictures that
        are alike but for crop, flips, noise and JPEG
    mixture : what the crops are made of, None = all data sets by their pixels, as they are
    clip_norm : greatest norm of the gradient, of critics too, None = any
    freeze_norm_after : share of the training after which batch-norm statistics no longer move; 1 = never
    ema_decay : decay of the averaged weights that are saved, 0 = none
    """

    summary: str = ""
    loss: str | Term | tuple[Term, ...] = "logcosh"
    strategy: Strategy = field(default_factory=Supervised)
    start: str | None = None
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=ConstantRate)
    epochs: int = 120
    early_stopping: EarlyStopping | None = None
    batch_size: int = 32
    accumulate: int = 1
    drop_last: bool = True
    patch: int = 128
    crops_per_pair: int | None = None
    flips: Flips | str = Flips.BOTH
    reuse: int = 1
    mixture: Mixture | None = None
    clip_norm: float | None = None
    ema_decay: float = 0.0
    freeze_norm_after: float = 1.0

    def __post_init__(self) -> None:
        names = [term.loss for term in self.terms]
        require(
            bool(names) and len(set(names)) == len(names),
            "recipe.loss",
            self.loss,
            "one or more different losses",
        )
        for name, kind in (
            ("strategy", Strategy),
            ("optimizer", Optimizer),
            ("schedule", Schedule),
        ):
            require(
                isinstance(getattr(self, name), kind),
                f"recipe.{name}",
                getattr(self, name),
                f"a {kind.__name__}",
            )
        require(
            self.mixture is None or isinstance(self.mixture, Mixture),
            "recipe.mixture",
            self.mixture,
            "a Mixture, or None",
        )
        if self.start is not None:
            require_import_path(self.start, "recipe.start")
        require(
            self.early_stopping is None or isinstance(self.early_stopping, EarlyStopping),
            "recipe.early_stopping",
            self.early_stopping,
            "an EarlyStopping, or None",
        )
        for name in ("epochs", "batch_size", "accumulate", "patch", "reuse"):
            require_count(getattr(self, name), f"recipe.{name}", at_least=1)
        if isinstance(self.strategy, WassersteinGP):
            alone = self.strategy.pretrain_epochs
            require(
                alone < self.epochs,
                "strategy.pretrain_epochs",
                alone,
                f"less than epochs, {self.epochs} (--epochs shortens both)",
            )
        require(
            self.accumulate <= self.batch_size,
            "recipe.accumulate",
            self.accumulate,
            f"at most batch_size, {self.batch_size}",
        )
        require(self.flips in tuple(Flips), "recipe.flips", self.flips, " or ".join(Flips))
        object.__setattr__(self, "flips", Flips(self.flips))
        if self.crops_per_pair is not None:
            require_count(self.crops_per_pair, "recipe.crops_per_pair", at_least=1)
        if self.clip_norm is not None:
            require_number(self.clip_norm, "recipe.clip_norm", above=0)
        require(
            is_number(self.ema_decay) and 0 <= self.ema_decay < 1,
            "recipe.ema_decay",
            self.ema_decay,
            "a number in [0, 1)",
        )
        require(
            is_number(self.freeze_norm_after) and 0 <= self.freeze_norm_after <= 1,
            "recipe.freeze_norm_after",
            self.freeze_norm_after,
            "a number in [0, 1]",
        )

    @property
    def terms(self) -> tuple[Term, ...]:
        """The parts of the loss."""
        if isinstance(self.loss, str):
            return (Term(loss=self.loss),)
        return (self.loss,) if isinstance(self.loss, Term) else tuple(self.loss)
