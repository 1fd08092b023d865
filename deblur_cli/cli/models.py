"""`deblur models`: what networks there are, without importing any of them."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deblur_cli.cli import console
from deblur_cli.cli.options import Json, Quiet, Verbose, complete_models
from deblur_cli.cli.parsing import HELP_NAMES, Command

if TYPE_CHECKING:
    from deblur_cli.host.declarations import Model
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

      deblur models
      deblur models show rednet30
    """
    if ctx.invoked_subcommand is not None:
        return
    from deblur_cli.host.manager import Host

    host = Host.discover()
    facts = {name: describe(host, name) for name in host.models}
    if json:
        for item in facts.values():
            console.json_line(item)
    elif facts:
        console.table(
            ("MODEL", "PARAMS", "KMAC/PX", "STEP", "HALO", "WEIGHTS"),
            [_row(name, item) for name, item in facts.items()],
        )
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
    from deblur_cli.host.manager import Host

    host = Host.discover()
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
    for line in _page(facts, recipes):
        console.result(line)


def describe(host: "Host", name: str) -> dict[str, Any]:
    """What `deblur models --json` says of one model; JSON-able (hence `Any`)."""
    from deblur_cli.host.inspection import problems, released_path, stated_licence

    model = host.models[name]
    geometry = model.geometry_for({})
    plugin = host.plugin_of(model)
    weights = []
    for item in model.weights:
        path = released_path(model, item)
        licence = stated_licence(path) if path else None
        weights.append({"tag": item.tag, "file": item.file, "licence": licence, "present": path is not None, "url": item.url})  # fmt: skip
    return {
        "name": name,
        "summary": model.summary,
        "plugin": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "parameters": model.facts.parameters,
        "macs_per_pixel": round(model.facts.kmacs_per_pixel * 1000),
        "multiple_of": geometry.multiple_of,
        "halo": geometry.halo,
        "fixed_size": geometry.fixed_size,
        "overlap": geometry.overlap,
        "tiling": "approximate"
        if geometry.halo is None or geometry.fixed_size or geometry.overlap is not None
        else "exact",
        "values": str(model.values),
        "license": model.licence,
        "source": model.source,
        "weights": weights,
        "recipes": list(model.recipes),
        "options": _options(model),
        "problems": list(problems(model)),
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


def _recipe_lines(name: str, recipe: Mapping[str, Any]) -> Iterator[str]:
    """A recipe as a table: a row for each of its parts, in the words of --set."""
    from dataclasses import fields

    from deblur_cli.host.recipe_values import NONE
    from deblur_cli.host.recipes import Recipe

    recipe = {item.name: recipe.get(item.name, NONE) for item in fields(Recipe)}
    single = {key: value for key, value in recipe.items() if not isinstance(value, Mapping)}
    first = {key: single.pop(key) for key in ("epochs", "batch_size", "patch", "flips")}
    summary = single.pop("summary")
    yield _wrapped(f"{name}: {summary}" if summary else name, first="  recipe      ", rest=14)
    yield _wrapped(_settings(first), first="    ", rest=4)
    parts = ("loss", "optimizer", "schedule", "early_stopping", "strategy")
    rows = [row for part in parts if part not in single for row in _part_rows(part, recipe[part])]
    width = max(len(title) for title, _ in rows)
    for title, settings in rows:
        yield _wrapped(settings, first=f"    {title:<{width}}  ", rest=width + 6)
    yield _wrapped(_settings(single), first="    ", rest=4)


def _part_rows(title: str, part: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Title and settings of a part, then of the parts inside of it."""
    single = {key: value for key, value in part.items() if not isinstance(value, Mapping)}
    if single:
        yield title, _settings(single)
    for key in part:
        if key not in single:
            yield from _part_rows(f"{title}.{key}", part[key])


def _settings(values: Mapping[str, Any]) -> str:
    from deblur_cli.blur.toml_writer import toml_value

    def shown(value: object) -> str:
        return value if isinstance(value, str) and value else toml_value(value).replace(", ", ",")

    return " ".join(f"{key}={shown(value)}" for key, value in values.items())


def _wrapped(text: str, *, first: str, rest: int) -> str:
    """Lines of 80 columns. first : begins the first of them; rest : blanks before the others"""
    from textwrap import fill

    return fill(text, 80, initial_indent=first, subsequent_indent=" " * rest, break_long_words=False, break_on_hyphens=False)  # fmt: skip


def _row(name: str, facts: Mapping[str, Any]) -> tuple[str, ...]:
    tags = [item["tag"] + ("" if item["present"] else " (missing)") for item in facts["weights"]]
    halo = "global" if facts["halo"] is None else str(facts["halo"])
    return (name, _short(facts["parameters"]), f"{facts['macs_per_pixel'] / 1000:.1f}", str(facts["multiple_of"]), halo, ", ".join(tags) or "-")  # fmt: skip


def _short(count: int) -> str:
    """1076739 -> 1.08M."""
    for unit, size in (("M", 1_000_000), ("k", 1000)):
        if count >= size:
            return f"{count / size:.3g}{unit}" if count < 1000 * size else f"{count / size:.0f}{unit}"
    return str(count)


def _page(facts: Mapping[str, Any], recipes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    origin = f"{facts['distribution']} {facts['version']}".strip() or "DEBLUR_PLUGINS"
    reach = "the whole picture" if facts["halo"] is None else f"{facts['halo']} px"
    size = f", only {facts['fixed_size']} x {facts['fixed_size']}" if facts["fixed_size"] else ""
    overlap = "" if facts["overlap"] is None else f", with an overlap of {facts['overlap']} px"
    lines = [
        f"{facts['name']}: {facts['summary']}",
        f"  source      {facts['source']}",
        f"  license     {facts['license']} (code)",
        f"  plugin      {facts['plugin']}, of {origin}",
        f"  parameters  {facts['parameters']:,}",
        f"  cost        {facts['macs_per_pixel'] / 1000:,.1f} thousand multiply-accumulates a pixel",
        f"  geometry    sizes in steps of {facts['multiple_of']} px{size}; a pixel sees {reach}; tiling is {facts['tiling']}{overlap}",
        f"  values      {facts['values']}",
    ]
    for item in facts["weights"]:
        state = "" if item["present"] else (f", to be had from {item['url']}" if item["url"] else ", missing")
        lines.append(
            f"  weights     {facts['name']}.{item['tag']}: {item['file']}, {item['licence'] or 'license not stated'}{state}"
        )
    if not facts["weights"]:
        lines.append(f"  weights     none; train some: deblur train --data NAME -m {facts['name']}")
    for name, option in facts["options"].items():
        choices = f", one of {', '.join(map(str, option['choices']))}" if option["choices"] else ""
        lines.append(f"  option      {name} = {option['default']}{choices}: {option['help']}")
    for name, recipe in recipes.items():
        lines += _recipe_lines(name, recipe)
    if recipes:
        example = next(iter(recipes))
        lines += [
            "  change      deblur train --set epochs=20 optimizer.lr=2e-4",
            f"  as a file   deblur models show {facts['name']} --recipe {example} > mine.toml",
            "              deblur train --recipe mine.toml",
        ]
    return lines + [f"  problem     {problem}" for problem in facts["problems"]]
