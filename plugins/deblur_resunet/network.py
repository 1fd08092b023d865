"""resunet1 and resunet3: U-Nets of three levels, made of residual blocks with batch norm.

From the report "Deep Deblurring" (Dicosola; Bologna, 2020). It follows Z. Zhang, Q. Liu, Y. Wang, "Road Extraction by Deep
Residual U-Net", IEEE GRSL 2018 (arXiv 1711.10684); differences there: normalisation and ReLU after each convolution instead
of before, no projection on a skip, transposed convolutions up, and two more of them before the sigmoid.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deblur_cli.networks import ConvNormAct, glorot_uniform

COLOURS = 3


class ResBlock(nn.Module):
    """x + two times (conv3 -> batch norm -> ReLU); the sum is not rectified again."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = _conv3(features, features)
        self.second = _conv3(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        y: Tensor = x + self.second(self.first(x))
        return y


class ResUNet(nn.Module):
    """(B, 3, H, W) in [0, 1] to the same shape, in (0, 1). H and W are multiples of 4.

    Parameters
    ----------
    blocks : residual blocks in each level on each side; 1 gives resunet1 with 1,008,963 parameters, 3 resunet3 with
        1,969,987
    width : features at full resolution; they double with each level
    """

    def __init__(self, *, blocks: int = 1, width: int = 32) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width]
        self.encoder = nn.ModuleList(
            _level(before, after, blocks, stride=2 if number else 1)
            for number, (before, after) in enumerate(zip([COLOURS, *widths], widths, strict=False))
        )
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(2 * after, after, 3, stride=2, padding=1, output_padding=1)
            for after in widths[-2::-1]
        )
        self.decoder = nn.ModuleList(_level(2 * after, after, blocks) for after in widths[-2::-1])
        self.refine = nn.ConvTranspose2d(width, width, 3, padding=1)
        self.output = nn.ConvTranspose2d(width, COLOURS, 3, padding=1)
        glorot_uniform(self)

    def forward(self, blurry: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> restored, float32."""
        x = blurry
        skips: list[Tensor] = []
        for level in self.encoder:
            x = level(x)
            skips.append(x)
        for upsample, level, skip in zip(self.upsample, self.decoder, skips[-2::-1], strict=True):
            x = level(torch.cat([skip, upsample(x)], dim=1))
        return torch.sigmoid(self.output(F.relu(self.refine(x))).float())


def _conv3(before: int, after: int, *, stride: int = 1) -> ConvNormAct:
    """conv3 -> batch norm -> ReLU."""
    conv = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    return ConvNormAct(conv, nn.ReLU(inplace=True))


def _level(before: int, after: int, blocks: int, *, stride: int = 1) -> nn.Sequential:
    """A convolution to its number of features, the residual blocks, and a convolution that ends them."""
    residual = (ResBlock(after) for _ in range(blocks))
    return nn.Sequential(_conv3(before, after, stride=stride), *residual, _conv3(after, after))
