"""The training tables of the five reports, said as recipes; each can be printed, read back and trained by."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from learning import random_features
from safetensors.torch import load_file

from deblur_cli import (
    ConditionalGAN,
    EarlyStopping,
    LinearToZero,
    Model,
    Optimizer,
    Plateau,
    Polynomial,
    Recipe,
    Staircase,
    Supervised,
    Term,
    WassersteinGP,
)
from deblur_cli.host.manager import Host
from deblur_cli.host.recipe_values import as_values, from_values
from deblur_cli.host.schedules import Moment
from deblur_cli.training.engine import Ended
from deblur_cli.training.request import Request
from deblur_cli.training.session import run_training

KERAS = Optimizer(kind="adam", lr=1e-3, eps=1e-7)
S0_WGAN = Recipe(
    loss="logcosh",
    strategy=WassersteinGP(n_critic=5, gradient_penalty=10, adversarial=1e-4),
    optimizer=Optimizer(lr=2e-4, betas=(0.5, 0.9), eps=1e-7),
    epochs=350,
    batch_size=32,
)
S1 = Recipe(
    loss=Term(loss="perceptual", weight=100, options={"network": "vgg19"}),
    strategy=WassersteinGP(n_critic=5, adversarial=1, dropout_for_critic=False, pretrain_epochs=10),
    optimizer=Optimizer(lr=1e-4, betas=(0.5, 0.999), eps=1e-8),
    epochs=20,
    batch_size=2,
    patch=256,
    crops_per_pair=1,
    flips="none",
)
S2 = Recipe(loss="mse", optimizer=KERAS, epochs=50, early_stopping=EarlyStopping(patience=7), batch_size=250)
S4_PIX2PIX = Recipe(
    loss=Term(loss="mae", weight=100),
    strategy=ConditionalGAN(adversarial=1),
    optimizer=Optimizer(lr=2e-4, betas=(0.5, 0.999), eps=1e-8),
    epochs=50,
    batch_size=1,
    patch=256,
    crops_per_pair=1,
    flips="horizontal",
)
S4_RIR = replace(
    S4_PIX2PIX,
    strategy=ConditionalGAN(critic="deblur_rir.critic:SpectralPatchCritic", adversarial=1),
    epochs=300,
)
RECIPES = {
    "s0_cae": Recipe(loss="logcosh", optimizer=KERAS, epochs=120, batch_size=32, drop_last=False),
    "s0_cae_ft": Recipe(
        loss="logcosh", optimizer=replace(KERAS, lr=1e-4), schedule=Staircase(rate=0.7, every=5), epochs=80
    ),
    "s0_wgan": S0_WGAN,
    "s0_wgan_ms": replace(S0_WGAN, loss=Term(loss="logcosh", scales="half-mean"), epochs=150),
    "s1_deblurgan": S1,
    "s2_resunet": S2,
    "s2_caessc": replace(S2, optimizer=replace(KERAS, lr=1e-4), epochs=80, batch_size=300),
    "s2_srn_cifar": replace(
        S2, loss=Term(loss="mse", scales="sum"), epochs=70, batch_size=150, flips="none",
        early_stopping=EarlyStopping(patience=15),
    ),
    "srn_original": Recipe(
        loss=Term(loss="mse", scales="sum"), optimizer=Optimizer(lr=1e-4), schedule=Polynomial(power=0.3),
        epochs=4000, batch_size=16, flips="none",
    ),
    "s3_unet20": Recipe(
        loss="mae", optimizer=KERAS, schedule=Plateau(rate=0.2, patience=4, min_delta=1e-4), epochs=500,
        early_stopping=EarlyStopping(patience=10), batch_size=32, drop_last=False, flips="none",
    ),
    "s4_pix2pix": S4_PIX2PIX,
    "s4_pix2pix_vgg": replace(S4_PIX2PIX, loss=Term(loss="perceptual", weight=100)),
    "s4_rir_vgg": replace(S4_RIR, loss=Term(loss="perceptual", weight=100)),
    "s4_rir_l1": S4_RIR,
    "s4_deblurgan": Recipe(
        loss=Term(loss="perceptual", weight=100),
        strategy=WassersteinGP(n_critic=5, adversarial=1, gradient_penalty=10),
        optimizer=Optimizer(lr=1e-4), schedule=LinearToZero(start=0.5), epochs=300,
        batch_size=1, patch=256, crops_per_pair=1, flips="none",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_of_a_report_is_the_same_after_printing_and_reading(name: str) -> None:
    values = as_values(RECIPES[name])
    assert as_values(from_values(values)) == values


@pytest.mark.parametrize(
    ("name", "epoch", "rate"),
    [
        ("s0_cae", 119, 1e-3),
        ("s0_cae_ft", 0, 1e-4),
        ("s0_cae_ft", 4, 1e-4),
        ("s0_cae_ft", 5, 0.7e-4),
        ("s0_cae_ft", 79, 1e-4 * 0.7**15),
        ("s4_deblurgan", 150, 1e-4),
        ("s4_deblurgan", 225, 0.5e-4),
        ("s4_deblurgan", 299, 1e-4 / 150),
        ("srn_original", 2000, 1e-4 * 0.5**0.3),
    ],
)
def test_the_rate_is_the_reports_at_an_epoch(name: str, epoch: int, rate: float) -> None:
    recipe = RECIPES[name]
    at = Moment(step=9, epoch=epoch, epochs=recipe.epochs, progress=epoch / recipe.epochs)
    assert recipe.optimizer.lr * recipe.schedule.factor(at) == pytest.approx(rate, rel=1e-12)


NETWORK = '''
"""Three scales while it trains, the finest first; the picture alone afterwards."""
from torch import nn
from torch.nn import functional as F

class Pyramid(nn.Module):
    def __init__(self):
        super().__init__()
        self.scales = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.drop = nn.Dropout(0.5)

    def forward(self, blurry):
        inputs = [blurry] + [F.interpolate(blurry, scale_factor=s, mode="bilinear", align_corners=False) for s in (0.5, 0.25)]
        outputs = [x + self.drop(scale(x)) for x, scale in zip(inputs, self.scales)]
        return outputs if self.training else outputs[0]
'''
PLUGIN = '''
"""A network of three scales."""
from deblur_cli import Facts, Geometry, Model, hookimpl

@hookimpl
def deblur_models():
    return [
        Model(
            name="pyramid", summary="three scales", source="this test", network="pyramid_plugin.network:Pyramid",
            values="signed", geometry=Geometry(halo=1), facts=Facts(parameters=252, kmacs_per_pixel=0.1), licence="MIT",
        )
    ]
'''


@pytest.fixture
def pyramid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    package = tmp_path / "plugins" / "pyramid_plugin"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PLUGIN)
    (package / "network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("DEBLUR_PLUGINS", "pyramid_plugin")
    return Host.discover()


@pytest.fixture(scope="session")
def vgg19(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random features of VGG19."""
    return random_features("vgg19", tmp_path_factory.mktemp("vgg") / "vgg19.pth")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_of_a_report_trains(name: str, pyramid: Host, vgg19: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPES[name], batch_size=2, patch=32, crops_per_pair=1)
    terms = [
        replace(term, options={**term.options, "weights": str(vgg19)}) if term.loss == "perceptual" else term
        for term in recipe.terms
    ]
    recipe = replace(recipe, loss=tuple(terms))
    if isinstance(recipe.strategy, WassersteinGP | ConditionalGAN):
        recipe = replace(recipe, strategy=replace(recipe.strategy, critic_options={"width": 4}))
    request = Request(
        model="pyramid", data=("sample",), recipe=recipe, steps=3, device="cpu", dtype="float32"
    )
    ended = run_training(request, tmp_path / "run", host=pyramid, command=["test"])
    assert ended is Ended.DONE
    torch.manual_seed(request.seed)
    before = pyramid.model("pyramid").build().state_dict()
    trained = load_file(tmp_path / "run" / "last" / "weights.safetensors")
    moved = {key for key, tensor in trained.items() if not torch.equal(tensor, before[key])}
    several_scales = any(term.scales != "finest" for term in recipe.terms)
    assert moved == {key for key in before if several_scales or key.startswith("scales.0.")}
    assert all(tensor.isfinite().all() for tensor in trained.values())


