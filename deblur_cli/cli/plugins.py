"""`deblur plugins`: what brings models and the rest, what failed, and the way to a plugin of one's own."""

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deblur_cli.cli import console
from deblur_cli.cli.options import Json, Quiet, Verbose
from deblur_cli.cli.parsing import HELP_NAMES, Command
from deblur_cli.errors import CheckFailed, MissingError

if TYPE_CHECKING:
    from deblur_cli.host.failures import Failure
    from deblur_cli.host.manager import Host, Plugin

plugins = typer.Typer(
    invoke_without_command=True, context_settings=HELP_NAMES, rich_markup_mode="rich", add_completion=False
)


@plugins.callback()
def list_plugins(
    ctx: typer.Context, json: Json = False, quiet: Quiet = False, verbose: Verbose = False
) -> None:
    """List the plugins, what they bring, and why some were set aside.

    DEBLUR_PLUGINS=module,file.py adds plugins that are not installed,
    DEBLUR_PLUGINS_DISABLE=name leaves some out.

      deblur plugins
      deblur plugins new motion
      deblur plugins check deblur_motion
    """
    if ctx.invoked_subcommand is not None:
        return
    from deblur_cli.host.failures import Stage
    from deblur_cli.host.manager import Host

    host = Host.discover()
    if json:
        for plugin in host.plugins:
            console.json_line(_working(plugin, host))
        for failure in host.failures:
            if failure.stage != Stage.CLASH:
                console.json_line(_set_aside(failure))
        for name in host.disabled:
            console.json_line({"plugin": name, "state": "disabled"})
        return
    if host.plugins:
        console.table(("PLUGIN", "FROM", "BRINGS"), [(item.name, _origin(item), _brings(item)) for item in host.plugins])  # fmt: skip
    for failure in host.failures:
        if failure.stage == Stage.CLASH:
            console.result(f"\n{failure.plugin}: {failure.error}")
        else:
            console.result(
                f"\n{failure.plugin} ({_origin(failure)}) is set aside, {failure.stage}: {failure.error}"
            )
            console.note(f"see deblur plugins check {failure.plugin}")
    for name in host.disabled:
        console.result(f"\n{name} is left out by DEBLUR_PLUGINS_DISABLE")


@plugins.command(cls=Command, context_settings=HELP_NAMES)
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the model, such as motion.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the folder deblur-NAME goes.")
    ] = Path("."),
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a plugin with a small network that installs, passes its own tests and can be trained.

    deblur plugins new motion
    deblur plugins new fast-unet -o ~/projects
    """
    from deblur_cli.host.scaffold import write_plugin

    folder = write_plugin(name, output)
    package = folder.name.replace("-", "_")
    if json:
        console.json_line({"folder": folder, "package": package, "model": name.removeprefix("deblur-").removeprefix("deblur_")})  # fmt: skip
        return
    console.result(str(folder))
    console.note(f"next: pip install -e {folder} && deblur plugins check {package}")


@plugins.command(cls=Command, context_settings=HELP_NAMES)
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The plugin, or a model it brings.")],
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Check a plugin: why it was set aside, or whether its networks keep the contract. Exit code 3 if not.

    deblur plugins check deblur_rednet
    DEBLUR_PLUGINS=./my_model.py deblur plugins check my_model
    """
    from deblur_cli.host.manager import Host

    host = Host.discover()
    failure = host.failure(name)
    if failure is not None:
        _tell_failure(failure, json=json)
        raise CheckFailed(f"plugin {name} is set aside, {failure.stage}: {failure.error}")
    plugin = _find(host, name)
    found = _run_checks(plugin, json=json)
    if found:
        raise CheckFailed(f"plugin {plugin.name}: {found} {'check' if found == 1 else 'checks'} failed")
    if not json:
        console.result(f"{plugin.name}: everything holds ({_brings(plugin)})")


def _run_checks(plugin: "Plugin", *, json: bool) -> int:
    """Run the conformance kit, print what it finds, and return how many checks failed."""
    from dataclasses import asdict

    from deblur_cli.testing import CHECKS, plugin_findings

    found = 0
    for finding in plugin_findings(plugin, CHECKS, progress=lambda what: console.note(f"checking {what}")):
        found += 1
        if json:
            console.json_line({"plugin": plugin.name, **asdict(finding)})
            continue
        console.result(f"{finding.subject}, {finding.check}: {finding.message}")
        if not finding.expected or console.is_verbose():
            console.result(finding.traceback)
    if json and not found:
        console.json_line({"plugin": plugin.name, "state": "ok"})
    return found


def _tell_failure(failure: "Failure", *, json: bool) -> None:
    if json:
        console.json_line({**_set_aside(failure), "traceback": failure.traceback})
    else:
        console.result(failure.traceback.rstrip())


def _find(host: "Host", name: str) -> "Plugin":
    """The plugin of this name, or the one that brings this model."""
    by_name = {plugin.name: plugin for plugin in host.plugins}
    if name in by_name:
        return by_name[name]
    if name in host.models:
        return host.plugin_of(host.models[name])
    if name in host.disabled:
        raise MissingError(f"plugin {name} is left out by DEBLUR_PLUGINS_DISABLE")
    known = [*by_name, *(failure.plugin for failure in host.failures)]
    near = get_close_matches(name, known, n=3)
    raise MissingError(
        f"there is no plugin {name!r}; "
        + (f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known)}")
    )


def _working(plugin: "Plugin", host: "Host") -> dict[str, Any]:
    from deblur_cli.host.failures import Stage
    from deblur_cli.host.manager import KINDS

    clashes = [
        item.error for item in host.failures if item.plugin == plugin.name and item.stage == Stage.CLASH
    ]
    names = {hook.removeprefix("deblur_"): [item.name for item in plugin.declarations if isinstance(item, kind)] for hook, kind in KINDS.items()}  # fmt: skip
    return {
        "plugin": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "state": "ok",
        "clashes": clashes,
        **names,
    }


def _set_aside(failure: "Failure") -> dict[str, Any]:
    return {
        "plugin": failure.plugin,
        "distribution": failure.distribution,
        "version": failure.version,
        "state": "set aside",
        "stage": str(failure.stage),
        "error": failure.error,
    }


def _origin(item: "Plugin | Failure") -> str:
    return f"{item.distribution} {item.version}".strip() or "DEBLUR_PLUGINS"


def _brings(plugin: "Plugin") -> str:
    from deblur_cli.host.manager import KINDS

    counts = {
        kind.__name__: sum(isinstance(item, kind) for item in plugin.declarations) for kind in KINDS.values()
    }
    words = {
        "Model": "model",
        "Metric": "metric",
        "Dataset": "data set",
        "Degradation": "degradation",
        "Loss": "loss",
    }
    plural = {"Loss": "losses"}
    parts = [
        f"{count} {words[kind] if count == 1 else plural.get(kind, words[kind] + 's')}"
        for kind, count in counts.items()
        if count
    ]
    return ", ".join(parts) or "nothing"
