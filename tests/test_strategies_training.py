"""Strategies through whole trainings, one of them a plugin's, on a plugin's network without batch norm."""

import csv
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter
from torch import Tensor

from deblur_cli import ConditionalGAN, Optimizer, Recipe, Staircase, Strategy, Supervised, WassersteinGP
from deblur_cli.host.manager import Host
from deblur_cli.training.engine import Ended
from deblur_cli.training.request import Request
from deblur_cli.training.session import run_training

TINY = {"depth": 2, "width": 8}  # of rednet30

PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar
from deblur_cli import Facts, Geometry, Model, Option, Recipe, Strategy, hookimpl

@dataclass(frozen=True, slots=True, kw_only=True)
class LeastSquares(Strategy):
    steps: ClassVar[str] = "lsgan_plugin.steps:LeastSquaresSteps"
    adversarial: float = 0.01
    width: int = 4

@hookimpl
def deblur_models():
    return [
        Model(
            name="plain", summary="two convolutions", source="this test", licence="MIT",
            network="lsgan_plugin.network:Plain", geometry=Geometry(halo=2),
            facts=Facts(parameters=223, kmacs_per_pixel=0.2), values="signed",
            recipes={
                "mse": Recipe(loss="mse", epochs=2, batch_size=4, patch=16),
                "lsgan": Recipe(loss="mse", strategy=LeastSquares(adversarial=0.02), epochs=2, batch_size=4, patch=16),
            },
        )
    ]
"""
PLUGIN_NETWORK = """
import torch
from torch import nn

class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 3, 3, padding=1)
    def forward(self, blurry):
        return blurry + self.last(torch.tanh(self.first(blurry)))

class Judge(nn.Module):
    def __init__(self, *, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3), nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 3))
    def forward(self, picture):
        return self.layers(picture)
"""
PLUGIN_STEPS = """
import torch
from deblur_cli import Optimizer
from deblur_cli.training.strategies import Batch, Learning, Part, build_critic, without_gradients

class LeastSquaresSteps:
    \"\"\"LSGAN (Mao et al. 2017).\"\"\"

    def __init__(self, recipe, learning: Learning):
        self._adversarial = recipe.strategy.adversarial
        self._learning = learning
        self._judge = build_critic(
            "lsgan_plugin.network:Judge", {"width": recipe.strategy.width}, Optimizer(lr=1e-3), learning, name="judge"
        )
        self.learners = (self._judge,)

    def batches_needed(self, epoch):
        return 1

    def step(self, batches, *, epoch):
        judged = self._learning.update(self._judge, batches[0], self._of_judge)
        with without_gradients(self._judge.network):
            return {**self._learning.update(self._learning.generator, batches[0], self._of_network), **judged}

    def _of_judge(self, part: Part):
        with torch.no_grad():
            restored = self._learning.restore(part)[0]
        return {
            "judge_sharp": (self._judge.network(part.sharp) - 1).square().mean(),
            "judge_restored": self._judge.network(restored).square().mean(),
        }

    def _of_network(self, part: Part):
        outputs = self._learning.restore(part)
        deceived = (self._judge.network(outputs[0]) - 1).square().mean()
        return {**self._learning.content(outputs, part), "deceived": self._adversarial * deceived}
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What makes the plugin known."""
    folder = tmp_path_factory.mktemp("plugin")
    package = folder / "lsgan_plugin"
    package.mkdir()
    for name, text in (("__init__", PLUGIN), ("network", PLUGIN_NETWORK), ("steps", PLUGIN_STEPS)):
        (package / f"{name}.py").write_text(text)
    return {"PYTHONPATH": str(folder), "DEBLUR_PLUGINS": "lsgan_plugin"}


@pytest.fixture
def host(plugin: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host that knows the plugin."""
    monkeypatch.syspath_prepend(plugin["PYTHONPATH"])
    return Host.discover(environ={"DEBLUR_PLUGINS": plugin["DEBLUR_PLUGINS"]})


