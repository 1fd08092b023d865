"""Curves of one or several runs: losses, scores and learning rate, drawn with matplotlib (the extra `plots`)."""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deblur_cli.errors import MissingError
from deblur_cli.pictures.picture import shown
from deblur_cli.pictures.plotting import COLOURS, GREY, MISSING, legend_columns, shortened, write_figure
from deblur_cli.pictures.plotting import colour as colour_of
from deblur_cli.training.recording.metrics_file import Row, best_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REDRAW_S = 30.0

_TRAINING, _BLURRED, _BEST = (0, (1, 1)), (0, (7, 2)), (0, (3, 3))
"""Dashes of lines; in points, drawn and left out."""
_MAX_LINES = 8  # of the caption
_WIDE = 20.0
"""Values that differ by more than this factor are drawn on a logarithmic axis."""


class Axis(StrEnum):
    """What runs from left to right."""

    EPOCH = "epoch"
    STEP = "step"
    MINUTES = "minutes"

    def of(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        """Where each validation stands."""
        return _values(rows, "seconds") / 60 if self is Axis.MINUTES else _values(rows, self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A training to draw. name : in the legend; about : what the caption says of it; rows : of its metrics.csv"""

    name: str
    rows: Sequence[Row]
    about: str = ""


def draw_curves(
    runs: Sequence[Run], target: Path, *, by: Axis = Axis.EPOCH, format: str = "png", overwrite: bool = True
) -> None:
    """Draw losses, PSNR, SSIM and learning rate; of a single run also the components of its loss.

    Parameters
    ----------
    runs : at least one, each with at least one validation; one colour a run where there are several
    target : the file, 1200 px wide; it appears whole or not at all
    format : one of FORMATS

    Raises
    ------
    MissingError : matplotlib is not installed
    UsageError, PictureError, NotEnoughRoomError : the file exists and must not be replaced, or cannot be written
    """
    write_figure(partial(_figure, runs, by), target, format=format, overwrite=overwrite)


class LiveCurves:
    """Draws the curves of a run while it trains: after validations, at most every 30 s, and at the end.

    A training never fails because of a plot: what goes wrong is warned of once.

    Parameters
    ----------
    about : what the caption says; rows : those of the run, which grow
    clock : seconds
    """

    def __init__(
        self,
        target: Path,
        *,
        about: str,
        rows: Sequence[Row],
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target, self._about, self._rows = target, about, rows
        self._warn, self._clock = warn, clock
        self._drawn_at = clock()
        self._num_drawn = 0
        self._lacks_matplotlib = False
        self._works = True

    def update(self) -> None:
        """Draw what there is, unless that was done, or the training began, a moment ago."""
        if self._clock() - self._drawn_at >= REDRAW_S:
            self._draw()
            self._drawn_at = self._clock()

    def finish(self) -> None:
        """Draw the last state."""
        self._draw()
        if self._lacks_matplotlib:
            self._warn(f"{self._target} was not drawn: {MISSING}")

    def _draw(self) -> None:
        if not self._works or len(self._rows) == self._num_drawn:
            return
        run = Run(name=self._target.resolve().parent.name, rows=self._rows, about=self._about)
        try:
            draw_curves([run], self._target)
            gc.collect()  # a figure is full of cycles; left to themselves they take 40 MB
            self._num_drawn = len(self._rows)
        except MissingError:  # a matter of taste, not of failure: said at the end
            self._works, self._lacks_matplotlib = False, True
        except Exception as error:  # whatever a library for drawing may raise
            self._works = False
            self._warn(f"{self._target} was not drawn: {' '.join(str(error).split())}")


_TITLES = {
    "loss": "loss",
    "components": "components of the loss in training",
    "lr": "learning rate",
    "psnr": "PSNR on validation, dB",
    "ssim": "SSIM on validation",
}


def _figure(runs: Sequence[Run], by: Axis) -> "Figure":
    from matplotlib.figure import Figure  # not pyplot, which keeps every figure and looks for a display

    components = _components(runs[0].rows) if len(runs) == 1 else []
    about = _caption(runs)
    figure = Figure(figsize=(10, 6.2 + 0.15 * len(about)), dpi=120, layout="constrained")
    if components:  # wide, with their legend beside them: they are many
        upper, lower = figure.subfigures(2, 1, squeeze=False).flat
        panels = dict(zip(("loss", "psnr", "ssim"), upper.subplots(1, 3), strict=True))
        panels |= zip(("components", "lr"), lower.subplots(1, 2, width_ratios=(2, 1)), strict=True)
    else:
        panels = dict(zip(("loss", "lr", "psnr", "ssim"), figure.subplots(2, 2).flat, strict=True))
    if len(runs) == 1:
        _draw_single(panels, runs[0], by, components)
        handles, labels = _legend_of_single(runs[0])
        (upper if components else figure).legend(
            handles, labels, loc="outside upper right", ncols=len(labels)
        )
        figure.suptitle(shortened(runs[0].name, 44), x=0.01, ha="left", fontsize=11)
    else:
        _draw_several(panels, runs, by)
        handles = [_stroke(colour_of(number), _dash(number)) for number in range(len(runs))]
        names = [f" {shortened(run.name)}" for run in runs]  # matplotlib leaves out labels that begin with _
        columns = legend_columns(names, width=figure.get_figwidth(), most=5)
        figure.legend(handles, names, loc="outside upper left", ncols=columns)
    endless = sum(int(np.isinf(_values(run.rows, "psnr")).sum()) for run in runs)
    for name, panel in panels.items():
        note = f", infinite {endless} times" if name == "psnr" and endless else ""
        _finish(panel, _TITLES[name] + note, by)
    figure.supxlabel("\n".join(about), x=0.01, ha="left", fontsize=8, color=GREY)
    return figure


def _draw_single(panels: "dict[str, Axes]", run: Run, by: Axis, components: Sequence[str]) -> None:
    """One colour a quantity."""
    rows, first, second = run.rows, COLOURS[0], COLOURS[1]
    _line(panels["loss"], by, rows, "train_loss", first, _TRAINING)
    _line(panels["loss"], by, rows, "val_loss", second)
    _line(panels["lr"], by, rows, "lr", first)
    for name in ("psnr", "ssim"):
        _line(panels[name], by, rows, name, second)
        _line(panels[name], by, rows, f"blurry_{name}", GREY, _BLURRED)
    for number, name in enumerate(components):
        colour, dash = colour_of(number), _dash(number)
        _line(
            panels["components"], by, rows, name, colour, dash, label=shortened(name.removeprefix("train_"))
        )
    if components:
        greatest = [float(np.nanmax(np.abs(_values(rows, name)))) for name in components]
        if min(greatest) * _WIDE < max(greatest):  # both signs: linear around zero, where the smallest lies
            least = max(min(greatest), max(greatest) / 1000)
            panels["components"].set_yscale("symlog", linthresh=10.0 ** np.floor(np.log10(least)))
        panels["components"].legend(loc="upper left", bbox_to_anchor=(1, 1))
    for name in panels.keys() - {"lr"}:
        _mark_best(panels[name], by, rows, GREY)


def _legend_of_single(run: Run) -> tuple[list[Any], list[str]]:
    """For all panels together and beside them, so that it hides no curve: what is drawn how, and what it is."""
    best, blurred = best_of(run.rows), "blurry_psnr" in run.rows[-1]
    entries = [(_stroke(COLOURS[0], _TRAINING), "training"), (_stroke(COLOURS[1]), "validation: restored")]
    if blurred:
        entries.append((_stroke(GREY, _BLURRED), "validation: blurred input"))
    if best is not None:
        entries.append((_stroke(GREY, _BEST), _named(best)))
    handles, labels = zip(*entries, strict=True)
    return list(handles), list(labels)


def _draw_several(panels: "dict[str, Axes]", runs: Sequence[Run], by: Axis) -> None:
    """One colour a run."""
    for number, run in enumerate(runs):
        colour, dash, rows = colour_of(number), _dash(number), run.rows
        _line(panels["loss"], by, rows, "train_loss", colour, _TRAINING)
        for name in ("val_loss", "psnr", "ssim", "lr"):
            _line(panels[name.replace("val_", "")], by, rows, name, colour, dash)
        for name in ("psnr", "ssim"):
            column = f"blurry_{name}"
            levels = {row.get(column) for other in runs for row in other.rows}
            blurred = GREY if len(levels) == 1 else colour  # nobody's own where all see the same pictures
            _line(panels[name], by, rows, column, blurred, _BLURRED)
        for name in ("loss", "psnr", "ssim"):
            _mark_best(panels[name], by, rows, colour)
    best = _stroke(GREY, _BEST), "best validation loss"
    entries = {
        "loss": [(_stroke(GREY, _TRAINING), "training"), (_stroke(GREY), "validation"), best],
        "psnr": [(_stroke(GREY), "restored"), (_stroke(GREY, _BLURRED), "blurred input")],
    }
    for name, several in entries.items():  # in the line of the title, where they hide no curve
        panels[name].legend(
            *zip(*several, strict=True), loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.2,
            columnspacing=1.2,
        )  # fmt: skip


def _line(
    panel: "Axes", by: Axis, rows: Sequence[Row], name: str, colour: str, dash: Any = "-", **looks: Any
) -> None:
    """One quantity over the validations; what is not finite leaves a gap. dash, looks : as matplotlib takes them"""
    values = _values(rows, name)
    values[~np.isfinite(values)] = np.nan
    panel.plot(
        by.of(rows),
        values,
        color=colour,
        linestyle=dash,
        marker="o",
        markersize=3.5,
        markevery=_alone(values),
        **looks,
    )


def _alone(values: NDArray[np.float64]) -> list[int]:
    """Points without a neighbour, which a line would not show."""
    there = np.pad(np.isfinite(values), 1)
    return [int(at) for at in np.flatnonzero(there[1:-1] & ~there[:-2] & ~there[2:])]


def _mark_best(panel: "Axes", by: Axis, rows: Sequence[Row], colour: str) -> None:
    best = best_of(rows)
    if best is not None:
        at = float(by.of([best])[0])
        panel.axvline(at, color=colour, linestyle=_BEST, linewidth=1.1)


def _stroke(colour: str, dash: Any = "-") -> Any:
    """What stands for a line in a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=dash)


def _finish(panel: "Axes", title: str, by: Axis) -> None:
    """Scales, ticks and texts, as what was drawn asks for them."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    panel.set_title(title, fontsize=10, loc="left")
    panel.set_xlabel(by.value)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=by is not Axis.MINUTES, min_n_ticks=1))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    low, high = panel.dataLim.intervaly
    if not np.isfinite([low, high]).all():
        panel.text(0.5, 0.5, "no finite value", transform=panel.transAxes, ha="center", color=GREY)
    elif panel.get_yscale() == "linear" and low > 0 and high / low > _WIDE:
        panel.set_yscale("log")
    if panel.get_yscale() != "linear" or high < 1e-3:
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())


def _components(rows: Sequence[Row]) -> list[str]:
    """The columns of the loss's components; none where the loss is one."""
    names = dict.fromkeys(name for row in rows for name in row if name.startswith("train_"))
    return [name for name in names if name != "train_loss"]


def _values(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    return np.array([row.get(name, np.nan) for row in rows], float)


def _dash(number: int) -> str:
    """Another one when the colours are used up."""
    return ("-", "-.")[number // len(COLOURS) % 2]


def _named(best: Row) -> str:
    return f"best: epoch {best['epoch']:g}"


def _caption(runs: Sequence[Run]) -> list[str]:
    """What was measured on what, a line a run, and with which result."""
    lines = []
    for run in runs:
        last, best = run.rows[-1], best_of(run.rows)
        told = [f"{last['step']:,.0f} steps, {last['seconds'] / 60:,.1f} min"]
        if run.about:
            told.insert(0, run.about)
        if best is not None:
            told.append(
                f"{_named(best)}, loss {best['val_loss']:.5g}, PSNR {best['psnr']:.2f} dB, SSIM {best['ssim']:.4f}"
            )
        name = f"{run.name}: " if len(runs) > 1 else ""
        lines += wrap(shown(name + "; ".join(told)), width=165)  # 10 inches of letters of 8 pt
    return lines if len(lines) <= _MAX_LINES else [*lines[:_MAX_LINES], "..."]
