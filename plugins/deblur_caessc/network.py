"""caessc: a convolutional auto-encoder with symmetric skip connections, 5x5 kernels, and the picture added at its end.

From the "Deep Deblurring project" (Dicosola; Bologna, 2020), whose code is alessandrodicosola/DeepDeblurring; written
anew from its facts and figures. It follows X. Mao, C. Shen, Y. Yang, "Image Restoration Using Very Deep Convolutional
Encoder-Decoder Networks with Symmetric Skip Connections", NIPS 2016 (arXiv 1603.09056); differences to RED30 there: 5x5
instead of 3x3 kernels, batch norms, also after each sum, and a squashed output.
"""

import torch
from torch import Tensor, nn

from deblur_cli.networks import (
    PHOTO_MEAN,
    PHOTO_STD,
    ConvNormAct,
    InferenceForm,
    calibrate_norms,
    glorot_uniform,
    keras_norm,
)

COLOURS = 3
_STEEPNESS = 4.6  # of the sigmoid that is nearest to the identity on [0, 1]


class Merge(nn.Module):
    """Batch norm -> activation of a sum of two."""

    def __init__(self, features: int, activation: nn.Module) -> None:
        super().__init__()
        self.norm = keras_norm(features)
        self.activation = activation

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Two (B, C, H, W) -> the same shape."""
        y: Tensor = self.activation(self.norm(skip + x))
        return y


class Caessc(nn.Module):
    """act(BN(B + x)): (B, 3, H, W) in [0, 1] to the same shape, in (0, 1), or in [0, inf) with output "relu".

    Counted from 1, every second encoder layer but the last is heard again by the decoder layer that mirrors it.

    Parameters
    ----------
    depth : layers, half of them transposed
    width : features of each layer; depth 22, width 128 has 8,217,868 parameters, depth 30, width 64 has 2,881,420
    half : work at half the resolution: the first layer has stride 2, and so has the last. H and W are then even
    output : "sigmoid", or "relu", which the report found unable to restore black areas
    """

    def __init__(self, *, depth: int, width: int, half: bool, output: str = "sigmoid") -> None:
        super().__init__()
        length, stride = depth // 2, 2 if half else 1
        self.encoder = nn.ModuleList(
            _normed(nn.Conv2d(width if i else COLOURS, width, 5, stride=1 if i else stride, padding=2, bias=False))
            for i in range(length)
        )  # fmt: skip
        # decoder[i] mirrors encoder[i], so it runs from its end to its beginning
        self.decoder = nn.ModuleList(
            _normed(_transposed(width, width if i else COLOURS, stride=1 if i else stride))
            for i in range(length)
        )
        self.merges = nn.ModuleDict(
            {str(i): Merge(width, nn.ReLU(inplace=True)) for i in range(1, length - 1, 2)}
        )
        self.output = Merge(COLOURS, nn.Sigmoid() if output == "sigmoid" else nn.ReLU(inplace=True))
        glorot_uniform(self)

    def forward(self, blurry: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> restored, float32. The picture is added in float32 in every dtype."""
        x = blurry
        stored: dict[str, Tensor] = {}
        for i, layer in enumerate(self.encoder):
            x = layer(x)
            if str(i) in self.merges:
                stored[str(i)] = x
        for i in range(len(self.decoder) - 1, -1, -1):
            x = self.decoder[i](x)
            if str(i) in self.merges:
                x = self.merges[str(i)](x, stored.pop(str(i)))
        wide = torch.promote_types(x.dtype, torch.float32)
        restored: Tensor = self.output(x.to(wide), blurry.to(wide))
        return restored

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        """An equivalent, faster module that takes and returns float32 and computes in `dtype`."""
        return InferenceForm(self, dtype)


def _normed(conv: nn.Conv2d | nn.ConvTranspose2d) -> ConvNormAct:
    return ConvNormAct(conv, nn.ReLU(inplace=True))


def _transposed(before: int, after: int, *, stride: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(
        before, after, 5, stride=stride, padding=2, output_padding=stride - 1, bias=False
    )


def start_near_identity(network: Caessc) -> None:
    """Let the layers add a constant, and the last norm and activation give back the picture; norms know their input.

    With "relu" that is exact but for rounding; the sigmoid leaves at most 0.1, at black and white. The constant lies above
    zero, where the ReLU lets corrections of both signs pass.
    """
    constant, last = network.decoder[0].norm, network.output.norm
    sigmoid = isinstance(network.output.activation, nn.Sigmoid)
    assert isinstance(constant, nn.BatchNorm2d)
    with torch.no_grad():
        constant.weight.zero_()
        constant.bias.fill_(0.5)
        last.weight.fill_((PHOTO_STD**2 + last.eps) ** 0.5 * (_STEEPNESS if sigmoid else 1))
        last.bias.fill_((PHOTO_MEAN - 0.5) * _STEEPNESS if sigmoid else PHOTO_MEAN)
    calibrate_norms(network)
