"""msdeblurwgan: a picture restored at a quarter, at half and at the whole of its size, each with the help of the one before.

From the report "Application of Deep Learning on Image Deblurring" (Orlandi, Pinardi; Bologna, 2020), whose authors' code
is nihil21/cnn-deblur; written anew from its facts and figures. It follows S. Nah, T. H. Kim, K. M. Lee, "Deep Multi-Scale
Convolutional Neural Network for Dynamic Scene Deblurring", CVPR 2017 (arXiv 1612.02177); differences there: batch norms in
the residual blocks, a tanh after each size, pictures in [-1, 1], and a Wasserstein critic of the finest alone.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deblur_cli.networks import (
    ConvNormAct,
    InferenceForm,
    calibrate_norms,
    glorot_uniform,
    let_pass,
    undo_tanh,
)

COLOURS = 3
NUM_SCALES = 3
MOST_BENDS = 5  # for each colour and side

Outputs = Tensor | tuple[Tensor, ...]


class Residual(nn.Module):
    """x + BN(conv5(ReLU(BN(conv5(x))))), with nothing after the addition."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = ConvNormAct(_conv(features, features), nn.ReLU(inplace=True))
        self.second = ConvNormAct(_conv(features, features))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        y: Tensor = self.second(self.first(x))
        # in place where no gradient needs y
        return y.add_(x) if torch.is_inference_mode_enabled() else x + y


class Branch(nn.Module):
    """conv5, residual blocks, conv5 and tanh: (B, C, H, W) -> (B, 3, H, W) in (-1, 1)."""

    def __init__(self, channels: int, *, width: int, blocks: int) -> None:
        super().__init__()
        self.enter = _conv(channels, width)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        self.leave = _conv(width, COLOURS)

    def forward(self, x: Tensor) -> Tensor:
        """What the branch sees -> restored."""
        return torch.tanh(self.leave(self.blocks(self.enter(x))))


class MSDeblurWGAN(nn.Module):
    """(B, 3, H, W) in [-1, 1] -> restored, in (-1, 1). H and W are multiples of 4.

    In training mode (restored, restored at half, at a quarter of the size). A branch sees the picture beside features of
    the enlarged result of the one before, through which gradients flow. The branches have weights of their own.

    Parameters
    ----------
    blocks : residual blocks of each branch; 19 give msdeblurwgan with 11,928,961 parameters, 5 msdeblurwgan_5 with 3,311,233
    width : features of a branch
    up_features : of the enlarged result; 61 as in the code, which with the three colours are 64; the report says 64
    """

    def __init__(self, *, blocks: int, width: int = 64, up_features: int = 61) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            Branch(COLOURS + (up_features if number else 0), width=width, blocks=blocks)
            for number in range(NUM_SCALES)
        )
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose2d(COLOURS, up_features, 5, 2, padding=2, output_padding=1)
            for _ in range(NUM_SCALES - 1)
        )
        glorot_uniform(self)

    def forward(self, blurry: Tensor) -> Outputs:
        """In training mode all sizes, the finest first."""
        restored: Tensor = self.branches[0](_reduced(blurry, 0.25))
        outputs = [restored]
        for factor, enlarge, branch in zip((0.5, 1), self.enlarge, self.branches[1:], strict=True):
            outputs.append(branch(torch.cat([_reduced(blurry, factor), enlarge(outputs[-1])], dim=1)))
        return tuple(outputs[::-1]) if self.training else outputs[-1]

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        """An equivalent, faster module that takes and returns float32 and computes in `dtype`."""
        return InferenceForm(self, dtype)


def _conv(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 5, padding=2)


def _reduced(x: Tensor, factor: float) -> Tensor:
    """Bilinear, half-pixel centres, no antialiasing: at a quarter the mean of the inner four of sixteen pixels."""
    return x if factor == 1 else F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def start_near_identity(network: MSDeblurWGAN) -> None:
    """Lead the picture through each branch, so that training starts near it; norms know their input.

    Three features carry the colours past all residual blocks but the last, which bends them to undo the tanh, and the last
    layer takes those alone. The others start at random as ever.
    """
    branches = [branch for branch in network.branches if isinstance(branch, Branch)]
    with torch.no_grad():
        for branch in branches:
            _carry(branch.enter)
            _carry(branch.leave)
            for block in branch.blocks:
                assert isinstance(block, Residual)
                block.second.norm.weight[:COLOURS] = 0
        calibrate_norms(network, signed=True)
        for branch in branches:
            last = branch.blocks[-1]
            assert isinstance(last, Residual)
            _bend(last.first, last.second)


def _carry(conv: nn.Conv2d) -> None:
    """Make the first three features of the output those of the input."""
    conv.weight[:COLOURS] = 0
    for colour in range(min(COLOURS, *conv.weight.shape[:2])):  # fewer where features are
        conv.weight[colour, colour, 2, 2] = 1


def _bend(first: ConvNormAct, second: ConvNormAct) -> None:
    """Make the first three features of the output those of the input with the tanh undone, less the input.

    Each colour takes ReLUs of both signs, which set in at several values, as many as there are features for.
    """
    count = min(MOST_BENDS, first.conv.out_channels // (2 * COLOURS))
    if not count:
        return
    signs = torch.tensor([1.0, -1.0]).repeat_interleave(count)
    onsets = torch.tanh(torch.linspace(0, 2, count + 1)[:-1]).repeat(2)
    weights = undo_tanh(lambda colours: F.relu(signs * colours[:, None] - onsets))
    let_pass(second.norm, slice(0, COLOURS))
    second.conv.weight[:COLOURS] = 0
    for colour in range(COLOURS):
        bent = slice(colour * len(signs), (colour + 1) * len(signs))
        let_pass(first.norm, bent)
        first.norm.bias[bent] = -onsets
        first.conv.weight[bent] = 0
        first.conv.weight[bent, colour, 2, 2] = signs
        second.conv.weight[colour, bent, 2, 2] = weights
