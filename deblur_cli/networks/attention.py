"""Self-attention over the positions of a picture."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

MOST_WEIGHTS = 1 << 24
"""Attention weights that exist at once: 64 MB in float32, however many positions there are."""


class SelfAttention(nn.Module):
    """y = x + gamma v(softmax_j(g(x)_i . f(x)_j) h(x)_j), each position over all (Zhang et al., ICML 2019, arXiv 1805.08318).

    f and g halve the channels three times, h and v keep them; all are 1x1 convolutions with bias. gamma, a number, starts at
    0. Weights are made for some positions at a time, so that memory grows with the picture and not with its square; time does.

    features : channels C, at least 8
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.f = nn.Conv2d(features, features // 8, 1)
        self.g = nn.Conv2d(features, features // 8, 1)
        self.h = nn.Conv2d(features, features, 1)
        self.v = nn.Conv2d(features, features, 1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        keys, queries, values = (layer(x).flatten(2) for layer in (self.f, self.g, self.h))  # (B, C', N)
        positions = keys.shape[2]
        at_once = max(1, MOST_WEIGHTS // (len(x) * positions))
        parts = [
            _attend(part, keys, values)
            # of several parts none keeps its weights for the gradient: they are made again
            if positions <= at_once or not torch.is_grad_enabled()
            else checkpoint(_attend, part, keys, values, use_reentrant=False)
            for part in queries.split(at_once, dim=2)
        ]
        y: Tensor = self.v(torch.cat(parts, dim=2).view_as(x))
        return x + self.gamma * y


def _attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """(B, K, M), (B, K, N), (B, C, N) -> (B, C, M)"""
    likeness = queries.transpose(1, 2) @ keys  # (B, M, N)
    weights = torch.softmax(likeness, dim=2, dtype=torch.promote_types(likeness.dtype, torch.float32))
    return (weights.to(values.dtype) @ values.transpose(1, 2)).transpose(1, 2)
