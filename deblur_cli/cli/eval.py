"""`deblur eval`: measure models over pairs of blurred and sharp pictures."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deblur_cli.cli import console
from deblur_cli.cli.errors import Terminated
from deblur_cli.cli.eval_output import Outputs, report_failures
from deblur_cli.cli.options import (
    Device,
    Dtype,
    Json,
    LpipsWeights,
    MaxMemory,
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
    from deblur_cli.evaluation.protocols import Protocol
    from deblur_cli.evaluation.session import Task
    from deblur_cli.host.manager import Host

_PROTOCOLS, _CHOICES, _OUTPUT, _WORK = (
    "What is measured",
    "Choices of your own",
    "Output",
    "How the work goes",
)
_FIXED = ("split", "preset", "border", "rounding", "quantise", "psnr_cap")


def eval(
    ctx: typer.Context,
    model: ModelNames = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol",
            metavar="NAME...",
            help="Named sets of all choices; --list-protocols shows them. --data may say where the pictures are.",
            show_default=False,
            rich_help_panel=_PROTOCOLS,
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="NAME|PATH...",
            help="Data sets, or folders of pairs or of sharp pictures. Default: sample.",
            show_default=False,
            rich_help_panel=_PROTOCOLS,
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="NAME...",
            help="What to measure. Default: the protocol's, else psnr ssim.",
            show_default=False,
            rich_help_panel=_PROTOCOLS,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            min=1,
            help="Only the first N pairs. Default: all.",
            show_default=False,
            rich_help_panel=_PROTOCOLS,
        ),
    ] = None,
    lpips_weights: LpipsWeights = None,
    list_protocols: Annotated[
        bool,
        typer.Option("--list-protocols", help="Show the protocols, and stop.", rich_help_panel=_PROTOCOLS),
    ] = False,
    preset: Preset = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="NAME",
            help="Part of the data set. Default: val, else its last.",
            show_default=False,
            rich_help_panel=_CHOICES,
        ),
    ] = None,
    border: Annotated[
        int,
        typer.Option(
            "--border",
            metavar="N",
            min=0,
            help="Pixels cut off each edge before measuring.",
            rich_help_panel=_CHOICES,
        ),
    ] = 0,
    rounding: Annotated[
        str,
        typer.Option(
            "--rounding",
            metavar="none|nearest|down",
            help="Whether results are rounded to 8 bit before measuring.",
            rich_help_panel=_CHOICES,
        ),
    ] = "none",
    quantise: Annotated[
        bool, typer.Option("--quantise", help="The same as --rounding nearest.", rich_help_panel=_CHOICES)
    ] = False,
    psnr_cap: Annotated[
        float | None,
        typer.Option(
            "--psnr-cap",
            metavar="DB",
            min=0,
            help="Count identical pictures with this PSNR, in dB. Default: they are left out of the mean and counted.",
            show_default=False,
            rich_help_panel=_CHOICES,
        ),
    ] = None,
    csv: Annotated[
        str | None,
        typer.Option(
            "--csv",
            metavar="FILE",
            help="Write the scores, a line a model and data set; - for stdout.",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    markdown: Annotated[
        str | None,
        typer.Option(
            "--markdown",
            metavar="FILE",
            help="Write the tables as Markdown; - for stdout.",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    latex: Annotated[
        str | None,
        typer.Option(
            "--latex",
            metavar="FILE",
            help="Write the tables as LaTeX (booktabs); - for stdout.",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    per_image: Annotated[
        Path | None,
        typer.Option(
            "--per-image",
            metavar="FILE",
            help="Write the scores of every picture: .jsonl (a line a picture) or .csv.",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record",
            metavar="FOLDER",
            help="Keep a record of each model and protocol, for deblur results.",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    json: Json = False,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            metavar="N",
            min=0,
            max=64,
            help="Threads that measure beside the network; scores do not depend on it. 0: in turns with it.",
            rich_help_panel=_WORK,
        ),
    ] = 1,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Begin anew, whatever an interrupted evaluation has left.", rich_help_panel=_WORK
        ),
    ] = False,
    device: Device = "auto",
    dtype: Dtype = "float32",
    tile: Tile = "auto",
    overlap: Overlap = None,
    statistics: Statistics = "auto",
    max_memory: MaxMemory = None,
    strength: Strength = 1.0,
    self_ensemble: SelfEnsemble = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Measure models on pairs of blurred and sharp pictures.

    The scores of the blurred input stand beside those of each model, with what they were measured on and how: a
    protocol has a name and a hash, and scores compare only where the hash is the same. What a report prints of a
    network stands in its row. A pair that fails does not stop the others: the exit code is 1 then. The same command goes
    on where an interrupted one stopped.

    Examples:

        deblur eval --protocol gopro-full -m rednet30 verysimple_deblurgan

        deblur eval -m rednet30 runs/first --data gopro reds --metrics psnr ssim --per-image scores.jsonl
    """
    from deblur_cli.evaluation.protocols import Rounding
    from deblur_cli.evaluation.session import Contender, Measured, measure, open_task, told_apart
    from deblur_cli.host.folders import cache_folder
    from deblur_cli.host.manager import Host
    from deblur_cli.restore.restorer import load
    from deblur_cli.weights import resolve

    if list_protocols:
        _show_protocols(json=json)
        return 0
    outputs = Outputs(csv=csv, markdown=markdown, latex=latex, per_image=per_image, record=record, json=json)
    outputs.require_writable()  # what cannot be written is refused now, not after an hour
    if psnr_cap == math.inf:
        raise UsageError("--psnr-cap inf caps nothing; give a number of dB, such as 100")
    if not all(data or ["sample"]):
        raise UsageError("--data '' names nothing; give a data set or a folder")
    if rounding not in tuple(Rounding):
        raise UsageError(f"--rounding {rounding}: choose one of {', '.join(Rounding)}")
    host = Host.discover()
    if protocol:
        _refuse_choices(ctx)
        asked = _named(protocol, data or ())
    else:
        own = {
            "preset": preset or "", "border_px": border, "psnr_cap": psnr_cap,
            "rounding": Rounding.NEAREST if quantise else Rounding(rounding),
        }  # fmt: skip
        asked = _own(host, data or ("sample",), split=split, choices=own)
    settings = {
        "tile": tile, "overlap": overlap, "statistics": statistics, "max_memory": max_memory, "strength": strength
    }  # fmt: skip
    # All are loaded and opened before anything runs: what is not there is found out now.
    contenders = told_apart(
        Contender(
            source=resolve(host, spec),
            restorer=load(
                spec, device=device, dtype=dtype, tile=tile, overlap=overlap, statistics=statistics,
                max_memory=max_memory, strength=strength, self_ensemble=self_ensemble, host=host,
            ),
            settings=settings,
        )
        for spec in dict.fromkeys(model or (host.default_model(),))
    )  # fmt: skip
    options = {} if lpips_weights is None else {"lpips": {"weights": str(lpips_weights)}}
    tasks = _distinct(
        (where, open_task(host, choices, data=where, limit=limit, metrics=metrics or (), options=options))
        for choices, where in asked
    )
    done: list[tuple[str, Measured]] = []
    for task in tasks:
        title = task.conditions.title
        with console.steps(f"{', '.join(contender.label for contender in contenders)} on {title}") as report:
            try:
                measured = measure(
                    task, contenders, workers=workers, ledgers=cache_folder(os.environ) / "evaluations", fresh=fresh,
                    going_on=_say_going_on, progress=report,
                )  # fmt: skip
            except (KeyboardInterrupt, Terminated):
                console.error("what was measured so far is kept: the same command goes on from there")
                raise
        report_failures(measured.found)
        outputs.keep(measured.records)
        done.append((title, measured))
    outputs.write(done, host.metrics)
    for _, measured in done:
        measured.forget()
    return 1 if any(found.failures for _, measured in done for found in measured.found.values()) else 0


