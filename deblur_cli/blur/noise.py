"""Noise, white, per pixel and channel: of a sensor, whose shot noise grows with the light, or the same everywhere."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from deblur_cli.blur.distributions import Distribution, LogUniform, Uniform, standard_normal
from deblur_cli.blur.params import check_ranges, complete, number
from deblur_cli.errors import UsageError
from deblur_cli.pictures.scaling import Image


class Kind(StrEnum):
    """The model of the noise."""

    POISSON_GAUSSIAN = "poisson_gaussian"  # in linear light: variance = gain * x + read_var
    GAUSSIAN = "gaussian"  # in any light: variance = sigma^2


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Unit 1 = white.

    sigma : standard deviation, of the kind gaussian
    gain : variance of the shot noise at white, of the kind poisson_gaussian; 0 = none
    read_var : variance of its read noise; 0 = none
    """

    kind: Kind = Kind.POISSON_GAUSSIAN
    sigma: float = number(ge=0, le=0.1, drawn=Uniform(0.0, 0.1), default=0.0)
    gain: float = number(ge=0, le=0.1, drawn=LogUniform(1e-4, 4e-3), default=0.0)
    read_var: float = number(ge=0, le=1, derived=True, default=0.0)

    def __post_init__(self) -> None:
        check_ranges(self)


_OF_KIND = {Kind.GAUSSIAN: ("sigma",), Kind.POISSON_GAUSSIAN: ("gain", "read_var")}  # in the order of drawing


def draw(node: Mapping[str, Distribution], rng: np.random.Generator, number: int) -> Noise:
    """Parameters of the kind drawn; where `node` does not say read_var, it follows the gain as in raw pictures of phones.

    ln read_var = 2.18 ln gain + 1.20 + N(0, 0.26), after Brooks et al., "Unprocessing images for learned raw denoising",
    CVPR 2019.

    Raises
    ------
    UsageError : a value is outside its range, or `node` has one that no kind it names takes
    """
    given = complete(Noise, node)
    kinds = [Kind(str(value)) for value in given["kind"].extremes()]
    of_no_kind = set(node) - {"kind"} - {name for kind in kinds for name in _OF_KIND[kind]}
    if of_no_kind:
        raise UsageError(f"noise of the kind {' or '.join(kinds)} takes no {' or '.join(sorted(of_no_kind))}")
    kind = Kind(str(given["kind"].sample(rng, number)))
    values = {name: float(given[name].sample(rng, number)) for name in _OF_KIND[kind] if name in given}
    if kind is Kind.POISSON_GAUSSIAN and "read_var" not in values:
        values["read_var"] = _following(values["gain"], rng)
    return Noise(kind=kind, **values)


def apply(image: Image, params: Noise, rng: np.random.Generator) -> Image:
    """Add noise; nothing is clipped.

    Parameters
    ----------
    image : (H, W, C) float32 in [0, 1], linear light for shot noise; returned itself where all variances are 0
    rng : gives the Poisson field first, then the normal field, each in the order of the array
    """
    shot = params.kind is Kind.POISSON_GAUSSIAN and params.gain > 0
    sd = params.sigma if params.kind is Kind.GAUSSIAN else math.sqrt(params.read_var)
    if not shot and sd == 0:
        return image
    noisy = image.astype(np.float64)
    if shot:
        noisy = rng.poisson(np.maximum(noisy, 0) / params.gain) * np.float64(params.gain)
    if sd > 0:
        noisy = noisy + sd * rng.standard_normal(image.shape)
    return noisy.astype(np.float32)


def _following(gain: float, rng: np.random.Generator) -> float:
    """The read noise that goes with a gain; 0 with 0, of which there is no logarithm."""
    if gain == 0:
        return 0.0
    return math.exp(2.18 * math.log(gain) + 1.20 + 0.26 * standard_normal(rng))
