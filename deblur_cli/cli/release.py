"""`deblur release`."""

from pathlib import Path
from typing import Annotated

import typer

from deblur_cli.cli import console
from deblur_cli.cli.options import Json, Preset, Quiet, Verbose


def release(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, or a weights file.")],
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="MODEL", help="Refuse weights of another model.", show_default=False
        ),
    ] = "",
    tag: Annotated[
        str | None,
        typer.Option(
            "--tag",
            metavar="TAG",
            help="What the weights are for: photo, cifar10, reds, ... Default: what they were trained on.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="NAME[:SPLIT]",
            help="Data sets or folders to measure on, split val unless said. Default: what the run held out.",
            show_default=False,
        ),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol",
            metavar="NAME...",
            help="Protocols of deblur eval to measure under besides.",
            show_default=False,
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            "--licence",
            metavar="TEXT",
            help="Licence of the weights. Default: that of the data sets trained on, if they have one in common.",
            show_default=False,
        ),
    ] = None,
    preset: Preset = None,
    credit: Annotated[
        list[str] | None,
        typer.Option(
            "--credit",
            metavar="TEXT",
            help="Whom to credit for the data. Default: whom the data sets name.",
            show_default=False,
        ),
    ] = None,
    limits: Annotated[
        str,
        typer.Option(
            "--limits",
            metavar="TEXT",
            help="What the weights are for and where they fail.",
            show_default=False,
        ),
    ] = "",
    record: Annotated[
        Path | None,
        typer.Option(
            "--record",
            metavar="FOLDER",
            help="Keep a record of each protocol, for deblur results, as deblur eval makes it of the released file.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where file and card go.")
    ] = Path("weights"),
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", min=1, help="Pictures a data set. Default: all.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace file and card of an earlier release.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make a weights file and its card from a training run.

    The scores in the card are measured now, in float32 on whole pictures.

    Examples:

        deblur release runs/reds-1

        deblur release runs/first --tag photo --data gopro reds --licence "CC BY 4.0"

        deblur release runs/first --tag photo --protocol gopro-full kodak-shake --licence "CC BY 4.0"

        deblur release runs/first --tag mine --data my-pairs/ --licence CC0 -o /tmp/mine
    """
    from deblur_cli.blur.spec_file import spec_named
    from deblur_cli.evaluation.protocols import protocol_named
    from deblur_cli.evaluation.release import release as make_release
    from deblur_cli.host.manager import Host
    from deblur_cli.weights import file_sha256

    host = Host.discover()
    named = [
        item.rpartition(":") if ":" in item and not Path(item).exists() else (item, "", "val")
        for item in data or ()
    ]
    with console.steps("pictures") as measured:
        path = make_release(
            run,
            output,
            model=model,
            tag=tag,
            data=[(name, split) for name, _, split in named],
            protocols=[protocol_named(name) for name in protocol or ()],
            preset=None if preset is None else spec_named(preset, host.degradations),
            licence=licence,
            credits=credit or [],
            limits=limits,
            records=record,
            host=host,
            limit=limit,
            overwrite=overwrite,
            progress=console.note,
            pictures=measured,
        )
    if json:
        console.json_line({"weights": path, "card": path.with_suffix(".md"), "sha256": file_sha256(path)})
    else:
        console.result(f"{path}")
        console.result(f"{path.with_suffix('.md')}")
        console.note(
            f"declare it: Weights(tag={path.stem.partition('.')[2]!r}, file={path.name!r}, sha256={file_sha256(path)!r})"
        )
