"""What all strategies share: the network, its loss, and the way from a loss to an update of parameters."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from deblur_cli.errors import CheckFailed
from deblur_cli.host.declarations import Values
from deblur_cli.host.optimizers import Optimizer, OptimizerKind
from deblur_cli.training.feeding.batches import Batch, Part
from deblur_cli.training.objective import Objective
from deblur_cli.training.processes import Processes

Losses = Mapping[str, float]

_OPTIMIZERS: Mapping[OptimizerKind, type[torch.optim.Optimizer]] = {
    OptimizerKind.ADAM: torch.optim.Adam,
    OptimizerKind.ADAMW: torch.optim.AdamW,
}
_OWN, _SHARED = 0, 1  # roles of the random numbers of a step


class NotFiniteError(CheckFailed):
    """A loss or a gradient is no number any more. what : which"""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not finite")
        self.what = what


@dataclass(slots=True, kw_only=True)
class Learner:
    """A network and the optimiser that changes it. lr : the full rate, of which a schedule takes a share

    forward : the network, or its compiled form
    """

    name: str
    network: nn.Module
    optimizer: torch.optim.Optimizer
    lr: float
    scaler: torch.amp.GradScaler
    forward: Callable[..., Tensor | Sequence[Tensor]]

    @classmethod
    def of(
        cls, name: str, network: nn.Module, settings: Optimizer, *, scaler: torch.amp.GradScaler
    ) -> "Learner":
        """A learner with a fresh optimiser."""
        optimizer = _OPTIMIZERS[OptimizerKind(settings.kind)](
            network.parameters(),
            lr=settings.lr,
            betas=settings.betas,
            eps=settings.eps,
            weight_decay=settings.weight_decay,
        )  # type: ignore[call-arg]  # the base class has none of these
        return cls(
            name=name, network=network, optimizer=optimizer, lr=settings.lr, scaler=scaler, forward=network
        )

    def constrain(self) -> None:
        """Lead the weights back to where the network's own `constrain()` allows them, if it has one."""
        project: Callable[[], None] | None = getattr(self.network, "constrain", None)
        if project is not None:
            with torch.no_grad():
                project()

    def set_rate(self, factor: float) -> None:
        """Take this share of the full rate from now on."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where networks live and in which precision.

    compute, parameters : dtypes of the convolutions and of what is kept; autocast stands between them
    channels_last : the memory format of pictures and weights, faster for most convolutions
    """

    device: torch.device
    compute: torch.dtype = torch.float32
    parameters: torch.dtype = torch.float32
    channels_last: bool = True

    @property
    def format(self) -> torch.memory_format:
        """The memory format of pictures."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def learner(self, name: str, network: nn.Module, settings: Optimizer) -> Learner:
        """The network there, with a fresh optimiser, and its losses scaled where float16 needs it."""
        # torch's types lack memory_format
        placed = network.to(device=self.device, dtype=self.parameters).to(memory_format=self.format)  # type: ignore[call-overload]
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.compute == torch.float16)
        return Learner.of(name, placed, settings, scaler=scaler)

    def autocast(self) -> AbstractContextManager[None]:
        """Inside, convolutions run in the reduced precision that was asked for, if any."""
        return torch.autocast(self.device.type, dtype=self.compute, enabled=self.compute != self.parameters)

    def pictures(self, batch: Tensor, *, values: Values) -> Tensor:
        """Code values as the network takes them: (n, 3, H, W) uint8 -> floats in its range."""
        there = batch.to(
            self.device, non_blocking=self.device.type == "cuda"
        )  # as 8 bit: a quarter of the bytes
        there = there.to(self.parameters, memory_format=self.format).div_(255)
        return there if values is Values.UNIT else there.mul_(2).sub_(1)


@dataclass(slots=True, kw_only=True)
class Learning:
    """The tools of a strategy.

    generator : the network that restores; objective : the recipe's loss
    """

    generator: Learner
    objective: Objective
    placement: Placement
    clip_norm: float | None
    processes: Processes
    seed: int
    _shared: torch.Generator = field(default_factory=torch.Generator)

    def begin_step(self, step: int) -> None:
        """Set all random numbers from the seed and the number of the step, so that none need to be saved."""
        own = _number(self.seed, step, _OWN, self.processes.rank)
        if self.placement.device.type == "cpu":  # torch.manual_seed looks for devices, which takes 0.4 ms
            torch.default_generator.manual_seed(own)
        else:
            torch.manual_seed(own)
        self._shared.manual_seed(_number(self.seed, step, _SHARED))

    def uniform(self, batch: Batch) -> Tensor:
        """A number of U[0, 1] for each sample of the whole batch, (size, 1, 1, 1); the same in every process."""
        drawn = torch.rand(batch.size, 1, 1, 1, generator=self._shared)
        return drawn.to(device=self.placement.device, dtype=self.placement.parameters)

    def restore(self, part: Part) -> tuple[Tensor, ...]:
        """The network's outputs in full precision, the finest first."""
        with self.placement.autocast():
            outputs = self.generator.forward(part.blurry)
        several = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
        return tuple(output.to(self.placement.parameters) for output in several)

    def content(self, outputs: Sequence[Tensor], part: Part) -> dict[str, Tensor]:
        """The recipe's loss of a part, by its terms."""
        return self.objective(outputs, part.sharp)

    def update(
        self, learner: Learner, batch: Batch, losses_of: Callable[[Part], Mapping[str, Tensor]]
    ) -> dict[str, float]:
        """One update of a learner's parameters.

        Parameters
        ----------
        losses_of : the losses of a part by name, means over its samples; their sum is what is minimised

        Returns
        -------
        the losses of the whole batch, by name

        Raises
        ------
        NotFiniteError : before anything was changed
        """
        learner.optimizer.zero_grad(set_to_none=True)
        found: dict[str, Tensor] = {}
        for part in batch.parts:
            losses = losses_of(part)
            total = torch.stack(list(losses.values())).sum() * part.share
            learner.scaler.scale(total).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            for name, loss in losses.items():
                found[name] = found.get(name, 0) + loss.detach() * part.share
        values = self._over_processes(found)
        _require_finite(values)
        self._add_up_gradients(learner)
        learner.scaler.unscale_(learner.optimizer)
        norm = nn.utils.clip_grad_norm_(learner.network.parameters(), self.clip_norm or float("inf"))
        if not learner.scaler.is_enabled():  # else it skips the step and scales less
            _require_finite({f"the gradient of the {learner.name}": float(norm)})
        learner.scaler.step(learner.optimizer)
        learner.scaler.update()
        learner.constrain()
        if learner.scaler.is_enabled() and learner.scaler.get_scale() < 1:  # no scale is small enough
            raise NotFiniteError(f"the gradient of the {learner.name}")
        return values

    def agree_on_statistics(self) -> None:
        """Give all processes the mean of their batch norms' running statistics, which each took from its own samples."""
        if self.processes.count > 1:
            buffers = [
                buffer
                for module in self.generator.network.modules()
                if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
                for buffer in module.buffers(recurse=False)
                if buffer.is_floating_point()
            ]
            self.processes.add_up(buffers)
            for buffer in buffers:
                buffer.div_(self.processes.count)

    def _over_processes(self, found: Mapping[str, Tensor]) -> dict[str, float]:
        """The losses of the whole batch. A process without samples learns their names from the first."""
        names = self.processes.from_first(list(found))
        zero = torch.zeros((), device=self.placement.device, dtype=self.placement.parameters)
        values = torch.stack([found.get(name, zero).to(self.placement.parameters) for name in names])
        self.processes.add_up([values])
        return dict(zip(names, values.tolist(), strict=True))

    def _add_up_gradients(self, learner: Learner) -> None:
        if self.processes.count == 1:
            return
        parameters = [parameter for parameter in learner.network.parameters() if parameter.requires_grad]
        gradients = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for parameter in parameters
        ]
        used = gradients[0].new_tensor([parameter.grad is not None for parameter in parameters])
        self.processes.add_up([*gradients, used])
        for parameter, gradient, users in zip(parameters, gradients, used.tolist(), strict=True):
            parameter.grad = gradient if users else None


def _require_finite(values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if not np.isfinite(value):
            raise NotFiniteError(name)


def _number(*key: int) -> int:
    """64 bits that follow from these numbers."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
