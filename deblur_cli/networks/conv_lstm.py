"""A memory with a picture's shape, for networks that look at a picture several times."""

from typing import TypeAlias

import torch
from torch import Tensor, nn

from deblur_cli.networks.initialising import glorot_uniform

State: TypeAlias = tuple[Tensor, Tensor]
"""Output h and memory c, both (B, C, H, W)."""


class ConvLSTM(nn.Module):
    """One convolutional LSTM cell (Shi et al., NIPS 2015, arXiv 1506.04214), without peepholes.

    With z = W * x + U * h + b in four parts i, f, g, o of `features` each, and s the logistic function:
    c' = s(f) c + s(i) tanh(g), h' = s(o) tanh(c').

    Starts as in Keras: W Glorot uniform, U orthogonal, b zero but for the forget gate.

    Parameters
    ----------
    features : of input, output and memory
    kernel : side of the kernels, odd, px
    forget_bias : start of the forget gate's bias: the larger, the longer the memory lasts
    """

    def __init__(self, features: int, *, kernel: int = 3, forget_bias: float = 1.0) -> None:
        super().__init__()
        self.input = nn.Conv2d(features, 4 * features, kernel, padding=kernel // 2)
        self.recurrent = nn.Conv2d(features, 4 * features, kernel, padding=kernel // 2, bias=False)
        glorot_uniform(self)
        nn.init.orthogonal_(self.recurrent.weight)
        with torch.no_grad():
            assert self.input.bias is not None
            self.input.bias[features : 2 * features] = forget_bias

    def forward(self, x: Tensor, state: State | None = None) -> State:
        """(B, C, H, W) and the state of the step before, None = zero -> the new one, whose h is the output."""
        h, c = (torch.zeros_like(x), None) if state is None else state
        gates = self.input(x)
        # where pictures are restored, U * 0 is saved
        if c is not None or not torch.is_inference_mode_enabled():
            gates = gates + self.recurrent(h)
        i, f, g, o = gates.chunk(4, dim=1)
        memory = torch.sigmoid(i) * torch.tanh(g)
        if c is not None:
            memory = memory + torch.sigmoid(f) * c
        return torch.sigmoid(o) * torch.tanh(memory), memory
