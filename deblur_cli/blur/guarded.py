"""Degradations of plugins called so that a fault in them is an error with their name, not a wrong picture or a riddle.

Ours are called bare: the checks take longer than a small picture's blur.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from deblur_cli.errors import DeblurError, PictureError
from deblur_cli.host.failures import describe

# `Any` in this module: parameters are a dataclass of the operation's own, and its functions take that.

Function = Callable[..., Any]

_TOLERANCE = 1e-6


def guarded(name: str, role: str, function: Function, *, params: type[Any]) -> Function:
    """A function of a declaration, checked.

    Parameters
    ----------
    name : of the degradation
    role : "apply", "kernel", "draw" or "bound"
    params : the dataclass that `draw` must return

    Returns
    -------
    the same function, which raises PictureError where it fails or returns what it must not
    """
    find_fault = {"apply": _fault_of_picture, "kernel": _fault_of_kernel, "bound": _fault_of_bound}.get(role)

    @wraps(function)  # its signature says whether it wants a generator
    def call(*arguments: Any, **place: Any) -> Any:
        try:
            made = function(*arguments, **place)
        except (DeblurError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            raise PictureError(f"the degradation {name} failed in {role}: {describe(error)}") from error
        if find_fault is None:
            fault = None if isinstance(made, params) else f"{_kind(made)}, not {params.__name__}"
        else:
            fault = find_fault(made, arguments[0])
        if fault is not None:
            raise PictureError(f"the degradation {name} is at fault: its {role} returned {fault}")
        return made

    return call


def _fault_of_picture(made: Any, given: Any) -> str | None:
    kinds = (given.dtype, np.float32)  # of 8-bit code values either may be made
    if not isinstance(made, np.ndarray) or made.shape != given.shape or made.dtype not in kinds:
        return f"{_kind(made)}, not {_kind(given)}"
    return None if np.isfinite(made).all() else "values that are not finite"


def _fault_of_kernel(made: Any, given: Any) -> str | None:
    if not isinstance(made, np.ndarray) or made.ndim != 2 or made.dtype != np.float64:
        return f"{_kind(made)}, not a square float64 array"
    if made.shape[0] != made.shape[1] or made.shape[0] % 2 == 0:
        return f"{_kind(made)}, not one of equal, odd sides"
    if not np.isfinite(made).all():
        return "values that are not finite"
    total = float(made.sum())
    return None if abs(total - 1) <= _TOLERANCE else f"a kernel that sums to {total:g}, not to 1"


def _fault_of_bound(made: Any, given: Any) -> str | None:
    if not isinstance(made, int | np.integer):
        return f"{_kind(made)}, not a whole number of px"
    return None if made >= 0 else f"{made} px; it cannot be below 0"


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return "nothing" if value is None else type(value).__name__
