"""The loss of a recipe: a weighted sum of declared losses, each of them known by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deblur_cli.errors import MissingError, UsageError
from deblur_cli.host.checks import DeclarationError
from deblur_cli.host.declarations import Loss, Values, import_object
from deblur_cli.host.manager import Host
from deblur_cli.host.recipes import Recipe, Scales, Term

LossFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The content loss. terms : each with the function that computes it"""

    terms: Sequence[tuple[Term, LossFunction]]

    def __call__(self, outputs: Sequence[Tensor], sharp: Tensor) -> dict[str, Tensor]:
        """By name the weighted parts, whose sum is the loss.

        Parameters
        ----------
        outputs : (B, 3, h, w) each, the finest first: of the size of `sharp`, the others of any smaller one
        sharp : (B, 3, H, W) in the network's range
        """
        return {
            term.loss: term.weight * _over_scales(term, loss, outputs, sharp) for term, loss in self.terms
        }


def build_objective(
    host: Host, recipe: Recipe, *, values: Values, device: torch.device, dtype: torch.dtype
) -> Objective:
    """The objective of a recipe, with what it needs on the device.

    Raises
    ------
    MissingError : a loss, or a file that it needs, is not there
    UsageError : an option of a loss does not fit
    """
    return Objective(
        terms=[
            (term, _prepared(host.loss(term.loss), term, values=values, device=device, dtype=dtype))
            for term in recipe.terms
        ]
    )


def _prepared(
    declared: Loss, term: Term, *, values: Values, device: torch.device, dtype: torch.dtype
) -> LossFunction:
    try:
        options = declared.resolve_options(term.options)
    except DeclarationError as error:
        raise UsageError(str(error)) from error
    if declared.function:
        function: LossFunction = partial(import_object(declared.function), **options)
        return function
    built = import_object(declared.build)(values=values, **options)
    if isinstance(built, nn.Module):
        built = built.to(device=device, dtype=dtype).eval().requires_grad_(False)
    if not callable(built):
        raise MissingError(f"loss {declared.name}: {declared.build} did not return a function")
    loss: LossFunction = built
    return loss


def _over_scales(term: Term, loss: LossFunction, outputs: Sequence[Tensor], sharp: Tensor) -> Tensor:
    if term.scales is Scales.FINEST:
        return loss(outputs[0], sharp)
    total = torch.stack([loss(output, reduced_to(sharp, output)) for output in outputs]).sum()
    return total / (2 * len(outputs)) if term.scales is Scales.HALF_MEAN else total


def reduced_to(sharp: Tensor, like: Tensor) -> Tensor:
    """The target of a coarser output: bilinear, half-pixel centres, no antialiasing (MODELS 8.5)."""
    if sharp.shape == like.shape:
        return sharp
    return F.interpolate(sharp, size=like.shape[-2:], mode="bilinear", align_corners=False)
