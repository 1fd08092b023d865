"""All pairs decoded once and held on the device, where crops are cut and mirrored: nothing is left for the CPU to load."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from deblur_cli.errors import NotEnoughRoomError, UsageError
from deblur_cli.restore.memory import format_size, free_memory
from deblur_cli.training.feeding.batches import Attempts, Division, planned, start_worker, unless_refused
from deblur_cli.training.feeding.crops import Crops, Item
from deblur_cli.training.processes import Processes, processors

SHARE_OF_FREE = 0.8
"""The rest is for the network, if the device's memory is the GPU's; what does not fit is refused before it is read."""
_SAY_EVERY_S = 10.0


class Cache(StrEnum):
    """What is kept of pictures once they are decoded."""

    NONE = "none"  # nothing
    MEMORY = "memory"  # as many as 2 GiB hold
    DEVICE = "device"  # all of them, where the network is


def choose_cache(name: str) -> Cache:
    """The cache that `--cache` names.

    Raises UsageError where there is none of this name.
    """
    try:
        return Cache(name)
    except ValueError as error:
        raise UsageError(f"there is no cache {name!r}; give {', '.join(Cache)}") from error


class DeviceCache:
    """Pairs on the device, from which all crops of a batch are gathered at once.

    pixels : (P, 6) uint8, of all pairs one after the other, row by row: red, green, blue of the blurry one and of the sharp
    starts : by number of the pair, the place of its first pixel
    """

    def __init__(self, crops: Crops, pixels: Tensor, starts: Mapping[int, int]) -> None:
        self._crops = crops
        self._pixels = pixels
        self._starts = starts

    def batches(self, division: Division, *, epoch: int, start: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """The same as `deblur_cli.training.feeding.batches.batches` gives, to the bit."""
        for size, items in planned(self._crops, division, epoch=epoch, start=start):
            together = self._gather(items)
            yield size, together[:, :3], together[:, 3:]

    def _gather(self, items: Sequence[Item]) -> Tensor:
        """(n, 6, patch, patch)"""
        if not items:  # fewer samples than processes
            return torch.empty(0, 6, 1, 1, dtype=torch.uint8)
        ways = torch.tensor([self._way(item) for item in items])
        first, down, across = ways.to(self._pixels.device).T[:, :, None]  # (n, 1) each
        steps = torch.arange(self._crops.patch, device=self._pixels.device)
        places = (first + down * steps)[:, :, None] + (across * steps)[:, None, :]  # (n, patch, patch)
        return self._pixels[places].permute(0, 3, 1, 2)

    def _way(self, item: Item) -> tuple[int, int, int]:
        """The place of a crop's first pixel, and how far it is to the next one below and beside it."""
        owner = self._crops.owner(item)
        height, width = self._crops.rooms[owner].tolist()
        cut = self._crops.cut(item, height, width)
        row, column = (
            part.stop - 1 if flip else part.start
            for part, flip in zip((cut.rows, cut.columns), cut.mirrored, strict=True)
        )
        down, across = (-1 if flip else 1 for flip in cut.mirrored)
        return self._starts[owner] + row * width + column, down * width, across


def hold_on_device(
    crops: Crops,
    device: torch.device,
    *,
    processes: Processes,
    workers: int,
    max_bytes: int | None = None,
    tell: Callable[[str], None] = lambda message: None,
) -> DeviceCache:
    """Read all pairs that crops are cut from.

    Parameters
    ----------
    workers : processes that decode; 0 = this one
    max_bytes : what the pairs may take, None = a share of what is free there
    tell : is told how far it is, now and then

    Raises
    ------
    UsageError : pairs are blurred anew in each epoch
    NotEnoughRoomError : they do not fit
    """
    if crops.redraws or crops.alters:
        raise UsageError(
            "--cache device: these pictures are blurred, reduced or degraded anew for each crop, which the processor does; "
            "use --cache memory, or make pairs first with deblur make-dataset"
        )
    owners = crops.owners()
    needed = 6 * int(crops.rooms[owners].prod(axis=1, dtype="int64").sum())
    if max_bytes is None:
        sharing = processes.count if device.type == "cpu" else 1
        max_bytes = int(SHARE_OF_FREE * free_memory(device)) // sharing
    if needed > max_bytes:
        raise NotEnoughRoomError(
            f"--cache device: {len(owners)} pairs take {format_size(needed)}, and {device} has {format_size(max_bytes)} "
            "to spare for them; use --cache memory"
        )
    loader = DataLoader(
        Attempts(_Pictures(crops)),
        batch_size=None,
        sampler=owners,
        num_workers=min(workers, processors()),
        worker_init_fn=partial(start_worker, blurs=crops.blurs),
        generator=torch.Generator(),
    )
    pixels = torch.empty(needed // 6, 6, dtype=torch.uint8, device=device)
    starts: dict[int, int] = {}
    end, said = 0, time.monotonic()
    for owner, pair in zip(owners, loader, strict=True):
        found = unless_refused(pair)
        starts[owner], end = end, end + len(found)
        pixels[starts[owner] : end] = found.to(device)
        if time.monotonic() - said >= _SAY_EVERY_S:
            said = time.monotonic()
            tell(f"{len(starts)} of {len(owners)} pairs are on {device}")
    tell(f"{len(owners)} pairs are on {device}, {format_size(needed)}")
    return DeviceCache(crops, pixels, starts)


class _Pictures(Dataset[Tensor]):
    """Whole pairs by their number."""

    def __init__(self, crops: Crops) -> None:
        self._crops = crops

    def __getitem__(self, owner: int) -> Tensor:
        """(H * W, 6) uint8, blurry and sharp"""
        pair = np.concatenate(self._crops.pictures(owner), axis=2)
        return torch.from_numpy(pair.reshape(-1, 6))
