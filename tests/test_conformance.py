"""The conformance kit over every registered model, and the kit itself over networks whose figures are known."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import deblur_rednet
from deblur_cli import (
    ConditionalGAN,
    Facts,
    Geometry,
    Model,
    Option,
    Recipe,
    Strategy,
    Term,
    WassersteinGP,
    testing,
)
from deblur_cli.errors import MissingError
from deblur_cli.host.manager import Host
from deblur_cli.testing.declaration import kmacs_per_pixel
from deblur_cli.testing.structure import _structural

HOST = Host.discover(environ={})
REDNET30 = deblur_rednet.MODELS[0]


@pytest.mark.parametrize("check", testing.CHECKS, ids=testing.name_of)
@pytest.mark.parametrize("model", HOST.models.values(), ids=testing.name_of)
def test_every_registered_model_keeps_the_contract(model: Model, check: testing.Check) -> None:
    check(model)


@pytest.mark.parametrize("plugin", HOST.plugins, ids=lambda plugin: plugin.name)
def test_every_plugin_of_ours_is_light_and_its_paths_lead_somewhere(plugin) -> None:
    assert list(testing.plugin_findings(plugin, ())) == []


def test_rednet30_has_the_figures_of_the_report() -> None:
    assert sum(item.numel() for item in REDNET30.build().parameters()) == 1_076_739
    assert kmacs_per_pixel(REDNET30) == pytest.approx(1071.0, abs=0.05)
    assert REDNET30.geometry_for({}).halo == 30


@pytest.mark.parametrize(("depth", "reach"), [(2, 4), (5, 10), (15, 30)])
def test_rednet_reaches_two_pixels_for_each_level(depth: int, reach: int) -> None:
    assert testing.half_extent(REDNET30, {"depth": depth, "width": 4}) == reach


def test_a_tile_of_rednet30_needs_30_pixels_around_it_and_29_are_too_few() -> None:
    """Without the kit: structural weights, activations and norms replaced in the network itself, float64, linear."""
    network = _linear_rednet()
    generator = torch.Generator().manual_seed(0)
    whole = torch.rand(1, 3, 69, 69, dtype=torch.float64, generator=generator)
    whole[0, :, 4, 34] = 1e30  # 30 px above the middle, and so strong that rounding cannot hide it
    with torch.no_grad():
        expected = network(whole)[0, :, 34, 34]
        at_30 = network(whole[..., 4:65, 4:65])[0, :, 30, 30]
        at_29 = network(whole[..., 5:64, 5:64])[0, :, 29, 29]
    torch.testing.assert_close(at_30, expected, rtol=1e-6, atol=0)  # it returns float32
    assert ((expected - at_29).abs() > 1e-3 * expected.abs()).all()


def _linear_rednet() -> nn.Module:
    network = REDNET30.build({"width": 2}).eval().double()
    for block in (*network.encoder, *network.decoder):
        block.norm = nn.Identity()
    for name, item in network.named_parameters():
        item.data.fill_(0.0 if name.endswith("bias") else item.shape[0] / item.numel())
    return network  # inputs and kernels are positive, so each ELU is the identity


class Known(nn.Module):
    """Kernels of 3 and 5, a dilated one, and a pooling and an up-sampling: extent and cost are known by hand."""

    def __init__(self, *, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.dilated = nn.Conv2d(4, 4, 3, padding=4, dilation=4)
        self.down = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1)
        self.last = nn.Conv2d(4, 3, 5, padding=2)

    def forward(self, x):
        y = torch.tanh(self.first(x))
        if self.kind == "dilated":
            y = self.dilated(y)
        if self.kind == "pooled":
            y = nn.functional.interpolate(nn.functional.max_pool2d(y, 2), scale_factor=2)
        if self.kind == "strided":
            y = self.up(nn.functional.relu(self.down(y)))
        return self.last(y)


def _known(kind: str, *, halo: int, multiple_of: int = 1) -> Model:
    return Model(
        name="known", summary="a test", source="this test", network=f"{__name__}:Known", licence="MIT",
        geometry=Geometry(halo=halo, multiple_of=multiple_of), facts=Facts(parameters=1, kmacs_per_pixel=1),
        options={"kind": Option(type=str, default=kind, help="")},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "halo", "multiple_of"),
    [
        ("plain", 3, 1),  # 1 + 2
        ("dilated", 7, 1),  # 1 + 4 + 2
        ("pooled", 4, 2),  # 1 + 2, and 1 for the other pixel of the window
        ("strided", 6, 2),
    ],
)
def test_the_half_extent_of_known_networks_is_found(kind: str, halo: int, multiple_of: int) -> None:
    assert testing.half_extent(_known(kind, halo=halo, multiple_of=multiple_of)) == halo
    assert _reach_by_impulse(kind, multiple_of) == halo


def _reach_by_impulse(kind: str, multiple_of: int) -> int:
    """The other way round: which outputs does one input pixel change, tried at each phase with structural kernels."""
    network = _structural(Known(kind=kind)).eval()
    reach = 0
    for row in range(32, 32 + multiple_of):
        x = torch.zeros(1, 3, 64, 64, dtype=torch.float64)
        with torch.no_grad():
            still = network(x)
            x[0, :, row, row] = 1e-3  # small, so that tanh and relu stay out of the way
            changed = (network(x) - still).abs().sum(1)[0].nonzero().numpy()
        reach = max(reach, int(np.abs(changed - row).max()))
    return reach


def test_a_wide_reach_is_measured_on_a_strip() -> None:
    model = Model(
        name="wide", summary="a test", source="this test", network=f"{__name__}:Wide", licence="MIT",
        geometry=Geometry(halo=128), facts=Facts(parameters=1, kmacs_per_pixel=1),
    )  # fmt: skip
    assert testing.half_extent(model) == 128
    testing.any_tile_with_its_halo_gives_the_same_pixels(model)


class Wide(nn.Module):
    """Two kernels of 3 that are dilated by 64."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Conv2d(3, 3, 3, padding=64, dilation=64) for _ in range(2))

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


