"""How the restorer calls a network: with windows of pictures, in a precision, and in evaluation mode."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from time import perf_counter

import torch
from torch import Tensor, nn

from deblur_cli.errors import PictureError
from deblur_cli.restore.running import FloatPixels
from deblur_cli.restore.turns import UPRIGHT, Turn


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


class WindowCaller:
    """A network on a device, called with windows of pictures.

    Parameters
    ----------
    network : maps (B, 3, H, W) float32 in its range to the same. Moved to the device
    signed : its range is [-1, 1], not [0, 1]
    label : how messages name it

    `seconds` counts the time that the network itself takes, from picture to picture on its device.
    """

    def __init__(self, network: nn.Module, *, device: torch.device, signed: bool, label: str) -> None:
        self.network = network.to(device)
        self.device = device
        self.label = label
        self.seconds = 0.0
        self._signed = signed
        self._modules: dict[torch.dtype, nn.Module] = {}

    def __call__(self, window: FloatPixels, *, dtype: torch.dtype, turn: Turn = UPRIGHT) -> FloatPixels:
        """(h, w, C) float32 in [0, 1], C = 1 or 3 -> restored, computed in `dtype`; not clipped.

        turn : how the network sees it; the result is turned back
        """
        channels = window.shape[2]
        x = torch.from_numpy(window).to(self.device).permute(2, 0, 1)[None]  # (h, w, C) -> (1, C, h, w)
        x = turn.there(x)
        if self._signed:
            x = x * 2 - 1
        x = x.expand(1, 3, *x.shape[-2:])
        x = x.contiguous(
            memory_format=torch.channels_last if self.device.type == "cpu" else torch.contiguous_format
        )
        with torch.inference_mode():
            module = self.module_for(dtype)
            self._wait()
            start = perf_counter()
            y: Tensor = module(x)
            self._wait()
            self.seconds += perf_counter() - start
            if y.shape != x.shape:
                raise PictureError(
                    f"model {self.label} made {tuple(y.shape)} of {tuple(x.shape)}; see what is wrong with: deblur plugins check"
                )
            y = turn.back(y.float())
            if self._signed:
                y = y.add(1).div_(2)
            if channels == 1:
                y = y.mean(dim=1, keepdim=True)
        restored: FloatPixels = y[0].permute(1, 2, 0).cpu().numpy()
        return restored

    def _wait(self) -> None:
        """Until the device has done what it was given: else its time would count as somebody else's."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)

    def module_for(self, dtype: torch.dtype) -> nn.Module:
        """What takes and returns float32 and computes in `dtype`: the network's own way, else autocast."""
        if dtype not in self._modules:
            make = getattr(self.network, "for_inference", None)
            module: nn.Module = make(dtype) if make is not None else Autocast(self.network, dtype)
            self._modules[dtype] = module.to(self.device).eval() if make is not None else module
        return self._modules[dtype]


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
