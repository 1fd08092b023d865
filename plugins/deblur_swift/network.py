"""swift: a residual U-Net of plain convolutions on a picture folded into channels, made to be quick on a CPU.

This project's own. What it takes from others: working on space-to-depth of the picture, from W. Shi et al., "Real-Time Single
Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network", CVPR 2016 (arXiv 1609.05158);
residual blocks without normalisation, from S. Nah, T. H. Kim, K. M. Lee, "Deep Multi-scale Convolutional Neural Network for
Dynamic Scene Deblurring", CVPR 2017 (arXiv 1612.02177); the U with sums for skips, from X. Tao et al., "Scale-recurrent
Network for Deep Image Deblurring", CVPR 2018 (arXiv 1802.01770).
"""

import torch
from torch import Tensor, nn

from deblur_cli.networks import InferenceForm

COLOURS = 3
GREY = 0.5
_QUIET = 0.1  # how much a fresh block adds to what passes by, so that depth does not amplify


class ResBlock(nn.Module):
    """x + conv3(ReLU(conv3(x)))."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        y: Tensor = self.second(torch.relu_(self.first(x)))
        return y.add_(x)


class Swift(nn.Module):
    """(B, 3, H, W) in [0, 1] to the same shape, near [0, 1]. H and W are multiples of fold * 2^(levels - 1).

    Parameters
    ----------
    width : features of the highest level; they double with each level, so that every level costs the same
    levels : of the U
    fold : side in px of the squares that are folded into channels, by which all levels see fewer positions
    blocks : residual blocks of each level on each side
    middle : residual blocks of the lowest level
    """

    def __init__(
        self, *, width: int = 32, levels: int = 3, fold: int = 2, blocks: int = 2, middle: int = 4
    ) -> None:
        super().__init__()
        folded = COLOURS * fold**2
        widths = [width << level for level in range(levels)]
        self.fold = nn.PixelUnshuffle(fold)
        self.input = nn.Conv2d(folded, width, 3, padding=1)
        self.encoder = nn.ModuleList(_blocks(features, blocks) for features in widths[:-1])
        self.down = nn.ModuleList(nn.Conv2d(features, 2 * features, 2, stride=2) for features in widths[:-1])
        self.middle = _blocks(widths[-1], middle)
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * features, 4 * features, 1), nn.PixelShuffle(2))
            for features in reversed(widths[:-1])
        )
        self.decoder = nn.ModuleList(_blocks(features, blocks) for features in reversed(widths[:-1]))
        self.output = nn.Conv2d(width, folded, 3, padding=1)
        self.unfold = nn.PixelShuffle(fold)
        self._begin_as_identity()

    def forward(self, blurry: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> restored, float32."""
        x = self.input(self.fold(blurry - GREY))
        skips: list[Tensor] = []
        for level, down in zip(self.encoder, self.down, strict=True):
            x = level(x)
            skips.append(x)
            x = down(x)
        x = self.middle(x)
        for up, level, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            x = level(up(x).add_(skip))
        residual: Tensor = self.unfold(self.output(x))
        return blurry + residual.float()

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        """An equivalent, faster module that takes and returns float32 and computes in `dtype`."""
        return InferenceForm(self, dtype)

    def _begin_as_identity(self) -> None:
        """A fresh network returns its input; a fresh block nearly so."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, ResBlock):
                    module.second.weight.mul_(_QUIET)
            self.output.weight.zero_()


def _blocks(features: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResBlock(features) for _ in range(count)))