@pytest.fixture(scope="module")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pairs, 64x64 pieces of photographs and their Gaussian blur of sigma 1.5."""
    from skimage import data

    folder = tmp_path_factory.mktemp("pairs")
    for name in ("blur", "sharp"):
        (folder / name).mkdir()
    taken = [data.astronaut(), data.coffee(), data.chelsea()]
    for i in range(6):
        sharp = taken[i % 3][60 + 20 * i : 124 + 20 * i, 150:214]
        blurry = np.rint(gaussian_filter(sharp.astype(float), (1.5, 1.5, 0))).astype(np.uint8)
        Image.fromarray(sharp).save(folder / "sharp" / f"{i}.png")
        Image.fromarray(blurry).save(folder / "blur" / f"{i}.png")
    return folder


def request(folder: Path, recipe: Recipe, **changes: object) -> Request:
    base = Request(
        model="plain", data=(str(folder),), recipe=recipe, device="cpu", dtype="float32", seed=3, steps=4
    )
    return replace(base, **changes)


def train(wanted: Request, folder: Path, *, host: Host, stop_at: int | None = None, **more: Any) -> Ended:
    seen: list[int] = []
    return run_training(
        wanted,
        folder,
        host=host,
        command=["test"],
        should_stop=lambda: stop_at is not None and len(seen) >= stop_at,
        report=lambda progress: seen.append(progress.step),
        **more,
    )


def rows_of(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))


def state_of(run: Path) -> dict[str, Tensor]:
    return load_file(run / "last" / "state.safetensors")


WGAN = WassersteinGP(critic_options={"width": 2}, n_critic=2, adversarial=0.1)


@pytest.mark.parametrize("strategy", [Supervised(), WGAN], ids=["supervised", "wgan-gp"])
def test_parts_of_a_batch_train_as_the_whole_one_does(
    pairs_folder: Path, tmp_path: Path, host: Host, strategy: Strategy
) -> None:
    """7 samples in 3 parts of 2, 2 and 3, in float64."""
    recipe = Recipe(loss="logcosh", strategy=strategy, batch_size=7, patch=16, clip_norm=0.05)
    for parts in (1, 3):
        wanted = request(pairs_folder, replace(recipe, accumulate=parts), dtype="float64")
        train(wanted, tmp_path / str(parts), host=host)
    one, other = (state_of(tmp_path / str(parts)) for parts in (1, 3))
    assert one.keys() == other.keys()
    assert any(name.startswith("critic.") for name in one) is (strategy is WGAN)
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=1e-10, msg=name)
    for first, second in zip(*(rows_of(tmp_path / str(parts)) for parts in (1, 3)), strict=True):
        for name in first.keys() - {"seconds"}:
            assert float(first[name]) == pytest.approx(float(second[name]), rel=1e-9)


def test_a_run_saves_the_average_of_the_weights_it_went_through(
    pairs_folder: Path, tmp_path: Path, host: Host
) -> None:
    recipe = Recipe(loss="mse", batch_size=4, patch=16)
    for steps in (1, 2, 3):
        train(request(pairs_folder, recipe, steps=steps), tmp_path / str(steps), host=host)
    train(request(pairs_folder, replace(recipe, ema_decay=0.9), steps=3), tmp_path / "mean", host=host)
    mean: dict[str, Tensor] = {}
    for number, steps in enumerate((1, 2, 3)):
        weights = load_file(tmp_path / str(steps) / "last" / "weights.safetensors")
        share = min(0.9, (1 + number) / (10 + number)) if number else 0.0
        mean = {name: share * mean.get(name, value) + (1 - share) * value for name, value in weights.items()}
    found = load_file(tmp_path / "mean" / "last" / "weights.safetensors")
    for name, value in mean.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6)
    assert not torch.equal(found["last.weight"], state_of(tmp_path / "mean")["network.last.weight"])


def test_the_schedule_sets_the_rate_of_the_network_and_of_the_critic(
    pairs_folder: Path, tmp_path: Path, host: Host
) -> None:
    recipe = Recipe(loss="mse", strategy=WGAN, batch_size=16, patch=16, epochs=2)
    still = replace(recipe, schedule=Staircase(rate=1e-12, every=1))  # nothing moves after the first epoch
    train(request(pairs_folder, recipe, steps=None, epochs=1), tmp_path / "one", host=host)
    train(request(pairs_folder, still, steps=None), tmp_path / "still", host=host)
    train(request(pairs_folder, recipe, steps=None), tmp_path / "moving", host=host)
    one, two, moving = (state_of(tmp_path / name) for name in ("one", "still", "moving"))
    for name in ("network.first.weight", "network.last.weight", "critic.layers.0.weight"):
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=1e-7)
        assert not torch.allclose(one[name], moving[name], rtol=0, atol=1e-5)


def test_batch_norms_stand_still_after_their_share_of_the_training(
    pairs_folder: Path, tmp_path: Path, host: Host
) -> None:
    recipe = Recipe(loss="mse", batch_size=4, patch=16, freeze_norm_after=0.5)
    wanted = request(pairs_folder, recipe, model="rednet30", options=TINY, steps=6)
    train(
        wanted, tmp_path / "half", host=host, stop_at=2
    )  # after the third step: it is asked before it is told
    train(wanted, tmp_path / "whole", host=host)
    free = replace(wanted, recipe=replace(recipe, freeze_norm_after=1.0))
    train(free, tmp_path / "free", host=host)
    states = {name: state_of(tmp_path / name) for name in ("half", "whole", "free")}
    for name in ("running_mean", "running_var"):
        found = {run: state[f"network.encoder.0.norm.{name}"] for run, state in states.items()}
        assert torch.equal(found["half"], found["whole"])
        assert not torch.equal(found["half"], found["free"])
    learnt = "network.encoder.0.norm.weight"  # it goes on
    assert not torch.equal(states["half"][learnt], states["whole"][learnt])


@pytest.mark.parametrize(
    ("budget", "alone", "validated"),
    [
        ({"epochs": 4, "steps": None}, 40, [20, 40, 46, 52]),
        ({"epochs": 2, "steps": None}, 20, [20, 26]),
        ({"epochs": 1, "steps": None}, 10, [13]),
        ({"steps": 50}, 25, [20, 30, 36, 42, 48, 50]),  # half of the steps; in the middle of the second epoch
    ],
    ids=["epochs", "fewer epochs", "one epoch", "steps"],
)
def test_a_run_logs_the_critic_from_the_end_of_the_pre_training_on(
    pairs_folder: Path,
    tmp_path: Path,
    host: Host,
    budget: dict[str, int | None],
    alone: int,
    validated: list[int],
) -> None:
    """Half of the training, however many epochs or steps a user gives it. 20 batches an epoch; with the critic a step takes 3."""
    strategy = replace(WGAN, pretrain_epochs=2, critic_batches="fresh")
    recipe = Recipe(loss="mse", strategy=strategy, epochs=4, batch_size=4, patch=16)
    seen: list[Mapping[str, float]] = []
    run_training(
        request(pairs_folder, recipe, **budget),
        tmp_path / "run",
        host=host,
        command=["test"],
        report=lambda found: seen.append(found.losses) if found.validation is None else None,
    )
    assert [int(row["step"]) for row in rows_of(tmp_path / "run")] == validated
    names = {"adversarial", "critic_restored", "critic_sharp", "gradient_penalty"}
    for number, losses in enumerate(seen):
        assert losses.keys() == ({"mse"} if number < alone else {"mse", *names})
        assert all(math.isfinite(value) for value in losses.values())
        assert losses.get("gradient_penalty", 0) >= 0
    first = 0
    for row in rows_of(tmp_path / "run"):
        steps = seen[first : int(row["step"])]
        for name in ("mse", *names):
            found = [losses[name] for losses in steps if name in losses]
            assert (
                row[f"train_{name}"] == ""
                if not found
                else float(row[f"train_{name}"]) == pytest.approx(np.mean(found))
            )
        first = int(row["step"])


def test_the_strategy_of_a_plugin_trains_and_resumes_by_the_command(
    pairs_folder: Path, tmp_path: Path, run, plugin: Mapping[str, str]
) -> None:
    words = ("train", "--data", pairs_folder, "-m", "plain", "--recipe", "lsgan", "--device", "cpu", "--json")
    for name, steps in (("whole", 5), ("parts", 2)):
        done = run(*words, "-o", name, "--steps", steps, env=plugin)
        assert done.code == 0, done.err
    resumed = run("train", "--resume", "-o", "parts", "--steps", "5", env=plugin)
    assert resumed.code == 0, resumed.err
    whole, parts = state_of(tmp_path / "whole"), state_of(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    assert {name.split(".")[0] for name in whole} == {"network", "judge", "optimizer"}
    assert {name for name in rows_of(tmp_path / "whole")[0] if name.startswith("train_")} == {
        "train_loss",
        "train_mse",
        "train_deceived",
        "train_judge_sharp",
        "train_judge_restored",
    }


def test_a_recipe_file_names_the_strategy_of_a_plugin_by_its_import_path(
    pairs_folder: Path, tmp_path: Path, run, plugin: Mapping[str, str]
) -> None:
    words = ("train", "--data", pairs_folder, "-m", "plain", "-o", "mine", "--device", "cpu", "--steps", "1")
    recipe = tmp_path / "mine.toml"
    text = """
        loss = "mse"
        batch_size = 4
        patch = 16
        [strategy]
        kind = "lsgan_plugin:LeastSquares"
        WIDTH
    """
    recipe.write_text(text.replace("WIDTH", "widht = 6"))
    refused = run(*words, "--recipe", recipe, env=plugin)
    assert refused.code == 2
    assert "strategy" in refused.err
    assert "has no 'widht'" in refused.err
    assert "did you mean width?" in refused.err
    recipe.write_text(text.replace("WIDTH", "width = 6").replace(":LeastSquares", ":LeastSquare"))
    refused = run(*words, "--recipe", recipe, env=plugin)
    assert refused.code == 2
    assert "lsgan_plugin:LeastSquare" in refused.err
    recipe.write_text(text.replace("WIDTH", "width = 6"))
    done = run(*words, "--recipe", recipe, env=plugin)
    assert done.code == 0, done.err
    assert state_of(tmp_path / "mine")["judge.layers.0.weight"].shape == (6, 3, 3, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "strategy",
    [
        WassersteinGP(critic_options={"width": 4}, optimizer=Optimizer(lr=1e-3, betas=(0.5, 0.9))),
        ConditionalGAN(critic_options={"width": 4}, adversarial=1e-3),
    ],
    ids=["wgan-gp", "conditional-gan"],
)
def test_an_adversarial_training_lowers_the_content_loss(
    pairs_folder: Path, tmp_path: Path, strategy: Strategy
) -> None:
    recipe = Recipe(
        loss="mse", strategy=strategy, optimizer=Optimizer(lr=1e-3), batch_size=4, patch=24, epochs=5
    )
    wanted = request(pairs_folder, recipe, model="rednet30", options=TINY, steps=None)
    train(wanted, tmp_path / "run", host=Host.discover())
    rows = [{name: float(value) for name, value in row.items()} for row in rows_of(tmp_path / "run")]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert len(rows[0].keys() & {"train_adversarial", "train_critic_sharp", "train_critic_restored"}) == 3
    assert rows[-1]["train_mse"] < 0.5 * rows[0]["train_mse"]
