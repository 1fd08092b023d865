"""rednet30 for inference: the same function, its batch norms folded away, run through the picture a band of rows at a time.

Two things make the plain forward slow on a CPU, and both are memory: four passes over activations of picture size for each
convolution, and fresh pages for each of them. Here

* a batch norm y = s e + t after an activation e is folded into the *following* convolution: weights W s, bias b + sum(W t).
  Under zero padding that bias is wrong on a frame of one pixel, where some taps lie outside the picture and see y = 0,
  not y = t. A table of the sums over the missing taps, by edge and corner, is taken off there: exact.
* the picture streams through all layers in bands of rows small enough for the cache. Each convolution keeps the two
  input rows that its next output rows still need, so nothing is computed twice and no seam appears; layer k simply runs
  k rows behind the input. Memory grows with the width of the picture and not with its height.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deblur_rednet.network import Block, REDNet

_BAND_PIXELS_CPU = 32_000  # 4 MB of 64 bfloat16 features: stays in cache, and is reused without page faults
_BAND_PIXELS_OTHER = 1 << 20  # an accelerator wants large launches

_IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {"elu": F.elu_, "relu": F.relu_, "tanh": torch.tanh_}

_INTERIOR, _FIRST, _LAST, _ONLY = range(4)
_TAPS_INSIDE = ((1, 1, 1), (0, 1, 1), (1, 1, 0), (0, 1, 0))  # of three taps, at each of these positions


class FoldedConv(nn.Module):
    """conv3 with the batch norm of its input folded in, and the scale of the batch norm of its skip.

    Parameters
    ----------
    block : gives weights and bias
    norm : (scale, shift), each (C,) float64, of the batch norm of the input, y = scale e + shift; None for a picture
    skip : the same of the skip that joins the output, or None where none does
    dtype : of the arithmetic; the fold itself is done in float64
    """

    weight: Tensor
    bias: Tensor
    frame: Tensor | None
    skip_scale: Tensor | None

    def __init__(
        self,
        block: Block,
        *,
        norm: tuple[Tensor, Tensor] | None,
        skip: tuple[Tensor, Tensor] | None,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        weight, bias = _double(block.conv.weight), _double(block.conv.bias)
        frame = skip_scale = None
        if norm is not None:
            scale, shift = norm
            per_tap = torch.einsum("oikl,i->okl", weight, shift)
            inside = torch.tensor(_TAPS_INSIDE, dtype=torch.float64, device=weight.device)
            full = per_tap.sum((1, 2))
            frame = (torch.einsum("okl,rk,cl->rco", per_tap, inside, inside) - full).to(dtype)
            weight, bias = weight * scale[:, None, None], bias + full
        if skip is not None:
            skip_scale = skip[0][:, None, None].to(dtype)
            bias = bias + skip[1]
        self.register_buffer("weight", weight.to(dtype).contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias.to(dtype))
        self.register_buffer("frame", frame)  # (row position, column position, C)
        self.register_buffer("skip_scale", skip_scale)

    def correct_frame(self, z: Tensor, *, first_row: int, height: int) -> None:
        """Take the taps outside the picture off `z`, rows from `first_row` on of a picture `height` rows high; in place."""
        if self.frame is None:
            return
        width = z.shape[-1]
        rows = [_position(row, height) for row in range(first_row, first_row + z.shape[2])]
        for column in {0, width - 1}:
            # (rows, C) -> (C, rows)
            z[..., column] += self.frame[rows, _position(column, width)].T
        for i, position in enumerate(rows):
            if position != _INTERIOR:
                z[:, :, i, 1 : width - 1] += self.frame[position, _INTERIOR][:, None]


class _Stream:
    """One FoldedConv on its way down one picture: takes bands of its input, gives the activations that they complete."""

    def __init__(self, conv: FoldedConv, *, height: int, activation: str) -> None:
        self.conv = conv
        self.height = height
        self.activate = _IN_PLACE[activation]
        self.next_row = 0
        self.pending: Tensor | None = None  # input rows that later output rows need
        self.skips: Tensor | None = None  # rows of the skip that have no partner yet

    def push_skip(self, e: Tensor) -> None:
        """Keep rows of the encoder's output until the rows they belong to have come this far."""
        self.skips = e if self.skips is None else torch.cat([self.skips, e], dim=2)

    def push(self, e: Tensor, *, last: bool) -> Tensor | None:
        """Next rows of the input -> the output rows that are complete now, or None; `last`: no more will come."""
        if self.pending is None and last:  # the whole picture at once: nothing to put together
            return self._finish(F.conv2d(e, self.conv.weight, self.conv.bias, padding=1))
        border = torch.zeros_like(e[:, :, :1])
        known = [border if self.pending is None else self.pending, e] + [border] * last
        e = torch.cat(known, dim=2)
        self.pending = e[:, :, -2:].clone(memory_format=torch.channels_last)
        if e.shape[2] < 3:
            return None
        return self._finish(F.conv2d(e, self.conv.weight, self.conv.bias, padding=(0, 1)))

    def _finish(self, z: Tensor) -> Tensor:
        self.conv.correct_frame(z, first_row=self.next_row, height=self.height)
        num_rows = z.shape[2]
        self.next_row += num_rows
        if self.conv.skip_scale is not None:
            assert self.skips is not None  # an encoder layer is always ahead of its decoder layer
            z.addcmul_(self.skips[:, :, :num_rows], self.conv.skip_scale)
            self.skips = self.skips[:, :, num_rows:]
        return self.activate(z)


