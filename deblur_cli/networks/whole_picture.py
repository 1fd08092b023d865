"""Layers that take something from the whole picture, and can be told of it where only a window of it is there.

Instance norm and channel attention need the mean of each channel over the picture, the norm its variance too. A window
has others than the picture: tiles that take their own differ in tone and contrast, and seams show. So the restorer runs
all windows first while the layers note what each window keeps, and again with what they noted of the picture.

Where one layer looks at the picture through another, one such run is not exact: the later one notes what the earlier one
made of a window's own moments. It is exact if each run ends at the first layer that was told nothing yet, and there are as
many runs as such layers, each a little longer than the one before.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIPE_PX = 8192
"""So few values may be added up in float32 before that is felt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """One axis of a window: it reads [read_start, read_stop) of the picture and keeps [keep_start, keep_stop), in pixels."""

    read_start: int
    read_stop: int
    keep_start: int
    keep_stop: int

    def kept(self, length: int) -> slice:
        """What is kept of so many features: no two windows keep the same ones."""
        scale = length / (self.read_stop - self.read_start)
        return slice(*(round((end - self.read_start) * scale) for end in (self.keep_start, self.keep_stop)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of a picture, with what is around it."""

    rows: Extent
    columns: Extent

    @classmethod
    def of(cls, rows: slice, columns: slice) -> "Window":
        """One that keeps all it reads."""

        def extent(read: slice) -> Extent:
            return Extent(
                read_start=read.start, read_stop=read.stop, keep_start=read.start, keep_stop=read.stop
            )

        return cls(rows=extent(rows), columns=extent(columns))

    def kept(self, x: Tensor) -> Tensor:
        """What is kept of features (B, C, H, W), at whatever resolution."""
        return x[..., self.rows.kept(x.shape[-2]), self.columns.kept(x.shape[-1])]


class OfPicture(nn.Module):
    """What a network takes from the whole picture: of what it gets, unless it was told.

    window : where what it gets comes from; None = it is the whole picture
    noted : of the windows so far; told : what these come to, which it gives from then on, None until then
    ends_here : the network need not go on once a window was noted
    """

    def __init__(self) -> None:
        super().__init__()
        self.window: Window | None = None
        self.noted: list[Any] = []
        self.told: Any = None
        self.ends_here = False

    def look(self, x: Tensor) -> None:
        """Note what a window keeps, until the whole is known."""
        if self.window is None or self.told is not None:
            return
        self.noted.append(self.note(x, self.window))
        if self.ends_here:
            raise _EnoughSeenError

    @abstractmethod
    def note(self, x: Tensor, window: Window) -> Any:
        """What must be known of a window."""

    @abstractmethod
    def sum_up(self, noted: list[Any]) -> Any:
        """What the notes of all windows come to."""


class _EnoughSeenError(Exception):
    """All that this window can tell was noted."""


class PictureMoments(OfPicture):
    """Mean and variance of each channel over the picture: (1, C, H, W) -> two of (C,), in float32 at least."""

    @property
    def is_live(self) -> bool:
        """Whether nobody asks for anything but the moments of what is there."""
        return self.window is None and self.told is None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The moments, population variance."""
        self.look(x)
        if self.told is None:
            return _moments(x)
        mean, variance = (value.to(_at_least_float32(x)) for value in self.told)
        return mean, variance

    def note(self, x: Tensor, window: Window) -> tuple[int, Tensor, Tensor]:
        """The moments of what it keeps, and of how many values."""
        kept = window.kept(x)
        count = kept.shape[-2:].numel()
        mean, variance = _moments(kept)
        return count, mean.double(), variance.double()

    def sum_up(self, noted: list[tuple[int, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """The moments of all."""
        counts, means, variances = zip(*noted, strict=True)
        return _merged(counts, torch.stack(means), torch.stack(variances))


class PictureMap(OfPicture):
    """A map (B, C, H, W) of the picture's size, whose every pixel may depend on the whole picture.

    bytes_per_pixel : of the whole picture, at most at once: notes, what they come to, and the map
    """

    bytes_per_pixel = 16

    @abstractmethod
    def levels(self, x: Tensor) -> Tensor:
        """What the map is made of, pixel by pixel, in few bytes: (B, C, H, W) -> (B, c, H, W)."""

    @abstractmethod
    def drawn(self, levels: Tensor) -> Tensor:
        """The map: (B, c, H, W) -> (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the map of it, or that part of the whole picture's, in float32."""
        self.look(x)
        if self.told is None:
            return self.drawn(self.levels(x)).float()
        assert self.window is not None
        rows, columns = self.window.rows, self.window.columns
        part: Tensor = self.told[
            ..., rows.read_start : rows.read_stop, columns.read_start : columns.read_stop
        ]
        return part.float()

    def note(self, x: Tensor, window: Window) -> tuple[Window, Tensor]:
        """What the map is made of, where it is kept."""
        return window, self.levels(window.kept(x))

    def sum_up(self, noted: list[tuple[Window, Tensor]]) -> Tensor:
        """The whole picture's map."""
        some = noted[0][1]
        height = max(window.rows.keep_stop for window, _ in noted)
        width = max(window.columns.keep_stop for window, _ in noted)
        whole = some.new_zeros((*some.shape[:2], height, width))
        for window, levels in noted:
            rows, columns = window.rows, window.columns
            whole[..., rows.keep_start : rows.keep_stop, columns.keep_start : columns.keep_stop] = levels
        return self.drawn(whole)


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
        if self.moments.is_live:
            if x.shape[-2:].numel() == 1:  # a single value is its own mean
                x = torch.zeros_like(x)
                return x if self.bias is None else x + self.bias[:, None, None]
            if len(x) > 1:
                return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
            if torch.is_grad_enabled() or x.device.type != "cpu":  # as it leaves the memory's order as it is
                return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
        mean, variance = self.moments(x)
        return F.batch_norm(x, mean, variance, self.weight, self.bias, eps=self.eps)


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
        self._all = [module for module in network.modules() if isinstance(module, OfPicture)]

    def __bool__(self) -> bool:
        return bool(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def bytes_per_pixel(self) -> int:
        """Of the whole picture, that are held while windows are told of it."""
        return sum(each.bytes_per_pixel for each in self._all if isinstance(each, PictureMap))

    @contextmanager
    def noting(self, *, one_layer: bool) -> Iterator[None]:
        """A network that is run within notes what a window keeps, in each layer that was told nothing yet.

        one_layer : in the first of them, and ends there
        """
        for each in self._all:
            each.ends_here = one_layer
        with suppress(_EnoughSeenError):
            yield

    def tell(self) -> bool:
        """Give every window from now on what was noted of the picture; False if nothing new was."""
        news = [each for each in self._all if each.noted]
        for each in news:
            each.told, each.noted = each.sum_up(each.noted), []
        return bool(news)

    @property
    def told(self) -> list[Any]:
        """What each was told. May be set: to what it was told of another picture, such as the same one turned."""
        return [each.told for each in self._all]

    @told.setter
    def told(self, values: list[Any]) -> None:
        for each, value in zip(self._all, values, strict=True):
            each.told = value

    def at(self, window: Window) -> None:
        """The network gets this window next."""
        for each in self._all:
            each.window = window

    def release(self) -> None:
        """Look at what is there again."""
        for each in self._all:
            each.window, each.told, each.noted = None, None, []


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and population variance of each channel: (1, C, H, W) -> two of (C,), in float32 at least."""
    if x.device.type != "cpu" or torch.is_grad_enabled():
        variance, mean = torch.var_mean(x.to(_at_least_float32(x)), dim=(0, 2, 3), correction=0)
        return mean, variance
    # A CPU's batch norm adds up all of a picture in float32 (off by 1e-3 at a megapixel); var_mean takes five times as long.
    stripes = torch.split(x, max(1, STRIPE_PX // x.shape[-1]), dim=2)
    each = [
        torch.batch_norm_update_stats(
            stripe.to(_at_least_float32(x), memory_format=torch.channels_last), None, None, momentum=0.0
        )
        for stripe in stripes
    ]
    means, variances = (torch.stack(values) for values in zip(*each, strict=True))
    counts = [stripe.shape[-2:].numel() for stripe in stripes]
    mean, variance = _merged(counts, means.double(), variances.double())
    return mean.to(means.dtype), variance.to(means.dtype)


def _merged(counts: Sequence[int], means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """The moments of several samples together: of so many values each, (N, C) -> (C,)."""
    share = torch.tensor(counts).to(means) / sum(counts)
    mean = share @ means
    return mean, share @ (variances + (means - mean) ** 2)


def _at_least_float32(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
