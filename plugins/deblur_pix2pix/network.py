"""pix2pix: a U-Net of strided 4x4 convolutions, which may attend, add the blurred picture and bound its kernels.

From the report "Blind Deblurring using GANs" (Lenka, with Mittal and Pandey, 2019; arXiv 1907.11880), whose authors' code
is lenka98/Bind-Deblurring-using-GANs; written anew from its facts and figures. It follows P. Isola, J.-Y. Zhu, T. Zhou,
A. A. Efros, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017 (arXiv 1611.07004); self-attention
is that of H. Zhang, I. Goodfellow, D. Metaxas, A. Odena (ICML 2019, arXiv 1805.08318), the bound on kernels that of
T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida, "Spectral Normalization for Generative Adversarial Networks", ICLR 2018
(arXiv 1802.05957). Differences: the code's batch norms, always with the statistics of a batch of one, are instance norms;
the innermost layer has none, as in Isola et al., since it would see a single value; dropout is off once training is over.
"""

from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized

from deblur_cli.networks import (
    InferenceForm,
    InstanceNorm,
    attend,
    bound_kernels,
    channel_attention,
    start_normal,
    undo_tanh,
)

COLOURS = 3
ATTENDING_ENCODERS, ATTENDING_DECODERS = (4, 7), (2, 5, 8)
DROPOUT_FROM = 6
"""Levels of the decoder from here on have dropout."""
MOST_BENDS = 5  # for each colour and sign
SETTLING = 30  # power iterations


class Pix2Pix(nn.Module):
    """(B, 3, H, W) in [-1, 1] -> restored: T in (-1, 1), or its average with B. H and W are multiples of 2**depth.

    Level n takes the size to 1 / 2**n and back; the innermost sees 1x1 where the picture is as small as it may be.

    Parameters
    ----------
    attention : "none" (54,419,459 parameters); "sa", self-attention before some layers, and channel attention innermost
        (58,291,848); "sa+ca", channel attention behind each self-attention as well (58,504,840)
    residual : "none" returns T, "average" (T + B) / 2
    spectral_norm : each kernel is divided by its largest singular value, as outputs by inputs
    width : features of the first level, doubled by each of the next three, the same from there on
    depth : levels; fewer than 8 leave out the innermost, with what attends there
    """

    def __init__(
        self,
        *,
        attention: str = "none",
        residual: str = "none",
        spectral_norm: bool = False,
        width: int = 64,
        depth: int = 8,
    ) -> None:
        super().__init__()
        self.residual = residual
        sizes = [COLOURS, *(width << min(level, 3) for level in range(depth))]  # features at 1, 1/2, 1/4, ...
        levels = range(1, depth + 1)

        def encoder(level: int) -> nn.Sequential:
            before, after = sizes[level - 1 : level + 1]
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if level > 1 else []
            layers += attend(before, attention) if level in ATTENDING_ENCODERS else []
            layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1))
            return nn.Sequential(*layers, *([InstanceNorm(after, affine=True)] if 1 < level < depth else []))

        def decoder(level: int) -> nn.Sequential:
            before, after = sizes[level] * (1 if level == depth else 2), sizes[level - 1]
            layers: list[nn.Module] = [nn.ReLU(inplace=True)]
            layers += attend(before, attention) if level in ATTENDING_DECODERS else []
            layers.append(nn.ConvTranspose2d(before, after, 4, stride=2, padding=1))
            layers += [InstanceNorm(after, affine=True)] if level > 1 else []
            return nn.Sequential(*layers, *([nn.Dropout(0.5)] if level >= DROPOUT_FROM else []))

        self.encoder = nn.ModuleList(encoder(level) for level in levels)
        self.middle = nn.Identity() if attention == "none" else channel_attention(sizes[-1])
        self.decoder = nn.ModuleList(decoder(level) for level in reversed(levels))  # the innermost first
        start_normal(self)
        if spectral_norm:
            bound_kernels(self)

    def forward(self, blurry: Tensor) -> Tensor:
        """The picture alone, in training mode too; float32 whatever it computes in."""
        features = [blurry]
        for layer in self.encoder:
            features.append(layer(features[-1]))
        x = self.middle(features.pop())
        for number, layer in enumerate(self.decoder):
            x = layer(x if number == 0 else torch.cat([x, features.pop()], dim=1))
        restored = torch.tanh(x.float())
        return (restored + blurry) / 2 if self.residual == "average" else restored

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        """An equivalent, faster module that takes and returns float32 and computes in `dtype`."""
        return InferenceForm(self, dtype)


def start_near_identity(network: Pix2Pix) -> None:
    """Lead the picture past everything but the outermost layers, so that training starts near it; all else waits.

    Features at half the size hold each colour of its four pixels once for each sign, so that ReLUs take nothing, and again
    beyond some value, which undoes the tanh. Bounded kernels cannot have the gain for that: there they hold the window of
    4x4 pixels that a layer sees, shifted to above zero, and the four windows of a pixel add up to it. Networks that are too
    narrow for this, below 24 features or 48, stay as they are.
    """
    *_, enter = network.encoder[0].children()
    *_, leave = network.decoder[-1].children()
    assert isinstance(enter, nn.Conv2d)
    assert isinstance(leave, nn.ConvTranspose2d)
    assert enter.bias is not None
    assert leave.bias is not None
    if is_parametrized(enter):
        signs, onsets, gains, taps = torch.ones(1), -torch.ones(1), torch.ones(1), range(4)
    else:
        half = min(MOST_BENDS, enter.out_channels // (2 * COLOURS * 2**2))
        signs = torch.tensor([1.0, -1.0]).repeat_interleave(half)
        onsets = torch.tanh(torch.linspace(0, 2, half + 1)[:-1]).repeat(2)
        gains = undo_tanh(lambda colours: F.relu(signs * colours[:, None] - onsets)) + signs * (onsets == 0)
        taps = range(1, 3)
    count = len(signs)
    if not 0 < count * COLOURS * len(taps) ** 2 <= enter.out_channels:
        return
    coming, going = _kernel(enter), _kernel(leave)
    beside = leave.in_channels - enter.out_channels  # the decoder's features come first
    with torch.no_grad():
        going.zero_()
        for number, (row, column, colour) in enumerate(product(taps, taps, range(COLOURS))):
            features = slice(number * count, (number + 1) * count)
            coming[features] = 0
            coming[features, colour, row, column] = signs
            enter.bias[features] = -onsets
            going[beside:][features, colour, row, column] = gains
        leave.bias.fill_(-1 if is_parametrized(leave) else 0)
        for layer in (enter, leave):
            for _ in range(SETTLING):
                _ = layer.train().weight  # where it is bounded, each look makes the estimate better


def _kernel(layer: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """The parameter, without what is made of it."""
    (kernel,) = (value for name, value in layer.named_parameters() if name != "bias")
    return kernel
