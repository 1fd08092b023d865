"""Training crops: item `i` of epoch `e` depends on (seed, e, i) alone, so neither workers nor interruptions change it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from deblur_cli.data.drawn import Draw, DrawnPair, Latent
from deblur_cli.errors import MissingError
from deblur_cli.host.recipes import Flips
from deblur_cli.training.feeding.mixing import Mixing, reduced
from deblur_cli.training.feeding.pool import Pool, pool_bytes

if TYPE_CHECKING:
    from deblur_cli.data import Pair
    from deblur_cli.data.pairs import Pixels
    from deblur_cli.data.synthesis import Opened

SPARE_PX = 16
"""By how much a blurred patch that is used several times is larger than the crops that are cut from it."""

_ORDER, _CROP = 0, 1  # roles of the random generators


@dataclass(frozen=True, slots=True)
class Item:
    """One crop to cut: which item of which epoch."""

    epoch: int
    index: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a crop lies in its pair, and how it is mirrored.

    rows, columns : px; mirrored : top-bottom, left-right
    """

    rows: slice
    columns: slice
    mirrored: tuple[bool, bool]

    def mirror(self, picture: "Pixels") -> "Pixels":
        """A crop as it is shown; a view."""
        steps = (slice(None, None, -1 if flip else 1) for flip in self.mirrored)
        return picture[tuple(steps)]


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """Random crops of pairs, flipped at random: (blurry, sharp), both (3, patch, patch) uint8.

    A pair counts as often in an epoch as crops are needed to cover its area, so an epoch sees each pixel about once, or
    `crops_per_pair` times.
    Pictures that are redrawn (see DrawnPair) are blurred anew for each crop of each epoch. Their random numbers come from
    the seed of their spec and that of the run together.

    Parameters
    ----------
    pairs : blurry and sharp pictures
    patch : side of a crop, px. Pairs that are smaller are left out; if all are, crops shrink until nine of ten pairs fit
    multiple_of : what a shrunken crop's side must be divisible by
    reuse : epochs for which a redrawn patch stays; each of them cuts and flips it anew, with noise and JPEG of its own,
        and every epoch renews one of so many patches
    mixing : how many crops each data set has, and what else happens to them; None = as their pixels and they themselves are
    cache_bytes : decoded pictures kept in memory

    Attributes
    ----------
    num_left_out : pairs that are too small
    blurs : whether making the crops takes OpenCV
    redraws : whether some of them are blurred anew each time
    alters : whether ready pairs are reduced or degraded
    rooms : (N, 2) int32, height and width in px of each pair out of which crops can be cut

    Raises
    ------
    MissingError : no pair is large enough
    """

    def __init__(
        self,
        pairs: "Sequence[Pair]",
        *,
        patch: int,
        flips: Flips,
        seed: int,
        multiple_of: int = 1,
        crops_per_pair: int | None = None,
        reuse: int = 1,
        mixing: Mixing | None = None,
        cache_bytes: int = 2 << 30,
    ) -> None:
        self._pairs = pairs
        self._flips = flips
        self._seed = seed
        self._reuse = reuse
        self._mixing = mixing
        self._pool: Pool | None = None
        self._cache: dict[int, tuple[Pixels, Pixels] | Opened] = {}
        self._room = cache_bytes
        seen = [(_room(pair), _is_redrawn(pair), isinstance(pair, DrawnPair)) for pair in pairs]
        rooms = self.rooms = np.array([room for room, _, _ in seen], np.int32)
        self.patch = _side(rooms.min(axis=1), patch, multiple_of=multiple_of)
        if crops_per_pair is None:
            counts = np.maximum(1, np.rint(rooms.prod(axis=1, dtype=np.int64) / self.patch**2)).astype(
                np.int64
            )
        else:
            counts = np.full(len(rooms), crops_per_pair, np.int64)
        counts[rooms.min(axis=1) < self.patch] = 0
        self.num_left_out = int(np.count_nonzero(counts == 0))
        if mixing is not None:
            counts = mixing.counts(counts)
        self._counts = counts
        self._first = np.cumsum(counts) - counts  # the pair's first crop
        self.blurs = any(is_drawn for _, _, is_drawn in seen)
        self._owner = np.repeat(np.arange(len(pairs), dtype=np.int32), counts)
        redrawn = np.array([is_redrawn for _, is_redrawn, _ in seen])
        self.alters = mixing is not None and mixing.alters
        self.redraws = bool(redrawn[self._owner].any())
        self._place = np.cumsum(redrawn[self._owner], dtype=np.int32) - 1  # in a pool, of the redrawn ones

    def __len__(self) -> int:
        """Crops of one epoch."""
        return len(self._owner)

    @contextmanager
    def keeping_patches(
        self, path: Path, *, is_first: bool = True, max_bytes: int | None = None
    ) -> Iterator[None]:
        """Keep patches that are used again in a file, as long as the context lasts; without reuse there is none.

        Nothing depends on it but the time.

        Parameters
        ----------
        is_first : whether this process makes and removes the file; others that share it only use it
        max_bytes : of the file; None = what the disk has to spare
        """
        if self._reuse == 1 or not self.redraws:
            yield
            return
        size = pool_bytes(path.parent) if max_bytes is None else max_bytes
        self._pool = Pool(path, side=self.patch + SPARE_PX, max_bytes=size)
        if is_first:
            self._pool.remove()  # of a run that was killed
            self._pool.make()
        try:
            yield
        finally:
            if is_first:
                self._pool.remove()
            self._pool = None

    def __getitem__(self, request: Item) -> tuple[Tensor, Tensor]:
        """The crop of one item of one epoch."""
        owner = self.owner(request)
        pair = self._pairs[owner]
        if not _is_redrawn(pair):
            cut, blurry, sharp = self._ready(owner, request)
        elif self._reuse == 1:
            draw = self._draw(pair, owner, request.index, epoch=request.epoch)
            blurry, sharp = pair.crop(self._reduced(owner, pair, draw), draw, side=self.patch)
            cut = self.cut(request, self.patch, self.patch)
        else:
            latent = self._latent(pair, owner, request)
            cut = self.cut(request, *latent.sharp.shape[:2])
            piece = Latent(
                blurry=latent.blurry[cut.rows, cut.columns], sharp=latent.sharp[cut.rows, cut.columns]
            )
            blurry, sharp = pair.taken(piece, self._draw(pair, owner, request.index, epoch=request.epoch))
        return as_tensor(cut.mirror(blurry)), as_tensor(cut.mirror(sharp))

    def owner(self, item: Item) -> int:
        """The pair that an item is cut from."""
        return int(self._owner[item.index])

    def owners(self) -> Sequence[int]:
        """The pairs that crops are cut from."""
        return [int(number) for number in np.flatnonzero(self._counts)]

    def cut(self, item: Item, height: int, width: int, *, side: int | None = None) -> Cut:
        """Where an item lies in a picture of this size, px. side : of what is cut, None = that of the crops"""
        side = side or self.patch
        words = self._words(item, 4)
        row, column = (
            (word * (whole - side + 1)) >> 64 for word, whole in zip(words, (height, width), strict=False)
        )
        down, across = (bool(word >> 63) for word in words[2:])
        return Cut(
            rows=slice(row, row + side),
            columns=slice(column, column + side),
            mirrored=(down and self._flips is Flips.BOTH, across and self._flips is not Flips.NONE),
        )

    def pictures(self, owner: int) -> "tuple[Pixels, Pixels]":
        """The whole of a pair that is not redrawn, blurry and sharp."""
        return _whole(self._pairs[owner]).load()

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The crops of an epoch in the order in which they are seen."""
        sequence = np.random.SeedSequence(self._seed, spawn_key=(epoch, _ORDER))
        return np.random.Generator(np.random.Philox(sequence)).permutation(len(self))

    def _words(self, item: Item, count: int) -> list[int]:
        """Random whole numbers below 2^64 for an item; more of them leave the first ones as they are."""
        key = _key(self._seed, item.epoch)
        words: list[int] = np.random.Philox(counter=item.index, key=key).random_raw(count).tolist()
        return words

    def _ready(self, owner: int, item: Item) -> "tuple[Cut, Pixels, Pixels]":
        """The crop of a pair that is blurred already, blurry and sharp, and how it is mirrored."""
        blurry, sharp = self._load(owner)
        height, width = sharp.shape[:2]
        if self._mixing is None:
            cut = self.cut(item, height, width)
            return cut, blurry[cut.rows, cut.columns], sharp[cut.rows, cut.columns]
        *_, to_reduce, to_degrade = self._words(item, 6)
        factor = self._mixing.factor(to_reduce, most=min(height, width) / self.patch)
        cut = self.cut(item, height, width, side=round(factor * self.patch))
        blurry, sharp = (
            reduced(picture[cut.rows, cut.columns], self.patch, self.patch) for picture in (blurry, sharp)
        )
        if self._mixing.degrades(to_degrade):
            number = item.epoch * len(self) + item.index
            blurry = self._mixing.degraded(blurry, Draw(seed=self._seed, index=owner, number=number))
        return cut, blurry, sharp

    def _reduced(self, owner: int, pair: DrawnPair, draw: Draw) -> "Opened":
        """The sharp picture to blur, made smaller as the mixture draws it."""
        opened = self._open(owner, pair)
        if self._mixing is None:
            return opened
        height, width = opened.sharp.shape[:2]
        around = height - pair.room()[0]  # what the blur needs besides
        word = int(
            np.random.SeedSequence([draw.seed, draw.index, draw.number]).generate_state(1, np.uint64)[0]
        )
        factor = self._mixing.factor(word, most=min(height, width) / (self.patch + around + 1))
        return replace(opened, sharp=reduced(opened.sharp, round(height / factor), round(width / factor)))

    def _latent(self, pair: DrawnPair, owner: int, request: Item) -> Latent:
        """The patch that an item uses in an epoch: its own first one, and another after at most `reuse` epochs."""
        renewals = (request.epoch + request.index % self._reuse) // self._reuse
        draw = self._draw(pair, owner, request.index, epoch=renewals)
        place = int(self._place[request.index])
        kept = None if self._pool is None else self._pool.get(place, draw.number)
        if kept is None:
            kept = pair.latent(self._reduced(owner, pair, draw), draw, side=self.patch + SPARE_PX)
            if self._pool is not None:
                self._pool.put(place, draw.number, kept)
        return kept

    def _draw(self, pair: DrawnPair, owner: int, index: int, *, epoch: int) -> Draw:
        number = epoch * int(self._counts[owner]) + index - int(self._first[owner])
        return Draw(seed=_both(pair.spec.seed, self._seed), index=owner, number=number)

    def _load(self, owner: int) -> "tuple[Pixels, Pixels]":
        kept = self._cache.get(owner)
        if not isinstance(kept, tuple):
            kept = self.pictures(owner)
            self._keep(owner, kept, sum(picture.nbytes for picture in kept))
        return kept

    def _open(self, owner: int, pair: DrawnPair) -> "Opened":
        kept = self._cache.get(owner)
        if kept is None or isinstance(kept, tuple):
            kept = pair.open()
            self._keep(owner, kept, kept.sharp.nbytes)
        return kept

    def _keep(self, owner: int, picture: "tuple[Pixels, Pixels] | Opened", size: int) -> None:
        self._room -= size
        if self._room >= 0:
            self._cache[owner] = picture


def _side(rooms: NDArray[np.int32], patch: int, *, multiple_of: int) -> int:
    """The side of all crops. rooms : the smaller side of each pair"""
    if rooms.max(initial=0) >= patch:
        return patch
    usable = rooms[rooms >= multiple_of]
    if not len(usable):
        raise MissingError(
            f"none of the {len(rooms)} pairs is large enough to train on: without the margin of the blur, "
            f"the smaller side of the largest is {max(0, rooms.max(initial=0))} px"
        )
    return int(np.quantile(usable, 0.1, method="lower")) // multiple_of * multiple_of


def _room(pair: "Pair") -> tuple[int, int]:
    """Height and width in px out of which crops can be cut."""
    return pair.room() if _is_redrawn(pair) else _whole(pair).size()


def _is_redrawn(pair: "Pair") -> TypeGuard[DrawnPair]:
    return isinstance(pair, DrawnPair) and pair.is_redrawn


def _whole(pair: "Pair") -> "Pair":
    """The pair without patches of its own: crops are the trainer's."""
    return pair.whole() if isinstance(pair, DrawnPair) else pair


@cache
def _both(spec_seed: int, run_seed: int) -> int:
    """One seed of the spec's and the run's: another seed of the run draws other blur."""
    return int(np.random.SeedSequence([spec_seed, run_seed]).generate_state(1, np.uint64)[0])


def as_tensor(picture: "Pixels") -> Tensor:
    """(H, W, 3) -> (3, H, W)."""
    # A copy always: of a side of 1 px that was mirrored, NumPy takes even a negative stride for contiguous.
    return torch.from_numpy(picture.transpose(2, 0, 1).copy(order="C"))


@lru_cache(maxsize=2)
def _key(seed: int, epoch: int) -> NDArray[np.uint64]:
    """Of the random numbers of an epoch's crops; the crop is their counter, since a generator for each takes longer."""
    state = np.random.SeedSequence(seed, spawn_key=(epoch, _CROP)).generate_state(2, np.uint64)
    return state.astype(np.uint64)
