"""Degradations ready for use: what a declaration names by import path, imported once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from inspect import signature
from typing import Any

import numpy as np

from deblur_cli.blur.distributions import Distribution
from deblur_cli.blur.guarded import guarded
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
    codes: bool
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
        role: _guarded_where_foreign(declared, role, path, kind)
        for role in ("apply", "kernel", "draw", "bound")
        if isinstance(path := getattr(declared, role), str) and path
    }
    return Operation(
        name=declared.name,
        params=kind,
        draw=functions.get("draw") or partial(draw_params, kind),
        apply=functions.get("apply"),
        kernel=functions.get("kernel"),
        bound=functions.get("bound"),
        stage=declared.stage,
        places=declared.places,
        codes=declared.codes,
        looks_around=declared.bound != 0,
        random=any(_needs_generator(functions[role]) for role in ("apply", "kernel") if role in functions),
    )


def _guarded_where_foreign(
    declared: Degradation, role: str, path: str, kind: type[Any]
) -> Callable[..., Any]:
    """A function that a declaration names; those of plugins are checked whenever they are called."""
    function: Callable[..., Any] = import_object(path)
    if path.startswith("deblur_cli."):
        return function
    return guarded(declared.name, role, function, params=kind)


def _needs_generator(function: Callable[..., Any]) -> bool:
    """Whether it must be given one: where nothing is random its `rng` is None by default."""
    rng = signature(function).parameters.get("rng")
    return rng is None or rng.default is not None
