"""eddensenet is the network that its report describes: count by part, wiring, range, recipe."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deblur_cli import ConstantRate, EarlyStopping
from deblur_densenet import MODELS
from deblur_densenet.network import EDDenseNet, start_at_half_resolution

Array = np.ndarray


def restated(network: EDDenseNet, blurry: Array, *, layers: int) -> Array:
    """The report's network once more, in float64 NumPy: (3, H, W) -> (3, H, W)."""
    state = {name: value.double().numpy() for name, value in network.state_dict().items()}

    def rectified_norm(x: Array, name: str) -> Array:
        mean, var, gain, shift = (
            state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )  # fmt: skip
        return np.maximum((x - mean) / np.sqrt(var + 1e-3) * gain + shift, 0)

    def conv1(x: Array, name: str) -> Array:
        return np.einsum("oi,ihw->ohw", state[f"{name}.weight"][:, :, 0, 0], x)

    def bias(name: str) -> Array:
        return state[f"{name}.bias"][:, None, None]

    def dense(x: Array, name: str, number: int) -> Array:
        for layer in range(number):
            y = rectified_norm(x, f"{name}.{layer}.norm")
            narrow = rectified_norm(conv1(y, f"{name}.{layer}.narrow.conv"), f"{name}.{layer}.narrow.norm")
            x = np.concatenate([y, convolve3(narrow, state[f"{name}.{layer}.grow.weight"])])
        return x

    def down(x: Array, name: str) -> Array:
        half = conv1(rectified_norm(x, f"{name}.norm"), f"{name}.halve")
        squares = np.stack([half[:, row::2, column::2] for row in (0, 1) for column in (0, 1)], axis=-1)
        weight = state[f"{name}.reduce.weight"]
        return np.einsum("oit,ihwt->ohw", weight.reshape(*weight.shape[:2], 4), squares) + bias(
            f"{name}.reduce"
        )

    def up(x: Array, name: str) -> Array:
        y = np.einsum("ihw,iokl->ohkwl", x, state[f"{name}.conv.weight"])
        features, height, _, width, _ = y.shape
        y = y.reshape(features, 2 * height, 2 * width) + bias(f"{name}.conv")
        return rectified_norm(y, f"{name}.norm")

    x = np.maximum(convolve3(blurry, state["stem.weight"]) + bias("stem"), 0)
    x = down(dense(x, "encoder.0", layers), "encoder.1")
    x = down(dense(x, "encoder.2", layers), "encoder.3")
    x = dense(x, "encoder.4", layers // 2)
    x = rectified_norm(conv1(x, "bottleneck.conv") + bias("bottleneck.conv"), "bottleneck.norm")
    x = dense(up(x, "decoder.0"), "decoder.1", layers // 2)
    x = dense(up(x, "decoder.2"), "decoder.3", layers)
    logit = np.einsum("io,ihw->ohw", state["output.weight"][:, :, 0, 0], x) + bias("output")
    return 1 / (1 + np.exp(-logit))


def convolve3(x: Array, weight: Array) -> Array:
    """Nine shifted products over a frame of zeros."""
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    return sum(
        np.einsum("oi,ihw->ohw", weight[:, :, row, column], padded[:, row : row + height, column : column + width])
        for row in range(3)
        for column in range(3)
    )  # fmt: skip


def trained(*, growth: int = 4, layers: int = 2) -> EDDenseNet:
    """A network whose parameters and statistics have left their start, in eval mode and float64."""
    torch.manual_seed(0)
    network = EDDenseNet(growth=growth, layers=layers)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.2, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
            nn.init.normal_(module.bias, 0, 0.3)
    return network.double().eval()


def noise(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def dense_parameters(before: int, number: int) -> int:
    """Of so many dense layers of growth 16: two batch norms, a 1x1 and a 3x3 convolution without biases each."""
    return sum(2 * c + 64 * c + 2 * 64 + 9 * 64 * 16 for c in range(before, before + 16 * number, 16))


def down_parameters(features: int) -> int:
    return 2 * features + features * (features // 2) + 4 * (features // 2) ** 2 + features // 2


def up_parameters(features: int) -> int:
    return 4 * features**2 + features + 2 * features


def test_each_part_has_the_reports_number_of_parameters() -> None:
    network = EDDenseNet()

    assert count(network.stem) == 3 * 9 * 16 + 16
    assert [count(part) for part in network.encoder] == [
        dense_parameters(16, 6),
        down_parameters(112),
        dense_parameters(56, 6),
        down_parameters(152),
        dense_parameters(76, 3),
    ]
    assert count(network.bottleneck) == 124 * 16 + 16 + 2 * 16
    assert [count(part) for part in network.decoder] == [
        up_parameters(16),
        dense_parameters(16, 3),
        up_parameters(64),
        dense_parameters(64, 6),
    ]
    assert count(network.output) == 160 * 3 + 3
    assert count(network) == 424_927


@pytest.mark.parametrize("layers", [2, 6])
def test_the_network_equals_an_independent_statement_of_the_report(layers: int) -> None:
    network = trained(layers=layers)
    blurry = noise(8, 12)

    restored = network(blurry).detach()

    assert restored.std() > 0.03  # there is something to compare
    np.testing.assert_allclose(
        restored[0].numpy(), restated(network, blurry[0].numpy(), layers=layers), atol=1e-6
    )


def test_a_dense_layer_passes_on_what_it_reads_normalised_and_rectified() -> None:
    """DenseNet passes on its input as it is; the report's layer what its own norm and ReLU made of it."""
    layer = trained().encoder[0][0]
    x = torch.randn(1, 4, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    y = layer(x).detach()

    assert y.shape == (1, 8, 5, 7)
    torch.testing.assert_close(y[:, :4], layer.norm(x).detach().clamp(min=0))
    assert (y[:, 4:] < 0).any()  # what it adds is passed on raw


def test_nothing_passes_from_the_encoder_to_the_decoder_but_through_the_bottleneck() -> None:
    network = trained()
    nn.init.zeros_(network.bottleneck.conv.weight)

    with torch.no_grad():
        one, other = network(noise(12, 8)), network(1 - noise(12, 8))

    assert torch.equal(one, other)


def test_the_output_fills_the_range_between_zero_and_one() -> None:
    network = trained()
    with torch.no_grad():
        moderate = network(noise(32, 32))
        network.output.weight *= 20
        extreme = network(noise(32, 32))

    assert 0 < moderate.min() < moderate.max() < 1
    assert 0 <= extreme.min() < 0.01
    assert 0.99 < extreme.max() <= 1


def test_the_recipe_report_is_the_reports() -> None:
    (model,) = MODELS
    recipe = model.recipes["report"]

    assert (recipe.loss, recipe.batch_size, recipe.epochs) == ("mse", 65, 50)
    assert recipe.early_stopping == EarlyStopping(patience=5)
    assert (recipe.optimizer.kind, recipe.optimizer.lr, recipe.optimizer.eps) == ("adam", 1e-3, 1e-7)
    assert recipe.schedule == ConstantRate()
    assert recipe.flips == "both"


@pytest.mark.parametrize("options", [{"growth": 12}, MODELS[0].tiny])
def test_training_starts_with_the_picture_at_half_its_resolution(options: dict[str, int]) -> None:
    torch.manual_seed(0)
    network = EDDenseNet(**options)
    start_at_half_resolution(network)
    ramp = torch.linspace(0.05, 0.95, 16)
    half = torch.stack([ramp.expand(16, 16), ramp.expand(16, 16).T, (ramp + ramp[:, None]) / 2])[None]
    enlarged = half.repeat_interleave(2, 2).repeat_interleave(2, 3)
    blurry = enlarged + 0.04 * torch.tensor([[1, -1], [-1, 1]]).repeat(16, 16)  # nothing in the mean of four

    with torch.no_grad():
        restored = network.eval()(blurry)

    assert (restored - enlarged).abs().max() < 0.08


def test_training_goes_on_from_that_start_in_every_parameter() -> None:
    torch.manual_seed(0)
    network = EDDenseNet(growth=12, layers=2)
    start_at_half_resolution(network)
    network.eval()  # the recipe trains with frozen norms
    before = {name: item.detach().clone() for name, item in network.named_parameters()}
    blurry = noise(16, 16).float()

    for _ in range(2):  # the output hears the random features from the second step on
        network.zero_grad()
        (network(blurry) - blurry.flip(-1)).square().mean().backward()
        with torch.no_grad():
            for item in network.parameters():
                assert item.grad is not None
                item -= 0.1 * item.grad

    moved = [name for name, item in network.named_parameters() if not torch.equal(item, before[name])]
    assert moved == list(before)


def test_a_network_too_narrow_for_that_start_begins_at_random() -> None:
    torch.manual_seed(0)
    network = EDDenseNet(growth=4, layers=2)
    before = {name: item.detach().clone() for name, item in network.named_parameters()}

    start_at_half_resolution(network)

    assert all(torch.equal(item, before[name]) for name, item in network.named_parameters())
    assert all(
        (norm.running_var != 1).all() for norm in network.modules() if isinstance(norm, nn.BatchNorm2d)
    )
