"""`deblur curves`: losses, scores and learning rates of one or several runs in one picture."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deblur_cli.cli import console
from deblur_cli.cli.options import Json, Quiet, Verbose
from deblur_cli.errors import UsageError

if TYPE_CHECKING:
    from deblur_cli.training.showing.plots import Run


def curves(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="Where the picture goes: .png, .svg or .pdf."),
    ] = Path("curves.png"),
    by: Annotated[
        str, typer.Option("--by", metavar="epoch|step|minutes", help="What runs from left to right.")
    ] = "epoch",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Draw the curves of one or several trainings, finished or not, in one picture.

    Loss, PSNR, SSIM and learning rate; of a single run the components of its loss, too.
    Dashed lines mark each run's best validation loss and the score of the blurred input.

    Examples:

        deblur curves runs/first

        deblur curves runs/* --by minutes -o compared.svg
    """
    from deblur_cli.pictures.plotting import FORMATS
    from deblur_cli.training.recording.metrics_file import best_of, read_caption, read_metrics
    from deblur_cli.training.showing.plots import Axis, Run, draw_curves

    if by not in tuple(Axis):
        raise UsageError(f"--by {by}: choose one of {', '.join(Axis)}")
    format = output.suffix.lower().removeprefix(".")
    if format not in FORMATS:
        raise UsageError(f"-o {output}: the name must end in {' or '.join(f'.{name}' for name in FORMATS)}")
    if output.exists() and not overwrite:
        raise UsageError(
            f"{output} exists already; replace it with --overwrite, or choose another name with -o"
        )
    folders = list({os.path.realpath(run): run for run in runs}.values())
    found = [
        Run(name=name, rows=read_metrics(folder), about=read_caption(folder))
        for folder, name in zip(folders, _names(folders), strict=True)
    ]
    draw_curves(found, output, by=Axis(by), format=format, overwrite=overwrite)
    if json:
        described = [
            {"run": folder, "validations": len(run.rows), "last": run.rows[-1], "best": best_of(run.rows)}
            for folder, run in zip(folders, found, strict=True)
        ]
        console.json_line({"output": output, "runs": described})
    else:
        _print_best(found)
        console.result(str(output))


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, each with as many of its parents as tell it from the others."""
    parts = [Path(os.path.realpath(folder)).parts for folder in folders]
    names = []
    for own in parts:
        depth = 1
        while sum(other[-depth:] == own[-depth:] for other in parts) > 1:
            depth += 1
        names.append("/".join(own[-depth:]))
    return names


def _print_best(runs: "Sequence[Run]") -> None:
    from deblur_cli.training.recording.metrics_file import best_of

    rows = []
    for run in runs:
        best = best_of(run.rows)
        cells = (
            [""] * 5
            if best is None
            else [
                f"{best['epoch']:g}",
                f"{best['step']:g}",
                f"{best['val_loss']:.6g}",
                f"{best['psnr']:.3f}",
                f"{best['ssim']:.4f}",
            ]
        )
        rows.append([run.name, f"{run.rows[-1]['step']:g}", *cells])
    console.table(("RUN", "STEPS", "BEST EPOCH", "AT STEP", "LOSS", "PSNR", "SSIM"), rows)
