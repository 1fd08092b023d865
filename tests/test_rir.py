"""rir and rir_large are those of their report: counts, wiring, padding, spectral norms, the start, and their critic."""

import itertools
from math import prod

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

import deblur_rir
from deblur_cli.host.checks import DeclarationError
from deblur_rir.critic import SpectralPatchCritic
from deblur_rir.network import Residual, RiR, start_near_identity

Array = np.ndarray
RIR, RIR_LARGE = deblur_rir.MODELS

ENCODERS = [529_696, 2_116_160, 8_459_392, 33_827_072]
DECODERS = [76_556_288, 19_141_632, 4_786_688]
"""Of a decoder that sees the encoder's features beside those of the one before."""
PARTS = {
    "rir": [3_264, *ENCODERS[:3], 590_977, 21_239_552, *DECODERS[1:], 6_153],
    "rir_large": [3_264, *ENCODERS, 2_361_601, 84_946_432, *DECODERS, 6_153],
}
"""The first layer, encoder, self-attention, decoder, the last layer."""


def num_parameters(network: nn.Module) -> int:
    return sum(item.numel() for item in network.parameters() if item.requires_grad)


@pytest.mark.parametrize("model", deblur_rir.MODELS, ids=lambda model: model.name)
def test_each_part_has_the_reports_number_of_parameters(model) -> None:
    with torch.device("meta"):
        network = model.build()
    parts = [network.first, *network.encoder, network.attention, *network.decoder, network.last]
    assert [num_parameters(part) for part in parts] == PARTS[model.name]
    assert num_parameters(network) == sum(PARTS[model.name]) == model.facts.parameters


