"""Which part of a data set a picture belongs to: decided by its group's name alone, so adding pictures moves none."""

import hashlib
from collections.abc import Collection, Mapping
from functools import cache

from deblur_cli.blur.spec import Group

SPLITS = ("train", "val", "test")

FALLBACKS: Mapping[str, tuple[str, ...]] = {
    # A set with only one of the held-out parts uses it for both: GoPro has no val, REDS publishes no sharp test.
    "train": ("train",),
    "val": ("val", "test"),
    "test": ("test", "val"),
}
"""Parts that may stand for a split, the best first."""


def split_of(group: str, *, seed: int, shares: Mapping[str, float]) -> str:
    """The split of everything in a group.

    Parameters
    ----------
    group : relative path of the source file, or of its folder where that must stay together
    shares : by split, summing to 1, in the order in which they divide [0, 1)
    """
    digest = hashlib.sha256(f"{seed}:{group}".encode("utf-8", "surrogateescape")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    reached = 0.0
    for name, share in shares.items():
        reached += share
        if place < reached:
            return name
    return list(shares)[-1]  # rounding at the very end


def split_for(
    group: str, *, part: str | None, parts: Collection[str], seed: int, shares: Mapping[str, float]
) -> str:
    """The split of everything in a group of a source that may have parts of its own.

    What is held out there stays so. Only the training part is divided, among the splits that the source lacks: between
    train and val where it has a test part, in the proportion that their shares have. With a val part it stays whole.

    Parameters
    ----------
    part : "train", "val" or "test" where the source says so, None where it does not
    parts : all parts that the source has
    shares : of the spec, by split
    """
    if part is None:
        return split_of(group, seed=seed, shares=shares)
    if part != "train":
        return part
    return split_of(group, seed=seed, shares=training_shares(parts, shares))


def training_shares(parts: Collection[str], shares: Mapping[str, float]) -> Mapping[str, float]:
    """How the training part of a source is divided, summing to 1. Parameters as of `split_for`."""
    return _training_shares(frozenset(parts), tuple(shares.items()))


def candidates(split: str, *, parts: Collection[str], shares: Mapping[str, float]) -> tuple[str, ...]:
    """The splits that may stand for one, the best first: another held-out one only where this one is not meant to exist.

    Parameters as of `split_for`.
    """
    divided = training_shares(parts, shares) if parts else shares
    return (split,) if split in parts or divided.get(split, 0) > 0 else FALLBACKS[split]


def part_named(name: str) -> str | None:
    """The official part that a relative path tells: its first folder is train/, val/ or test/, or REDS' train_sharp/."""
    first, separator, _ = name.partition("/")
    part = first.removesuffix("_sharp")
    return part if separator and part in SPLITS else None


def group_named(name: str, by: Group) -> str:
    """The group of a picture by its relative path: its folder where that stays together and there is one, else itself."""
    return (name.rpartition("/")[0] if by is Group.FOLDER else "") or name


@cache  # asked for each picture
def _training_shares(parts: frozenset[str], shares: tuple[tuple[str, float], ...]) -> Mapping[str, float]:
    lacking = () if "val" in parts else ("val",) if "test" in parts else ("val", "test")
    wanted = {name: share for name, share in shares if name == "train" or name in lacking}
    total = sum(wanted.values())
    return {name: share / total for name, share in wanted.items()} if total > 0 else {"train": 1.0}
