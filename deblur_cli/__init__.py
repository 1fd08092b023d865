"""Restore blurred pictures, train and compare deblurring networks, ship new ones as plugins.

    import deblur_cli
    restorer = deblur_cli.load("rednet30")
    restorer("photo.jpg")            # a path: writes photo.deblurred.jpg beside it and returns that path
    restorer(picture)                # a PIL image or an (H, W, C) array: returns the same kind

What a plugin author needs stands here too. Importing this module imports neither torch nor numpy.
"""

from typing import TYPE_CHECKING, Any

from deblur_cli.host.declarations import (
    API,
    Dataset,
    Degradation,
    Facts,
    Geometry,
    Loss,
    Metric,
    Model,
    Option,
    Recipe,
    Values,
    Weights,
)
from deblur_cli.host.hookspecs import hookimpl

if TYPE_CHECKING:
    from deblur_cli.restore.restorer import Restorer, load

__version__ = "0.1.0"

__all__ = [
    "API",
    "Dataset",
    "Degradation",
    "Facts",
    "Geometry",
    "Loss",
    "Metric",
    "Model",
    "Option",
    "Recipe",
    "Restorer",
    "Values",
    "Weights",
    "__version__",
    "hookimpl",
    "load",
    "models",
]

_LAZY = {"load": "deblur_cli.restore.restorer", "Restorer": "deblur_cli.restore.restorer"}


def models() -> tuple[str, ...]:
    """Names of all models that can be asked for, in alphabetical order."""
    from deblur_cli.host.manager import Host

    return tuple(sorted(Host.discover().models))


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'deblur_cli' has no attribute {name!r}")
