"""pix2pix: its layers are the report's table, restated in NumPy; attention, spectral norms and the critic do what they say."""

import copy
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized

from deblur_cli.networks import ChannelAttention, InstanceNorm, SelfAttention, attention
from deblur_cli.networks.critics import ConditionalPatchCritic
from deblur_pix2pix import MODELS
from deblur_pix2pix.network import Pix2Pix, start_near_identity

BY_NAME = {model.name: model for model in MODELS}
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
Array = np.ndarray


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def moved(network: nn.Module) -> nn.Module:
    """The network in float64 with every parameter off its start, where zeros and ones hide mistakes."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network.double()


def signed(*shape: int, seed: int = 0) -> Tensor:
    """Noise in [-1, 1], float64."""
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, shape))


# The table


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("pix2pix", 54_419_459),
        ("pix2pix_sa", 58_291_848),
        ("pix2pix_sa_gr", 58_291_848),
        ("pix2pix_sa_sn", 58_291_848),
        ("pix2pix_full", 58_504_840),
    ],
)
def test_the_rows_of_the_report_have_their_numbers_of_parameters(name: str, parameters: int) -> None:
    with torch.device("meta"):
        network = BY_NAME[name].build()
    assert num_parameters(network) == parameters


def test_each_level_has_the_tables_parameters() -> None:
    with torch.device("meta"):
        network = Pix2Pix()
    assert [num_parameters(layer) for layer in network.encoder] == [
        3_136, 131_456, 525_056, 2_098_688, 4_195_840, 4_195_840, 4_195_840, 4_194_816
    ]  # fmt: skip
    assert [num_parameters(layer) for layer in network.decoder] == [
        4_195_840, 8_390_144, 8_390_144, 8_390_144, 4_195_072, 1_048_960, 262_336, 6_147
    ]  # fmt: skip


def test_the_rows_of_the_report_are_these_options() -> None:
    values = {
        name: tuple(model.options[option].default for option in ("attention", "residual", "spectral_norm"))
        for name, model in BY_NAME.items()
    }
    assert values == {
        "pix2pix": ("none", "none", False),
        "pix2pix_sa": ("sa", "none", False),
        "pix2pix_sa_gr": ("sa", "average", False),
        "pix2pix_sa_sn": ("sa", "none", True),
        "pix2pix_full": ("sa+ca", "average", True),
    }


@pytest.mark.parametrize("kind", ["sa", "sa+ca"])
def test_attention_sits_where_the_table_has_it(kind: str) -> None:
    """At 256x256, by what reaches it: (channels, height, width)."""
    seen: list[tuple[type, int, int, int]] = []
    with torch.device("meta"):
        network = Pix2Pix(attention=kind).eval()
        for module in network.modules():
            if isinstance(module, SelfAttention | ChannelAttention):
                module.register_forward_hook(
                    lambda layer, inputs, _: seen.append((type(layer), *inputs[0].shape[1:]))
                )
        with torch.no_grad():
            network(torch.zeros(1, 3, 256, 256))
    both = (SelfAttention,) if kind == "sa" else (SelfAttention, ChannelAttention)
    places = [(256, 32, 32), (512, 4, 4), (512, 1, 1), (1024, 8, 8), (256, 64, 64)]
    expected = [(layer, *place) for place in places for layer in both]
    expected.insert(2 * len(both), (ChannelAttention, 512, 1, 1))  # between encoder and decoder, in both
    assert seen == expected


@pytest.mark.parametrize(
    ("kind", "residual", "bounded"),
    list(product(("none", "sa", "sa+ca"), ("none", "average"), (False, True))),
)
def test_every_combination_of_the_options_trains_and_restores(
    kind: str, residual: str, bounded: bool
) -> None:
    torch.manual_seed(0)
    network = Pix2Pix(attention=kind, residual=residual, spectral_norm=bounded, width=8, depth=5)
    blurry, sharp = signed(2, 2, 3, 64, 32).float()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-4)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = F.l1_loss(network(blurry), sharp)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert any(is_parametrized(module) for module in network.modules()) == bounded
    with torch.no_grad():
        restored = network.eval()(blurry)
    assert restored.shape == blurry.shape
    assert restored.abs().max() < 1


# The network, restated


def conv4(x: Array, layer: nn.Module) -> Array:
    """(C, H, W) -> (D, H/2, W/2): kernels of 4x4 at stride 2 over the picture with one zero around it."""
    kernel, bias = (value.detach().numpy() for value in (layer.weight, layer.bias))
    height, width = x.shape[1] // 2, x.shape[2] // 2
    x = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    y = np.zeros((len(kernel), height, width)) + bias[:, None, None]
    for row, column in np.ndindex(4, 4):
        seen = x[:, row : row + 2 * height : 2, column : column + 2 * width : 2]
        y += np.tensordot(kernel[:, :, row, column], seen, axes=1)
    return y


def deconv4(x: Array, layer: nn.Module) -> Array:
    """(C, H, W) -> (D, 2H, 2W): each value adds a kernel of 4x4 two pixels from the next one's; one pixel is cut around."""
    kernel, bias = (value.detach().numpy() for value in (layer.weight, layer.bias))
    height, width = x.shape[1:]
    y = np.zeros((kernel.shape[1], 2 * height + 2, 2 * width + 2))
    for row, column in np.ndindex(4, 4):
        added = np.tensordot(kernel[:, :, row, column].T, x, axes=1)
        y[:, row : row + 2 * height : 2, column : column + 2 * width : 2] += added
    return y[:, 1:-1, 1:-1] + bias[:, None, None]


