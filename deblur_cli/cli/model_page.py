"""What `deblur models show` prints of one model: all that it declares, in lines of 80 columns."""

from collections.abc import Iterator, Mapping
from textwrap import fill, wrap
from typing import Any

COLUMNS = 80
_MARGIN = 14  # columns of the titles
_STAYS = "\xa0"  # a blank at which no line ends


def model_page(facts: Mapping[str, Any], recipes: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The page, a line or a paragraph at a time. facts : what --json says of it; recipes : their values by name"""
    name = facts["name"]
    origin = f"{facts['distribution']} {facts['version']}".strip() or "DEBLUR_PLUGINS"
    yield _wrapped(f"{name}: {facts['summary']}", first="", rest=2)
    yield _said("source", facts["source"])
    if facts["paper"]:
        yield _said("paper", facts["paper"])
    yield _said("license", f"{facts['license']} (code)")
    yield _said("plugin", f"{facts['plugin']}, of {origin}")
    yield _said("parameters", f"{facts['parameters']:,}")
    yield _said("cost", f"{facts['macs_per_pixel'] / 1000:,.1f} thousand multiply-accumulates a pixel")
    if facts["bytes_per_pixel"] is not None:
        yield _said("memory", f"{facts['bytes_per_pixel']:,} MB a megapixel, in float32")
    yield from _geometry_lines(facts)
    yield _said("values", {"unit": "unit, [0, 1]", "signed": "signed, [-1, 1]"}[facts["values"]])
    for weights in facts["weights"]:
        yield from _weights_lines(name, weights)
    if not facts["weights"]:
        yield _said("weights", "none; train some:")
        yield _command("", "deblur", "train", "--data", "NAME", "-m", name)
    for item in facts["reported"]:
        yield _said("reported", reported_text(item))
    for key, option in facts["options"].items():
        choices = f", one of {', '.join(map(str, option['choices']))}" if option["choices"] else ""
        yield _said("option", f"{key} = {_value(option['default'])}{choices}: {option['help']}")
    for key, recipe in recipes.items():
        yield from _recipe_lines(key, recipe)
    if recipes:
        yield _command(
            "change",
            "deblur",
            "train",
            "--data",
            "NAME",
            "-m",
            name,
            "--set",
            "epochs=20",
            "optimizer.lr=2e-4",
        )
        shown = ("deblur", "models", "show", name, f"--recipe {next(iter(recipes))}", "> mine.toml")
        yield _command("as a file", *shown)
        yield _command("", "deblur", "train", "--data", "NAME", "-m", name, "--recipe", "mine.toml")
    for problem in facts["problems"]:
        yield _said("problem", problem)


def _geometry_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    step, side, halo = facts["multiple_of"], facts["fixed_size"], facts["halo"]
    if side:
        yield _said("size", f"{side} x {side} px alone")
    else:
        yield _said("size", "any" if step == 1 else f"any; filled up to multiples of {step} px")
    yield _said(
        "field", "the whole picture" if halo is None else f"a result depends on pixels up to {halo} px away"
    )
    reach = facts["frozen_halo"] if halo is None else halo
    around = reach if facts["tiling"] == "exact" else facts["overlap"]
    tiling = facts["tiling"] + ("" if around is None else f", by {around} px around each tile")
    if facts["frozen_halo"] is not None:
        tiling += ", which is told of the whole picture (--statistics exact)"
    if facts["tiling"] != "exact":
        tiling += "; deblur verify-tiling measures it"
    yield _said("tiling", tiling + (f"; {facts['hint']}" if facts["hint"] else ""))


def _weights_lines(name: str, weights: Mapping[str, Any]) -> Iterator[str]:
    state = "" if weights["present"] else (f", to be had from {weights['url']}" if weights["url"] else ", missing")  # fmt: skip
    licence = weights["licence"] or "license not stated"
    yield _said("weights", f"{name}.{weights['tag']}: {weights['file']}, {licence}{state}")
    if weights["scores"]:
        yield _said("", "scores, of the blurred -> of the restored pictures:")
    for score in weights["scores"]:
        yield _wrapped(_score_text(score), first=" " * _MARGIN, rest=_MARGIN + 2)


def _score_text(score: Mapping[str, Any]) -> str:
    """What they scored on one data set, before and after."""
    figures = [
        f"{name.upper()} {blurry:{decimals}} -> {restored:{decimals}}{unit}".replace(" ", _STAYS)
        for name, decimals, unit in (("psnr", ".2f", " dB"), ("ssim", ".4f", ""), ("mse", ".2e", ""))
        if (blurry := score["blurry"].get(name)) is not None
        and (restored := score["restored"].get(name)) is not None
    ]
    pictures = f"{score['pictures']:,} picture{'s' if score['pictures'] != 1 else ''}"
    return f"{score['data']} {score['split']}, {pictures}: {', '.join(figures)}"


def reported_text(item: Mapping[str, Any], arrow: str = "->") -> str:
    """What a report prints of a network, blurred -> restored where it has both, where it stands, and what to know."""
    figures = []
    for name, value in item["restored"].items():
        before = f"{item['blurry'][name]:g} {arrow} " if name in item["blurry"] else ""
        figures.append(
            f"{name.upper()} {before}{value:g}{' dB' if name == 'psnr' else ''}".replace(" ", _STAYS)
        )
    options = "".join(f", {key}={value}" for key, value in item["options"].items())
    note = f"; {item['note']}" if item["note"] else ""
    return f"{item['protocol']}{options}: {', '.join(figures)} ({item['where']}){note}"


_WIDEST_TITLE = 17  # that others are aligned with, so that import paths beside them fit


def _recipe_lines(name: str, recipe: Mapping[str, Any]) -> Iterator[str]:
    """A recipe as a table: a row for each of its parts, in the words of --set."""
    from dataclasses import fields

    from deblur_cli.host.recipe_values import NONE
    from deblur_cli.host.recipes import Recipe

    recipe = {item.name: recipe.get(item.name, NONE) for item in fields(Recipe)}
    single = {key: value for key, value in recipe.items() if not isinstance(value, Mapping)}
    first = {key: single.pop(key) for key in ("epochs", "batch_size", "patch", "flips")}
    summary = single.pop("summary")
    yield _said("recipe", f"{name}: {summary}" if summary else name)
    yield _wrapped(_settings(first), first="    ", rest=4)
    parts = ("loss", "optimizer", "schedule", "early_stopping", "strategy")
    rows = [row for part in parts if part not in single for row in _part_rows(part, recipe[part])]
    width = min(_WIDEST_TITLE, max(len(title) for title, _ in rows))
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
    return " ".join(f"{key}={_value(value)}" for key, value in values.items())


def _value(value: object) -> str:
    """In the words of --set."""
    from deblur_cli.blur.toml_writer import toml_value

    return value if isinstance(value, str) and value else toml_value(value).replace(", ", ",")


def _said(title: str, text: str) -> str:
    return _wrapped(text, first=f"  {title:<{_MARGIN - 2}}", rest=_MARGIN)


def _wrapped(text: str, *, first: str, rest: int) -> str:
    """Lines of 80 columns. first : begins the first of them; rest : blanks before the others"""
    lines = fill(text, COLUMNS, initial_indent=first, subsequent_indent=" " * rest, break_long_words=False, break_on_hyphens=False)  # fmt: skip
    return lines.replace(_STAYS, " ")


def _command(title: str, *words: str) -> str:
    """A command line, continued on the next one where it is long."""
    text = " ".join(word.replace(" ", _STAYS) for word in words)
    lines = wrap(text, COLUMNS - _MARGIN - 4, break_long_words=False, break_on_hyphens=False)
    return f"  {title:<{_MARGIN - 2}}" + f" \\\n{'':{_MARGIN + 2}}".join(lines).replace(_STAYS, " ")
