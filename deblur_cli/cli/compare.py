"""`deblur compare`: results side by side, as a picture or as a page to look at closely."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deblur_cli.cli.options import (
    Device,
    Dtype,
    Json,
    LpipsWeights,
    MaxMemory,
    MaxPixels,
    ModelNames,
    Overlap,
    Preset,
    Quiet,
    SelfEnsemble,
    Statistics,
    Strength,
    Tile,
    Verbose,
    was_typed,
)
from deblur_cli.errors import UsageError

if TYPE_CHECKING:
    from deblur_cli.cli.comparing import Input
    from deblur_cli.host.declarations import Metric
    from deblur_cli.host.manager import Host
    from deblur_cli.restore.restorer import Restorer

_WHAT, _OUTPUT = "What to compare", "Output"

_BEFORE = "pictures stand before an option that takes several words, such as --reference, or after --"


def compare(
    ctx: typer.Context,
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="IMAGE",
            help="With -m blurred pictures, which the models restore; without -m finished results of one picture.",
            show_default=False,
        ),
    ] = None,
    model: ModelNames = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            "--reference",
            metavar="SHARP...",
            help="The sharp pictures, shown and measured against: one for each picture, or a folder of files of the same names.",
            show_default=False,
            rich_help_panel=_WHAT,
        ),
    ] = None,
    blurred: Annotated[
        Path | None,
        typer.Option(
            "--blurred",
            metavar="FILE",
            help="The blurred picture of finished results.",
            show_default=False,
            rich_help_panel=_WHAT,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="NAME|PATH",
            help="Take the pairs of a data set instead of pictures.",
            show_default=False,
            rich_help_panel=_WHAT,
        ),
    ] = None,
    preset: Preset = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="NAME",
            help="Part of the data set. Default: val, else its last.",
            show_default=False,
            rich_help_panel=_WHAT,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            min=1,
            help="Only the first N pairs of --data. Default: all.",
            show_default=False,
            rich_help_panel=_WHAT,
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="NAME...",
            help="What to measure. Default: psnr ssim, where there is a reference.",
            show_default=False,
        ),
    ] = None,
    lpips_weights: LpipsWeights = None,
    roi: Annotated[
        list[str] | None,
        typer.Option(
            "--roi",
            metavar="X,Y,W,H...",
            help="Regions to enlarge, in pixels. Default: where the results differ most and, with a reference, where it differs most from the blurred picture.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="A page (.html) of all pictures; the sheet of a single one (.png); a FOLDER/ for a sheet each, NAME.compare.png. Default: NAME.compare.png beside each picture.",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    page_px: Annotated[
        int,
        typer.Option(
            "--page-px",
            metavar="N",
            min=16,
            max=16_383,
            help="Longest side of the pictures in a page, in pixels; larger ones are reduced there.",
            rich_help_panel=_OUTPUT,
        ),
    ] = 1600,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace outputs that exist.", rich_help_panel=_OUTPUT)
    ] = False,
    device: Device = "auto",
    dtype: Dtype = "float32",
    tile: Tile = "auto",
    overlap: Overlap = None,
    statistics: Statistics = "auto",
    max_memory: MaxMemory = None,
    strength: Strength = 1.0,
    self_ensemble: SelfEnsemble = False,
    max_pixels: MaxPixels = 500_000_000,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Show results side by side, with regions enlarged, or as one page with divider, zoom, flicker and difference.

    With -m each model restores each picture. Without -m the pictures are finished results of one and the same picture.
    Results are measured where the sharp picture is given. A page is one file that needs no network, worst picture first.
    A picture that fails does not stop the others: the exit code is 1 then.

    Examples:

        deblur compare photo.jpg -m rednet30 runs/first -o grid.png

        deblur compare a.png b.png -m rednet30 --reference sharp/ -o page.html

        deblur compare one.png other.png --reference sharp.png --roi 100,80,64,64
    """
    from deblur_cli.cli.comparing import (
        Finished,
        file_inputs,
        is_page,
        parse_regions,
        plan_targets,
        refuse_swallowed,
    )
    from deblur_cli.cli.showing import Showing, show_all, weights_note
    from deblur_cli.evaluation.measures import build_measures
    from deblur_cli.host.manager import Host
    from deblur_cli.pictures import require_folder, require_writable

    pictures, references = images or [], reference or []
    restores = data is not None or was_typed(ctx, "model")
    refuse_swallowed({"-m": model if restores else None, "--metrics": metrics, "--roi": roi})
    if data is None and (preset or split or limit):
        raise UsageError("--preset, --split and --limit choose pairs of --data; name the data set or folder")
    regions = parse_regions(roi or ())
    host = Host.discover()
    chosen = [host.metric(name) for name in dict.fromkeys(metrics or ("psnr", "ssim"))]
    if was_typed(ctx, "metrics") and data is None and not references:
        _refuse_without_reference(chosen)
    measures = build_measures(
        chosen, {} if lpips_weights is None else {"lpips": {"weights": str(lpips_weights)}}
    )
    inputs: Sequence[Input]
    about = ""
    if data is not None:
        if pictures or references:
            raise UsageError(
                "--data brings the pictures and their references; leave out those named beside it"
            )
        if output is None:
            raise UsageError("say where the pictures of --data are to be shown: -o page.html, or -o FOLDER/")
        inputs, about = _pairs(host, data, split=split, preset=preset, limit=limit)
    elif restores:
        if not pictures:
            raise UsageError(
                f"no picture is named: deblur compare IMAGE... -m MODEL, or --data NAME; {_BEFORE}"
            )
        inputs = file_inputs(pictures, references, max_pixels=max_pixels)
    else:
        pictures = list(dict.fromkeys(pictures))
        _refuse_single(pictures, references, blurred)
        inputs = [
            Finished(
                paths=tuple(pictures),
                blurred=blurred,
                sharp=references[0] if references else None,
                max_pixels=max_pixels,
            )
        ]
    if restores and blurred is not None:
        raise UsageError(
            "--blurred is for finished results; with -m the pictures themselves are the blurred ones"
        )
    targets = plan_targets(output, inputs, overwrite=overwrite)
    restorers: dict[str, Restorer] = {}
    notes: dict[str, str] = {}
    if restores:
        from deblur_cli.restore.restorer import load
        from deblur_cli.weights import resolve

        for spec in dict.fromkeys(model or (host.default_model(),)):
            source = resolve(host, spec)
            # two files of one name are told apart by their paths
            label = source.label if source.label not in restorers else f"{source.model.name} ({spec})"
            notes[label] = weights_note(source)
            restorers[label] = load(
                spec, device=device, dtype=dtype, tile=tile, overlap=overlap, statistics=statistics, max_memory=max_memory, strength=strength,
                self_ensemble=self_ensemble, host=host,
            )  # fmt: skip
    for target in dict.fromkeys(targets):
        require_folder(target.parent)
        require_writable(target)
    return show_all(
        inputs,
        restorers,
        Showing(
            measures=measures, regions=regions, targets=tuple(targets), as_page=is_page(output), page_px=page_px,
            overwrite=overwrite, json=json, about=about, notes=notes,
        ),
    )  # fmt: skip


