"""Every autoencoder learns: a short training gets nearer to real sharp pictures than the blurred ones are to begin with."""

import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deblur_cli import Supervised
from deblur_cli.data import open_pairs
from deblur_cli.data.cifar10 import batch_folder
from deblur_cli.host.declarations import import_object
from deblur_cli.host.manager import Host
from deblur_cli.host.recipes import Recipe
from deblur_cli.training.engine import Ended, Progress
from deblur_cli.training.feeding.material import Preparation
from deblur_cli.training.request import Request
from deblur_cli.training.session import run_training
from deblur_cli.weights import load_network, resolve

HOST = Host.discover(environ={})
PRESET = Preparation(preset="cifar10-s2")

NUM_PICTURES = 2000
RECORD = 1 + 3 * 32**2  # bytes of a picture in CIFAR-10's batches

pytestmark = [pytest.mark.slow, pytest.mark.realdata]

Array = np.ndarray


@pytest.fixture(scope="session")
def some_of_cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with 2,000 pictures of CIFAR-10."""
    batches = batch_folder(Path(os.environ["DEBLUR_DATA"], "cifar10"))
    assert batches is not None, "DEBLUR_DATA holds no batches of CIFAR-10"
    root = tmp_path_factory.mktemp("data")
    (root / "cifar10").mkdir()
    with open(batches / "data_batch_1.bin", "rb") as whole:
        (root / "cifar10" / "data_batch_1.bin").write_bytes(whole.read(NUM_PICTURES * RECORD))
    return root


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The pairs that no training sees: (N, 32, 32, 3) in [0, 1] each."""

    blurry: Array
    sharp: Array


@pytest.fixture(scope="session")
def held_out(some_of_cifar10: Path) -> HeldOut:
    """Some of the seventh that is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEBLUR_DATA", str(some_of_cifar10))
        pairs = open_pairs(HOST, "cifar10", split="val", preset=PRESET.read(HOST))
        assert 200 < len(pairs) < 400
        pairs = [pairs[number].load() for number in range(64)]
    blurry, sharp = (np.stack(pictures).astype(np.float32) / 255 for pictures in zip(*pairs, strict=True))
    return HeldOut(blurry=blurry, sharp=sharp)


LOSSES: Mapping[str, Callable[..., Array]] = {
    "mse": np.square,
    "mae": np.abs,
    "logcosh": lambda error: np.log(np.cosh(error)),
    "charbonnier": lambda error, eps=1e-3: np.sqrt(error**2 + eps**2),
}
"""The losses once more, by their definition."""


def loss_of(recipe: Recipe, restored: Array, sharp: Array) -> float:
    """What the recipe minimises, on the finest scale."""
    error = restored.astype(np.float64) - sharp
    return sum(term.weight * float(LOSSES[term.loss](error, **term.options).mean()) for term in recipe.terms)


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What a training came to: the loss on the pairs held out, and that of leaving them as they are.

    before, trained : of the network as it starts and ends, whose norms take the statistics of these pictures: those that
        it restores with, Keras' running ones, are some hundred steps behind
    after : as it restores pictures
    validations : the training's own
    """

    before: float
    trained: float
    after: float
    blurry: float
    validations: list[Any]


