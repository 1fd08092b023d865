"""Scores against what networks cost, drawn with matplotlib (the extra `plots`): one panel a protocol."""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from deblur_cli.errors import UsageError
from deblur_cli.evaluation.score_tables import (
    Record,
    by_pairs,
    by_protocol,
    model_labels,
    protocol_title,
    title_of,
    weights_notes,
)
from deblur_cli.host.declarations import Metric
from deblur_cli.pictures.picture import shown
from deblur_cli.pictures.plotting import GREY, legend_columns, look, shortened, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDE = 3
"""Panels beside each other."""


class Cost(StrEnum):
    """What runs from left to right."""

    MACS = "macs"
    PARAMETERS = "parameters"
    SECONDS = "seconds"

    @property
    def label(self) -> str:
        """With its unit."""
        return {
            Cost.MACS: "thousand multiply-accumulates a pixel",
            Cost.PARAMETERS: "parameters",
            Cost.SECONDS: "s a picture, network alone",
        }[self]

    def of(self, record: Record) -> float:
        """Of a record's network; 0 where it is not known."""
        key = {
            Cost.MACS: "kmacs_per_pixel",
            Cost.PARAMETERS: "parameters",
            Cost.SECONDS: "seconds_per_picture",
        }
        return float(record.get(key[self]) or 0)


def draw_scores(
    records: Sequence[Record],
    target: Path,
    metrics: Mapping[str, Metric],
    *,
    metric: str,
    against: Cost = Cost.MACS,
    format: str = "png",
    overwrite: bool = True,
) -> None:
    """Draw each model as a point, with the blurred input as a line and the report's own figure, if any, as a hollow point.

    Parameters
    ----------
    metric : name of what runs upwards
    target : the file; it appears whole or not at all
    format : one of deblur_cli.pictures.plotting.FORMATS

    Raises
    ------
    MissingError : matplotlib is not installed
    UsageError : no record has both the metric and the cost; or the file exists and must not be replaced
    PictureError, NotEnoughRoomError : the file cannot be written
    """
    panels = [
        drawn
        for same in by_protocol(records)
        for section in by_pairs(same)
        if (drawn := [record for record in section if _is_drawn(record, metric, against)])
    ]
    if not panels:
        raise UsageError(f"nothing to draw: no record has both {metric} and {against}")
    labels = model_labels(records)
    left_out = dict.fromkeys(
        labels[id(record)] for record in records if not _is_drawn(record, metric, against)
    )
    draw = partial(
        _figure, panels, labels, title=title_of(metric, metrics.get(metric)), metric=metric, against=against,
        left_out=list(left_out),
    )  # fmt: skip
    write_figure(draw, target, format=format, overwrite=overwrite)


def _is_drawn(record: Record, metric: str, against: Cost) -> bool:
    return record["restored"].get(metric) is not None and against.of(record) > 0


def _figure(
    panels: Sequence[Sequence[Record]],
    labels: Mapping[int, str],
    *,
    title: str,
    metric: str,
    against: Cost,
    left_out: Sequence[str],
) -> "Figure":
    from matplotlib.figure import Figure  # not pyplot, which keeps every figure and looks for a display

    names = list(dict.fromkeys(labels[id(record)] for panel in panels for record in panel))
    looks = {name: look(number) for number, name in enumerate(names)}
    wide = min(_WIDE, len(panels))
    tall = -(-len(panels) // wide)
    figure = Figure(dpi=120, layout="constrained")
    figure.set_figwidth(max(6.5, 4.2 * wide))
    costs = [against.of(record) for records in panels for record in records]
    axes = list(figure.subplots(tall, wide, squeeze=False).flat)
    titles = Counter(protocol_title(records[0]) for records in panels)
    for panel, records in zip(axes, panels, strict=False):
        used = [looks[labels[id(record)]] for record in records]
        _draw_panel(panel, records, used, metric=metric, against=against, costs=(min(costs), max(costs)))
        panel.set_ylabel(title)
        panel.set_title(
            _panel_title(records, twice=titles[protocol_title(records[0])] > 1), fontsize=9.5, loc="left"
        )
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    handles = [*map(_point, looks.values()), _line()]
    texts = [*(f" {shortened(name)}" for name in names), "blurred input"]
    if any(_printed(record, metric) is not None for records in panels for record in records):
        handles.append(_point({"color": GREY, "marker": "o"}, hollow=True))
        texts.append("the report's own figure")
    columns = legend_columns(texts, width=figure.get_figwidth(), most=4)
    figure.legend(handles, texts, loc="outside upper left", ncols=columns, markerscale=1)
    caption = weights_notes([record for records in panels for record in records], labels)
    if against is Cost.SECONDS:
        devices = {str(record.get("run", {}).get("device")) for records in panels for record in records}
        caption.append(f"measured on {', '.join(sorted(devices))}")
    if left_out:
        caption.append(f"not drawn, for want of a figure: {', '.join(map(shown, left_out))}")
    foot = fill("; ".join(caption), width=34 * wide + 60)
    figure.supxlabel(foot, x=0.01, ha="left", fontsize=8, color=GREY)
    rows, lines = -(-len(texts) // columns), foot.count("\n") + 1
    figure.set_figheight(
        3.4 * tall + 0.85 + 0.19 * rows + 0.15 * lines
    )  # many models take nothing from the panels
    return figure


def _draw_panel(
    panel: "Axes",
    records: Sequence[Record],
    looks: Sequence[Mapping[str, Any]],
    *,
    metric: str,
    against: Cost,
    costs: tuple[float, float],
) -> None:
    """costs : the least and the greatest of all panels"""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for record, own in zip(records, looks, strict=True):
        cost, printed = against.of(record), _printed(record, metric)
        panel.plot([cost], [record["restored"][metric]], linestyle="", markersize=7, **own)
        if printed is not None:
            panel.plot([cost], [printed], linestyle="", markersize=7, fillstyle="none", **own)
    blurred = records[0]["blurry"].get(metric)
    if blurred is not None:
        panel.axhline(blurred, color=GREY, linestyle=(0, (7, 2)), linewidth=1.2)
    panel.set_xscale("log")
    low, high = costs
    panel.set_xlim(low / 2, high * 2)
    subs = (1.0,) if high / low > 50 else (1.0, 2.0, 5.0)
    panel.xaxis.set_major_locator(LogLocator(subs=subs))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.margins(y=0.12)
    panel.set_xlabel(against.label)


def _panel_title(records: Sequence[Record], *, twice: bool) -> str:
    """Data, protocol and number of pictures. twice : whether another panel has the same hash, with other pixels"""
    first, name = records[0], protocol_title(records[0])
    data, count = first["protocol"]["data"], first["pictures"]
    where = shown(name if name.startswith(f"{data}#") else f"{data}: {name}")
    other = f", pairs {first['pairs_sha256'][:8]}" if twice else ""
    return fill(f"{where}{other}, {count:,} picture{'s' * (count != 1)}", width=52)


def _printed(record: Record, metric: str) -> float | None:
    """What the report prints."""
    printed: float | None = (record.get("reported") or {}).get("scores", {}).get(metric)
    return printed


def _point(own: Mapping[str, Any], *, hollow: bool = False) -> Any:
    """What stands for a point in a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="", markersize=7, fillstyle="none" if hollow else "full", **own)


def _line() -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=GREY, linestyle=(0, (7, 2)), linewidth=1.2)


def _short(value: float) -> str:
    """1000000 -> 1M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
