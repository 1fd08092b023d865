"""The command `deblur`: which commands there are, and what happens around each of them."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from deblur_cli import __version__
from deblur_cli.cli import errors
from deblur_cli.cli.parsing import HELP_NAMES, Entry, Group

_RESTORE, _TRAIN, _LOOK = "Restore", "Train and measure", "Look around"


class Deblur(Group):
    """The commands by import path; each is imported when it is used."""

    default_command = "deblur"
    entries = {  # noqa: RUF012  a ClassVar of the base class, never changed
        "deblur": Entry(function="deblur_cli.cli.deblur:deblur", panel=_RESTORE),
        "compare": Entry(function="deblur_cli.cli.compare:compare", panel=_RESTORE),
        "verify-tiling": Entry(function="deblur_cli.cli.verify_tiling:verify_tiling", panel=_RESTORE),
        "train": Entry(function="deblur_cli.cli.train:train", panel=_TRAIN),
        "curves": Entry(function="deblur_cli.cli.curves:curves", panel=_TRAIN),
        "eval": Entry(function="deblur_cli.cli.eval:eval", panel=_TRAIN),
        "results": Entry(function="deblur_cli.cli.results:results", panel=_TRAIN),
        "make-dataset": Entry(function="deblur_cli.cli.make_dataset:make_dataset", panel=_TRAIN),
        "datasets": Entry(function="deblur_cli.cli.datasets:datasets", panel=_TRAIN),
        "release": Entry(function="deblur_cli.cli.release:release", panel=_TRAIN),
        "models": Entry(function="deblur_cli.cli.models:models", panel=_LOOK),
        "plugins": Entry(function="deblur_cli.cli.plugins:plugins", panel=_LOOK),
        "doctor": Entry(function="deblur_cli.cli.doctor:doctor", panel=_LOOK),
    }


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"deblur {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Restore blurred pictures, train and compare deblurring networks.

    `deblur IMAGE...` is short for `deblur deblur IMAGE...`:

      deblur photo.jpg                     writes photo.deblurred.jpg beside it
      deblur photos/ -m rednet30 -o out/   every picture of a folder, with a named model
    """


def build() -> Group:
    """The command line as one object, for `main` and for whoever wants to look at it."""
    app = typer.Typer(
        name="deblur", cls=Deblur, context_settings=HELP_NAMES, no_args_is_help=True,
        pretty_exceptions_enable=False, rich_markup_mode="rich", callback=_root,
    )  # fmt: skip
    group = typer.main.get_command(app)
    assert isinstance(group, Group)
    return group


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Parameters
    ----------
    args : the words after `deblur`; None takes them from the process
    """
    words = list(sys.argv[1:] if args is None else args)
    return errors.run(lambda: build().main(words, prog_name="deblur", standalone_mode=False), words=words)
