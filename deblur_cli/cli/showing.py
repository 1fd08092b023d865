"""What `deblur compare` gives: sheets or a page, scores on stdout, and what went wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deblur_cli.cli import console
from deblur_cli.errors import NotEnoughRoomError, PictureError

if TYPE_CHECKING:
    from deblur_cli.cli.comparing import Input
    from deblur_cli.evaluation.compare import Comparison, Marked
    from deblur_cli.evaluation.evaluate import RestoresArrays
    from deblur_cli.evaluation.measures import FloatPicture, Measure
    from deblur_cli.evaluation.page.writing import PagePicture
    from deblur_cli.pictures.regions import Region
    from deblur_cli.restore.restorer import Restorer
    from deblur_cli.weights import Source

_LARGE_BYTES = 100_000_000
"""From this size on a page is slow to open, and it is said what makes it smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """How comparisons are shown.

    regions : those asked for; none = found in each picture
    targets : a sheet for each input, or one page
    about : what the data are; notes : by model, where its weights are from
    """

    measures: "tuple[Measure, ...]"
    regions: "tuple[Region, ...]"
    targets: tuple[Path, ...]
    as_page: bool
    page_px: int
    overwrite: bool
    json: bool
    about: str
    notes: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class _Shown:
    """What has been shown so far. lines : of --json; rows : of the table of scores"""

    page: "list[PagePicture]" = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    failed: int = 0


class _Guarded:
    """One of several models: whatever it raises for a picture is an error of that result, and the others go on."""

    def __init__(self, restorer: "Restorer") -> None:
        self._restorer = restorer

    def restore_array(self, image: "FloatPicture", /) -> "FloatPicture":
        """The model's result, or PictureError."""
        from deblur_cli.cli.errors import diagnose

        try:
            return self._restorer.restore_array(image)
        except PictureError:
            raise
        except Exception as error:
            raise PictureError(diagnose(error).text) from error


def show_all(inputs: "Sequence[Input]", restorers: "Mapping[str, Restorer]", showing: Showing) -> int:
    """Compare each input and show what was found. Returns the exit code: 1 where something failed.

    What goes wrong with one of several pictures is said and does not stop the others; with a single one it is raised.
    """
    done = _Shown()
    conditions = _conditions(restorers)
    guarded: Mapping[str, RestoresArrays] = (
        {label: _Guarded(restorer) for label, restorer in restorers.items()}
        if len(restorers) > 1
        else restorers
    )
    with console.progress("comparing", len(inputs) * max(1, len(restorers))) as advance:
        for index, item in enumerate(inputs):
            try:
                comparison, icc = item.compare(guarded, showing.measures, advance)
                target = showing.targets[0 if showing.as_page else index]
                facts = _show(comparison, icc, target, showing, conditions, done)
                done.lines.append({"image": item.source} | facts)
            except Exception as error:  # a plugin's network may raise anything
                full = isinstance(error, NotEnoughRoomError) and isinstance(error.__cause__, OSError)
                if len(inputs) == 1 or full:
                    raise
                _fail(item, error, done)
    if done.page:
        _write_page(inputs, done.page, showing, conditions)
    if showing.json:
        for line in done.lines:
            console.json_line(line)
    else:
        _print(inputs, showing, conditions, done)
    if done.failed and len(inputs) > 1:
        console.note(f"{done.failed} of {len(inputs)} pictures failed, in whole or in part")
    return 1 if done.failed else 0


def weights_note(source: "Source") -> str:
    """Which weights a model has and what they were trained on, in one line."""
    from deblur_cli.weights import file_sha256, read_header

    if source.path is None:
        return "no weights"
    header = read_header(source.path)
    note = f"weights {source.path.name}, SHA-256 {file_sha256(source.path)[:12]}"
    if header.training_data:
        note += f", trained on {', '.join(header.training_data)}"
    steps = sum(training.steps for training in header.trainings())
    return note + (f", {steps:,} steps" if steps else "")


def _show(
    comparison: "Comparison", icc: bytes | None, target: Path, showing: Showing, conditions: str, done: _Shown
) -> dict[str, Any]:
    """Draw the sheet, or make the picture of the page. Returns what --json prints of it."""
    from deblur_cli.evaluation.compare import Marked, marked_regions
    from deblur_cli.evaluation.page.writing import page_picture

    chosen = [Marked(region=region, why=",".join(map(str, region))) for region in showing.regions]
    regions = chosen or marked_regions(comparison)
    facts: dict[str, Any] = {}
    if showing.as_page:
        _require_inside(comparison, regions)
        made = page_picture(comparison, regions, longest_px=showing.page_px, icc=icc)
        done.page.append(made)
        facts["embedded"] = {
            "width": made.embedded.width,
            "height": made.embedded.height,
            "kind": made.embedded.kind,
        }
    else:
        _write_sheet(comparison, regions, icc, target, showing, conditions)
    for label, error in comparison.failures.items():
        console.error(f"{comparison.name} ({label}): {error}")
    done.failed += bool(comparison.failures)
    done.rows += _rows(comparison)
    return _as_json(comparison, regions, target) | facts


