"""REDNet30: 30 convolutions with activation before normalisation and symmetric skips.

From the report "Application of Deep Learning on Image Deblurring" (Orlandi, Pinardi; Bologna, 2020), whose authors' code
is nihil21/cnn-deblur; written anew from its facts and figures, under our own licence. The report follows X. Mao, C. Shen,
Y. Yang, "Image Restoration Using Very Deep Convolutional Encoder-Decoder Networks with Symmetric Skip Connections", NIPS
2016; differences to RED30 there: 64 instead of 128 features, ELU and batch norm instead of ReLU.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deblur_cli.networks import glorot_uniform, keras_norm


class Block(nn.Module):
    """conv3 (+ skip) -> ELU -> batch norm."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = keras_norm(out_channels)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W); `skip` joins the raw convolution output."""
        y: Tensor = self.conv(x)
        if skip is not None:
            y = y + skip
        normed: Tensor = self.norm(F.elu(y))
        return normed


class REDNet(nn.Module):
    """R = ELU(conv1(D) + B): (B, 3, H, W) in [0, 1] to the same shape, in (-1, inf).

    Parameters
    ----------
    depth : convolutions a side; 15 gives REDNet30 with 1,076,739 parameters
    width : features of each convolution
    """

    def __init__(self, *, depth: int = 15, width: int = 64) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(Block(3 if i == 0 else width, width) for i in range(depth))
        self.decoder = nn.ModuleList(Block(width, width) for _ in range(depth))
        self.output = nn.Conv2d(width, 3, 1)
        glorot_uniform(self)

    def forward(self, blurry: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> restored, float32. The global residual is added in float32 in every dtype."""
        x = blurry
        encoded: list[Tensor] = []
        for block in self.encoder:
            x = block(x)
            encoded.append(x)
        last = len(encoded) - 1
        for i, block in enumerate(self.decoder):
            x = block(x, encoded[last - i] if i % 2 else None)  # d_i of odd i takes E(n-1-i)
        return F.elu(self.output(x).float() + blurry.float())

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        """An equivalent, faster module that takes and returns float32 and computes in `dtype`."""
        from deblur_rednet.inference import StreamedREDNet

        return StreamedREDNet(self, dtype=dtype)


def start_at_identity(network: REDNet) -> None:
    """Zero the output convolution: ELU(0 + B) = B for B >= 0, so that training starts from the blurred picture."""
    with torch.no_grad():
        network.output.weight.zero_()
        assert network.output.bias is not None
        network.output.bias.zero_()
