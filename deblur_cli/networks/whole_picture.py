"""Layers that take something from the whole picture, and can be told of it where only a window of it is there.

Instance norm and channel attention need the mean of each channel over the picture, the norm its variance too. A window
has others than the picture: tiles that take their own differ in tone and contrast, and seams show. So the restorer runs
all windows once while the layers note the moments of what each window keeps, and again with those of the picture. In the
first run a layer gets what the layers before it made with moments of a window; that is all that tiling loses.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The part of a window that is noted, as shares of its height and width: no two windows keep the same pixel."""

    top: float
    bottom: float
    left: float
    right: float

    def of(self, x: Tensor) -> Tensor:
        """That part of features (B, C, H, W), at whatever resolution."""
        height, width = x.shape[-2:]
        return x[
            ...,
            round(self.top * height) : round(self.bottom * height),
            round(self.left * width) : round(self.right * width),
        ]


class PictureMoments(nn.Module):
    """Mean and variance of each channel over the picture: (1, C, H, W) -> two of (C,), in float32 at least.

    Of what it gets, unless it was told those of the picture.

    kept : the part of what it gets whose moments are noted, None for nothing; frozen : the moments that it was told
    """

    def __init__(self) -> None:
        super().__init__()
        self.frozen: tuple[Tensor, Tensor] | None = None
        self.kept: Kept | None = None
        self._count = 0
        self._mean = self._squares = torch.zeros(())

    @property
    def is_live(self) -> bool:
        """Whether nobody asks for anything but the moments of what is there."""
        return self.frozen is None and self.kept is None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The moments, population variance; notes those of the kept part where that is asked for."""
        if self.kept is not None:
            self._note(self.kept.of(x))
        if self.frozen is None:
            return _moments(x)
        mean, variance = (value.to(_at_least_float32(x)) for value in self.frozen)
        return mean, variance

    def freeze(self) -> None:
        """Give from now on the moments of all that was noted."""
        self.kept = None
        self.frozen = self._mean, self._squares / self._count
        self._count = 0

    def _note(self, x: Tensor) -> None:
        """Add to mean and sum of squared differences, as Chan, Golub and LeVeque (1983) merge two samples."""
        count = x.shape[-2:].numel()
        if not count:
            return
        mean, variance = (value.double() for value in _moments(x))
        if not self._count:
            self._count, self._mean, self._squares = count, mean, variance * count
            return
        total = self._count + count
        away = mean - self._mean
        self._mean = self._mean + away * (count / total)
        self._squares = self._squares + variance * count + away.square() * (self._count * count / total)
        self._count = total


class InstanceNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps) by picture and channel (Ulyanov et al. 2016), always of the current picture.

    Parameters
    ----------
    features : channels
    affine : learn a factor and an offset a channel
    """

    def __init__(self, features: int, *, affine: bool = False, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(features)) if affine else None
        self.moments = PictureMoments()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape; B = 1 where windows are told of the picture."""
        if not self.moments.is_live:
            mean, variance = self.moments(x)
            return F.batch_norm(x, mean, variance, self.weight, self.bias, eps=self.eps)
        if x.shape[-2:].numel() == 1:  # a single value is its own mean
            x = torch.zeros_like(x)
            return x if self.bias is None else x + self.bias[:, None, None]
        if len(x) == 1:  # the same, and it leaves the memory's order as it is
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


class ChannelAttention(nn.Module):
    """x * sigmoid(W2 act(W1 mean(x))): features that matter in this picture count more (Hu et al., CVPR 2018).

    Parameters
    ----------
    features : channels; reduction : how many fewer there are between W1 and W2
    bias : of both, which are 1x1 convolutions
    """

    def __init__(self, features: int, *, reduction: int, bias: bool, activation: nn.Module) -> None:
        super().__init__()
        inner = max(1, features // reduction)
        self.weigh = nn.Sequential(
            nn.Conv2d(features, inner, 1, bias=bias), activation, nn.Conv2d(inner, features, 1, bias=bias), nn.Sigmoid()
        )  # fmt: skip
        self.moments = PictureMoments()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape; B = 1 where windows are told of the picture."""
        if self.moments.is_live:
            mean = x.mean(dim=(2, 3), keepdim=True)
        else:
            mean = self.moments(x)[0].to(x.dtype)[None, :, None, None]
        y: Tensor = x * self.weigh(mean)
        return y


class PictureStatistics:
    """All that a network takes from the whole picture, together; False where it takes nothing."""

    def __init__(self, network: nn.Module) -> None:
        self._moments = [module for module in network.modules() if isinstance(module, PictureMoments)]

    def __bool__(self) -> bool:
        return bool(self._moments)

    def note(self, kept: Kept) -> None:
        """Note the moments of this part of the next windows."""
        for each in self._moments:
            each.kept = kept

    def freeze(self) -> None:
        """Give every window from now on the moments of all that was noted."""
        for each in self._moments:
            each.freeze()

    def release(self) -> None:
        """Look at what is there again."""
        for each in self._moments:
            each.kept = each.frozen = None


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x.to(_at_least_float32(x)), dim=(0, 2, 3), correction=0)
    return mean, variance


def _at_least_float32(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
