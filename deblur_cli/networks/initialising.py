"""How the reports' networks begin."""

import torch
from torch import nn

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


def calibrate_norms(network: nn.Module) -> None:
    """Give each batch norm of a fresh network the statistics of its input, in place; the network ends in training mode.

    So it may be trained with its statistics frozen from the first step, which spares the running ones of Keras' momentum,
    some hundred steps behind, and makes training and validation the same function.

    The input is 64 pictures of random squares, whose colours have the mean `PHOTO_MEAN` and the deviation `PHOTO_STD`;
    large enough that strides up to 8 see the same.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    colours = torch.rand(64, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    std, mean = torch.std_mean(colours, dim=(0, 2, 3), keepdim=True)
    colours = (colours - mean) / std * PHOTO_STD + PHOTO_MEAN
    with torch.no_grad():
        network.train()(colours.repeat_interleave(_SQUARE_PX, 2).repeat_interleave(_SQUARE_PX, 3))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
