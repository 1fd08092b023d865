"""`deblur datasets check`."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deblur_cli.cli import console
from deblur_cli.cli.options import Json, Quiet, Verbose
from deblur_cli.errors import CheckFailed, MissingError

if TYPE_CHECKING:
    from deblur_cli.data.findings import Distribution, Report
    from deblur_cli.data.pair_search import Survey

_SHOWN = 5  # findings of each check below the table


def check(
    data: Annotated[
        str,
        typer.Argument(metavar="FOLDER|NAME", help="A folder of pairs of any layout, or a data set by name."),
    ],
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            min=1,
            help="Pairs a split, spread over it. Default: all.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=0, help="Processes that read pairs; 0: this one.")
    ] = 0,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Check a data set: pairs that do not match, lie beside each other, are swapped; pictures in two splits.

    Every pair is read and compared: names, size, grey or colour, bits, which
    of the two is sharper, the shift between them, brightness. Sharp pictures
    are held against those of the other splits: a copy, or a frame of the same
    scene, is found also when it was resized, compressed or brightened.

    Warnings are odd but can be in order; failures end with exit code 3. Five
    findings of each check are shown, all with --verbose and with --json.

    deblur datasets check pairs/
    deblur datasets check gopro --json
    """
    from deblur_cli.data.checking import check_pairs

    survey = _survey(data)
    report = check_pairs(survey, data=data, steps=_steps, limit=limit, workers=workers)
    if json:
        console.json_line(report.as_json())
    else:
        _show(report)
    if report.failed:
        raise CheckFailed(f"{data} fails {len(report.failed)} of the checks: {', '.join(report.failed)}")


def _survey(data: str) -> "Survey":
    from difflib import get_close_matches

    from deblur_cli.data.pair_search import survey_dataset, survey_folder
    from deblur_cli.host.manager import Host

    host = Host.discover()
    if data in host.datasets:
        return survey_dataset(host.datasets[data], environ=os.environ)
    folder = Path(data).expanduser()
    near = get_close_matches(data, host.datasets, n=3)
    if near and not folder.exists():
        raise MissingError(
            f"there is neither a data set nor a folder {data!r}; did you mean {' or '.join(near)}?"
        )
    return survey_folder(folder)


@contextmanager
def _steps(what: str, total: int) -> Iterator[Callable[[int], None]]:
    with console.progress(what, total) as advance:
        yield advance


def _show(report: "Report") -> None:
    splits = ", ".join(f"{name} {count:,}" for name, count in report.splits.items() if name)
    console.result(f"{report.data}: {report.checked:,} pairs checked{f' ({splits})' if splits else ''}")
    console.table(
        ("CHECK", "LEVEL", "COUNT", "WORST"),
        [(row.check, row.level, row.count, row.worst.text if row.worst else "") for row in report.rows()],
    )
    console.result(_spread("shift", "px", report.shift_px, "too small or too plain to measure"))
    console.result(_spread("brightness", "levels", report.brightness_levels, "not compared"))
    _show_findings(report)


def _spread(what: str, unit: str, values: "Distribution", why: str) -> str:
    rest = f"; {values.unjudged:,} {why}" if values.unjudged else ""
    if values.median is None:
        return f"{what}: no pair measured{rest}"
    return f"{what}: median {values.median:.2f} {unit}, 95 % {values.p95:.2f}, max {values.max:.2f}{rest}"


def _show_findings(report: "Report") -> None:
    """What the table has no room for: it shows the worst of each check."""
    from deblur_cli.data.findings import worst_first

    for row in report.rows():
        found = worst_first(item for item in report.findings if item.check is row.check)
        shown = found if console.is_verbose() else found[:_SHOWN]
        for item in shown if row.count > 1 else ():
            console.result(f"{item.level} {item.check}: {item.text}")
        if len(shown) < row.count:
            console.note(f"and {row.count - len(shown):,} more of {row.check}; --verbose or --json shows all")
