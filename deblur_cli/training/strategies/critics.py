"""What strategies with a critic share."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from deblur_cli.errors import MissingError
from deblur_cli.host.declarations import import_object
from deblur_cli.host.optimizers import Optimizer
from deblur_cli.training.learning import Learner, Learning


def build_critic(
    path: str, options: Mapping[str, Any], settings: Optimizer, learning: Learning, *, name: str = "critic"
) -> Learner:
    """The critic that an import path names, with an optimiser, on the device of the learning.

    name : what a run calls it; a strategy with several critics gives each its own

    Raises MissingError where it cannot be imported or built.
    """
    try:
        network: nn.Module = import_object(path)(**options)
    except Exception as error:  # a stranger's code may raise anything
        raise MissingError(f"the critic {path} cannot be built: {type(error).__name__}: {error}") from error
    return learning.placement.learner(name, network, settings)


@contextmanager
def without_gradients(network: nn.Module) -> Iterator[None]:
    """Inside, gradients flow through the network, but none are computed for its parameters."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


@contextmanager
def without_dropout(network: nn.Module) -> Iterator[None]:
    """Inside, dropout passes everything; batch norms stay as they are."""
    silenced = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.training
    ]
    for module in silenced:
        module.eval()
    try:
        yield
    finally:
        for module in silenced:
            module.train()
