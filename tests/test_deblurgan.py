"""DeblurGAN and its variants are built as their reports say; their critics too."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deblur_cli import WassersteinGP
from deblur_cli.host.declarations import import_object
from deblur_cli.host.manager import Host
from deblur_deblurgan.critic import DeepCritic, StridedCritic
from deblur_deblurgan.network import Edges, Generator, ReflectionPad, start_at_identity

MODELS = {
    model.name: model for model in Host.discover(environ={}).models.values() if "deblurgan" in model.name
}


def noise(*shape: int) -> Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(0)) - 1


def restored(x: Tensor, **options: Any) -> Tensor:
    torch.manual_seed(0)
    with torch.no_grad():
        y: Tensor = Generator(width=4, blocks=1, **options).eval()(x)
    return y


def test_parts_have_the_reports_parameters() -> None:
    with torch.device("meta"):
        network = Generator(iterations=4)
    parts = {
        "encoder": 378_496, "block": 1_180_160, "decoder": 378_243, "memory": 4_719_616,
    }  # fmt: skip

    def count(*modules: nn.Module) -> int:
        return sum(item.numel() for module in modules for item in module.parameters())

    assert network.memory is not None
    assert {
        "encoder": count(network.encoder), "block": count(network.blocks[0]),
        "decoder": count(network.decoder, network.last), "memory": count(network.memory),
    } == parts  # fmt: skip
    assert len(network.blocks) == 9


@pytest.mark.parametrize(
    ("critic", "options", "parameters", "shape"),
    [
        (StridedCritic, {}, 2_758_336, (2, 512, 34, 34)),
        (StridedCritic, {"final_conv": True}, 2_766_529, (2, 1, 35, 35)),
        (DeepCritic, {}, 6_959_553, (2, 1, 16, 16)),
    ],
)
def test_critics_have_the_reports_parameters_and_scores(
    critic: type[nn.Module], options: Mapping[str, Any], parameters: int, shape: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        network = critic(**options)
        assert network(torch.zeros(2, 3, 256, 256)).shape == shape
    assert sum(item.numel() for item in network.parameters()) == parameters


def test_a_critic_with_instance_norms_judges_each_picture_alone() -> None:
    torch.manual_seed(0)
    x = noise(2, 3, 32, 32)
    with torch.no_grad():
        for alone, network in ((True, StridedCritic(width=4, norm="instance")), (False, StridedCritic(width=4)), (True, DeepCritic(width=4))):  # fmt: skip
            assert torch.allclose(network(x)[:1], network(x[:1]), atol=1e-5) == alone


def test_the_skip_is_an_average_a_sum_or_a_clipped_sum() -> None:
    x = noise(1, 3, 16, 20)
    total = restored(x, output="sum")
    tanh = total - x
    assert tanh.abs().max() <= 1
    assert total.abs().max() > 1
    torch.testing.assert_close(restored(x, output="average"), (tanh + x) / 2)
    torch.testing.assert_close(restored(x, output="clip"), total.clamp(-1, 1))


@pytest.mark.parametrize("output", ["sum", "clip"])
def test_the_start_is_the_identity_where_the_skip_is_a_sum(output: str) -> None:
    network = Generator(width=4, blocks=1, output=output).eval()
    start_at_identity(network)
    x = noise(1, 3, 16, 20)
    with torch.no_grad():
        assert torch.equal(network(x), x)


@pytest.mark.parametrize(
    ("name", "share"),
    [("deblurgan", 0.5), ("verysimple_deblurgan", 1), ("deblurgan_edge", 1), ("deblurgan_feedback", 1)],
)
def test_the_fast_recipe_starts_at_the_blurred_picture_unless_the_report_averages(
    name: str, share: float
) -> None:
    """There at half its contrast: what is added to it is nothing at first."""
    model = MODELS[name]
    network = model.build(model.tiny).eval()
    start = model.recipes["fast"].start
    assert start is not None
    import_object(start)(network)
    x = noise(1, 3, 16, 20)
    with torch.no_grad():
        assert torch.equal(network(x), share * x)


@pytest.mark.parametrize(
    ("size", "mode"), [((5, 7), "reflect"), ((4, 4), "reflect"), ((3, 9), "edge"), ((1, 1), "edge")]
)
def test_borders_are_mirrored_where_there_is_enough_to_mirror(size: tuple[int, int], mode: Any) -> None:
    x = noise(1, 2, *size)
    expected = np.pad(x.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode=mode)
    np.testing.assert_array_equal(ReflectionPad(3)(x).numpy(), expected)


def test_edges_are_those_of_the_grey_picture() -> None:
    """A bright disc: its rim within two pixels, and nothing else, whatever the colour."""
    rows, columns = np.indices((48, 64))
    distance = np.hypot(rows - 24, columns - 30)
    picture = np.where(distance < 15, 200, 20).astype(np.uint8)
    colours = np.stack([picture, picture // 2, picture], axis=0)
    found = Edges()(torch.from_numpy(colours[None].astype(np.float32) / 127.5 - 1)).numpy()[0, 0]
    assert set(np.unique(found)) == {-1.0, 1.0}
    assert np.abs(distance[found > 0] - 15).max() < 2
    angles = np.arctan2(rows - 24, columns - 30)[found > 0]
    assert np.histogram(angles, bins=16, range=(-np.pi, np.pi))[0].min() > 0
    grey = cv2.cvtColor(np.ascontiguousarray(colours.transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)
    np.testing.assert_array_equal(found > 0, cv2.Canny(grey, 100, 200) > 0)


def test_edges_are_seen_by_the_first_layer_alone_and_take_no_gradient() -> None:
    network = Generator(width=4, blocks=1, edge=True, output="clip")
    x = noise(1, 3, 16, 16).requires_grad_(True)
    network(x).square().mean().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert network.encoder[1][0].in_channels == 4
    with torch.no_grad():
        network.encoder[1][0].weight[:, 3] = 0
        before = network.eval()(x.detach())
        network.encoder[1][0].weight[:, 3] = 1
        assert not torch.equal(network(x.detach()), before)


def test_feedback_passes_the_same_features_and_hands_the_state_on() -> None:
    """Against the cell of S4 written out: its gates from one convolution of input and state, forget gates of f + 1."""
    torch.manual_seed(0)
    network = Generator(width=2, blocks=1, iterations=4, output="clip").eval()
    seen: list[Tensor] = []
    hook = network.blocks.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = noise(1, 3, 16, 16)
    with torch.no_grad():
        network(x)
        features = network.encoder(x)
        cell = network.memory
        assert cell is not None
        kernel = torch.cat([cell.input.weight, cell.recurrent.weight], dim=1)
        h = c = torch.zeros_like(features)
        for _ in range(4):
            gates = torch.conv2d(torch.cat([features, h], dim=1), kernel, cell.input.bias, padding=1)
            i, f_plus_1, j, o = gates.chunk(4, dim=1)  # the 1 is in the bias
            c = c * torch.sigmoid(f_plus_1) + torch.sigmoid(i) * torch.tanh(j)
            h = torch.tanh(c) * torch.sigmoid(o)
    hook.remove()
    torch.testing.assert_close(seen[0], h, atol=1e-5, rtol=1e-4)


def test_dropout_is_for_the_networks_own_update_alone() -> None:
    options = MODELS["deblurgan"].options
    assert options["dropout"].default == 0.5
    assert {name: model.options["dropout"].default for name, model in MODELS.items() if name != "deblurgan"} == {
        "verysimple_deblurgan": 0, "deblurgan_edge": 0, "deblurgan_feedback": 0,
    }  # fmt: skip
    for name, recipe in MODELS["deblurgan"].recipes.items():
        assert isinstance(recipe.strategy, WassersteinGP)
        assert recipe.strategy.dropout_for_critic == (name == "original")


@pytest.mark.parametrize("name", MODELS)
def test_every_recipe_names_a_critic_that_judges_its_crops(name: str) -> None:
    for recipe in MODELS[name].recipes.values():
        assert isinstance(recipe.strategy, WassersteinGP)
        with torch.device("meta"):
            critic = import_object(recipe.strategy.critic)(**recipe.strategy.critic_options)
            assert critic(torch.zeros(2, 3, recipe.patch, recipe.patch)).shape[0] == 2


def test_a_reconstruction_is_called_one() -> None:
    named = {name for name, model in MODELS.items() if "reconstruction" in model.summary}
    assert named == {"verysimple_deblurgan", "deblurgan_feedback"}
