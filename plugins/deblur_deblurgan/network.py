"""DeblurGAN's generator: two strided convolutions, residual blocks, two transposed convolutions and a global skip.

From the reports "DeblurGAN in TensorFlow" (S1 below) and "Single image deblurring with generative adversarial networks" (S4),
which follow O. Kupyn, V. Budzan, M. Mykhailych, D. Mishkin, J. Matas, "DeblurGAN: Blind Motion Deblurring Using Conditional
Adversarial Networks", CVPR 2018. Written anew from their facts and figures, under our own licence.
"""

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deblur_cli.networks import (
    ConvLSTM,
    ConvNormAct,
    InferenceForm,
    InstanceNorm,
    PictureMap,
    glorot_uniform,
)

CANNY = (100, 200)
"""Thresholds of the gradient (3x3 Sobel, L1, 8-bit grey), below which nothing and above which anything is an edge."""


class Generator(nn.Module):
    """R of B and T, the tanh of what the layers make of B: (B, 3, H, W) in [-1, 1] to the same shape.

    Parameters
    ----------
    width : features at full resolution, twice as many at 1/2 and four times at 1/4
    blocks : residual blocks at 1/4
    norm : "instance", or "batch" as in the code of S1
    dropout : chance within residual blocks, while training
    output : R = (T + B) / 2, "average"; T + B, "sum"; or that clipped to [-1, 1], "clip"
    edge : B's edges, as Canny finds them, are a fourth colour
    iterations : of a ConvLSTM on what the encoder makes of B; 0 = there is none
    """

    def __init__(
        self,
        *,
        width: int = 64,
        blocks: int = 9,
        norm: str = "instance",
        dropout: float = 0.0,
        output: str = "average",
        edge: bool = False,
        iterations: int = 0,
    ) -> None:
        super().__init__()
        self._output = output
        self.edges = Edges() if edge else None
        self._iterations = iterations
        w1, w2, w4 = width, 2 * width, 4 * width
        self.encoder = nn.Sequential(
            ReflectionPad(3),
            _layer(nn.Conv2d(4 if edge else 3, w1, 7), norm, nn.ReLU(inplace=True)),
            _layer(nn.Conv2d(w1, w2, 3, stride=2, padding=1), norm, nn.ReLU(inplace=True)),
            _layer(nn.Conv2d(w2, w4, 3, stride=2, padding=1), norm, nn.ReLU(inplace=True)),
        )
        self.memory = ConvLSTM(w4) if iterations else None
        self.blocks = nn.Sequential(*(ResidualBlock(w4, norm=norm, dropout=dropout) for _ in range(blocks)))
        self.decoder = nn.Sequential(
            _layer(_double(w4, w2), norm, nn.ReLU(inplace=True)),
            _layer(_double(w2, w1), norm, nn.ReLU(inplace=True)),
            ReflectionPad(3),
        )
        self.last = nn.Conv2d(w1, 3, 7)
        glorot_uniform(self)

    def forward(self, blurry: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [-1, 1] -> restored, float32. The skip is added in float32 in every dtype."""
        x = self.encoder(blurry if self.edges is None else torch.cat([blurry, self.edges(blurry)], dim=1))
        if self.memory is not None:
            state = None
            for _ in range(self._iterations):
                state = self.memory(x, state)
            assert state is not None
            x = state[0]
        tanh = torch.tanh(self.last(self.decoder(self.blocks(x))).float())
        both = tanh + blurry.float()
        if self._output == "average":
            return both / 2
        return both.clamp(-1, 1) if self._output == "clip" else both

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        """An equivalent, faster module that takes and returns float32 and computes in `dtype`."""
        return InferenceForm(self, dtype)


class ResidualBlock(nn.Module):
    """x + norm(conv3(dropout(ReLU(norm(conv3(x)))))), borders reflected; nothing after the sum."""

    def __init__(self, features: int, *, norm: str, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ReflectionPad(1),
            _layer(nn.Conv2d(features, features, 3), norm, nn.ReLU(inplace=True)),
            nn.Dropout(dropout),
            ReflectionPad(1),
            _layer(nn.Conv2d(features, features, 3), norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        y: Tensor = x + self.layers(x)
        return y


class ReflectionPad(nn.Module):
    """Mirrors `pixels` at each border, without the outermost one; repeats that where there are too few to mirror."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H + 2 pixels, W + 2 pixels)."""
        mode = "reflect" if min(x.shape[-2:]) > self.pixels else "replicate"
        return F.pad(x, 4 * (self.pixels,), mode=mode)


def start_at_identity(network: Generator) -> None:
    """Zero what is added to the blurred picture: where the output is their sum, clipped or not, training starts from it."""
    nn.init.zeros_(network.last.weight)
    assert network.last.bias is not None
    nn.init.zeros_(network.last.bias)


class Edges(PictureMap):
    """Canny's edges of the grey picture in 8 bit: (B, 3, H, W) in [-1, 1] -> (B, 1, H, W), 1 on an edge, else -1."""

    def levels(self, x: Tensor) -> Tensor:
        """The colours in 8 bit."""
        return ((x.detach().float() + 1) * 127.5).round().clamp(0, 255).byte()

    def drawn(self, levels: Tensor) -> Tensor:
        """Whether something faint is an edge depends on how it goes on, at any distance."""
        found: Tensor = _canny(levels)
        return found


@torch.library.custom_op("deblur::canny", mutates_args=())
def _canny(levels: Tensor) -> Tensor:
    """(B, 3, H, W) in 8 bit -> (B, 1, H, W), int8."""
    found = [
        cv2.Canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), *CANNY)
        for picture in np.ascontiguousarray(levels.permute(0, 2, 3, 1).cpu().numpy())
    ]
    return torch.from_numpy(np.stack(found))[:, None].to(levels.device).ne(0).char() * 2 - 1


@_canny.register_fake
def _(levels: Tensor) -> Tensor:
    return torch.empty_like(levels[:, :1], dtype=torch.int8)


def _layer(conv: nn.Conv2d | nn.ConvTranspose2d, norm: str, activation: nn.Module | None = None) -> nn.Module:
    if norm == "batch":
        return ConvNormAct(conv, activation)
    return nn.Sequential(conv, InstanceNorm(conv.out_channels), activation or nn.Identity())


def _double(before: int, after: int) -> nn.ConvTranspose2d:
    """Twice the height and width."""
    return nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)
