"""Writes docs/models.md, the drawings in docs/images/models and the tables of scores: `make docs`.

python docs/generate.py            what is out of date; the drawings need Graphviz (`apt-get install graphviz`)
python docs/generate.py --measure  only print what Facts should declare, as measured
"""

import inspect
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import photo_scores
from drawing import draw, drawing_is_of, graph_text

from deblur_cli import Model, Recipe, Term
from deblur_cli.cli.model_page import reported_text
from deblur_cli.cli.models import describe
from deblur_cli.host.declarations import import_object
from deblur_cli.host.manager import Host
from deblur_cli.testing.declaration import bytes_per_pixel, kmacs_per_pixel

DOCS = Path(__file__).parent
PAGE = DOCS / "models.md"
DRAWINGS = DOCS / "images" / "models"

HEAD = """\
# Models

What `deblur models show NAME` prints, and a drawing of each network. `make docs` writes this page from the declarations of
the plugins, from the docstrings of the networks and from the headers of the weights files: change those, not this page.

- **params**: trained numbers. **kMAC/px**: thousand multiply-accumulates a pixel of the picture.
- **step**: sizes are filled up to multiples of it, in px. **halo**: how far away a pixel can change the result, in px.
- **tiling**: what a large picture that is restored in tiles has in common with the whole: *exact* is all but rounding;
  *approximate* is measured by `deblur verify-tiling`, and the px are those that tiles read around what they keep.
- **memory**: of activations in float32, in MB a megapixel, at 1024x1024 px. `--max-memory` sets what may be taken.

`deblur train -m NAME --set model.OPTION=VALUE` sets the options of a network; its weights remember them.

"""
LEGEND = """\

## The drawings

Each is traced from the network as it is built by default (`torch.fx`) and laid out by Graphviz. A box is a block of the code
in the family's `network.py`, with the kernels of its convolutions, and below it what it gives: features × height × width. The
smaller the picture, the darker the box. Equal blocks in a row share a box, as do activations with what they follow.
"""


def host() -> Host:
    """Our own plugins alone."""
    return Host.discover(environ={})


def page() -> str:
    """What docs/models.md must hold."""
    found = host()
    facts = {name: describe(found, name) for name in found.models}
    lines = [*_overview(facts), LEGEND]
    for plugin, models in groupby(sorted(facts.values(), key=_family), key=lambda item: item["plugin"]):
        members = [(found.models[item["name"]], item) for item in models]
        lines += [f"\n## {plugin}\n", _prose(inspect.getmodule(import_object(members[0][0].network)))]
        for model, item in members:
            lines += _section(model, item)
    return HEAD + "\n".join(lines) + "\n"


def drawings() -> dict[Path, str]:
    """The graph of each network by the file of its drawing."""
    return {DRAWINGS / f"{name}.svg": graph_text(model) for name, model in host().models.items()}


def _family(facts: Mapping[str, Any]) -> tuple[str, str]:
    return facts["plugin"], facts["name"]


