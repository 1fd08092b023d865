"""`deblur datasets`: which data sets --data can name, what of them is here, and how to get the rest."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deblur_cli.cli import console
from deblur_cli.cli.datasets_check import check
from deblur_cli.cli.options import Json, Quiet, Verbose
from deblur_cli.cli.parsing import HELP_NAMES, Command
from deblur_cli.errors import MissingError, UsageError

if TYPE_CHECKING:
    from deblur_cli.data.roots import Survey
    from deblur_cli.host.declarations import Dataset
    from deblur_cli.host.manager import Host

datasets = typer.Typer(
    invoke_without_command=True, context_settings=HELP_NAMES, rich_markup_mode="rich", add_completion=False
)


def _complete_names() -> list[str]:
    from deblur_cli.host.manager import Host

    try:
        return list(Host.discover().datasets)
    except Exception:  # a completion must never print a traceback into the user's prompt
        return []


@datasets.callback()
def list_datasets(
    ctx: typer.Context, json: Json = False, quiet: Quiet = False, verbose: Verbose = False
) -> None:
    """List the data sets that --data can name: where they are, how much of them, under which licence.

    They are looked for below the folder that DEBLUR_DATA names. A folder of
    your own needs no name: --data takes it as it is.

      deblur datasets
      deblur datasets get cifar10
      deblur datasets check pairs/
    """
    if ctx.invoked_subcommand is not None:
        return
    from deblur_cli.data.roots import survey
    from deblur_cli.host.manager import Host

    host = Host.discover()
    found = {name: survey(item, environ=os.environ) for name, item in host.datasets.items()}
    if json:
        for name, state in found.items():
            console.json_line({"name": name, **_facts(host.datasets[name], state)})
        return
    console.table(
        ("NAME", "FOUND", "HOLDS", "LICENCE", "WHAT"),
        [_row(name, host.datasets[name], state) for name, state in found.items()],
    )
    missing = [name for name, state in found.items() if state.root is None]
    if missing and not os.environ.get("DEBLUR_DATA"):
        console.note(
            "DEBLUR_DATA is not set: set it to the folder that holds their folders, or give --data a folder"
        )
    if missing:
        console.note(f"how to get what is not here: deblur datasets get {missing[0]}")
    for name, state in found.items():
        if state.root is not None and state.problem:
            console.warn(f"{name}: {state.problem}")
    for failure in host.failures:
        console.warn(f"plugin {failure.plugin}, {failure.stage}: {failure.error}; see deblur plugins")


@datasets.command(cls=Command, context_settings=HELP_NAMES)
def get(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The data set.", autocompletion=_complete_names),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FOLDER",
            help="Where it goes. Default: its folder below DEBLUR_DATA.",
            show_default=False,
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="A mirror to download from; the checksum stays the same.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Download it even where some of it is there.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Download a data set, or say how to get it where its host asks for a form or a click.

    A download that breaks off goes on where it stopped when the command is
    given again. Its checksum is compared before anything is unpacked.

    deblur datasets get cifar10
    deblur datasets get cifar10 --to ~/data/cifar10
    deblur datasets get reds
    """
    from deblur_cli.data.download import download
    from deblur_cli.data.roots import survey
    from deblur_cli.host.manager import Host

    dataset = _find(Host.discover(), name)
    if dataset.archive is None:
        _tell_steps(dataset, json=json)
        return
    folder = _target(dataset, to)
    state = survey(dataset, environ=os.environ, root=folder)
    if state.root is None or state.problem or overwrite:
        console.note(f"{name}: {dataset.licence}. {dataset.credit}")
        with console.share(f"downloading {name}") as report:
            download(dataset.archive, folder, name=name, url=url, report=report)
        state = survey(dataset, environ=os.environ, root=folder)
    else:
        console.note(f"{name} is there already ({_counts(state)}); --overwrite downloads it anyway")
    if json:
        console.json_line({"name": name, **_facts(dataset, state)})
    else:
        console.result(str(folder))
        if to is not None:
            console.note(f"next: --data {folder}")


datasets.command(cls=Command, context_settings=HELP_NAMES)(check)


def _find(host: "Host", name: str) -> "Dataset":
    from difflib import get_close_matches

    if name in host.datasets:
        return host.datasets[name]
    near = get_close_matches(name, host.datasets, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(host.datasets)}"
    raise MissingError(f"there is no data set {name!r}; {hint}")


def _target(dataset: "Dataset", to: Path | None) -> Path:
    if to is not None:
        return to.expanduser()
    data = os.environ.get("DEBLUR_DATA")
    if not data:
        raise UsageError(
            "DEBLUR_DATA is not set; set it to the folder for data sets, or name a folder with --to"
        )
    return Path(data).expanduser() / dataset.folder


def _tell_steps(dataset: "Dataset", *, json: bool) -> None:
    steps = dataset.obtain.splitlines()
    if json:
        console.json_line(
            {"name": dataset.name, "obtain": steps, "licence": dataset.licence, "credit": dataset.credit}
        )
        return
    for line in steps or [f"how to get {dataset.name} is not said by the plugin that brings it"]:
        console.result(line)
    if not dataset.generated:
        console.result(f"expected: DEBLUR_DATA/{dataset.folder}/{dataset.layout}")
    console.result(f"licence: {dataset.licence or 'not stated'}; credit: {dataset.credit or 'not stated'}")


def _facts(dataset: "Dataset", state: "Survey") -> dict[str, Any]:
    """What --json says of a data set; JSON-able (hence `Any`)."""
    archive = dataset.archive
    return {
        "summary": dataset.summary,
        "found": state.root is not None,
        "root": state.root,
        "looked_in": state.looked_in,
        "problem": state.problem or None,
        "kind": "pairs" if dataset.pairs else "pictures",
        "counts": dict(state.counts),
        "generated": dataset.generated,
        "preset": dataset.preset or None,
        "licence": dataset.licence,
        "credit": dataset.credit,
        "layout": dataset.layout,
        "obtain": dataset.obtain.splitlines(),
        "archive": None
        if archive is None
        else {"url": archive.url, "checksum": archive.checksum, "size": archive.size},
    }


def _row(name: str, dataset: "Dataset", state: "Survey") -> tuple[str, ...]:
    where = "made when asked for" if dataset.generated else str(state.root or f"not in {state.looked_in}")
    return name, where, _counts(state), dataset.licence or "not stated", dataset.summary


def _counts(state: "Survey") -> str:
    return ", ".join(f"{part} {count:,}" for part, count in state.counts.items()) or "-"
