"""Whether the recipes of a model can be trained by: one step of each, with the tiny network."""

import math
from dataclasses import replace

import torch

from deblur_cli.errors import DeblurError
from deblur_cli.host.checks import DeclarationError
from deblur_cli.host.declarations import Model, Values, import_object
from deblur_cli.host.manager import Host
from deblur_cli.host.recipes import Recipe, Term
from deblur_cli.testing.declaration import ConformanceError, build, require
from deblur_cli.training.feeding.batches import Batch, Part
from deblur_cli.training.learning import Learning, Placement
from deblur_cli.training.objective import build_objective
from deblur_cli.training.processes import Processes
from deblur_cli.training.strategies import build_steps

_MOST_PX = 64  # side of the crops, where the recipe's are not smaller
_BATCH = 2


def recipes_can_start(model: Model) -> None:
    """The start function of each recipe runs on the tiny network, and one step by its losses and strategy gives numbers.

    A loss that needs a file, which only users have, is not computed; its options are looked at.
    """
    host = Host.discover()
    for name, recipe in model.recipes.items():
        try:
            with torch.random.fork_rng(devices=[]):
                _make_a_step(host, model, recipe)
        except (DeblurError, DeclarationError) as error:
            raise ConformanceError(f"recipe {name}: {error}") from error


def _make_a_step(host: Host, model: Model, recipe: Recipe) -> None:
    recipe = replace(recipe, loss=_computable(host, recipe))
    network = build(model, model.tiny).train()
    if recipe.start is not None:
        import_object(recipe.start)(network)
    placement = Placement(device=torch.device("cpu"))
    learning = Learning(
        generator=placement.learner("network", network, recipe.optimizer),
        objective=build_objective(
            host, recipe, values=model.values, device=placement.device, dtype=placement.parameters
        ),
        placement=placement,
        clip_norm=recipe.clip_norm,
        processes=Processes(),
        seed=0,
    )
    steps = build_steps(recipe, learning)
    epoch = recipe.epochs - 1  # the last: whatever comes before, such as a pre-training, is over
    batch = _batch(model, recipe)
    learning.begin_step(0)
    losses = steps.step([batch] * steps.batches_needed(epoch), epoch=epoch)
    require(bool(losses), f"the strategy {type(recipe.strategy).steps} returns no losses")
    for what, value in losses.items():
        require(math.isfinite(value), f"{what} is {value} in the first step")


def _computable(host: Host, recipe: Recipe) -> tuple[Term, ...]:
    """The terms of the loss without those that wait for a file."""
    kept = []
    for term in recipe.terms:
        declared = host.loss(term.loss)
        options = declared.resolve_options(term.options)
        if all(options[name] for name in declared.files):
            kept.append(term)
    return tuple(kept) or (Term(loss="mse"),)


def _batch(model: Model, recipe: Recipe) -> Batch:
    """Noise as crops of the recipe's size, or a moderate one."""
    geometry = model.geometry_for(model.tiny)
    step = geometry.multiple_of
    side = geometry.fixed_size or -(-min(recipe.patch, _MOST_PX) // step) * step
    blurry, sharp = torch.rand(2, _BATCH, 3, side, side, generator=torch.Generator().manual_seed(0))
    if model.values is Values.SIGNED:
        blurry, sharp = 2 * blurry - 1, 2 * sharp - 1
    part = Part(blurry=blurry, sharp=sharp, samples=slice(0, _BATCH), share=1.0)
    return Batch(parts=(part,), size=_BATCH)
