"""The critics that come with the core: structure, size and arithmetic as the reports' tables have them."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deblur_cli.networks import InferenceForm, bound_kernels
from deblur_cli.networks.critics import ConditionalPatchCritic, LayerNormPatchCritic

rng = np.random.default_rng(5)


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def kmacs_per_pixel(network: nn.Module, *pictures: Tensor) -> float:
    """Multiply-accumulates of the convolutions in a forward pass, in thousands a pixel of the picture."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        total += output[0].numel() * module.in_channels * module.kernel_size[0] * module.kernel_size[1]

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(*pictures)
    height, width = pictures[0].shape[-2:]
    return total / (height * width) / 1000


def test_the_critics_have_the_reports_numbers_of_parameters() -> None:
    assert num_parameters(LayerNormPatchCritic()) == 2_766_657
    assert num_parameters(ConditionalPatchCritic()) == 2_769_601


def test_the_critics_have_the_reports_cost() -> None:
    assert kmacs_per_pixel(LayerNormPatchCritic(), torch.rand(1, 3, 32, 32)) == pytest.approx(50.0, abs=0.05)
    pictures = torch.rand(2, 1, 3, 256, 256)
    assert kmacs_per_pixel(ConditionalPatchCritic(), *pictures) == pytest.approx(48.8, abs=0.05)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 48), (8, 8)])
