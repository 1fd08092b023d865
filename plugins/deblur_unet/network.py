"""U-Nets without normalisation: two 3x3 convolutions a level, max pooling down, 2x2 transposed convolutions up.

unet16 is from the report "Application of Deep Learning on Image Deblurring" (Orlandi, Pinardi; Bologna, 2020), unet20 is
the same with one level more, as in the code of its authors. "Machine Vision Practical Project" (Agosto, Malizia; Nankai,
2021) shows its U-Net20 in a figure alone; this is the nearest network that is defined. Both follow O. Ronneberger, P. Fischer, T. Brox, "U-Net", MICCAI 2015 (arXiv 1505.04597); differences
there: zero padding, 16 instead of 64 features, and a ReLU after the transposed convolutions and the last layer.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deblur_cli.networks import InferenceForm, glorot_uniform

COLOURS = 3


class DoubleConv(nn.Module):
    """conv3 -> ReLU -> conv3 -> ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        return F.relu(self.second(F.relu(self.first(x), inplace=True)), inplace=True)


class UNet(nn.Module):
    """(B, 3, H, W) in [0, 1] to the same shape, in [0, inf). H and W are multiples of 2^(levels - 1).

    Parameters
    ----------
    levels : resolutions; 4 gives unet16 with 482,067 parameters, 5 unet20 with 1,941,139
    width : features at full resolution; they double with each level
    output : "relu" as in the reports, or "linear", which cannot lose a colour channel; then in (-inf, inf)
    """

    def __init__(self, *, levels: int, width: int = 16, output: str = "relu") -> None:
        super().__init__()
        widths = [width << level for level in range(levels)]
        self.encoder = nn.ModuleList(
            DoubleConv(a, b) for a, b in zip([COLOURS, *widths], widths, strict=False)
        )
        self.upsample = nn.ModuleList(nn.ConvTranspose2d(2 * a, a, 2, stride=2) for a in widths[-2::-1])
        self.decoder = nn.ModuleList(DoubleConv(2 * a, a) for a in widths[-2::-1])
        self.output = nn.Conv2d(width, COLOURS, 1)
        self.rectified = output == "relu"
        glorot_uniform(self)

    def forward(self, blurry: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> restored."""
        x = blurry
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for upsample, block, skip in zip(self.upsample, self.decoder, skips[-2::-1], strict=True):
            x = block(torch.cat([skip, F.relu(upsample(x), inplace=True)], dim=1))
        restored: Tensor = self.output(x)
        return F.relu(restored, inplace=True) if self.rectified else restored

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        """An equivalent, faster module that takes and returns float32 and computes in `dtype`."""
        return InferenceForm(self, dtype)


def start_at_identity(network: UNet) -> None:
    """Lead the picture unchanged along the first level, whose ReLUs let it pass, so that training starts from it.

    Three features of each convolution there carry the colours, and the output takes those alone. The others start at
    random as ever.
    """
    outer = (network.encoder[0], network.decoder[-1])
    with torch.no_grad():
        for block in outer:
            assert isinstance(block, DoubleConv)
            for conv in (block.first, block.second):
                conv.weight[:COLOURS] = 0
                for colour in range(COLOURS):
                    conv.weight[colour, colour, 1, 1] = 1
        network.output.weight.zero_()
        for colour in range(COLOURS):
            network.output.weight[colour, colour] = 1
