"""How the reports' networks begin."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

PHOTO_MEAN, PHOTO_STD = 0.47, 0.25
"""Of the colours of photographs, roughly: what a batch norm must restore that should leave a picture as it is."""

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_SQUARE_PX = 8


def glorot_uniform(network: nn.Module) -> None:
    """Keras' defaults, in place: kernels of convolutions and transposed ones Glorot uniform, biases zero."""
    for module in network.modules():
        if isinstance(module, _CONVOLUTIONS):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def calibrate_norms(network: nn.Module, *, signed: bool = False) -> None:
    """Give each batch norm of a fresh network the statistics of its input, in place; the network ends in training mode.

    So it may be trained with its statistics frozen from the first step, which spares the running ones of Keras' momentum,
    some hundred steps behind, and makes training and validation the same function.

    The input is 64 pictures of random squares, whose colours have the mean `PHOTO_MEAN` and the deviation `PHOTO_STD`;
    large enough that strides up to 8 see the same. signed : they are in [-1, 1] instead of [0, 1]
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    colours = torch.rand(64, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    std, mean = torch.std_mean(colours, dim=(0, 2, 3), keepdim=True)
    colours = (colours - mean) / std * PHOTO_STD + PHOTO_MEAN
    if signed:
        colours = 2 * colours - 1
    with torch.no_grad():
        network.train()(colours.repeat_interleave(_SQUARE_PX, 2).repeat_interleave(_SQUARE_PX, 3))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def let_pass(norm: nn.BatchNorm2d, features: slice) -> None:
    """Make a batch norm whose statistics stay as they are return these features unchanged, in place."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        norm.weight[features], norm.bias[features] = 1, 0
        norm.running_mean[features], norm.running_var[features] = 0, 1 - norm.eps


def undo_tanh(features: Callable[[Tensor], Tensor]) -> Tensor:
    """Weights w for which tanh(x + features(x) w) is nearest to x, for colours x in [-1, 1]; tanh alone would dull them.

    features : (N,) -> (N, K)
    """
    x = torch.linspace(-0.99, 0.99, 199)
    slope = 1 - x.square()  # of the tanh at artanh(x): what an error there comes to
    missing = torch.atanh(x) - x
    weights: Tensor = torch.linalg.lstsq(slope[:, None] * features(x), slope * missing).solution
    return weights
