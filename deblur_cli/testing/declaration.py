"""Whether a declaration tells the truth: options build, figures match, weights exist."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deblur_cli.errors import MissingError
from deblur_cli.host.declarations import Model
from deblur_cli.host.inspection import missing_network, released_path
from deblur_cli.restore.memory import measure_peak
from deblur_cli.restore.tiling import round_up

Check: TypeAlias = Callable[[Model], None]
_COUNTING_SIZE = 256  # pixels a side; figures of networks with attention hold at this size
_MEMORY_SIZE = 1024


class ConformanceError(AssertionError):
    """A network breaks the contract; the message says which part, with the values found."""


def require(holds: bool, message: str) -> None:
    """Raise ConformanceError with this message unless the condition holds."""
    if not holds:
        raise ConformanceError(message)


def build(model: Model, options: Mapping[str, Any] | None = None, *, seed: int = 0) -> nn.Module:
    """The network of a model with fixed random weights, in eval mode. The caller's generators are left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = model.build(options)
    require(
        isinstance(network, nn.Module),
        f"{model.network} gives {type(network).__name__}, not a torch.nn.Module",
    )
    assert isinstance(network, nn.Module)
    return network.eval()


def declared_options_build(model: Model) -> None:
    """The default network, its tiny variant, and every choice of every option can be built."""
    missing = missing_network(model.network)
    require(missing is None, str(missing))
    build(model, model.tiny)
    for name, option in model.options.items():
        for value in option.choices or (option.default,):
            _build_for_counting(model, {name: value})
            model.geometry_for({name: value})


def facts_match_the_network(model: Model) -> None:
    """Parameters are exactly, multiply-accumulates within 0.1 % (or half of the last digit), memory within 5 % as declared."""
    network = _build_for_counting(model)
    parameters = sum(item.numel() for item in network.parameters() if item.requires_grad)
    require(
        parameters == model.facts.parameters,
        f"facts.parameters is {model.facts.parameters:,}, the network has {parameters:,}",
    )
    counted = kmacs_per_pixel(model)
    require(
        abs(counted - model.facts.kmacs_per_pixel) <= max(0.0501, 1e-3 * counted),
        f"facts.kmacs_per_pixel is {model.facts.kmacs_per_pixel}, counted are {counted:.1f}",
    )
    declared = model.facts.bytes_per_pixel
    if declared is not None:
        measured = bytes_per_pixel(model)
        require(
            abs(measured - declared) <= 0.05 * measured,
            f"facts.bytes_per_pixel is {declared}, measured are {measured}",
        )


def kmacs_per_pixel(model: Model) -> float:
    """Thousand multiply-accumulates per input pixel of convolutions, linear layers and matrix products.

    Counted on 256x256, rounded up to the geometry; norms, activations and resizes do not count.
    """

    def count(network: nn.Module, x: torch.Tensor) -> float:
        counter = FlopCounterMode(display=False)
        with counter:
            network(x)
        return counter.get_total_flops() / 2 / (x.shape[-2] * x.shape[-1]) / 1000

    return _without_memory(model, side_px=_COUNTING_SIZE, measure=count)


def bytes_per_pixel(model: Model) -> int:
    """Most bytes of tensors alive at once during a forward pass in float32, input included, per pixel of 1024x1024.

    The network is taken in the form that restores pictures, and at its `fixed_size` where it has one.
    """

    def peak(network: nn.Module, x: torch.Tensor) -> float:
        height, width = x.shape[-2:]
        convert: Callable[[torch.dtype], nn.Module] | None = getattr(network, "for_inference", None)
        module = network if convert is None else convert(torch.float32).eval()
        peak = measure_peak(lambda *_: module(x.clone()), height, width, device=x.device)
        return peak / (height * width)

    return round(_without_memory(model, side_px=_MEMORY_SIZE, measure=peak))


def _without_memory(
    model: Model, *, side_px: int, measure: Callable[[nn.Module, torch.Tensor], float]
) -> float:
    """Measure the network and a picture of about this size, (1, 3, H, W): on the meta device where it allows that."""
    geometry = model.geometry_for({})
    side = geometry.fixed_size or round_up(side_px, geometry.multiple_of)
    network = _build_for_counting(model)
    device = next((item.device for item in network.parameters()), torch.device("cpu"))
    with torch.no_grad():
        try:
            return measure(network, torch.zeros(1, 3, side, side, device=device))
        except RuntimeError:  # NotImplementedError, which meta tensors raise as well, is one
            if device.type != "meta":
                raise
        # it looks at values, which meta tensors lack
        return measure(build(model), torch.zeros(1, 3, side, side))


def weights_load(model: Model) -> None:
    """Each weights file is there, is what its checksum says, belongs to this model, states a licence and loads strictly."""
    from deblur_cli.weights import file_sha256, load_strictly, read_header, read_tensors

    for weights in model.weights:
        path = released_path(model, weights)
        if path is None:
            require(
                weights.url is not None,
                f"weights file {weights.file} is missing, and there is no url to get it from",
            )
            continue
        require(
            weights.sha256 in (None, file_sha256(path)),
            f"{weights.file} has another SHA-256 than the declaration says",
        )
        header = read_header(path)
        require(header.model == model.name, f"{weights.file} says that it belongs to {header.model!r}")
        require(header.licence not in ("", "unstated"), f"{weights.file} states no licence")
        network = build(model, header.options)
        load_strictly(network, read_tensors(path), origin=weights.file)


def _build_for_counting(model: Model, options: Mapping[str, Any] | None = None) -> nn.Module:
    """The network without memory for its weights where it allows that; full-size networks are big."""
    try:
        with torch.device("meta"):
            return build(model, options)
    except MissingError:
        return build(model, options)
