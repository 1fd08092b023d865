"""The perceptual loss: pictures are compared by the features that a network trained on ImageNet finds in them.

    L = mean over features of (phi(R) - phi(S))^2,   phi = block 3, third convolution, after its ReLU

Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer and Super-Resolution, ECCV 2016; as DeblurGAN uses it.

The features are those of torchvision's files, which were trained on pictures of ImageNet's mean and spread. Two reports showed
values of [-1, 1] to those of Keras, which were trained on 0 to 255. What came of that cannot be had from torchvision's,
whatever they see, nor does the weight hold that made up for it; their recipes take what is chosen here.

| whose | options | weight in the recipe |
| --- | --- | --- |
| chosen here | none | 100 to begin with; at best as large as the adversarial term |
| Lin, Chou, Lyu 2018 | none; norm = "l1" is their code's | 100 for the report's 100000 |
| Lenka 2019 | none | 100; 25600 where the report sums over the 256 channels |
| Kupyn et al. 2018 (DeblurGAN), with torchvision's files too | before_relu = true, normalisation = "none" | 100 |
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from deblur_cli.errors import CheckFailed
from deblur_cli.host.declarations import Values
from deblur_cli.losses.vgg import conv3_3

_MEAN = (
    0.485,
    0.456,
    0.406,
)  # of ImageNet's pictures in [0, 1], which the files of torchvision were trained with
_STD = (0.229, 0.224, 0.225)
_SMALLEST_PX = 4  # two poolings halve the picture


class Perceptual(nn.Module):
    """(restored, sharp), both (B, 3, H, W) in the network's range and at least 4 px a side -> scalar.

    features : (B, 3, H, W) -> (B, C, h, w), what is compared
    values : range of the pictures
    squared : a mean of squares, else of absolute values
    normalised : the features see pictures of ImageNet's mean and spread, else values in [-1, 1]
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, features: nn.Module, *, values: Values, squared: bool, normalised: bool) -> None:
        super().__init__()
        self.features = features
        self._squared = squared
        mean, std = (torch.tensor(colours).view(1, 3, 1, 1) for colours in (_MEAN, _STD))
        if not normalised:
            mean, std = torch.full_like(mean, 0.5), torch.full_like(std, 0.5)  # u -> s = 2u - 1
        gain, offset = (
            (0.5, 0.5) if values is Values.SIGNED else (1.0, 0.0)
        )  # of the way from the range to [0, 1]
        self.register_buffer("scale", gain / std)
        self.register_buffer("shift", (offset - mean) / std)

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """The distance. Only `restored` gets a gradient, and no graph is kept for `sharp`.

        Raises CheckFailed for a picture that leaves no features.
        """
        if min(restored.shape[-2:]) < _SMALLEST_PX:
            height, width = restored.shape[-2:]
            raise CheckFailed(
                f"the loss perceptual takes pictures of {_SMALLEST_PX} px a side and more; one is {height}x{width}"
            )
        with torch.no_grad():
            wanted = self._seen(sharp)
        difference = self._seen(restored) - wanted
        return (difference.square() if self._squared else difference.abs()).mean()

    def _seen(self, pictures: Tensor) -> Tensor:
        """Their features. Pictures in half precision are taken to that of the weights."""
        seen: Tensor = self.features(pictures.to(self.scale.dtype) * self.scale + self.shift)
        return seen


def build(
    *, values: Values, weights: str, network: str, norm: str, before_relu: bool, normalisation: str
) -> Perceptual:
    """The loss with its features read from a file; never with random ones.

    Raises
    ------
    MissingError : no file is named, or it does not exist
    UsageError : the file cannot be read, or belongs to another network
    """
    features = conv3_3(network, Path(weights) if weights else None, before_relu=before_relu)
    return Perceptual(features, values=values, squared=norm == "l2", normalised=normalisation == "imagenet")
