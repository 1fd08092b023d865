"""From what the user asks and what the network is to a plan of windows."""

from dataclasses import dataclass, replace

from deblur_cli.errors import PictureError, UsageError
from deblur_cli.host.declarations import Geometry
from deblur_cli.restore.tiling import (
    Area,
    TilePlan,
    choose_size,
    plan_axis,
    read_range,
    round_up,
    smallest_size,
)

EFFICIENT_SIDE_PX = 1024
"""Larger windows gain nothing but the halo that is read twice (6 % of the work at 1024 and halo 30), and cost memory."""
MOST_READ = 2
"""Exact tiles that read more than this many times the picture give way to those of the overlap a network declares."""
STATISTICS = ("auto", "exact", "quick", "tile")
GLOBAL_MARGIN_PX = 64
"""Overlap to each side for networks that see the whole picture: enough to blend from one window's tone to the next's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRequest:
    """What the user asked for.

    tile : "auto", "none" (the whole picture at once), or (height, width) that a window keeps, pixels
    overlap : pixels that a window reads beyond what it keeps; None for what makes tiling exact, or for the overlap that
        the network declares where that is too much
    statistics : what a window gets of the whole picture where the network takes something from it, such as the mean and
        variance of an instance norm: "exact", from a run over all windows for each such layer; "quick", from one run;
        "tile", each window takes its own; "auto", exact where that is all the network takes from it, else quick
    """

    tile: str | tuple[int, int] = "auto"
    overlap: int | None = None
    statistics: str = "auto"

    def __post_init__(self) -> None:
        if self.overlap is not None and self.overlap < 0:
            raise UsageError(f"an overlap of {self.overlap} px makes no sense; give 0 or more")
        if self.statistics not in STATISTICS:
            raise UsageError(
                f"--statistics {self.statistics} is unknown; give one of {', '.join(STATISTICS)}"
            )


def whole_area(height: int, width: int) -> Area:
    """All of a picture."""
    return Area(top=0, left=0, height=height, width=width)


def region_area(region: tuple[int, int, int, int], *, height: int, width: int) -> Area:
    """The area of a region (x, y, width, height), in pixels from the upper left corner of the upright picture.

    Raises PictureError where it is empty or reaches out of the picture.
    """
    x, y, region_width, region_height = region
    if (
        min(x, y) < 0
        or min(region_width, region_height) < 1
        or x + region_width > width
        or y + region_height > height
    ):
        raise PictureError(
            f"region {x},{y},{region_width},{region_height} does not lie in the picture, which is {width}x{height} px; "
            "give X,Y,WIDTH,HEIGHT from its upper left corner"
        )
    return Area(top=y, left=x, height=region_height, width=region_width)


def parse_region(text: str) -> tuple[int, int, int, int]:
    """Read "X,Y,W,H" in pixels. Raises UsageError for anything else."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(part.isdecimal() for part in parts):
        raise UsageError(
            f"cannot read the region {text!r}; give X,Y,WIDTH,HEIGHT in pixels, such as 100,50,640,480"
        )
    x, y, width, height = map(int, parts)
    return x, y, width, height


def plan_picture(
    *, height: int, width: int, area: Area, geometry: Geometry, request: TileRequest, most_pixels: int | None
) -> TilePlan | None:
    """Plan the windows over a picture.

    Where exact tiles would read too much of the whole picture, or not fit, and the network declares an overlap, they
    take that. A part of the picture then gets the whole one's windows of `most_pixels`, so that its result is the same.

    Parameters
    ----------
    height, width : of the picture, pixels
    area : what is restored of it
    most_pixels : of one window when the size is chosen here; None = no limit

    Returns
    -------
    None where `most_pixels` is too few for the smallest window of use
    """

    def plan(area: Area, *, margin: int) -> TilePlan | None:
        return _plan(
            height=height, width=width, area=area, geometry=geometry, request=request, margin=margin,
            most_pixels=most_pixels,
        )  # fmt: skip

    margin = tile_margin(geometry, request.overlap)
    overlap = declared_overlap(geometry, request)
    if overlap is not None:
        everything = whole_area(height, width)
        exact = plan(everything, margin=margin)
        if exact is None or not _is_worth_it(exact, most_pixels=most_pixels):
            approximate = plan(everything, margin=overlap)
            return None if approximate is None else approximate.within(area)
    return plan(area, margin=margin)


def told_statistics(geometry: Geometry, request: TileRequest) -> str:
    """What windows get of the whole picture: "exact", "quick" or "tile"."""
    if request.statistics != "auto":
        return request.statistics
    return "quick" if geometry.reach is None else "exact"


def tile_margin(geometry: Geometry, overlap: int | None) -> int:
    """Pixels that windows read beyond what they keep."""
    if overlap is not None:
        return (
            overlap
            if geometry.fixed_size is None
            else min(overlap, _fixed_margin(geometry.fixed_size, geometry.multiple_of))
        )
    if geometry.fixed_size is not None:
        return _fixed_margin(geometry.fixed_size, geometry.multiple_of)
    return GLOBAL_MARGIN_PX if geometry.reach is None else geometry.reach


