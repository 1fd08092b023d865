"""The form of rednet30 that restores pictures is the same function as the network that is trained."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deblur_rednet.inference import StreamedREDNet
from deblur_rednet.network import REDNet, REDNetWGAN, start_at_identity

TrainedLike = Callable[..., REDNet]


@pytest.fixture(scope="module")
def small(trained_like: TrainedLike) -> REDNet:
    """A short and narrow REDNet."""
    return trained_like(seed=5, depth=5, width=6)


def picture(height: int, width: int, *, batch: int = 1, seed: int = 0) -> Tensor:
    """(B, 3, H, W) float32 in [0, 1]."""
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def plain(network: REDNet, blurry: Tensor) -> Tensor:
    with torch.no_grad():
        restored: Tensor = network(blurry)
    return restored


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 12),
    rows=st.integers(1, 45),
    seed=st.integers(0, 1000),
)
def test_streaming_equals_the_plain_network_for_any_size_and_band(
    small: REDNet, height: int, width: int, rows: int, seed: int
) -> None:
    blurry = picture(height, width, seed=seed)
    streamed = StreamedREDNet(small, dtype=torch.float32, band_pixels=rows * width)

    assert (streamed(blurry) - plain(small, blurry)).abs().max() <= 1e-5


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 2), (2, 1), (2, 2), (1, 9), (9, 1), (3, 3), (31, 64), (64, 31)], ids=str
)
@pytest.mark.parametrize("band_pixels", [None, 300])
def test_rednet30_equals_its_plain_form_borders_included(
    trained_like: TrainedLike, size: tuple[int, int], band_pixels: int | None
) -> None:
    network = trained_like()
    blurry = picture(*size)
    streamed = StreamedREDNet(network, dtype=torch.float32, band_pixels=band_pixels)

    assert (streamed(blurry) - plain(network, blurry)).abs().max() <= 1e-5


@pytest.mark.parametrize("activation", ["elu", "relu"])
@pytest.mark.parametrize("size", [(1, 1), (9, 1), (31, 64)], ids=str)
@pytest.mark.parametrize("band_pixels", [None, 300])
def test_rednet30wgan_equals_its_plain_form_too(
    trained_like: TrainedLike, activation: str, size: tuple[int, int], band_pixels: int | None
) -> None:
    network = trained_like(kind=REDNetWGAN, activation=activation, depth=5, width=16)
    blurry = 2 * picture(*size) - 1
    streamed = StreamedREDNet(network, dtype=torch.float32, band_pixels=band_pixels)

    assert (streamed(blurry) - plain(network, blurry)).abs().max() <= 1e-5


def test_a_batch_equals_its_pictures_one_by_one(small: REDNet) -> None:
    blurry = picture(21, 10, batch=3)
    streamed = StreamedREDNet(small, dtype=torch.float32, band_pixels=90)

    assert (streamed(blurry) - plain(small, blurry)).abs().max() <= 1e-5


def test_bfloat16_is_as_near_to_float32_as_autocast(trained_like: TrainedLike) -> None:
    network = trained_like()
    blurry = picture(48, 64)
    exact = plain(network, blurry)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        autocast = plain(network, blurry)

    streamed = StreamedREDNet(network, dtype=torch.bfloat16, band_pixels=64 * 10)(blurry)

    assert streamed.dtype == torch.float32
    assert 0 < error(streamed, exact) <= 1.1 * error(autocast, exact)


def error(restored: Tensor, exact: Tensor) -> float:
    """Root of the mean squared difference."""
    return float((restored - exact).square().mean().sqrt())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_residual_stays_in_float32_in_every_dtype(trained_like: TrainedLike, dtype: torch.dtype) -> None:
    network = trained_like(depth=2, width=4)
    start_at_identity(network)
    blurry = picture(12, 11)

    restored = network.for_inference(dtype)(blurry)

    assert restored.dtype == torch.float32
    assert torch.equal(restored, blurry)


def test_neither_the_picture_nor_the_network_is_changed(trained_like: TrainedLike) -> None:
    network = trained_like(depth=2, width=4)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    # rows of channels already in the order that convolutions like: the conversion at the door copies nothing
    blurry = picture(14, 13).to(memory_format=torch.channels_last)
    before = blurry.clone()

    network.for_inference(torch.float32)(blurry)

    assert torch.equal(blurry, before)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_a_network_whose_input_norm_vanishes_in_a_channel_is_folded_exactly(
    trained_like: TrainedLike,
) -> None:
    """No scale is divided by: a channel that batch norm turned off stays off, with its shift."""
    network = trained_like(depth=2, width=4)
    with torch.no_grad():
        network.encoder[0].norm.weight[1] = 0
        network.decoder[1].norm.weight[:] = 0
    blurry = picture(10, 10)

    streamed = StreamedREDNet(network, dtype=torch.float32, band_pixels=30)(blurry)

    assert (streamed - plain(network, blurry)).abs().max() <= 1e-5
