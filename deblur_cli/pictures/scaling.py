"""Between integers, as pictures are stored, and values in [0, 1]."""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from deblur_cli.pictures.picture import Pixels

Image = NDArray[np.float32]
Codes = NDArray[np.uint8]
"""Code values as stored."""

_GREATEST = {np.dtype(kind): np.float32(np.iinfo(kind).max) for kind in (np.uint8, np.uint16)}


def from_integers(pixels: Pixels | Image) -> Image:
    """Integers of 8 or 16 bit to float32 in [0, 1]; floats are returned as this very array."""
    if pixels.dtype.kind == "f":
        return cast(Image, pixels)
    image = pixels.astype(np.float32)
    image /= _GREATEST[pixels.dtype]
    return image


def to_8_bit(image: Image | Codes) -> Codes:
    """Values in [0, 1] to 8 bit: clipped, rounded to nearest, ties to even; 8 bit are returned as this very array."""
    if image.dtype == np.uint8:
        return cast(Codes, image)
    scaled: Image = image.clip(0, 1)
    scaled *= np.float32(255)
    return np.rint(scaled, out=scaled).astype(np.uint8)