def _of_reports() -> dict[str, Model]:
    """All networks but this project's own."""
    return {name: model for name, model in Host.discover(environ={}).models.items() if name != "swift"}


def test_each_network_declares_the_recipe_of_its_report() -> None:
    """All that the tables print: what is minimised, how fast, in which batches, how long, and on pictures as they are or turned."""
    declared = {
        name: _printed(model.recipes["report"])
        for name, model in _of_reports().items()
        if isinstance(model.recipes["report"].strategy, Supervised)
    }

    cae = ("logcosh", "finest", 1e-3, 1e-7, "ConstantRate", 120, None, "both")
    s2 = ("mse", "finest", 1e-3, 1e-7, "ConstantRate", 50, 7, "both")
    caessc = ("mse", "finest", 1e-4, 1e-7, "ConstantRate", 80, 7, "both")
    assert declared == {
        "resnet16": (32, *cae),
        "unet16": (256, *cae),
        "rednet30": (32, *cae),
        "unet20": (32, "mae", "finest", 1e-3, 1e-7, "Plateau", 500, 10, "none"),
        "resunet1": (250, *s2),
        "resunet3": (250, *s2),
        "eddensenet": (65, "mse", "finest", 1e-3, 1e-7, "ConstantRate", 50, 5, "both"),
        "caessc_d22_f128_half": (300, *caessc),
        "caessc_d22_f128_half_no_sigmoid": (300, *caessc),
        "caessc_d30_f64": (250, *caessc),
        "srndeblur_cifar": (150, "mse", "sum", 1e-3, 1e-7, "ConstantRate", 70, 15, "none"),
        "srndeblur_reds": (10, "mse", "sum", 1e-4, 1e-8, "ConstantRate", 150, 10, "none"),
        "srn_deblurnet": (16, "mse", "sum", 1e-4, 1e-8, "Polynomial", 4000, None, "none"),
    }