def _distinct(opened: "Iterable[tuple[str, Task]]") -> "list[Task]":
    """Each once. Raises UsageError where two folders have one name and files of the same names: no table could tell them apart."""
    tasks: dict[str, tuple[str, Task]] = {}
    for where, task in opened:
        other, _ = tasks.setdefault(task.conditions.hash, (where, task))
        if Path(other).resolve() != Path(where).resolve():
            raise UsageError(
                f"{other} and {where} have one name and files of the same names, so that no table could tell them apart; "
                "rename one of the folders, or evaluate them one by one"
            )
    return [task for _, task in tasks.values()]


def _refuse_choices(ctx: typer.Context) -> None:
    typed = [f"--{name.replace('_', '-')}" for name in _FIXED if was_typed(ctx, name)]
    if typed:
        raise UsageError(f"a protocol says all of that itself: leave out {', '.join(typed)}, or --protocol")


def _named(names: Sequence[str], data: Sequence[str]) -> "list[tuple[Protocol, str]]":
    """Protocols, and where their pictures are if the user says."""
    from deblur_cli.evaluation.protocols import protocol_named

    protocols = [protocol_named(name) for name in dict.fromkeys(names)]
    if not data:
        return [(protocol, "") for protocol in protocols]
    if len(protocols) > 1 and any(protocol.data for protocol in protocols):
        raise UsageError(
            "with several protocols each looks for its own data; give --data with one protocol, or set DEBLUR_DATA"
        )
    return [(protocol, where) for protocol in protocols for where in dict.fromkeys(data)]


def _own(
    host: "Host", data: Sequence[str], *, split: str | None, choices: Mapping[str, Any]
) -> "list[tuple[Protocol, str]]":
    """A protocol without a name for each data set."""
    from deblur_cli.evaluation.opening import default_split
    from deblur_cli.evaluation.protocols import Protocol

    return [
        (
            Protocol(data="", split=split or default_split(host, where), metrics=("psnr", "ssim"), **choices),
            where,
        )
        for where in dict.fromkeys(data)
    ]


def _say_going_on(pictures: int) -> None:
    kept = "1 picture" if pictures == 1 else f"{pictures} pictures"
    console.note(f"going on from {kept} that an interrupted evaluation left (--fresh begins anew)")


def _show_protocols(*, json: bool) -> None:
    from deblur_cli.evaluation.protocols import PROTOCOLS

    if json:
        for protocol in PROTOCOLS.values():
            console.json_line({"name": protocol.name, "summary": protocol.summary, **protocol.choices()})
        return
    console.table(
        ("protocol", "what", "measures"),
        [(protocol.name, protocol.summary, " ".join(protocol.metrics)) for protocol in PROTOCOLS.values()],
    )
