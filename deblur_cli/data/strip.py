"""One picture blurred more and more, left to right: what the numbers of a spec look like."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from deblur_cli.blur.gaussian import Engine, Gaussian, blur_8_bit
from deblur_cli.data.files import write_png
from deblur_cli.data.synthesis import psnr_db
from deblur_cli.errors import UsageError
from deblur_cli.pictures.drawing import FRAMES, GAP_PX, INK, PAPER, QUIET, as_rgb, draw_frame, fitted, font_of
from deblur_cli.pictures.regions import Region, find_detail

SMALL_PX = 128
"""Pictures up to this side are shown as large as they are or enlarged; greater ones reduced, with a detail below."""

_LARGE_PX = 256
_DETAIL_PX = 64
_TEXT_PX = 15
_LINE_PX = 22


def draw_strip(picture: NDArray[np.uint8], sigmas: Sequence[float], target: Path) -> None:
    """Draw a picture as it is, and after Gaussian blur of each strength.

    Parameters
    ----------
    picture : (H, W, C), C = 1 or 3; blurred in OpenCV's 8-bit arithmetic, as the CIFAR-10 presets do
    sigmas : standard deviations in px of the picture, 0 to 64, in the order to draw; the sharp picture comes first anyway
    target : a PNG file, replaced where it exists

    Raises
    ------
    UsageError : there is no sigma, or one is out of range
    PictureError : the picture is smaller than the reach of the blur, or the strip cannot be written
    """
    if not any(sigmas):
        raise UsageError("a strip needs a sigma above 0")
    drawn = [0.0, *(sigmas[1:] if sigmas[0] == 0 else sigmas)]
    height, width = picture.shape[:2]
    is_small = max(height, width) <= SMALL_PX
    region = None
    if not is_small:
        region = find_detail(as_rgb(picture), as_rgb(blurred(picture, max(drawn))), side=_DETAIL_PX)
    tiles = [
        _tile(picture, sigma, room=SMALL_PX if is_small else _LARGE_PX, region=region) for sigma in drawn
    ]
    sheet = Image.new(
        "RGB", (len(tiles) * (tiles[0].width + GAP_PX) + GAP_PX, tiles[0].height + 2 * GAP_PX), PAPER
    )
    for position, tile in enumerate(tiles):
        sheet.paste(tile, (GAP_PX + position * (tile.width + GAP_PX), GAP_PX))
    write_png(target, np.asarray(sheet))


def blurred(picture: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """One picture of the strip."""
    params = Gaussian(sigma=sigma, engine=Engine.OPENCV_U8)  # refuses what is out of range
    return blur_8_bit(picture, params.sigma) if params.sigma else picture


def _tile(picture: NDArray[np.uint8], sigma: float, *, room: int, region: Region | None) -> Image.Image:
    """One strength with its texts below, `room` px wide. region : framed, and shown enlarged"""
    pixels = blurred(picture, sigma)
    shown = fitted(as_rgb(pixels), room=(room, room))
    below = shown.height + (0 if region is None else GAP_PX + room)
    tile = Image.new("RGB", (room, below + GAP_PX // 2 + 2 * _LINE_PX), PAPER)
    draw = ImageDraw.Draw(tile)
    corner = (room - shown.width) // 2, 0
    tile.paste(shown, corner)
    if region is not None:
        draw_frame(draw, region, scale=shown.width / pixels.shape[1], origin=corner, colour=FRAMES[0])
        detail = fitted(as_rgb(region.crop(pixels)), room=(room, room))
        tile.paste(detail, ((room - detail.width) // 2, shown.height + GAP_PX))
    psnr = psnr_db(pixels, picture)
    note = "identical" if psnr is None else f"{psnr:.2f} dB"
    texts = ((f"sigma {sigma:g}", INK), (note, QUIET)) if sigma else (("sharp", INK),)
    for line, (text, colour) in enumerate(texts):
        middle = room // 2, below + GAP_PX // 2 + line * _LINE_PX + _LINE_PX // 2
        draw.text(middle, text, fill=colour, font=font_of(_TEXT_PX), anchor="mm")
    return tile
