"""Regions of interest: where to look in order to see how results differ."""

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Pixels8 = npt.NDArray[np.uint8]

_SEARCHED_PX = 1024


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
    """The places at which pictures of one size differ most in detail among each other.

    Parameters
    ----------
    results : two or more (H, W, C) pictures
    width, height : of each region in pixels; a smaller picture is taken whole
    count : how many regions, which do not overlap; fewer come back where no room is left

    Returns
    -------
    the region first in which the differences vary most: one that is the same all over it, a tint, counts nothing.
    The middle where there are no others
    """
    rows, columns = results[0].shape[:2]
    width, height = min(width, columns), min(height, rows)
    variation = _variation(results, width=width, height=height)
    found: list[Region] = []
    while len(found) < count and variation.max() > 0:
        y, x = (int(index) for index in np.unravel_index(np.argmax(variation), variation.shape))
        found.append(Region(x, y, width, height))
        variation[max(0, y - height + 1) : y + height, max(0, x - width + 1) : x + width] = (
            0  # what would overlap
        )
    return tuple(found) or (Region((columns - width) // 2, (rows - height) // 2, width, height),)


def find_detail(first: Pixels8, second: Pixels8, *, side: int) -> Region:
    """The square in which two (H, W, C) pictures of one size differ most in detail.

    Looked for in the middle of pictures of more than 1024 px only, as the memory for the search grows with them.

    Parameters
    ----------
    side : of the square in px; a smaller picture is taken whole
    """
    height, width = first.shape[:2]
    left, top = (max(0, (length - _SEARCHED_PX) // 2) for length in (width, height))
    middle = Region(left, top, min(width, _SEARCHED_PX), min(height, _SEARCHED_PX))
    (found,) = find_regions([middle.crop(first), middle.crop(second)], width=side, height=side, count=1)
    return found._replace(x=found.x + left, y=found.y + top)


def _variation(results: Sequence[Pixels8], *, width: int, height: int) -> npt.NDArray[np.float64]:
    """(H - height + 1, W - width + 1): variance within a window of (result - mean of results), summed over the results."""
    greys = [result.sum(axis=-1, dtype=np.int64) for result in results]  # (H, W, C) -> (H, W)
    total = reduce(np.add, greys)
    variation = np.zeros((total.shape[0] - height + 1, total.shape[1] - width + 1))
    for grey in greys:
        difference = grey * len(greys) - total  # whole numbers, so that a tint cancels exactly
        sums = _window_sums(difference, width=width, height=height).astype(np.float64)
        squares = _window_sums(np.square(difference), width=width, height=height).astype(np.float64)
        variation += squares * (width * height) - np.square(sums)
    return variation


def _window_sums(values: npt.NDArray[np.int64], *, width: int, height: int) -> npt.NDArray[np.int64]:
    """(H, W) -> (H - height + 1, W - width + 1): the sum below a window, by its top left corner."""
    table = np.pad(values, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    sums: npt.NDArray[np.int64] = (
        table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]
    )
    return sums
