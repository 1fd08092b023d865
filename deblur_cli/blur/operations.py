"""Degradations ready for use: what a declaration names by import path, imported once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from deblur_cli.blur.distributions import Distribution
from deblur_cli.blur.params import draw_params
from deblur_cli.host.declarations import Degradation, Stage, import_object

# `Any` in this module: parameters are a dataclass of the operation's own, and its functions take that.


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A degradation with its code. Fields as in `Degradation`; `looks_around` is False only where bound is 0."""

    name: str
    params: type[Any]
    draw: Callable[[Mapping[str, Distribution], np.random.Generator, int], Any]
    apply: Callable[..., Any] | None
    kernel: Callable[..., Any] | None
    stage: Stage
    places: bool
    looks_around: bool

    @property
    def is_pointwise(self) -> bool:
        """Whether it leaves the scene alone and sees no pixel but the one it changes, or only the stored file as it is."""
        return not self.looks_around and self.stage is not Stage.SCENE


@cache
def load_operation(declared: Degradation) -> Operation:
    """Import what a degradation declares.

    Raises ImportError or AttributeError where a path leads nowhere.
    """
    kind = import_object(declared.params)
    return Operation(
        name=declared.name,
        params=kind,
        draw=import_object(declared.draw) if declared.draw else partial(draw_params, kind),
        apply=import_object(declared.apply) if declared.apply else None,
        kernel=import_object(declared.kernel) if declared.kernel else None,
        stage=declared.stage,
        places=declared.places,
        looks_around=declared.bound != 0,
    )
