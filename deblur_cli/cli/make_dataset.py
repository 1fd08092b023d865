"""`deblur make-dataset`: blurred and sharp pairs from sharp pictures, CIFAR-10, videos or ready pairs."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deblur_cli.cli import console, dataset_looks
from deblur_cli.cli.options import Json, Quiet, Verbose

if TYPE_CHECKING:
    from deblur_cli.blur.spec import Spec
    from deblur_cli.data.items import Source
    from deblur_cli.data.ledger import Totals
    from deblur_cli.host.manager import Host

_WHAT, _HOW_MANY, _WORK, _LOOK = "What is made", "How many, and how large", "How the work goes", "Look"


def make_dataset(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of sharp pictures or of frames, one picture, a video, CIFAR-10, GoPro or REDS, or the name of a data set.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Argument(help="New folder for the pairs.", show_default=False)] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="How pairs are made: see --list-presets.",
            rich_help_panel=_WHAT,
            show_default=False,
        ),
    ] = None,
    spec: Annotated[
        Path | None,
        typer.Option(
            "--spec",
            metavar="FILE",
            help="A spec of your own, TOML; begin with --show-preset.",
            rich_help_panel=_WHAT,
            show_default=False,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE...",
            help="Change single values, such as step.0.sigma=2, patch=[128,128] or border=crop-valid.",
            rich_help_panel=_WHAT,
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="N",
            min=0,
            max=2**63 - 1,
            help="Seed of all draws. Default: the preset's.",
            rich_help_panel=_WHAT,
            show_default=False,
        ),
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option(
            "--pairs",
            metavar="N",
            min=1,
            help="Pairs of each picture: patches where there are patches, else draws. Default: the preset's.",
            rich_help_panel=_HOW_MANY,
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="WxH",
            help="Resize every picture first.",
            rich_help_panel=_HOW_MANY,
            show_default=False,
        ),
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(
            "--grid",
            metavar="CxR",
            help="Cut pairs into C x R equal tiles, such as 4x3.",
            rich_help_panel=_HOW_MANY,
            show_default=False,
        ),
    ] = None,
    patch: Annotated[
        str | None,
        typer.Option(
            "--patch",
            metavar="N|WxH|none",
            help="Cut patches of this size, px; none: whole pictures.",
            rich_help_panel=_HOW_MANY,
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            "--split",
            metavar="SHARES...",
            help="Parts for train/val/test, such as 80/10/10; and `folder`, to keep folders (clips, scenes) whole.",
            rich_help_panel=_HOW_MANY,
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            metavar="N",
            min=0,
            help="Processes; the pairs do not depend on it. 0: this one.",
            rich_help_panel=_WORK,
        ),
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run in OUT.", rich_help_panel=_WORK)
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Remove the pairs of an earlier run from OUT first.", rich_help_panel=_WORK
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be made, and make nothing.", rich_help_panel=_WORK),
    ] = False,
    verify: Annotated[
        Path | None,
        typer.Option(
            "--verify",
            metavar="OUT",
            help="Make pairs of OUT again from their records and compare every bit.",
            rich_help_panel=_LOOK,
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="NAME...",
            help="With --verify: these pairs.",
            rich_help_panel=_LOOK,
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        int,
        typer.Option(
            "--sample",
            metavar="N",
            min=0,
            help="With --verify: so many pairs, evenly spread; 0: all.",
            rich_help_panel=_LOOK,
        ),
    ] = 100,
    mend: Annotated[
        bool,
        typer.Option(
            "--mend", help="With --verify: write missing and damaged files again.", rich_help_panel=_LOOK
        ),
    ] = False,
    show: Annotated[
        int,
        typer.Option(
            "--show",
            metavar="K",
            min=0,
            help="Draw K pairs with their kernels as OUT/contact-sheet.png; alone with OUT of an earlier run.",
            rich_help_panel=_LOOK,
        ),
    ] = 0,
    strip: Annotated[
        Path | None,
        typer.Option(
            "--strip",
            metavar="FILE",
            help="Draw the first picture of SOURCE blurred more and more.",
            rich_help_panel=_LOOK,
            show_default=False,
        ),
    ] = None,
    list_presets: Annotated[
        bool, typer.Option("--list-presets", help="List the presets.", rich_help_panel=_LOOK)
    ] = False,
    show_preset: Annotated[
        str | None,
        typer.Option(
            "--show-preset",
            metavar="NAME",
            help="Print a preset, to begin a spec with.",
            rich_help_panel=_LOOK,
            show_default=False,
        ),
    ] = None,
    describe: Annotated[
        str | None,
        typer.Option(
            "--describe",
            metavar="OPERATION",
            help="Print what an operation takes: keys, units, ranges, defaults.",
            rich_help_panel=_LOOK,
            show_default=False,
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Make pairs of blurred and sharp pictures.

    Writes OUT/blur, OUT/sharp, OUT/splits and OUT/meta.jsonl, which records everything drawn: from it any pair can be made
    again bit for bit.

      deblur make-dataset photos/ pairs/ --preset photo-mix --workers 2 --show 8

      deblur make-dataset photos/ pairs/ --preset gaussian --set step.0.sigma=2 --split 80/10/10
    """
    from deblur_cli.data.sources import open_source
    from deblur_cli.errors import UsageError
    from deblur_cli.host.manager import Host

    host = Host.discover()
    if list_presets:
        return dataset_looks.list_presets(host, json=json)
    if show_preset is not None:
        return dataset_looks.show_preset(show_preset)
    if describe is not None:
        return dataset_looks.describe(host, describe, json=json)
    if verify is None and (only or mend):
        raise UsageError(f"{'--only' if only else '--mend'} is for making pairs again: add --verify OUT")
    if verify is not None:
        _refuse_making(preset, spec, set_, out)
        return dataset_looks.verify(
            host, verify, source=source, only=only or [], sample=sample, mend=mend, json=json
        )
    if strip is not None:
        return dataset_looks.strip(host, _required(source, "SOURCE"), strip, overwrite=overwrite)
    if show and preset is None and spec is None and out is None:
        return dataset_looks.sheet(host, _required(source, "OUT"), show)
    changes = _changes(seed=seed, size=size, grid=grid, patch=patch, split=split or [])
    made_by = _spec(host, preset, spec, [*(set_ or []), *changes], pairs=pairs)
    found = open_source(_required(source, "SOURCE"), made_by, host)
    if dry_run:
        return _say_plan(found, made_by, host, json=json)
    target = _required(out, "OUT")
    if resume and overwrite:
        raise UsageError("--resume keeps what --overwrite removes; give one of them")
    totals = _make(host, found, target, made_by, workers=workers, overwrite=overwrite, resume=resume)
    if show:
        dataset_looks.sheet(host, target, show)
    _say_made(target, totals, json=json)
    return 1 if totals.left_out else 0


