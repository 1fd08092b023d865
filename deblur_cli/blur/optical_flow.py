"""How far pictures move from one frame to the next, and pictures in between, by dense optical flow.

G. Farneback, "Two-frame motion estimation based on polynomial expansion", SCIA 2003, as OpenCV has it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.opencv import import_opencv
from deblur_cli.pictures.picture import Pixels
from deblur_cli.pictures.scaling import Image

Luma = NDArray[np.uint8]
Flow = NDArray[np.float32]

_BORDER_PX = 32  # what enters or leaves the picture there has no counterpart in the other frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """Motion between two frames, without the border. q : 95th percentile of its length, px; mean : (x, y), px."""

    q: float
    mean: tuple[float, float]


def luma(frame: Pixels) -> Luma:
    """(H, W) 8-bit luma of an (H, W, C) frame of 8 or 16 bit, C = 1 or 3."""
    wide = frame.dtype == np.uint16
    eight: Luma = np.asarray(np.rint(frame / 257) if wide else frame, np.uint8)  # 65535 / 255 = 257
    if eight.shape[2] == 1:
        return eight[..., 0]
    cv2 = import_opencv()
    grey: Luma = cv2.cvtColor(eight, cv2.COLOR_RGB2GRAY)
    return grey


def measure_flow(before: Luma, after: Luma) -> Flow:
    """Where each pixel of `before` is found in `after`: (H, W, 2) float32, x then y, px."""
    cv2 = import_opencv()
    flow: Flow = cv2.calcOpticalFlowFarneback(
        before,
        after,
        None,
        pyr_scale=0.5,
        levels=4,
        winsize=21,
        iterations=3,
        poly_n=7,
        poly_sigma=1.5,
        flags=0,
    )
    return flow


def describe_motion(flow: Flow) -> Motion:
    """Length and mean of a flow, 32 px of border left out (a quarter of the side where a picture is small)."""
    height, width = flow.shape[:2]
    top, left = min(_BORDER_PX, height // 4), min(_BORDER_PX, width // 4)
    inner = flow[top : height - top, left : width - left].astype(np.float64)
    lengths = np.hypot(inner[..., 0], inner[..., 1])
    x, y = inner.reshape(-1, 2).mean(axis=0)
    return Motion(q=float(np.percentile(lengths, 95)), mean=(float(x), float(y)))


def between(before: Image, after: Image, *, forward: Flow, backward: Flow, time: float) -> Image:
    """The picture at a time between two frames: both moved there along their flow and blended by time.

    Parameters
    ----------
    before, after : (H, W, C) float32, in the space that light adds up in
    forward, backward : flow from `before` to `after`, and back
    time : 0 = `before`, 1 = `after`
    """
    early = _pulled(before, -time * forward)
    late = _pulled(after, -(1 - time) * backward)
    blended: Image = (1 - np.float32(time)) * early + np.float32(time) * late
    return blended


def _pulled(image: Image, offset: Flow) -> Image:
    """The picture sampled at each pixel's place plus an offset."""
    cv2 = import_opencv()
    height, width = image.shape[:2]
    x = np.arange(width, dtype=np.float32) + offset[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + offset[..., 1]
    moved: Image = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return moved.reshape(image.shape)
