"""The critic of rir and rir_large."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from deblur_cli.networks import bound_kernels, start_normal
from deblur_rir.network import same_pad


class SpectralPatchCritic(nn.Module):
    """patchgan_rir (Lenka 2019): judges patches of 62x62 px of a picture beside the blurred one; its kernels are bounded.

    (blurry, picture), both (B, 3, H, W) of at least 24 px -> logits (B, 1, H/8 - 2, W/8 - 2). 2,766,145 parameters at
    width 64. Each layer but the last has a norm by batch statistics, as trained with batches of one. The sigmoid of the report
    is left to the loss.

    width : features of the first layer, doubled by each of the next three
    """

    def __init__(self, *, width: int = 64) -> None:
        super().__init__()
        sizes = (6, width, 2 * width, 4 * width, 8 * width)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise(sizes)):
            if number < 3:
                layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1))
            else:
                layers += [same_pad(), nn.Conv2d(before, after, 4)]
            layers += [nn.BatchNorm2d(after, track_running_stats=False), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(sizes[-1], 1, 3))
        start_normal(self)
        bound_kernels(self)

    def forward(self, blurry: Tensor, picture: Tensor) -> Tensor:
        """The logit of each patch: positive where the picture looks sharp."""
        logits: Tensor = self.layers(torch.cat([blurry, picture], dim=1))
        return logits
