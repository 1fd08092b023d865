"""Pixel losses: (restored, sharp), both (B, C, H, W) of any range -> scalar, the mean over all elements."""

import math

from torch import Tensor
from torch.nn import functional as F


def mse(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean squared error."""
    return F.mse_loss(restored, sharp)


def mae(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean absolute error (LAD)."""
    return F.l1_loss(restored, sharp)


def logcosh(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean log cosh of the error, in the form that does not overflow: e + softplus(-2e) - log 2."""
    error = restored - sharp
    return (error + F.softplus(-2 * error) - math.log(2)).mean()


def charbonnier(restored: Tensor, sharp: Tensor, *, eps: float = 1e-3) -> Tensor:
    """Mean sqrt(e^2 + eps^2): like mae, but smooth at zero."""
    return ((restored - sharp).square() + eps * eps).sqrt().mean()
