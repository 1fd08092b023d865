"""Everything that changes while training, and how it is saved and restored to the bit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from deblur_cli.host.recipes import Recipe


@dataclass(slots=True, kw_only=True)
class State:
    """The training state. `batch` is the position in the epoch, `loss_sum` adds its losses, `seconds` the time trained so far."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    step: int = 0
    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    best_loss: float = float("inf")
    history: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def begin(cls, network: nn.Module, recipe: Recipe) -> "State":
        """The state before step 1."""
        kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
        optimizer = kinds[recipe.optimizer](
            network.parameters(),
            lr=recipe.lr,
            betas=recipe.betas,
            eps=recipe.eps,
            weight_decay=recipe.weight_decay,
        )
        average = _averaged(network, recipe.ema_decay) if recipe.ema_decay else None
        return cls(network=network, optimizer=optimizer, average=average)

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated and saved: the averaged one where the recipe averages."""
        module: nn.Module = self.network if self.average is None else self.average.module
        return module

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the state, the random generator's included."""
        result = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        if self.average is not None:
            result |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            result |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
        result["random"] = torch.get_rng_state()
        return {name: value.clone() for name, value in result.items()}

    def scalars(self) -> dict[str, Any]:
        """The rest of the state, as JSON holds it."""
        names = ("step", "epoch", "batch", "loss_sum", "seconds", "best_loss", "history")
        return {name: getattr(self, name) for name in names}

    def restore(self, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
        """Take over what `tensors` and `scalars` gave.

        Raises KeyError, TypeError, ValueError or RuntimeError where they are not of this network and recipe.
        """
        kinds = {name: type(value) for name, value in self.scalars().items()}
        if {name: type(value) for name, value in scalars.items()} != kinds:
            raise TypeError(f"state.json must hold {', '.join(kinds)}")
        self.network.load_state_dict(_below("network.", tensors))
        if self.average is not None:
            self.average.load_state_dict(_below("average.", tensors))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below("optimizer.", tensors).items():
            index, _, key = name.partition(".")
            moments.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict(
            {"state": moments, "param_groups": self.optimizer.state_dict()["param_groups"]}
        )
        torch.set_rng_state(tensors["random"])
        for name, value in scalars.items():
            setattr(self, name, value)


def _averaged(network: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average; early on it follows faster, so that it does not remember the start."""

    def average(mean: Tensor, value: Tensor, count: Tensor | int) -> Tensor:
        return mean + (value - mean) * (1 - min(decay, (1 + int(count)) / (10 + int(count))))

    return AveragedModel(network, avg_fn=average, use_buffers=True)


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
