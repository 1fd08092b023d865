"""Pictures side by side, with labels, captions and enlarged regions, drawn with Pillow alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deblur_cli.errors import UsageError
from deblur_cli.evaluation.regions import Pixels8, Region

CELL_PX = 480
"""Longest side of a picture in the grid. Four columns then make about 2000 pixels, which any page or screen shows."""

_GAP_PX = 10
_TEXT_PX = 18
_LINE_PX = 26
_PAPER = (255, 255, 255)
_INK = (20, 20, 20)
_FRAMES = ((230, 57, 70), (29, 161, 242), (255, 183, 3), (46, 196, 105))  # one colour a region, in turn


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Sizes that all cells share, in pixels."""

    width: int
    picture_height: int
    zoom_width: int  # room for one enlarged region
    zoom_height: int  # of the tallest one as drawn, 0 without regions
    captioned: bool

    @property
    def height(self) -> int:
        texts = _LINE_PX * (2 if self.captioned else 1)
        return texts + self.picture_height + (self.zoom_height + _GAP_PX if self.zoom_height else 0)


def side_by_side(
    pictures: Sequence[tuple[str, Pixels8]],
    *,
    captions: Sequence[str] = (),
    regions: Sequence[Region] = (),
    columns: int = 4,
    cell_px: int = CELL_PX,
) -> Pixels8:
    """One picture that shows several of equal size, each with its label above.

    Parameters
    ----------
    pictures : (label, (H, W, 1 or 3) pixels), left to right and then down
    captions : a line below each picture; empty for none
    regions : parts that are framed in every picture and shown enlarged below it, pixel by pixel where there is room
    columns : cells in a row at most
    cell_px : longest side of a picture as drawn; larger ones are reduced, small ones enlarged by a whole factor

    Returns
    -------
    (H', W', 3)

    Raises
    ------
    UsageError : no picture, different sizes, or a region that does not lie inside
    """
    _check(pictures, captions=captions, regions=regions)
    height, width = pictures[0][1].shape[:2]
    layout = _plan(width, height, regions=regions, captioned=any(captions), cell_px=cell_px)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    step = layout.width + _GAP_PX, layout.height + _GAP_PX
    sheet = Image.new("RGB", (columns * step[0] + _GAP_PX, rows * step[1] + _GAP_PX), _PAPER)
    for index, (label, pixels) in enumerate(pictures):
        row, column = divmod(index, columns)
        _draw_cell(
            sheet,
            (_GAP_PX + column * step[0], _GAP_PX + row * step[1]),
            pixels=as_rgb(pixels),
            label=label,
            caption=captions[index] if captions else "",
            regions=regions,
            layout=layout,
        )
    return np.asarray(sheet)


def as_rgb(pixels: Pixels8) -> Pixels8:
    """(H, W, 1 or 3) -> (H, W, 3)."""
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _check(
    pictures: Sequence[tuple[str, Pixels8]], *, captions: Sequence[str], regions: Sequence[Region]
) -> None:
    if not pictures:
        raise UsageError("there is no picture to show")
    if captions and len(captions) != len(pictures):
        raise UsageError(f"{len(pictures)} pictures need as many captions, not {len(captions)}")
    height, width = pictures[0][1].shape[:2]
    for label, pixels in pictures:
        if pixels.shape[:2] != (height, width):
            raise UsageError(
                f"{label} is {pixels.shape[1]}x{pixels.shape[0]}, {pictures[0][0]} is {width}x{height}; "
                "pictures side by side must be of one size"
            )
    for region in regions:
        if not region.fits(width, height):
            raise UsageError(
                f"the region {','.join(map(str, region))} does not lie inside the picture of {width}x{height} pixels; "
                "give X,Y,W,H with X + W and Y + H within it"
            )


