"""How the restorer calls a network: in a precision, and in evaluation mode."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn


class Autocast(nn.Module):
    """A network that takes and returns float32, run under autocast; float32 inputs keep a residual in float32."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) float32 to the same shape."""
        reduced = self.dtype != torch.float32
        with torch.autocast(x.device.type, dtype=self.dtype) if reduced else nullcontext():
            y: Tensor = self.network(x)
        return y


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; every layer gets its own mode back."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
