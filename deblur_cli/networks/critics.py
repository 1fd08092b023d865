"""Critics: networks that judge pictures while another one learns to restore them. They are never released."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from deblur_cli.networks.adversarial import attend, bound_kernels, start_normal


class LayerNormPatchCritic(nn.Module):
    """patchgan_layernorm (Orlandi, Pinardi 2020): four strided 4x4 convolutions, each layer-normalised over its channels.

    Unconditional and linear: (B, 3, H, W) -> a map of scores (B, 1, H/8, W/8). 2,766,657 parameters at width 64.

    width : features of the first layer, doubled by each of the next three
    """

    def __init__(self, *, width: int = 64) -> None:
        super().__init__()
        sizes = (3, width, 2 * width, 4 * width, 8 * width)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise(sizes)):
            layers += [
                _conv4(before, after, stride=1 if number == 3 else 2),
                _ChannelNorm(after),
                nn.LeakyReLU(0.3),
            ]
        self.layers = nn.Sequential(*layers, _conv4(sizes[-1], 1, stride=1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, picture: Tensor) -> Tensor:
        """Pictures in the network's range -> scores; the mean of a map is the picture's score."""
        scores: Tensor = self.layers(picture)
        return scores


class ConditionalPatchCritic(nn.Module):
    """patchgan_conditional (Lenka 2019): judges patches of 70x70 pixels of a picture beside the blurred one.

    (blurry, picture), both (B, 3, H, W) -> logits (B, 1, H/8 - 2, W/8 - 2). 2,769,601 parameters at width 64.
    Batch statistics, as trained by S4 with batches of one.

    width : features of the first layer, doubled by each of the next three
    attention : after the second layer, "none", "sa" for self-attention (2,806,754 parameters), or "sa+ca" for channel
        attention after it (2,808,802)
    spectral_norm : each kernel is divided by its largest singular value
    """

    def __init__(self, *, width: int = 64, attention: str = "none", spectral_norm: bool = False) -> None:
        super().__init__()
        sizes = (6, width, 2 * width, 4 * width, 8 * width)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise(sizes)):
            layers.append(nn.Conv2d(before, after, 4, stride=1 if number == 3 else 2, padding=1))
            if number:
                layers.append(nn.BatchNorm2d(after, track_running_stats=False))
            layers.append(nn.LeakyReLU(0.2))
            layers += attend(after, attention) if number == 1 else []
        self.layers = nn.Sequential(*layers, nn.Conv2d(sizes[-1], 1, 4, padding=1))
        start_normal(self)
        if spectral_norm:
            bound_kernels(self)

    def forward(self, blurry: Tensor, picture: Tensor) -> Tensor:
        """The logit of each patch: positive where the picture looks sharp."""
        logits: Tensor = self.layers(torch.cat([blurry, picture], dim=1))
        return logits


class _ChannelNorm(nn.LayerNorm):
    """Normalises over the channels at each position, as Keras' LayerNormalization does by default."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _conv4(before: int, after: int, *, stride: int) -> nn.Module:
    """A 4x4 convolution with TensorFlow's "same" padding: one pixel before, and after it one, or two at stride 1."""
    if stride == 2:
        return nn.Conv2d(before, after, 4, stride=2, padding=1)
    return nn.Sequential(nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(before, after, 4))
