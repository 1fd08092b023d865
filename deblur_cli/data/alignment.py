"""How far a blurred picture lies beside its sharp one.

Blur leaves no fine detail to compare, so both are blurred alike first, and their plain cross-correlation is taken: the
phases of what blur removed are noise, and a correlation of phases follows them. A blur that is not symmetrical biases
any such estimate by some tenths of a pixel: it finds gross faults, such as a crop that is off.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.opencv import import_opencv

SMALLEST_SIDE = 64
"""In px. Smaller pictures are nothing but border once they are blurred."""

UNKNOWN_RMS_PX = 3.0
"""Taken for the radius of a blur that nobody recorded."""

_BORDER_PX = 48
_LEAST_SIGMA_PX = 3.0
_STEPS_PER_PX = 50
_MOST_PASSES = 4

Plane = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Where the blurred picture lies from the sharp one, in px: to the right and down.

    detail : what there is to measure by, in levels of 255 a px: the gradient of the prefiltered sharp picture along the
        direction in which it has the least. Measured on crops of photographs blurred by trajectories: from 1 on the
        error stays below 0.5 px, below that it is up to 0.5 px / detail, below 0.3 it may be anything
    """

    right: float
    down: float
    detail: float

    @property
    def length(self) -> float:
        """In px."""
        return math.hypot(self.right, self.down)


def estimate_shift(sharp: Plane, blurry: Plane, *, rms_px: float = UNKNOWN_RMS_PX) -> Shift | None:
    """Estimate the shift between two pictures; None where they are too small for it.

    Parameters
    ----------
    sharp, blurry : (H, W) float32 in [0, 255], of one size
    rms_px : root mean square radius of the blur

    Raises
    ------
    MissingError : OpenCV is not there

    Notes
    -----
    The up-sampled correlation is that of Guizar-Sicairos, Thurman and Fienup (Optics Letters 33, 2008), as scikit-image
    has it.
    """
    from skimage.registration import phase_cross_correlation

    if min(sharp.shape) < SMALLEST_SIDE:
        return None
    sigma = max(_LEAST_SIGMA_PX, 2 * rms_px)
    first, second = (import_opencv().GaussianBlur(plane, (0, 0), sigma) for plane in (sharp, blurry))
    border = _border(sharp)
    fixed = _piece(first, border, right=0, down=0)
    window = np.outer(np.hanning(fixed.shape[0]), np.hanning(fixed.shape[1])).astype(np.float32)
    detail = _detail(fixed, window)
    if not (np.ptp(first) and np.ptp(second)):
        return Shift(right=0.0, down=0.0, detail=0.0)
    right = down = 0
    for _ in range(_MOST_PASSES):
        moved = _piece(second, border, right=right, down=down)
        (more_down, more_right), _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]  # no types there
            (moved - moved.mean()) * window,
            (fixed - fixed.mean()) * window,
            upsample_factor=_STEPS_PER_PX,
            normalization=None,
        )
        found = Shift(right=right + float(more_right), down=down + float(more_down), detail=detail)
        # The window stays where it is and pulls a large shift towards 0; so look again from where it points to.
        before = right, down
        right, down = (max(-border, min(border, round(value))) for value in (found.right, found.down))
        if (right, down) == before:
            break
    return found


def _border(plane: Plane) -> int:
    """What the filter and the blur itself spoil, in px."""
    shortest = min(plane.shape)
    return _BORDER_PX if shortest - 2 * _BORDER_PX >= SMALLEST_SIDE else shortest // 8


def _piece(plane: Plane, border: int, *, right: int, down: int) -> Plane:
    """Without the border, cut out so far to the right and down."""
    height, width = plane.shape
    return plane[border + down : height - border + down, border + right : width - border + right]


def _detail(plane: Plane, window: Plane) -> float:
    """The root of the smaller eigenvalue of the structure tensor."""
    down, right = np.gradient(plane)
    weights = np.square(window)
    tensor = np.array([[np.average(a * b, weights=weights) for b in (right, down)] for a in (right, down)])
    return math.sqrt(max(0.0, float(np.linalg.eigvalsh(tensor)[0])))
