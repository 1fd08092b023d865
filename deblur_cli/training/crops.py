"""Training crops: item `i` of epoch `e` depends on (seed, e, i) alone, so neither workers nor interruptions change it."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from deblur_cli.data import Pair


_ORDER, _CROP = 0, 1  # roles of the random generators


@dataclass(frozen=True, slots=True)
class _Request:
    """One crop to cut: which item of which epoch."""

    epoch: int
    index: int


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """Random crops of pairs, flipped at random: (blurry, sharp), both (3, patch, patch) uint8.

    A pair counts as often in an epoch as crops are needed to cover its area, so an epoch sees each pixel about once.

    Parameters
    ----------
    pairs : blurry and sharp pictures
    patch : side of a crop, pixels; reduced to the smallest side of all pictures
    cache_bytes : decoded pictures kept in memory
    """

    def __init__(
        self, pairs: "Sequence[Pair]", *, patch: int, flips: bool, seed: int, cache_bytes: int = 2 << 30
    ) -> None:
        self._pairs = pairs
        self._flips = flips
        self._seed = seed
        self._cache: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._room = cache_bytes
        sizes = [pair.size() for pair in pairs]
        self.patch = min(patch, *(min(size) for size in sizes))
        counts = [max(1, round(height * width / self.patch**2)) for height, width in sizes]
        self._owner = np.repeat(np.arange(len(pairs)), counts)

    def __len__(self) -> int:
        """Crops of one epoch."""
        return len(self._owner)

    def __getitem__(self, request: "_Request") -> tuple[Tensor, Tensor]:
        """The crop of one item of one epoch."""
        rng = _generator(self._seed, request.epoch, request.index, role=_CROP)
        blurry, sharp = self._load(int(self._owner[request.index]))
        height, width = sharp.shape[:2]
        row = int(rng.integers(height - self.patch + 1))
        column = int(rng.integers(width - self.patch + 1))
        window = (slice(row, row + self.patch), slice(column, column + self.patch))
        flipped = rng.random(2) < 0.5 if self._flips else (False, False)
        step = tuple(slice(None, None, -1 if flip else 1) for flip in flipped)
        return _tensor(blurry[window][step]), _tensor(sharp[window][step])

    def order(self, epoch: int) -> list[_Request]:
        """The crops of an epoch in the order in which they are seen."""
        order = _generator(self._seed, epoch, 0, role=_ORDER).permutation(len(self))
        return [_Request(epoch, int(index)) for index in order]

    def _load(self, owner: int) -> tuple[np.ndarray, np.ndarray]:
        if owner not in self._cache:
            pair = self._pairs[owner].load()
            self._room -= sum(picture.nbytes for picture in pair)
            if self._room < 0:
                return pair
            self._cache[owner] = pair
        return self._cache[owner]


def _processors() -> int:
    """Processors that this process may use; macOS and Windows tell of all only."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def batches(
    crops: Crops, *, epoch: int, start: int, batch_size: int, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of an epoch from batch number `start` on: (blurry, sharp), both (B, 3, patch, patch) float32 in [0, 1].

    An incomplete last batch is left out, unless it would be the only one.
    """
    order = crops.order(epoch)
    count = max(1, len(order) // batch_size)
    loader = DataLoader(
        crops,
        batch_sampler=[order[i * batch_size : (i + 1) * batch_size] for i in range(start, count)],
        num_workers=min(workers, _processors()),  # more would wait for each other, and PyTorch warns
        generator=torch.Generator(),  # else each loader takes a number from the network's generator
    )
    for blurry, sharp in loader:
        yield blurry.float().div_(255), sharp.float().div_(255)


def batches_per_epoch(crops: Crops, *, batch_size: int) -> int:
    """How many batches an epoch has."""
    return max(1, len(crops) // batch_size)


def _tensor(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def _generator(seed: int, epoch: int, index: int, *, role: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(epoch, index, role))))
