"""The steps of a spec on one picture: drawn first, then applied, so that a record alone can make the picture again.

Light, border and order follow the physics: decode, change the scene, blur, add noise, clip, encode, round to 8 bit, JPEG.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.borders import Window
from deblur_cli.blur.convolution import convolve
from deblur_cli.blur.distributions import pick
from deblur_cli.blur.kernels import centroid, variance
from deblur_cli.blur.light import Light, WorkingLight, decode, encode, parse_light
from deblur_cli.blur.operations import Operation, load_operation
from deblur_cli.blur.params import as_record, from_record
from deblur_cli.blur.randomness import Role
from deblur_cli.blur.spec import Mix, Select, Spec, Step, walk
from deblur_cli.errors import MissingError
from deblur_cli.host.declarations import Degradation, Stage
from deblur_cli.pictures.scaling import Codes, Image, from_integers, to_8_bit

Kernel = NDArray[np.float64]
Operations = Mapping[str, Degradation]


class Streams(Protocol):
    """The random generators of one pair."""

    def __call__(self, *, slot: int, role: Role) -> np.random.Generator:
        """A fresh generator of one step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A step as it was drawn.

    applied : False where its probability said no, None where it has none
    branch : of a mixture, the position of the branch taken
    params : of an operation (`Any`: each has a dataclass of its own)
    light : what it acts on
    """

    slot: int
    op: str
    applied: bool | None = None
    branch: int | None = None
    params: Any = None
    light: WorkingLight = Light.SRGB


@dataclass(frozen=True, slots=True)
class _Lit:
    """A picture and the working space it is in: as stored while no step needed more."""

    image: Image | Codes
    light: WorkingLight


@dataclass(frozen=True, slots=True, kw_only=True)
class Degraded:
    """blurry : (H, W, C) code values, cropped; float32, or uint8 where the last step made that

    sharp : likewise, float32; None where the steps leave it as it was
    kernels : by slot, those of the steps that have one, where they were asked for
    """

    blurry: Image | Codes
    sharp: Image | None
    kernels: Mapping[int, Kernel] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """A picture between two steps. image : (H, W, C) in the working space `light`; others as of `Degraded`."""

    image: Image | Codes
    light: WorkingLight
    sharp: Image | None
    kernels: Mapping[int, Kernel]


def halves(spec: Spec, operations: Operations) -> tuple[Spec, Spec]:
    """The spec with its steps up to the last that looks around or changes the scene, and with those after it.

    The second half acts on each pixel, or on each stored file, alone: it can be applied to any piece of what the first
    half made.
    """
    last = len(spec.steps)
    while last > 0 and all(
        load_operation(operations[step.op]).is_pointwise
        for step in walk(spec.steps[last - 1 : last])
        if isinstance(step, Step)
    ):
        last -= 1
    return replace(spec, steps=spec.steps[:last]), replace(spec, steps=spec.steps[last:])


def draw_steps(spec: Spec, operations: Operations, *, streams: Streams, number: int) -> list[Taken]:
    """Draw the parameters of all steps that are taken, mixtures included.

    Parameters
    ----------
    streams : generators by slot, so that changing one step leaves the draws of the others
    number : of the draw, for what goes in turn
    """
    return list(_draw(spec.steps, spec.light, operations, streams=streams, number=number))


def apply_steps(
    image: Image | Codes,
    taken: Sequence[Taken],
    operations: Operations,
    *,
    streams: Streams,
    window: Window,
    keep: Callable[[Image | Codes], Image | Codes],
    light: WorkingLight = Light.SRGB,
    with_kernels: bool = False,
) -> Degraded:
    """Apply drawn steps.

    Parameters
    ----------
    image : (H, W, C) float32, code values in [0, 1], or in the working space `light`; or uint8 code values
    window : where it lies in the whole picture
    keep : cuts off what only the steps see, before the noise where nothing after it looks around
    with_kernels : return the kernel at the centre too of blurs that differ from place to place; those that the blur is
        made of are returned anyway

    Raises
    ------
    PictureError : the picture is too small for a step's reach
    """
    exposed = expose(
        image, taken, operations, streams=streams, window=window, keep=keep, light=light, with_kernels=with_kernels
    )  # fmt: skip
    blurry = exposed.image
    if exposed.light is not Light.SRGB:
        blurry = encode(from_integers(blurry), exposed.light)
    return Degraded(blurry=blurry, sharp=exposed.sharp, kernels=exposed.kernels)


def expose(
    image: Image | Codes,
    taken: Sequence[Taken],
    operations: Operations,
    *,
    streams: Streams,
    window: Window,
    keep: Callable[[Image | Codes], Image | Codes],
    light: WorkingLight = Light.SRGB,
    with_kernels: bool = False,
) -> Exposure:
    """`apply_steps` that stays in the light of the last step, so that others may follow. Raises as that does."""
    steps = _operations_of(taken, operations)
    kept_before = _first_of_the_pointwise_end(steps)
    kernels: dict[int, Kernel] = {}
    changed = any(operation.stage is Stage.SCENE for _, operation in steps)
    blurry = _Lit(image, light)
    scene = blurry if changed else None
    for position, (item, operation) in enumerate(steps):
        if position == kept_before:
            blurry, scene = _kept(blurry, scene, keep)
        step = partial(
            _apply,
            item=item,
            operation=operation,
            streams=streams,
            window=window,
            kernels=kernels,
            show=with_kernels,
        )
        before, blurry = blurry, step(blurry)
        if scene is not None and operation.stage is Stage.SCENE:  # mostly first, where nothing is blurred yet
            scene = blurry if before is scene else step(scene)
    if kept_before == len(steps):
        blurry, scene = _kept(blurry, scene, keep)
    sharp = None if scene is None else np.clip(encode(from_integers(scene.image), scene.light), 0, 1)
    return Exposure(image=blurry.image, light=blurry.light, sharp=sharp, kernels=kernels)


def as_records(
    taken: Iterable[Taken], *, light: WorkingLight, key: tuple[int, int], kernels: Mapping[int, Kernel]
) -> list[dict[str, Any]]:
    """Drawn steps as JSON objects.

    Parameters
    ----------
    light : of the spec; steps that act on another say so
    key : index and draw, of the random streams
    kernels : by slot; their size, radius and centroid are recorded
    """
    records: list[dict[str, Any]] = []
    for item in taken:
        record: dict[str, Any] = {"slot": item.slot, "op": item.op}
        if item.applied is not None:
            record["applied"] = item.applied
        if item.branch is not None:
            record["branch"] = item.branch
        elif item.applied is not False:
            if item.params is not None:
                record["params"] = as_record(item.params)
            if item.light != light:
                record["light"] = item.light.value
            record["stream"] = [*key, item.slot, int(Role.FIELD)]
            if item.slot in kernels:
                record["kernel"] = describe(kernels[item.slot])
        records.append(record)
    return records


def from_records(records: Iterable[Mapping[str, Any]], operations: Operations, *, light: str) -> list[Taken]:
    """The drawn steps that records describe. light : of the record as a whole.

    Raises
    ------
    UsageError : a record makes no sense
    MissingError : an operation is not known here
    """
    taken = []
    for record in records:
        op = record["op"]
        applied = record.get("applied")
        if "branch" in record or applied is False:
            taken.append(Taken(slot=record["slot"], op=op, applied=applied, branch=record.get("branch")))
            continue
        if op not in operations:
            raise MissingError(f"the record names the degradation {op}, which no plugin here brings")
        kind = load_operation(operations[op]).params
        taken.append(
            Taken(
                slot=record["slot"],
                op=op,
                applied=applied,
                params=from_record(kind, record.get("params", {})),
                light=parse_light(record.get("light", light), folder=Path()),
            )
        )
    return taken


def describe(kernel: Kernel) -> dict[str, Any]:
    """Side in px, root mean square distance from the centroid in px, and the centroid itself (x, y) in px."""
    return {
        "side": len(kernel),
        "rms_px": math.sqrt(max(0.0, sum(variance(kernel)))),  # below 0 for some kernels that sharpen
        "centroid": list(centroid(kernel)),
    }


def _draw(
    steps: Sequence[Step | Mix], light: WorkingLight, operations: Operations, *, streams: Streams, number: int
) -> Iterable[Taken]:
    for step in steps:
        rng = streams(slot=step.slot, role=Role.PARAMETERS)
        op = "mix" if isinstance(step, Mix) else step.op
        applied = None if step.prob is None else float(rng.random()) < step.prob
        if applied is False:
            yield Taken(slot=step.slot, op=op, applied=False)
        elif isinstance(step, Mix):
            branch = number % len(step.branches)
            if step.select is Select.RANDOM:
                branch = pick([item.p for item in step.branches], float(rng.random()))
            yield Taken(slot=step.slot, op=op, applied=applied, branch=branch)
            yield from _draw(step.branches[branch].steps, light, operations, streams=streams, number=number)
        else:
            params = load_operation(operations[step.op]).draw(step.node, rng, number)
            yield Taken(slot=step.slot, op=op, applied=applied, params=params, light=step.light or light)


def _operations_of(taken: Sequence[Taken], operations: Operations) -> list[tuple[Taken, Operation]]:
    """The steps that change a picture; frames were averaged into one before."""
    happened = (item for item in taken if item.applied is not False and item.branch is None)
    steps = [(item, load_operation(operations[item.op])) for item in happened]
    return [(item, operation) for item, operation in steps if operation.stage is not Stage.FRAMES]


def _first_of_the_pointwise_end(steps: Sequence[tuple[Taken, Operation]]) -> int:
    """After which step nothing looks around or changes the scene any more, so that the margin can go."""
    last = len(steps)
    while last > 0 and steps[last - 1][1].is_pointwise:
        last -= 1
    return last


def _kept(
    blurry: _Lit, scene: _Lit | None, keep: Callable[[Image | Codes], Image | Codes]
) -> tuple[_Lit, _Lit | None]:
    """Both cut, as one where they are."""
    kept = _Lit(keep(blurry.image), blurry.light)
    if scene is None:
        return kept, None
    return kept, kept if scene is blurry else _Lit(keep(scene.image), scene.light)


def _apply(
    before: _Lit,
    *,
    item: Taken,
    operation: Operation,
    streams: Streams,
    window: Window,
    kernels: dict[int, Kernel],
    show: bool,
) -> _Lit:
    image, light = before.image, before.light
    if operation.stage is Stage.FILE:
        image, light = to_8_bit(encode(from_integers(image), light)), Light.SRGB
    elif item.light != light:
        image, light = decode(encode(from_integers(image), light), item.light), item.light
    if not operation.codes:
        image = from_integers(image)
    place = {"window": window} if operation.places else {}

    def rng() -> np.random.Generator | None:
        return streams(slot=item.slot, role=Role.FIELD) if operation.random else None

    if operation.kernel is not None and (operation.apply is None or (operation.places and show)):
        kernels[item.slot] = operation.kernel(item.params, rng(), **place)
    if operation.apply is None:
        return _Lit(convolve(from_integers(image), kernels[item.slot]), light)
    return _Lit(operation.apply(image, item.params, rng(), **place), light)
