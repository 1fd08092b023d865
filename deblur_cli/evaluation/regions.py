"""Regions of interest: where to look in order to see how results differ."""

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Pixels8 = npt.NDArray[np.uint8]


class Region(NamedTuple):
    """A rectangle in pixels; x counts columns from the left, y rows from the top."""

    x: int
    y: int
    width: int
    height: int

    def fits(self, width: int, height: int) -> bool:
        """Whether it holds a pixel at all and lies wholly inside a picture of that size."""
        inside = (
            self.x >= 0 and self.y >= 0 and self.x + self.width <= width and self.y + self.height <= height
        )
        return inside and self.width >= 1 and self.height >= 1

    def crop(self, picture: Pixels8) -> Pixels8:
        """This part of a picture, as a view."""
        return picture[self.y : self.y + self.height, self.x : self.x + self.width]


def find_regions(results: Sequence[Pixels8], *, width: int, height: int, count: int) -> tuple[Region, ...]:
    """The places at which pictures of one size differ most among each other.

    Parameters
    ----------
    results : two or more (H, W, C) pictures
    width, height : of each region in pixels; a smaller picture is taken whole
    count : how many regions, which do not overlap; fewer come back where no room is left

    Returns
    -------
    the region with the greatest sum of (greatest - least value of a pixel) first; the middle where all are equal
    """
    highest, lowest = reduce(np.maximum, results), reduce(np.minimum, results)
    spread = (highest - lowest).sum(axis=-1, dtype=np.float64)  # (H, W, C) -> (H, W)
    rows, columns = spread.shape
    width, height = min(width, columns), min(height, rows)
    sums = _window_sums(spread, width=width, height=height)
    if not sums.any():
        return (Region((columns - width) // 2, (rows - height) // 2, width, height),)
    found: list[Region] = []
    while len(found) < count and sums.max() > 0:
        y, x = (int(index) for index in np.unravel_index(np.argmax(sums), sums.shape))
        found.append(Region(x, y, width, height))
        sums[
            max(0, y - height + 1) : y + height, max(0, x - width + 1) : x + width
        ] = -1  # what would overlap
    return tuple(found)


def _window_sums(values: npt.NDArray[np.float64], *, width: int, height: int) -> npt.NDArray[np.float64]:
    """(H, W) -> (H - height + 1, W - width + 1): the sum below a window, by its top left corner."""
    table = np.pad(values, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    sums: npt.NDArray[np.float64] = (
        table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]
    )
    return sums
