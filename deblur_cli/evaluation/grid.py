"""Pictures side by side, with labels, captions and enlarged regions, drawn with Pillow alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from PIL import Image, ImageDraw

from deblur_cli.errors import UsageError
from deblur_cli.pictures.drawing import (
    FRAMES,
    GAP_PX,
    INK,
    PAPER,
    QUIET,
    Colour,
    as_rgb,
    draw_frame,
    fitted,
    fitted_size,
    font_of,
    shortened,
)
from deblur_cli.pictures.regions import Pixels8, Region

CELL_PX = 480
"""Longest side of a picture in the grid. Four columns then make about 2000 pixels, which any page or screen shows."""

_TEXT_PX = 18
_LINE_PX = 26


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Sizes that all cells share, in pixels."""

    width: int
    picture_height: int
    zoom_width: int  # room for one enlarged region
    zoom_height: int  # of the tallest one as drawn, 0 without regions
    caption_lines: int

    @property
    def height(self) -> int:
        texts = _LINE_PX * (1 + self.caption_lines)
        return texts + self.picture_height + (self.zoom_height + GAP_PX if self.zoom_height else 0)


def side_by_side(
    pictures: Sequence[tuple[str, Pixels8]],
    *,
    captions: Sequence[str] = (),
    regions: Sequence[Region] = (),
    notes: Sequence[str] = (),
    columns: int = 4,
    cell_px: int = CELL_PX,
) -> Pixels8:
    """One picture that shows several of equal size, each with its label above.

    Parameters
    ----------
    pictures : (label, (H, W, 1 or 3) pixels), left to right and then down
    captions : a line or several below each picture; empty for none
    regions : parts that are framed in every picture and shown enlarged below it, pixel by pixel where there is room
    notes : lines at the foot of all
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
    lines = max((len(caption.splitlines()) for caption in captions), default=0)
    layout = _plan(width, height, regions=regions, caption_lines=lines, cell_px=cell_px)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    step = layout.width + GAP_PX, layout.height + GAP_PX
    foot = rows * step[1] + GAP_PX
    sheet = Image.new("RGB", (columns * step[0] + GAP_PX, foot + len(notes) * _LINE_PX), PAPER)
    room = sheet.width - 2 * GAP_PX
    font_px = min((_fitting(note, room) for note in notes), default=_TEXT_PX)  # one for all
    for index, note in enumerate(notes):
        corner = GAP_PX, foot + index * _LINE_PX
        _text(ImageDraw.Draw(sheet), note, corner, room, font_px=font_px, ink=QUIET)
    for index, (label, pixels) in enumerate(pictures):
        row, column = divmod(index, columns)
        _draw_cell(
            sheet,
            (GAP_PX + column * step[0], GAP_PX + row * step[1]),
            pixels=as_rgb(pixels),
            label=label,
            caption=captions[index] if captions else "",
            regions=regions,
            layout=layout,
        )
    return np.asarray(sheet)


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
    require_inside(regions, width=width, height=height)


def require_inside(regions: Sequence[Region], *, width: int, height: int) -> None:
    """Raise UsageError for a region that does not lie inside a picture of that size."""
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


def _plan(width: int, height: int, *, regions: Sequence[Region], caption_lines: int, cell_px: int) -> _Layout:
    cell_width = _cell_width(width, height, cell_px)
    room = _zoom_room(cell_width, len(regions))
    return _Layout(
        width=cell_width,
        picture_height=fitted_size(width, height, room=(cell_px, cell_px))[1],
        zoom_width=room,
        zoom_height=max((fitted_size(r.width, r.height, room=(room, room))[1] for r in regions), default=0),
        caption_lines=caption_lines,
    )


def _cell_width(width: int, height: int, cell_px: int) -> int:
    # a narrow picture must leave room for its label and its regions
    return max(fitted_size(width, height, room=(cell_px, cell_px))[0], cell_px // 2)


def _zoom_room(cell_width: int, count: int) -> int:
    return max(1, (cell_width - (count - 1) * GAP_PX) // max(1, count))


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
    shown = fitted(pixels, room=(layout.width, layout.picture_height))
    origin = left + (layout.width - shown.width) // 2, top
    sheet.paste(shown, origin)
    for region, colour in zip(regions, cycle(FRAMES), strict=False):
        draw_frame(draw, region, scale=shown.width / pixels.shape[1], origin=origin, colour=colour)
    top += layout.picture_height
    zoom_left = left
    for region, colour in zip(regions, cycle(FRAMES), strict=False):
        zoomed = fitted(region.crop(pixels), room=(layout.zoom_width, layout.zoom_width))
        corner = zoom_left, top + GAP_PX
        sheet.paste(zoomed, corner)
        draw_frame(draw, Region(0, 0, *zoomed.size), scale=1, origin=corner, colour=colour)
        zoom_left += layout.zoom_width + GAP_PX
    if regions:
        top += layout.zoom_height + GAP_PX
    for index, line in enumerate(caption.splitlines()):
        _text(draw, line, (left, top + index * _LINE_PX), layout.width)


def _fitting(text: str, width: int) -> int:
    """The largest size of letters with which a line fits, 12 at least."""
    return next((size for size in range(_TEXT_PX, 12, -1) if font_of(size).getlength(text) <= width), 12)


def _text(
    draw: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[int, int],
    width: int,
    *,
    font_px: int = _TEXT_PX,
    ink: Colour = INK,
) -> None:
    """One line, smaller than `font_px` where it is too long, cut where it is still too long."""
    font = font_of(min(font_px, _fitting(text, width)))
    text = shortened(text, font=font, width=width)
    draw.text((corner[0], corner[1] + _LINE_PX // 2), text, fill=ink, font=font, anchor="lm")