def test_the_layer_norm_critic_scores_each_eighth(height: int, width: int) -> None:
    scores = LayerNormPatchCritic(width=4)(torch.rand(2, 3, height, width))
    assert scores.shape == (2, 1, height // 8, width // 8)


@pytest.mark.parametrize(("side", "scores"), [(256, 30), (128, 14), (32, 2)])
def test_the_conditional_critic_judges_overlapping_patches(side: int, scores: int) -> None:
    pictures = torch.rand(2, 1, 3, side, side)
    assert ConditionalPatchCritic(width=4)(*pictures).shape == (1, 1, scores, scores)


def test_the_conditional_critic_sees_patches_of_70_pixels() -> None:
    """By the gradient of one logit in the middle, with normalisation off, which would see everything."""
    critic = ConditionalPatchCritic(width=2).double()
    for index, layer in enumerate(critic.layers):
        if isinstance(layer, nn.BatchNorm2d):
            critic.layers[index] = nn.Identity()
    for parameter in critic.parameters():
        nn.init.constant_(parameter, 0.1)
    pictures = torch.rand(2, 1, 3, 256, 256, dtype=torch.float64, requires_grad=True)
    critic(*pictures)[0, 0, 15, 15].backward()
    assert pictures.grad is not None
    rows, columns = (pictures.grad.abs().sum(dim=(0, 1, 2, axis)).nonzero().flatten() for axis in (4, 3))
    for found in (rows, columns):
        assert int(found.max() - found.min()) + 1 == 70


def layers_of(network: nn.Module) -> list[nn.Module]:
    """What does the work, in order."""
    return [module for module in network.modules() if not list(module.children()) and module is not network]


def test_the_layers_of_the_layer_norm_critic_are_the_tables() -> None:
    layers = iter(layers_of(LayerNormPatchCritic()))
    for number, (before, after) in enumerate([(3, 64), (64, 128), (128, 256), (256, 512)]):
        if number == 3:
            pad = next(layers)
            assert isinstance(pad, nn.ZeroPad2d)
            assert tuple(pad.padding) == (1, 2, 1, 2)
        _is_conv(next(layers), before, after, stride=1 if number == 3 else 2, padding=0 if number == 3 else 1)
        norm, bend = next(layers), next(layers)
        assert isinstance(norm, nn.LayerNorm)
        assert (norm.normalized_shape, norm.eps, norm.elementwise_affine) == ((after,), 1e-3, True)
        assert isinstance(bend, nn.LeakyReLU)
        assert bend.negative_slope == 0.3
    assert isinstance(next(layers), nn.ZeroPad2d)
    _is_conv(next(layers), 512, 1, stride=1, padding=0)
    assert next(layers, None) is None


def test_the_layers_of_the_conditional_critic_are_the_tables() -> None:
    layers = iter(layers_of(ConditionalPatchCritic()))
    for number, (before, after) in enumerate([(6, 64), (64, 128), (128, 256), (256, 512)]):
        _is_conv(next(layers), before, after, stride=1 if number == 3 else 2, padding=1)
        if number:
            norm = next(layers)
            assert isinstance(norm, nn.BatchNorm2d)
            assert (norm.num_features, norm.eps, norm.affine) == (after, 1e-5, True)
            assert norm.running_mean is None  # statistics of the batch, in evaluation too
        bend = next(layers)
        assert isinstance(bend, nn.LeakyReLU)
        assert bend.negative_slope == 0.2
    _is_conv(next(layers), 512, 1, stride=1, padding=1)
    assert next(layers, None) is None


def _is_conv(layer: nn.Module, before: int, after: int, *, stride: int, padding: int) -> None:
    assert isinstance(layer, nn.Conv2d)
    assert (layer.in_channels, layer.out_channels) == (before, after)
    assert (layer.kernel_size, layer.stride) == ((4, 4), (stride, stride))
    assert layer.padding == (padding, padding)
    assert layer.bias is not None


def same_padded(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, *, stride: int) -> np.ndarray:
    """A 4x4 convolution with TensorFlow's "same" padding, written out: (C, H, W) -> (D, H / stride, W / stride)."""
    sizes = [-(-side // stride) for side in x.shape[1:]]
    totals = [max((size - 1) * stride + 4 - side, 0) for size, side in zip(sizes, x.shape[1:], strict=True)]
    padded = np.pad(x, [(0, 0)] + [(total // 2, total - total // 2) for total in totals])
    out = np.empty((len(kernel), *sizes))
    for row, column in np.ndindex(*sizes):
        piece = padded[:, row * stride : row * stride + 4, column * stride : column * stride + 4]
        out[:, row, column] = np.tensordot(kernel, piece, axes=3) + bias
    return out


def test_the_layer_norm_critic_equals_its_formula_in_numpy() -> None:
    """TensorFlow's padding, then over the channels at each position (x - mean) / sqrt(var + 1e-3) * gamma + beta."""
    critic = LayerNormPatchCritic(width=2).double()
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.copy_(torch.from_numpy(rng.normal(0, 0.5, parameter.shape)))
    convolutions = [module for module in critic.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in critic.modules() if isinstance(module, nn.LayerNorm)]
    picture = rng.random((3, 32, 24))

    x = picture
    for number, conv in enumerate(convolutions):
        assert conv.bias is not None
        x = same_padded(
            x, conv.weight.detach().numpy(), conv.bias.detach().numpy(), stride=2 if number < 3 else 1
        )
        if number < 4:
            gamma, beta = (
                p.detach().numpy()[:, None, None] for p in (norms[number].weight, norms[number].bias)
            )
            mean, var = x.mean(axis=0), x.var(axis=0)
            x = (x - mean) / np.sqrt(var + 1e-3) * gamma + beta
            x = np.where(x > 0, x, 0.3 * x)
    with torch.no_grad():
        found = critic(torch.from_numpy(picture)[None])[0].numpy()
    assert found.shape == (1, 4, 3)
    np.testing.assert_allclose(found, x, rtol=0, atol=1e-12)


def test_no_picture_of_a_batch_changes_the_layer_norm_critics_score_of_another() -> None:
    pictures = torch.rand(3, 3, 32, 32, dtype=torch.float64)
    critic = LayerNormPatchCritic(width=4).double()
    with torch.no_grad():
        alone = torch.cat([critic(picture[None]) for picture in pictures])
        torch.testing.assert_close(critic(pictures), alone, rtol=0, atol=1e-12)


def test_the_conditional_critic_takes_batch_statistics_in_evaluation_too() -> None:
    critic = ConditionalPatchCritic(width=4)
    pictures = torch.rand(2, 2, 3, 32, 32)
    with torch.no_grad():
        trained = critic.train()(*pictures)
        assert torch.equal(critic.eval()(*pictures), trained)
    assert not list(critic.buffers())


@pytest.mark.parametrize("width", [4, 64])
def test_the_critics_start_as_their_reports_do(width: int) -> None:
    torch.manual_seed(0)
    for conv in filter(lambda m: isinstance(m, nn.Conv2d), LayerNormPatchCritic(width=width).modules()):
        bound = np.sqrt(6 / (16 * (conv.in_channels + conv.out_channels)))  # glorot uniform
        assert conv.weight.abs().max() <= bound
        assert conv.weight.detach().std() == pytest.approx(bound / np.sqrt(3), rel=0.15)
        assert not conv.bias.any()
    critic = ConditionalPatchCritic(width=width)
    for conv in filter(lambda m: isinstance(m, nn.Conv2d), critic.modules()):
        assert conv.weight.detach().std() == pytest.approx(0.02, rel=0.15)
        assert not conv.bias.any()
    gammas = torch.cat([m.weight.detach() for m in critic.modules() if isinstance(m, nn.BatchNorm2d)])
    assert float((gammas - 1).abs().max()) < 0.1
    assert gammas.std() == pytest.approx(0.02, rel=0.3)


def test_a_critic_gives_gradients_of_gradients() -> None:
    """As a gradient penalty needs: to all but the shifts that only move kinks of the leaky ReLU, and the last bias."""
    critic = LayerNormPatchCritic(width=4).double()
    picture = torch.rand(2, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(critic(picture).sum(), picture, create_graph=True)
    gradient.square().sum().backward()
    convolutions = [module for module in critic.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in critic.modules() if isinstance(module, nn.LayerNorm)]
    reached = [conv.weight for conv in convolutions] + [norm.weight for norm in norms]
    reached += [conv.bias for conv in convolutions[:-1]]
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in reached)


# Spectral norms


def matrix_of(layer: nn.Module) -> np.ndarray:
    """The kernel that it computes with, outputs by all else: (6, 4 * 3 * 3)."""
    kernel = layer.weight.detach().numpy()
    return (kernel.swapaxes(0, 1) if isinstance(layer, nn.ConvTranspose2d) else kernel).reshape(6, -1)


def give(layer: nn.Module, matrix: np.ndarray) -> None:
    """Make a matrix its kernel, as an optimiser would, before it is divided by anything."""
    kernel = matrix.reshape(6, 4, 3, 3)
    if isinstance(layer, nn.ConvTranspose2d):
        kernel = kernel.swapaxes(0, 1)
    with torch.no_grad():
        layer.weight = torch.from_numpy(kernel.copy())


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_a_kernel_is_divided_by_an_estimate_of_its_largest_singular_value(kind: type[nn.Module]) -> None:
    """One power iteration each time it is used in training. In between, and in the form that restores, the last vectors
    count, so that a kernel that has moved since is larger than 1.
    """
    layer = kind(4, 6, 3).double()
    network = nn.Sequential(layer)
    bound_kernels(network)
    left, right = (rng.normal(size=size) for size in (6, 36))
    left, right = left / np.linalg.norm(left), right / np.linalg.norm(right)
    give(layer.train(), np.outer(left, right))
    np.testing.assert_allclose(
        matrix_of(layer), np.outer(left, right), atol=1e-12
    )  # whose vectors it now has

    moved = 3 * np.outer(left, right) + 0.4 * rng.normal(size=(6, 36))
    give(layer.eval(), moved)
    for _ in range(2):
        np.testing.assert_allclose(matrix_of(layer), moved / (left @ moved @ right), rtol=1e-9)
    assert np.linalg.svd(matrix_of(layer), compute_uv=False)[0] > 1.05
    folded = InferenceForm(network.train(), torch.float64).network[0]
    np.testing.assert_allclose(matrix_of(folded), moved / (left @ moved @ right), rtol=1e-9)

    u, v = left, right
    for _ in range(4):
        u = moved @ v / np.linalg.norm(moved @ v)
        v = moved.T @ u / np.linalg.norm(moved.T @ u)
        np.testing.assert_allclose(matrix_of(layer), moved / (u @ moved @ v), rtol=1e-9)
    for _ in range(100):
        _ = layer.weight
    folded = InferenceForm(network, torch.float64).network[0]
    for used in (layer.eval(), folded):
        assert np.linalg.svd(matrix_of(used), compute_uv=False)[0] == pytest.approx(1, abs=1e-9)
        np.testing.assert_allclose(
            matrix_of(used), moved / np.linalg.svd(moved, compute_uv=False)[0], rtol=1e-9
        )
