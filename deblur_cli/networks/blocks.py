"""The layer that most networks of the reports are made of."""

from torch import Tensor, nn


def keras_norm(features: int) -> nn.BatchNorm2d:
    """A batch norm with Keras' defaults: eps 1e-3, and a momentum of 0.99, which is 0.01 in PyTorch's sense."""
    return nn.BatchNorm2d(features, eps=1e-3, momentum=0.01)


class ConvNormAct(nn.Module):
    """Convolution -> batch norm -> activation: for inference the norm folds into the convolution before it.

    Parameters
    ----------
    conv : a convolution or a transposed one
    activation : works in place if it can; None for none
    """

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = conv
        self.norm = keras_norm(conv.out_channels)
        self.activation = nn.Identity() if activation is None else activation

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W'), as the convolution makes it."""
        y: Tensor = self.activation(self.norm(self.conv(x)))
        return y
