"""Optimisers, as values; PyTorch's own carry them out."""

from dataclasses import dataclass
from enum import StrEnum

from deblur_cli.host.checks import is_number, require
from deblur_cli.host.schedules import require_number


class OptimizerKind(StrEnum):
    """Which of PyTorch's."""

    ADAM = "adam"
    ADAMW = "adamw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """Adam or AdamW. lr : a step; betas, eps, weight_decay : as PyTorch's. Keras' Adam has eps 1e-7."""

    kind: OptimizerKind | str = OptimizerKind.ADAM
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        require(self.kind in tuple(OptimizerKind), "optimizer.kind", self.kind, "adam or adamw")
        object.__setattr__(self, "kind", OptimizerKind(self.kind))
        require_number(self.lr, "optimizer.lr", above=0)
        require_number(self.eps, "optimizer.eps", above=0)
        require(
            isinstance(self.betas, tuple)
            and len(self.betas) == 2
            and all(is_number(beta) and 0 <= beta < 1 for beta in self.betas),
            "optimizer.betas",
            self.betas,
            "two numbers in [0, 1)",
        )
        require(
            is_number(self.weight_decay) and self.weight_decay >= 0,
            "optimizer.weight_decay",
            self.weight_decay,
            "a number >= 0",
        )
