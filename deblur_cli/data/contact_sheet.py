"""A sheet of pairs with the kernels they were blurred with, to see at a glance what a data set holds.

A row a pair: the sharp picture, the blurred one, the kernels, and a part of both pixel by pixel; below it every step
with what was drawn for it. Kernels are made again from the record, so the sheet of a set made long ago can be drawn.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deblur_cli.blur.operations import load_operation
from deblur_cli.blur.pipeline import Kernel, Operations, Taken, from_records
from deblur_cli.blur.randomness import Role, generator
from deblur_cli.data.files import as_text, read_opaque, write_png
from deblur_cli.data.framing import Place
from deblur_cli.data.kernel_panel import NamedKernel, kernel_panels
from deblur_cli.data.sheet_rows import Row, draw_rows
from deblur_cli.data.step_words import words_of
from deblur_cli.data.synthesis import MadePair
from deblur_cli.errors import MissingError, UsageError
from deblur_cli.host.declarations import Degradation, Stage
from deblur_cli.pictures.drawing import as_rgb, fitted
from deblur_cli.pictures.picture import shown
from deblur_cli.pictures.regions import find_detail

ROOM_PX = (384, 256)
"""Greatest width and height of a picture as drawn: one of 3:2 fills it, and all rows are of one height."""

DETAIL_PX = 64
"""Side of the part shown pixel by pixel, in px of the picture; four times as large it is as high as a row."""

_DETAIL_TIMES = ROOM_PX[1] // DETAIL_PX
_SPREAD = (5**0.5 - 1) / 2  # the golden ratio never falls into step with draws, patches or tiles that repeat


def draw_contact_sheet(out: Path, *, count: int, target: Path, operations: Mapping[str, Degradation]) -> int:
    """Draw pairs of a data set that make-dataset wrote, taken evenly from the whole of it; returns how many.

    Parameters
    ----------
    out : folder of the set
    count : pairs; a smaller set is drawn whole
    target : a PNG file, replaced where it exists; about 1600 px wide and 330 px high a pair

    Raises
    ------
    UsageError : count is below 1, or a record makes no sense
    MissingError : there is no finished data set, or an operation is not known here
    PictureError : a picture cannot be read, or the sheet not be written
    """
    if count < 1:
        raise UsageError(f"a sheet of {count} pairs shows nothing; ask for 1 or more")
    total, records = _evenly(out / "meta.jsonl", count)
    part = f"{len(records)} of {total} pairs" if total > len(records) else f"all {total} pairs"
    facts = [f"{name} {records[0][name]}" for name in ("seed", "light", "border") if name in records[0]]
    contact_sheet(
        (_read_pair(out, record) for record in records),
        operations,
        target=target,
        title=_spec_name(out),
        caption=", ".join([as_text(out), part, *facts]),
    )
    return len(records)


def contact_sheet(
    pairs: Iterable[MadePair], operations: Operations, *, target: Path, title: str = "", caption: str = ""
) -> None:
    """Draw pairs, one a row.

    Parameters
    ----------
    pairs : one at a time is in memory
    target : a PNG file, replaced where it exists
    title, caption : lines above all rows

    Raises
    ------
    UsageError : there is no pair, or a record makes no sense
    MissingError : an operation is not known here
    """
    rows = [_row(pair, operations) for pair in pairs]
    if not rows:
        raise UsageError("there is no pair to show")
    columns = ["sharp", "blurred", "kernel, square root of its values"]
    if any(row.scale < _DETAIL_TIMES for row in rows):
        columns += [f"{DETAIL_PX} px of sharp", f"{DETAIL_PX} px of blurred"]
    else:  # the pictures are shown as large as their details would be
        rows = [replace(row, cells=row.cells[:3], region=None) for row in rows]
    sheet = draw_rows(rows, columns=columns, title=shown(title), caption=shown(caption))
    write_png(target, np.asarray(sheet))


def kernels_of(record: Mapping[str, Any], operations: Operations) -> list[NamedKernel]:
    """The kernels of a pair's blur as they lie in its pictures, from its record alone.

    Raises
    ------
    UsageError : the record makes no sense
    MissingError : an operation is not known here
    """
    place = Place.from_record(record)
    found = []
    for step, entry in _applied(record, operations):
        operation = load_operation(operations[step.op])
        if operation.stage not in (Stage.BLUR, Stage.FRAMES):
            continue
        kernel: Kernel | None = None
        if operation.stage is Stage.FRAMES:
            note = "frames averaged, no kernel"
        else:
            note = "no kernel describes it" if operation.looks_around else "blurs nothing"
        if operation.kernel is not None:
            index, draw, slot, _ = entry["stream"]
            rng = generator(record["seed"], index=index, draw=draw, slot=slot, role=Role.FIELD)
            seen = {"window": place.window} if operation.places else {}
            kernel = operation.kernel(step.params, rng, **seen)
            kernel = kernel[tuple(slice(None, None, -1 if flip else 1) for flip in place.flips)]
            note = "at the centre" if operation.places else ""
        found.append(NamedKernel(name=step.op, kernel=kernel, note=note))
    if not found:
        ready = "source_blurry" in record or not record["steps"]
        name = "blurred in the source" if ready else "no blur"
        found.append(NamedKernel(name=name, kernel=None, note="no kernel"))
    return found


def _applied(record: Mapping[str, Any], operations: Operations) -> list[tuple[Taken, Mapping[str, Any]]]:
    """The steps of a record that changed something, each with its entry."""
    taken = from_records(record["steps"], operations, light=record["light"])
    return [
        (step, entry)
        for step, entry in zip(taken, record["steps"], strict=True)
        if step.applied is not False and step.branch is None
    ]


def _row(pair: MadePair, operations: Operations) -> Row:
    record = pair.record
    try:
        name = (
            record["name"]
            if "name" in record
            else "_".join(str(record[key]) for key in ("index", "draw", "patch"))
        )
        kernels = kernels_of(record, operations)
        words = tuple(words_of(step) for step, _ in _applied(record, operations))
        psnr = record["psnr_db"]
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise UsageError(f"the record of {record.get('name')} makes no sense ({error!r})") from error
    sharp, blurry = as_rgb(pair.sharp), as_rgb(pair.blurry)
    region = find_detail(sharp, blurry, side=DETAIL_PX)
    drawn = fitted(sharp, room=ROOM_PX)
    size = f"{sharp.shape[1]} x {sharp.shape[0]} px"
    cells = [
        drawn,
        fitted(blurry, room=ROOM_PX),
        kernel_panels(kernels, side=ROOM_PX[1]),
        *(fitted(region.crop(picture), room=(ROOM_PX[1], ROOM_PX[1])) for picture in (sharp, blurry)),
    ]
    return Row(
        cells=cells,
        region=region,
        scale=drawn.width / sharp.shape[1],
        name=shown(name),
        source=f"{shown(record['source'])}  {size}" if "source" in record else size,
        measure="identical" if psnr is None else f"PSNR {psnr:.2f} dB",
        words=words,
    )


def _evenly(path: Path, count: int) -> tuple[int, list[dict[str, Any]]]:
    """How many records there are, and up to `count` of them: one from each of as many equal parts."""
    try:
        with path.open(encoding="utf-8") as lines:
            total = sum(1 for _ in lines)
        count = min(count, total)
        wanted = {int((part + part * _SPREAD % 1) * total / count) for part in range(count)}
        with path.open(encoding="utf-8") as lines:
            records = [json.loads(line) for number, line in enumerate(lines) if number in wanted]
    except FileNotFoundError as error:
        raise MissingError(
            f"there is no {path}: either this is no data set that make-dataset wrote, or it is not finished"
        ) from error
    except OSError as error:
        raise MissingError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:
        raise UsageError(f"the records in {path} make no sense: {error}") from error
    if not records:
        raise MissingError(f"{path} holds no pair")
    if not all(isinstance(record, dict) for record in records):
        raise UsageError(f"the records in {path} make no sense: a line is no JSON object")
    return total, records


def _spec_name(out: Path) -> str:
    """As the spec kept beside the pairs calls itself; the folder's name where it has gone."""
    try:
        name = tomllib.loads((out / "spec.toml").read_text(encoding="utf-8")).get("name")
    except (OSError, ValueError):
        name = None
    return str(name or out.resolve().name)


def _read_pair(out: Path, record: dict[str, Any]) -> MadePair:
    blurry, sharp = (read_opaque(out / part / f"{record.get('name')}.png") for part in ("blur", "sharp"))
    if blurry.dtype != np.uint8 or sharp.dtype != np.uint8 or blurry.shape != sharp.shape:
        raise UsageError(f"{out}: the two pictures of {record.get('name')} do not match; make the set again")
    return MadePair(blurry=blurry.astype(np.uint8), sharp=sharp.astype(np.uint8), record=record)
