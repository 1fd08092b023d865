"""Degradations ready for use: what a declaration names by import path, imported once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from inspect import signature
from typing import Any

import numpy as np

from deblur_cli.blur.distributions import Distribution
from deblur_cli.blur.params import draw_params
from deblur_cli.host.declarations import Degradation, Stage, import_object

# `Any` in this module: parameters are a dataclass of the operation's own, and its functions take that.


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A degradation with its code. Fields as in `Degradation`.

    bound : None where the declaration has a number
    looks_around : False only where bound is 0
    random : whether `apply` or `kernel` draw anything; a generator costs as much as a small picture's blur
    """

    name: str
    params: type[Any]
    draw: Callable[[Mapping[str, Distribution], np.random.Generator, int], Any]
    apply: Callable[..., Any] | None
    kernel: Callable[..., Any] | None
    bound: Callable[[Mapping[str, Distribution]], int] | None
    stage: Stage
    places: bool
    looks_around: bool
    random: bool

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
    functions = {
        name: import_object(path) for name in ("apply", "kernel") if (path := getattr(declared, name))
    }
    return Operation(
        name=declared.name,
        params=kind,
        draw=import_object(declared.draw) if declared.draw else partial(draw_params, kind),
        apply=functions.get("apply"),
        kernel=functions.get("kernel"),
        bound=import_object(declared.bound) if isinstance(declared.bound, str) else None,
        stage=declared.stage,
        places=declared.places,
        looks_around=declared.bound != 0,
        random=any(map(_needs_generator, functions.values())),
    )


def _needs_generator(function: Callable[..., Any]) -> bool:
    """Whether it must be given one: where nothing is random its `rng` is None by default."""
    rng = signature(function).parameters.get("rng")
    return rng is None or rng.default is not None
