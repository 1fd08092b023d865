"""How rows of pictures and texts become one sheet: columns of one width each, nothing overlapping."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from PIL import Image, ImageDraw

from deblur_cli.pictures.drawing import (
    FRAMES,
    GAP_PX,
    INK,
    PAPER,
    QUIET,
    Colour,
    Font,
    draw_frame,
    font_of,
    shortened,
)
from deblur_cli.pictures.regions import Region

_TITLE_PX, _HEAD_PX, _TEXT_PX = 24, 16, 14
_TITLE_LINE_PX, _LINE_PX = 34, 20
_MARGIN_PX = 16
_RULE: Colour = (218, 218, 218)
_MAT: Colour = (244, 244, 244)
_LEAST_WIDTH_PX = 640  # of what is between the margins: room for texts above and below narrow pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A pair.

    cells : left to right, as drawn
    region : framed in the first two, which are `scale` times as large as what it counts in

    name, source, measure : above, the first two at the left, the last at the right
    words : below, as many to a line as there is room for
    """

    cells: Sequence[Image.Image]
    region: Region | None
    scale: float
    name: str
    source: str
    measure: str
    words: Sequence[str]


def draw_rows(rows: Sequence[Row], *, columns: Sequence[str], title: str, caption: str) -> Image.Image:
    """One sheet. columns : what stands above each column, as many as there are cells in a row."""
    font = font_of(_TEXT_PX)
    widths = [
        max([row.cells[column].width for row in rows] + [ceil(font.getlength(text))])
        for column, text in enumerate(columns)
    ]
    inner = max(sum(widths) + GAP_PX * (len(widths) - 1), _LEAST_WIDTH_PX)
    lefts = [_MARGIN_PX + sum(widths[:column]) + GAP_PX * column for column in range(len(widths))]
    bodies = [_wrapped(row.words, font=font, width=inner) for row in rows]
    heights = [_row_height(row, lines=len(body)) for row, body in zip(rows, bodies, strict=True)]
    heading = (_TITLE_LINE_PX if title else 0) + (_LINE_PX if caption else 0) + _LINE_PX + GAP_PX
    sheet = Image.new("RGB", (inner + 2 * _MARGIN_PX, 2 * _MARGIN_PX + heading + sum(heights)), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = _heading(draw, title=title, caption=caption, width=inner)
    for left, text in zip(lefts, columns, strict=True):
        draw.text((left, top + _LINE_PX // 2), text, fill=QUIET, font=font, anchor="lm")
    top += _LINE_PX + GAP_PX // 2
    for row, body, height in zip(rows, bodies, heights, strict=True):
        draw.line((_MARGIN_PX, top, _MARGIN_PX + inner - 1, top), fill=_RULE)
        _draw_row(sheet, row, top=top + GAP_PX // 2, lefts=lefts, widths=widths, body=body)
        top += height
    return sheet


def _row_height(row: Row, *, lines: int) -> int:
    return (
        GAP_PX // 2
        + _LINE_PX
        + GAP_PX // 2
        + max(cell.height for cell in row.cells)
        + GAP_PX // 2
        + lines * _LINE_PX
        + GAP_PX
    )


def _heading(draw: ImageDraw.ImageDraw, *, title: str, caption: str, width: int) -> int:
    """Draw the lines above all rows; returns where they end."""
    top = _MARGIN_PX
    for text, size, line, colour in (
        (title, _TITLE_PX, _TITLE_LINE_PX, INK),
        (caption, _TEXT_PX, _LINE_PX, QUIET),
    ):
        if text:
            font = font_of(size)
            text = shortened(text, font=font, width=width)
            draw.text((_MARGIN_PX, top + line // 2), text, fill=colour, font=font, anchor="lm")
            top += line
    return top + GAP_PX // 2


def _draw_row(
    sheet: Image.Image,
    row: Row,
    *,
    top: int,
    lefts: Sequence[int],
    widths: Sequence[int],
    body: Sequence[str],
) -> None:
    """Cells of different sizes lie in the middle of mats of one size, so that columns stay columns."""
    draw = ImageDraw.Draw(sheet)
    _head(draw, row, top=top, width=sheet.width - 2 * _MARGIN_PX)
    top += _LINE_PX + GAP_PX // 2
    height = max(cell.height for cell in row.cells)
    for column, (left, room, cell) in enumerate(zip(lefts, widths, row.cells, strict=True)):
        draw.rectangle((left, top, left + room - 1, top + height - 1), fill=_MAT)
        corner = left + (room - cell.width) // 2, top + (height - cell.height) // 2
        sheet.paste(cell, corner)
        if row.region is not None and column < 2:
            draw_frame(draw, row.region, scale=row.scale, origin=corner, colour=FRAMES[0])
    top += height + GAP_PX // 2
    for line in body:
        draw.text((_MARGIN_PX, top + _LINE_PX // 2), line, fill=QUIET, font=font_of(_TEXT_PX), anchor="lm")
        top += _LINE_PX


def _head(draw: ImageDraw.ImageDraw, row: Row, *, top: int, width: int) -> None:
    """Name and source share what the measure leaves; a long source loses its beginning, as its end says more."""
    big, small = font_of(_HEAD_PX), font_of(_TEXT_PX)
    middle = top + _LINE_PX // 2
    right = _MARGIN_PX + width
    draw.text((right, middle), row.measure, fill=INK, font=big, anchor="rm")
    room = width - big.getlength(row.measure) - 2 * GAP_PX
    name = shortened(row.name, font=big, width=room)
    draw.text((_MARGIN_PX, middle), name, fill=INK, font=big, anchor="lm")
    room -= big.getlength(name) + GAP_PX
    source = row.source
    while source and small.getlength("..." + source) > room:
        source = source[1:]
    if source:
        source = source if source == row.source else "..." + source
        draw.text(
            (right - big.getlength(row.measure) - 2 * GAP_PX - room, middle + 1),
            source,
            fill=QUIET,
            font=small,
            anchor="lm",
        )


def _wrapped(words: Sequence[str], *, font: Font, width: int) -> list[str]:
    """Lines of at most `width` px; a piece stays whole where a line can hold it."""
    lines: list[str] = []
    for position, piece in enumerate(words):
        text = piece + (";" if position < len(words) - 1 else "")
        if lines and font.getlength(f"{lines[-1]} {text}") <= width:
            lines[-1] += f" {text}"
            continue
        lines.append("")
        for word in text.split(" "):
            longer = f"{lines[-1]} {word}".lstrip()
            if lines[-1] and font.getlength(longer) > width:
                lines.append(shortened(word, font=font, width=width))
            else:
                lines[-1] = shortened(longer, font=font, width=width)
    return lines
