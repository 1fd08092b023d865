"""The network that a training starts from."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from deblur_cli.errors import MissingError, UsageError
from deblur_cli.host.declarations import Model, import_object
from deblur_cli.host.manager import Host
from deblur_cli.host.recipes import Recipe
from deblur_cli.weights import Training, load_strictly, read_header, read_tensors, resolve


def initial_network(
    model: Model, options: Mapping[str, Any], *, recipe: Recipe, seed: int, init: str | None, host: Host
) -> nn.Module:
    """The network before step 1: fresh from the seed, or with the weights that `init` names.

    Raises
    ------
    MissingError : there are no such weights, or the network cannot be built
    UsageError : they are of another model or another shape
    """
    torch.manual_seed(seed)
    network: nn.Module = model.build(options)
    if init is not None:
        source = resolve(host, init)
        if source.path is None:
            raise MissingError(
                f"--init {init}: the model has no weights yet; give a run folder or a weights file of {init}"
            )
        if read_header(source.path).model != model.name:
            raise UsageError(f"--init {init} holds weights of {source.model.name}, not of {model.name}")
        other = [f"model.{name}={value}" for name, value in source.options.items() if value != options[name]]
        hint = f"they were trained with other options, which is said with --set {' '.join(other)}"
        try:
            load_strictly(network, read_tensors(source.path), origin=f"--init {init}")
        except UsageError as error:
            raise UsageError(f"{error}; {hint}" if other else str(error)) from error
    elif recipe.start is not None:
        _prepare(network, recipe.start)
    return network


def earlier_trainings(init: str | None, *, host: Host) -> tuple[Training, ...]:
    """Those that the weights named by `init` come from, the first first; of released ones what their header says."""
    path = resolve(host, init).path if init is not None else None
    return read_header(path).trainings() if path is not None else ()


def _prepare(network: nn.Module, start: str) -> None:
    """What a recipe does with the fresh network."""
    try:
        import_object(start)(network)
    except Exception as error:  # a stranger's code may raise anything
        raise MissingError(f"start={start} of the recipe failed: {type(error).__name__}: {error}") from error
