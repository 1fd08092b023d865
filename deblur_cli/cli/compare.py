"""`deblur compare`: the results of several models for one picture, side by side."""

from collections.abc import Mapping, Sequence
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
    ModelNames,
    Overlap,
    Quiet,
    Statistics,
    Strength,
    Tile,
    Verbose,
)
from deblur_cli.errors import UsageError

if TYPE_CHECKING:
    from deblur_cli.evaluation.compare import Comparison
    from deblur_cli.pictures.regions import Region


def compare(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The blurred picture.", show_default=False)],
    model: ModelNames = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            metavar="SHARP",
            help="The sharp picture: shown and measured against.",
            show_default=False,
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="NAME...",
            help="What to measure with --reference. Default: psnr ssim.",
            show_default=False,
        ),
    ] = None,
    roi: Annotated[
        list[str] | None,
        typer.Option(
            "--roi",
            metavar="X,Y,W,H...",
            help="Regions to enlarge, in pixels. Default: two where the results differ most.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where the grid goes. Default: NAME.compare.png beside the picture.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
    device: Device = "auto",
    dtype: Dtype = "float32",
    tile: Tile = "auto",
    overlap: Overlap = None,
    statistics: Statistics = "auto",
    max_memory: MaxMemory = None,
    strength: Strength = 1.0,
    max_pixels: MaxPixels = 500_000_000,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show the results of models for one picture side by side, with regions enlarged.

    With the sharp picture given, it is shown too, and each result is measured against it.

    Examples:

        deblur compare photo.jpg -m rednet30 runs/first -o grid.png

        deblur compare blurred.png -m rednet30 --reference sharp.png --roi 100,80,64,64
    """
    import numpy as np

    from deblur_cli.evaluation.compare import compare_results, differing_regions, draw
    from deblur_cli.host.manager import Host
    from deblur_cli.pictures import Origin, Picture, read_picture, write_picture
    from deblur_cli.restore.restorer import load
    from deblur_cli.weights import resolve

    regions = parse_regions(roi or ())
    host = Host.discover()
    chosen = [host.metric(name) for name in dict.fromkeys(metrics or ("psnr", "ssim"))]
    picture = read_picture(image, max_pixels=max_pixels)
    sharp = None if reference is None else read_picture(reference, max_pixels=max_pixels)
    target = _target(output, image=image, reference=reference, overwrite=overwrite)
    restorers = {
        resolve(host, spec).label: load(
            spec, device=device, dtype=dtype, tile=tile, overlap=overlap, statistics=statistics, max_memory=max_memory, strength=strength, host=host
        )
        for spec in dict.fromkeys(model or (host.default_model(),))
    }  # fmt: skip
    with console.progress(f"restoring {image.name}", len(restorers)) as advance:
        comparison = compare_results(
            restorers,
            picture.pixels,
            sharp=None if sharp is None else sharp.pixels,
            metrics=chosen,
            progress=advance,
        )
    shown = regions or differing_regions(comparison)
    origin = Origin(
        icc=picture.origin.icc if picture.pixels.shape[2] == 3 else None
    )  # a grey profile fits no RGB grid
    write_picture(Picture(pixels=draw(comparison, shown), origin=origin), target, overwrite=overwrite)
    if json:
        console.json_line(_as_json(comparison, image=image, output=target, regions=shown))
    else:
        _print_scores(comparison, dtypes={restorer.dtype_for(np.float32) for restorer in restorers.values()})
        console.result(str(target))


def parse_regions(words: Sequence[str]) -> "tuple[Region, ...]":
    """Regions from X,Y,W,H each; the commas may have been taken apart already.

    Raises UsageError unless the numbers come in fours, none negative and no side zero.
    """
    from deblur_cli.pictures.regions import Region

    text = ",".join(words)
    numbers = text.split(",") if text else []
    if len(numbers) % 4 or not all(number.strip().isdecimal() for number in numbers):
        raise UsageError(
            f"--roi {text}: give X,Y,W,H in pixels, four whole numbers a region, such as 100,80,64,64"
        )
    values = [int(number) for number in numbers]
    regions = tuple(Region(*values[start : start + 4]) for start in range(0, len(values), 4))
    for region in regions:
        if not (region.width and region.height):
            raise UsageError(f"--roi {','.join(map(str, region))}: width and height must be at least 1 pixel")
    return regions


def _target(output: Path | None, *, image: Path, reference: Path | None, overwrite: bool) -> Path:
    """Where the grid goes; what stands against it is found out before anything is restored."""
    from deblur_cli.pictures import refuse_input_as_output

    target = output or image.with_name(f"{image.stem}.compare.png")
    for source in (image, reference):
        if source is not None:
            refuse_input_as_output(source, target)
    if target.exists() and not overwrite:
        raise UsageError(
            f"{target} exists already; replace it with --overwrite, or choose another name with -o"
        )
    return target


def _print_scores(comparison: "Comparison", *, dtypes: set[str]) -> None:
    from deblur_cli.evaluation.tables import format_value, metric_title

    if comparison.sharp is None:
        return
    rows = [
        [shown.label, *(format_value(metric, shown.scores[metric.name]) for metric in comparison.metrics)]
        for shown in (comparison.blurry, *comparison.restored)
    ]
    console.table(["model", *(metric_title(metric) for metric in comparison.metrics)], rows)
    console.result(
        f"scores: whole picture, every channel alike, clipped to [0, 1], before rounding to 8 bit; {', '.join(sorted(dtypes))}"
    )


def _as_json(
    comparison: "Comparison", *, image: Path, output: Path, regions: "Sequence[Region]"
) -> Mapping[str, object]:
    return {
        "image": image,
        "output": output,
        "blurry": comparison.blurry.scores,
        "restored": [{"model": shown.label, "scores": shown.scores} for shown in comparison.restored],
        "regions": [list(region) for region in regions],
    }