def _pairs(
    host: "Host", data: str, *, split: str | None, preset: str | None, limit: int | None
) -> "tuple[Sequence[Input], str]":
    """The pairs of a data set as inputs, and what they are in one line."""
    from deblur_cli.blur.spec_file import spec_named
    from deblur_cli.cli.comparing import PairInput
    from deblur_cli.data import open_pairs
    from deblur_cli.data.sets import spec_of
    from deblur_cli.evaluation.opening import default_split, shown
    from deblur_cli.evaluation.protocols import Protocol, bind

    split = split or default_split(host, data)
    prepared = None if preset is None else spec_named(preset, host.degradations)
    pairs = open_pairs(host, data, split=split, preset=prepared)
    made_by = spec_of(pairs)
    protocol = Protocol(data=shown(host, data), split=split, preset="" if made_by is None else made_by.name)
    conditions = bind(protocol, pairs, spec=made_by, limit=limit)
    about = f"{conditions.title}: {conditions.about()}"
    return [PairInput(pair=pairs[index]) for index in range(conditions.pairs)], about


def _refuse_without_reference(metrics: "Sequence[Metric]") -> None:
    for metric in metrics:
        if metric.reference:
            raise UsageError(f"{metric.name} compares with the sharp picture; name it with --reference")


def _refuse_single(pictures: Sequence[Path], references: Sequence[Path], blurred: Path | None) -> None:
    """Finished results: enough of them, and one picture that all are of."""
    if not pictures:
        raise UsageError(
            f"no picture is named: deblur compare IMAGE... -m MODEL, or deblur compare RESULT... --reference SHARP; {_BEFORE}"
        )
    if len(references) > 1:
        raise UsageError(
            f"finished results are of one picture and have one reference, not {len(references)}; "
            "--reference takes all words that follow, so put the results before it, or after --"
        )
    if len(pictures) + len(references) + (blurred is not None) < 2:
        raise UsageError(
            f"there is nothing to compare {pictures[0]} with: restore it with -m MODEL, or name another result, "
            "its --reference or its --blurred"
        )
