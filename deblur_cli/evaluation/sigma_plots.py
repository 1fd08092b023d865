"""PSNR by the sigma of the blur, drawn with matplotlib (the extra `plots`): one panel a protocol."""

from collections.abc import Mapping, Sequence
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
    weights_notes,
)
from deblur_cli.pictures.picture import shown
from deblur_cli.pictures.plotting import GREY, legend_columns, look, shortened, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

BLURRED = "blurred input"


def draw_sigma(
    records: Sequence[Record], target: Path, *, format: str = "png", overwrite: bool = True
) -> None:
    """Draw the mean PSNR of each range of sigma in the middle of the range: the blurred input's, and each model's.

    Parameters
    ----------
    records : of evaluations; those whose blur has no known sigma are left out
    target : the file; it appears whole or not at all
    format : one of deblur_cli.pictures.plotting.FORMATS

    Raises
    ------
    MissingError : matplotlib is not installed
    UsageError : no record has PSNR by sigma; or the file exists and must not be replaced
    PictureError, NotEnoughRoomError : the file cannot be written
    """
    known = [record for record in records if record.get("by_sigma")]
    panels = [section for same in by_protocol(known) for section in by_pairs(same)]
    if not panels:
        raise UsageError(
            "nothing to draw: no record has PSNR by the sigma of the blur; records of protocols such as cifar10-s0 have"
        )
    write_figure(partial(_figure, panels, model_labels(known)), target, format=format, overwrite=overwrite)


def _figure(panels: Sequence[Sequence[Record]], labels: Mapping[int, str]) -> "Figure":
    from matplotlib.figure import Figure  # not pyplot, which keeps every figure and looks for a display

    names = list(dict.fromkeys(labels[id(record)] for records in panels for record in records))
    looks = {name: look(number) for number, name in enumerate(names)}
    figure = Figure(dpi=120, layout="constrained")
    figure.set_figwidth(6.5)
    handles: dict[str, Line2D] = {}
    for axes, records in zip(figure.subplots(len(panels), squeeze=False).flat, panels, strict=True):
        _draw_panel(axes, records, labels, looks)
        handles |= {str(line.get_label()): line for line in axes.lines}
    texts = [f" {shortened(name)}" for name in handles]
    columns = legend_columns(texts, width=figure.get_figwidth(), most=3)
    figure.legend(list(handles.values()), texts, loc="outside upper left", ncols=columns, markerscale=1)
    caption = weights_notes([record for records in panels for record in records], labels)
    if any(part["psnr_blurry"] is None for records in panels for part in records[0]["by_sigma"]):
        caption.append("no point where all pictures are identical to the sharp ones")
    foot = fill("; ".join(caption), width=96)
    figure.supxlabel(foot, x=0.01, ha="left", fontsize=8, color=GREY)
    rows, lines = -(-len(texts) // columns), foot.count("\n") + 1
    figure.set_figheight(3.2 * len(panels) + 0.55 + 0.19 * rows + 0.15 * lines)
    return figure


def _draw_panel(
    axes: "Axes", records: Sequence[Record], labels: Mapping[int, str], looks: Mapping[str, Mapping[str, str]]
) -> None:
    first = records[0]
    _draw_line(axes, first, "psnr_blurry", {"color": GREY, "linestyle": (0, (7, 2)), "label": BLURRED})
    for record in records:
        name = labels[id(record)]
        _draw_line(axes, record, "psnr_restored", {**looks[name], "label": name})
    for part in first["by_sigma"]:
        axes.annotate(
            f"{part['pictures']:,}", (_middle(part), 0), xycoords=("data", "axes fraction"), xytext=(0, 3),
            textcoords="offset points", ha="center", fontsize=7, color=GREY,
        )  # fmt: skip
    axes.margins(y=0.12)
    axes.set_xlabel("sigma of the blur in px; above it the number of pictures")
    axes.set_ylabel("mean PSNR in dB")
    title = shown(f"{protocol_title(first)}: {first['pictures']:,} pictures")
    axes.set_title(fill(title, width=80), fontsize=9.5, loc="left")


def _draw_line(axes: "Axes", record: Record, kind: str, style: Mapping[str, Any]) -> None:
    """A range all of whose pictures are identical to the sharp ones has no finite PSNR, and so no point."""
    parts = [part for part in record["by_sigma"] if part[kind] is not None]
    axes.plot(
        [_middle(part) for part in parts],
        [part[kind] for part in parts],
        **{"marker": "o", "markersize": 4, **style},
    )


def _middle(part: Mapping[str, Any]) -> float:
    """Where a range stands; one without an end where it begins."""
    low, high = part["from"], part["to"]
    return float(low if high is None else (low + high) / 2)
