"""The critics of the two reports that network.py names. Neither sees the blurred picture."""

from itertools import pairwise

from torch import Tensor, nn

from deblur_cli.networks import InstanceNorm, glorot_uniform, keras_norm


class StridedCritic(nn.Module):
    """Four 4x4 convolutions, the first three strided: deblurgan_critic_s1, 2,758,336 parameters.

    (B, 3, H, W) -> all features of the last layer, whose mean is the score: the report and its code have no last layer of
    one feature. A batch norm ties the pictures of a batch together, which a gradient penalty for each does not expect.

    Parameters
    ----------
    width : features of the first layer, doubled by each of the next three
    norm : "batch" or "instance", in all layers but the first
    final_conv : a fifth convolution to one score a patch, as in the original DeblurGAN
    """

    def __init__(self, *, width: int = 64, norm: str = "batch", final_conv: bool = False) -> None:
        super().__init__()
        sizes = (3, width, 2 * width, 4 * width, 8 * width)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise(sizes)):
            layers.append(nn.Conv2d(before, after, 4, stride=1 if number == 3 else 2, padding=2))
            if number:
                layers.append(keras_norm(after) if norm == "batch" else InstanceNorm(after))
            layers.append(nn.LeakyReLU(0.2))
        if final_conv:
            layers.append(nn.Conv2d(sizes[-1], 1, 4, padding=2))
        self.layers = nn.Sequential(*layers)
        glorot_uniform(self)

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, C, h, w)."""
        scores: Tensor = self.layers(picture)
        return scores


class DeepCritic(nn.Module):
    """Four strided 4x4 convolutions and two more, instance norms: critic_deblurgan_s4, 6,959,553 parameters.

    (B, 3, H, W) -> a map of scores (B, 1, H/16, W/16). Linear, as a Wasserstein distance needs it, where the report's code
    ends with a sigmoid.

    width : features of the first layer, doubled by each of the next three
    """

    def __init__(self, *, width: int = 64) -> None:
        super().__init__()
        sizes = (3, width, 2 * width, 4 * width, 8 * width, 8 * width)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise(sizes)):
            if number < 4:
                layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1))
            else:
                layers += [_SAME_4, nn.Conv2d(before, after, 4)]
            layers += [InstanceNorm(after, eps=1e-3), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, _SAME_4, nn.Conv2d(sizes[-1], 1, 4))
        glorot_uniform(self)

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 1, H/16, W/16)."""
        scores: Tensor = self.layers(picture)
        return scores


_SAME_4 = nn.ZeroPad2d((1, 2, 1, 2))
"""What a 4x4 kernel without a stride needs to keep the size."""