def test_each_network_trained_against_a_wasserstein_critic_declares_the_recipe_of_its_report() -> None:
    """As above, and of the critic how often it learns, and what its penalty and its opinion weigh."""
    declared = {
        name: _printed_with_critic(model.recipes["report"])
        for name, model in _of_reports().items()
        if isinstance(model.recipes["report"].strategy, WassersteinGP)
    }

    constant = "ConstantRate"
    s0 = (5, "LayerNormPatchCritic", 10, 1e-4, 2e-4, (0.5, 0.9), 1e-7, constant, "both")
    s1 = (5, "StridedCritic", 10, 1, 1e-4, (0.5, 0.999), 1e-8, constant, "none")
    s4 = (5, "DeepCritic", 10, 1, 1e-4, (0.9, 0.999), 1e-8, "LinearToZero", "none")
    assert declared == {
        "rednet30wgan": (32, 350, "logcosh", 1, "finest", *s0),
        "msdeblurwgan": (32, 150, "logcosh", 1, "half-mean", *s0),
        "msdeblurwgan_5": (32, 100, "logcosh", 1, "half-mean", *s0),
        "deblurgan": (2, 20, "perceptual", 100, "finest", *s1),
        "verysimple_deblurgan": (2, 20, "perceptual", 100, "finest", *s1),
        # 100 times a loss that is summed over the 256 channels of the features, not their mean
        "deblurgan_edge": (1, 300, "perceptual", 256 * 100, "finest", *s4),
        "deblurgan_feedback": (1, 300, "perceptual", 256 * 100, "finest", *s4),
    }


