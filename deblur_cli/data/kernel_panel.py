"""Kernels drawn: each pixel a square, white on a dark ground, with its name, its size and a scale in px."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from deblur_cli.blur.pipeline import Kernel, describe
from deblur_cli.pictures.drawing import Colour, font_of, shortened

GROUND: Colour = (18, 20, 28)

_LIGHT: Colour = (255, 255, 255)
_TEXT: Colour = (196, 203, 217)
_TICK: Colour = (92, 99, 117)
_GAMMA = 0.5  # the square root shows tails of a hundredth of the peak at a tenth of its brightness
_FAINT = 1e-4  # of the peak: what stays dark anyway is cut off around the kernel
_MOST_TIMES = 16  # so that a small kernel looks smaller than a large one
_TEXT_PX = 13
_LINE_PX = 20
_EDGE_PX = 8
_TICK_PX = 5
_SEAM_PX = 2  # between panels of one row
_MOST = 4  # kernels in one row; there is no room to see more


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedKernel:
    """A blur step. kernel : odd and square, or None where no kernel describes it; note : said of it besides."""

    name: str
    kernel: Kernel | None
    note: str = ""


def kernel_panels(kernels: Sequence[NamedKernel], *, side: int) -> Image.Image:
    """One or several kernels, one below the other, in a square.

    Parameters
    ----------
    kernels : in their order; of more than four the first four are drawn, and how many more there are is said
    side : of the square in px, 128 or more
    """
    sheet = Image.new("RGB", (side, side), _LIGHT)
    shown = list(kernels[:_MOST])
    height = (side - _SEAM_PX * (len(shown) - 1)) // len(shown)
    for position, item in enumerate(shown):
        top = position * (height + _SEAM_PX)
        last = position == len(shown) - 1
        more = f" (+ {len(kernels) - _MOST} more)" if last and len(kernels) > _MOST else ""
        size = side, side - top if last else height
        sheet.paste(_panel(item, size=size, more=more), (0, top))
    return sheet


def enlarged(kernel: Kernel, *, room: int) -> tuple[NDArray[np.uint8], float]:
    """A kernel as brightness, 255 at its peak and the square root of its values below, and px drawn per px.

    What is dark around it is cut off alike at all sides, so that its centre stays in the middle. Where it is larger
    than `room` px even so, blocks of pixels become their greatest, lest fine lines get lost.
    """
    peak = float(kernel.max())
    radius = kernel.shape[0] // 2
    away = np.abs(np.argwhere(kernel > peak * _FAINT) - radius)
    reach = min(radius, int(away.max(initial=0)) + 1)
    middle = kernel[radius - reach : radius + reach + 1, radius - reach : radius + reach + 1]
    light = np.rint(255 * (np.clip(middle, 0, None) / peak) ** _GAMMA).astype(np.uint8)
    side = light.shape[0]
    times = min(_MOST_TIMES, room // side)
    if times >= 1:
        return light.repeat(times, axis=0).repeat(times, axis=1), float(times)
    block = -(-side // room)
    spare = -side % block
    padded = np.pad(light, ((spare // 2, spare - spare // 2),) * 2)
    count = padded.shape[0] // block
    blocks: NDArray[np.uint8] = padded.reshape(count, block, count, block).max(axis=(1, 3))
    return blocks, 1 / block


def _panel(item: NamedKernel, *, size: tuple[int, int], more: str) -> Image.Image:
    """A square one has its texts above and below the kernel, a wide one beside it."""
    width, height = size
    panel = Image.new("RGB", size, GROUND)
    draw = ImageDraw.Draw(panel)
    beside = height < width * 3 // 4
    text_width = (width - height if beside else width) - 2 * _EDGE_PX
    _line(draw, item.name + more, (_EDGE_PX, _LINE_PX // 2 + 4), width=text_width)
    if item.kernel is None:
        text = item.note or "no kernel"
        draw.text((width // 2, height // 2), text, fill=_TEXT, font=font_of(_TEXT_PX), anchor="mm")
        return panel
    room = height - 2 * _EDGE_PX if beside else height - 2 * (_LINE_PX + _EDGE_PX)
    light, scale = enlarged(item.kernel, room=room)
    middle = width - height // 2 if beside else width // 2, height // 2
    corner = middle[0] - light.shape[1] // 2, middle[1] - light.shape[0] // 2
    panel.paste(_tinted(light), corner)
    _ticks(draw, middle, room // 2 + _TICK_PX)
    size_text = f"rms {describe(item.kernel)['rms_px']:.2f} px"
    bottom = height - _LINE_PX // 2 - 3
    if beside:
        _line(draw, size_text, (_EDGE_PX, _LINE_PX * 3 // 2 + 4), width=text_width)
        _scale(draw, (_EDGE_PX, bottom), scale=scale, width=text_width)
    else:
        font = font_of(_TEXT_PX)
        draw.text((width - _EDGE_PX, bottom), size_text, fill=_TEXT, font=font, anchor="rm")
        _scale(draw, (_EDGE_PX, bottom), scale=scale, width=text_width // 2)
        if item.note:
            draw.text((width - _EDGE_PX, _LINE_PX // 2 + 4), item.note, fill=_TICK, font=font, anchor="rm")
    return panel


def _tinted(light: NDArray[np.uint8]) -> Image.Image:
    """Brightness between the ground and white."""
    share = light[:, :, None] / 255
    mixed = np.array(GROUND) * (1 - share) + np.array(_LIGHT) * share
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def _ticks(draw: ImageDraw.ImageDraw, middle: tuple[int, int], away: int) -> None:
    """Marks at the four sides, in line with the centre of the kernel: where a sharp point would be."""
    x, y = middle
    for sign in (-1, 1):
        near, far = sorted((sign * away, sign * (away - _TICK_PX + 1)))
        draw.line((x + near, y, x + far, y), fill=_TICK)
        draw.line((x, y + near, x, y + far), fill=_TICK)


def _scale(draw: ImageDraw.ImageDraw, corner: tuple[int, int], *, scale: float, width: int) -> None:
    """A bar of a round number of px with its length."""
    lengths = [one * ten for ten in (1, 10, 100, 1000) for one in (1, 2, 5)]
    length = max([number for number in lengths if number * scale <= width / 2], default=1)
    x, y = corner
    right = x + max(1, round(length * scale)) - 1
    draw.rectangle((x, y, right, y + 1), fill=_LIGHT)
    for end in (x, right):
        draw.line((end, y - 2, end, y + 3), fill=_LIGHT)
    draw.text((right + 6, y + 1), f"{length} px", fill=_TEXT, font=font_of(_TEXT_PX), anchor="lm")


def _line(draw: ImageDraw.ImageDraw, text: str, corner: tuple[int, int], *, width: int) -> None:
    font = font_of(_TEXT_PX)
    draw.text(corner, shortened(text, font=font, width=width), fill=_LIGHT, font=font, anchor="lm")
