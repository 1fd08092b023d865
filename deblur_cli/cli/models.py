"""`deblur models`: what networks there are, without importing any of them."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deblur_cli.cli import console
from deblur_cli.cli.options import Json, Quiet, Verbose, complete_models
from deblur_cli.cli.parsing import HELP_NAMES, Command

if TYPE_CHECKING:
    from deblur_cli.host.declarations import Model, Reported
    from deblur_cli.host.manager import Host

models = typer.Typer(
    invoke_without_command=True, context_settings=HELP_NAMES, rich_markup_mode="rich", add_completion=False
)


@models.callback()
def list_models(
    ctx: typer.Context, json: Json = False, quiet: Quiet = False, verbose: Verbose = False
) -> None:
    """List the models that -m can name, with what they cost and the weights they have.

    PARAMS: trained numbers. KMAC/PX: thousand multiply-accumulates a pixel.
    STEP: sizes are rounded up to a multiple of this, in pixels. HALO: pixels
    around a pixel that its result depends on; global means the whole picture.
    -m fast and -m best name the weights that won when all were measured.

      deblur models
      deblur models show rednet30
    """
    if ctx.invoked_subcommand is not None:
        return
    from deblur_cli.host.inspection import winners
    from deblur_cli.host.manager import Host

    host = Host.discover()
    facts = {name: describe(host, name) for name in host.models}
    if json:
        for item in facts.values():
            console.json_line(item)
    elif facts:
        console.table(
            ("MODEL", "PARAMS", "KMAC/PX", "STEP", "HALO", "WEIGHTS"),
            list(_rows(facts)),
            gives_way="WEIGHTS",
        )
        for alias, weights in winners().items():
            console.note(f"-m {alias} is {weights}")
    for name, item in facts.items():
        for problem in item["problems"]:
            console.warn(f"{name}: {problem}; see deblur plugins check {item['plugin']}")
    for failure in host.failures:
        console.warn(f"plugin {failure.plugin}, {failure.stage}: {failure.error}; see deblur plugins")


@models.command(cls=Command, context_settings=HELP_NAMES)
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model.", autocompletion=complete_models)],
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME",
            help="Print this recipe alone, as a file that deblur train --recipe FILE takes.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show all that a model declares: geometry, options, recipes, weights, licence, source.

    deblur models show rednet30
    deblur models show rednet30 --json
    deblur models show rednet30 --recipe fast > mine.toml
    """
    from deblur_cli.cli.model_page import model_page
    from deblur_cli.host.inspection import winners
    from deblur_cli.host.manager import Host

    host = Host.discover()
    name = winners().get(name, name)
    if name not in host.models and name.rpartition(".")[0] in host.models:
        name = name.rpartition(".")[0]
    model = host.model(name)
    if recipe is not None:
        _show_recipe(host, model, recipe, json=json)
        return
    facts = describe(host, name)
    recipes = {key: _recipe_values(host, model, key) for key in model.recipes}
    if json:
        console.json_line({**facts, "recipes": recipes})
        return
    for line in model_page(facts, recipes):
        console.result(line)


def describe(host: "Host", name: str) -> dict[str, Any]:
    """What `deblur models --json` says of one model; JSON-able (hence `Any`)."""
    from deblur_cli.host.inspection import problems, released_path, stated_header, winners

    model = host.models[name]
    geometry = model.geometry_for({})
    plugin = host.plugin_of(model)
    weights = []
    for item in model.weights:
        path = released_path(model, item)
        header = stated_header(path) if path else {}
        weights.append(
            {
                "tag": item.tag,
                "aliases": [alias for alias, won in winners().items() if won == f"{name}.{item.tag}"],
                "file": item.file,
                "licence": header.get("licence"),
                "scores": header.get("scores", []),
                "present": path is not None,
                "url": item.url,
            }
        )
    return {
        "name": name,
        "summary": model.summary,
        "plugin": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "parameters": model.facts.parameters,
        "macs_per_pixel": round(model.facts.kmacs_per_pixel * 1000),
        "bytes_per_pixel": model.facts.bytes_per_pixel,
        "multiple_of": geometry.multiple_of,
        "halo": geometry.halo,
        "frozen_halo": geometry.frozen_halo,
        "fixed_size": geometry.fixed_size,
        "overlap": geometry.overlap,
        "hint": geometry.hint,
        "tiling": "approximate"
        if geometry.reach is None or geometry.fixed_size or geometry.overlap is not None
        else "exact",
        "values": str(model.values),
        "license": model.licence,
        "source": model.source,
        "paper": model.paper,
        "weights": weights,
        "reported": [_reported(item) for item in model.reported],
        "recipes": list(model.recipes),
        "options": _options(model),
        "problems": list(problems(model)),
    }


def _reported(item: "Reported") -> dict[str, Any]:
    return {
        "protocol": item.protocol,
        "blurry": dict(item.blurry),
        "restored": dict(item.scores),
        "options": dict(item.options),
        "where": item.where,
        "note": item.note,
    }


def _options(model: "Model") -> dict[str, dict[str, Any]]:
    return {
        name: {"type": option.type.__name__, "default": option.default, "choices": list(option.choices), "help": option.help}
        for name, option in model.options.items()
    }  # fmt: skip


def _show_recipe(host: "Host", model: "Model", name: str, *, json: bool) -> None:
    """One recipe, with the options of the network."""
    from deblur_cli.training.choosing import choose_recipe, recipe_text

    values = choose_recipe(host, model, name, ()).as_values()
    if json:
        console.json_line(values)
    else:
        console.result(recipe_text(values, model=model.name).rstrip("\n"))


def _recipe_values(host: "Host", model: "Model", name: str) -> dict[str, Any]:
    """The values of a recipe; those as declared where its loss is not there, which is among the model's problems."""
    from deblur_cli.errors import DeblurError
    from deblur_cli.host.recipe_values import as_values
    from deblur_cli.training.choosing import choose_recipe

    try:
        return as_values(choose_recipe(host, model, name, ()).recipe)
    except DeblurError:
        return as_values(model.recipes[name])


def _rows(facts: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A row for each model. Weights take as many lines as it needs for 80 columns with the longest name."""
    from textwrap import fill

    room = max(8, 80 - max(map(len, facts)) - len("  PARAMS  KMAC/PX  STEP  global  "))
    for name, item in facts.items():
        tags = [weights["tag"] + ("" if weights["present"] else " (missing)") for weights in item["weights"]]
        yield (
            name,
            _short(item["parameters"]),
            f"{item['macs_per_pixel'] / 1000:.1f}",
            str(item["multiple_of"]),
            "global" if item["halo"] is None else str(item["halo"]),
            fill(", ".join(tags) or "-", room, break_long_words=False, break_on_hyphens=False),
        )


def _short(count: int) -> str:
    """1076739 -> 1.08M."""
    for unit, size in (("M", 1_000_000), ("k", 1000)):
        if count >= size:
            return f"{count / size:.3g}{unit}" if count < 999.5 * size else f"{count / size:.0f}{unit}"
    return str(count)