def test_each_network_trained_against_a_conditional_critic_declares_the_recipe_of_its_report() -> None:
    """The critic attends and is bounded where the network is."""
    recipes = [(name, model.recipes["report"]) for name, model in _of_reports().items()]
    by_default = {
        name: (recipe, recipe.strategy)
        for name, recipe in recipes
        if isinstance(recipe.strategy, ConditionalGAN) and name.startswith("pix2pix")
    }
    assert {
        name: (recipe.loss, dict(strategy.critic_options)) for name, (recipe, strategy) in by_default.items()
    } == {
        "pix2pix": (Term(loss="mae", weight=100), {}),
        "pix2pix_sa": (Term(loss="mae", weight=100), {"attention": "sa"}),
        "pix2pix_sa_gr": (Term(loss="mae", weight=100), {"attention": "sa"}),
        "pix2pix_sa_sn": (Term(loss="mae", weight=100), {"attention": "sa", "spectral_norm": True}),
        "pix2pix_full": (
            Term(loss="perceptual", weight=100), {"attention": "sa+ca", "spectral_norm": True}
        ),
    }  # fmt: skip
    for recipe, strategy in by_default.values():
        same = replace(recipe, summary="", loss="mse", strategy=replace(strategy, critic_options={}))
        assert same == replace(S4_PIX2PIX, loss="mse")


def test_rir_and_rir_large_declare_the_recipes_of_their_report() -> None:
    models = Host.discover(environ={}).models
    for name, recipe in {"rir": "s4_rir_vgg", "rir_large": "s4_rir_l1"}.items():
        assert replace(models[name].recipes["report"], summary="") == RECIPES[recipe]


def test_perceptual_losses_see_pictures_as_their_features_were_trained_to() -> None:
    """But in the recipe of DeblurGAN's authors, whose features are the same and see [-1, 1], before the last ReLU."""
    declared = {
        (model.name, name): dict(term.options)
        for model in Host.discover(environ={}).models.values()
        for name, recipe in model.recipes.items()
        for term in recipe.terms
        if term.loss == "perceptual"
    }
    as_chosen: dict[str, object] = {}
    reports = (
        "deblurgan",
        "verysimple_deblurgan",
        "deblurgan_edge",
        "deblurgan_feedback",
        "pix2pix_full",
        "rir",
    )
    assert declared == {
        **{(name, "report"): as_chosen for name in reports},
        ("deblurgan", "report-vgg16"): {"network": "vgg16"},
        ("deblurgan", "original"): {"before_relu": True, "normalisation": "none"},
    }
    options = Host.discover(environ={}).loss("perceptual").options
    assert {name: option.default for name, option in options.items() if name != "weights"} == {
        "network": "vgg19", "norm": "l2", "before_relu": False, "normalisation": "imagenet",
    }  # fmt: skip


def _printed_with_critic(recipe: Recipe) -> tuple[object, ...]:
    (term,) = recipe.terms
    strategy, optimizer = recipe.strategy, recipe.optimizer
    assert isinstance(strategy, WassersteinGP)
    assert (strategy.optimizer, strategy.critic_batches, strategy.penalty_norm) == (None, "same", "image")
    assert (optimizer.kind, recipe.early_stopping) == ("adam", None)
    return (
        recipe.batch_size,
        recipe.epochs,
        term.loss,
        term.weight,
        term.scales,
        strategy.n_critic,
        strategy.critic.rpartition(":")[2],
        strategy.gradient_penalty,
        strategy.adversarial,
        optimizer.lr,
        optimizer.betas,
        optimizer.eps,
        type(recipe.schedule).__name__,
        recipe.flips,
    )


def _printed(recipe: Recipe) -> tuple[object, ...]:
    (term,) = recipe.terms
    assert recipe.optimizer.kind == "adam"
    assert recipe.optimizer.betas == (0.9, 0.999)
    assert term.weight == 1
    return (
        recipe.batch_size,
        term.loss,
        term.scales,
        recipe.optimizer.lr,
        recipe.optimizer.eps,
        type(recipe.schedule).__name__,
        recipe.epochs,
        None if recipe.early_stopping is None else recipe.early_stopping.patience,
        recipe.flips,
    )
