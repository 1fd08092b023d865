"""Which part of a data set a picture belongs to: decided by its group's name alone, so adding pictures moves none."""

import hashlib
from collections.abc import Mapping


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
    return next(reversed(shares))  # rounding at the very end
