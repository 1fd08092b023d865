"""resunet1 and resunet3 are the networks that their report describes: count by part, wiring, range, recipe."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deblur_cli import ConstantRate, EarlyStopping
from deblur_resunet import MODELS
from deblur_resunet.network import ResUNet, start_near_identity

Array = np.ndarray


def restated(network: ResUNet, blurry: Array) -> Array:
    """The report's network once more, in float64 NumPy: (3, H, W) -> (3, H, W)."""
    state = {name: value.double().numpy() for name, value in network.state_dict().items()}

    def cbr(x: Array, name: str, *, stride: int = 1) -> Array:
        y = convolve3(x, state[f"{name}.conv.weight"])[:, ::stride, ::stride]
        mean, var, gain, shift = (
            state[f"{name}.norm.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return np.maximum((y - mean) / np.sqrt(var + 1e-3) * gain + shift, 0)

    def unit(x: Array, name: str, *, stride: int = 1) -> Array:
        x = cbr(x, f"{name}.0", stride=stride)
        for number in range(1, blocks + 1):
            x = x + cbr(cbr(x, f"{name}.{number}.first"), f"{name}.{number}.second")
        return cbr(x, f"{name}.{blocks + 1}")

    def deconv(x: Array, name: str, *, stride: int = 1) -> Array:
        y = scatter3(x, state[f"{name}.weight"], stride=stride)
        return y + state[f"{name}.bias"][:, None, None]

    blocks = len(network.encoder[0]) - 2
    d1 = unit(blurry, "encoder.0")
    d2 = unit(d1, "encoder.1", stride=2)
    d3 = unit(d2, "encoder.2", stride=2)
    u2 = unit(np.concatenate([d2, deconv(d3, "upsample.0", stride=2)]), "decoder.0")
    u1 = unit(np.concatenate([d1, deconv(u2, "upsample.1", stride=2)]), "decoder.1")
    return 1 / (1 + np.exp(-deconv(np.maximum(deconv(u1, "refine"), 0), "output")))


def convolve3(x: Array, weight: Array) -> Array:
    """Nine shifted products over a frame of zeros."""
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    return sum(
        np.einsum("oi,ihw->ohw", weight[:, :, row, column], padded[:, row : row + height, column : column + width])
        for row in range(3)
        for column in range(3)
    )  # fmt: skip


def scatter3(x: Array, weight: Array, *, stride: int) -> Array:
    """A transposed convolution by its definition: each pixel adds its kernel to the output, centred on `stride` times its place."""
    _, height, width = x.shape
    y = np.zeros((weight.shape[1], stride * height + 2, stride * width + 2))
    for row in range(height):
        for column in range(width):
            top, left = stride * row, stride * column
            y[:, top : top + 3, left : left + 3] += np.einsum("i,iokl->okl", x[:, row, column], weight)
    return y[:, 1:-1, 1:-1]


def trained(*, blocks: int = 1, width: int = 4) -> ResUNet:
    """A network whose parameters and statistics have left their start, in eval mode and float64."""
    torch.manual_seed(0)
    network = ResUNet(blocks=blocks, width=width)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.2, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, nn.ConvTranspose2d):
            assert module.bias is not None
            nn.init.normal_(module.bias, 0, 0.3)
    return network.double().eval()


def noise(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("blocks", "down", "up", "total"),
    [
        (1, [28_768, 129_536, 517_120], [184_832, 46_336], 1_008_963),
        (3, [65_888, 277_504, 1_107_968], [332_800, 83_456], 1_969_987),
    ],
)
def test_each_part_has_the_reports_number_of_parameters(
    blocks: int, down: list[int], up: list[int], total: int
) -> None:
    network = ResUNet(blocks=blocks)

    assert [count(level) for level in network.encoder] == down
    assert [count(layer) for layer in network.upsample] == [73_792, 18_464]
    assert [count(level) for level in network.decoder] == up
    assert count(network.refine) + count(network.output) == 10_115
    assert count(network) == total


@pytest.mark.parametrize("blocks", [1, 3])
def test_the_network_equals_an_independent_statement_of_the_report(blocks: int) -> None:
    network = trained(blocks=blocks)
    blurry = noise(8, 12)

    restored = network(blurry).detach()

    assert restored.std() > 0.05  # there is something to compare
    np.testing.assert_allclose(restored[0].numpy(), restated(network, blurry[0].numpy()), atol=1e-6)


def test_each_model_has_the_reports_number_of_blocks() -> None:
    for model, blocks in zip(MODELS, (1, 3), strict=True):
        network = model.build()
        assert model.name == f"resunet{blocks}"
        assert [len(level) for level in (*network.encoder, *network.decoder)] == 5 * [blocks + 2]


def test_a_block_adds_to_its_input_and_does_not_rectify_the_sum() -> None:
    """The author's text speaks of concatenation, his program adds; and rectifies before the sum, not after."""
    block = trained().encoder[0][1]
    x = -3 * torch.ones(1, 4, 5, 5, dtype=torch.float64)

    y = block(x).detach()

    assert y.shape == x.shape
    assert (y >= x).all()
    assert (y < 0).any()


def test_the_output_fills_the_range_between_zero_and_one() -> None:
    network = trained()
    with torch.no_grad():
        moderate = network(noise(32, 32))
        network.output.weight *= 10
        extreme = network(noise(32, 32))

    assert 0 < moderate.min() < moderate.max() < 1
    assert 0 <= extreme.min() < 0.01
    assert 0.99 < extreme.max() <= 1


def test_halving_and_doubling_are_centred_on_even_pixels() -> None:
    """TensorFlow centres them on odd ones, which a network learns as well, from the mirrored picture."""
    network = trained()
    halve, double = network.encoder[1][0].conv, network.upsample[1]
    for conv in (halve, double):  # to kernels that look at their centre alone
        nn.init.zeros_(conv.weight)
        nn.init.ones_(conv.weight[0, 0, 1, 1])
    nn.init.zeros_(double.bias)
    pixel = torch.zeros(1, 4, 8, 8, dtype=torch.float64)
    pixel[0, 0, 2, 4] = 1

    small = halve(pixel)
    large = double(small)

    assert small[0, 0].nonzero().tolist() == [[1, 2]]
    assert large[0, 0].nonzero().tolist() == [[2, 4]]


def test_the_recipe_report_is_the_reports() -> None:
    for model in MODELS:
        recipe = model.recipes["report"]
        assert (recipe.loss, recipe.batch_size, recipe.epochs) == ("mse", 250, 50)
        assert recipe.early_stopping == EarlyStopping(patience=7)
        assert (recipe.optimizer.kind, recipe.optimizer.lr, recipe.optimizer.eps) == ("adam", 1e-3, 1e-7)
        assert recipe.schedule == ConstantRate()
        assert recipe.flips == "both"


@pytest.mark.parametrize("blocks", [1, 3])
def test_training_starts_near_the_identity_with_frozen_statistics_or_a_batchs(blocks: int) -> None:
    torch.manual_seed(0)
    network = ResUNet(blocks=blocks, width=8)
    start_near_identity(network)
    ramp = torch.linspace(0.05, 0.95, 32)
    blurry = torch.stack([ramp.expand(32, 32), ramp.expand(32, 32).T, (ramp + ramp[:, None]) / 2])[None]

    with torch.no_grad():
        by_running = (network.eval()(blurry) - blurry).square().mean().sqrt()
        by_batch = (network.train()(blurry) - blurry).square().mean().sqrt()

    assert by_running < 0.04
    assert by_batch < 0.06


def test_training_goes_on_from_that_start_in_every_parameter() -> None:
    torch.manual_seed(0)
    network = ResUNet(width=8)
    start_near_identity(network)

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