def _overview(facts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "| model | params | kMAC/px | step | halo | tiling | memory | weights |"
    yield "| --- | ---: | ---: | ---: | ---: | --- | ---: | --- |"
    for name, item in facts.items():
        memory = item["bytes_per_pixel"]
        cells = (
            f"[{name}](#{name})",
            f"{item['parameters']:,}",
            f"{item['macs_per_pixel'] / 1000:,.1f}",
            item["multiple_of"],
            "global" if item["halo"] is None else item["halo"],
            item["tiling"] + ("" if item["overlap"] is None else f", {item['overlap']} px"),
            "" if memory is None else f"{memory:,}",
            ", ".join(weights["tag"] for weights in item["weights"]),
        )
        yield f"| {' | '.join(map(str, cells))} |"


def _section(model: Model, facts: Mapping[str, Any]) -> Iterator[str]:
    name = model.name
    yield f"\n### {name}\n"
    yield f"{_sentence(model.summary)}\n"
    yield _prose(import_object(model.network)) + "\n"
    yield f"- from {model.source}"
    if model.paper:
        yield f"- after {model.paper}"
    if facts["hint"]:
        yield f"- size: {facts['hint']}"
    yield f"- {facts['license']} licence of the code"
    if model.options:
        yield "\n| option | default | one of | meaning |\n| --- | --- | --- | --- |"
    for key, option in model.options.items():
        choices = ", ".join(f"`{choice}`" for choice in option.choices)
        yield f"| `{key}` | `{option.default}` | {choices} | {option.help} |"
    if model.recipes:
        yield f"\nRecipes, in full by `deblur models show {name}`:\n"
    for key, recipe in model.recipes.items():
        yield f"- `{key}`: {_sentence(recipe.summary)} {_recipe_words(recipe)}"
    if facts["reported"]:
        yield "\nReported, on data of the named protocol:\n"
    for item in facts["reported"]:
        yield f"- {reported_text(item, arrow='→')}".replace("\xa0", " ")
    yield ""
    for weights in facts["weights"]:
        yield from _weights(name, weights)
    if not facts["weights"]:
        yield f"No weights are released; `deblur train --data NAME -m {name}` makes some."
    image = f"{DRAWINGS.relative_to(DOCS)}/{name}.svg"
    yield f"\n<details><summary>Drawing of {name}</summary>\n\n![The blocks of {name}]({image})\n\n</details>"


def _weights(name: str, weights: Mapping[str, Any]) -> Iterator[str]:
    card = f"../weights/{weights['file'].removesuffix('.safetensors')}.md"
    yield f"Weights [`{name}.{weights['tag']}`]({card}), {weights['licence']}; scores of the blurred → of the restored pictures:\n"
    yield "| data | split | pictures | PSNR, dB | SSIM | MSE |\n| --- | --- | ---: | ---: | ---: | ---: |"
    for score in weights["scores"]:
        figures = [
            f"{before:{decimals}} → {after:{decimals}}" if before is not None and after is not None else ""
            for before, after, decimals in (
                (score["blurry"].get(key), score["restored"].get(key), decimals)
                for key, decimals in (("psnr", ".2f"), ("ssim", ".4f"), ("mse", ".2e"))
            )
        ]
        yield f"| {' | '.join([score['data'], score['split'], str(score['pictures']), *figures])} |"


def _recipe_words(recipe: Recipe) -> str:
    """Its values but for the defaults, the ones that matter most in words."""
    losses = " + ".join(_loss_words(term) for term in recipe.terms)
    words = [
        f"Loss {losses}",
        _bracketed(
            f"{recipe.optimizer.kind} at {recipe.optimizer.lr:g}",
            _changed(recipe.optimizer, but={"kind", "lr"}),
        ),
        f"schedule {_settings(recipe.schedule)}",
        f"{recipe.epochs} epochs",
        f"batches of {recipe.batch_size}",
        f"crops of {recipe.patch} px",
    ]
    said = {"summary", "loss", "optimizer", "schedule", "epochs", "batch_size", "patch"}
    return ", ".join([*words, *_changed(recipe, but=said)]) + "."


def _loss_words(term: Term) -> str:
    options = [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in term.options.items()]  # fmt: skip
    return _bracketed(term.loss, [*_changed(term, but={"loss", "options"}), *options])


def _settings(part: Any) -> str:
    """Kind of an optimiser, schedule or strategy, with what is not as by default."""
    return _bracketed(getattr(part, "kind", ""), _changed(part, but={"kind"}))


def _changed(values: Any, *, but: set[str]) -> list[str]:
    """Fields of a dataclass that have not their default, as "name value"."""
    changed = []
    for item in fields(values):
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        value = getattr(values, item.name)
        if item.name in but or value == default:
            continue
        if is_dataclass(value):
            value = _settings(value)
        elif isinstance(value, Mapping):
            value = _bracketed("", [f"{name} {setting}" for name, setting in value.items()])
        elif isinstance(value, float):
            value = f"{value:g}"
        changed.append(f"{item.name} {value}")
    return changed


def _bracketed(name: str, settings: list[str]) -> str:
    return f"{name} ({', '.join(settings)})".strip() if settings else name


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _prose(item: object) -> str:
    """Its docstring without the sections that say what the declaration says as well; notes stay."""
    parts = (inspect.getdoc(item) or "").split("\n\n")
    kept = [part for part in parts if not _is_section(part) or part.startswith("Notes\n")]
    return "\n\n".join(part.removeprefix("Notes\n-----\n") for part in kept)


def _is_section(part: str) -> bool:
    lines = part.splitlines()
    return len(lines) > 1 and set(lines[1]) == {"-"}


def main() -> None:
    """Write what is out of date."""
    if "--measure" in sys.argv[1:]:
        for name, model in host().models.items():
            parameters = sum(item.numel() for item in model.build().parameters() if item.requires_grad)
            print(
                f"{name}: parameters={parameters:_}, kmacs_per_pixel={kmacs_per_pixel(model):.1f}, "
                f"bytes_per_pixel={bytes_per_pixel(model)}"
            )
        return
    PAGE.write_text(page(), encoding="utf-8")
    photo_scores.main()
    wanted = drawings()
    DRAWINGS.mkdir(parents=True, exist_ok=True)
    for path in set(DRAWINGS.iterdir()) - wanted.keys():
        path.unlink()
    old = {path: graph for path, graph in wanted.items() if not drawing_is_of(path, graph)}
    if old and shutil.which("dot") is None:
        sys.exit("models.md is written; the drawings need Graphviz' dot: apt-get install graphviz")
    for path, graph in old.items():
        draw(path, graph)
        print(f"drawn: {path.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
