"""No blur: the share of untouched pictures that teaches a network to leave sharp ones alone."""

from dataclasses import dataclass

import numpy as np

from deblur_cli.pictures.scaling import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """It has no parameters."""


def apply(image: Image, params: Identity, rng: np.random.Generator | None = None) -> Image:
    """The very array given."""
    return image
