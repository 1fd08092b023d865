"""The building blocks that families share begin and normalise as Keras does, whose defaults the reports used."""

import math

import pytest
import torch
from torch import nn

from deblur_cli.networks import (
    PHOTO_MEAN,
    PHOTO_STD,
    ConvNormAct,
    calibrate_norms,
    glorot_uniform,
    keras_norm,
)


def test_one_batch_moves_the_running_statistics_by_a_hundredth() -> None:
    norm = keras_norm(2).train()
    batch = torch.tensor([[[[1.0, 3.0]], [[0.0, 0.0]]], [[[5.0, 7.0]], [[2.0, 2.0]]]])  # (2, 2, 1, 2)

    norm(batch)

    # Means 4 and 1; variances with N - 1 = 3: (9 + 1 + 1 + 9) / 3 and 4 / 3. Statistics begin at 0 and 1.
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.running_mean.tolist() == pytest.approx([0.04, 0.01])
    assert norm.running_var.tolist() == pytest.approx([0.99 + 0.01 * 20 / 3, 0.99 + 0.01 * 4 / 3])


def test_a_thousandth_is_added_to_the_variance() -> None:
    batch = torch.tensor([1.0, 3.0, 5.0, 7.0]).reshape(4, 1, 1, 1)

    by_batch = keras_norm(1).train()(batch).flatten().tolist()
    by_running = keras_norm(1).eval()(batch).flatten().tolist()

    assert by_batch == pytest.approx([x / math.sqrt(5 + 1e-3) for x in (-3, -1, 1, 3)])
    assert by_running == pytest.approx([x / math.sqrt(1 + 1e-3) for x in (1, 3, 5, 7)])


@pytest.mark.parametrize(
    ("conv", "fan_in", "fan_out"),
    [
        (nn.Conv2d(40, 60, 3), 9 * 40, 9 * 60),
        (nn.Conv2d(40, 60, 1), 40, 60),
        (nn.ConvTranspose2d(40, 60, 3), 9 * 60, 9 * 40),
        (nn.ConvTranspose2d(90, 20, 2, stride=2), 4 * 20, 4 * 90),
    ],
)
def test_kernels_fill_glorots_range_and_biases_are_zero(
    conv: nn.Conv2d | nn.ConvTranspose2d, fan_in: int, fan_out: int
) -> None:
    torch.manual_seed(0)
    limit = math.sqrt(6 / (fan_in + fan_out))

    glorot_uniform(nn.Sequential(nn.Sequential(conv)))  # however deep

    assert conv.bias is not None
    assert not conv.bias.any()
    assert 0.99 * limit < conv.weight.abs().max() <= limit
    assert conv.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.03)
    assert abs(conv.weight.mean().item()) < 0.05 * limit


def test_a_convolution_without_bias_stays_without() -> None:
    conv = nn.Conv2d(3, 4, 3, bias=False)

    glorot_uniform(conv)

    assert conv.bias is None


@pytest.mark.parametrize("activation", [None, nn.ReLU(inplace=True), nn.LeakyReLU(0.3)])
@pytest.mark.parametrize("conv", [nn.Conv2d(3, 5, 3, padding=1), nn.ConvTranspose2d(3, 5, 2, stride=2)])
def test_a_block_is_convolution_then_norm_then_activation(
    conv: nn.Conv2d | nn.ConvTranspose2d, activation: nn.Module | None
) -> None:
    torch.manual_seed(0)
    block = ConvNormAct(conv, activation).eval()
    nn.init.normal_(block.norm.running_mean)
    nn.init.uniform_(block.norm.running_var, 0.5, 2)
    nn.init.normal_(block.norm.weight)
    nn.init.normal_(block.norm.bias)
    x = torch.rand(2, 3, 6, 4)

    with torch.no_grad():
        y = block(x)
        mean, var, gain, shift = (
            values[:, None, None]
            for values in (block.norm.running_mean, block.norm.running_var, block.norm.weight, block.norm.bias)
        )  # fmt: skip
        normed = (conv(x) - mean) / (var + 1e-3).sqrt() * gain + shift

    slope = {nn.ReLU: 0.0, nn.LeakyReLU: 0.3}.get(type(activation), 1.0)
    torch.testing.assert_close(y, torch.where(normed > 0, normed, slope * normed))


def test_calibrated_norms_give_each_feature_mean_zero_and_deviation_one() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        ConvNormAct(nn.Conv2d(3, 8, 1), nn.ReLU()), ConvNormAct(nn.Conv2d(8, 8, 1, stride=2))
    )
    parameters = [item.detach().clone() for item in network.parameters()]
    squares = torch.rand(500, 3, 4, 4, generator=torch.Generator().manual_seed(5))
    squares = (squares - 0.5) * math.sqrt(12) * PHOTO_STD + PHOTO_MEAN

    calibrate_norms(network)

    with torch.no_grad():
        features = network.eval()(squares.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert features.mean((0, 2, 3)).abs().max() < 0.15
    assert (features.std((0, 2, 3)) - 1).abs().max() < 0.1
    assert all(torch.equal(a, b) for a, b in zip(parameters, network.parameters(), strict=True))
    assert {m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {0.01}
