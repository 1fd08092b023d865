"""The half-extent of a network, measured: how far its layers reach, whatever the weights.

With random weights a far pixel's influence drowns in rounding. So every kernel becomes a positive constant, norms and
activations are taken away, and the gradient of one output pixel is followed back to the input in float64: sums of
positive products, nonzero exactly where a path exists.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from deblur_cli.host.declarations import Model
from deblur_cli.testing.declaration import build, require

_STRIP_FROM = 100  # px; above, a square would be too large, and one row of the reach says the same
_MOST_PHASES = 8
_REMOVED = {
    *(
        "relu",
        "relu6",
        "elu",
        "leaky_relu",
        "prelu",
        "rrelu",
        "selu",
        "celu",
        "gelu",
        "silu",
        "mish",
        "softplus",
    ),
    *(
        "softsign",
        "sigmoid",
        "logsigmoid",
        "hardsigmoid",
        "hardswish",
        "hardtanh",
        "tanh",
        "tanhshrink",
        "threshold",
    ),
    *("clamp", "clamp_min", "clamp_max", "clip", "dropout", "dropout2d", "alpha_dropout", "feature_dropout"),
    *("batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm", "local_response_norm"),
    *("float", "half", "bfloat16"),  # a cast would lose what float64 keeps
}


def half_extent_is_exact(model: Model) -> None:
    """The declared halo is the measured half-extent: no more (tiles would be wasteful), no less (seams would show)."""
    for options in {str(dict(item)): item for item in ({}, model.tiny)}.values():
        declared = model.geometry_for(options).halo
        if declared is None or model.geometry_for(options).fixed_size is not None:
            continue
        measured = half_extent(model, options)
        which = f"with {dict(options)}" if options else "by default"
        require(declared == measured, f"geometry.halo is {declared} {which}, the layers reach {measured} px")


def half_extent(model: Model, options: Mapping[str, Any] | None = None) -> int:
    """The largest distance (Chebyshev, pixels) at which an input pixel can change an output pixel.

    Measured on a canvas that reaches a little beyond the declared halo; a network that reaches further is reported as
    reaching to its edge. Every phase of the stride is tried, or a selection where there are many.
    """
    geometry = model.geometry_for(options or {})
    require(geometry.halo is not None, f"{model.name} has global context, so no half-extent")
    assert geometry.halo is not None
    step = geometry.multiple_of
    margin = -(-(geometry.halo + 2) // step) * step
    width = 2 * margin + step
    height = step if geometry.halo > _STRIP_FROM else width
    phases = _phases(step)
    x = torch.ones(len(phases), 3, height, width, dtype=torch.float64, requires_grad=True)
    network = _structural(build(model, options))
    with _Linear():
        y = network(x)
    require(y.shape[-2:] == x.shape[-2:], f"the input is {tuple(x.shape)}, the output {tuple(y.shape)}")
    rows = [phase if height == step else margin + phase for phase in phases]
    columns = [margin + phase for phase in phases]
    torch.stack(
        [y[i, :, row, column].sum() for i, (row, column) in enumerate(zip(rows, columns, strict=True))]
    ).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert x.grad is not None
    reach = 0
    for gradient, row, column in zip(x.grad, rows, columns, strict=True):
        nonzero = gradient.abs().sum(0).nonzero()  # (N, 2): row, column
        require(bool(torch.isfinite(gradient).all()), "the structural gradient overflows")
        if len(nonzero):
            distance = (nonzero - torch.tensor([row, column])).abs()
            reach = max(reach, int((distance[:, 1] if height == step else distance.amax(1)).max()))
    return reach


class _Linear(TorchFunctionMode):
    """While active, norms and activations return their input, and a maximum over a window is its mean."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Called by torch in place of each of its functions; `Any` is torch's own signature."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "").rstrip("_")
        if name in _REMOVED:
            return args[0] if args else kwargs["input"]
        if name in ("max_pool2d", "boolean_dispatch") and "max_pool2d" in str(func):
            return _mean_pool(*args, **kwargs)
        return func(*args, **kwargs)


def _mean_pool(
    x: torch.Tensor,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> torch.Tensor:
    """Reaches as far as the maximum does, and its gradient goes everywhere, not to the largest value alone."""
    require(
        dilation in (1, (1, 1)) and not return_indices,
        "max pooling with dilation or indices cannot be measured",
    )
    return F.avg_pool2d(x, kernel_size, stride, padding, ceil_mode)


def _structural(network: nn.Module) -> nn.Module:
    """Kernels of a positive constant that sum to one, so that neither depth nor width overflows; float64."""
    with torch.no_grad():
        for name, item in (*network.named_parameters(), *network.named_buffers()):
            if item.is_floating_point():
                item.fill_(
                    item.shape[0] / item.numel() if item.ndim > 1 else float(not name.endswith("bias"))
                )
    return network.double()


def _phases(step: int) -> list[int]:
    if step <= _MOST_PHASES:
        return list(range(step))
    return sorted({0, 1, step // 4, step // 2 - 1, step // 2, 3 * step // 4, step - 2, step - 1})
