"""Which quantity a step acts on: code values as stored, or light. Sensors add light, so blur of photographs is linear."""

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Pixels = np.ndarray[Any, np.dtype[np.uint8 | np.uint16]]
"""Integers as pictures are stored. `Any`: NumPy has no way to write a shape such as (H, W, C)."""


class Light(StrEnum):
    """The working space of a step."""

    SRGB = "srgb"  # code values as stored
    LINEAR = "linear"  # light, by the curve of IEC 61966-2-1
    GAMMA22 = "gamma2.2"  # light, by a plain power


def from_integers(pixels: Pixels) -> Image:
    """Integers of 8 or 16 bit to float32 in [0, 1]."""
    return np.divide(pixels, np.iinfo(pixels.dtype).max, dtype=np.float64).astype(np.float32)


def to_8_bit(image: Image) -> NDArray[np.uint8]:
    """Values in [0, 1] to 8 bit: clipped, rounded to nearest, ties to even."""
    scaled: Image = np.clip(image, 0, 1) * np.float32(255)
    return np.rint(scaled).astype(np.uint8)


def decode(image: Image, light: Light) -> Image:
    """Stored sRGB code values in [0, 1] to the working space; `srgb` returns the very array given."""
    if light is Light.SRGB:
        return image
    if light is Light.GAMMA22:
        return np.power(image, np.float32(2.2))
    curve = np.where(image <= 0.04045, image / 12.92, np.power((image + 0.055) / 1.055, 2.4))
    return curve.astype(np.float32)


def encode(image: Image, light: Light) -> Image:
    """The working space back to stored code values; values below 0 are clipped first, those above 1 stay."""
    if light is Light.SRGB:
        return image
    image = np.maximum(image, 0)
    if light is Light.GAMMA22:
        return np.power(image, np.float32(1 / 2.2))
    curve = np.where(image <= 0.0031308, 12.92 * image, 1.055 * np.power(image, 1 / 2.4) - 0.055)
    return curve.astype(np.float32)
