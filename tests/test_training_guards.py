"""A training that goes wrong stops, or warns, and keeps what was good."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter

from deblur_cli.errors import CheckFailed, NotEnoughRoomError
from deblur_cli.host.manager import Host
from deblur_cli.host.optimizers import Optimizer
from deblur_cli.host.recipes import Recipe, Term
from deblur_cli.host.schedules import ConstantRate
from deblur_cli.host.strategies import WassersteinGP
from deblur_cli.training.alarms import Watch
from deblur_cli.training.engine import Ended, Progress
from deblur_cli.training.request import Request
from deblur_cli.training.session import run_training
from deblur_cli.training.validation import Validation
from deblur_cli.weights import read_header

PLUGIN = """
from deblur_cli import Facts, Geometry, Loss, Model, Option, Recipe, hookimpl

@hookimpl
def deblur_models():
    return [
        Model(
            name=name.lower(), summary="for a test", source="this test", network=f"faulty.parts:{name}",
            geometry=Geometry(halo=0), facts=Facts(parameters=1, kmacs_per_pixel=0.001), licence="MIT",
            recipes={"only": Recipe(loss="mse")},
        )
        for name in ("Gain", "Red", "Spots", "Dead", "Swapped", "Chequer", "Turning", "Spotting", "Overflowing")
    ]

@hookimpl
def deblur_losses():
    return [
        Loss(
            name="nan-later", summary="no number from a call on", build="faulty.parts:NanLater",
            options={"at": Option(type=int, default=1, help="the call")},
        ),
        Loss(name="rooted", summary="a finite loss without a gradient", function="faulty.parts:rooted"),
    ]
"""
PARTS = '''
import torch
from torch import nn

class Gain(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
    def forward(self, x):
        return self.spoil(x * self.gain)
    def spoil(self, x):
        return x

class Red(Gain):
    def spoil(self, x):
        return x + torch.tensor([0.3, 0, 0]).view(3, 1, 1)

class Spots(Gain):
    def spoil(self, x):
        return torch.where((x - 0.62).abs() < 0.12, x * 0 + 1, x)

class Dead(Gain):
    def spoil(self, x):
        return x * torch.tensor([1.0, 1.0, 0.0]).view(3, 1, 1)

class Swapped(Gain):
    def spoil(self, x):
        return x.flip(1)

class Turning(Gain):
    """Swaps its channels from the eleventh training step on."""
    spoilt = Swapped.spoil
    def __init__(self):
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))
    def spoil(self, x):
        self.steps += self.training
        return self.spoilt(x) if self.steps > 10 else x

class Spotting(Turning):
    """Paints spots from then on."""
    spoilt = Spots.spoil

class Chequer(Gain):
    def spoil(self, x):
        rows, columns = torch.arange(x.shape[2]).view(-1, 1), torch.arange(x.shape[3])
        return x + 0.05 * (1 - 2 * ((rows + columns) % 2))

class Overflowing(Gain):
    """Keeps a statistic, as a batch norm does, that only matters later."""
    def __init__(self):
        super().__init__()
        self.register_buffer("statistic", torch.zeros(1))
    def spoil(self, x):
        self.statistic.fill_(float("inf"))
        return x

class NanLater:
    def __init__(self, *, values, at):
        self.left = at
    def __call__(self, restored, sharp):
        loss = (restored - sharp).square().mean()
        if not torch.is_grad_enabled():  # a validation
            return loss
        self.left -= 1
        return loss * float("nan") if self.left <= 0 else loss

def rooted(restored, sharp):
    """The mean square plus a root at 0, whose slope is infinite."""
    return (restored - sharp).square().mean() + (restored - restored.detach()).square().sqrt().mean()

class NanCritic(nn.Module):
    """Fails from its ninth call on: in the third step, with four calls each."""
    def __init__(self):
        super().__init__()
        self.slope, self.calls = nn.Parameter(torch.tensor(0.01)), 0
    def forward(self, x):
        self.calls += 1
        return x * self.slope * (float("nan") if self.calls > 8 else 1)

class SteepCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(1000.0))
    def forward(self, x):
        return x * self.slope
'''
RECIPE = Recipe(
    loss="mse", optimizer=Optimizer(kind="adam", lr=1e-3), schedule=ConstantRate(), batch_size=4, patch=32
)
BATCHES = 5
"""Of an epoch: 2 x 80 x 128 px in crops of 32 px, four at once."""


@pytest.fixture(scope="module")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs to train on and one held out, 80x128 pieces of photographs and their Gaussian blur."""
    from skimage import data

    folder = tmp_path_factory.mktemp("pairs")
    for split, pictures in (("train", [data.astronaut(), data.coffee()]), ("val", [data.coffee()])):
        for name in ("blur", "sharp"):
            (folder / split / name).mkdir(parents=True)
        for i, picture in enumerate(pictures):
            sharp = picture[60:140, 150:278]
            blurry = np.rint(gaussian_filter(sharp.astype(float), (1.5, 1.5, 0))).astype(np.uint8)
            Image.fromarray(sharp).save(folder / split / "sharp" / f"{i}.png")
            Image.fromarray(blurry).save(folder / split / "blur" / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def plugin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "faulty").mkdir()
    (folder / "faulty" / "__init__.py").write_text(PLUGIN)
    (folder / "faulty" / "parts.py").write_text(PARTS)
    return folder


