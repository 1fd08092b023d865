"""msdeblurwgan is the network that its report describes: count, wiring, scales, and a start near the picture."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.signal import correlate
from torch import Tensor, nn

import deblur_multiscale
from deblur_cli.testing.behaviour import varied
from deblur_multiscale.network import MSDeblurWGAN, start_near_identity

Array = np.ndarray
CIFAR, REDS = deblur_multiscale.MODELS


def count(network: nn.Module) -> int:
    return sum(item.numel() for item in network.parameters())


def noise(height: int, width: int, *, batch: int = 1) -> Tensor:
    """(B, 3, H, W) in [-1, 1]."""
    return 2 * torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0)) - 1


def restated(network: MSDeblurWGAN, blurry: Array) -> list[Array]:
    """The report's network once more, in float64 NumPy: (3, H, W) -> the three results, the coarsest first."""
    state = {name: value.double().numpy() for name, value in network.state_dict().items()}
    num_blocks = len(network.branches[0].blocks)

    def conv(x: Array, name: str) -> Array:
        padded = np.pad(x, ((0, 0), (2, 2), (2, 2)))
        kernels = state[f"{name}.weight"]
        planes = [
            sum(correlate(c, k, mode="valid") for c, k in zip(padded, one, strict=True)) for one in kernels
        ]
        return np.stack(planes) + state[f"{name}.bias"][:, None, None]

    def normed(x: Array, name: str) -> Array:
        z = conv(x, f"{name}.conv")
        mean, var, gain, shift = (
            state[f"{name}.norm.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (z - mean) / np.sqrt(var + 1e-3) * gain + shift

    def branch(x: Array, number: int) -> Array:
        x = conv(x, f"branches.{number}.enter")
        for block in range(num_blocks):
            name = f"branches.{number}.blocks.{block}"
            x = x + normed(np.maximum(normed(x, f"{name}.first"), 0), f"{name}.second")
        return np.tanh(conv(x, f"branches.{number}.leave"))

    def enlarged(x: Array, name: str) -> Array:
        """Each pixel adds a 5x5 kernel around the even position that is its own."""
        kernels = state[f"{name}.weight"]
        height, width = x.shape[1:]
        spread = np.zeros((kernels.shape[1], 2 * height + 4, 2 * width + 4))
        for row, column in product(range(height), range(width)):
            stamp = np.einsum("c,cokl->okl", x[:, row, column], kernels)
            spread[:, 2 * row : 2 * row + 5, 2 * column : 2 * column + 5] += stamp
        return spread[:, 2:-2, 2:-2] + state[f"{name}.bias"][:, None, None]

    def cells(x: Array, side: int) -> Array:
        """(3, H, W) -> (3, H / side, W / side, side, side)"""
        channels, height, width = x.shape
        return x.reshape(channels, height // side, side, width // side, side).swapaxes(2, 3)

    quarter = cells(blurry, 4)[..., 1:3, 1:3].mean((3, 4))
    half = cells(blurry, 2).mean((3, 4))
    results = [branch(quarter, 0)]
    for number, picture in enumerate((half, blurry), start=1):
        beside = enlarged(results[-1], f"enlarge.{number - 1}")
        results.append(branch(np.concatenate([picture, beside]), number))
    return results


def test_the_parts_have_the_reports_numbers_of_parameters() -> None:
    with torch.device("meta"):
        network = CIFAR.build()
    assert [count(branch) for branch in network.branches] == [3_908_163, 4_005_763, 4_005_763]
    assert {count(block) for branch in network.branches for block in branch.blocks} == {205_184}
    assert [count(layer) for layer in network.enlarge] == [4_636, 4_636]
    assert [len(branch.blocks) for branch in network.branches] == [19, 19, 19]


@pytest.mark.parametrize("blocks", [1, 2])
def test_it_computes_what_the_report_describes(blocks: int) -> None:
    torch.manual_seed(0)
    network = varied(MSDeblurWGAN(blocks=blocks, width=4, up_features=3)).eval()
    blurry = noise(12, 16)

    with torch.no_grad():
        restored = network(blurry)[0].numpy()

    assert np.abs(restored - restated(network, blurry[0].double().numpy())[-1]).max() <= 1e-4


def test_while_it_trains_it_returns_all_sizes_the_finest_first() -> None:
    torch.manual_seed(0)
    network = varied(MSDeblurWGAN(blocks=1, width=4, up_features=3))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # so that the picture alone decides
    assert network.training
    blurry = noise(12, 16)

    with torch.no_grad():
        outputs = network(blurry)

    expected = restated(network, blurry[0].double().numpy())[::-1]
    assert [tuple(output.shape) for output in outputs] == [(1, 3, 12, 16), (1, 3, 6, 8), (1, 3, 3, 4)]
    for output, restored in zip(outputs, expected, strict=True):
        assert np.abs(output[0].numpy() - restored).max() <= 1e-4


def test_gradients_of_the_finest_flow_back_to_the_coarsest() -> None:
    torch.manual_seed(0)
    network = MSDeblurWGAN(blocks=1, width=4, up_features=3)
    network(noise(8, 8))[0].square().sum().backward()
    assert all(item.grad.abs().max() > 0 for item in network.branches[0].enter.parameters())


def test_the_kernels_start_glorot_uniform_and_biases_zero() -> None:
    torch.manual_seed(0)
    network = MSDeblurWGAN(blocks=1)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            bound = (6 / (25 * (layer.in_channels + layer.out_channels))) ** 0.5
            assert 0.95 * bound < layer.weight.abs().max() <= bound
            assert not layer.bias.any()


@pytest.mark.parametrize(
    ("width", "most"), [(64, 0.004), (12, 0.03), (6, 0.07), (4, 0.1)], ids=lambda value: str(value)
)
@pytest.mark.parametrize("blocks", [1, 3])
def test_it_can_start_near_the_picture(width: int, most: float, blocks: int) -> None:
    """As near as a tanh lets the features bend; in each size, with the batch norms' statistics as they then are.

    most : root of the mean squared difference, of a range of 2
    """
    torch.manual_seed(0)
    network = MSDeblurWGAN(blocks=blocks, width=width)
    start_near_identity(network)
    assert network.training
    blurry = noise(32, 32)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()

    with torch.no_grad():
        outputs = network(blurry)

    for output in outputs:
        small = blurry
        if output.shape != blurry.shape:
            small = nn.functional.interpolate(
                blurry, size=output.shape[-2:], mode="bilinear", align_corners=False
            )
        assert (output - small).square().mean().sqrt() < most


@pytest.mark.parametrize(("model", "blocks", "halo"), [(CIFAR, 19, 568), (REDS, 5, 176)], ids=["19", "5"])
def test_tiles_read_less_than_the_half_extent_where_that_is_wide(model, blocks: int, halo: int) -> None:
    geometry = model.geometry_for({})
    assert (geometry.multiple_of, geometry.halo) == (4, halo)
    assert (geometry.overlap is None) == (blocks == 5)
    assert geometry.overlap is None or geometry.overlap < halo / 3