def _refuse_making(
    preset: str | None, spec: Path | None, changes: list[str] | None, out: Path | None
) -> None:
    """Records say all that --verify needs; what would make new pairs is not silently left aside."""
    from deblur_cli.errors import UsageError

    given = {"--preset": preset, "--spec": spec, "--set": changes, f"a second folder, {out},": out}
    for name, value in given.items():
        if value:
            raise UsageError(
                f"--verify makes pairs again from their records, so {name} has no place beside it; leave it out"
            )


def _required(path: Path | None, name: str) -> Path:
    from deblur_cli.errors import UsageError

    if path is None:
        raise UsageError(f"{name} is missing: deblur make-dataset SOURCE OUT --preset NAME")
    return path


def _changes(
    *, seed: int | None, size: str | None, grid: str | None, patch: str | None, split: list[str]
) -> list[str]:
    """Options as changes of the spec; they come after --set, so that they count."""
    from deblur_cli.errors import UsageError

    changes = []
    if seed is not None:
        changes.append(f"seed={seed}")
    if size is not None:
        width, height = _two(size, "--size")
        changes += ["resize.scale=none", f"resize.size=[{width},{height}]"]
    if grid is not None:
        columns, rows = _two(grid, "--grid", form="CxR, such as 4x3")
        changes.append(f"grid=[{rows},{columns}]")
    if patch is not None:
        width, height = (0, 0)
        if patch != "none":
            width, height = _two(
                patch, "--patch", form="N or WxH, such as 128 or 128x96; or none", square=True
            )
        changes.append(f"patch=[{height},{width}]" if patch != "none" else "patch=none")
    for word in split:
        if word in ("folder", "file"):
            changes.append(f'output.group="{word}"')
            continue
        try:
            shares = [float(share) for share in word.split("/")]
        except ValueError:
            shares = []
        if len(shares) not in (2, 3) or min(shares) < 0 or not 0 < sum(shares) < math.inf:
            raise UsageError(f"--split {word}: write shares of train/val/test such as 80/10/10, or folder")
        names = ("train", "val", "test")
        parts = ", ".join(
            f"{name} = {share / sum(shares)!r}" for name, share in zip(names, shares, strict=False)
        )
        changes.append(f"output.splits={{ {parts} }}")
    return changes


