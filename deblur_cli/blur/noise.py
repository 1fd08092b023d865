"""Sensor noise: shot noise that grows with the light, and read noise that does not; white, per pixel and channel."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.params import check_ranges, scalar
from deblur_cli.blur.randomness import Range, log_uniform, normal


class Kind(StrEnum):
    """The model of the noise."""

    POISSON_GAUSSIAN = "poisson_gaussian"  # in linear light: variance = gain * x + read_var
    GAUSSIAN = "gaussian"  # in any light: variance = read_var


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """gain : variance of the shot noise at white, 0 = none; read_var : variance of the read noise, 0 = none. Unit 1 = white."""

    gain: float = scalar(unit="", ge=0, le=0.1)
    read_var: float = scalar(unit="", ge=0, le=0.1)
    kind: Kind = Kind.POISSON_GAUSSIAN

    def __post_init__(self) -> None:
        check_ranges(self)


def draw(rng: np.random.Generator, *, gain: Range = (1e-4, 4e-3)) -> Noise:
    """Gain log-uniform in the range; the read noise follows it as in raw pictures of phones.

    ln read_var = 2.18 ln gain + 1.20 + N(0, 0.26), after Brooks et al., "Unprocessing images for learned raw denoising",
    CVPR 2019.
    """
    drawn = log_uniform(rng, gain)
    return Noise(
        gain=drawn, read_var=math.exp(2.18 * math.log(drawn) + 1.20 + normal(rng, mean=0.0, sd=0.26))
    )


def apply(image: NDArray[np.float32], params: Noise, rng: np.random.Generator) -> NDArray[np.float32]:
    """Add noise; nothing is clipped.

    Parameters
    ----------
    image : (H, W, C) float32 in [0, 1], linear light for shot noise; returned itself where both variances are 0
    rng : gives the Poisson field first, then the normal field, each in the order of the array
    """
    shot = params.kind is Kind.POISSON_GAUSSIAN and params.gain > 0
    if not shot and params.read_var == 0:
        return image
    noisy: NDArray[np.float64] = image.astype(np.float64)
    if shot:
        noisy = rng.poisson(np.maximum(noisy, 0) / params.gain) * np.float64(params.gain)
    if params.read_var > 0:
        noisy = noisy + math.sqrt(params.read_var) * rng.standard_normal(image.shape)
    return noisy.astype(np.float32)
