"""Pictures in so few numbers that every picture of one split can be held against every one of another."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.opencv import import_opencv

COARSE = 16
FINE = 64
"""Sides in px of the two sizes that are compared."""

_DETAIL_SIGMA = (
    2.0  # px of the fine thumbnail: what is smoother than this is not compared, for skies and rooms are alike
)
_FLOOR = 1.0  # levels: detail fainter than this is noise and is not raised to the contrast of the rest
_FLAT = 0.5  # levels: a picture with less is like every other one of its kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """What is kept of a picture.

    coarse : (256,) int8, grey less its mean; fine : (4096,) int8, local contrast, faded out towards the edges
    digest : of the grey values themselves
    small : the picture has fewer pixels than the fine thumbnail; flat : there is nothing in it to compare
    """

    coarse: NDArray[np.int8]
    fine: NDArray[np.int8]
    digest: bytes
    small: bool
    flat: bool


def thumbnail(grey: NDArray[np.float32]) -> Thumbnail:
    """Of a picture, (H, W) float32 in [0, 255]."""
    cv2 = import_opencv()
    coarse, fine = (cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA) for side in (COARSE, FINE))
    coarse = coarse - coarse.mean()
    detail = fine - cv2.GaussianBlur(fine, (0, 0), _DETAIL_SIGMA)
    spread = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 2 * _DETAIL_SIGMA))
    fade = np.hanning(FINE + 2)[1:-1]
    local = detail / (spread + _FLOOR) * np.outer(fade, fade)
    return Thumbnail(
        coarse=_as_int8(coarse).ravel(),
        fine=_as_int8(local - local.mean()).ravel(),
        digest=hashlib.blake2b(np.ascontiguousarray(grey).data, digest_size=16).digest(),
        small=min(grey.shape) < FINE,
        flat=bool(coarse.std() < _FLAT or detail.std() < _FLAT),
    )


def _as_int8(values: NDArray[Any]) -> NDArray[np.int8]:  # `Any`: float32 or float64
    return np.rint(values * (127 / max(float(np.abs(values).max()), 1e-6))).astype(np.int8)
