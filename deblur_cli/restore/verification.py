"""How much a tiled result differs from the whole picture's, and how wide a margin the weights really need."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deblur_cli.errors import PictureError, UsageError
from deblur_cli.restore.restorer import Restorer
from deblur_cli.restore.tiling import round_down, round_up

TOLERANCE = 1e-5
"""Largest difference that counts as rounding noise, of full scale, in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TilingCheck:
    """Tiled against whole, as shares of full scale.

    exact : whether the plan promises equality but for rounding
    rounding : how much the whole result changes by the last bit of the picture, which is measured where an exact one
        differs by more than `TOLERANCE`, else 0
    max_difference, mean_difference : of |tiled - whole|
    max_difference_alone, mean_difference_alone : the same, had no tile been told of the whole picture; None where that is
        what was asked for, or the network takes nothing from it, or cannot be told
    values_8bit, different_8bit : values in all, and those that differ once rounded to 8 bit
    ties_8bit : of those, the ones that lie so near to a rounding edge that rounding noise decides
    tile_shape : height and width of the largest window read, pixels; margin : read beyond what is kept, pixels
    smallest_margin : fewest pixels of margin at which no difference reaches `TOLERANCE`; None where the network looks at
        the whole picture or even half the picture is not enough
    """

    exact: bool
    rounding: float
    max_difference: float
    mean_difference: float
    max_difference_alone: float | None
    mean_difference_alone: float | None
    values_8bit: int
    different_8bit: int
    ties_8bit: int
    num_tiles: int
    tile_shape: tuple[int, int]
    margin: int
    smallest_margin: int | None

    @property
    def kept_promise(self) -> bool:
        """False where tiling claims to be exact and is not."""
        return not self.exact or self.max_difference <= max(TOLERANCE, 2 * self.rounding)


def check_tiling(
    restorer: Restorer,
    image: NDArray[np.float32],
    *,
    tile: str | int | tuple[int, int] | None = None,
    overlap: int | None = None,
    statistics: str = "auto",
) -> TilingCheck:
    """Restore a picture whole and in tiles, and compare.

    Parameters
    ----------
    restorer : its own tile settings are not used
    image : (H, W, C) float32 in [0, 1]
    tile, overlap : as for `load`; without a tile size nine tiles are made, and without an overlap they take the one that
        the model declares instead of its halo, if it does
    statistics : as for `load`

    Raises
    ------
    UsageError : the picture is so small, or the tile so large, that there is nothing to compare
    PictureError : the network gives no numbers
    """
    geometry = restorer.geometry
    if geometry.fixed_size is not None:
        raise UsageError(
            f"{restorer.label} takes {geometry.fixed_size} px squares only: there is no whole picture to compare tiles with"
        )
    height, width = image.shape[:2]
    if tile is None:  # a third of each side: windows at corners, at edges and in the middle
        tile = (
            round_up(-(-height // 3), geometry.multiple_of),
            round_up(-(-width // 3), geometry.multiple_of),
        )
    overlap = geometry.overlap if overlap is None else overlap
    whole_restorer = restorer.retiled("none")
    tiled_restorer = restorer.retiled(tile, overlap=overlap, statistics=statistics, warn=False)
    # the whole needs more memory: of two refusals the first shall name a budget that is enough
    whole_restorer.plan(height, width, channels=image.shape[2], pixels=image.dtype)
    plan = tiled_restorer.plan(height, width, channels=image.shape[2], pixels=image.dtype)
    if plan.num_tiles == 1:
        raise UsageError(
            f"{width}x{height} px make one tile of {plan.tile_shape[1]}x{plan.tile_shape[0]} px; give a larger picture"
            + (" or a smaller --tile" if max(height, width) > geometry.multiple_of else "")
        )
    whole, tiled = whole_restorer.restore_array(image), tiled_restorer.restore_array(image)
    if not np.isfinite(whole).all():
        raise PictureError(
            f"{restorer.label} gives values that are not numbers, which cannot be compared; its weights may be broken"
        )
    difference = np.abs(tiled - whole)
    alone = None
    if restorer.takes_statistics and statistics != "tile":
        tiles_alone = restorer.retiled(tile, overlap=overlap, statistics="tile", warn=False)
        alone = np.abs(tiles_alone.restore_array(image) - whole)
    rounding = 0.0
    if plan.exact and difference.max() > TOLERANCE:
        other = whole_restorer.restore_array(np.nextafter(image, np.float32(0.5)))
        rounding = float(np.abs(other - whole).max())
    different = np.rint(tiled * 255) != np.rint(whole * 255)
    edge = np.abs(
        np.abs(whole * 255 - np.floor(whole * 255)) - 0.5
    )  # distance to the nearest rounding edge, levels
    return TilingCheck(
        exact=plan.exact,
        rounding=rounding,
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean(dtype=np.float64)),
        max_difference_alone=None if alone is None else float(alone.max()),
        mean_difference_alone=None if alone is None else float(alone.mean(dtype=np.float64)),
        values_8bit=image.size,
        different_8bit=int(np.count_nonzero(different)),
        ties_8bit=int(np.count_nonzero(different & (edge <= 255 * TOLERANCE))),
        num_tiles=plan.num_tiles,
        tile_shape=plan.tile_shape,
        margin=plan.margin,
        smallest_margin=None if geometry.halo is None else smallest_margin(whole_restorer, image, whole),
    )


def smallest_margin(restorer: Restorer, image: NDArray[np.float32], whole: NDArray[np.float32]) -> int | None:
    """Fewest pixels of margin that keep every difference below `TOLERANCE`, with these weights on this picture.

    The lower right quarter is restored on its own. Its upper and left edges are cuts: the widest distance from them at
    which it still differs from the whole shows how far the weights reach, which is less than the structure allows.

    Parameters
    ----------
    restorer : restores whole; image, whole : (H, W, C) float32 in [0, 1] and what it makes of it
    """
    step = restorer.geometry.multiple_of
    top, left = (round_down(side // 2, step) for side in image.shape[:2])
    difference = np.abs(restorer.restore_array(image[top:, left:]) - whole[top:, left:]).max(axis=2)
    rows, columns = np.indices(difference.shape)
    from_cut = np.minimum(rows if top else columns, columns if left else rows)
    reached = from_cut[difference >= TOLERANCE]
    margin = int(reached.max()) + 1 if reached.size else 0
    return margin if margin <= from_cut.max() else None