def _two(
    text: str, option: str, *, form: str = "WxH, such as 512x288", square: bool = False
) -> tuple[int, int]:
    """WxH as two positive integers."""
    from deblur_cli.errors import UsageError

    numbers = text.lower().split("x")
    if square and len(numbers) == 1:
        numbers *= 2
    if len(numbers) != 2 or not all(number.isdecimal() and int(number) > 0 for number in numbers):
        raise UsageError(f"{option} {text}: write it as {form}")
    return int(numbers[0]), int(numbers[1])


def _spec(
    host: "Host", preset: str | None, file: Path | None, changes: list[str], *, pairs: int | None
) -> "Spec":
    from deblur_cli.blur.spec_file import preset as preset_named
    from deblur_cli.blur.spec_file import preset_names, read_spec
    from deblur_cli.errors import UsageError

    if (preset is None) == (file is None):
        raise UsageError(
            "say how pairs are made, with either --preset or --spec FILE; presets: "
            + ", ".join(preset_names())
        )

    def read(overrides: list[str]) -> "Spec":
        if file is not None:
            return read_spec(file, host.degradations, overrides=overrides)
        assert preset is not None
        return preset_named(preset, host.degradations, overrides=overrides)

    spec = read(changes)
    if pairs is None:
        return spec
    return read([*changes, f"{'draws' if spec.patch is None else 'patches'}={pairs}"])


def _say_plan(source: "Source", spec: "Spec", host: "Host", *, json: bool) -> int:
    from deblur_cli.blur.spec import margin
    from deblur_cli.data.framing import smallest

    tiles = spec.grid[0] * spec.grid[1] if spec.grid else 1
    count = len(source) * spec.draws * spec.patches * tiles
    height, width = smallest(spec, host.degradations)
    edge = margin(spec, host.degradations)
    if json:
        console.json_line(
            {
                "preset": spec.name,
                "items": len(source),
                "pairs": count,
                "margin": edge,
                "smallest": [width, height],
            }
        )
        return 0
    kind = "whole pictures" if spec.patch is None else f"patches of {spec.patch[1]}x{spec.patch[0]}"
    console.result(
        f"{spec.name}: at most {count} pairs of {len(source)} items, {kind}, margin {edge} px, seed {spec.seed}"
    )
    console.result(f"pictures smaller than {width}x{height} would be left out; nothing was made")
    return 0


def _make(
    host: "Host", source: "Source", out: Path, spec: "Spec", *, workers: int, overwrite: bool, resume: bool
) -> "Totals":
    from deblur_cli.data.making import make_dataset as make

    with console.steps("making pairs") as report:
        return make(
            source, out, spec, host.degradations, workers=workers, overwrite=overwrite, resume=resume,
            progress=report, warn=console.warn,
        )  # fmt: skip


def _say_made(out: Path, totals: "Totals", *, json: bool) -> None:
    for name, reason in totals.left_out.items():
        console.warn(f"left out {name}: {reason}")
    for reason, count in totals.refused.items():
        console.note(f"{count} windows of frames left out: {reason}")
    identical = totals.pairs - totals.finite
    if json:
        console.json_line(
            {
                "folder": out, "pairs": totals.pairs, "sources": totals.sources, "splits": dict(totals.splits),
                "identical": identical, "psnr_db": totals.psnr_db, "skipped": totals.left_out,
                "refused": dict(totals.refused),
            }
        )  # fmt: skip
        return
    mean = "" if totals.psnr_db is None else f", blurred against sharp {totals.psnr_db:.2f} dB in the mean"
    same = f", {identical} identical" if identical else ""
    console.result(f"{out}: {totals.pairs} pairs of {totals.sources} pictures{mean}{same}")
