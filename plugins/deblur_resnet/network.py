"""resnet16: residual blocks that halve the picture three times and double it three times, without long skips.

From the report "Application of Deep Learning on Image Deblurring" (Orlandi, Pinardi; Bologna, 2020); written anew from
its facts and figures. It follows K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR
2016 (arXiv 1512.03385); differences there: nothing follows the addition, every skip is a 1x1 convolution without
normalisation, and the second half is the first one mirrored, in transposed convolutions.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from deblur_cli.networks import (
    PHOTO_MEAN,
    PHOTO_STD,
    ConvNormAct,
    InferenceForm,
    calibrate_norms,
    glorot_uniform,
)

COLOURS = 3


class Residual(nn.Module):
    """main(x) + skip(x), with nothing after the addition."""

    def __init__(self, main: list[ConvNormAct], skip: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.main = nn.Sequential(*main)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        y: Tensor = self.main(x) + self.skip(x)
        return y


class ResNet(nn.Module):
    """(B, 3, H, W) in [0, 1] to the same shape, in (-inf, inf). H and W are multiples of 8.

    Parameters
    ----------
    width : features at full resolution, doubled with each halving; 64 gives resnet16 with 7,360,396 parameters

    Notes
    -----
    A transposed 1x1 convolution of stride 2, the skip of each decoder block, writes one pixel in four; the others get its
    bias alone. The report has it so. Main branch and skip are both centred on even pixels.
    """

    def __init__(self, *, width: int = 64) -> None:
        super().__init__()
        widths = [width << level for level in range(4)]
        self.encoder = nn.Sequential(
            _down(COLOURS, width, stride=1),
            *(_down(a, b, stride=2) for a, b in pairwise(widths)),
        )
        self.decoder = nn.Sequential(*(_up(2 * a, a) for a in widths[-2::-1]))
        self.output = Residual(
            [_normed(nn.ConvTranspose2d(width, COLOURS, 1))], nn.ConvTranspose2d(width, COLOURS, 1)
        )
        glorot_uniform(self)

    def forward(self, blurry: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> restored."""
        restored: Tensor = self.output(self.decoder(self.encoder(blurry)))
        return restored

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        """An equivalent, faster module that takes and returns float32 and computes in `dtype`."""
        return InferenceForm(self, dtype)


def _down(before: int, after: int, *, stride: int) -> Residual:
    return Residual(
        [
            _normed(nn.Conv2d(before, after, 3, stride=stride, padding=1)),
            _normed(nn.Conv2d(after, after, 3, padding=1)),
        ],
        nn.Conv2d(before, after, 1, stride=stride),
    )


def _up(before: int, after: int) -> Residual:
    return Residual(
        [
            _normed(nn.ConvTranspose2d(before, after, 3, padding=1)),
            _normed(nn.ConvTranspose2d(after, after, 3, stride=2, padding=1, output_padding=1)),
        ],
        nn.ConvTranspose2d(before, after, 1, stride=2, output_padding=1),
    )


def _normed(conv: nn.Conv2d | nn.ConvTranspose2d) -> ConvNormAct:
    return ConvNormAct(conv, nn.ReLU(inplace=True))


def start_near_identity(network: ResNet) -> None:
    """Lead the picture through the main branches, so that training starts from it; norms know their input.

    A halving convolution lays the four pixels of a square side by side as features, and the doubling one that mirrors it
    puts them back. Three times that makes 192 features of three colours, for which width 48 is just enough; narrower
    networks start at random, as all features do that carry no colour.
    """
    blocks = [
        block for block in (*network.encoder, *network.decoder, network.output) if isinstance(block, Residual)
    ]
    carried = COLOURS
    if blocks[len(network.encoder)].skip.out_channels >= COLOURS * 64:
        with torch.no_grad():
            for block in blocks:
                for layer in block.main:
                    assert isinstance(layer, ConvNormAct)
                    carried = _carry(layer, carried)
                _outputs(block.skip)[:carried] = 0
    calibrate_norms(network)


def _carry(layer: ConvNormAct, carried: int) -> int:
    """Make the first features of the output those `carried` of the input, dealt out by squares or gathered; returns how many."""
    conv, norm = layer.conv, layer.norm
    transposed = isinstance(conv, nn.ConvTranspose2d)
    squares = [(0, 0), (0, 1), (1, 0), (1, 1)] if conv.stride == (2, 2) else [(0, 0)]
    apart = carried // len(squares) if transposed else carried  # features, before they are dealt out
    result = apart if transposed else apart * len(squares)
    middle = conv.kernel_size[0] // 2
    weight = _outputs(conv)
    weight[:result] = 0
    for number, (row, column) in enumerate(squares):
        for feature in range(apart):
            dealt = number * apart + feature
            ends = (feature, dealt) if transposed else (dealt, feature)
            weight[(*ends, middle + row, middle + column)] = 1
    norm.weight[:result] = (PHOTO_STD**2 + norm.eps) ** 0.5
    norm.bias[:result] = PHOTO_MEAN
    return result


def _outputs(conv: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """The kernels, output features first."""
    return conv.weight.transpose(0, 1) if isinstance(conv, nn.ConvTranspose2d) else conv.weight
