"""The steps of a spec on one picture: drawn first, then applied, so that a record alone can make the picture again.

Light, border and order follow the physics: decode, change the scene, blur, add noise, clip, encode, round to 8 bit, JPEG.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.borders import Window
from deblur_cli.blur.convolution import convolve
from deblur_cli.blur.distributions import pick
from deblur_cli.blur.light import Light, WorkingLight, decode, encode, parse_light
from deblur_cli.blur.operations import Operation, load_operation
from deblur_cli.blur.params import as_record, from_record
from deblur_cli.blur.randomness import Role
from deblur_cli.blur.spec import Mix, Select, Spec, Step
from deblur_cli.errors import MissingError
from deblur_cli.host.declarations import Degradation, Stage
from deblur_cli.pictures.scaling import Image, from_integers, to_8_bit

Kernel = NDArray[np.float64]
Operations = Mapping[str, Degradation]


class Streams(Protocol):
    """The random generators of one pair."""

    def __call__(self, *, slot: int, role: Role) -> np.random.Generator:
        """A fresh generator of one step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A step as it was drawn.

    applied : False where its probability said no
    branch : of a mixture, the position of the branch taken
    params : of an operation (`Any`: each has a dataclass of its own)
    light : what it acts on
    """

    slot: int
    op: str
    applied: bool = True
    branch: int | None = None
    params: Any = None
    light: WorkingLight = Light.SRGB


@dataclass(frozen=True, slots=True, kw_only=True)
class Degraded:
    """blurry, sharp : (H, W, C) float32 code values, cropped; `sharp` is None where the steps leave it as it was

    kernels : by slot, those of the steps that have one, where they were asked for
    """

    blurry: Image
    sharp: Image | None
    kernels: Mapping[int, Kernel] = field(default_factory=dict)


def draw_steps(spec: Spec, operations: Operations, *, streams: Streams, number: int) -> list[Taken]:
    """Draw the parameters of all steps that are taken, mixtures included.

    Parameters
    ----------
    streams : generators by slot, so that changing one step leaves the draws of the others
    number : of the draw, for what goes in turn
    """
    return list(_draw(spec.steps, spec.light, operations, streams=streams, number=number))


def apply_steps(
    image: Image,
    taken: Sequence[Taken],
    operations: Operations,
    *,
    streams: Streams,
    window: Window,
    keep: Callable[[Image], Image],
    light: WorkingLight = Light.SRGB,
    with_kernels: bool = False,
) -> Degraded:
    """Apply drawn steps.

    Parameters
    ----------
    image : (H, W, C) float32, code values in [0, 1], or in the working space `light`
    window : where it lies in the whole picture
    keep : cuts off what only the steps see, before the noise where nothing after it looks around
    with_kernels : return the kernels too, which costs time for those that are not needed otherwise

    Raises
    ------
    PictureError : the picture is too small for a step's reach
    """
    steps = _operations_of(taken, operations)
    kept_before = _first_of_the_pointwise_end(steps)
    kernels: dict[int, Kernel] = {}
    sharp: Image | None = None
    for position, (item, operation) in enumerate(steps):
        if position == kept_before:
            image = keep(image)
        if operation.stage is Stage.FILE:
            image, light = from_integers(to_8_bit(encode(image, light))), Light.SRGB
        elif item.light != light:
            image, light = decode(encode(image, light), item.light), item.light
        before = image
        image = _apply(
            image, item, operation, streams=streams, window=window, kernels=kernels, show=with_kernels
        )
        if operation.stage is Stage.SCENE and image is not before:
            sharp = keep(np.clip(encode(image, light), 0, 1))
    if kept_before == len(steps):
        image = keep(image)
    return Degraded(blurry=encode(image, light), sharp=sharp, kernels=kernels)


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
        if item.branch is not None:
            record["branch"] = item.branch
        elif not item.applied:
            record["applied"] = False
        else:
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
        if "branch" in record:
            taken.append(Taken(slot=record["slot"], op=op, branch=record["branch"]))
            continue
        if op not in operations:
            raise MissingError(f"the record names the degradation {op}, which no plugin here brings")
        applied = record.get("applied", True)
        kind = load_operation(operations[op]).params
        taken.append(
            Taken(
                slot=record["slot"],
                op=op,
                applied=applied,
                params=from_record(kind, record.get("params", {})) if applied else None,
                light=parse_light(record.get("light", light), folder=Path()),
            )
        )
    return taken


def describe(kernel: Kernel) -> dict[str, Any]:
    """Side in px, root mean square distance from the centroid in px, and the centroid itself (x, y) in px."""
    radius = kernel.shape[0] // 2
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    total = kernel.sum()
    cx, cy = float((kernel * x).sum() / total), float((kernel * y).sum() / total)
    spread = float((kernel * ((x - cx) ** 2 + (y - cy) ** 2)).sum() / total)
    return {"side": kernel.shape[0], "rms_px": float(np.sqrt(spread)), "centroid": [cx, cy]}


def _draw(
    steps: Sequence[Step | Mix], light: WorkingLight, operations: Operations, *, streams: Streams, number: int
) -> Iterable[Taken]:
    for step in steps:
        rng = streams(slot=step.slot, role=Role.PARAMETERS)
        op = "mix" if isinstance(step, Mix) else step.op
        if step.prob is not None and not float(rng.random()) < step.prob:
            yield Taken(slot=step.slot, op=op, applied=False)
        elif isinstance(step, Mix):
            branch = number % len(step.branches)
            if step.select is Select.RANDOM:
                branch = pick([item.p for item in step.branches], float(rng.random()))
            yield Taken(slot=step.slot, op=op, branch=branch)
            yield from _draw(step.branches[branch].steps, light, operations, streams=streams, number=number)
        else:
            params = load_operation(operations[step.op]).draw(step.node, rng, number)
            yield Taken(slot=step.slot, op=op, params=params, light=step.light or light)


def _operations_of(taken: Sequence[Taken], operations: Operations) -> list[tuple[Taken, Operation]]:
    """The steps that change a picture; frames were averaged into one before."""
    steps = [
        (item, load_operation(operations[item.op])) for item in taken if item.applied and item.branch is None
    ]
    return [(item, operation) for item, operation in steps if operation.stage is not Stage.FRAMES]


def _first_of_the_pointwise_end(steps: Sequence[tuple[Taken, Operation]]) -> int:
    """After which step nothing looks around any more, so that the margin can go."""
    last = len(steps)
    while last > 0 and not steps[last - 1][1].looks_around:
        last -= 1
    return last


def _apply(
    image: Image,
    item: Taken,
    operation: Operation,
    *,
    streams: Streams,
    window: Window,
    kernels: dict[int, Kernel],
    show: bool,
) -> Image:
    place = {"window": window} if operation.places else {}
    if operation.kernel is not None and (operation.apply is None or show):
        kernel = operation.kernel(item.params, streams(slot=item.slot, role=Role.FIELD), **place)
        kernels[item.slot] = kernel
    if operation.apply is None:
        return convolve(image, kernels[item.slot])
    rng = streams(slot=item.slot, role=Role.FIELD)
    result: Image = operation.apply(image, item.params, rng, **place)
    return result