@pytest.fixture
def learn(
    some_of_cifar10: Path, held_out: HeldOut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Learnt]:
    """Train a network by one of its recipes as it stands, but for the size of a batch, and a warm-up as short as the run."""
    monkeypatch.setenv("DEBLUR_DATA", str(some_of_cifar10))

    def learn(
        name: str, recipe: str, *, options: Mapping[str, Any], steps: int, batch_size: int, patch: int = 32
    ) -> Learnt:
        model = HOST.model(name)
        wanted = replace(model.recipes[recipe], batch_size=batch_size, patch=patch)
        if wanted.schedule.warmup_steps:
            wanted = replace(
                wanted,
                schedule=replace(wanted.schedule, warmup_steps=min(wanted.schedule.warmup_steps, steps // 2)),
            )
        seen: list[Progress] = []
        ended = run_training(
            Request(
                model=name, data=("cifar10",), preparation=PRESET, recipe=wanted, options=options, steps=steps,
                seed=1, device="cpu", dtype="float32",
            ),
            tmp_path / "run", host=HOST, command=["test"], report=seen.append,
        )  # fmt: skip
        assert ended in (Ended.DONE, Ended.EARLY)
        trained = load_network(resolve(HOST, str(tmp_path / "run")))
        torch.manual_seed(1)
        fresh = model.build(options)
        if wanted.start is not None:
            import_object(wanted.start)(fresh)

        def loss(restored: Array) -> float:
            return loss_of(wanted, restored, held_out.sharp)

        return Learnt(
            before=loss(restored_by(with_batch_statistics(fresh), held_out.blurry)),
            trained=loss(restored_by(with_batch_statistics(trained), held_out.blurry)),
            after=loss(restored_by(trained.eval(), held_out.blurry)),
            blurry=loss(held_out.blurry),
            validations=[progress.validation for progress in seen if progress.validation is not None],
        )

    return learn


def with_batch_statistics(network: nn.Module) -> nn.Module:
    """The network in evaluation mode, but for its norms; their running statistics stay."""
    copied = deepcopy(network).eval()
    for module in copied.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    return copied


def restored_by(network: nn.Module, blurry: Array) -> Array:
    """What the network makes of pictures, unclipped."""
    with torch.no_grad():
        parts = [network(part) for part in torch.from_numpy(blurry.transpose(0, 3, 1, 2)).split(32)]
    restored: Array = torch.cat(parts).numpy().transpose(0, 2, 3, 1)
    return restored


MODELS = {
    name: model
    for name, model in HOST.models.items()
    if all(isinstance(recipe.strategy, Supervised) for recipe in model.recipes.values())
}
FAMILIES = {model.network.partition(".")[0]: name for name, model in MODELS.items()}
"""One of each."""

RECIPES = [(name, recipe) for name, model in MODELS.items() for recipe in model.recipes]
CHEAP_KMACS = 250  # a pixel; such networks take the steps that it needs to get ahead within the time
PIXELS_BY_STEP = 16 * 32**2

SHORTER = {"resnet16": 50}  # steps: the narrowest that can begin as the identity is wide
SHALLOWER = {"srndeblur_reds": {"blocks": 1}}


@pytest.mark.parametrize("name", FAMILIES.values())
def test_a_short_training_of_the_tiny_variant_gets_nearer_than_the_blurred_pictures_are(
    name: str, learn: Callable[..., Learnt]
) -> None:
    """A hundred small steps, for each family."""
    options = {**MODELS[name].tiny, **SHALLOWER.get(name, {})}
    learnt = learn(name, "fast", options=options, steps=SHORTER.get(name, 100), batch_size=16, patch=16)

    assert learnt.after < learnt.blurry
    assert learnt.validations[-1].psnr > learnt.validations[-1].blurry_psnr


@pytest.mark.soak
@pytest.mark.parametrize(("name", "recipe"), RECIPES)
def test_the_tiny_variant_of_every_network_learns_by_every_recipe(
    name: str, recipe: str, learn: Callable[..., Learnt]
) -> None:
    """From weights at random it takes longer to get ahead of the blurred pictures: there the way is the goal."""
    learnt = learn(name, recipe, options=MODELS[name].tiny, steps=1000, batch_size=32)

    assert learnt.trained < learnt.before
    if recipe == "fast":
        assert learnt.after < 0.99 * learnt.blurry


@pytest.mark.soak
@pytest.mark.parametrize("lstm", ["dense", "conv"])
def test_a_recurrent_cell_learns(lstm: str, learn: Callable[..., Learnt]) -> None:
    options = {**MODELS["srndeblur_cifar"].tiny, "lstm": lstm}
    learnt = learn("srndeblur_cifar", "fast", options=options, steps=1000, batch_size=32)
    assert learnt.after < learnt.blurry


@pytest.mark.soak
@pytest.mark.parametrize(("name", "recipe"), RECIPES)
def test_every_network_at_its_full_size_learns_by_every_recipe(
    name: str, recipe: str, learn: Callable[..., Learnt]
) -> None:
    """For some 4e12 multiplications, forward and backward: minutes on one core, whatever the network."""
    kmacs = MODELS[name].facts.kmacs_per_pixel
    steps = max(30, min(600, round(4e12 / (3 * 1000 * kmacs * PIXELS_BY_STEP))))

    learnt = learn(name, recipe, options={}, steps=steps, batch_size=16)

    assert learnt.trained < learnt.before
    if recipe == "fast" and kmacs < CHEAP_KMACS:
        assert learnt.after < learnt.blurry