class StreamedREDNet(nn.Module):
    """The function of a REDNet in eval mode, for inference only: (B, 3, H, W) float32 in its range to the same.

    Parameters
    ----------
    network : is copied, not kept; its running statistics count, whatever its mode
    dtype : of convolutions and activations. The global residual is added in float32 in every dtype
    band_pixels : of a band of rows, summed over the batch; at least one row is taken. None takes what suits the device

    Notes
    -----
    Differences to the plain forward in float32 are rounding noise, below 1e-5. In bfloat16 it is nearer to float32 than
    autocast or as near, since the batch norms no longer round.
    """

    output_weight: Tensor
    output_bias: Tensor

    def __init__(self, network: REDNet, *, dtype: torch.dtype, band_pixels: int | None = None) -> None:
        super().__init__()
        self.activation, self.last = network.activation, network.last
        blocks = [block for block in (*network.encoder, *network.decoder) if isinstance(block, Block)]
        norms = [_scale_and_shift(block.norm) for block in blocks]
        # input number of the skip by number of the convolution it joins: d_i of odd i takes E(n-1-i)
        depth = len(network.encoder)
        self.skip_from = {depth + i: depth - 1 - i for i in range(1, depth, 2)}
        self.convs = nn.ModuleList(
            FoldedConv(
                block,
                norm=norms[k - 1] if k else None,
                skip=norms[self.skip_from[k]] if k in self.skip_from else None,
                dtype=dtype,
            )
            for k, block in enumerate(blocks)
        )
        scale, shift = norms[-1]
        weight, bias = _double(network.output.weight), _double(network.output.bias)
        self.register_buffer("output_weight", (weight * scale[:, None, None]).to(dtype))
        self.register_buffer("output_bias", (bias + weight[:, :, 0, 0] @ shift).to(dtype))
        self.dtype = dtype
        self.band_pixels = band_pixels

    @torch.no_grad()
    def forward(self, blurry: Tensor) -> Tensor:
        """(B, 3, H, W) float32 -> restored, float32."""
        restored = torch.empty_like(blurry, dtype=torch.float32)
        row = 0
        for features in self._bands(blurry):
            residual = F.conv2d(features, self.output_weight, self.output_bias).float()
            rows = slice(row, row + features.shape[2])
            restored[:, :, rows] = _IN_PLACE[self.last](residual.add_(blurry[:, :, rows]))
            row = rows.stop
        return restored

    def _bands(self, blurry: Tensor) -> Iterator[Tensor]:
        """The last activation, from the top of the picture to its bottom, in bands of rows."""
        batch, _, height, width = blurry.shape
        on_cpu = blurry.device.type in ("cpu", "meta")  # meta: memory is counted there, as it is on a CPU
        suitable = _BAND_PIXELS_CPU if on_cpu else _BAND_PIXELS_OTHER
        num_rows = max(1, (self.band_pixels or suitable) // (batch * width))
        streams = [
            _Stream(conv, height=height, activation=self.activation)
            for conv in self.convs
            if isinstance(conv, FoldedConv)
        ]
        skip_to = {encoder: decoder for decoder, encoder in self.skip_from.items()}
        for first in range(0, height, num_rows):
            band = blurry[:, :, first : first + num_rows]
            x: Tensor | None = band.to(self.dtype, memory_format=torch.channels_last)
            last = first + num_rows >= height
            for k, stream in enumerate(streams):
                assert x is not None
                x = stream.push(x, last=last)
                if x is None:
                    break
                if k in skip_to:
                    streams[skip_to[k]].push_skip(x)
            if x is not None:
                yield x


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The batch norm in eval mode as y = scale x + shift, both (C,) float64."""
    scale = _double(norm.weight) / torch.sqrt(_double(norm.running_var) + norm.eps)
    return scale, _double(norm.bias) - _double(norm.running_mean) * scale


def _double(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor.detach().double()


def _position(index: int, size: int) -> int:
    if size == 1:
        return _ONLY
    return _FIRST if index == 0 else _LAST if index == size - 1 else _INTERIOR
