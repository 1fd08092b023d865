"""`deblur make-dataset`: blurred and sharp pairs from sharp pictures."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deblur_cli.cli import console
from deblur_cli.cli.options import Json, Quiet, Seed, Verbose

_BLUR, _AFTER, _PATCHES = "Blur", "After the blur", "Pairs"

if TYPE_CHECKING:
    from deblur_cli.host.declarations import Degradation


class WorkingLight(StrEnum):
    """What the blur acts on."""

    AUTO = "auto"
    SRGB = "srgb"
    LINEAR = "linear"


def make_dataset(
    source: Annotated[
        Path, typer.Argument(help="Folder of sharp pictures (with its sub-folders), or one picture.")
    ],
    out: Annotated[Path, typer.Argument(help="New folder for the pairs.")],
    blur: Annotated[
        list[str],
        typer.Option(
            "--blur",
            metavar="NAME...",
            help="gaussian, camera-shake, identity, or one of a plugin; of several, one is drawn for each pair.",
            rich_help_panel=_BLUR,
        ),
    ] = ["gaussian"],  # noqa: B006  Typer copies it
    sigma: Annotated[
        tuple[float, float],
        typer.Option("--sigma", metavar="LO HI", help="Gaussian: range of sigma, px.", rich_help_panel=_BLUR),
    ] = (0.0, 3.0),
    rate: Annotated[
        tuple[float, float],
        typer.Option(
            "--rate",
            metavar="LO HI",
            help="Camera shake: range of the angular rate, deg/s.",
            rich_help_panel=_BLUR,
        ),
    ] = (1.0, 10.0),
    exposure: Annotated[
        tuple[float, float],
        typer.Option(
            "--exposure",
            metavar="LO HI",
            help="Camera shake: range of the exposure time, s.",
            show_default="1/30 1/3",
            rich_help_panel=_BLUR,
        ),
    ] = (1 / 30, 1 / 3),
    extent: Annotated[
        float,
        typer.Option(
            "--extent",
            metavar="PX",
            min=0,
            help="Camera shake: no corner of a picture moves further, px.",
            rich_help_panel=_BLUR,
        ),
    ] = 24.0,
    light: Annotated[
        WorkingLight,
        typer.Option(
            "--light",
            help="What the blur acts on: code values (srgb) or light (linear); auto: light for camera shake only.",
            rich_help_panel=_BLUR,
        ),
    ] = WorkingLight.AUTO,
    noise: Annotated[
        float,
        typer.Option(
            "--noise", metavar="P", min=0, max=1, help="Probability of sensor noise.", rich_help_panel=_AFTER
        ),
    ] = 0.0,
    gain: Annotated[
        tuple[float, float],
        typer.Option(
            "--gain",
            metavar="LO HI",
            help="Range of the noise's variance at white, where white is 1.",
            rich_help_panel=_AFTER,
        ),
    ] = (1e-4, 4e-3),
    jpeg: Annotated[
        tuple[int, int] | None,
        typer.Option(
            "--jpeg",
            metavar="LO HI",
            help="Compress as JPEG: range of the quality, 1 to 100. Default: no JPEG.",
            show_default=False,
            rich_help_panel=_AFTER,
        ),
    ] = None,
    jpeg_share: Annotated[
        float,
        typer.Option(
            "--jpeg-share",
            metavar="P",
            min=0,
            max=1,
            help="With --jpeg: probability of compression.",
            rich_help_panel=_AFTER,
        ),
    ] = 1.0,
    patch: Annotated[
        int | None,
        typer.Option(
            "--patch",
            metavar="N",
            min=1,
            help="Cut square patches of N px that see no border. Default: whole pictures.",
            show_default=False,
            rich_help_panel=_PATCHES,
        ),
    ] = None,
    patches: Annotated[
        int,
        typer.Option(
            "--patches",
            metavar="N",
            min=1,
            help="Patches of a picture in each draw.",
            rich_help_panel=_PATCHES,
        ),
    ] = 1,
    candidates: Annotated[
        int,
        typer.Option(
            "--candidates",
            metavar="N",
            min=1,
            help="Places tried for each patch; the one with most detail is taken.",
            rich_help_panel=_PATCHES,
        ),
    ] = 1,
    draws: Annotated[
        int,
        typer.Option(
            "--draws",
            metavar="N",
            min=1,
            help="How often each picture is blurred anew.",
            rich_help_panel=_PATCHES,
        ),
    ] = 1,
    seed: Seed = 0,
    workers: Annotated[
        int,
        typer.Option(
            "--workers", metavar="N", min=0, help="Processes; the pairs do not depend on it. 0: this one."
        ),
    ] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove the pairs of an earlier run from OUT first.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make pairs of blurred and sharp pictures.

    Writes OUT/blur, OUT/sharp and OUT/meta.jsonl, which records everything drawn. Equal seeds give equal pairs.

      deblur make-dataset photos/ pairs/ --blur gaussian --sigma 0 3

      deblur make-dataset photos/ pairs/ --blur camera-shake gaussian --noise 0.8 --jpeg 60 98 --patch 160 --patches 4
    """
    from deblur_cli.blur.light import Light
    from deblur_cli.data.files import find_pictures
    from deblur_cli.data.making import make_dataset as make
    from deblur_cli.data.synthesis import Degrade
    from deblur_cli.errors import UsageError

    if jpeg is None and jpeg_share != 1:
        raise UsageError("--jpeg-share needs --jpeg with the range of the quality, such as --jpeg 60 98")
    blurs, others = _resolve(blur)
    degrade = Degrade(
        blurs=blurs, others=others,
        light=None if light is WorkingLight.AUTO else Light(light.value),
        sigma=sigma, rate_dps=rate, exposure_s=exposure, max_extent_px=extent,
        noise=noise, gain=gain, jpeg=jpeg_share if jpeg else 0.0, quality=jpeg or (60, 98),
        patch=patch, candidates=candidates, seed=seed,
    )  # fmt: skip
    with console.progress("making pairs", len(find_pictures(source))) as advance:
        made = make(
            source, out, degrade, draws=draws, patches=patches, workers=workers, overwrite=overwrite,
            progress=lambda done, total: advance(1),
        )  # fmt: skip
    for name, reason in made.skipped.items():
        console.warn(f"left out {name}: {reason}")
    if json:
        console.json_line(
            {
                "folder": made.folder,
                "pairs": made.num_pairs,
                "sources": made.num_sources,
                "skipped": made.skipped,
                "psnr_db": made.psnr_db,
            }
        )
        return
    mean = (
        "all pairs identical"
        if made.psnr_db is None
        else f"blurred against sharp {made.psnr_db:.2f} dB in the mean"
    )
    console.result(f"{made.folder}: {made.num_pairs} pairs of {made.num_sources} pictures, {mean}")


def _resolve(names: list[str]) -> tuple[tuple[str, ...], tuple["Degradation", ...]]:
    """The blurs by their own names, each once, and the declarations of those that plugins bring."""
    from deblur_cli.blur import DEGRADATIONS
    from deblur_cli.data.synthesis import BLURS
    from deblur_cli.errors import UsageError
    from deblur_cli.host.manager import Host

    blurs: list[str] = []
    others: list[Degradation] = []
    host: Host | None = None
    for given in dict.fromkeys(names):
        name = given.replace("-", "_")
        if name not in BLURS:
            if any(name == item.name for item in DEGRADATIONS):
                raise UsageError(f"{given} comes after the blur; ask for it with --{given}")
            host = host or Host.discover()
            others.append(host.degradation(given))
            name = others[-1].name
        blurs.append(name)
    return tuple(dict.fromkeys(blurs)), tuple(others)
