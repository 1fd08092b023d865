"""What tests of learning share: real pairs, and a short training measured on pairs that it never sees."""

import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deblur_cli import Recipe, Strategy, Values
from deblur_cli.data import open_pairs
from deblur_cli.data.cifar10 import batch_folder
from deblur_cli.host.declarations import import_object
from deblur_cli.host.manager import Host
from deblur_cli.losses.vgg import shapes
from deblur_cli.training.engine import Ended, Progress
from deblur_cli.training.feeding.material import Preparation
from deblur_cli.training.objective import build_objective
from deblur_cli.training.recording.metrics_file import read_metrics
from deblur_cli.training.request import Request
from deblur_cli.training.session import run_training
from deblur_cli.weights import load_network, resolve

HOST = Host.discover(environ={})
PRESETS = {"cifar10": Preparation(preset="cifar10-s2"), "sample": Preparation()}
NUM_PICTURES = 2000
RECORD = 1 + 3 * 32**2  # bytes of a picture in CIFAR-10's batches
NUM_HELD_OUT = {"cifar10": 64, "sample": 4}

Array = np.ndarray


def take_some_of_cifar10(root: Path) -> None:
    """Make `root` a data root with 2,000 pictures of CIFAR-10."""
    batches = batch_folder(Path(os.environ["DEBLUR_DATA"], "cifar10"))
    assert batches is not None, "DEBLUR_DATA holds no batches of CIFAR-10"
    (root / "cifar10").mkdir()
    with open(batches / "data_batch_1.bin", "rb") as whole:
        (root / "cifar10" / "data_batch_1.bin").write_bytes(whole.read(NUM_PICTURES * RECORD))


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The pairs that no training sees: (N, side, side, 3) in [0, 1] each."""

    blurry: Array
    sharp: Array


def held_out_pairs(data: str, *, side: int) -> HeldOut:
    """The centres of some pairs of a data set that are for validation. side : px"""
    pairs = open_pairs(HOST, data, split="val", preset=PRESETS[data].read(HOST))
    loaded = [pairs[number].load() for number in range(min(NUM_HELD_OUT[data], len(pairs)))]

    def centres(pictures: tuple[Array, ...]) -> Array:
        corners = [((p.shape[0] - side) // 2, (p.shape[1] - side) // 2) for p in pictures]
        cut = [p[y : y + side, x : x + side] for p, (y, x) in zip(pictures, corners, strict=True)]
        return np.stack(cut).astype(np.float32) / 255

    blurry, sharp = map(centres, zip(*loaded, strict=True))
    return HeldOut(blurry=blurry, sharp=sharp)


LOSSES: Mapping[str, Callable[..., Array]] = {
    "mse": np.square,
    "mae": np.abs,
    "logcosh": lambda error: np.log(np.cosh(error)),
    "charbonnier": lambda error, eps=1e-3: np.sqrt(error**2 + eps**2),
}
"""The losses once more, by their definition."""


def loss_of(recipe: Recipe, restored: Array, sharp: Array, *, values: Values) -> float:
    """The recipe's content loss on the finest scale. restored, sharp : (N, H, W, 3) in [0, 1]; values : the network's range"""
    scale = 2 if values is Values.SIGNED else 1
    if all(term.loss in LOSSES for term in recipe.terms):
        error = scale * (restored.astype(np.float64) - sharp)
        return sum(
            term.weight * float(LOSSES[term.loss](error, **term.options).mean()) for term in recipe.terms
        )
    objective = build_objective(HOST, recipe, values=values, device=torch.device("cpu"), dtype=torch.float32)
    with torch.no_grad():
        losses = objective([_as_input(restored, values)], _as_input(sharp, values))
    return sum(float(loss) for loss in losses.values())


def random_features(network: str, path: Path) -> Path:
    """A file of random features of a VGG; beyond conv3_3, where nobody looks, one stored number a tensor."""
    rng = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.randn(shape, generator=rng) * 0.05
        if int(name.split(".")[1]) <= 14
        else torch.zeros(1).expand(shape)
        for name, shape in shapes(network).items()
    }
    torch.save(tensors, path)
    return path


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What a training came to: the loss on the pairs held out, and that of leaving them as they are.

    before, trained : of the network as it starts and ends, whose norms take the statistics of these pictures unless they
        are frozen: those that it restores with, Keras' running ones, are some hundred steps behind
    after : as it restores pictures
    validations : the training's own; metrics : what it logged then, a mapping of names to numbers each time
    """

    before: float
    trained: float
    after: float
    blurry: float
    validations: list[Any]
    metrics: list[Mapping[str, float]]


