"""What lies beyond the edge of a picture, and where a piece lies within the whole."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from deblur_cli.errors import PictureError


class Border(StrEnum):
    """How a blur treats the edge."""

    REFLECT101 = "reflect101"  # mirrored at the centre of the outermost pixel
    REPLICATE = "replicate"  # the outermost pixel goes on
    CROP_VALID = "crop-valid"  # only pixels that saw nothing but real data are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Where a piece lies in the whole picture, in px. Camera shake depends on it, other blur does not."""

    whole_height: int
    whole_width: int
    top: int = 0
    left: int = 0


def crop(image: NDArray[np.float32], margin: int) -> NDArray[np.float32]:
    """The picture without `margin` px at each edge."""
    return image if margin == 0 else image[margin:-margin, margin:-margin]


def require_room(image: NDArray[np.generic], margin: int) -> None:
    """Refuse a picture that mirroring cannot extend by `margin` px.

    Raises
    ------
    PictureError : the margin is not smaller than the height and the width
    """
    height, width = image.shape[:2]
    if margin >= min(height, width):
        raise PictureError(
            f"a picture of {width}x{height} is too small for a blur that reaches {margin} px; use a larger picture or less blur"
        )
