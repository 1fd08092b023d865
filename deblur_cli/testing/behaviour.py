"""Whether a network behaves: any size, the same answer twice, near in bfloat16, tiles that fit, a loss that falls."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

from deblur_cli.host.declarations import Model, Values
from deblur_cli.networks import PictureStatistics, Window
from deblur_cli.testing.declaration import build, require
from deblur_cli.training.objective import reduced_to

_SIZES = ((1, 1), (1, 2), (2, 1), (3, 5), (17, 31))  # (height, width), in units of multiple_of
_MOST_PIXELS = 600 * 600
_TOLERANCE = 1e-5  # of full scale: what float32 may lose


def any_size_works(model: Model) -> None:
    """From one pixel (one multiple_of) on, odd or oblong, the output has the input's shape, is finite and float32."""
    network = varied(build(model, model.tiny))
    for height, width in _sizes(model):
        x = picture(model, height, width)
        before = x.clone()
        with torch.no_grad():
            y = network(x)
        size = f"{height} x {width} pixels"
        require(isinstance(y, Tensor), f"the network returns {type(y).__name__}, not a tensor")
        require(y.shape == x.shape, f"at {size} the input is {tuple(x.shape)}, the output {tuple(y.shape)}")
        require(y.dtype == torch.float32, f"at {size} the output is {y.dtype}, not float32")
        require(bool(torch.isfinite(y).all()), f"at {size} the output is not finite")
        require(torch.equal(x, before), f"at {size} the network changes its input in place")


def evaluation_is_deterministic(model: Model) -> None:
    """In eval mode the same input gives the same bits, and no picture depends on the others of its batch."""
    network = varied(build(model, model.tiny))
    x = picture(model, *_middle_size(model), batch=3)
    with torch.no_grad():
        first, second, alone = network(x), network(x), network(x[1:2])
    require(
        torch.equal(first, second), "two runs in eval mode differ; is a dropout or noise layer always on?"
    )
    _require_near(first[1:2], alone, "a picture restored alone and in a batch", tolerance=_TOLERANCE)


