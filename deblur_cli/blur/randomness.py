"""Where random numbers come from: one generator per (picture, draw and patch, step, role)."""

from enum import IntEnum

import numpy as np

PAIR_SLOT = 0
"""The slot of what concerns the pair as a whole, such as its crop; the steps count from 1."""


class Role(IntEnum):
    """What a generator of a step is for."""

    PARAMETERS = 0
    FIELD = 1  # paths and noise fields


def generator(seed: int, *, index: int, draw: int, slot: int, role: Role) -> np.random.Generator:
    """The generator of one step of one pair.

    Parameters
    ----------
    seed : of the whole data set, >= 0
    index : position of the sharp picture in the sorted list of sources
    draw : draw * patches + patch, since each patch is a draw of its own
    slot : PAIR_SLOT, or the number of the step, counted over all steps whether taken or not
    """
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(index, draw, slot, int(role)))
    return np.random.Generator(np.random.Philox(sequence))
