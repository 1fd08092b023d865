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

from deblur_cli.host.declarations import Geometry, Model
from deblur_cli.testing.declaration import build, require

_STRIP_FROM = 100  # px; above, a square would be too large, and one row of the reach says the same
_FURTHEST = 500  # px of margin; the last canvas is four times this
_MOST_PHASES = 16
_MOST_MACS = 3e11  # a minute in float64 on one core
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
    """The declared halo is the measured half-extent: no more (tiles would be wasteful), no less (seams would show).

    Measured by default and on the tiny variant; on that alone where it is declared with the same geometry and the
    network itself would take minutes.
    """
    for options in {str(dict(item)): item for item in ({}, model.tiny)}.values():
        geometry = model.geometry_for(options)
        if geometry.halo is None or geometry.fixed_size is not None:
            continue
        if not options and geometry == model.geometry_for(model.tiny) and _macs(model, geometry) > _MOST_MACS:
            continue
        measured = half_extent(model, options)
        which = f"with {dict(options)}" if options else "by default"
        require(
            geometry.halo == measured,
            f"geometry.halo is {geometry.halo} {which}, the layers reach {measured} px",
        )


def half_extent(model: Model, options: Mapping[str, Any] | None = None) -> int:
    """The largest distance (Chebyshev, pixels) at which an input pixel can change an output pixel.

    Measured on a canvas a little larger than the declared halo, and on larger ones while the reach touches the edge, up
    to some 2000 px. Every phase of the stride is tried, or a selection where there are many.
    """
    geometry = model.geometry_for(options or {})
    step = geometry.multiple_of
    network = _structural(build(model, options))
    margin = _margin(geometry)
    while True:
        reach = _reach(network, step=step, margin=margin)
        if reach < margin or margin > _FURTHEST:
            return reach
        margin *= 4


def _macs(model: Model, geometry: Geometry) -> float:
    """Multiply-accumulates that one measurement takes."""
    height, width = _canvas(geometry.multiple_of, _margin(geometry))
    return model.facts.kmacs_per_pixel * 1000 * height * width * (1 + len(_phases(geometry.multiple_of)))


def _margin(geometry: Geometry) -> int:
    """A little more than the declared halo, on the grid of the stride."""
    return -(-((geometry.halo or 0) + 2) // geometry.multiple_of) * geometry.multiple_of


def _canvas(step: int, margin: int) -> tuple[int, int]:
    """Height and width in pixels."""
    width = 2 * margin + step
    return (step if margin > _STRIP_FROM else width), width


def _reach(network: nn.Module, *, step: int, margin: int) -> int:
    """How far the middle pixels of a canvas see, at most `margin` + `step` pixels."""
    height, width = _canvas(step, margin)
    x = torch.ones(1, 3, height, width, dtype=torch.float64, requires_grad=True)
    with _Linear():
        y = network(x)
    require(y.shape == x.shape, f"the input is {tuple(x.shape)}, the output {tuple(y.shape)}")
    reach = 0
    for phase in _phases(step):
        middle = (phase if height < width else margin + phase, margin + phase)
        (gradient,) = torch.autograd.grad(y[0, :, *middle].sum(), x, retain_graph=True)
        require(bool(torch.isfinite(gradient).all()), "the structural gradient overflows")
        distances = (gradient[0].abs().sum(0).nonzero() - torch.tensor(middle)).abs()  # (N, 2): rows, columns
        if len(distances):
            reach = max(reach, int((distances[:, 1] if height < width else distances).max()))
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
    return network.double().requires_grad_(False)


def _phases(step: int) -> list[int]:
    if step <= _MOST_PHASES:
        return list(range(step))
    return sorted({0, 1, step // 4, step // 2 - 1, step // 2, 3 * step // 4, step - 2, step - 1})