def _fail(item: "Input", error: Exception, done: _Shown) -> None:
    from deblur_cli.cli.errors import diagnose

    console.traceback(error)
    text = diagnose(error).text
    console.error(f"{item.name}: {text}")
    done.failed += 1
    done.lines.append({"image": item.source, "error": text})


def _write_sheet(
    comparison: "Comparison",
    regions: "Sequence[Marked]",
    icc: bytes | None,
    target: Path,
    showing: Showing,
    conditions: str,
) -> None:
    from deblur_cli.evaluation.compare import draw
    from deblur_cli.pictures import Origin, Picture, write_picture

    height, width = comparison.restored[0].pixels.shape[:2]
    about = f", of {showing.about}" if showing.about else ""
    notes = [f"{comparison.name}{about}, {width}x{height} px"]
    notes += [f"{label}: {note}" for label, note in showing.notes.items()]
    if regions:
        whys = list(dict.fromkeys(marked.why for marked in regions))
        notes.append(f"framed{', from the left' if len(whys) > 1 else ''}: {'; '.join(whys)}")
    if comparison.restored[0].scores:
        notes.append(f"scores: {conditions}")
    sheet = draw(comparison, [marked.region for marked in regions], notes=notes)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_picture(Picture(pixels=sheet, origin=Origin(icc=icc)), target, overwrite=showing.overwrite)


def _write_page(
    inputs: "Sequence[Input]", pictures: "Sequence[PagePicture]", showing: Showing, conditions: str
) -> None:
    from deblur_cli.evaluation.page.writing import write_page

    (target,) = showing.targets
    count = f"{len(pictures)} pictures" if len(pictures) > 1 else pictures[0].name
    missing = len(inputs) - len(pictures)
    subtitle = [showing.about] if showing.about else []
    subtitle += [f"{missing} of {len(inputs)} pictures failed and are not here"] if missing else []
    measured = any(picture.cells for picture in pictures)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_page(
        target,
        pictures,
        title=f"{count}: {', '.join(showing.notes)}" if showing.notes else count,
        subtitle="; ".join(subtitle),
        notes=({"scores": conditions} if measured else {}) | dict(showing.notes),
        overwrite=showing.overwrite,
    )
    size = target.stat().st_size
    if size > _LARGE_BYTES:
        console.warn(
            f"{target} has {size / 1e6:.0f} MB and opens slowly; fewer pictures or a smaller --page-px make it smaller"
        )


def _require_inside(comparison: "Comparison", regions: "Sequence[Marked]") -> None:
    from deblur_cli.evaluation.grid import require_inside

    height, width = comparison.restored[0].pixels.shape[:2]
    require_inside([marked.region for marked in regions], width=width, height=height)


def _conditions(restorers: "Mapping[str, Restorer]") -> str:
    """How scores are measured, in one line."""
    import numpy as np

    every = "whole picture, every channel alike"
    if not restorers:
        return f"{every}, of the files as they are"
    how = sorted({restorer.dtype_for(np.float32) for restorer in restorers.values()})
    how += ["self-ensemble"] * any(restorer.passes > 1 for restorer in restorers.values())
    return f"{every}, clipped to [0, 1], before rounding to 8 bit; {', '.join(how)}"


def _rows(comparison: "Comparison") -> list[list[str]]:
    """Of the table of scores; the metrics that were not measured stay empty."""
    from deblur_cli.evaluation.tables import format_value

    return [
        [
            comparison.name,
            shown.label,
            *(
                format_value(metric, shown.scores[metric.name]) if metric.name in shown.scores else ""
                for metric in comparison.metrics
            ),
        ]
        for shown in comparison.shown()
        if shown.scores and shown is not comparison.sharp
    ]


def _print(inputs: "Sequence[Input]", showing: Showing, conditions: str, done: _Shown) -> None:
    from deblur_cli.evaluation.tables import metric_title

    if done.rows:
        several = len(inputs) > 1
        columns = ["picture", "model", *(metric_title(measure.metric) for measure in showing.measures)]
        console.table(columns if several else columns[1:], [row if several else row[1:] for row in done.rows])
        console.result(f"scores: {conditions}")
    for target in dict.fromkeys(str(line["output"]) for line in done.lines if "output" in line):
        console.result(target)


def _as_json(comparison: "Comparison", regions: "Sequence[Marked]", target: Path) -> dict[str, Any]:
    return {
        "output": target,
        "blurry": {} if comparison.blurry is None else comparison.blurry.scores,
        "restored": [{"model": shown.label, "scores": shown.scores} for shown in comparison.restored],
        "failures": dict(comparison.failures),
        "regions": [list(marked.region) for marked in regions],
        "regions_why": [marked.why for marked in regions],
    }
