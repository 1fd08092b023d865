"""Which parts of a picture the network sees, and which part of each result is kept.

Exact tiling. An output pixel of a network with half-extent h depends on inputs up to h pixels away. A window that
reads its kept part plus h on every side where the picture goes on therefore gives the same kept part as the whole
picture; where the picture ends the window ends too, so that the network meets its own border there and nowhere else.
All windows of a plan have one shape: one set of buffers serves all, and convolution libraries prepare once.

A picture whose size is no multiple of the network's stride is reflected up to it first. Positions below are those of
this padded picture; kept parts never reach into the padding.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deblur_cli.errors import UsageError

SMALLEST_CORE_PX = 32
"""A window keeps at least this many rows and columns, else nearly all work would be repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One window along one axis: it reads [read_start, read_stop) and keeps [keep_start, keep_stop), in pixels."""

    read_start: int
    read_stop: int
    keep_start: int
    keep_stop: int

    @property
    def size(self) -> int:
        """Pixels read."""
        return self.read_stop - self.read_start


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """A rectangle of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePlan:
    """Windows over a picture: every row span with every column span.

    height, width : of the picture
    area : what is restored of it
    exact : whether the result equals the whole picture's, but for rounding
    blend : whether windows are blended over their overlaps; else each pixel comes from one window
    margin : pixels that each window reads around what it keeps, where the picture goes on
    """

    height: int
    width: int
    area: Area
    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    exact: bool
    blend: bool
    margin: int

    @property
    def reads_all(self) -> bool:
        """Whether a window reads the whole picture."""
        return self.tile_shape[0] >= self.height and self.tile_shape[1] >= self.width

    @property
    def num_tiles(self) -> int:
        """How often the network runs."""
        return len(self.rows) * len(self.columns)

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Height and width of the largest window, in pixels read."""
        return max(span.size for span in self.rows), max(span.size for span in self.columns)

    @property
    def tile_pixels(self) -> int:
        """Pixels of the largest window."""
        height, width = self.tile_shape
        return height * width

    @property
    def read_pixels(self) -> int:
        """Pixels that all windows read together."""
        return self.num_tiles * self.tile_pixels

    def tiles(self) -> Iterator[tuple[Span, Span]]:
        """Row and column span of each window, row by row."""
        return ((row, column) for row in self.rows for column in self.columns)

    def within(self, area: Area) -> "TilePlan":
        """The windows that read of this area, to restore it as it is in the whole result."""
        return replace(
            self,
            area=area,
            rows=_reading(self.rows, area.top, area.top + area.height),
            columns=_reading(self.columns, area.left, area.left + area.width),
        )


def parse_tile(value: str | int | tuple[int, int]) -> str | tuple[int, int]:
    """Read a tile size: "auto", "none", N, or "WxH"; a size comes back as (height, width) in pixels.

    Raises UsageError for anything else.
    """
    if isinstance(value, int):
        sizes = [value, value]
    elif isinstance(value, tuple):
        sizes = list(value)
    elif value in ("auto", "none"):
        return value
    else:
        parts = value.lower().split("x")
        if len(parts) > 2 or not all(part.isdecimal() for part in parts):
            raise UsageError(
                f"cannot read the tile size {value!r}; give auto, none, a number such as 512, or WIDTHxHEIGHT"
            )
        sizes = [int(parts[-1]), int(parts[0])]
    if min(sizes) < 1:
        raise UsageError(f"a tile of {value!r} holds nothing; give at least 1 pixel")
    return sizes[0], sizes[1]


def plan_axis(
    *,
    length: int,
    keep: tuple[int, int],
    size: int,
    margin: int,
    multiple_of: int,
    fixed_size: int | None = None,
) -> tuple[Span, ...]:
    """Windows of one common size along one axis, evenly spread.

    Parameters
    ----------
    length : of the picture, pixels
    keep : [start, stop) of what is restored
    size : most pixels that a window may read; made as small as the number of windows allows
    margin : pixels read beyond what is kept, where the picture goes on
    multiple_of : windows start and end on this grid
    fixed_size : the only size a window may have

    Returns
    -------
    spans whose kept parts join without gaps; a window of which nothing would be kept is left out
    """
    step = multiple_of
    start, stop = read_range(length=length, keep=keep, margin=margin, multiple_of=step, fixed_size=fixed_size)
    margin = round_up(margin, step)
    size = fixed_size or size
    extent = stop - start
    if size >= extent:
        return (Span(read_start=start, read_stop=stop, keep_start=keep[0], keep_stop=keep[1]),)
    num_windows = _num_windows(extent, size=size, margin=margin)
    if not fixed_size:
        size = _even_size(extent, num_windows=num_windows, margin=margin, multiple_of=step)
    # Rounding a start down widens one step by less than the grid, and size - 2 * margin lies on the grid: the
    # overlap of neighbours never falls below 2 * margin.
    starts = [start + round_down(i * (extent - size) // (num_windows - 1), step) for i in range(num_windows)]
    cuts = [right + round_down((left + size - right) // 2, step) for left, right in pairwise(starts)]
    bounds = [keep[0], *(min(max(cut, keep[0]), keep[1]) for cut in cuts), keep[1]]
    return tuple(
        Span(read_start=at, read_stop=at + size, keep_start=first, keep_stop=last)
        for at, first, last in zip(starts, bounds, bounds[1:], strict=False)
        if last > first
    )


def read_range(
    *, length: int, keep: tuple[int, int], margin: int, multiple_of: int, fixed_size: int | None = None
) -> tuple[int, int]:
    """What must be read along one axis to restore [start, stop) of it: [start, stop) on the grid of the stride."""
    padded = round_up(max(length, fixed_size or 0), multiple_of)
    start = max(0, round_down(keep[0] - margin, multiple_of))
    stop = min(padded, round_up(keep[1] + margin, multiple_of))
    if fixed_size:
        stop = min(padded, max(stop, start + fixed_size))
        start = min(start, stop - fixed_size)
    return start, stop


def choose_size(
    extents: tuple[int, int], *, most_pixels: int, margin: int, multiple_of: int
) -> tuple[int, int] | None:
    """Height and width of the windows that read least in all, each of at most `most_pixels`.

    Parameters
    ----------
    extents : height and width to be covered, pixels
    margin : pixels read beyond what is kept; multiple_of : grid of the windows

    Returns
    -------
    None where even the smallest window of use is larger than `most_pixels`
    """
    margin = round_up(margin, multiple_of)
    heights, widths = (_sizes(extent, margin=margin, multiple_of=multiple_of) for extent in extents)
    best: tuple[int, tuple[int, int]] | None = None
    column = 0
    # Fewer windows on one axis are larger, so the fewest that fit on the other only grow: one sweep finds each pair.
    for num_rows, height in reversed(heights):
        while column < len(widths) and height * widths[column][1] > most_pixels:
            column += 1
        if column == len(widths):
            break
        num_columns, width = widths[column]
        work = num_rows * height * num_columns * width
        if best is None or work < best[0]:
            best = (work, (height, width))
    return best[1] if best else None


def smallest_size(extents: tuple[int, int], *, margin: int, multiple_of: int) -> tuple[int, int]:
    """Height and width of the smallest windows of use over these extents, in pixels read."""
    margin = round_up(margin, multiple_of)
    height, width = (_sizes(extent, margin=margin, multiple_of=multiple_of)[-1][1] for extent in extents)
    return height, width


def blend_weights(spans: tuple[Span, ...]) -> list[NDArray[np.float32]]:
    """Weights of each window along one axis, over what it reads; at each pixel they sum to one.

    Raised cosines over the overlaps, so that neither the result nor its slope jumps.
    """
    start, stop = spans[0].read_start, spans[-1].read_stop
    weights = []
    for i, span in enumerate(spans):
        position = np.arange(span.read_start, span.read_stop) + 0.5
        weight = np.ones(span.size)
        if i:
            weight *= _rise((position - span.read_start) / max(1, spans[i - 1].read_stop - span.read_start))
        if i < len(spans) - 1:
            weight *= _rise((span.read_stop - position) / max(1, span.read_stop - spans[i + 1].read_start))
        weights.append(weight)
    total = np.zeros(stop - start)
    for span, weight in zip(spans, weights, strict=True):
        total[span.read_start - start : span.read_stop - start] += weight
    return [
        (weight / total[span.read_start - start : span.read_stop - start]).astype(np.float32)
        for span, weight in zip(spans, weights, strict=True)
    ]


def reflected_indices(start: int, stop: int, *, length: int) -> NDArray[np.intp]:
    """Positions in a picture of `length` that positions [start, stop) of the padded one show.

    Reflection without the edge pixel, as often as needed; a single pixel is repeated.
    """
    if length == 1:
        return np.zeros(stop - start, dtype=np.intp)
    period = 2 * (length - 1)
    position = np.arange(start, stop) % period
    return np.minimum(position, period - position)


def round_up(value: int, multiple: int) -> int:
    """The next multiple at or above."""
    return -(-value // multiple) * multiple


def round_down(value: int, multiple: int) -> int:
    """The next multiple at or below."""
    return value // multiple * multiple


def _reading(spans: tuple[Span, ...], start: int, stop: int) -> tuple[Span, ...]:
    """The windows that read of [start, stop), with what they keep of it: nothing where they are only blended in."""
    return tuple(
        replace(
            span,
            keep_start=min(max(span.keep_start, start), stop),
            keep_stop=min(max(span.keep_stop, start), stop),
        )
        for span in spans
        if span.read_start < stop and span.read_stop > start
    )


def _num_windows(extent: int, *, size: int, margin: int) -> int:
    """Fewest windows of `size` that cover `extent` with neighbours overlapping by 2 * margin."""
    return max(2, -(-(extent - 2 * margin) // (size - 2 * margin)))


def _even_size(extent: int, *, num_windows: int, margin: int, multiple_of: int) -> int:
    """Smallest size of that many windows: n windows read the extent plus 2 * margin more at each cut."""
    return round_up(-(-(extent + 2 * margin * (num_windows - 1)) // num_windows), multiple_of)


def _sizes(extent: int, *, margin: int, multiple_of: int) -> list[tuple[int, int]]:
    """Number of windows along an axis and their size, from one window down to the smallest of use."""
    least = 2 * margin + round_up(SMALLEST_CORE_PX, multiple_of)
    sizes = [(1, extent)]
    num_windows = 2
    while (
        size := _even_size(extent, num_windows=num_windows, margin=margin, multiple_of=multiple_of)
    ) < extent:
        if size >= least and size < sizes[-1][1]:
            sizes.append((num_windows, size))
        if size <= least:
            break
        num_windows += 1
    return sizes


def _rise(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Raised cosine from 0 at 0 to 1 at 1, flat beyond."""
    return np.sin(np.clip(position, 0, 1) * np.pi / 2) ** 2
