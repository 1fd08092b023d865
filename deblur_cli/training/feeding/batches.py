"""Batches of crops: which samples they hold depends on the recipe and the seed alone, not on who loads them.

A batch is divided into parts of (nearly) equal size: as many as there are processes, times the recipe's `accumulate`. A
process loads its own parts. Each part counts by its share of the batch, so that the sum of all gives the batch's gradient.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import parent_process
from threading import Thread
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from deblur_cli.errors import DeblurError
from deblur_cli.training.feeding.crops import Crops, Item
from deblur_cli.training.processes import Processes, processors


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Samples that go through the network together.

    blurry, sharp : (n, 3, H, W) float32 on the device, in the network's range
    samples : which of the whole batch they are
    share : n / size of the whole batch
    """

    blurry: Tensor
    sharp: Tensor
    samples: slice
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What this process sees of a batch of `size` samples: its parts, none where there are fewer samples than processes."""

    parts: tuple[Part, ...]
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """How batches are cut out of an epoch and divided among processes.

    batch_size : samples of a whole batch; parts : of each process
    """

    batch_size: int
    parts: int
    drop_last: bool
    processes: Processes

    def count(self, crops: Crops) -> int:
        """Batches of an epoch; at least one."""
        full, rest = divmod(len(crops), self.batch_size)
        return max(1, full if self.drop_last else full + bool(rest))

    def own_parts(self, size: int) -> list[slice]:
        """The parts of a batch of `size` samples that this process takes; the first process is never without."""
        total = self.parts * self.processes.count
        bounds = [-(-size * i // total) for i in range(total + 1)]  # rounded up
        first = self.parts * self.processes.rank
        return [
            slice(a, b)
            for a, b in zip(bounds[first:], bounds[first + 1 : first + self.parts + 1], strict=False)
            if b > a
        ]


def batches(
    crops: Crops, division: Division, *, epoch: int, start: int, workers: int, pin: bool = False
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """The batches of an epoch from number `start` on.

    pin : whether to put them where CUDA can fetch them while it computes

    Yields
    ------
    the size of the whole batch, and this process's (blurry, sharp) of it, both (n, 3, patch, patch) uint8
    """
    plan = partial(planned, crops, division, epoch=epoch, start=start)
    loader = DataLoader(
        Attempts(crops),
        batch_sampler=(items for _, items in plan()),  # made one by one: an epoch may have millions
        collate_fn=_collate,
        num_workers=min(workers, processors()),  # more would wait for each other, and PyTorch warns
        worker_init_fn=partial(start_worker, blurs=crops.blurs),
        generator=torch.Generator(),  # else each loader takes a number from the global generator
        pin_memory=pin,
    )
    for (size, _), batch in zip(plan(), loader, strict=True):
        blurry, sharp = unless_refused(batch)
        yield size, blurry, sharp


def planned(crops: Crops, division: Division, *, epoch: int, start: int) -> Iterator[tuple[int, list[Item]]]:
    """Of each batch from number `start` on: the size of the whole, and the items of it that this process takes."""
    order = crops.order(epoch)
    for number in range(start, division.count(crops)):
        whole = order[number * division.batch_size : (number + 1) * division.batch_size]
        yield (
            len(whole),
            [Item(epoch, int(index)) for part in division.own_parts(len(whole)) for index in whole[part]],
        )


class Attempts(Dataset[Any]):
    """The items of a data set; an error of ours comes in place of the item, for `unless_refused`.

    Raised in a reading process, PyTorch would make another one of it, with a traceback for a message.
    """

    def __init__(self, items: Dataset[Any]) -> None:
        self._items = items

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._items[key]
        except DeblurError as error:
            return error


def unless_refused(item: Any) -> Any:
    """What a loader of `Attempts` gave. Raises the error that came instead."""
    if isinstance(item, DeblurError):
        raise item
    return item


def _collate(samples: list[Any]) -> tuple[Tensor, Tensor] | DeblurError:
    if not samples:  # fewer samples than processes
        return torch.empty(0, 3, 1, 1, dtype=torch.uint8), torch.empty(0, 3, 1, 1, dtype=torch.uint8)
    for sample in samples:
        if isinstance(sample, DeblurError):
            return sample
    blurry, sharp = default_collate(samples)
    return blurry, sharp


def start_worker(number: int, *, blurs: bool) -> None:
    """Prepare a loading process. blurs : whether it will use OpenCV"""
    Thread(target=_end_with_the_training, daemon=True).start()
    if blurs:  # OpenCV's threads do not survive the fork of a process, and the processes are the parallelism
        from deblur_cli.blur.opencv import import_opencv

        import_opencv().setNumThreads(0)


def _end_with_the_training() -> None:
    """Wait until the process that trains is gone, be it killed, and end this one.

    PyTorch's workers look for it every five seconds, and in vain where a server forked them.
    """
    training = parent_process()
    assert training is not None
    training.join()
    os._exit(1)