def normalised(x: Array, layer: InstanceNorm) -> Array:
    gamma, beta = (value.detach().numpy()[:, None, None] for value in (layer.weight, layer.bias))
    mean, variance = (function(x, axis=(1, 2), keepdims=True) for function in (np.mean, np.var))
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def attended(x: Array, layer: SelfAttention) -> Array:
    """x + gamma v(o), o_i = sum over j of softmax over j of (g(x)_i . f(x)_j) times h(x)_j."""
    places = x.reshape(len(x), -1)

    def at_each(values: Array, conv: nn.Conv2d) -> Array:
        return conv.weight.detach().numpy()[:, :, 0, 0] @ values + conv.bias.detach().numpy()[:, None]

    keys, queries, values = (at_each(places, conv) for conv in (layer.f, layer.g, layer.h))
    found = np.empty_like(values)
    for i in range(places.shape[1]):
        likeness = np.array([queries[:, i] @ keys[:, j] for j in range(places.shape[1])])
        weights = np.exp(likeness - likeness.max())
        found[:, i] = values @ (weights / weights.sum())
    return x + layer.gamma.item() * at_each(found, layer.v).reshape(x.shape)


def weighed(x: Array, layer: ChannelAttention) -> Array:
    """x times sigmoid(W2 LeakyReLU(W1 mean)), without biases."""
    first, second = (
        conv.weight.detach().numpy()[:, :, 0, 0] for conv in layer.modules() if isinstance(conv, nn.Conv2d)
    )
    inner = first @ x.mean(axis=(1, 2))
    inner = np.where(inner > 0, inner, 0.2 * inner)
    return x / (1 + np.exp(-(second @ inner)))[:, None, None]


def of_kind(layers: nn.Module, kind: Any) -> Any:
    """The only one of this kind, or None."""
    found = [module for module in layers.modules() if isinstance(module, kind)]
    found = [module for module in found if getattr(module, "kernel_size", (4, 4)) == (4, 4)]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize("kind", ["none", "sa", "sa+ca"])
@pytest.mark.parametrize("bounded", [False, True])
def test_the_network_equals_the_report_restated_in_numpy(kind: str, bounded: bool) -> None:
    """Five levels, in which all but two places of attention and the dropout are; level by level as the table reads."""
    torch.manual_seed(0)
    network = moved(Pix2Pix(attention=kind, spectral_norm=bounded, width=8, depth=5)).eval()
    blurry = signed(1, 3, 64, 32)

    def perhaps_attended(x: Array, layers: nn.Module, *, here: bool) -> Array:
        if kind == "none" or not here:
            return x
        x = attended(x, of_kind(layers, SelfAttention))
        return weighed(x, of_kind(layers, ChannelAttention)) if kind == "sa+ca" else x

    encoded = [conv4(blurry[0].numpy(), of_kind(network.encoder[0], nn.Conv2d))]
    for level in (2, 3, 4, 5):
        layers = network.encoder[level - 1]
        x = np.where(encoded[-1] > 0, encoded[-1], 0.2 * encoded[-1])
        x = conv4(perhaps_attended(x, layers, here=level == 4), of_kind(layers, nn.Conv2d))
        encoded.append(x if level == 5 else normalised(x, of_kind(layers, InstanceNorm)))
    x = encoded.pop()
    if kind != "none":
        x = weighed(x, network.middle)
    for level, layers in zip((5, 4, 3, 2, 1), network.decoder, strict=True):
        if level < 5:
            x = np.concatenate([x, encoded.pop()])
        x = perhaps_attended(np.maximum(x, 0), layers, here=level in (5, 2))
        x = deconv4(x, of_kind(layers, nn.ConvTranspose2d))
        x = np.tanh(x) if level == 1 else normalised(x, of_kind(layers, InstanceNorm))

    with torch.no_grad():
        restored = network(blurry)[0].numpy()
    np.testing.assert_allclose(restored, x, rtol=0, atol=1e-6)  # the tanh is taken in float32
    assert x.std() > 0.1


