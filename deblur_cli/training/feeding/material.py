"""What a training sees: the pairs of all data sets together, blurred on the fly where they are sharp, and those held out."""

import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, chain
from pathlib import Path

from deblur_cli.blur.spec import Redraw, SourceKind, Spec
from deblur_cli.blur.spec_file import parse_spec, spec_named
from deblur_cli.data.drawn import DrawnPair
from deblur_cli.data.lazy import Lazy
from deblur_cli.data.pairs import FilePair, Pair
from deblur_cli.data.sets import holds_sharp, open_pairs, spec_of
from deblur_cli.errors import MissingError, UsageError
from deblur_cli.host.manager import Host

HELD_OUT = 20
"""Of a data set without a validation split, every 20th scene or clip is held out; without these, every 20th pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """How pairs are made, as the user named it; a resumed run takes the text.

    preset : a spec that prepares every data set, sharp or not. One that blurs anew each epoch says so itself
    blur : a spec that blurs the sharp data sets, anew each epoch; ready pairs stay as they are
    text : the spec as TOML, None before it was read
    """

    preset: str | None = None
    blur: str | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if self.preset is not None and self.blur is not None:
            raise UsageError(
                "--preset and --blur both say how pictures are blurred; give --blur alone for a fresh blur in each epoch, "
                "--preset alone for pairs as a report made them"
            )

    def read(self, host: Host) -> Spec | None:
        """The spec, None where each data set takes its own.

        Raises
        ------
        UsageError : there is none of this name, it is not valid, or it does not blur
        """
        name = self.preset or self.blur
        if name is None:
            return None
        if self.text is None:
            spec = spec_named(name, host.degradations)
        else:
            spec = parse_spec(self.text, host.degradations, file=f"{name} in run.json", folder=Path())
        if self.blur is None:
            return spec
        if spec.source in (SourceKind.PAIRS, SourceKind.FRAMES):
            raise UsageError(
                f"--blur {name}: it does not blur sharp pictures, its source is {spec.source}; give one that does"
            )
        return replace(spec, redraw=Redraw.EPOCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Pairs to train on and pairs to validate with.

    sizes : of the pairs to train on, how many are of each data set, by name as in `share_name`
    specs : SHA-256 by name of the specs that make them
    """

    train: Sequence[Pair]
    val: Sequence[Pair]
    sizes: Sequence[tuple[str, int]]
    specs: Mapping[str, str]


def open_material(host: Host, names: Sequence[str], *, spec: Spec | None, only_sharp: bool) -> Material:
    """Training and validation pairs of all data sets together; none is read yet.

    Parameters
    ----------
    names : of data sets, or folders
    spec : how they are prepared, None = each as it says itself
    only_sharp : leave ready pairs as they are

    Raises
    ------
    MissingError : one of them is not there
    UsageError : the spec fits one of them not, or with `only_sharp` none of them
    """
    train: list[Sequence[Pair]] = []
    val: list[Sequence[Pair]] = []
    takes_it = [spec is not None and (not only_sharp or holds_sharp(host, name)) for name in names]
    if spec is not None and not any(takes_it):
        for name in names:
            open_pairs(host, name, split="train")  # says so where one is not there at all
        raise UsageError(
            f"there is nothing to blur by {spec.name}: {', '.join(names)} holds pairs, which are blurred already"
        )
    for name, takes in zip(names, takes_it, strict=True):
        found, held_out = _divided(host, name, spec if takes else None)
        train.append(found)
        val.append(held_out)
    specs = filter(None, map(spec_of, train))
    return Material(
        train=_joined(train),
        val=_joined(val),
        sizes=[(share_name(name), len(pairs)) for name, pairs in zip(names, train, strict=True)],
        specs={spec.name: hashlib.sha256(spec.text.encode()).hexdigest() for spec in specs},
    )


def share_name(data: str) -> str:
    """What a recipe calls a data set: its name, of a folder the last part."""
    return Path(data).name


def _divided(host: Host, name: str, spec: Spec | None) -> tuple[Sequence[Pair], Sequence[Pair]]:
    """The pairs of one data set to train on and to validate with."""
    pairs = open_pairs(host, name, split="train", preset=spec)
    try:
        held_out = open_pairs(host, name, split="val", preset=spec)
    except (MissingError, UsageError):  # no such part on this disk, or in this set at all
        held_out = []
    if len(held_out) and not _are_equal(held_out, pairs):
        return pairs, held_out
    numbers = _held_out(pairs)
    kept = set(numbers)
    rest = [number for number in range(len(pairs)) if number not in kept] or range(len(pairs))
    return Lazy(rest, partial(_item, pairs)), Lazy(numbers, partial(_item, pairs))


def _held_out(pairs: Sequence[Pair]) -> Sequence[int]:
    """Which pairs to validate with: whole scenes or clips, as their folders are, and pictures; of few the smallest."""
    scenes: dict[str, list[int]] = {}
    for number, pair in enumerate(pairs):
        scenes.setdefault(_scene(pair), []).append(number)
    if len(scenes) < 2:
        return range(0, len(pairs), HELD_OUT)
    if len(scenes) < HELD_OUT:
        return min(scenes.values(), key=len)
    return sorted(chain(*list(scenes.values())[::HELD_OUT]))


def _scene(pair: Pair) -> str:
    if isinstance(pair, DrawnPair):
        return pair.picture.group
    return (isinstance(pair, FilePair) and pair.group) or pair.name.rpartition("/")[0]


def _are_equal(first: Sequence[Pair], second: Sequence[Pair]) -> bool:
    return len(first) == len(second) and all(one == other for one, other in zip(first, second, strict=True))


def _joined(parts: Sequence[Sequence[Pair]]) -> Sequence[Pair]:
    """One sequence of all; items are made when they are asked for."""
    if len(parts) == 1:
        return parts[0]
    starts = list(accumulate(map(len, parts), initial=0))
    return Lazy(range(starts[-1]), partial(_of_parts, parts, starts))


def _item(pairs: Sequence[Pair], number: int) -> Pair:
    return pairs[number]


def _of_parts(parts: Sequence[Sequence[Pair]], starts: Sequence[int], number: int) -> Pair:
    part = bisect_right(starts, number) - 1
    return parts[part][number - starts[part]]
