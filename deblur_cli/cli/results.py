"""`deblur results`: tables, CSV files and plots of the evaluations that --record kept."""

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deblur_cli.cli import console
from deblur_cli.cli.options import Json, Quiet, Verbose
from deblur_cli.errors import PictureError, UsageError

if TYPE_CHECKING:
    from deblur_cli.evaluation.score_tables import Record
    from deblur_cli.evaluation.typeset import Table

_SIGMA = "sigma"
"""Of --against: no cost, but how strong the blur is."""

_STDOUT = Path("-")
"""What --markdown and --latex call it."""


def results(
    records: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RECORD",
            help="Records of deblur eval, or folders of them. Default: the folder records.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Write one CSV a data set there, a line a model and protocol.",
            show_default=False,
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="NAME...",
            help="What the tables show. Default: all that was measured; over data sets psnr ssim.",
            show_default=False,
        ),
    ] = None,
    deviations: Annotated[
        bool, typer.Option("--std", help="Show standard deviations over the pictures behind the means.")
    ] = False,
    markdown: Annotated[
        Path | None,
        typer.Option(
            "--markdown",
            metavar="FILE",
            help="Write the tables as Markdown; - is stdout.",
            show_default=False,
        ),
    ] = None,
    latex: Annotated[
        Path | None,
        typer.Option(
            "--latex",
            metavar="FILE",
            help="Write the tables as LaTeX (booktabs); - is stdout.",
            show_default=False,
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            metavar="FILE",
            help="Write a page of what reports print beside it, with the commands that make it again. What stands outside its marks is kept.",
            show_default=False,
        ),
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            "--runs",
            metavar="FOLDER",
            help="With --page: where the runs of the models are, by their names, such as unet16.cifar10.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Draw scores against what the networks cost: .png, .svg or .pdf.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="macs|parameters|seconds|sigma",
            help="The cost in the plot; sigma draws PSNR by the sigma of the blur instead.",
        ),
    ] = "macs",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the outputs that exist.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Make tables of evaluations that deblur eval --record kept.

    One table for each protocol, since scores of different ones do not compare; then models over data sets. Of several records of one model, weights and protocol the newest counts.

    A file that holds no record is named, and the rest goes on: the exit code is 1 then.

    Examples:

        deblur results records/ -o results/

        deblur results records/ --metrics psnr ssim --latex tables.tex --plot scores.pdf

        deblur results records/ --plot sigma.png --against sigma

        deblur results records/ --page results.md
    """
    from deblur_cli.cli.show_table import show_tables
    from deblur_cli.evaluation.result_tables import result_tables
    from deblur_cli.evaluation.results import by_data, flat_rows, newest, other_pixels, read_records
    from deblur_cli.evaluation.score_plots import Cost
    from deblur_cli.evaluation.score_tables import measured
    from deblur_cli.evaluation.tables import write_table
    from deblur_cli.evaluation.typeset import as_latex, as_markdown
    from deblur_cli.host.manager import Host
    from deblur_cli.pictures import atomic_write, require_folder, require_writable
    from deblur_cli.pictures.plotting import FORMATS

    if against not in (*Cost, _SIGMA):
        raise UsageError(f"--against {against}: choose one of {', '.join((*Cost, _SIGMA))}")
    format = "png" if plot is None else plot.suffix.lower().removeprefix(".")
    if format not in FORMATS:
        raise UsageError(f"--plot {plot}: the name must end in {' or '.join(f'.{name}' for name in FORMATS)}")
    on_stdout = [
        option
        for option, taken in (
            ("--markdown", markdown == _STDOUT),
            ("--latex", latex == _STDOUT),
            ("--json", json),
        )
        if taken
    ]
    if len(on_stdout) > 1:
        raise UsageError(f"{' and '.join(on_stdout)} cannot share stdout; name files for all but one")
    if runs is not None and page is None:
        raise UsageError("--runs is for --page, which is not asked for")
    if page == _STDOUT:
        raise UsageError("--page needs the name of a file, whose own words it keeps")
    paths = records or [Path("records")]
    found, unusable = read_records(paths)
    for item in unusable:
        console.error(f"{item.path}: {item.why}")
    if unusable:
        console.error(
            f"{len(unusable)} of {len({item.path for item in found}) + len(unusable)} files hold no record"
        )
    if not found:
        raise PictureError(
            f"no record in {', '.join(map(str, paths))}; deblur eval --record FOLDER keeps one for each model and protocol"
        )
    kept, notes = newest(found)
    for note in notes:
        console.note(note)
    for warning in other_pixels(kept):
        console.warn(warning)
    _require_measured(metrics or (), measured(kept))
    sets = by_data(kept)
    files = {} if output is None else {output / f"{name}.csv": same for name, same in sets.items()}
    targets = [*files, *(path for path in (markdown, latex, plot) if path is not None and path != _STDOUT)]
    _require_free(targets, {os.path.realpath(item.path) for item in found}, overwrite=overwrite, page=page)
    if page is not None:
        targets.append(page)
    if output is not None:
        require_folder(output)
    for target in targets:
        require_writable(target)
    tables = list(result_tables(kept, Host.discover().metrics, chosen=metrics or (), deviations=deviations))
    paged = None if page is None else _paged(page, kept, paths, runs)
    if plot is not None:  # first: it may find nothing to draw
        _draw(kept, plot, metrics or (), against=against, format=format, overwrite=overwrite)
    for target, same in files.items():
        write_table(target, flat_rows(same))
    _write(markdown, tables, as_markdown)
    _write(latex, tables, as_latex)
    if page is not None and paged is not None:
        with atomic_write(page) as part:
            part.write_text(paged, encoding="utf-8")
    if json:
        for row in flat_rows(kept):
            console.json_line(row)
    elif not on_stdout:
        show_tables(tables)
    for target in targets:
        console.note(f"written: {target}")
    return 1 if unusable else 0


def _require_measured(chosen: Sequence[str], known: Sequence[str]) -> None:
    for name in chosen:
        if name not in known:
            swallowed = "; records stand before --metrics, or after --" if os.path.lexists(name) else ""
            raise UsageError(f"--metrics {name}: no record has it; they have {', '.join(known)}{swallowed}")


def _require_free(targets: Sequence[Path], inputs: set[str], *, overwrite: bool, page: Path | None) -> None:
    """None is a record or another output, and none exists unless it may be replaced, as a page always may in part."""
    met: set[str] = set()
    for target in [*targets, *([page] if page else [])]:
        place = os.path.realpath(target)
        if place in inputs:
            raise UsageError(f"{target} is one of the records; choose another name")
        if place in met:
            raise UsageError(f"{target} is named for two outputs; give each its own")
        met.add(place)
        if target.exists() and not overwrite and target is not page:
            raise UsageError(f"{target} exists already; replace it with --overwrite, or choose another name")


def _paged(page: Path, records: "Sequence[Record]", paths: Sequence[Path], runs: Path | None) -> str:
    """The text of the page, with what stood outside its marks."""
    from deblur_cli.evaluation.results_page import results_page, with_page
    from deblur_cli.host.manager import Host

    if runs is not None and not runs.is_dir():
        raise UsageError(f"--runs {runs}: there is no such folder")
    try:
        before = page.read_text(encoding="utf-8") if page.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise PictureError(f"cannot read {page}, whose own text would be kept: {error}") from error
    host = Host.discover()
    command = [
        "deblur",
        "results",
        *map(str, paths),
        *(["--runs", str(runs)] if runs else []),
        "--page",
        str(page),
    ]
    made = results_page(
        records, models=host.models, metrics=host.metrics, runs=runs, command=shlex.join(command)
    )
    try:
        return with_page(before, made)
    except UsageError as error:
        raise UsageError(f"--page {page}: {error}") from error


def _write(target: Path | None, tables: "Sequence[Table]", form: "Callable[[Table], str]") -> None:
    from deblur_cli.pictures import atomic_write

    if target is None:
        return
    text = "\n".join(map(form, tables))
    if target == _STDOUT:
        console.result(text.rstrip("\n"))
        return
    with atomic_write(target) as part:
        part.write_text(text, encoding="utf-8")


def _draw(
    records: "Sequence[Record]",
    target: Path,
    chosen: Sequence[str],
    *,
    against: str,
    format: str,
    overwrite: bool,
) -> None:
    from deblur_cli.evaluation.score_plots import Cost, draw_scores
    from deblur_cli.evaluation.score_tables import measured
    from deblur_cli.evaluation.sigma_plots import draw_sigma
    from deblur_cli.host.manager import Host

    if against == _SIGMA:
        draw_sigma(records, target, format=format, overwrite=overwrite)
        return
    draw_scores(
        records,
        target,
        Host.discover().metrics,
        metric=measured(records, chosen)[0],
        against=Cost(against),
        format=format,
        overwrite=overwrite,
    )
