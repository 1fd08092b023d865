"""Where a training computes, in which numbers, compiled or not, the same bits each time or not."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from deblur_cli.errors import MissingError, UsageError
from deblur_cli.restore.devices import pick_precision
from deblur_cli.training.learning import Placement

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


def choose_placement(device: torch.device, *, dtype: str, channels_last: bool) -> Placement:
    """The networks on a device, in the precision asked for.

    dtype : of the convolutions: auto, float32, bfloat16 or float16, with parameters in float32; or float64 for both

    Raises
    ------
    UsageError : there is no such dtype, or it cannot be trained with there
    """
    if dtype == "float64":
        if device.type == "mps":
            raise UsageError("an Apple GPU has no float64; train in float32, or with --device cpu")
        compute = parameters = torch.float64
    else:
        compute, parameters = pick_precision(dtype, device=device).dtype, torch.float32
    if compute == torch.float16 and device.type != "cuda":
        raise UsageError(
            "gradients vanish in float16 unless they are scaled, which takes CUDA; train in bfloat16 or float32, "
            "restore in float16 as you like"
        )
    return Placement(device=device, compute=compute, parameters=parameters, channels_last=channels_last)


def compiled(network: nn.Module, *, device: torch.device) -> Callable[..., Tensor | Sequence[Tensor]]:
    """The network's forward, compiled; parameters, names and checkpoints stay the network's own.

    Something small is compiled first, each time of another size: what PyTorch has kept would hide that the compiler is gone.

    Raises
    ------
    MissingError : nothing can be compiled here
    """
    size = 8 + time.time_ns() % 1_000_000
    try:
        torch.compile(_probe, fullgraph=True, dynamic=False)(torch.ones(size, device=device))
    except Exception as error:  # of Dynamo, its backend, the compiler, or of a process that cannot be started
        raise MissingError(
            f"--compile takes a compiler that works here, such as g++ ({_reason(error)}); "
            "install one, or leave --compile out"
        ) from error
    finally:
        torch.compiler.reset()  # the probe counts among the forms that a function may be compiled to
    return torch.compile(network)


@contextmanager
def repeatable(*, wanted: bool) -> Iterator[None]:
    """Inside, operations give the same bits each time, and those that cannot raise; afterwards all is as it was.

    To be entered before CUDA's first matrix product.
    """
    if not wanted:
        yield
        return
    cudnn = torch.backends.cudnn
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.deterministic,
        cudnn.benchmark,
        os.environ.get(_CUBLAS),
    )
    os.environ.setdefault(_CUBLAS, ":4096:8")  # cuBLAS: the same workspaces for all streams
    torch.use_deterministic_algorithms(True)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.deterministic, cudnn.benchmark = before[2:4]
        _set_variable(_CUBLAS, before[4])


def _probe(values: Tensor) -> Tensor:
    return values * 2 + 1


def _reason(error: Exception) -> str:
    """The line of PyTorch's message that names the cause."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line and not line.endswith("raised:")), type(error).__name__)


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
