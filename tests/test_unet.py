"""unet16 and unet20 are the networks of their reports: count, wiring, what the output may be; and the identity start."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import deblur_unet
from deblur_cli.weights import read_header
from deblur_unet.network import UNet, start_at_identity

Array = np.ndarray
UNET16, UNET20 = deblur_unet.MODELS


def restated(network: UNet, blurry: Array) -> Array:
    """The network once more, in float64 NumPy: (3, H, W) -> (3, H, W)."""
    state = {name: value.double().numpy() for name, value in network.state_dict().items()}
    levels = len(network.encoder)

    def double(x: Array, name: str) -> Array:
        for part in ("first", "second"):
            x = relu(convolve3(x, state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"]))
        return x

    encoded = [double(blurry, "encoder.0")]
    for level in range(1, levels):
        encoded.append(double(halved(encoded[-1]), f"encoder.{level}"))
    x = encoded.pop()
    for i, skip in enumerate(reversed(encoded)):
        up = relu(doubled(x, state[f"upsample.{i}.weight"], state[f"upsample.{i}.bias"]))
        x = double(np.concatenate([skip, up]), f"decoder.{i}")
    y = np.einsum("oc,chw->ohw", state["output.weight"][:, :, 0, 0], x) + state["output.bias"][:, None, None]
    return relu(y) if network.rectified else y


def convolve3(x: Array, weight: Array, bias: Array) -> Array:
    """Nine shifted products over a frame of zeros."""
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    z = np.tile(bias[:, None, None], (1, height, width))
    for row, column in itertools.product(range(3), repeat=2):
        window = padded[:, row : row + height, column : column + width]
        z += np.einsum("oc,chw->ohw", weight[:, :, row, column], window)
    return z


def halved(x: Array) -> Array:
    """The maximum of each 2x2 cell."""
    channels, height, width = x.shape
    return x.reshape(channels, height // 2, 2, width // 2, 2).max(axis=(2, 4))


def doubled(x: Array, weight: Array, bias: Array) -> Array:
    """Each pixel becomes a 2x2 cell: a transposed convolution whose kernels do not overlap."""
    y = np.einsum("iokl,ihw->ohkwl", weight, x)
    channels, height, _, width, _ = y.shape
    return y.reshape(channels, 2 * height, 2 * width) + bias[:, None, None]


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


@pytest.mark.parametrize("output", ["relu", "linear"])
@pytest.mark.parametrize("levels", [1, 2, 4, 5])
def test_the_network_equals_an_independent_statement_of_the_report(levels: int, output: str) -> None:
    torch.manual_seed(levels)
    network = UNet(levels=levels, width=4, output=output).double()
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
    step = 2 ** (levels - 1)
    blurry = torch.rand(1, 3, 2 * step, 3 * step, dtype=torch.float64)

    restored = network(blurry).detach()[0].numpy()

    np.testing.assert_allclose(restored, restated(network, blurry[0].numpy()), atol=1e-12)


def test_each_part_has_the_reports_number_of_parameters() -> None:
    for levels, encoder, upsample, decoder in (
        (4, [2_768, 13_888, 55_424, 221_440], [32_832, 8_224, 2_064], [110_720, 27_712, 6_944]),
        (5, [2_768, 13_888, 55_424, 221_440, 885_248], [131_200, 32_832, 8_224, 2_064], [442_624, 110_720, 27_712, 6_944]),
    ):  # fmt: skip
        network = UNet(levels=levels)
        assert [count(part) for part in network.encoder] == encoder
        assert [count(part) for part in network.upsample] == upsample
        assert [count(part) for part in network.decoder] == decoder
        assert count(network.output) == 51
        assert count(network) == {4: 482_067, 5: 1_941_139}[levels]


def test_the_two_names_differ_by_one_level() -> None:
    assert UNET16.build().encoder[-1].first.in_channels == 64
    assert UNET20.build().encoder[-1].first.in_channels == 128
    assert [UNET16.geometry_for({"levels": n}).halo for n in (1, 2, 3, 4, 5)] == [2, 9, 23, 51, 107]


@pytest.mark.parametrize("model", deblur_unet.MODELS, ids=lambda model: model.name)
def test_the_fast_recipe_starts_at_the_identity_and_every_part_learns(model) -> None:
    torch.manual_seed(1)
    network = model.build(model.tiny)
    start_at_identity(network)
    blurry = torch.rand(2, 3, 16, 16)

    assert torch.equal(network(blurry), blurry)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(3):  # the other features join as soon as the output looks at them
        optimizer.zero_grad()
        (network(blurry) - blurry.flip(3)).square().sum().backward()
        optimizer.step()
    still = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert still == []


def test_a_linear_output_is_an_option_and_can_be_negative() -> None:
    torch.manual_seed(2)
    blurry = torch.rand(1, 3, 16, 16)
    rectified = UNET16.build()
    linear = UNET16.build({"output": "linear"})
    linear.load_state_dict(rectified.state_dict())
    with torch.no_grad():
        rectified.output.bias -= 10
        linear.output.bias -= 10
        assert not rectified(blurry).any()
        assert (linear(blurry) < -5).all()


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize(("model", "preset"), [("unet16", "cifar10-s0"), ("unet20", "cifar10-s3")])
def test_the_released_weights_keep_what_their_card_promises(run, model: str, preset: str) -> None:
    """On the first 400 of the 10,000 test pictures, which the card's scores are of."""
    words = (
        "eval",
        "--data",
        "cifar10",
        "--preset",
        preset,
        "--split",
        "test",
        "-m",
        model,
        "--limit",
        "400",
    )

    done = run(*words, "--metrics", "psnr", "ssim", "--json", env={"DEBLUR_DATA": os.environ["DEBLUR_DATA"]})

    assert done.code == 0, done.err
    (found,) = done.json()
    header = read_header(Path(__file__).parents[1] / "weights" / f"{model}.cifar10.safetensors")
    (score,) = header.scores
    assert found["restored"]["ssim"] == pytest.approx(score["restored"]["ssim"], abs=0.02)
    assert found["pooled_psnr_restored"] == pytest.approx(score["pooled_psnr_restored"], abs=0.5)
    assert found["pooled_psnr_restored"] > found["pooled_psnr_blurry"] + 4


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
