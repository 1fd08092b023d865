"""Which quantity a step acts on: code values as stored, or light. Sensors add light, so blur of photographs is linear."""

from enum import StrEnum

import numpy as np

from deblur_cli.pictures.scaling import Image


class Light(StrEnum):
    """The working space of a step."""

    SRGB = "srgb"  # code values as stored
    LINEAR = "linear"  # light, by the curve of IEC 61966-2-1
    GAMMA22 = "gamma2.2"  # light, by a plain power


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
