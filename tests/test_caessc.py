"""The caessc networks are those that their report describes: count by part, skips, residual, statistics, recipe, start."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deblur_caessc import MODELS
from deblur_caessc.network import Caessc, start_near_identity
from deblur_cli import EarlyStopping

Array = np.ndarray
BY_NAME = {model.name: model for model in MODELS}


def restated(network: Caessc, blurry: Array, *, depth: int, half: bool, output: str) -> Array:
    """The report's network once more, in float64 NumPy, its layers counted from 1: (3, H, W) -> (3, H, W)."""
    state = {name: value.double().numpy() for name, value in network.state_dict().items()}
    last = depth // 2
    stride = {1: 2} if half else {}
    skips = [i for i in range(1, last + 1) if i % 2 == 0 and i not in (1, last)]

    def norm(x: Array, name: str) -> Array:
        mean, var, gain, shift = (
            state[f"{name}.norm.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(var + 1e-3) * gain + shift

    x, stored = blurry, {}
    for i in range(1, last + 1):
        step = stride.get(i, 1)
        x = gather5(x, state[f"encoder.{i - 1}.conv.weight"])[:, ::step, ::step]
        x = stored[i] = np.maximum(norm(x, f"encoder.{i - 1}"), 0)
    for i in range(last, 0, -1):
        x = scatter5(x, state[f"decoder.{i - 1}.conv.weight"], stride=stride.get(i, 1))
        x = np.maximum(norm(x, f"decoder.{i - 1}"), 0)
        if i in skips:
            x = np.maximum(norm(stored[i] + x, f"merges.{i - 1}"), 0)
    z = norm(blurry + x, "output")
    return np.maximum(z, 0) if output == "relu" else 1 / (1 + np.exp(-z))


def gather5(x: Array, weight: Array) -> Array:
    """A convolution: 25 shifted products over a frame of zeros."""
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2)))
    return sum(
        np.einsum("oi,ihw->ohw", weight[:, :, row, column], padded[:, row : row + height, column : column + width])
        for row in range(5)
        for column in range(5)
    )  # fmt: skip


def scatter5(x: Array, weight: Array, *, stride: int) -> Array:
    """A transposed convolution by its definition: each pixel adds its kernel, centred on `stride` times its place."""
    _, height, width = x.shape
    y = np.zeros((weight.shape[1], stride * height + 4, stride * width + 4))
    for row in range(height):
        for column in range(width):
            top, left = stride * row, stride * column
            y[:, top : top + 5, left : left + 5] += np.einsum("i,iokl->okl", x[:, row, column], weight)
    return y[:, 2 : 2 + stride * height, 2 : 2 + stride * width]


def trained(**options: Any) -> Caessc:
    """A network whose scales and statistics have left their start, in eval mode and float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Caessc(**options)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                nn.init.normal_(module.running_mean, 0, 0.2)
                nn.init.uniform_(module.running_var, 0.2, 1.5)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.3)
    return network.double().eval()


def positive(**options: Any) -> Caessc:
    """A network whose kernels are positive and whose norms do nothing, so that no ReLU shuts anything off."""
    network = Caessc(**options).double().eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.constant_(module.weight, 0.02)
    return network


def noise(height: int, width: int, *, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, 3, height, width, dtype=torch.float64, generator=generator)


def counted(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "layers", "width", "skips", "total"),
    [
        ("caessc_d22_f128_half", 11, 128, 5, 8_217_868),
        ("caessc_d22_f128_half_no_sigmoid", 11, 128, 5, 8_217_868),
        ("caessc_d30_f64", 15, 64, 7, 2_881_420),
    ],
)
def test_every_part_has_the_reports_number_of_parameters(
    name: str, layers: int, width: int, skips: int, total: int
) -> None:
    """5x5 convolutions without biases, a norm after each and after each sum."""
    with torch.device("meta"):
        network = BY_NAME[name].build()
    between = (layers - 1) * (25 * width * width + 2 * width)
    assert counted(network.encoder) == 25 * 3 * width + 2 * width + between
    assert counted(network.decoder) == 25 * 3 * width + 2 * 3 + between
    assert counted(network.merges) == skips * 2 * width
    assert counted(network.output) == 6
    assert counted(network) == total


@pytest.mark.parametrize(
    "options",
    [
        {"depth": 6, "half": True, "output": "sigmoid"},
        {
            "depth": 8,
            "half": False,
            "output": "relu",
        },  # the last layer of the encoder would have an even number
        {"depth": 22, "half": True, "output": "relu"},
    ],
    ids=str,
)
def test_the_network_equals_an_independent_statement_of_the_report(options: Mapping[str, Any]) -> None:
    network = trained(width=3, **options)
    blurry = noise(6, 10)
    restored = network(blurry).detach()
    assert restored.std() > 0.05  # no ReLU has shut everything off
    np.testing.assert_allclose(
        restored[0].numpy(), restated(network, blurry[0].numpy(), **options), atol=1e-10
    )


@pytest.mark.parametrize(
    ("name", "heard"),
    [("caessc_d22_f128_half", {2, 4, 6, 8, 10}), ("caessc_d30_f64", {2, 4, 6, 8, 10, 12, 14})],
)
def test_the_decoder_hears_the_reports_layers_of_the_encoder(name: str, heard: set[int]) -> None:
    """Cut the chain after layer i of the encoder and move that layer's output: a change was heard through its own skip."""
    found = set()
    options = {**BY_NAME[name].resolve_options({}), "width": 2, "output": "relu"}
    for i in range(1, options["depth"] // 2):  # the last one's output is what the decoder begins with
        network = positive(**options)
        with torch.no_grad():
            network.encoder[i].conv.weight.zero_()
            before = network(noise(8, 8))
            network.encoder[i - 1].norm.bias += 1
            if not torch.equal(network(noise(8, 8)), before):
                found.add(i)
    assert found == heard


@pytest.mark.parametrize(("output", "most"), [("sigmoid", 0.11), ("relu", 2e-3)])
@pytest.mark.parametrize("half", [True, False])
def test_training_starts_near_the_picture(output: str, most: float, half: bool) -> None:
    network = Caessc(depth=10, width=6, half=half, output=output)
    start_near_identity(network)
    blurry = noise(8, 12, batch=2).float()
    restored = network.eval()(blurry)
    assert (restored - blurry).abs().max() < most
    (restored - blurry.flip(-1)).square().mean().backward()
    assert all(
        norm.weight.grad is not None and norm.weight.grad.abs().max() > 0
        for norm in (network.decoder[0].norm, network.output.norm)
    )


@pytest.mark.parametrize(
    ("name", "batch_size"),
    [("caessc_d22_f128_half", 300), ("caessc_d22_f128_half_no_sigmoid", 300), ("caessc_d30_f64", 250)],
)
def test_the_reports_recipe_is_the_literal_one(name: str, batch_size: int) -> None:
    recipe = BY_NAME[name].recipes["report"]
    assert (recipe.loss, recipe.optimizer.lr, recipe.optimizer.eps) == ("mse", 1e-4, 1e-7)
    assert (recipe.batch_size, recipe.epochs, recipe.flips) == (batch_size, 80, "both")
    assert recipe.early_stopping == EarlyStopping(patience=7)