class Restated:
    """The report's network in float64 NumPy, by the names of the state; pictures are (C, H, W)."""

    def __init__(self, network: nn.Module) -> None:
        self.state = {name: value.double().numpy() for name, value in network.state_dict().items()}

    def kernel(self, name: str, *, transposed: bool = False) -> Array:
        """(C', C, side, side), divided by the largest singular value of the matrix of outputs by all else."""
        weight = self.state[f"{name}.parametrizations.weight.original"]
        weight = weight.swapaxes(0, 1) if transposed else weight
        return weight / np.linalg.svd(weight.reshape(len(weight), -1), compute_uv=False)[0]

    def bias(self, name: str) -> Array:
        return self.state[f"{name}.bias"][:, None, None]

    def conv(self, x: Array, name: str, *, stride: int, before: int, after: int) -> Array:
        """Shifted products over a frame of zeros."""
        kernel = self.kernel(name)
        padded = np.pad(x, ((0, 0), (before, after), (before, after)))
        height, width = ((side + before + after - 4) // stride + 1 for side in x.shape[1:])
        y = np.zeros((len(kernel), height, width))
        for row, column in itertools.product(range(4), repeat=2):
            window = padded[
                :, row : row + stride * height : stride, column : column + stride * width : stride
            ]
            y += np.einsum("oc,chw->ohw", kernel[:, :, row, column], window)
        return y + self.bias(name)

    def deconv(self, x: Array, name: str) -> Array:
        """Each pixel is spread by the kernel, two apart, and a frame of one is cut off."""
        kernel, (height, width) = self.kernel(name, transposed=True), x.shape[1:]
        y = np.zeros((len(kernel), 2 * height + 2, 2 * width + 2))
        for row, column in itertools.product(range(4), repeat=2):
            y[:, row : row + 2 * height : 2, column : column + 2 * width : 2] += np.einsum(
                "oc,chw->ohw", kernel[:, :, row, column], x
            )
        return y[:, 1:-1, 1:-1] + self.bias(name)

    def norm(self, x: Array, name: str) -> Array:
        mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
        gain = self.state[f"{name}.weight"][:, None, None]
        return (x - mean) / np.sqrt(variance + 1e-5) * gain + self.bias(name)

    def channel_attention(self, x: Array, name: str) -> Array:
        w1, w2 = (self.kernel(f"{name}.weigh.{layer}")[:, :, 0, 0] for layer in (0, 2))
        b1, b2 = (self.state[f"{name}.weigh.{layer}.bias"] for layer in (0, 2))
        assert w1.shape == (max(1, len(x) // 8), len(x))
        outer = w2 @ np.maximum(w1 @ x.mean((1, 2)) + b1, 0) + b2
        return x / (1 + np.exp(-outer[:, None, None]))

    def self_attention(self, x: Array, name: str) -> Array:
        features = x.reshape(len(x), -1)
        f, g, h = (
            self.kernel(f"{name}.{part}")[:, :, 0, 0] @ features + self.state[f"{name}.{part}.bias"][:, None]
            for part in "fgh"
        )
        logits = g.T @ f  # a row for each place that looks, a column for each it looks at
        weights = np.exp(logits - logits.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        found = self.kernel(f"{name}.v")[:, :, 0, 0] @ (h @ weights.T) + self.state[f"{name}.v.bias"][:, None]
        return x + self.state[f"{name}.gamma"] * found.reshape(x.shape)

    def residual(self, x: Array, name: str) -> Array:
        y = x
        for conv, attention in ((1, 2), (4, 5)):
            y = self.conv(y, f"{name}.layers.{conv}", stride=1, before=1, after=2)
            y = self.channel_attention(y, f"{name}.layers.{attention}")
        return x + y

    def rescale(self, x: Array, name: str, *, up: bool) -> Array:
        y = (
            self.deconv(x, f"{name}.conv")
            if up
            else self.conv(x, f"{name}.conv", stride=2, before=1, after=1)
        )
        return self.norm(y, f"{name}.norm")

    def nested(self, x: Array, name: str, *, up: bool) -> Array:
        deep = self.residual(self.residual(x, f"{name}.deep.0"), f"{name}.deep.1")
        ways = (self.rescale(deep, f"{name}.deep.2", up=up), self.rescale(x, f"{name}.short", up=up))
        return np.maximum(ways[0], 0) + np.maximum(ways[1], 0)

    def restore(self, blurry: Array) -> Array:
        """With three sizes."""
        e1 = np.maximum(self.rescale(blurry, "first", up=False), 0)
        e2 = self.nested(e1, "encoder.0", up=False)
        e3 = self.nested(e2, "encoder.1", up=False)
        d3 = self.nested(self.self_attention(e3, "attention"), "decoder.0", up=True)
        d2 = self.nested(np.concatenate([d3, e2]), "decoder.1", up=True)
        last = self.rescale(np.concatenate([d2, e1]), "last", up=True)
        return (np.tanh(last) + blurry) / 2


def settled(network: RiR) -> RiR:
    """Kernels whose largest singular value is twice as large as ever, found by power iterations; nothing stays zero or one."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for conv in convolutions(network):
            kernel = outputs_first(conv)
            u, values, v = torch.linalg.svd(kernel.flatten(1), full_matrices=False)
            values[0] *= 2
            conv.weight = outputs_first(conv, ((u * values) @ v).view_as(kernel))
            for _ in range(40):
                _ = conv.weight
        for item in network.parameters():
            if item.ndim < 2:
                item.add_(0.3 * torch.randn(item.shape, generator=generator, dtype=item.dtype))
    return network.eval()


def convolutions(network: nn.Module) -> list[nn.Conv2d | nn.ConvTranspose2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]


def outputs_first(conv: nn.Module, kernel: Tensor | None = None) -> Tensor:
    """Swaps the channels of a transposed convolution's kernel."""
    kernel = conv.weight.detach() if kernel is None else kernel
    return kernel.transpose(0, 1) if isinstance(conv, nn.ConvTranspose2d) else kernel


def small(**options) -> RiR:
    torch.manual_seed(0)
    return RiR(**{"levels": 2, "width": 8, **options}).double()


def noise(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.rand(1, 3, height, width, generator=generator, dtype=torch.float64) - 1


def test_the_network_is_the_reports() -> None:
    network = settled(small(levels=3))
    blurry = noise(16, 24)
    with torch.no_grad():
        assert network.attention.gamma.abs() > 0.05
        restored = network(blurry)[0].numpy()
    # the tanh is taken in float32
    np.testing.assert_allclose(restored, Restated(network).restore(blurry[0].numpy()), rtol=0, atol=1e-5)


def test_kernels_of_four_see_one_pixel_before_and_two_after() -> None:
    block = Residual(1).double()
    first, second = (layer for layer in block.layers if isinstance(layer, nn.Conv2d))
    with torch.no_grad():
        for item in block.parameters():
            item.zero_()
        for layer in block.modules():
            if isinstance(layer, nn.Sequential) and layer is not block.layers:
                layer[2].bias.fill_(50)  # the sigmoid is one
        first.weight.fill_(1)
        second.weight[0, 0, 1, 1] = 1
        impulse = torch.zeros(1, 1, 12, 12, dtype=torch.float64)
        impulse[..., 5, 7] = 1
        spread = (block(impulse) - impulse)[0, 0]
    # an output sees from one above to two below, so an input is seen from two above to one below
    expected = torch.zeros(12, 12, dtype=torch.float64)
    expected[3:7, 5:9] = 1
    torch.testing.assert_close(spread, expected)


def test_every_kernel_is_divided_by_its_largest_singular_value() -> None:
    """Of the matrix of output channels by all else, and of attention's 1x1 kernels too."""
    network = settled(small())
    convs = convolutions(network)
    assert len(convs) == 2 + 2 * (2 * 2 * (1 + 2) + 2) + 4
    for conv in convs:
        largest = torch.linalg.matrix_norm(outputs_first(conv).flatten(1), 2)
        assert float(largest) == pytest.approx(1, abs=1e-9)


def test_without_spectral_norms_kernels_are_as_they_start() -> None:
    network = small(spectral_norm=False, width=24)
    assert num_parameters(network) == num_parameters(small(width=24))
    kernel = network.encoder[0].short.conv.weight.detach()
    assert not any(is_parametrized(module) for module in network.modules())
    assert float(kernel.std()) == pytest.approx(0.02, rel=0.05)
    assert float(network.first.norm.weight.detach().std()) == pytest.approx(0.02, rel=0.6)
    assert not network.first.norm.bias.any()


def test_spectral_norms_are_folded_for_inference() -> None:
    network = settled(small().float())
    blurry = noise(24, 16).float()
    form = network.for_inference(torch.float32)
    assert not any(is_parametrized(module) for module in form.modules())
    with torch.no_grad():
        torch.testing.assert_close(form(blurry), network(blurry), rtol=0, atol=1e-5)


def test_what_is_returned_of_the_layers_result_and_the_picture() -> None:
    blurry = noise(8, 16)
    with torch.no_grad():
        alone, average, added = (
            small(residual=residual).eval()(blurry) for residual in ("none", "average", "sum")
        )
    assert alone.abs().max() < 1
    torch.testing.assert_close(average, ((alone + blurry.float()) / 2))
    torch.testing.assert_close(added, alone + blurry.float())


def test_the_last_norm_gives_every_picture_the_same_mean_of_each_colour() -> None:
    """As the report's code has it; so the average with the picture halves what sets it apart from others."""
    network = settled(small())
    with torch.no_grad():
        for brightness in (0.1, 0.9):
            last: list[Tensor] = []
            hook = network.last.register_forward_hook(lambda *seen, last=last: last.append(seen[2]))
            network(noise(16, 16) * 0.1 + brightness)
            hook.remove()
            torch.testing.assert_close(last[0].mean((0, 2, 3)), network.last.norm.bias)


@pytest.mark.parametrize("spectral_norm", [True, False])
def test_training_starts_near_the_picture(spectral_norm: bool) -> None:
    """One with the colours of photographs; the last norm gives others their mean."""
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    blurry = nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear")
    deviation, mean = torch.std_mean(blurry, dim=(2, 3), keepdim=True)
    blurry = (blurry - mean) / deviation * 0.5 - 0.06
    networks = {}
    for residual in ("none", "average", "sum"):
        networks[residual] = small(residual=residual, width=24, spectral_norm=spectral_norm).float()
        before = networks[residual].eval()(blurry)
        networks[residual].train()
        start_near_identity(networks[residual])
        with torch.no_grad():
            after = networks[residual].eval()(blurry)
        error, at_random = ((output - blurry).square().mean().sqrt() for output in (after, before))
        assert error < {"none": 0.15, "average": 0.08, "sum": 1e-6}[residual] < at_random / 3


def test_a_narrow_network_starts_at_random() -> None:
    network = small(width=8)
    before = [item.clone() for item in network.state_dict().values()]
    start_near_identity(network)
    assert all(torch.equal(a, b) for a, b in zip(before, network.state_dict().values(), strict=True))


def test_a_width_that_self_attention_cannot_divide_is_refused() -> None:
    with pytest.raises(DeclarationError, match="at least 4"):
        RIR.build({"width": 3})
    RIR.build({"width": 4, "levels": 2})


def test_the_reports_test_pictures_fit_and_the_reconstruction_is_called_one() -> None:
    assert (RIR.geometry_for({}).multiple_of, RIR_LARGE.geometry_for({}).multiple_of) == (16, 32)
    assert 720 % 16 == 768 % 32 == 1280 % 32 == 0
    assert "reconstruction" in RIR.summary
    assert "reconstruction" not in RIR_LARGE.summary


# The critic.


def test_the_critic_is_the_reports() -> None:
    with torch.device("meta"):
        critic = SpectralPatchCritic()
        kmacs: list[float] = []
        for module in critic.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(
                    lambda conv, _, y: kmacs.append(conv.weight.numel() * prod(y.shape[2:]) / 256**2 / 1000)
                )
        assert critic(*torch.zeros(2, 1, 3, 256, 256)).shape == (1, 1, 30, 30)
    assert num_parameters(critic) == 2_766_145
    assert sum(kmacs) == pytest.approx(50.8, abs=0.05)


def test_each_layer_of_the_critic_but_the_last_has_a_norm_of_the_batch_and_a_leaky_relu() -> None:
    critic = SpectralPatchCritic(width=4)
    torch.manual_seed(0)
    layers = [type(layer).__name__.removeprefix("Parametrized") for layer in critic.layers]
    block = ["Conv2d", "BatchNorm2d", "LeakyReLU"]
    assert layers == [*block * 3, "ZeroPad2d", *block, "Conv2d"]
    assert all(is_parametrized(layer) for layer in critic.layers if isinstance(layer, nn.Conv2d))
    assert {layer.negative_slope for layer in critic.layers if isinstance(layer, nn.LeakyReLU)} == {0.2}
    pictures = torch.rand(2, 1, 3, 64, 64)
    with torch.no_grad():
        small_one, large_one = critic.eval()(*pictures), critic(*(100 * pictures))
    torch.testing.assert_close(
        small_one, large_one, rtol=1e-3, atol=1e-3
    )  # it takes the statistics of what it sees


def test_the_critic_sees_patches_of_62_pixels_of_both_pictures() -> None:
    """By the gradient of one logit in the middle, with normalisation off, which would see everything."""
    critic = SpectralPatchCritic(width=2).double().eval()
    for index, layer in enumerate(critic.layers):
        if isinstance(layer, nn.BatchNorm2d):
            critic.layers[index] = nn.Identity()
    for parameter in critic.parameters():
        nn.init.constant_(parameter, 0.1)
    pictures = torch.rand(2, 1, 3, 256, 256, dtype=torch.float64, requires_grad=True)
    critic(pictures[0], pictures[1])[0, 0, 15, 15].backward()
    assert pictures.grad is not None
    for gradient in pictures.grad:
        for axis in (2, 3):
            seen = gradient.abs().sum(dim=(0, 1, axis)).nonzero()
            assert int(seen.max() - seen.min()) + 1 == 62
