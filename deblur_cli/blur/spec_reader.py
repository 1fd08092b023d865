"""The top-level keys of a spec, and what they must not say together."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from deblur_cli.blur.borders import Border
from deblur_cli.blur.light import Light
from deblur_cli.blur.overrides import Document
from deblur_cli.blur.spec import SCHEMA, Filter, Group, Output, Redraw, Resize, SourceKind, Spec
from deblur_cli.blur.spec_steps import Operations, check_frames, read_light, read_steps, warn_of_order
from deblur_cli.blur.spec_table import Findings, Table

_UPGRADES: tuple[Callable[[Document], Document], ...] = ()
"""The first makes a document of schema 2 from one of schema 1, and so on: one for each schema before SCHEMA."""

_KEYS = (
    "schema", "name", "seed", "source", "light", "border", "draws", "patches", "patch", "resize", "grid", "flips",
    "candidates", "redraw", "output", "step",
)  # fmt: skip
_TOLERANCE = 1e-9


def upgraded(document: Document, findings: Findings) -> Document:
    """The document as one of today's schema. One that is newer is not looked into."""
    schema = Table(document, (), findings).integer("schema", ge=1, default=None)
    if schema > SCHEMA:
        findings.error(("schema",), f"{schema} is newer than this program understands ({SCHEMA})")
        findings.raise_errors()
    for upgrade in _UPGRADES[schema - 1 :]:
        document = upgrade(document)
    return document


def build_spec(top: Table, operations: Operations, *, folder: Path, text: str) -> Spec:
    """The spec that a document holds; it is of use only where nothing was found wrong.

    Parameters
    ----------
    folder : where the files are looked for that a `light` names
    text : becomes the spec's
    """
    top.refuse_others(_KEYS)
    source = top.one_of("source", SourceKind, default=SourceKind.IMAGES)
    steps = read_steps(top.tables("step"), operations, folder=folder)
    spec = Spec(
        name=top.text("name"),
        seed=top.integer("seed", ge=0),
        steps=steps,
        source=source,
        light=read_light(top, folder=folder) or Light.SRGB,
        border=top.one_of("border", Border, default=Border.REFLECT101),
        draws=top.integer("draws", ge=1, default=1),
        patches=top.integer("patches", ge=1, default=1),
        patch=top.whole_pair("patch", form="[height, width]"),
        resize=_read_resize(top),
        grid=top.whole_pair("grid", form="[rows, columns]"),
        flips=top.flag("flips", default=False),
        candidates=top.integer("candidates", ge=1, default=1),
        redraw=top.one_of("redraw", Redraw, default=Redraw.EPOCH),
        output=_read_output(top, source),
        text=text,
    )
    if not top.findings.errors:
        check_frames(steps, operations, source, top)
        warn_of_order(steps, operations, top)
    return spec


def _read_resize(top: Table) -> Resize | None:
    table = top.table("resize")
    if table is None:
        return None
    table.refuse_others(("size", "filter", "antialias"), owner="resize")
    size = table.whole_pair("size", form="[width, height]")
    if size is None:
        if "size" not in table.content:
            table.error("size", "missing; it must be [width, height]")
        return None
    return Resize(
        width=size[0],
        height=size[1],
        filter=table.one_of("filter", Filter, default=Filter.BILINEAR),
        antialias=table.flag("antialias", default=False),
    )


def _read_output(top: Table, source: SourceKind) -> Output:
    together = Group.FOLDER if source is SourceKind.FRAMES else Group.FILE
    table = top.table("output") or Table({}, top.at("output"), top.findings)
    table.refuse_others(("format", "bits", "splits", "group"), owner="output")
    if table.text("format", default="png") != "png":
        table.error("format", 'only "png" can be written')
    if table.integer("bits", ge=1, default=8) != 8:
        table.error("bits", "only 8 can be written")
    group = table.one_of("group", Group, default=together)
    return Output(splits=_read_splits(table), group=group)


def _read_splits(output: Table) -> Mapping[str, float]:
    table = output.table("splits")
    if table is None:
        return Output().splits
    shares = {name: table.number(name, ge=0, le=1) for name in table.content}
    if abs(math.fsum(shares.values()) - 1) > _TOLERANCE:
        output.error("splits", f"shares sum to {math.fsum(shares.values()):.10g}, must be 1")
    return shares
