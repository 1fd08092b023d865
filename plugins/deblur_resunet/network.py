"""resunet1 and resunet3: U-Nets of three levels, made of residual blocks with batch norm.

From the "Deep Deblurring project" (Dicosola; Bologna, 2020). It follows Z. Zhang, Q. Liu, Y. Wang, "Road Extraction by Deep
Residual U-Net", IEEE GRSL 2018 (arXiv 1711.10684); differences there: normalisation and ReLU after each convolution instead
of before, no projection on a skip, transposed convolutions up, and two more of them before the sigmoid.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deblur_cli.networks import (
    PHOTO_MEAN,
    PHOTO_STD,
    ConvNormAct,
    InferenceForm,
    calibrate_norms,
    glorot_uniform,
)

COLOURS = 3
_STEEPNESS = 4.6  # of the sigmoid that is nearest to the identity on [0, 1]


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
        return torch.sigmoid(self.output(F.relu(self.refine(x), inplace=True)).float())

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        """An equivalent, faster module that takes and returns float32 and computes in `dtype`."""
        return InferenceForm(self, dtype)


def _conv3(before: int, after: int, *, stride: int = 1) -> ConvNormAct:
    """conv3 -> batch norm -> ReLU."""
    conv = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    return ConvNormAct(conv, nn.ReLU(inplace=True))


def _level(before: int, after: int, blocks: int, *, stride: int = 1) -> nn.Sequential:
    """A convolution to its number of features, the residual blocks, and a convolution that ends them."""
    residual = (ResBlock(after) for _ in range(blocks))
    return nn.Sequential(_conv3(before, after, stride=stride), *residual, _conv3(after, after))


def start_near_identity(network: ResUNet) -> None:
    """Lead the picture along the highest level, so that training starts near it; norms know their input.

    Three features of each convolution there carry the colours; the residual blocks add little to those, and the output takes
    them alone. All other features start at random as ever.
    """
    with torch.no_grad():
        for level in (network.encoder[0], network.decoder[-1]):
            assert isinstance(level, nn.Sequential)
            for part in level:
                if isinstance(part, ResBlock):
                    part.second.norm.weight[:COLOURS] = 0.01
                else:
                    assert isinstance(part, ConvNormAct)
                    _pass_colours(part.conv, 1)
                    part.norm.weight[:COLOURS] = (PHOTO_STD**2 + part.norm.eps) ** 0.5
                    part.norm.bias[:COLOURS] = PHOTO_MEAN
        _pass_colours(network.refine, 1)
        network.output.weight.zero_()
        _pass_colours(network.output, _STEEPNESS)
        assert network.output.bias is not None
        network.output.bias.fill_(-_STEEPNESS / 2)
    calibrate_norms(network)


def _pass_colours(conv: nn.Conv2d | nn.ConvTranspose2d, gain: float) -> None:
    """Make the first three features of the output those of the input, times a gain."""
    outputs = conv.weight.transpose(0, 1) if isinstance(conv, nn.ConvTranspose2d) else conv.weight
    outputs[:COLOURS] = 0
    for colour in range(COLOURS):
        outputs[colour, colour, 1, 1] = gain