class Uneven(nn.Module):
    """Reaches furthest at few of its outputs, or along one axis only; by hand."""

    def __init__(self, *, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.near = nn.Conv2d(3, 3, 1)
        self.far = nn.Conv2d(3, 3, (1, 9) if kind == "lying" else (9, 1), padding="same")

    def forward(self, x):
        functional = nn.functional
        if self.kind == "shifted":  # blocks of 16 px, and 7 px to the right of where they are from
            blocks = functional.interpolate(functional.avg_pool2d(x, 16), scale_factor=16)
            return self.near(functional.pad(blocks, (7, -7)))
        if self.kind == "checkered":  # columns 1, 3, .. of rows 0, 2, ..
            spread = functional.conv_transpose2d(
                self.far(x)[:, :, ::2, ::2], torch.eye(3).to(x)[..., None, None], stride=2, output_padding=1
            )
            return self.near(x) + functional.pad(spread, (1, -1))
        return self.far(x)


@pytest.mark.parametrize(
    ("kind", "multiple_of", "halo"),
    [
        ("shifted", 16, 22),  # column 6 sees 22 px to the left; all others less
        ("lying", 1, 4),
        ("standing", 1, 4),
        ("checkered", 2, 4),
    ],
)
def test_a_halo_that_holds_at_nearly_every_output_is_found_out(
    kind: str, multiple_of: int, halo: int
) -> None:
    def declared(halo: int) -> Model:
        return Model(
            name="uneven", summary="a test", source="this test", network=f"{__name__}:Uneven", licence="MIT",
            geometry=Geometry(halo=halo, multiple_of=multiple_of), facts=Facts(parameters=1, kmacs_per_pixel=1),
            options={"kind": Option(type=str, default=kind, help="")},
        )  # fmt: skip

    testing.half_extent_is_exact(declared(halo))
    for wrong in (halo - 1, halo + 1):
        with pytest.raises(testing.ConformanceError, match=f"is {wrong} by default, the layers reach {halo}"):
            testing.half_extent_is_exact(declared(wrong))


def test_a_network_too_large_to_be_measured_is_left_to_a_tiny_one_of_the_same_geometry() -> None:
    def declared(kmacs: float, geometry: Callable[[Mapping[str, Any]], Geometry]) -> Model:
        return Model(
            name="large", summary="a test", source="this test", network=f"{__name__}:Large", licence="MIT",
            geometry=geometry, facts=Facts(parameters=1, kmacs_per_pixel=kmacs), tiny={"width": 2},
            options={"width": Option(type=int, default=99, help="")},
        )  # fmt: skip

    testing.half_extent_is_exact(declared(1e9, lambda options: Geometry(halo=1)))
    with pytest.raises(testing.ConformanceError, match=r"is 2 with .*, the layers reach 1 px"):
        testing.half_extent_is_exact(declared(1e9, lambda options: Geometry(halo=2)))
    for small in (
        declared(1, lambda options: Geometry(halo=1)),
        declared(1e9, lambda options: Geometry(halo=options["width"])),
    ):
        with pytest.raises(MissingError, match="99 are too many"):
            testing.half_extent_is_exact(small)


class Large(nn.Module):
    """A 3x3 convolution of few features."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        if width > 9:
            raise ValueError(f"{width} are too many")
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 1))

    def forward(self, x):
        return self.layers(x)


def test_costs_of_known_networks_are_counted() -> None:
    assert kmacs_per_pixel(_known("plain", halo=3)) == pytest.approx((3 * 4 * 9 + 4 * 3 * 25) / 1000)
    strided = (
        3 * 4 * 9 + 4 * 8 * 9 / 4 + 8 * 4 * 16 / 4 + 4 * 3 * 25
    )  # a transposed kernel counts by its input
    assert kmacs_per_pixel(_known("strided", halo=6, multiple_of=2)) == pytest.approx(strided / 1000)


class Noisy(nn.Module):
    """Breaks one promise after the other, by name."""

    def __init__(self, *, how: str) -> None:
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.unused = nn.Parameter(torch.zeros(1), requires_grad=how == "unused")
        self.secret = torch.rand(1)

    def forward(self, x):
        if self.how == "in_place":
            x.mul_(0.5)
        if self.how == "double":
            return self.conv(x).double()
        if self.how == "nan":
            return self.conv(x) / 0 * 0
        if self.how == "noise":
            return self.conv(x) + torch.randn_like(x)
        if self.how == "global":
            return self.conv(x) + x.mean()
        if self.how == "batch":
            return self.conv(x) + x.mean(0, keepdim=True)
        if self.how == "secret":
            return self.conv(x) + self.secret
        if self.how == "stuck":
            return self.conv(x).round() + 0 * self.conv(x)
        return self.conv(x)

    def for_inference(self, dtype):
        return nn.Sequential(self.conv, nn.Identity() if self.how != "other_inference" else nn.ReLU())


@pytest.mark.parametrize(
    ("how", "check", "says"),
    [
        ("in_place", testing.any_size_works, "changes its input in place"),
        ("double", testing.any_size_works, "not float32"),
        ("nan", testing.any_size_works, "not finite"),
        ("noise", testing.evaluation_is_deterministic, "two runs in eval mode differ"),
        ("batch", testing.evaluation_is_deterministic, "alone and in a batch"),
        ("global", testing.any_tile_with_its_halo_gives_the_same_pixels, "a tile with a halo of 1 px"),
        ("global", testing.half_extent_is_exact, r"the layers reach \d{3,} px"),
        ("secret", testing.state_survives_a_file, "not in the state dict"),
        ("unused", testing.one_training_step_lowers_the_loss, "no gradient reaches unused"),
        ("stuck", testing.one_training_step_lowers_the_loss, "all gradients are zero"),
        ("other_inference", testing.inference_form_gives_the_same, r"for_inference\(float32\)"),
    ],
)
def test_the_kit_finds_a_broken_promise(how: str, check: testing.Check, says: str) -> None:
    model = Model(
        name="noisy", summary="a test", source="this test", network=f"{__name__}:Noisy", licence="MIT",
        geometry=Geometry(halo=1), facts=Facts(parameters=84, kmacs_per_pixel=0.1),
        options={"how": Option(type=str, default=how, help="")},
    )  # fmt: skip
    with pytest.raises(testing.ConformanceError, match=says):
        check(model)


class Scales(nn.Module):
    """Returns several pictures while it trains, the finest first; by name with a mistake."""

    def __init__(self, *, how: str) -> None:
        super().__init__()
        self.how = how
        self.fine, self.coarse = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(2))

    def forward(self, x):
        fine = self.fine(x)
        if not self.training:
            return fine
        small = nn.functional.avg_pool2d(x, 2, ceil_mode=True)
        coarse = (self.fine if self.how == "unused" else self.coarse)(small)
        return [coarse, fine] if self.how == "coarse_first" else [fine, coarse]


def _scales(how: str, **recipes: Recipe) -> Model:
    return Model(
        name="scales", summary="a test", source="this test", network=f"{__name__}:Scales", licence="MIT",
        geometry=Geometry(halo=1), facts=Facts(parameters=168, kmacs_per_pixel=0.1), recipes=recipes,
        options={"how": Option(type=str, default=how, help="")},
    )  # fmt: skip


def test_a_network_may_return_several_pictures_while_it_trains() -> None:
    every = Term(loss="mse", scales="half-mean")
    model = _scales(
        "well", fast=Recipe(loss=every), gan=Recipe(loss=every, strategy=WassersteinGP(n_critic=1))
    )
    testing.one_training_step_lowers_the_loss(model)
    testing.any_size_works(model)
    testing.recipes_can_start(model)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("unused", "no gradient reaches coarse.weight"),
        ("coarse_first", "the first must be the picture"),
    ],
)
def test_a_mistake_among_several_pictures_is_found(how: str, says: str) -> None:
    with pytest.raises(testing.ConformanceError, match=says):
        testing.one_training_step_lowers_the_loss(_scales(how))


class Unsized(nn.Module):
    """A critic that takes pictures of 8 x 8 px only."""

    def __init__(self) -> None:
        super().__init__()
        self.judge = nn.Linear(192, 1)

    def forward(self, picture):
        return self.judge(picture.flatten(1))


class Endless:
    """What a strategy must not do: it returns no number."""

    learners = ()

    def __init__(self, recipe, learning) -> None:
        pass

    def batches_needed(self, epoch):
        return 1

    def step(self, batches, *, epoch):
        return {"loss": float("inf")}


class EndlessStrategy(Strategy):
    """Names it."""

    steps = f"{__name__}:Endless"


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        (Recipe(loss="mea"), "recipe fast: there is no loss 'mea'"),
        (Recipe(loss=Term(loss="charbonnier", options={"epsilon": 1.0})), "has no option 'epsilon'"),
        (Recipe(loss=Term(loss="charbonnier", options={"eps": "small"})), "must be a"),
        (
            Recipe(strategy=WassersteinGP(critic=f"{__name__}:Nowhere")),
            "the critic .*Nowhere cannot be built",
        ),
        (Recipe(strategy=ConditionalGAN(critic_options={"widht": 8})), "unexpected keyword argument 'widht'"),
        (Recipe(strategy=EndlessStrategy()), "loss is inf in the first step"),
    ],
)
def test_a_recipe_that_cannot_be_trained_by_is_found(recipe: Recipe, says: str) -> None:
    with pytest.raises(testing.ConformanceError, match=says):
        testing.recipes_can_start(_scales("well", fast=recipe))


def test_a_critic_that_cannot_judge_the_crops_is_found() -> None:
    fits = WassersteinGP(critic=f"{__name__}:Unsized", n_critic=1)
    testing.recipes_can_start(_scales("well", fast=Recipe(patch=8, strategy=fits)))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        testing.recipes_can_start(_scales("well", fast=Recipe(patch=16, strategy=fits)))


def test_a_loss_that_waits_for_a_file_is_looked_at_but_not_computed() -> None:
    testing.recipes_can_start(_scales("well", fast=Recipe(loss="perceptual")))
    wrong = Term(loss="perceptual", options={"network": "vgg17"})
    with pytest.raises(testing.ConformanceError, match="vgg17"):
        testing.recipes_can_start(_scales("well", fast=Recipe(loss=wrong)))
