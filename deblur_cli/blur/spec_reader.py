"""The top-level keys of a spec, and what they must not say together."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from deblur_cli.blur.borders import Border
from deblur_cli.blur.light import Light
from deblur_cli.blur.overrides import Document
from deblur_cli.blur.spec import SCHEMA, Filter, Group, Output, Redraw, Resize, SourceKind, Spec, margin
from deblur_cli.blur.spec_steps import (
    Operations,
    check_frames,
    check_pairs,
    read_light,
    read_steps,
    warn_of_order,
)
from deblur_cli.blur.spec_table import Findings, Table

_UPGRADES: tuple[Callable[[Document], Document], ...] = ()
"""The first makes a document of schema 2 from one of schema 1, and so on: one for each schema before SCHEMA."""

_KEYS = (
    "schema", "name", "seed", "source", "light", "border", "draws", "patches", "patch", "resize", "grid", "flips",
    "candidates", "redraw", "output", "step",
)  # fmt: skip
_SPLITS = ("train", "val", "test")
_LONGEST_PX = 32767  # a side that OpenCV still resizes
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
        seed=top.integer("seed", ge=0, le=2**63 - 1),
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
        candidates=top.integer("candidates", ge=1, le=1000, default=1),
        redraw=top.one_of("redraw", Redraw, default=Redraw.EPOCH),
        output=_read_output(top, source),
        text=text,
    )
    if not top.findings.errors:
        _check_steps(spec, top)
        check_frames(steps, operations, source, top)
        check_pairs(steps, operations, source, top)
        _check_counts(spec, top)
    if not top.findings.errors:
        _check_sizes(spec, operations, top)
        warn_of_order(steps, operations, top)
    return spec


def _check_steps(spec: Spec, top: Table) -> None:
    """Something must happen to sharp pictures."""
    if spec.source in (SourceKind.IMAGES, SourceKind.CIFAR10) and not spec.steps:
        top.error("step", 'missing; to change nothing, add a [[step]] with op = "identity"')


def _check_counts(spec: Spec, top: Table) -> None:
    """What only makes sense together."""
    if spec.patch is None:
        for key in ("patches", "candidates"):
            if getattr(spec, key) > 1:
                top.error(key, f"{getattr(spec, key)} needs patch = [height, width]")
        if spec.source is SourceKind.PAIRS and spec.draws > 1 and not spec.steps:
            top.error(
                "draws", f"{spec.draws} draws of whole pairs are all alike; add patch = [height, width]"
            )
    elif spec.grid is not None:
        top.error("grid", "a grid cuts whole pictures, so it cannot stand beside patch")
    if spec.source is SourceKind.FRAMES and spec.output.group is Group.FILE:
        findings, path = top.findings, (*top.at("output"), "group")
        findings.error(path, 'frames of one clip must stay in one part; write "folder"')


def _check_sizes(spec: Spec, operations: Operations, top: Table) -> None:
    """Where the size of all pictures is known: something must be left, and a grid must divide it."""
    if spec.resize is not None and spec.resize.size is not None:
        width, height = spec.resize.size
    elif spec.source is SourceKind.CIFAR10:
        height, width = 32, 32
    else:
        return
    cut = margin(spec, operations)
    wanted_height, wanted_width = spec.patch or (1, 1)
    if wanted_height + 2 * cut > height or wanted_width + 2 * cut > width:
        needed = f"{wanted_width + 2 * cut}x{wanted_height + 2 * cut}"
        why = f" with the margin of {cut} px at each edge that crop-valid needs" if cut else ""
        top.error(
            "patch" if spec.patch else "border",
            f"{needed}{why} is more than pictures of {width}x{height} have",
        )
    rows, columns = spec.grid or (1, 1)
    if (height - 2 * cut) % rows or (width - 2 * cut) % columns:
        size = f"{width - 2 * cut}x{height - 2 * cut}"
        top.error("grid", f"{rows} rows of {columns} do not divide {size} evenly")


def _read_resize(top: Table) -> Resize | None:
    table = top.table("resize")
    if table is None:
        return None
    table.refuse_others(("size", "scale", "filter", "antialias"), owner="resize")
    if len({"size", "scale"} & set(table.content)) != 1:
        table.error("size", "either size = [width, height] or scale must be given")
        return None
    size = table.whole_pair("size", form="[width, height]")
    if size is not None and max(size) > _LONGEST_PX:
        table.error("size", f"{list(size)} is more than the {_LONGEST_PX} px a side that a picture may have")
    return Resize(
        size=size,
        scale=table.number("scale", ge=0.01, le=16) if "scale" in table.content else None,
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
    known = len(table.findings.errors)
    table.refuse_others(_SPLITS, owner="splits")
    shares = {name: table.number(name, ge=0, le=1) for name in table.content if name in _SPLITS}
    total = math.fsum(shares.values())
    if len(table.findings.errors) == known and abs(total - 1) > _TOLERANCE:
        output.error("splits", f"shares sum to {total:.10g}, must be 1")
    return shares
