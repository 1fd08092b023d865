"""Highlights: light above white, which the stored picture has lost. Where motion spreads it, lamps leave white streaks."""

from dataclasses import dataclass

import numpy as np

from deblur_cli.blur.distributions import LogUniform
from deblur_cli.blur.params import check_ranges, number
from deblur_cli.pictures.scaling import Image

_KNEE = 0.9  # below it nothing changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Highlights:
    """boost : by how much white grows; 1 = identity."""

    boost: float = number(ge=1, le=100, drawn=LogUniform(1.0, 8.0))

    def __post_init__(self) -> None:
        check_ranges(self)


def apply(image: Image, params: Highlights, rng: np.random.Generator | None = None) -> Image:
    """Multiply what is nearly white, smoothly from 0.9 of white on; nothing is clipped.

    Parameters
    ----------
    image : (H, W, C) float32 in [0, 1], linear light; boost = 1 returns this very array. The brightest channel decides
    rng : not used
    """
    if params.boost == 1:
        return image
    brightest = image.max(axis=2, keepdims=True)
    share = np.clip((brightest - _KNEE) / (1 - _KNEE), 0, 1)
    smooth = share * share * (3 - 2 * share)
    result: Image = (image * (1 + (params.boost - 1) * smooth)).astype(np.float32)
    return result
