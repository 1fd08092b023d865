"""The loss of a recipe: a weighted sum of declared losses, each of them known by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deblur_cli.errors import CheckFailed, DeblurError, MissingError, UsageError
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

        Raises
        ------
        CheckFailed : outputs are of another size, or a loss is no single number
        """
        _check_sizes(outputs, sharp)
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
    try:
        found = import_object(declared.function or declared.build)
        built = partial(found, **options) if declared.function else found(values=values, **options)
    except (DeblurError, MemoryError):
        raise
    except Exception as error:  # a stranger's code may raise anything
        raise MissingError(
            f"the loss {declared.name} cannot be built: {type(error).__name__}: {error}"
        ) from error
    if isinstance(
        built, nn.Module
    ):  # part of the question, not of what is learnt: it is neither trained nor saved
        built = built.to(device=device, dtype=dtype).eval().requires_grad_(False)
    if not callable(built):
        raise MissingError(f"the loss {declared.name} cannot be built: {declared.build} returned no function")
    loss: LossFunction = built
    return loss


def _check_sizes(outputs: Sequence[Tensor], sharp: Tensor) -> None:
    sizes = [tuple(output.shape) for output in outputs]
    finest = tuple(sharp.shape)
    fitting = (
        len(size) == len(finest) and size[:2] == finest[:2] and size[2] <= finest[2] and size[3] <= finest[3]
        for size in sizes
    )
    if sizes[:1] != [finest] or not all(fitting):
        raise CheckFailed(
            f"the network returned pictures of {', '.join(map(str, sizes)) or 'none'} for sharp ones of {finest}; the finest "
            "must come first and be of that size, the others no larger"
        )


def _over_scales(term: Term, loss: LossFunction, outputs: Sequence[Tensor], sharp: Tensor) -> Tensor:
    """A loss on the finest output or on all of them. A network that returns one has one scale.

    S0's code, unlike its equation, adds up over the batch and divides by the channels twice: a weight of batch_size / 3.
    """
    if term.scales is Scales.FINEST:
        return _number(term, loss(outputs[0], sharp))
    found = [_number(term, loss(output, reduced_to(sharp, output))) for output in outputs]
    total = torch.stack(found).sum()
    return total / (2 * len(outputs)) if term.scales is Scales.HALF_MEAN else total


def _number(term: Term, value: Tensor) -> Tensor:
    if not isinstance(value, Tensor) or value.dim():
        what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        raise CheckFailed(
            f"the loss {term.loss} returned {what}; it must be one number as a tensor, such as a mean"
        )
    return value


def reduced_to(sharp: Tensor, like: Tensor) -> Tensor:
    """The target of a coarser output: bilinear, half-pixel centres, no antialiasing."""
    if sharp.shape == like.shape:
        return sharp
    return F.interpolate(sharp, size=like.shape[-2:], mode="bilinear", align_corners=False)
