"""The half-extent of a network, measured: how far its layers reach, whatever the weights.

With random weights a far pixel's influence drowns in rounding. So every kernel becomes a positive constant, norms and
activations are taken away, and the gradient of outputs is followed back to the input in float64: sums of positive
products, nonzero exactly where a path exists.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from heapq import heappop, heappush
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from deblur_cli.host.declarations import Geometry, Model
from deblur_cli.testing.declaration import build, require

_FURTHEST = 500  # px of margin; the last canvas is four times this
_PASSES = 8  # forward, and back from parts of the stride
_MOST_MACS = 5e10  # some ten seconds in float64 on one core
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

    So is the frozen_halo of a network that looks at the whole picture. Measured by default and on the tiny variant; where the
    network itself would take long, with those options of that variant which leave the geometry as it is.
    """
    for options in {str(dict(item)): item for item in (_affordable(model), model.tiny)}.values():
        geometry = model.geometry_for(options)
        if geometry.reach is None or geometry.fixed_size is not None:
            continue
        measured = half_extent(model, options)
        which = f"with {dict(options)}" if options else "by default"
        field = "halo" if geometry.frozen_halo is None else "frozen_halo"
        require(
            geometry.reach == measured,
            f"geometry.{field} is {geometry.reach} {which}, the layers reach {measured} px",
        )


def half_extent(model: Model, options: Mapping[str, Any] | None = None) -> int:
    """The largest distance (Chebyshev, pixels) at which an input pixel can change an output pixel.

    Measured on strips a little longer than the declared halo, and on longer ones while the reach touches the end, up to
    some 2000 px, over every phase of the stride.
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


def _affordable(model: Model) -> Mapping[str, Any]:
    """The options of the network that is measured for the default one; none where that takes no time."""
    geometry = model.geometry_for({})
    if _macs(model, geometry) <= _MOST_MACS:
        return {}
    narrow = {
        name: value for name, value in model.tiny.items() if model.geometry_for({name: value}) == geometry
    }
    return narrow if model.geometry_for(narrow) == geometry else {}


def _macs(model: Model, geometry: Geometry) -> float:
    """Multiply-accumulates that one measurement takes, about, over two strips."""
    step = geometry.multiple_of
    return model.facts.kmacs_per_pixel * 1000 * 2 * step * (2 * _margin(geometry) + step) * _PASSES


def _margin(geometry: Geometry) -> int:
    """A little more than the declared halo, on the grid of the stride."""
    return -(-((geometry.reach or 0) + 2) // geometry.multiple_of) * geometry.multiple_of


def _reach(network: nn.Module, *, step: int, margin: int) -> int:
    """How far the middle pixels of a strip see along it, at most `margin` + `step` pixels; standing and lying strips.

    Strips are as narrow as the network allows. That hides nothing: whatever way a path goes along the strip, another
    goes the same way and stays inside, because what a layer reads at an output pixel lies around that pixel.
    """
    reach = 0
    for axis in (2, 3):
        size = [1, 3, step, step]
        size[axis] += 2 * margin
        x = torch.ones(size, dtype=torch.float64, requires_grad=True)
        with _Linear():
            y = network(x)
        require(y.shape == x.shape, f"the input is {tuple(x.shape)}, the output {tuple(y.shape)}")
        reach = max(reach, _furthest(partial(_seen, x, y, axis), margin, margin + step - 1))
    return reach


def _seen(x: torch.Tensor, y: torch.Tensor, axis: int, first: int, last: int) -> tuple[int, int]:
    """First and last position along an axis of the inputs x that outputs y at [first, last] depend on."""
    outputs = y.narrow(axis, first, last - first + 1).sum()
    (gradient,) = torch.autograd.grad(outputs, x, retain_graph=True)
    require(bool(torch.isfinite(gradient).all()), "the structural gradient overflows")
    positions = gradient[0].abs().sum((0, 4 - axis)).nonzero()
    return (int(positions[0]), int(positions[-1])) if len(positions) else (first, last)


def _furthest(seen: Callable[[int, int], tuple[int, int]], first: int, last: int) -> int:
    """The reach of that output in [first, last] which reaches furthest.

    All phases of the stride count, and few are tried alone: the part that may reach furthest is halved, again and again.
    """
    # most that a part may reach, as -most for the heap; first and last output
    parts: list[tuple[int, int, int]] = []
    halves = [(first, last)]
    while True:
        for first, last in halves:
            low, high = seen(first, last)
            heappush(parts, (-max(last - low, high - first), first, last))
        most, first, last = heappop(parts)
        if first == last:
            return -most
        middle = (first + last) // 2
        halves = [(first, middle), (middle + 1, last)]


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
