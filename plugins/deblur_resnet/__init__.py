"""resnet16, a residual encoder-decoder, as a plugin. network.py names the report that it is taken from."""

from collections.abc import Iterable

from deblur_cli import Model, hookimpl

API = 1

MODELS: tuple[Model, ...] = ()


@hookimpl
def deblur_models() -> Iterable[Model]:
    """Nothing yet."""
    return MODELS
