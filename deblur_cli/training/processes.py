"""The processes of one training, as torchrun starts them, and what they tell each other.

Gradients are summed after the backward pass instead of by DistributedDataParallel: it works alike for several networks, for
accumulated parts and for the double backward of a gradient penalty, and one process runs the very same code.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from deblur_cli.errors import DeblurError, MissingError, UsageError

T = TypeVar("T")


class LostError(DeblurError):
    """Another process of the training is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """How many processes train together, and which of them this one is.

    local_rank : its number on this machine; store : what all of them can write to, None where there is one
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    store: Store | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the one that validates, writes and reports."""
        return self.rank == 0

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in place. All must have one dtype and device.

        Raises LostError where one of them is gone.
        """
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _contact():
            dist.all_reduce(flat)
        sizes = [tensor.numel() for tensor in tensors]
        for tensor, total in zip(tensors, torch.split(flat, sizes), strict=True):
            tensor.copy_(total.view_as(tensor))

    def from_first(self, value: T) -> T:
        """The first process's value, in all of them. Raises LostError where one of them is gone."""
        if self.count == 1:
            return value
        box = [value]
        with _contact():
            dist.broadcast_object_list(box)
        return box[0]

    def claims(self, what: str) -> bool:
        """Whether this process is the first that asks for it."""
        if self.store is None:
            return True
        try:
            return bool(self.store.add(what, 1) == 1)
        except RuntimeError:  # its keeper is gone
            return self.is_first

    def own_device(self, device: torch.device) -> torch.device:
        """The device of this process: of several GPUs the one of its number.

        Raises
        ------
        UsageError : processes cannot share the device
        MissingError : there are fewer GPUs than processes
        """
        if self.count == 1 or device.type == "cpu":
            return device
        if str(device) != "cuda":  # "cuda:1" would be one for all
            raise UsageError(
                f"several processes cannot share the device {device}; give --device cuda for one GPU each, or --device cpu"
            )
        if self.local_rank >= torch.cuda.device_count():
            raise MissingError(
                f"each process takes a GPU of its own, and this machine has {torch.cuda.device_count()}; "
                "start so many processes, or give --device cpu"
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """The processes that torchrun started with this one; alone where it did not.

    Raises
    ------
    LostError : they do not find each other
    UsageError : the environment says half of it
    """
    if not are_several():
        yield Processes()
        return
    with _contact():
        try:
            store, rank, count = next(rendezvous("env://"))
        except ValueError as error:
            raise UsageError(
                f"the environment says WORLD_SIZE={os.environ['WORLD_SIZE']}, as torchrun sets it, but lacks the rest ({error}); "
                "unset it, or start with torchrun or --processes"
            ) from error
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count)
    yield Processes(
        rank=rank,
        count=count,
        local_rank=int(os.environ.get("LOCAL_RANK", rank)),
        store=PrefixStore("training", store),
    )
    # The group ends with the process: of those that destroyed it, one now and then aborted after its work was done.


def are_several() -> bool:
    """Whether torchrun started this process with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def require_samples_for_all(count: int, *, batch_size: int) -> None:
    """Raise UsageError where a batch has fewer samples than there are processes."""
    if count > batch_size:
        raise UsageError(
            f"a batch of {batch_size} cannot be shared by {count} processes; start at most {batch_size}, "
            f"or give --set batch_size={count} or more"
        )


def processors() -> int:
    """Processors that this process may use; macOS and Windows tell of all only."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


@contextmanager
def _contact() -> Iterator[None]:
    """Inside, torch.distributed's errors are LostError."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise LostError("lost contact with another process") from error
