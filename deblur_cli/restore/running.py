"""Running a plan: each window once, its part written at once, nothing of picture size in between."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deblur_cli.restore.tiling import Span, TilePlan, blend_weights

FloatPixels = NDArray[np.float32]
Restore = Callable[[Span, Span], FloatPixels]
"""(row span, column span) -> restored window (h, w, C) in [0, 1], as large as what it reads"""
Write = Callable[[int, int, FloatPixels], None]
"""(top, left, values (h, w, C)) takes finished pixels; positions in the picture. The values may be changed in place"""
Progress = Callable[[int, int], None]
"""(tiles done, tiles in all)"""


def run_plan(plan: TilePlan, *, restore: Restore, write: Write, progress: Progress | None = None) -> None:
    """Restore all windows of a plan and write every pixel of its area once."""
    run = _run_blended if plan.blend else _run_cut
    report = progress or _silent
    report(0, plan.num_tiles)
    run(plan, restore=restore, write=write, progress=report)


def _run_cut(plan: TilePlan, *, restore: Restore, write: Write, progress: Progress) -> None:
    """Each pixel comes from the one window that keeps it."""
    for done, (row, column) in enumerate(plan.tiles(), start=1):
        values = restore(row, column)
        rows = slice(row.keep_start - row.read_start, row.keep_stop - row.read_start)
        columns = slice(column.keep_start - column.read_start, column.keep_stop - column.read_start)
        write(row.keep_start, column.keep_start, values[rows, columns])
        progress(done, plan.num_tiles)


def _run_blended(plan: TilePlan, *, restore: Restore, write: Write, progress: Progress) -> None:
    """Each pixel is the weighted mean of all windows that read it.

    The sum is held for one row of windows: rows that no later window reads are written, the others go on.
    """
    column_weights = blend_weights(plan.columns)
    left = plan.columns[0].read_start
    width = plan.columns[-1].read_stop - left
    carried: FloatPixels | None = None
    done = 0
    for i, (row, row_weight) in enumerate(zip(plan.rows, blend_weights(plan.rows), strict=True)):
        band: FloatPixels | None = None
        for column, column_weight in zip(plan.columns, column_weights, strict=True):
            values = restore(row, column)
            if band is None:
                band = np.zeros((row.size, width, values.shape[2]), np.float32)
                if carried is not None:
                    band[: carried.shape[0]] = carried
            weight = row_weight[:, None] * column_weight[None, :]
            band[:, column.read_start - left : column.read_stop - left] += values * weight[:, :, None]
            done += 1
            progress(done, plan.num_tiles)
        assert band is not None
        finished = (plan.rows[i + 1].read_start if i + 1 < len(plan.rows) else row.read_stop) - row.read_start
        carried = band[finished:].copy()
        _write_inside(plan, band[:finished], top=row.read_start, left=left, write=write)


def _write_inside(plan: TilePlan, values: FloatPixels, *, top: int, left: int, write: Write) -> None:
    """Write what lies in the plan's area."""
    area = plan.area
    rows = slice(max(0, area.top - top), max(0, area.top + area.height - top))
    columns = slice(area.left - left, area.left + area.width - left)
    inside = values[rows, columns]
    if inside.size:
        write(max(top, area.top), area.left, inside)


def _silent(done: int, total: int) -> None:
    """Nobody is watching."""
