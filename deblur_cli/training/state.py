"""Everything that changes while training, and how it is saved and restored to the bit.

Random numbers are not among it: those of a step follow from the seed and the step (deblur_cli.training.learning), those of
a crop from the seed, the epoch and the crop.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.optim.swa_utils import AveragedModel

from deblur_cli.training.learning import Learner

Row = dict[str, float]


@dataclass(slots=True, kw_only=True)
class State:
    """The training state.

    learners : what learns, by name; the first is the network that restores
    batch : batches of the epoch that are used up; loss_sums : by name, over as many steps of the epoch so far as
        `loss_counts` says; a strategy may change its losses in the middle of an epoch
    seconds : the time trained so far; history : one row for each validation
    """

    learners: Sequence[Learner]
    average: AveragedModel | None
    step: int = 0
    epoch: int = 0
    batch: int = 0
    loss_sums: dict[str, float] = field(default_factory=dict)
    loss_counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    best_loss: float = float("inf")
    history: list[Row] = field(default_factory=list)

    @classmethod
    def begin(cls, learners: Sequence[Learner], *, ema_decay: float) -> "State":
        """The state before step 1."""
        average = _averaged(learners[0].network, ema_decay) if ema_decay else None
        return cls(learners=learners, average=average)

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated and saved: the averaged one where the recipe averages."""
        module: nn.Module = self.learners[0].network if self.average is None else self.average.module
        return module

    def count(self, losses: Mapping[str, float], *, batches: int) -> None:
        """Add up what a step found."""
        self.step += 1
        self.batch += batches
        for name, value in losses.items():
            self.loss_sums[name] = self.loss_sums.get(name, 0.0) + value
            self.loss_counts[name] = self.loss_counts.get(name, 0) + 1

    def mean_losses(self) -> Row:
        """The losses of the epoch so far, by name."""
        return {name: value / self.loss_counts[name] for name, value in self.loss_sums.items()}

    def end_epoch(self) -> None:
        """Go to the first batch of the next epoch."""
        self.epoch, self.batch, self.loss_sums, self.loss_counts = self.epoch + 1, 0, {}, {}

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the state."""
        result: dict[str, Tensor] = {}
        for learner in self.learners:
            result |= _prefixed(f"{learner.name}.", learner.network.state_dict())
            for index, values in learner.optimizer.state_dict()["state"].items():
                result |= _prefixed(f"optimizer.{learner.name}.{index}.", values)
        if self.average is not None:
            result |= _prefixed("average.", self.average.state_dict())
        return {name: value.clone() for name, value in result.items()}

    def scalars(self) -> dict[str, Any]:
        """The rest of the state, as JSON holds it."""
        names = ("step", "epoch", "batch", "loss_sums", "loss_counts", "seconds", "best_loss", "history")
        scalers = {learner.name: learner.scaler.state_dict() for learner in self.learners}
        return {name: getattr(self, name) for name in names} | {"scalers": scalers}

    def restore(self, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
        """Take over what `tensors` and `scalars` gave.

        Raises KeyError, TypeError, ValueError or RuntimeError where they are not of these networks and this recipe.
        """
        kinds = {name: type(value) for name, value in self.scalars().items()}
        if {name: type(value) for name, value in scalars.items()} != kinds:
            raise TypeError(f"state.json must hold {', '.join(kinds)}")
        for learner in self.learners:
            learner.network.load_state_dict(_below(f"{learner.name}.", tensors))
            moments: dict[int, dict[str, Tensor]] = {}
            for name, value in _below(f"optimizer.{learner.name}.", tensors).items():
                index, _, key = name.partition(".")
                moments.setdefault(int(index), {})[key] = value
            learner.optimizer.load_state_dict(
                {"state": moments, "param_groups": learner.optimizer.state_dict()["param_groups"]}
            )
            learner.scaler.load_state_dict(scalars["scalers"][learner.name])
        if self.average is not None:
            self.average.load_state_dict(_below("average.", tensors))
        for name, value in scalars.items():
            if name != "scalers":
                setattr(self, name, value)


def _averaged(network: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average; early on it follows faster, so that it does not remember the start."""

    def average(mean: Tensor, value: Tensor, count: Tensor | int) -> Tensor:
        return mean + (value - mean) * (1 - min(decay, (1 + int(count)) / (10 + int(count))))

    return _Average(network, avg_fn=average, use_buffers=True)


class _Average(AveragedModel):
    """Spectral norms measure the averaged kernels anew: the mean of the directions they look in is no unit vector."""

    def update_parameters(self, model: nn.Module) -> None:
        """Average parameters and buffers."""
        super().update_parameters(model)
        for module in self.module.modules():
            if is_parametrized(module):
                training = module.training
                module.train()
                for name, _ in list(module.get_submodule("parametrizations").named_children()):
                    getattr(module, name)  # one power iteration
                module.train(training)


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
