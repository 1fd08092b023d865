"""The hooks a plugin may implement. Each takes no argument and returns an iterable of declarations.

They are called once for each `Host`, when it is built: be quick, and import nothing heavy.
"""

from collections.abc import Iterable

import pluggy

from deblur_cli.host.declarations import Dataset, Degradation, Loss, Metric, Model

hookspec = pluggy.HookspecMarker("deblur_cli")
hookimpl = pluggy.HookimplMarker("deblur_cli")


@hookspec
def deblur_models() -> Iterable[Model]:
    """Networks that `-m NAME` can name."""
    return ()


@hookspec
def deblur_metrics() -> Iterable[Metric]:
    """Measures that `--metrics NAME` can name."""
    return ()


@hookspec
def deblur_datasets() -> Iterable[Dataset]:
    """Sets of pairs that `--data NAME` can name."""
    return ()


@hookspec
def deblur_degradations() -> Iterable[Degradation]:
    """Kinds of blur and noise that `make-dataset` can apply."""
    return ()


@hookspec
def deblur_losses() -> Iterable[Loss]:
    """Training losses that a recipe can name."""
    return ()