def declared_overlap(geometry: Geometry, request: TileRequest) -> int | None:
    """The overlap that tiles may take where exact ones are too much; None where all depends on the request."""
    if geometry.fixed_size is not None or request.overlap is not None or request.tile == "none":
        return None
    return geometry.overlap


def least_pixels(*, height: int, width: int, area: Area, geometry: Geometry, request: TileRequest) -> int:
    """Pixels of the smallest window that is of use for an area of a picture."""
    if geometry.fixed_size is not None:
        return geometry.fixed_size**2
    overlap = declared_overlap(geometry, request)
    if overlap is not None:
        area = whole_area(height, width)
    margin = tile_margin(geometry, request.overlap if overlap is None else overlap)
    extents = _extents(height=height, width=width, area=area, geometry=geometry, margin=margin)
    sizes = smallest_size(extents, margin=margin, multiple_of=geometry.multiple_of)
    return sizes[0] * sizes[1]


def _plan(
    *,
    height: int,
    width: int,
    area: Area,
    geometry: Geometry,
    request: TileRequest,
    margin: int,
    most_pixels: int | None,
) -> TilePlan | None:
    """Windows that read `margin` pixels around what they keep."""
    fixed = geometry.fixed_size
    extents = _extents(height=height, width=width, area=area, geometry=geometry, margin=margin)
    sizes = _window_size(extents, geometry=geometry, request=request, margin=margin, most_pixels=most_pixels)
    if sizes is None:
        return None
    rows, columns = (
        plan_axis(
            length=length,
            keep=keep,
            size=size,
            margin=margin,
            multiple_of=geometry.multiple_of,
            fixed_size=fixed,
        )
        for length, keep, size in zip((height, width), _keeps(area), sizes, strict=True)
    )
    plan = TilePlan(
        height=height,
        width=width,
        area=area,
        rows=rows,
        columns=columns,
        exact=True,
        blend=False,
        margin=margin,
    )
    if plan.reads_all or (geometry.halo is not None and fixed is None and margin >= geometry.halo):
        return plan
    statistics = told_statistics(geometry, request)
    alike = statistics != "tile" and geometry.reach is not None and margin >= geometry.reach and fixed is None
    return replace(plan, exact=alike and statistics == "exact", blend=margin > 0 and not alike)


def _is_worth_it(plan: TilePlan, *, most_pixels: int | None) -> bool:
    """Whether the exact windows over a whole picture fit and read at most `MOST_READ` times it."""
    if most_pixels is not None and plan.tile_pixels > most_pixels:
        return False
    picture = plan.rows[-1].read_stop * plan.columns[-1].read_stop
    return plan.read_pixels <= MOST_READ * picture


def _keeps(area: Area) -> tuple[tuple[int, int], tuple[int, int]]:
    return (area.top, area.top + area.height), (area.left, area.left + area.width)


def _extents(*, height: int, width: int, area: Area, geometry: Geometry, margin: int) -> tuple[int, int]:
    """Height and width of what must be read for an area."""
    rows, columns = (
        read_range(
            length=length,
            keep=keep,
            margin=margin,
            multiple_of=geometry.multiple_of,
            fixed_size=geometry.fixed_size,
        )
        for length, keep in zip((height, width), _keeps(area), strict=True)
    )
    return rows[1] - rows[0], columns[1] - columns[0]


def _window_size(
    extents: tuple[int, int],
    *,
    geometry: Geometry,
    request: TileRequest,
    margin: int,
    most_pixels: int | None,
) -> tuple[int, int] | None:
    fixed = geometry.fixed_size
    if fixed is not None:
        if request.tile not in ("auto", "none", (fixed, fixed)):
            raise UsageError(f"this model takes windows of {fixed} px only; give --tile {fixed}")
        return fixed, fixed
    if request.tile == "none":
        return extents
    if isinstance(request.tile, tuple):
        around = 2 * round_up(margin, geometry.multiple_of)
        height, width = (round_up(side, geometry.multiple_of) + around for side in request.tile)
        return height, width
    if geometry.halo is not None:
        # A wide halo needs larger windows, else it is most of the work. Those of the declared overlap may be as
        # large: the fewer cuts, the nearer they are to exact.
        step = geometry.multiple_of
        reach = margin if declared_overlap(geometry, request) is None else geometry.halo
        efficient = max(EFFICIENT_SIDE_PX, 8 * round_up(reach, step), 2 * step) ** 2
        most_pixels = efficient if most_pixels is None else min(most_pixels, efficient)
    if most_pixels is None:
        return extents
    return choose_size(extents, most_pixels=most_pixels, margin=margin, multiple_of=geometry.multiple_of)


def _fixed_margin(size: int, multiple_of: int) -> int:
    """A quarter of the window overlaps, but some of it is kept."""
    return min(max(size // 8, multiple_of) if size > 2 * multiple_of else 0, (size - 1) // 2)