def train_shortly(
    name: str,
    recipe: str,
    *,
    options: Mapping[str, Any],
    steps: int,
    batch_size: int,
    patch: int = 32,
    data: str = "cifar10",
    critic_width: int | None = None,
    folder: Path,
) -> Learnt:
    """Train a network by one of its recipes as it stands, but for the size of a batch, a warm-up as short as the run, and a
    critic from the first step on.

    critic_width : features of the critic's first layer, None = as the recipe has it; folder : is written into
    """
    model = HOST.model(name)
    wanted = _shortened(model.recipes[recipe], steps=steps, critic_width=critic_width, folder=folder)
    wanted = replace(wanted, batch_size=batch_size, patch=patch)
    seen: list[Progress] = []
    ended = run_training(
        Request(
            model=name, data=(data,), preparation=PRESETS[data], recipe=wanted, options=options, steps=steps,
            seed=1, device="cpu", dtype="float32",
        ),
        folder / "run", host=HOST, command=["test"], report=seen.append,
    )  # fmt: skip
    assert ended in (Ended.DONE, Ended.EARLY)
    trained = load_network(resolve(HOST, str(folder / "run")))
    torch.manual_seed(1)
    fresh = model.build(options)
    if wanted.start is not None:
        import_object(wanted.start)(fresh)
    held_out = held_out_pairs(data, side=max(32, patch))

    def loss(network: nn.Module) -> float:
        restored = restored_by(network, held_out.blurry, values=model.values)
        return loss_of(wanted, restored, held_out.sharp, values=model.values)

    as_trained = with_batch_statistics if wanted.freeze_norm_after else nn.Module.eval
    return Learnt(
        before=loss(as_trained(fresh)),
        trained=loss(as_trained(trained)),
        after=loss(trained.eval()),
        blurry=loss_of(wanted, held_out.blurry, held_out.sharp, values=model.values),
        validations=[progress.validation for progress in seen if progress.validation is not None],
        metrics=list(read_metrics(folder / "run")),
    )


def _shortened(recipe: Recipe, *, steps: int, critic_width: int | None, folder: Path) -> Recipe:
    """The recipe for a short run, with features at random where a loss waits for a file of them."""
    warmup = min(recipe.schedule.warmup_steps, steps // 2)
    terms = tuple(
        replace(term, options={**term.options, "weights": str(_features(term.options, folder))})
        if term.loss == "perceptual"
        else term
        for term in recipe.terms
    )
    strategy: Strategy = recipe.strategy
    if hasattr(strategy, "pretrain_epochs"):  # the run ends within the first epoch
        strategy = replace(strategy, pretrain_epochs=0)
    critic: str | None = getattr(strategy, "critic", None)
    if critic_width is not None and critic and "width" in signature(import_object(critic)).parameters:
        strategy = replace(strategy, critic_options={**strategy.critic_options, "width": critic_width})
    return replace(
        recipe, loss=terms, strategy=strategy, schedule=replace(recipe.schedule, warmup_steps=warmup)
    )


def _features(options: Mapping[str, Any], folder: Path) -> Path:
    network = options.get("network", HOST.loss("perceptual").options["network"].default)
    return random_features(network, folder / f"{network}.pth")


def with_batch_statistics(network: nn.Module) -> nn.Module:
    """The network in evaluation mode, but for its norms; their running statistics stay."""
    copied = deepcopy(network).eval()
    for module in copied.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    return copied


def restored_by(network: nn.Module, blurry: Array, *, values: Values) -> Array:
    """What the network makes of pictures in [0, 1], in that range but unclipped."""
    with torch.no_grad():
        parts = [network(part) for part in _as_input(blurry, values).split(32)]
    restored: Array = torch.cat(parts).numpy().transpose(0, 2, 3, 1)
    return (restored + 1) / 2 if values is Values.SIGNED else restored


def _as_input(pictures: Array, values: Values) -> torch.Tensor:
    tensor = torch.from_numpy(pictures.transpose(0, 3, 1, 2))
    return 2 * tensor - 1 if values is Values.SIGNED else tensor