def bfloat16_stays_near_float32(model: Model) -> None:
    """Under autocast to bfloat16 the output stays finite and near the one in float32."""
    network = varied(build(model, model.tiny))
    x = picture(model, *_middle_size(model))
    with torch.no_grad():
        exact = network(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = network(x).float()
    require(bool(torch.isfinite(rough).all()), "under autocast to bfloat16 the output is not finite")
    difference, size = (rough - exact).abs().mean().item(), exact.abs().mean().item()
    require(
        difference <= 0.02 + 0.05 * size,
        f"in bfloat16 the mean difference is {difference:.3g} at a mean output of {size:.3g}",
    )


def inference_form_gives_the_same(model: Model) -> None:
    """Where the network offers `for_inference(dtype)`, that module gives the same in float32, and near in bfloat16.

    The same is what the network gives in float64. Where float32 loses much of that, as an instance norm over a few almost
    equal values does, the module may lose it as well.
    """
    network = varied(build(model, model.tiny))
    convert: Callable[[torch.dtype], nn.Module] | None = getattr(network, "for_inference", None)
    if convert is None:
        return
    for height, width in _sizes(model):
        x = picture(model, height, width)
        with torch.no_grad():
            exact = deepcopy(network).double()(x.double()).float()
            plain, fast, rough = network(x), convert(torch.float32)(x), convert(torch.bfloat16)(x)
        size = f"{height} x {width} pixels"
        _require_near(
            fast,
            exact,
            f"for_inference(float32) and the network at {size}",
            tolerance=max(2 * _TOLERANCE, 4 * _difference(plain, exact)),
        )
        require(rough.dtype == torch.float32, f"for_inference(bfloat16) returns {rough.dtype}, not float32")
        require(bool(torch.isfinite(rough).all()), f"for_inference(bfloat16) is not finite at {size}")


def any_tile_with_its_halo_gives_the_same_pixels(model: Model) -> None:
    """A tile cut on the grid of multiple_of with the halo around it gives the pixels of the whole picture.

    This is what exact tiling rests on. A network that looks at the whole picture is told of that, with the halo that it
    declares for this. Networks that cannot be told all, or of a fixed size, are not asked.
    """
    geometry = model.geometry_for(model.tiny)
    if geometry.reach is None or geometry.fixed_size is not None:
        return
    step = geometry.multiple_of
    halo = -(-geometry.reach // step) * step
    network = varied(build(model, model.tiny))
    height = 3 * step if halo > 100 else 2 * halo + 3 * step  # a strip where a square would be large
    width = 2 * halo + 5 * step
    x = picture(model, height, width)
    top, left = (0 if halo > 100 else halo + step), halo + 2 * step  # of a core of one step
    rows = slice(max(0, top - halo), min(height, top + step + halo))
    columns = slice(left - halo, left + step + halo)
    statistics = PictureStatistics(network)
    with torch.no_grad():
        statistics.at(Window.of(slice(0, height), slice(0, width)))
        whole = network(x)[..., top : top + step, left : left + step]
        statistics.tell()
        statistics.at(Window.of(rows, columns))
        tile = network(x[..., rows, columns])
    core = tile[..., top - rows.start : top - rows.start + step, halo : halo + step]
    _require_near(core, whole, f"a tile with a halo of {halo} px and the whole picture", tolerance=_TOLERANCE)


def one_training_step_lowers_the_loss(model: Model) -> None:
    """In training mode each parameter gets a finite gradient, and a small step against it lowers the squared error.

    A network that then returns several pictures, the finest first, is asked for the error of all of them.
    """
    network = build(model, model.tiny).train()
    x = picture(model, *_middle_size(model), batch=2)
    sharp = x.flip(-1)
    before = _loss(network, x, sharp)
    before.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    parameters = {name: item for name, item in network.named_parameters() if item.requires_grad}
    unreached = [name for name, item in parameters.items() if item.grad is None]
    require(not unreached, f"no gradient reaches {', '.join(unreached[:5])}")
    gradients = {name: item.grad for name, item in parameters.items() if item.grad is not None}
    broken = [name for name, gradient in gradients.items() if not bool(torch.isfinite(gradient).all())]
    require(not broken, f"the gradient of {', '.join(broken[:5])} is not finite")
    norm = torch.sqrt(sum((gradient.square().sum() for gradient in gradients.values()), torch.zeros(())))
    require(norm.item() > 0, "all gradients are zero")
    start = {name: item.detach().clone() for name, item in parameters.items()}
    after = before.item()
    for length in (0.1, 0.01, 1e-3, 1e-4):  # of the step through all parameters
        with torch.no_grad():
            for name, item in parameters.items():
                item.copy_(start[name] - length / norm * gradients[name])
            after = _loss(network, x, sharp).item()
        if after < before.item():
            return
    require(
        False, f"no step against the gradient lowers the loss: {before.item():.6g} before, {after:.6g} after"
    )


def picture(model: Model, height: int, width: int, *, batch: int = 1) -> Tensor:
    """Noise in the model's range that always is the same, (batch, 3, height, width) float32; holds both ends of the range."""
    generator = torch.Generator().manual_seed(height * 10_007 + width)
    x = torch.rand(batch, 3, height, width, generator=generator)
    x.view(batch, 3, -1)[:, 0, 0], x.view(batch, 3, -1)[:, 1, 0] = 0.0, 1.0
    return x * 2 - 1 if model.values is Values.SIGNED else x


def varied(network: nn.Module) -> nn.Module:
    """The network with parameters and running statistics moved off their start, where zeros and ones hide mistakes."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for item in network.parameters():
            spread = item.std(correction=0).clamp(min=0.1) if item.ndim > 1 else 1.0
            item.add_(0.1 * torch.randn(item.shape, generator=generator) * spread)
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.2 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return network


def _sizes(model: Model) -> list[tuple[int, int]]:
    geometry = model.geometry_for(model.tiny)
    if geometry.fixed_size is not None:
        return [(geometry.fixed_size, geometry.fixed_size)]
    sizes = [(height * geometry.multiple_of, width * geometry.multiple_of) for height, width in _SIZES]
    return [(height, width) for height, width in sizes if height * width <= _MOST_PIXELS]


def _middle_size(model: Model) -> tuple[int, int]:
    geometry = model.geometry_for(model.tiny)
    if geometry.fixed_size is not None:
        return geometry.fixed_size, geometry.fixed_size
    step = geometry.multiple_of
    side = -(-16 // step) * step
    return side, side + step


def _loss(network: nn.Module, x: Tensor, sharp: Tensor) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # dropout draws the same each time
        outputs = network(x)
    several = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    sizes = [tuple(output.shape) for output in several]
    require(
        sizes[:1] == [tuple(sharp.shape)], f"while training it returns {sizes}; the first must be the picture"
    )
    return torch.stack([(output - reduced_to(sharp, output)).square().mean() for output in several]).sum()


def _difference(a: Tensor, b: Tensor) -> float:
    """The largest one; outputs beyond the range, as untrained networks give, count relative to their size."""
    return (a - b).abs().max().item() / max(1.0, b.abs().max().item())


def _require_near(a: Tensor, b: Tensor, what: str, *, tolerance: float) -> None:
    """Equal up to rounding."""
    difference = _difference(a, b)
    require(
        difference <= tolerance, f"{what} differ by {difference:.3g} of full scale, more than {tolerance:g}"
    )
