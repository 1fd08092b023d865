"""Blur as a longer exposure: the mean of consecutive sharp frames of a video, in the space that light adds up in.

S. Nah, T. H. Kim, K. M. Lee, "Deep Multi-scale Convolutional Neural Network for Dynamic Scene Deblurring", CVPR 2017.
Where neighbouring frames move too far the mean shows copies instead of a streak; such windows are refused, or frames
are put in between.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.distributions import Constant, Integers
from deblur_cli.blur.light import WorkingLight, decode
from deblur_cli.blur.optical_flow import Luma, Motion, between, describe_motion, luma, measure_flow
from deblur_cli.blur.params import check_ranges, number
from deblur_cli.errors import PictureError, UsageError
from deblur_cli.pictures.picture import Pixels
from deblur_cli.pictures.scaling import Image, from_integers

GREATEST_STEP = 1.15
"""Px that neighbours may move at most: 1, and 0.15 for the error of the measurement."""

GREATEST_BRIDGED_STEP = 8.0
"""Px beyond which the flow between two frames is not trusted to make frames in between."""

GREATEST_CHANGE = 0.25
"""Mean |difference| of neighbours, 1 = white, beyond which there is a cut between them."""


class Ghost(StrEnum):
    """What happens where neighbouring frames move by more than 1 px, so that the mean would show copies."""

    REFUSE = "refuse"  # the window is left out
    INTERPOLATE = "interpolate"  # frames are put in between
    ALLOW = "allow"  # it is kept as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameAverage:
    """window : frames that are averaged; stride : frames from one window to the next, 0 = as many as the window has."""

    window: int = number(unit="frames", ge=1, le=999, odd=True, drawn=Integers(7, 13, 2))
    stride: int = number(unit="frames", ge=0, le=100_000, drawn=Constant(0))
    ghost: Ghost = Ghost.REFUSE

    def __post_init__(self) -> None:
        check_ranges(self)
        for name in ("window", "stride"):
            if not isinstance(getattr(self, name), int):
                raise UsageError(
                    f"FrameAverage: {name} is {getattr(self, name)!r}; it must be a whole number"
                )

    @property
    def step(self) -> int:
        """Frames from the first of one window to the first of the next."""
        return self.stride or self.window


class Refusal(StrEnum):
    """Why a window of frames is left out."""

    CUT = "there is a cut between frames"
    GHOST = "neighbouring frames move too far"
    SIZE = "frames differ in size or in channels"


class WindowRefused(PictureError):
    """A window of frames cannot be averaged; the others of its clip may. reason : what to count it under."""

    def __init__(self, message: str, *, reason: Refusal) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Averaged:
    """image : (H, W, C) float32 in the working space `light`; info : measurements for the record, as JSON values."""

    image: Image
    light: WorkingLight
    info: dict[str, int | float | list[float]]


def apply(
    image: NDArray[np.float32], params: FrameAverage, rng: np.random.Generator | None = None
) -> NDArray[np.float32]:
    """The mean of a stack of frames.

    Parameters
    ----------
    image : (N, H, W, C) float32 in the working space, N = `params.window`
    rng : not used: nothing is random

    Returns
    -------
    (H, W, C) float32; equal frames come back bit for bit

    Raises
    ------
    UsageError : the stack holds another number of frames
    """
    if len(image) != params.window:
        raise UsageError(f"there are {len(image)} frames where the window takes {params.window}")
    return _mean((frame, 1.0) for frame in image)


def average(frames: Sequence[Pixels], light: WorkingLight) -> Image:
    """The mean of stored frames in a working space, summed in float64 in their order.

    Parameters
    ----------
    frames : each (H, W, C) uint8 or uint16

    Returns
    -------
    (H, W, C) float32 in the working space; equal frames give exactly their decoded value
    """
    decoder = _Decoder(frames[0].dtype, light)
    return _mean((decoder(frame), 1.0) for frame in frames)


def average_window(frames: Sequence[Pixels], params: FrameAverage, light: WorkingLight) -> Averaged:
    """A blurred picture from the frames of one window; its sharp original is the stored frame in the middle.

    Parameters
    ----------
    frames : each (H, W, C) uint8 or uint16 at output size, `params.window` of them, consecutive
    light : the space in which the mean is taken

    Returns
    -------
    the mean; `info` holds
        window, stride : frames
        flow_px : greatest motion between neighbours (95th percentile over the picture)
        inserted : frames made by interpolation
        offset_px : (x, y) by which the middle of the motion lies off the middle frame, mean over the picture

    Raises
    ------
    WindowRefused : sizes differ, there is a cut, or neighbours move too far for `params.ghost`
    UsageError : the number of frames is not the window's
    """
    if len(frames) != params.window:
        raise UsageError(f"there are {len(frames)} frames where the window takes {params.window}")
    _check_sizes(frames)
    _check_cuts(frames)
    lumas = [luma(frame) for frame in frames]
    motions = list(_motions(lumas, params.ghost))
    inserts = [0] * len(motions)
    if params.ghost is Ghost.INTERPOLATE:
        inserts = [max(math.ceil(motion.q) - 1, 0) for motion in motions]
    weights = _weights(inserts)
    samples = _samples(frames, lumas, inserts, light)
    image = _mean(zip(samples, weights, strict=True))
    info: dict[str, int | float | list[float]] = {
        "window": params.window,
        "stride": params.step,
        "flow_px": max((motion.q for motion in motions), default=0.0),
        "inserted": sum(inserts),
        "offset_px": _offset(motions, inserts, weights),
    }
    return Averaged(image=image, light=light, info=info)


class _Decoder:
    """Stored frames to the working space by a table, which is faster than the curve itself."""

    def __init__(self, kind: np.dtype[np.uint8 | np.uint16], light: WorkingLight) -> None:
        codes = np.arange(np.iinfo(kind).max + 1, dtype=kind)
        self._table = decode(from_integers(codes), light)

    def __call__(self, frame: Pixels) -> Image:
        return self._table[frame]


def _mean(samples: "Iterator[tuple[Image, float]]") -> Image:
    """Weighted mean. Weights of 1 leave the sum of equal float32 values exact, and so the mean."""
    first, weight = next(samples)
    total, weights = first.astype(np.float64) * weight, weight
    for sample, weight in samples:
        total += sample if weight == 1 else sample.astype(np.float64) * weight
        weights += weight
    total /= weights
    return total.astype(np.float32)


def _check_sizes(frames: Sequence[Pixels]) -> None:
    shapes = {frame.shape: position for position, frame in enumerate(frames)}
    if len(shapes) > 1 or len({frame.dtype for frame in frames}) > 1:
        sizes = ", ".join("x".join(map(str, (shape[1], shape[0], shape[2]))) for shape in shapes)
        raise WindowRefused(f"the frames are not of one kind: {sizes}", reason=Refusal.SIZE)


def _check_cuts(frames: Sequence[Pixels]) -> None:
    white = float(np.iinfo(frames[0].dtype).max)
    for position, (before, after) in enumerate(pairwise(frames)):
        # The greater minus the smaller: differences of unsigned numbers would wrap around.
        change = float(np.mean(np.maximum(before, after) - np.minimum(before, after))) / white
        if change > GREATEST_CHANGE:
            raise WindowRefused(
                f"there is a cut between its frames {position} and {position + 1} (mean difference {change:.2f})",
                reason=Refusal.CUT,
            )


def _motions(lumas: Sequence[Luma], ghost: Ghost) -> Iterator[Motion]:
    """Motion from each frame to the next; refuses as soon as one is too great."""
    limit = {Ghost.REFUSE: GREATEST_STEP, Ghost.INTERPOLATE: GREATEST_BRIDGED_STEP, Ghost.ALLOW: math.inf}[
        ghost
    ]
    for position, (before, after) in enumerate(pairwise(lumas)):
        motion = describe_motion(measure_flow(before, after))
        if motion.q > limit:
            raise WindowRefused(
                f"its frames {position} and {position + 1} move by {motion.q:.2f} px, more than {limit:g}",
                reason=Refusal.GHOST,
            )
        yield motion


def _samples(
    frames: Sequence[Pixels], lumas: Sequence[Luma], inserts: Sequence[int], light: WorkingLight
) -> Iterator[Image]:
    """The decoded frames in order of time, with those that are made in between."""
    decoder = _Decoder(frames[0].dtype, light)
    after = decoder(frames[0])
    yield after
    for position, inserted in enumerate(inserts):
        before, after = after, decoder(frames[position + 1])
        if inserted:
            forward = measure_flow(lumas[position], lumas[position + 1])
            backward = measure_flow(lumas[position + 1], lumas[position])
            for i in range(1, inserted + 1):
                yield between(before, after, forward=forward, backward=backward, time=i / (inserted + 1))
        yield after


def _weights(inserts: Sequence[int]) -> list[float]:
    """The time that each sample stands for, in frames: half of what lies between it and its neighbours.

    The first and the last stand for as much time outside as inside, so without insertions all weights are 1.
    """
    if not inserts:
        return [1.0]
    steps = [1 / (inserted + 1) for inserted in inserts for _ in range(inserted + 1)]
    return [(before + after) / 2 for before, after in pairwise([steps[0], *steps, steps[-1]])]


def _offset(motions: Sequence[Motion], inserts: Sequence[int], weights: Sequence[float]) -> list[float]:
    """(x, y) of the mean place over the exposure, seen from the middle frame, px."""
    offset = []
    for axis in (0, 1):
        places, middle = [0.0], 0.0
        for position, (motion, inserted) in enumerate(zip(motions, inserts, strict=True)):
            start = places[-1]
            places += [start + motion.mean[axis] * i / (inserted + 1) for i in range(1, inserted + 2)]
            if position + 1 == len(motions) // 2:
                middle = places[-1]
        offset.append(float(np.average(places, weights=weights)) - middle)
    return offset
