"""pairs.png: three pairs exactly as the network gets them in its first step, to look at before hours are spent."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deblur_cli.data.files import write_png
from deblur_cli.data.pairs import Pair
from deblur_cli.data.sheet_rows import Row, draw_rows
from deblur_cli.host.declarations import Values
from deblur_cli.metrics.full_reference import psnr
from deblur_cli.pictures.drawing import fitted
from deblur_cli.pictures.picture import shown
from deblur_cli.pictures.scaling import from_integers
from deblur_cli.training.feeding.crops import Crops, Item
from deblur_cli.training.learning import Placement

COUNT = 3
ROOM_PX = 384
"""Side of a crop as drawn at most; small ones are enlarged by a whole factor, pixel by pixel."""

_COLUMNS = ("blurred: what the network gets", "sharp: what it is to make of it")


def draw_inputs(
    crops: Crops, pairs: Sequence[Pair], *, placement: Placement, values: Values, title: str, target: Path
) -> None:
    """Draw the first pairs of the first batch, cut, blurred and flipped as the training does it.

    Random numbers of a crop follow from its number, so looking at one changes nothing.

    Parameters
    ----------
    pairs : those that the crops are cut from
    placement, values : how pictures become the network's input
    target : a PNG file, replaced where it exists

    Raises
    ------
    PictureError : a picture cannot be read, or the sheet not be written
    NotEnoughRoomError : the disk is full
    """
    items = [Item(0, int(index)) for index in crops.order(0)[:COUNT]]
    rows = []
    for item in items:
        # as the loop does it: (3, H, W) uint8 -> (1, 3, H, W) in the network's range
        pair = [placement.pictures(picture[None], values=values)[0] for picture in crops[item]]
        rows.append(_row(pairs[crops.owner(item)].name, pair, values=values))
    span = "[0, 1]" if values is Values.UNIT else "[-1, 1]"
    caption = f"the first {len(rows)} crops of epoch 0; the network takes values in {span}"
    sheet = draw_rows(rows, columns=_COLUMNS, title=shown(title), caption=caption)
    write_png(target, np.asarray(sheet))


def _row(name: str, pair: Sequence[torch.Tensor], *, values: Values) -> Row:
    blurry, sharp = (_pixels(picture, values=values) for picture in pair)
    words = (
        f"{label} {float(picture.min()):.3f} to {float(picture.max()):.3f}, mean {float(picture.mean()):.3f}"
        for label, picture in zip(("blurred", "sharp"), pair, strict=True)
    )
    return Row(
        cells=[fitted(picture, room=(ROOM_PX, ROOM_PX)) for picture in (blurry, sharp)],
        region=None,
        scale=1.0,
        name=shown(name),
        source=f"{blurry.shape[1]} x {blurry.shape[0]} px",
        measure=f"PSNR {psnr(from_integers(blurry), from_integers(sharp)):.2f} dB",
        words=tuple(words),
    )


def _pixels(picture: torch.Tensor, *, values: Values) -> NDArray[np.uint8]:
    """What the network gets, as it looks: (3, H, W) in its range -> (H, W, 3)."""
    unit = picture if values is Values.UNIT else (picture + 1) / 2
    return (unit * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