def test_the_average_is_that_of_the_result_and_the_blurred_picture() -> None:
    plain, averaged = (Pix2Pix(residual=kind, width=4, depth=3).eval() for kind in ("none", "average"))
    averaged.load_state_dict(moved(plain).state_dict())
    blurry = signed(2, 3, 16, 24).float()
    with torch.no_grad():
        expected = (plain.float()(blurry).numpy() + blurry.numpy()) / 2
        np.testing.assert_allclose(averaged(blurry).numpy(), expected, rtol=0, atol=1e-6)


def test_the_innermost_features_of_the_smallest_picture_count() -> None:
    """There they are 1x1, of which a norm would leave nothing."""
    network = moved(Pix2Pix(width=4, depth=4)).eval()
    innermost = of_kind(network.encoder[-1], nn.Conv2d)
    network(signed(1, 3, 16, 16)).square().sum().backward()
    assert innermost.weight.grad.abs().max() > 1e-6


def test_dropout_is_of_the_three_innermost_levels_and_ends_with_training() -> None:
    with torch.device("meta"):
        network = Pix2Pix()
    has_dropout = [of_kind(layers, nn.Dropout) is not None for layers in network.decoder]
    assert has_dropout == [True] * 3 + [False] * 5
    assert {module.p for module in network.modules() if isinstance(module, nn.Dropout)} == {0.5}

    network = moved(Pix2Pix(width=4, depth=6))
    blurry = signed(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.equal(network.train()(blurry), network(blurry))
        assert torch.equal(network.eval()(blurry), network(blurry))


# Attention


def test_attention_equals_its_formula_in_numpy() -> None:
    torch.manual_seed(0)
    layer = moved(SelfAttention(16))
    pictures = signed(2, 16, 5, 7)
    with torch.no_grad():
        found = layer(pictures).numpy()
    expected = np.stack([attended(picture.numpy(), layer) for picture in pictures])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert np.abs(found - pictures.numpy()).max() > 0.1


def test_attention_begins_as_the_identity() -> None:
    pictures = signed(1, 8, 4, 4).float()
    with torch.no_grad():
        assert torch.equal(SelfAttention(8)(pictures), pictures)


@pytest.mark.parametrize("most", [1, 100, 2 * 35 * 34, 2 * 35 * 35])
def test_attention_in_parts_is_attention_at_once(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """So are its gradients, for which the weights of a part are made again; at most that many weights exist at once."""
    torch.manual_seed(0)
    layer = moved(SelfAttention(16))

    def run() -> list[Tensor]:
        pictures = signed(2, 16, 5, 7).requires_grad_(True)
        layer.zero_grad()
        found = layer(pictures)
        (found * signed(2, 16, 5, 7, seed=1)).sum().backward()
        return [found, pictures.grad, *(parameter.grad.clone() for parameter in layer.parameters())]

    expected = run()
    monkeypatch.setattr(attention, "MOST_WEIGHTS", most)
    sizes: list[int] = []
    attend = attention._attend
    monkeypatch.setattr(
        attention, "_attend", lambda *given: (sizes.append(given[0].shape[2]), attend(*given))[1]
    )
    for found, wanted in zip(run(), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert max(sizes) == max(1, most // (2 * 35))
    assert (len(sizes) == 1) == (most == 2 * 35 * 35)


# Spectral norms


def largest_singular_value(layer: nn.Module) -> float:
    """Of the kernel that the layer computes with, as a matrix of outputs by all else."""
    kernel = layer.weight.detach().numpy()
    outputs_first = np.moveaxis(kernel, 1, 0) if isinstance(layer, nn.ConvTranspose2d) else kernel
    return float(np.linalg.svd(outputs_first.reshape(len(outputs_first), -1), compute_uv=False)[0])


@pytest.mark.parametrize("what", ["generator", "critic"])
def test_after_some_steps_no_kernel_is_larger_than_its_spectral_norm(what: str) -> None:
    """Of every convolution, transposed ones too, but not of channel attention's dense layers."""
    torch.manual_seed(0)
    if what == "generator":
        network: nn.Module = Pix2Pix(attention="sa+ca", spectral_norm=True, width=8, depth=5)
        inputs = [signed(2, 3, 32, 32).float()]
    else:
        network = ConditionalPatchCritic(attention="sa+ca", spectral_norm=True, width=8)
        inputs = list(signed(2, 2, 3, 32, 32).float())
    free = {
        conv for layer in network.modules() if isinstance(layer, ChannelAttention) for conv in layer.modules()
    }
    layers = [module for module in network.modules() if isinstance(module, CONVOLUTIONS)]
    bounded = [layer for layer in layers if layer not in free]
    assert len(bounded) == (5 + 5 + 3 * 4 if what == "generator" else 5 + 4)
    assert all(is_parametrized(layer) for layer in bounded)
    assert not any(is_parametrized(layer) for layer in layers if layer in free)

    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    start = [layer.weight.detach().clone() for layer in bounded]
    for _ in range(40):
        optimizer.zero_grad()
        network(*inputs).square().mean().backward()
        optimizer.step()
    network.eval()
    for layer, before in zip(bounded, start, strict=True):
        assert largest_singular_value(layer) == pytest.approx(1, abs=0.05)
        assert torch.equal(layer.weight, layer.weight)  # nothing is estimated any more
        assert not torch.equal(layer.weight, before)
    assert max(largest_singular_value(layer) for layer in layers if layer in free) != pytest.approx(
        1, abs=0.05
    )


# The critic


@pytest.mark.parametrize(
    ("options", "parameters", "kmacs"),
    [
        ({}, 2_769_601, 48.8),
        ({"attention": "sa"}, 2_806_754, 51.1 + 36.9),
        ({"attention": "sa+ca"}, 2_806_754 + 2_048, 51.1 + 36.9),
        ({"spectral_norm": True}, 2_769_601, 48.8),
    ],
)
def test_the_critic_has_the_tables_figures(options: Mapping[str, Any], parameters: int, kmacs: float) -> None:
    counts: list[float] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(layer, nn.Conv2d):
            counts.append(layer.weight.numel() * output[0, 0].numel())
        if isinstance(layer, SelfAttention):
            channels, height, width = inputs[0].shape[1:]
            assert (channels, height, width) == (128, 64, 64)
            counts.append((height * width) ** 2 * (channels // 8 + channels))

    with torch.device("meta"):
        critic = ConditionalPatchCritic(**options)
        for layer in critic.modules():
            layer.register_forward_hook(count)
        with torch.no_grad():
            logits = critic(*torch.zeros(2, 1, 3, 256, 256))
    assert num_parameters(critic) == parameters
    assert logits.shape == (1, 1, 30, 30)
    assert sum(counts) / 256**2 / 1000 == pytest.approx(kmacs, abs=0.06)


# The start


@pytest.mark.parametrize("residual", ["none", "average"])
@pytest.mark.parametrize(
    ("width", "bounded", "least"), [(24, False, 28), (64, False, 38), (48, True, 24), (64, True, 24)]
)
def test_the_start_is_near_the_blurred_picture(
    width: int, bounded: bool, least: float, residual: str
) -> None:
    """PSNR inside, in dB; the average with the picture itself is 6 dB nearer."""
    torch.manual_seed(0)
    network = Pix2Pix(attention="sa", residual=residual, spectral_norm=bounded, width=width, depth=3)
    start_near_identity(network)
    blurry = signed(1, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3).float()
    with torch.no_grad():
        restored = network.eval()(blurry)
    error = (restored - blurry)[..., 1:-1, 1:-1].numpy() / 2
    assert -10 * np.log10(np.square(error).mean()) > least + (6 if residual == "average" else 0)


@pytest.mark.parametrize(("width", "bounded"), [(23, False), (47, True)])
def test_networks_too_narrow_for_the_start_stay_as_they_are(width: int, bounded: bool) -> None:
    network = Pix2Pix(width=width, spectral_norm=bounded, depth=2)
    before = copy.deepcopy(network.state_dict())
    start_near_identity(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