def region_side(width: int, height: int, *, count: int, cell_px: int = CELL_PX) -> int:
    """A side in pixels for regions that shows detail and fills the room below a picture of that size.

    About an eighth of the picture's shorter side, enlarged two to eight times.
    """
    room = _zoom_room(_cell_width(width, height, cell_px), count)
    factor = min(8, max(2, room // max(24, min(width, height) // 8)))
    return max(1, min(room // factor, width, height))


def _plan(width: int, height: int, *, regions: Sequence[Region], captioned: bool, cell_px: int) -> _Layout:
    cell_width = _cell_width(width, height, cell_px)
    room = _zoom_room(cell_width, len(regions))
    return _Layout(
        width=cell_width,
        picture_height=_fitted_size(width, height, room=(cell_px, cell_px))[1],
        zoom_width=room,
        zoom_height=max((_fitted_size(r.width, r.height, room=(room, room))[1] for r in regions), default=0),
        captioned=captioned,
    )


def _cell_width(width: int, height: int, cell_px: int) -> int:
    # a narrow picture must leave room for its label and its regions
    return max(_fitted_size(width, height, room=(cell_px, cell_px))[0], cell_px // 2)


def _zoom_room(cell_width: int, count: int) -> int:
    return max(1, (cell_width - (count - 1) * _GAP_PX) // max(1, count))


def _draw_cell(
    sheet: Image.Image,
    corner: tuple[int, int],
    *,
    pixels: Pixels8,
    label: str,
    caption: str,
    regions: Sequence[Region],
    layout: _Layout,
) -> None:
    left, top = corner
    draw = ImageDraw.Draw(sheet)
    _text(draw, label, (left, top), layout.width)
    top += _LINE_PX
    shown = _fitted(pixels, room=(layout.width, layout.picture_height))
    origin = left + (layout.width - shown.width) // 2, top
    sheet.paste(shown, origin)
    for region, colour in zip(regions, cycle(_FRAMES), strict=False):
        _frame(draw, _scaled(region, shown.width / pixels.shape[1], origin), colour)
    top += layout.picture_height
    zoom_left = left
    for region, colour in zip(regions, cycle(_FRAMES), strict=False):
        zoomed = _fitted(region.crop(pixels), room=(layout.zoom_width, layout.zoom_width))
        sheet.paste(zoomed, (zoom_left, top + _GAP_PX))
        _frame(draw, _box((zoom_left, top + _GAP_PX), zoomed.size), colour)
        zoom_left += layout.zoom_width + _GAP_PX
    if regions:
        top += layout.zoom_height + _GAP_PX
    if caption:
        _text(draw, caption, (left, top), layout.width)


def _fitted(pixels: Pixels8, *, room: tuple[int, int]) -> Image.Image:
    """As large as the room allows: enlarged by a whole factor and nearest neighbour, or reduced smoothly."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    size = _fitted_size(*picture.size, room=room)
    enlarges = size[0] >= picture.width
    return picture.resize(size, Image.Resampling.NEAREST if enlarges else Image.Resampling.LANCZOS)


def _fitted_size(width: int, height: int, *, room: tuple[int, int]) -> tuple[int, int]:
    factor = min(room[0] / width, room[1] / height)
    if factor >= 1:
        return width * int(factor), height * int(factor)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _scaled(region: Region, scale: float, origin: tuple[int, int]) -> tuple[int, int, int, int]:
    corner = origin[0] + round(region.x * scale), origin[1] + round(region.y * scale)
    return _box(corner, (round(region.width * scale), round(region.height * scale)))


def _box(corner: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom as Pillow counts them: all four inside."""
    return corner[0], corner[1], corner[0] + max(1, size[0]) - 1, corner[1] + max(1, size[1]) - 1


def _frame(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], colour: tuple[int, int, int]) -> None:
    draw.rectangle(box, outline=colour, width=2)


def _text(draw: ImageDraw.ImageDraw, text: str, corner: tuple[int, int], width: int) -> None:
    """One line, smaller where it is too long, cut where it is still too long."""
    for size in range(_TEXT_PX, 11, -1):
        if draw.textlength(text, font=_font(size)) <= width:
            break
    else:
        while len(text) > 1 and draw.textlength(text + "...", font=_font(size)) > width:
            text = text[:-1]
        text += "..."
    draw.text((corner[0], corner[1] + _LINE_PX // 2), text, fill=_INK, font=_font(size), anchor="lm")


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
