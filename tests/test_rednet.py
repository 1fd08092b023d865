"""rednet30 and rednet30wgan are the networks that their report describes: count, wiring, residual, receptive field, start."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deblur_rednet.network import REDNet, REDNetWGAN, start_at_identity, start_near_identity

Array = np.ndarray
TrainedLike = Callable[..., REDNet]


def restated(network: REDNet, blurry: Array) -> Array:
    """The report's network once more, in float64 NumPy: (3, H, W) -> (3, H, W)."""
    state = {name: value.double().numpy() for name, value in network.state_dict().items()}
    depth = len(network.encoder)

    def block(x: Array, name: str, skip: Array | float = 0.0) -> Array:
        e = ACTIVATIONS[network.activation](
            convolve3(x, state[f"{name}.conv.weight"], state[f"{name}.conv.bias"]) + skip
        )
        mean, var, gain, shift = (
            state[f"{name}.norm.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (e - mean) / np.sqrt(var + 1e-3) * gain + shift

    x = blurry
    encoded = {}
    for i in range(depth):
        x = encoded[i] = block(x, f"encoder.{i}")
    for i in range(depth):
        x = block(x, f"decoder.{i}", encoded[depth - 1 - i] if i % 2 == 1 else 0.0)
    residual = np.einsum("oc,chw->ohw", state["output.weight"][:, :, 0, 0], x)
    last = np.tanh if isinstance(network, REDNetWGAN) else elu
    return last(residual + state["output.bias"][:, None, None] + blurry)


def convolve3(x: Array, weight: Array, bias: Array) -> Array:
    """Nine shifted products over a frame of zeros."""
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    z = np.tile(bias[:, None, None], (1, height, width))
    for row in range(3):
        for column in range(3):
            window = padded[:, row : row + height, column : column + width]
            z += np.einsum("oc,chw->ohw", weight[:, :, row, column], window)
    return z


def elu(x: Array) -> Array:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {"elu": elu, "relu": lambda x: np.maximum(x, 0)}
KINDS = [(REDNet, "elu"), (REDNetWGAN, "elu"), (REDNetWGAN, "relu")]


@pytest.mark.parametrize("kind", [REDNet, REDNetWGAN])
def test_rednet30_has_the_reports_number_of_parameters(kind: type[REDNet]) -> None:
    counted = sum(parameter.numel() for parameter in kind().parameters())

    assert counted == 1_792 + 29 * 36_928 + 30 * 128 + 195 == 1_076_739


@pytest.mark.parametrize("depth", [2, 5, 15])
@pytest.mark.parametrize(("kind", "activation"), KINDS)
def test_the_network_equals_an_independent_statement_of_the_report(
    kind: type[REDNet], activation: str, depth: int, trained_like: TrainedLike
) -> None:
    network = trained_like(kind=kind, activation=activation, depth=depth, width=4).double()
    blurry = torch.rand(1, 3, 7, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    restored = network(blurry).detach()

    np.testing.assert_allclose(restored[0].numpy(), restated(network, blurry[0].numpy()), atol=1e-6)


def test_every_second_decoder_layer_listens_to_its_mirror_image_in_the_encoder(
    trained_like: TrainedLike,
) -> None:
    """Silence everything but one encoder layer: it is heard through its skip alone, or not at all."""
    heard = set()
    for i in range(15):
        network = trained_like(width=2)
        for k, block in enumerate([*network.encoder, *network.decoder]):
            if k == i + 1:  # nothing passes on from the layer in question but its skip
                nn.init.zeros_(block.conv.weight)
        blurry = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(2))
        changed = blurry.flip(3)
        with torch.no_grad():
            difference = (network(blurry) - blurry) - (network(changed) - changed)
            if (
                i > 0
            ):  # the layers before speak through their own skips: silence those by comparing with it closed
                nn.init.zeros_(network.encoder[i].conv.weight)
                closed = (network(blurry) - blurry) - (network(changed) - changed)
                difference = difference - closed
        if difference.abs().max() > 1e-6:
            heard.add(i)

    assert heard == {1, 3, 5, 7, 9, 11, 13}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_global_residual_is_added_in_float32_in_every_dtype(
    dtype: torch.dtype, trained_like: TrainedLike
) -> None:
    network = trained_like(depth=2, width=4)
    start_at_identity(network)
    blurry = torch.rand(1, 3, 9, 8, generator=torch.Generator().manual_seed(3))

    with torch.no_grad(), torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        restored = network(blurry)

    assert restored.dtype == torch.float32
    assert torch.equal(restored, blurry)


def test_the_fast_recipe_starts_at_the_identity_and_learns_away_from_it() -> None:
    network = REDNet(depth=2, width=4)
    start_at_identity(network)
    blurry = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(4))

    restored = network(blurry)
    restored.sum().backward()

    assert torch.equal(restored, blurry)
    assert network.output.weight.grad is not None
    assert network.output.weight.grad.abs().max() > 0


@pytest.mark.parametrize("activation", ["elu", "relu"])
@pytest.mark.parametrize("depth", [2, 5, 10, 15])
@pytest.mark.parametrize(("width", "most"), [(64, 0.03), (24, 0.03), (12, 0.07), (8, 0.11)])
def test_rednet30wgan_can_start_near_the_picture(
    activation: str, depth: int, width: int, most: float
) -> None:
    """As near as a tanh lets the features bend. most : root of the mean squared difference, of a range of 2"""
    torch.manual_seed(0)
    network = REDNetWGAN(depth=depth, width=width, activation=activation)
    start_near_identity(network)
    assert network.training
    blurry = 2 * torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(5)) - 1

    with torch.no_grad():
        restored = network.eval()(blurry)

    assert (restored - blurry).square().mean().sqrt() < most


@pytest.mark.parametrize("depth", [2, 5, 15])
def test_an_output_pixel_sees_two_input_pixels_a_block_and_side(depth: int) -> None:
    network = structural(REDNet(depth=depth, width=2))
    blurry = torch.ones(1, 3, 3, 4 * depth + 9, dtype=torch.float64, requires_grad=True)
    centre = blurry.shape[3] // 2

    network(blurry)[0, 0, 1, centre].backward()

    assert blurry.grad is not None
    seen = blurry.grad.abs().sum((0, 1, 2)).nonzero().flatten()
    assert seen.min() == centre - 2 * depth
    assert seen.max() == centre + 2 * depth


def structural(network: REDNet) -> nn.Module:
    """Positive kernels, no norms, float64: no path through the network can cancel another."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 0.1)
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    return network.double().eval()


def test_training_reaches_every_parameter() -> None:
    network = REDNet(depth=2, width=4)

    loss: Tensor = network(torch.rand(2, 3, 8, 8)).square().mean()
    loss.backward()

    assert all(
        parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters()
    )
