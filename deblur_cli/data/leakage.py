"""The same picture, or the same place, in two splits.

Every thumbnail of one split is held against every one of the other: first the coarse ones, all by all; then, for the
few that look most alike, the fine ones by the peak of their cross-correlation, which finds a scene that has moved on
by some frames. Measured: frames next to each other reach 0.8 to 0.97 where the camera pans slowly and 0.35 to 0.85 where
it swings by a tenth of the picture a frame; of 3,003 pairs of unrelated photographs the greatest is 0.29, of 157,000
pairs of their crops 10 in a million exceed 0.57. In pictures as small as CIFAR-10's whole classes look alike.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from deblur_cli.data.thumbnails import COARSE, FINE, Thumbnail

LIKELY = 0.6
"""Likeness from which two pictures show one scene."""

POSSIBLE = 0.45
"""Likeness from which they may."""

_COARSE_LIKENESS = 0.6
_CANDIDATES = 8  # looked at more closely for each picture
_BLOCK = 256
_SIZE = (2 * FINE, 2 * FINE)  # room for every shift without wrapping round

Complex = NDArray[np.complex64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """Two pictures that look alike, by the keys they were added with. same : equal value by value; value : up to 1."""

    first: int
    second: int
    value: float
    same: bool
    small: bool


class LookAlikes:
    """Collects thumbnails of one split after the other. The fine ones wait in a file that vanishes with this."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed by __exit__
        self._splits: dict[str, _Split] = {}
        self._count = 0

    def __enter__(self) -> "LookAlikes":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def add(self, thumbnail: Thumbnail, *, split: str, key: int) -> None:
        """Keep a picture's thumbnail. One that is flat looks like every other one and is left out."""
        if thumbnail.flat:
            return
        self._file.write(thumbnail.fine.tobytes())
        place = self._splits.setdefault(
            split, _Split(keys=[], rows=[], coarse=bytearray(), digests=[], small=[])
        )
        place.keys.append(key)
        place.rows.append(self._count)
        place.coarse.extend(thumbnail.coarse.tobytes())
        place.digests.append(thumbnail.digest)
        place.small.append(thumbnail.small)
        self._count += 1

    def comparisons(self) -> int:
        """How many pictures `find` will report as done."""
        return sum(min(len(one.keys), len(two.keys)) for one, two in self._couples())

    def find(self, done: Callable[[int], None] = lambda count: None) -> Iterator[Likeness]:
        """Pictures that look alike in two splits, the closest ones for each picture of the smaller split."""
        if not self._count:
            return
        self._file.flush()
        fine = np.memmap(self._file, np.int8, "r", shape=(self._count, FINE, FINE))
        for one, two in self._couples():
            few, many = sorted((one, two), key=lambda split: len(split.keys))
            yield from _compare(few, many, fine, done)

    def _couples(self) -> Iterator[tuple["_Split", "_Split"]]:
        splits = list(self._splits.values())
        return ((one, two) for place, one in enumerate(splits) for two in splits[place + 1 :])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Split:
    """The thumbnails of a split. rows : where the fine ones stand in the file."""

    keys: list[int]
    rows: list[int]
    coarse: bytearray
    digests: list[bytes]
    small: list[bool]

    def unit_rows(self, start: int, stop: int) -> Floats:
        """Coarse thumbnails of length 1."""
        width = COARSE * COARSE
        values = np.frombuffer(self.coarse, np.int8).reshape(-1, width)[start:stop].astype(np.float32)
        unit: Floats = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
        return unit


def _compare(
    few: _Split, many: _Split, fine: NDArray[np.int8], done: Callable[[int], None]
) -> Iterator[Likeness]:
    twins = {digest: place for place, digest in enumerate(many.digests)}
    for start in range(0, len(few.keys), _BLOCK):
        block = few.unit_rows(start, start + _BLOCK)
        closest = _closest(block, many)
        for offset, places in enumerate(closest):
            own = start + offset
            twin = twins.get(few.digests[own])
            near = [(twin, 1.0)] if twin is not None else _likeness(few.rows[own], places, many, fine)
            for place, value in near:
                small = few.small[own] or many.small[place]
                if value >= (LIKELY if small else POSSIBLE):
                    yield Likeness(
                        first=few.keys[own], second=many.keys[place], value=value, same=twin is not None, small=small
                    )  # fmt: skip
        done(len(block))


def _closest(block: Floats, many: _Split) -> list[list[int]]:
    """For each row the places of those that look most like it, the closest first."""
    best: list[list[tuple[float, int]]] = [[] for _ in block]
    step = 16 * _BLOCK
    for start in range(0, len(many.keys), step):
        scores = block @ many.unit_rows(start, start + step).T
        top = np.argsort(-scores, axis=1)[:, :_CANDIDATES]
        for row, columns in enumerate(top):
            found = [(float(scores[row, column]), start + int(column)) for column in columns]
            best[row] += [item for item in found if item[0] >= _COARSE_LIKENESS]
    return [[place for _, place in sorted(row, reverse=True)[:_CANDIDATES]] for row in best]


def _likeness(row: int, places: list[int], many: _Split, fine: NDArray[np.int8]) -> list[tuple[int, float]]:
    """The peak of the cross-correlation of a fine thumbnail with each of some others."""
    if not places:
        return []
    own = np.conj(_spectrum(fine[row]))
    return [
        (place, float(fft.irfft2(own * _spectrum(fine[many.rows[place]]), s=_SIZE).max())) for place in places
    ]


def _spectrum(thumbnail: NDArray[np.int8]) -> Any:  # `Any`: SciPy has no types
    values = thumbnail.astype(np.float32)
    return fft.rfft2(values / max(float(np.linalg.norm(values)), 1e-6), s=_SIZE)
