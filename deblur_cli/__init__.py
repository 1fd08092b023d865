"""Restore blurred pictures, train and compare deblurring networks, ship new ones as plugins.

    import deblur_cli
    restorer = deblur_cli.load("rednet30")
    restorer("photo.jpg")            # a path: writes photo.deblurred.jpg beside it and returns that path
    restorer(picture)                # a PIL image or an (H, W, C) array: returns the same kind

What a plugin author needs stands here too. Importing this module imports neither torch nor numpy.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deblur_cli.blur.distributions import Choice, Constant, Integers, LogUniform, Uniform, greatest
    from deblur_cli.blur.params import number
    from deblur_cli.errors import MissingError, PictureError
    from deblur_cli.host.declarations import (
        API,
        Archive,
        Dataset,
        Degradation,
        Facts,
        Geometry,
        Loss,
        Metric,
        Model,
        Option,
        Reported,
        Stage,
        Values,
        Weights,
    )
    from deblur_cli.host.hookspecs import hookimpl
    from deblur_cli.host.optimizers import Optimizer
    from deblur_cli.host.recipes import Flips, Mixture, Recipe, Scales, Term
    from deblur_cli.host.schedules import (
        ConstantRate,
        Cosine,
        EarlyStopping,
        LinearToZero,
        Plateau,
        Polynomial,
        Schedule,
        Staircase,
    )
    from deblur_cli.host.strategies import ConditionalGAN, Strategy, Supervised, WassersteinGP
    from deblur_cli.restore.restorer import Restorer, load

__version__ = "0.1.0"

__all__ = [
    "API",
    "Archive",
    "Choice",
    "ConditionalGAN",
    "Constant",
    "ConstantRate",
    "Cosine",
    "Dataset",
    "Degradation",
    "EarlyStopping",
    "Facts",
    "Flips",
    "Geometry",
    "Integers",
    "LinearToZero",
    "LogUniform",
    "Loss",
    "Metric",
    "MissingError",
    "Mixture",
    "Model",
    "Optimizer",
    "Option",
    "PictureError",
    "Plateau",
    "Polynomial",
    "Recipe",
    "Reported",
    "Restorer",
    "Scales",
    "Schedule",
    "Stage",
    "Staircase",
    "Strategy",
    "Supervised",
    "Term",
    "Uniform",
    "Values",
    "WassersteinGP",
    "Weights",
    "__version__",
    "greatest",
    "hookimpl",
    "load",
    "models",
    "number",
]

_HOME = {
    **dict.fromkeys(__all__, "deblur_cli.host.declarations"),  # all but those below and what is defined here
    **dict.fromkeys(
        ("Choice", "Constant", "Integers", "LogUniform", "Uniform", "greatest"),
        "deblur_cli.blur.distributions",
    ),
    "number": "deblur_cli.blur.params",
    **dict.fromkeys(("MissingError", "PictureError"), "deblur_cli.errors"),
    **dict.fromkeys(("Optimizer",), "deblur_cli.host.optimizers"),
    **dict.fromkeys(("Flips", "Mixture", "Recipe", "Scales", "Term"), "deblur_cli.host.recipes"),
    **dict.fromkeys(
        (
            "ConstantRate",
            "Cosine",
            "EarlyStopping",
            "LinearToZero",
            "Plateau",
            "Polynomial",
            "Schedule",
            "Staircase",
        ),
        "deblur_cli.host.schedules",
    ),
    **dict.fromkeys(
        ("ConditionalGAN", "Strategy", "Supervised", "WassersteinGP"), "deblur_cli.host.strategies"
    ),
    "hookimpl": "deblur_cli.host.hookspecs",
    "Restorer": "deblur_cli.restore.restorer",
    "load": "deblur_cli.restore.restorer",
}


def models() -> tuple[str, ...]:
    """Names of all models that can be asked for, in alphabetical order."""
    from deblur_cli.host.manager import Host

    return tuple(sorted(Host.discover().models))


def __getattr__(name: str) -> Any:  # `Any`: each name keeps the type that TYPE_CHECKING shows above
    """Import a name's module when it is first asked for: `deblur --help` needs none, and only two need torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'deblur_cli' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value  # the next time it is found without coming here
    return value
