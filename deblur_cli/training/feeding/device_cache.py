"""All pairs decoded once and held on the device, where crops are cut and mirrored: nothing is left for the CPU to load."""

import time
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import partial

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from deblur_cli.errors import NotEnoughRoomError, UsageError
from deblur_cli.restore.memory import format_size, free_memory
from deblur_cli.training.feeding.batches import Attempts, Division, planned, start_worker, unless_refused
from deblur_cli.training.feeding.crops import Crops, Item, as_tensor
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
    """Pairs on the device. pictures : by number of the pair, blurry and sharp together, (2, 3, H, W) uint8"""

    def __init__(self, crops: Crops, pictures: Mapping[int, Tensor]) -> None:
        self._crops = crops
        self._pictures = pictures

    def batches(self, division: Division, *, epoch: int, start: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """The same as `deblur_cli.training.feeding.batches.batches` gives, to the bit."""
        for size, items in planned(self._crops, division, epoch=epoch, start=start):
            pairs = [self._crop(item) for item in items]
            together = torch.stack(pairs) if pairs else torch.empty(0, 2, 3, 1, 1, dtype=torch.uint8)
            yield size, together[:, 0], together[:, 1]

    def _crop(self, item: Item) -> Tensor:
        """(2, 3, patch, patch)"""
        pair = self._pictures[self._crops.owner(item)]
        cut = self._crops.cut(item, *pair.shape[-2:])
        crop = pair[:, :, cut.rows, cut.columns]
        return crop.flip([side for side, flip in zip((2, 3), cut.mirrored, strict=True) if flip])


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
    if crops.redraws:
        raise UsageError(
            "--cache device: these pictures are blurred anew for each crop, which the processor does; use --cache memory, "
            "or make pairs first with deblur make-dataset"
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
    pictures: dict[int, Tensor] = {}
    said = time.monotonic()
    for owner, pair in zip(owners, loader, strict=True):
        pictures[owner] = unless_refused(pair).to(device)
        if time.monotonic() - said >= _SAY_EVERY_S:
            said = time.monotonic()
            tell(f"{len(pictures)} of {len(owners)} pairs are on {device}")
    tell(f"{len(owners)} pairs are on {device}, {format_size(needed)}")
    return DeviceCache(crops, pictures)


class _Pictures(Dataset[Tensor]):
    """Whole pairs by their number."""

    def __init__(self, crops: Crops) -> None:
        self._crops = crops

    def __getitem__(self, owner: int) -> Tensor:
        """(2, 3, H, W) uint8, blurry and sharp"""
        return torch.stack([as_tensor(picture) for picture in self._crops.pictures(owner)])
