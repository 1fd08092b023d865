"""Two habits of Click that stand in the way of promised lines, changed here.

`deblur image.png` works beside sub-commands: a first word that is no command goes to the default command.
`--metrics psnr ssim` works: an option declared as a list takes every value up to the next option.

Typer carries its own copy of Click and no other is installed, so both classes build on `typer.core`.
"""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.exceptions import TyperException

from deblur_cli.cli.defaults import defaults_for

if TYPE_CHECKING:
    from typer._click.core import Command as ClickCommand
    from typer._click.core import Context, Parameter

HELP_NAMES = {"help_option_names": ["-h", "--help"]}
_NUMBER = re.compile(r"-\d*\.?\d+(e[+-]?\d+)?")
_TAG_LIKE = re.compile(r"\[(?=[a-z#/@])")  # what rich would read as markup


class Entry(NamedTuple):  # not a dataclass: importing those costs more than all of --help may
    """A command that is imported when it is used. function : import path; panel : its group in the help."""

    function: str
    panel: str


class Command(TyperCommand):
    """A command whose list options take several values, and whose defaults the user can set."""

    def make_parser(self, ctx: "Context") -> Any:
        """The parser, after the user's own defaults have been laid under this command's options.

        `Any`: the parser's class is private to Typer.
        """
        several = {param.name for param in self._options() if param.multiple}
        found = defaults_for(self._option_names(), environ=os.environ)
        own = {name: [value] if name in several else value for name, value in found.items()}
        ctx.default_map = {**own, **(ctx.default_map or {})}
        return super().make_parser(ctx)

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Parse the arguments after turning `--metrics psnr ssim` into `--metrics psnr --metrics ssim`."""
        several = {
            name for param in self._options() if param.multiple and not param.is_flag for name in param.opts
        }
        try:
            return super().parse_args(ctx, spread_values(args, several))
        except TyperException as error:
            _name_source(ctx, error)
            raise

    def get_params(self, ctx: "Context") -> "list[Parameter]":
        """All parameters; a flag shows no type in the help."""
        return _without_flag_types(super().get_params(ctx))

    def _options(self) -> list[TyperOption]:
        return [param for param in self.params if isinstance(param, TyperOption)]

    def _option_names(self) -> dict[str, str]:
        """Long option name without dashes -> parameter name."""
        return {
            name[2:]: param.name for param in self._options() for name in param.opts if name.startswith("--")
        }


class Group(TyperGroup):
    """A group that imports its commands when used, and hands what is no command to a default one."""

    entries: ClassVar[Mapping[str, Entry]] = {}
    default_command: ClassVar[str] = ""

    def list_commands(self, ctx: "Context") -> list[str]:
        """The names of all commands, in the order declared."""
        return list(self.entries)

    def get_command(self, ctx: "Context", cmd_name: str) -> "ClickCommand | None":
        """The command of that name, imported now."""
        entry = self.entries.get(cmd_name)
        return None if entry is None else load_command(cmd_name, entry)

    def get_params(self, ctx: "Context") -> "list[Parameter]":
        """All parameters; a flag shows no type in the help."""
        return _without_flag_types(super().get_params(ctx))

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Parse the group's own options; put the default command before what belongs to it."""
        own = {name for param in self.get_params(ctx) for name in param.opts}
        if args and args[0].split("=", 1)[0] not in own and args[0] not in self.entries:
            if not ctx.resilient_parsing:
                self._refuse_misspelt_command(ctx, args[0], own)
            args = [self.default_command, *args]
        return super().parse_args(ctx, args)

    def _refuse_misspelt_command(self, ctx: "Context", word: str, own: set[str]) -> None:
        """Fail on a first word that is neither a file nor looks like one."""
        if word.startswith("--") and difflib.get_close_matches(word, own, n=1, cutoff=0.8):
            ctx.fail(
                f"there is no option {word}; did you mean {difflib.get_close_matches(word, own, n=1)[0]}?"
            )
        if word.startswith("-") or os.path.lexists(word) or any(sign in word for sign in "*?[/\\"):
            return
        near = difflib.get_close_matches(word, self.entries, n=3)
        if near:
            ctx.fail(f"there is neither a file nor a command {word!r}; did you mean {' or '.join(near)}?")
        if "." not in word:
            ctx.fail(f"there is neither a file nor a command {word!r}; commands: {', '.join(self.entries)}")


def load_command(name: str, entry: Entry) -> "ClickCommand":
    """Import the function, or group of functions, of `entry` and make a command of it."""
    module, _, attribute = entry.function.partition(":")
    function = getattr(import_module(module), attribute)
    if isinstance(function, typer.Typer):  # a group of its own, such as `plugins`
        group = typer.main.get_command(function)
        group.name = name
        assert isinstance(group, TyperGroup)
        group.rich_help_panel = entry.panel
        return group
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    app.command(
        name=name,
        cls=Command,
        context_settings=HELP_NAMES,
        rich_help_panel=entry.panel,
        help=_TAG_LIKE.sub(r"\\[", function.__doc__ or ""),
    )(function)
    return typer.main.get_command(app)


def spread_values(args: Sequence[str], several: set[str]) -> list[str]:
    """Repeat each option in `several` before every one of its values.

    Values run up to the next option or `--`; commas separate values too, but not in a text with blanks or brackets, or in
    the name of a file that exists.

    >>> spread_values(["--metrics", "psnr", "ssim", "-n", "3"], {"--metrics"})
    ['--metrics', 'psnr', '--metrics', 'ssim', '-n', '3']
    """
    spread: list[str] = []
    current: str | None = None
    for position, arg in enumerate(args):
        if arg == "--":
            return [*spread, *args[position:]]
        name, equals, value = arg.partition("=")
        if name in several:
            current = name
            if equals:
                spread += _repeat(name, value)
            elif position + 1 == len(args) or _is_option(args[position + 1]):
                spread.append(name)  # without a value; the parser says so
        elif _is_option(arg):
            current = None
            spread.append(arg)
        else:
            spread += [arg] if current is None else _repeat(current, arg)
    return spread


def _without_flag_types(params: "list[Parameter]") -> "list[Parameter]":
    for param in params:
        if isinstance(param, TyperOption) and param.is_flag:
            param.metavar = ""
    return params


def _repeat(name: str, value: str) -> list[str]:
    is_one = any(sign in value for sign in " [{") or os.path.exists(value)
    parts = [value] if is_one else [part for part in value.split(",") if part]
    return [word for part in parts or [""] for word in (name, part)]


def _is_option(arg: str) -> bool:
    return len(arg) > 1 and arg.startswith("-") and not _NUMBER.fullmatch(arg)


def _name_source(ctx: "Context", error: TyperException) -> None:
    """Add to an error about a value where that value came from, when it was not typed."""
    param = getattr(error, "param", None)
    source = ctx.get_parameter_source(param.name) if param is not None else None
    if isinstance(param, TyperOption) and source is not None and source.name == "DEFAULT_MAP":
        setting = max(param.opts, key=len)[2:]
        error.message += f" (the default set by {'DEBLUR_' + setting.upper().replace('-', '_')} or your settings file; see deblur doctor)"
