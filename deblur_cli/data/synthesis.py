"""One pair from one sharp picture and a spec, with a record from which the pair can be made again bit for bit.

A piece is cut, its steps are drawn, then applied; the sharp picture gets only what changes the scene itself. Making a
pair again takes place and steps from the record instead of drawing them, and goes the same way from there.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.light import Light, WorkingLight, parse_light
from deblur_cli.blur.opencv import import_opencv
from deblur_cli.blur.pipeline import (
    Kernel,
    Operations,
    Streams,
    Taken,
    apply_steps,
    as_records,
    draw_steps,
    from_records,
)
from deblur_cli.blur.randomness import generator
from deblur_cli.blur.spec import Filter, Resize, Spec
from deblur_cli.data.framing import Place, draw_place, resize, tiles
from deblur_cli.errors import UsageError
from deblur_cli.pictures.picture import Pixels
from deblur_cli.pictures.scaling import Image, from_integers, to_8_bit

Record = dict[str, Any]  # a JSON object


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a pair is made of.

    sharp : (H, W, C) of 8 or 16 bit, C = 1 or 3
    blurry : what the steps act on where that is not the sharp picture: integers like it, or float32 in the space `light`
    record : where it came from
    averaged : of frames, the step that made `blurry` of them, and what was measured on the way
    """

    sharp: Pixels
    blurry: Pixels | Image | None = None
    light: WorkingLight = Light.SRGB
    record: Mapping[str, Any] = field(default_factory=dict)
    averaged: tuple[Taken, Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MadePair:
    """A pair, (H, W, C) uint8 each, and the record of how it was made. kernels : by slot, where asked for."""

    blurry: NDArray[np.uint8]
    sharp: NDArray[np.uint8]
    record: Record
    kernels: Mapping[int, Kernel] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Everything that decides a pair besides the picture: drawn from a spec, or read from a record."""

    place: Place
    steps: Sequence[Taken]
    streams: Streams
    light: WorkingLight


def make_pairs(
    opened: Opened,
    spec: Spec,
    operations: Operations,
    *,
    index: int,
    draw: int,
    patch: int = 0,
    with_kernels: bool = True,
) -> list[MadePair]:
    """Make the pair of one draw, or all tiles of it where the spec has a grid.

    Parameters
    ----------
    opened : the picture, at least as large as `smallest` says
    index, draw, patch : which random numbers
    with_kernels : record the kernels, also at the centre of blurs that differ from place to place

    Raises
    ------
    PictureError : the picture is too small for the blur
    """
    number = draw * spec.patches + patch
    opened = resized(opened, spec.resize)
    drawn = draw_pair(opened.sharp, spec, operations, index=index, number=number)
    blurry, sharp, kernels = develop(opened, drawn, operations, with_kernels=with_kernels)
    steps = as_records(drawn.steps, light=spec.light, key=(index, number), kernels=kernels)
    if opened.averaged is not None:  # drawn when the windows were planned, once for all patches of one
        first, measured = opened.averaged
        steps[:1] = as_records([first], light=spec.light, key=(index, 0), kernels={})
        steps[0]["measured"] = dict(measured)
    record: Record = {
        **opened.record, "index": index, "draw": draw, "patch": patch, "seed": spec.seed, **drawn.place.as_record(),
        **({} if spec.resize is None else {"resize": asdict(spec.resize)}),
        "light": spec.light.value, "border": spec.border.value,
        "steps": steps,
    }  # fmt: skip
    pairs = []
    for tile, box in enumerate(tiles(sharp.shape[0], sharp.shape[1], spec.grid)):
        part = {} if spec.grid is None else {"piece": record["size"], "grid": list(spec.grid), "tile": tile}
        pairs.append(_finished(blurry[box], sharp[box], {**record, **part}, kernels))
    return pairs


def remake_pair(opened: Opened, record: Mapping[str, Any], operations: Operations) -> MadePair:
    """Make a pair again from its record and the picture it came from.

    Raises
    ------
    UsageError : the record makes no sense
    MissingError : it names a degradation that is not known here
    """
    try:
        # The last: the average of frames was drawn once for all patches.
        numbers = [step["stream"][1] for step in record["steps"] if "stream" in step]
        streams: Streams = partial(
            generator, record["seed"], index=record["index"], draw=max(numbers, default=0)
        )
        drawn = Drawn(
            place=Place.from_record(record),
            steps=from_records(record["steps"], operations, light=record["light"]),
            streams=streams,
            light=parse_light(record["light"], folder=Path()),
        )
        opened = resized(opened, resize_of(record))
        blurry, sharp, kernels = develop(opened, drawn, operations, with_kernels=False)
        grid = record.get("grid")
        if grid and not (0 < grid[0] <= sharp.shape[0] and 0 < grid[1] <= sharp.shape[1]):
            raise ValueError(f"{grid[0]} rows of {grid[1]} tiles in {sharp.shape[1]}x{sharp.shape[0]} px")
        box = tiles(sharp.shape[0], sharp.shape[1], grid and tuple(grid))[record.get("tile", 0)]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UsageError(f"the record of {record.get('name')} makes no sense ({error!r})") from error
    return _finished(blurry[box], sharp[box], dict(record), kernels)


def resize_of(record: Mapping[str, Any]) -> Resize | None:
    """How the picture of a record was resized first."""
    how = record.get("resize")
    if how is None:
        return None
    size = how["size"] and (how["size"][0], how["size"][1])
    return Resize(size=size, scale=how["scale"], filter=Filter(how["filter"]), antialias=how["antialias"])


def draw_pair(sharp: Pixels, spec: Spec, operations: Operations, *, index: int, number: int) -> Drawn:
    """Draw place and steps. number : of the draw, draw * patches + patch."""
    streams: Streams = partial(generator, spec.seed, index=index, draw=number)
    return Drawn(
        place=draw_place(sharp, spec, operations, streams=streams),
        steps=draw_steps(spec, operations, streams=streams, number=number),
        streams=streams,
        light=spec.light,
    )


def develop(
    opened: Opened, drawn: Drawn, operations: Operations, *, with_kernels: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Mapping[int, Kernel]]:
    """The pair that was drawn, (H, W, C) uint8 each, and the kernels of its steps by slot."""
    place = drawn.place
    sharp = place.cut(opened.sharp)
    start, light = (sharp, Light.SRGB) if opened.blurry is None else (place.cut(opened.blurry), opened.light)
    degraded = apply_steps(
        start if start.dtype == np.uint8 else from_integers(start),
        drawn.steps,
        operations,
        streams=drawn.streams,
        window=place.window,
        keep=place.keep,
        light=light,
        with_kernels=with_kernels,
    )
    if degraded.sharp is not None:
        kept = to_8_bit(degraded.sharp)
    else:
        kept = place.keep(sharp)
        kept = kept if kept.dtype == np.uint8 else to_8_bit(from_integers(kept))
    return np.ascontiguousarray(to_8_bit(degraded.blurry)), np.ascontiguousarray(kept), degraded.kernels


def psnr_db(blurry: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> float | None:
    """PSNR in dB, or None where the pictures are equal: JSON has no infinity."""
    cv2 = import_opencv()
    # A whole number, but OpenCV takes its root and squares that again.
    squares = round(cv2.norm(blurry, sharp, cv2.NORM_L2SQR))
    error = squares / sharp.size
    return 10 * math.log10(255**2 / error) if error else None


def sha256_of(pixels: Pixels) -> str:
    """Of the decoded values, row by row, not of any file."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def _finished(
    blurry: NDArray[np.uint8], sharp: NDArray[np.uint8], record: Record, kernels: Mapping[int, Kernel]
) -> MadePair:
    blurry, sharp = np.ascontiguousarray(blurry), np.ascontiguousarray(sharp)
    results = {
        "size": [sharp.shape[1], sharp.shape[0]],
        "psnr_db": psnr_db(blurry, sharp),
        "blur_sha256": sha256_of(blurry),
        "sharp_sha256": sha256_of(sharp),
    }
    return MadePair(blurry=blurry, sharp=sharp, record={**record, **results}, kernels=kernels)


def resized(opened: Opened, how: Resize | None) -> Opened:
    """Both pictures in the size that the spec asks for."""
    if how is None:
        return opened
    blurry = None if opened.blurry is None else resize(opened.blurry, how)
    return replace(opened, sharp=resize(opened.sharp, how), blurry=blurry)
