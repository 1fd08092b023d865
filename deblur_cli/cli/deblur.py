"""`deblur IMAGE...`: restore pictures."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deblur_cli.cli import console
from deblur_cli.cli.options import (
    Device,
    Dtype,
    Json,
    MaxMemory,
    MaxPixels,
    ModelName,
    Overlap,
    Quiet,
    SelfEnsemble,
    Statistics,
    Strength,
    Tile,
    Verbose,
    WeightsFile,
    chosen_model,
)
from deblur_cli.errors import DeblurError, UsageError

if TYPE_CHECKING:
    from deblur_cli.cli.outputs import Input

_FILES, _WHICH = "Output", "Which pictures"


def deblur(
    ctx: typer.Context,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE",
            help="Pictures, folders, patterns such as 'trip/*.jpg', or - for stdin.",
            show_default=False,
        ),
    ],
    model: ModelName = None,
    weights: WeightsFile = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="A file, a FOLDER/, or - for stdout. Default: NAME.deblurred.EXT beside each picture.",
            show_default=False,
            rich_help_panel=_FILES,
        ),
    ] = None,
    suffix: Annotated[
        str | None,
        typer.Option(
            "--suffix",
            metavar="S",
            help="Put before the extension. Default: .deblurred, none in a folder of -o.",
            show_default=False,
            rich_help_panel=_FILES,
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="F",
            help="png, jpg, tiff, webp or bmp. Default: as the input.",
            show_default=False,
            rich_help_panel=_FILES,
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            "--quality",
            metavar="N",
            min=1,
            max=100,
            help="Quality of JPEG and WebP. Default: near the input's.",
            show_default=False,
            rich_help_panel=_FILES,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace outputs that exist.", rich_help_panel=_FILES)
    ] = False,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing", help="Leave out pictures whose output exists.", rich_help_panel=_FILES
        ),
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Write a result even if the guard finds it damaged.", rich_help_panel=_FILES
        ),
    ] = False,
    recursive: Annotated[
        bool,
        typer.Option(
            "--recursive", "-r", help="Look into the folders of a folder too.", rich_help_panel=_WHICH
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Only the I-th of N parts of the list, for array jobs.",
            show_default=False,
            rich_help_panel=_WHICH,
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            "--region",
            metavar="X,Y,W,H",
            help="Restore and write this rectangle only, in pixels.",
            show_default=False,
            rich_help_panel=_WHICH,
        ),
    ] = None,
    max_pixels: MaxPixels = 500_000_000,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be done, and do nothing.", rich_help_panel=_WHICH),
    ] = False,
    strength: Strength = 1.0,
    self_ensemble: SelfEnsemble = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    tile: Tile = "auto",
    overlap: Overlap = None,
    statistics: Statistics = "auto",
    max_memory: MaxMemory = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Restore pictures: `deblur IMAGE...`, or in full `deblur deblur IMAGE...`.

    Orientation, colour profile, EXIF, bit depth and alpha are kept; an input is never changed.
    A picture that fails does not stop the others: the exit code is 1 then.

    Examples:

        deblur photo.jpg -m rednet30 --strength 0.8

        deblur holiday/ --recursive -o restored/ --skip-existing
    """
    from deblur_cli.cli.outputs import Naming, parse_shard, plan_jobs
    from deblur_cli.cli.report import Report
    from deblur_cli.cli.restoring import Existing, Settings, restore_all, settle

    if overwrite and skip_existing:
        raise UsageError("--overwrite and --skip-existing exclude each other")
    settings = Settings(
        format=format, quality=quality, max_pixels=max_pixels, force=force, region=_region(region),
        existing=Existing.OVERWRITE if overwrite else Existing.SKIP if skip_existing else Existing.REFUSE,
    )  # fmt: skip
    inputs, unusable = _find_inputs(
        images, recursive=recursive, leave_out=(suffix or ".deblurred") if output is None else None
    )
    jobs, left_out = plan_jobs(inputs, Naming(output=output, suffix=suffix, format=format))
    if left_out:
        console.note(f"left out as results of other inputs: {', '.join(item.name for item in left_out)}")
    if shard is not None:
        part, parts = parse_shard(shard)
        jobs, unusable = jobs[part - 1 :: parts], unusable[part - 1 :: parts]
    streams = any(job.target is None for job in jobs)
    if streams and not dry_run:
        _refuse_stdout(json=json)
    report = Report(json=json, silent=quiet or (streams and not dry_run))
    for name, error in unusable:
        report.unusable(name, error)
    todo = [job for job in jobs if not settle(job, settings, report)]
    if not todo:
        return report.finish()
    from deblur_cli.host.manager import Host
    from deblur_cli.restore.restorer import load
    from deblur_cli.weights import resolve

    host = Host.discover()
    spec = chosen_model(ctx, model, weights)
    spec = host.default_model() if spec is None else spec
    restorer = load(
        spec, weights=weights, device=device, dtype=dtype, tile=tile, overlap=overlap, statistics=statistics, max_memory=max_memory,
        strength=strength, self_ensemble=self_ensemble, host=host,
    )  # fmt: skip
    if dry_run:
        for job in todo:
            report.planned(job, model=restorer.label)
    else:
        restore_all(todo, restorer, resolve(host, spec, weights=weights), settings, report)
    return report.finish()


def _find_inputs(
    images: Sequence[str], *, recursive: bool, leave_out: str | None
) -> "tuple[list[Input], list[tuple[str, DeblurError]]]":
    """The pictures that the arguments stand for, and the arguments that stand for none, with the reason."""
    from deblur_cli.cli.outputs import Input
    from deblur_cli.pictures import list_pictures

    found: list[Input] = []
    unusable: list[tuple[str, DeblurError]] = []
    for word in images:
        try:
            listed = list_pictures([word], recursive=recursive, leave_out=leave_out)
        except DeblurError as error:
            unusable.append((word, error))
            continue
        found += [
            Input(
                path=None if item.is_stream else item.path,
                relative=item.relative,
                named=item.path == Path(word),
            )
            for item in listed
        ]
    return found, unusable


def _refuse_stdout(*, json: bool) -> None:
    if json:
        raise UsageError(
            "--json and a picture cannot both go to stdout; write the picture to a file with -o FILE"
        )
    if sys.stdout is None:
        raise UsageError("stdout is closed and cannot take a picture; redirect it, or give -o FILE")
    if sys.stdout.isatty():
        raise UsageError("a picture will not be written to the terminal; redirect stdout, or give -o FILE")


def _region(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    from deblur_cli.restore.planning import parse_region

    return parse_region(text)
