"""rir and rir_large: residual blocks within residual blocks, with attention to channels and, at the coarsest size, to places.

From the report "Blind Deblurring using GANs" (Lenka, with Mittal and Pandey; arXiv 1907.11880, 2019), whose authors' code is
lenka98/Bind-Deblurring-using-GANs; written anew from its facts and figures. That code holds one network, of five sizes and
trained by L1: rir_large. rir is a reconstruction, one size less: the report says that rir_large has one more, and its test
pictures, 1280x720 and 1280x768, are multiples of 16 and of 32.

Residuals in residuals with channel attention are those of Y. Zhang et al., "Image Super-Resolution Using Very Deep Residual
Channel Attention Networks", ECCV 2018 (arXiv 1807.02758); differences here: an encoder and a decoder with skips, 4x4 kernels
at stride 1 too, instance norms where the size changes, spectral norms, and self-attention (H. Zhang et al., ICML 2019,
arXiv 1805.08318) between the two.
"""

from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from deblur_cli.networks import (
    PHOTO_MEAN,
    PHOTO_STD,
    ChannelAttention,
    InferenceForm,
    InstanceNorm,
    SelfAttention,
    bound_kernels,
    start_normal,
)

COLOURS = 3
_CARRIED = COLOURS * 4 * 2
"""Features that hold a picture at half the size: four pixels, each positive or negative."""
_POWER_ITERATIONS = 15


class RiR(nn.Module):
    """(B, 3, H, W) in [-1, 1] to the same shape; H and W are multiples of 2^levels.

    T is a tanh of the last layer, whose norm gives each of its colours a learned mean and deviation, whatever the picture,
    as the report's code has it. What is returned is made of T and the blurred picture B.

    Parameters
    ----------
    levels : sizes below the picture's, each half of the one above; 4 give rir with 56,873,514 parameters, 5 rir_large with
        232,734,378
    width : features at half the size, doubled with each level, at least 4
    residual : "average" returns (T + B) / 2 as in the report, in [-1, 1]; "sum" T + B, in [-2, 2]; "none" T
    spectral_norm : each kernel is divided by its largest singular value, those of the attention too
    """

    def __init__(
        self,
        *,
        levels: int,
        width: int = 64,
        residual: str = "average",
        spectral_norm: bool = True,
    ) -> None:
        super().__init__()
        widths = [width << level for level in range(levels)]
        self.first = Rescale(COLOURS, width)
        self.encoder = nn.ModuleList(map(Nested, widths, widths[1:]))
        self.attention = SelfAttention(widths[-1])
        coarsest, *finer = widths[::-1]
        before = [coarsest, *(2 * features for features in finer)]  # beside the encoder's, but for the first
        self.decoder = nn.ModuleList(Nested(a, b, up=True) for a, b in zip(before, finer, strict=False))
        self.last = Rescale(before[-1], COLOURS, up=True, activation=nn.Identity())
        self.residual = residual
        start_normal(self)
        if spectral_norm:
            bound_kernels(self, channel_attention=True)

    def forward(self, blurry: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [-1, 1] -> restored, float32. B is added in float32 in every dtype."""
        skips: list[Tensor] = [self.first(blurry)]
        for block in self.encoder:
            skips.append(block(skips[-1]))
        x: Tensor = self.attention(skips.pop())
        for block in self.decoder:
            x = torch.cat([block(x), skips.pop()], dim=1)
        tanh = torch.tanh(self.last(x).float())
        if self.residual == "none":
            return tanh
        both = tanh + blurry.float()
        return both / 2 if self.residual == "average" else both

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        """An equivalent, faster module that takes and returns float32 and computes in `dtype`."""
        return InferenceForm(self, dtype)


class Rescale(nn.Module):
    """conv4 at stride 2, or a transposed one, instance norm, activation.

    (B, C, H, W) -> (B, C', H/2, W/2), or (B, C', 2H, 2W) if it goes up

    activation : a ReLU unless it is given
    """

    def __init__(
        self, before: int, after: int, *, up: bool = False, activation: nn.Module | None = None
    ) -> None:
        super().__init__()
        conv = nn.ConvTranspose2d if up else nn.Conv2d
        self.conv: nn.Conv2d | nn.ConvTranspose2d = conv(before, after, 4, stride=2, padding=1)
        self.norm = InstanceNorm(after, affine=True)
        self.activation = activation or nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """In half or twice the size."""
        y: Tensor = self.activation(self.norm(self.conv(x)))
        return y


class Nested(nn.Module):
    """What two residual blocks make of the input, rescaled, plus the input rescaled; nothing after the sum."""

    def __init__(self, before: int, after: int, *, up: bool = False) -> None:
        super().__init__()
        self.deep = nn.Sequential(Residual(before), Residual(before), Rescale(before, after, up=up))
        self.short = Rescale(before, after, up=up)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/2, W/2), or (B, C', 2H, 2W) if it goes up."""
        y: Tensor = self.deep(x) + self.short(x)
        return y


class Residual(nn.Module):
    """x + CA(conv4(CA(conv4(x)))), CA being channel attention; no norm, and no activation in between."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            same_pad(), nn.Conv2d(features, features, 4), _channel_attention(features),
            same_pad(), nn.Conv2d(features, features, 4), _channel_attention(features),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        y: Tensor = x + self.layers(x)
        return y


def same_pad() -> nn.Module:
    """What keeps the size before a 4x4 kernel at stride 1: one row and column of zeros before, two after."""
    return nn.ZeroPad2d((1, 2, 1, 2))


def start_near_identity(network: RiR) -> None:
    """Lead the picture through the first and the last layer, so that training starts as near to it as the last norm allows.

    Features of the first layer carry it at half the size, the last one puts it together again, and takes those alone; the
    others start at random as ever. With a width below 24 there are too few features, and nothing is done. Where the sum of
    T and B is returned, T starts at zero instead.
    """
    first, last = network.first, network.last
    assert first.norm.weight is not None
    assert last.norm.weight is not None
    assert last.norm.bias is not None
    width = len(first.norm.weight)
    with torch.no_grad():
        if network.residual == "sum":
            last.norm.weight.zero_()
        elif width >= _CARRIED:
            taken, put_back = first.conv.weight.clone(), torch.zeros_like(last.conv.weight)
            taken[:_CARRIED] = 0
            parts = product(range(COLOURS), (1, 2), (1, 2), (1, -1))
            for feature, (colour, row, column, sign) in enumerate(parts):
                taken[feature, colour, row, column] = sign
                put_back[feature - width, colour, row, column] = sign  # beside what the decoder gives
            _put(first.conv, taken)
            _put(last.conv, put_back)
            first.norm.weight[:_CARRIED] = 1
            last.norm.weight.fill_(2 * PHOTO_STD)
            last.norm.bias.fill_(2 * PHOTO_MEAN - 1)


def _put(conv: nn.Conv2d | nn.ConvTranspose2d, kernel: Tensor) -> None:
    """Set a kernel, up to a factor where it is divided by its spectral norm, of which the estimate follows."""
    if not parametrize.is_parametrized(conv):
        conv.weight.copy_(kernel)
        return
    conv.weight = kernel
    for _ in range(_POWER_ITERATIONS):
        _ = conv.weight  # made anew by one more in training mode


def _channel_attention(features: int) -> nn.Module:
    return ChannelAttention(features, reduction=8, bias=True, activation=nn.ReLU(inplace=True))
