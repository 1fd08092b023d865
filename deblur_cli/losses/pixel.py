"""Pixel losses: (restored, sharp), both (B, C, H, W) of any range -> scalar, the mean over all elements; psnr's of each picture.

Pictures in half precision are compared in float32: a mean of many small numbers needs the digits.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from deblur_cli.errors import UsageError
from deblur_cli.host.declarations import Values


def mse(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean e^2."""
    return _error(restored, sharp).square().mean()


def mae(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean |e| (LAD); its slope is 0 at 0."""
    return _error(restored, sharp).abs().mean()


def logcosh(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean log cosh e: about e^2 / 2 where e is small, |e| - log 2 where it is large; its slope is tanh e.

    log cosh e = |e| + log((1 + exp(-2|e|)) / 2), which cannot overflow, and written with log1p and expm1 adds up numbers
    that are no larger than e: subtracting log 2 at the end would leave an error of 6e-8, as much as all of e = 3e-4.
    """
    size = _error(restored, sharp).abs()
    return (size + torch.log1p(torch.expm1(-2 * size) / 2)).mean()


def charbonnier(*, values: Values, eps: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Mean sqrt(e^2 + eps^2): like mae, but smooth at zero.

    Raises UsageError unless eps > 0, without which the slope at zero is no number.
    """
    if not 0 < eps < math.inf:
        raise UsageError(f"loss.charbonnier.eps is {eps}; it must be a number > 0")

    def loss(restored: Tensor, sharp: Tensor) -> Tensor:
        return (_error(restored, sharp).square() + eps * eps).sqrt().mean()

    return loss


def psnr(*, values: Values, floor: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Mean over the pictures of 10 log10(1 + mse / floor), with mse on a scale of [0, 1]: what each lacks, in dB, of the floor's PSNR.

    A mean of errors is made by the most blurred pictures; in dB all count alike, as where gains are reported (L. Chen et al.,
    "Simple Baselines for Image Restoration", ECCV 2022, train on PSNR). Far below the floor its slope is that of mse again,
    without which one sharp picture would outweigh all others.

    Raises UsageError unless floor > 0.
    """
    if not 0 < floor < math.inf:
        raise UsageError(f"loss.psnr.floor is {floor}; it must be a number > 0")

    span = 2 if values is Values.SIGNED else 1

    def loss(restored: Tensor, sharp: Tensor) -> Tensor:
        mse = _error(restored, sharp).square().mean(dim=(1, 2, 3)) / span**2
        return 10 / math.log(10) * torch.log1p(mse / floor).mean()

    return loss


def _error(restored: Tensor, sharp: Tensor) -> Tensor:
    dtype = torch.promote_types(restored.dtype, torch.float32)
    return restored.to(dtype) - sharp.to(dtype)
