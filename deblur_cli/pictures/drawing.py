"""What drawn sheets share: colours, pictures fitted into cells, lines of text. Pillow alone."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deblur_cli.pictures.regions import Pixels8, Region

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

GAP_PX = 10
PAPER: Colour = (255, 255, 255)
INK: Colour = (20, 20, 20)
QUIET: Colour = (105, 105, 105)
FRAMES: Sequence[Colour] = ((230, 57, 70), (29, 161, 242), (255, 183, 3), (46, 196, 105))
"""One colour a region, in turn."""


def as_rgb(pixels: Pixels8) -> Pixels8:
    """(H, W, 1 or 3) -> (H, W, 3)."""
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def fitted(pixels: Pixels8, *, room: tuple[int, int]) -> Image.Image:
    """(H, W, 3) as large as the room allows: enlarged by a whole factor and nearest neighbour, or reduced smoothly.

    room : width and height in px
    """
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    size = fitted_size(*picture.size, room=room)
    enlarges = size[0] >= picture.width
    return picture.resize(size, Image.Resampling.NEAREST if enlarges else Image.Resampling.LANCZOS)


def fitted_size(width: int, height: int, *, room: tuple[int, int]) -> tuple[int, int]:
    """Width and height in px that `fitted` gives a picture."""
    factor = min(room[0] / width, room[1] / height)
    if factor >= 1:
        return width * int(factor), height * int(factor)
    return max(1, round(width * factor)), max(1, round(height * factor))


def draw_frame(
    draw: ImageDraw.ImageDraw, region: Region, *, scale: float, origin: tuple[int, int], colour: Colour
) -> None:
    """Frame a region of a picture that is drawn `scale` times as large, its top left corner at `origin`."""
    left, top = origin[0] + round(region.x * scale), origin[1] + round(region.y * scale)
    # as Pillow counts them: all four edges inside
    right = left + max(1, round(region.width * scale)) - 1
    bottom = top + max(1, round(region.height * scale)) - 1
    draw.rectangle((left, top, right, bottom), outline=colour, width=2)


def shortened(text: str, *, font: Font, width: float) -> str:
    """The text, cut at its end where it is wider than `width` px."""
    if font.getlength(text) <= width:
        return text
    while len(text) > 1 and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


@lru_cache(maxsize=16)
def font_of(size: int) -> Font:
    """The font that comes with Pillow. size : px."""
    return ImageFont.load_default(size)