@pytest.fixture(autouse=True)
def plugin(plugin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DEBLUR_PLUGINS", "faulty")
    monkeypatch.syspath_prepend(plugin_folder)
    yield
    for name in ("faulty", "faulty.parts"):
        sys.modules.pop(name, None)


def train(
    pairs: Path,
    run: Path,
    *,
    model: str = "gain",
    steps: int = 100,
    warned: list[str] | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    **changes: object,
) -> Ended:
    """Train a network of one parameter; `changes` are the recipe's, or the request's."""
    request = Request(
        model=model, data=(str(pairs),), recipe=RECIPE, steps=steps, device="cpu", dtype="float32", seed=3
    )
    own = {name: changes.pop(name) for name in list(changes) if hasattr(request, name) and name != "recipe"}
    return run_training(
        replace(request, recipe=replace(RECIPE, **changes), **own),
        run,
        host=Host.discover(),
        command=["test"],
        report=report,
        warn=lambda message: None if warned is None else warned.append(message),
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def nan_at(call: int) -> Term:
    return Term(loss="nan-later", options={"at": call})


def test_a_loss_that_is_no_number_stops_with_the_step_and_leaves_the_checkpoint_of_before(
    pairs_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckFailed) as caught:
        train(pairs_folder, tmp_path / "run", loss=nan_at(2 * BATCHES + 2))
    said = str(caught.value)
    assert f"nan-later is not finite at step {2 * BATCHES + 2}" in said
    assert f"that of step {2 * BATCHES} in {tmp_path / 'run' / 'last'}" in said
    train(pairs_folder, tmp_path / "good", loss=nan_at(1000), steps=2 * BATCHES)
    saved, good = (load_file(tmp_path / name / "last" / "state.safetensors") for name in ("run", "good"))
    assert saved.keys() == good.keys()
    assert all(torch.equal(saved[name], good[name]) for name in good)


def test_the_command_says_so_in_one_line_and_the_run_is_a_start_for_another(
    pairs_folder: Path, tmp_path: Path, run
) -> None:
    words = ("train", "--data", pairs_folder, "-m", "gain", "--steps", 20, "--device", "cpu", "--set")
    settings = ("batch_size=4", "patch=32", f"loss={{nan-later={{at={BATCHES + 1}}}}}", "optimizer.lr=1e-2")
    done = run(*words, *settings, "-o", "mine", "-q")
    assert done.code == 3, done.err
    assert len(done.err.splitlines()) == 1
    assert f"at step {BATCHES + 1};" in done.err
    assert f"--init {Path('mine') / 'last'} and a lower learning rate, --set optimizer.lr=0.001," in done.err
    before = contents(tmp_path / "mine")
    again = run(
        *words, *settings[:2], "loss=mse", "optimizer.lr=0.001", "--init", "mine/last", "-o", "again", "-q"
    )
    assert again.code == 0, again.err
    assert contents(tmp_path / "mine") == before


def test_a_gradient_that_is_no_number_stops_before_the_first_update(
    pairs_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        CheckFailed, match=r"the gradient of the network is not finite at step 1; .* none yet"
    ) as caught:
        train(pairs_folder, tmp_path / "run", loss="rooted", save_every_s=0.0)
    assert "--init" not in str(caught.value)  # there is nothing to begin from
    assert not (tmp_path / "run" / "last").exists()


def test_a_critic_that_fails_is_named(pairs_folder: Path, tmp_path: Path) -> None:
    strategy = WassersteinGP(critic="faulty.parts:NanCritic", n_critic=1)
    with pytest.raises(CheckFailed, match="critic_restored is not finite at step 3"):
        train(pairs_folder, tmp_path / "run", strategy=strategy)


@pytest.mark.parametrize(
    ("lr", "changes", "said"),
    [
        (1e30, {}, "mse is not finite at step 2"),
        (1e30, {"crops_per_pair": 1, "batch_size": 2}, "the validation loss is not finite at step 1"),
    ],
    ids=["next step", "validation"],
)
def test_a_rate_far_too_high_stops_and_nothing_bad_is_saved(
    pairs_folder: Path, tmp_path: Path, lr: float, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(CheckFailed, match=said):
        train(pairs_folder, tmp_path / "run", optimizer=Optimizer(kind="adam", lr=lr), **changes)
    assert not (tmp_path / "run" / "last").exists()
    assert not (tmp_path / "run" / "best").exists()


@pytest.mark.parametrize(("save_every_s", "said"), [(0.0, "network.statistic"), (300.0, "statistic")])
def test_a_statistic_that_overflows_behind_finite_losses_is_not_saved(
    pairs_folder: Path, tmp_path: Path, save_every_s: float, said: str
) -> None:
    with pytest.raises(
        CheckFailed, match=f"^{said} is not finite at step {1 if save_every_s == 0 else BATCHES}"
    ):
        train(pairs_folder, tmp_path / "run", model="overflowing", save_every_s=save_every_s)
    assert not (tmp_path / "run" / "last").exists()
    assert not list((tmp_path / "run").rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("model", "found", "advice"),
    [
        ("red", "the mean of red moved", "--init"),
        ("spots", "became black or saturated", "learning rate"),
        ("dead", "the output has no blue at all", "--seed"),
        ("swapped", "channels seem to be swapped", "perceptual"),
        ("chequer", "a chequer pattern appeared", "more steps"),
    ],
)
def test_what_a_network_gets_wrong_is_warned_of_once(
    pairs_folder: Path, tmp_path: Path, model: str, found: str, advice: str
) -> None:
    warned: list[str] = []
    rate = Optimizer(kind="adam", lr=1e-6)
    assert (
        train(pairs_folder, tmp_path / "run", model=model, steps=3 * BATCHES, warned=warned, optimizer=rate)
        is Ended.DONE
    )
    (said,) = [message for message in warned if found in message]
    assert advice in said
    if model == "dead":  # which explains the colours too
        assert len(warned) == 1


@pytest.mark.parametrize(
    ("model", "found"),
    [("turning", "channels seem to be swapped"), ("spotting", "became black or saturated")],
)
def test_a_network_that_turns_bad_is_warned_of_and_its_best_weights_are_those_of_before(
    pairs_folder: Path, tmp_path: Path, model: str, found: str
) -> None:
    """The training goes on: it may turn good again. Nothing is said while all is well."""
    warned: list[str] = []
    said_after: list[int] = []

    def report(progress: Progress) -> None:
        if progress.validation is not None:
            said_after.append(len(warned))

    train(
        pairs_folder,
        tmp_path / "run",
        model=model,
        steps=4 * BATCHES,
        warned=warned,
        report=report,
        optimizer=Optimizer(kind="adam", lr=1e-6),
    )
    assert said_after[:2] == [0, 0]
    assert said_after[2] == said_after[3] == len(warned)  # once, at the first validation of what is bad
    assert [message for message in warned if found in message]
    steps = {
        name: read_header(tmp_path / "run" / name / "weights.safetensors").steps for name in ("best", "last")
    }
    assert steps["best"] <= 2 * BATCHES
    assert steps["last"] == 4 * BATCHES


def test_a_critic_that_collapses_is_warned_of(pairs_folder: Path, tmp_path: Path) -> None:
    warned: list[str] = []
    train(
        pairs_folder,
        tmp_path / "run",
        steps=BATCHES,
        strategy=WassersteinGP(critic="faulty.parts:SteepCritic", n_critic=1, adversarial=0.0),
        warned=warned,
    )
    assert any("the critic collapses: its gradient_penalty is" in message for message in warned)


def test_a_network_that_changes_nothing_is_told_of_at_the_end_only(
    pairs_folder: Path, tmp_path: Path
) -> None:
    warned: list[str] = []
    train(
        pairs_folder,
        tmp_path / "run",
        steps=2 * BATCHES,
        warned=warned,
        optimizer=Optimizer(kind="adam", lr=1e-9),
    )
    assert len(warned) == 1
    assert "all but unchanged (+0.000 dB)" in warned[0] or "all but unchanged (-0.000 dB)" in warned[0]


SCORES = Validation(val_loss=0.1, psnr=31.0, ssim=0.9, blurry_psnr=30.0, blurry_ssim=0.8)


def looked_at(shifts: Sequence[int]) -> list[str]:
    """What is said of validations whose red is so many code values too bright."""
    blurry = np.random.default_rng(0).integers(60, 120, (64, 64, 3), dtype=np.uint8)
    said: list[str] = []
    watch = Watch(said.append)
    for shift in shifts:
        restored = blurry.copy()
        restored[..., 0] += np.uint8(shift)
        watch.look([(blurry, restored)], SCORES, {})
    watch.conclude()
    return said


def test_an_alarm_comes_again_only_when_it_is_twice_as_bad() -> None:
    assert looked_at([0, 25]) == []  # 0.098 of full scale
    assert len(looked_at([0, 26])) == 1
    assert len(looked_at([30, 40, 59, 0, 30])) == 1
    assert len(looked_at([30, 40, 60, 70])) == 2


def test_an_honest_restoration_raises_no_alarm() -> None:
    from skimage import data

    sharp = data.coffee()[:200, :200]
    blurry = np.rint(gaussian_filter(sharp.astype(float), (1.5, 1.5, 0))).astype(np.uint8)
    said: list[str] = []
    watch = Watch(said.append)
    watch.look([(blurry, sharp)], SCORES, {"charbonnier": 0.01, "gradient_penalty": 9.0})
    watch.conclude()
    assert said == []


def test_a_reading_process_that_is_killed_is_told_of(pairs_folder: Path, tmp_path: Path) -> None:
    def kill(progress: Progress) -> None:
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)
            child.join()  # the loader learns of it here, not anywhere

    with pytest.raises(
        NotEnoughRoomError, match=r"was killed, .* Go on with fewer --workers: deblur train --resume"
    ):
        train(pairs_folder, tmp_path / "run", report=kill, workers=1)


LIMITED = """
import resource, sys
import torch
import deblur_cli.training.session
from deblur_cli.cli.app import main
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process so")
def test_a_lack_of_memory_names_sizes_that_may_fit_and_leaves_the_checkpoint(
    pairs_folder: Path, tmp_path: Path, run
) -> None:
    size = ("model.depth=2", "model.width=16", "batch_size=160", "crops_per_pair=160", "patch=64")
    begun = run("train", "--data", pairs_folder, "-m", "rednet30", "-o", "mine", "--set", *size, "--steps", 1, "--device", "cpu", "--dtype", "float32", "-q")  # fmt: skip
    assert begun.code == 0, begun.err
    before = contents(tmp_path / "mine" / "last")
    resumed = ["train", "--resume", "-o", "mine", "--steps", "2", "-q"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(200 << 20), *resumed],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 5, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "out of memory on cpu with batches of 160 crops of 64 px" in done.stderr
    assert "that of step 1 in mine/last" in done.stderr
    assert "--set batch_size=80, or with the batch in more parts, --set accumulate=2" in done.stderr
    assert contents(tmp_path / "mine" / "last") == before
    assert json.loads(before["state.json"])["step"] == 1
