"""Precision and speed: what they may change of a training, and what they may not."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

import deblur_rednet
from deblur_cli.errors import MissingError, UsageError
from deblur_cli.host.manager import Host
from deblur_cli.host.optimizers import Optimizer
from deblur_cli.host.recipes import Recipe
from deblur_cli.training.failures import explained
from deblur_cli.training.feeding.batches import Batch, Part
from deblur_cli.training.learning import Learning, NotFiniteError, Placement
from deblur_cli.training.objective import Objective
from deblur_cli.training.precision import choose_placement, compiled, repeatable
from deblur_cli.training.processes import Processes
from deblur_cli.training.recording.run_folder import RunFolder
from deblur_cli.training.request import Request
from deblur_cli.training.session import run_training
from deblur_cli.training.state import State

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pairs, 48x64 pieces of photographs and their Gaussian blur."""
    from skimage import data

    folder = tmp_path_factory.mktemp("pairs")
    for name in ("blur", "sharp"):
        (folder / name).mkdir()
    for i, picture in enumerate([data.astronaut(), data.coffee(), data.chelsea()]):
        sharp = picture[60:108, 150:214]
        blurry = np.rint(gaussian_filter(sharp.astype(float), (1.5, 1.5, 0))).astype(np.uint8)
        Image.fromarray(sharp).save(folder / "sharp" / f"{i}.png")
        Image.fromarray(blurry).save(folder / "blur" / f"{i}.png")
    return folder


def train(pairs: Path, run: Path, **changes: object) -> dict[str, Tensor]:
    """Three steps of a tiny rednet30; returns the tensors of its state."""
    request = Request(
        model="rednet30",
        data=(str(pairs),),
        recipe=replace(deblur_rednet.FAST, batch_size=4, patch=24, ema_decay=0.0, freeze_norm_after=1.0),
        options={"depth": 2, "width": 8},
        steps=3,
        device="cpu",
        dtype="float32",
        seed=3,
    )
    run_training(replace(request, **changes), run, host=Host.discover(), command=["test"])
    return load_file(run / "last" / "state.safetensors")


@pytest.fixture(scope="module")
def plain(pairs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run without any switch."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    train(pairs_folder, folder)
    return folder


def losses(run: Path) -> tuple[float, float]:
    """Of training and of validation, in the last row of metrics.csv."""
    header, *rows = (run / "metrics.csv").read_text().splitlines()
    row = dict(zip(header.split(","), rows[-1].split(","), strict=True))
    return float(row["train_loss"]), float(row["val_loss"])


def test_bfloat16_computes_in_bfloat16_and_keeps_float32(
    pairs_folder: Path, plain: Path, tmp_path: Path
) -> None:
    tensors = train(pairs_folder, tmp_path / "run", dtype="bfloat16")
    assert {tensor.dtype for name, tensor in tensors.items() if "num_batches" not in name} == {torch.float32}
    expected = load_file(plain / "last" / "state.safetensors")
    weight = "network.encoder.1.conv.weight"
    assert not torch.equal(tensors[weight], expected[weight])  # it made a difference
    for found, precise in zip(losses(tmp_path / "run"), losses(plain), strict=True):
        assert found == pytest.approx(precise, rel=0.02)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["environment"]["dtype"] == "bfloat16"


def test_float64_is_float64_throughout_and_agrees_with_float32(
    pairs_folder: Path, plain: Path, tmp_path: Path
) -> None:
    tensors = train(pairs_folder, tmp_path / "run", dtype="float64")
    kinds = {
        tensor.dtype
        for name, tensor in tensors.items()
        if "num_batches" not in name and not name.endswith(".step")
    }
    assert kinds == {torch.float64}
    for found, precise in zip(losses(plain), losses(tmp_path / "run"), strict=True):
        assert found == pytest.approx(precise, rel=1e-4)


def test_what_cannot_be_trained_with_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match="which takes CUDA"):
        choose_placement(CPU, dtype="float16", channels_last=True)
    with pytest.raises(UsageError, match="no float64"):
        choose_placement(torch.device("mps"), dtype="float64", channels_last=True)
    with pytest.raises(UsageError, match="no dtype 'half'"):
        choose_placement(CPU, dtype="half", channels_last=True)
    assert (
        choose_placement(torch.device("cuda"), dtype="float16", channels_last=True).parameters
        == torch.float32
    )


def test_the_memory_format_changes_the_layout_and_hardly_a_digit(
    pairs_folder: Path, plain: Path, tmp_path: Path
) -> None:
    for wanted in (True, False):
        placement = choose_placement(CPU, dtype="float32", channels_last=wanted)
        learner = placement.learner("network", nn.Conv2d(3, 8, 3), Optimizer())
        pictures = placement.pictures(
            torch.zeros(2, 3, 8, 8, dtype=torch.uint8), values=deblur_rednet.MODELS[0].values
        )
        assert pictures.is_contiguous(memory_format=torch.channels_last) == wanted
        assert learner.network.weight.is_contiguous(memory_format=torch.channels_last) == wanted
        nothing = placement.pictures(
            torch.empty(0, 3, 1, 1, dtype=torch.uint8), values=deblur_rednet.MODELS[0].values
        )
        assert nothing.shape == (0, 3, 1, 1)
    train(pairs_folder, tmp_path / "run", channels_last=False)
    for found, expected in zip(losses(tmp_path / "run"), losses(plain), strict=True):
        assert found == pytest.approx(expected, rel=1e-4)


def test_averaged_weights_keep_their_spectral_norms() -> None:
    """While its kernel turns about, so does the direction in which a spectral norm measures it."""
    torch.manual_seed(0)
    layer = spectral_norm(nn.Linear(12, 8, bias=False), n_power_iterations=5)
    placement = Placement(device=CPU, compute=torch.float32)
    state = State.begin((placement.learner("network", layer, Optimizer()),), ema_decay=0.5)
    assert state.average is not None
    for step in range(20):
        turned = torch.zeros(8, 12)
        turned[:2, :2] = torch.tensor([[np.cos(0.5 * step)], [np.sin(0.5 * step)]]) * torch.tensor(
            [[1.0, 0.0]]
        )
        with torch.no_grad():
            layer.parametrizations.weight.original.copy_(3 * turned + 0.1 * torch.randn(8, 12))
        layer(torch.zeros(1, 12))
        state.average.update_parameters(layer)
        averaged = state.evaluated.eval()
        assert np.linalg.norm(averaged.weight.detach().numpy(), 2) == pytest.approx(1, abs=0.05)


class Scaled:
    """One weight w that learns the loss `slope * w`, its losses scaled by 2^16 as float16 needs it on CUDA."""

    def __init__(self, *, enabled: bool = True) -> None:
        placement = Placement(device=CPU, compute=torch.float16 if enabled else torch.float32)
        network = nn.Linear(1, 1, bias=False)
        nn.init.ones_(network.weight)
        self.learner = placement.learner("network", network, Optimizer(kind="adam", lr=0.1))
        self._learning = Learning(
            generator=self.learner,
            objective=Objective(terms=[]),
            placement=placement,
            clip_norm=1.0,
            processes=Processes(),
            seed=0,
        )
        self.state = State.begin((self.learner,), ema_decay=0.0)

    @property
    def weight(self) -> float:
        return float(self.learner.network.weight.detach())

    @property
    def scale(self) -> float:
        return self.learner.scaler.get_scale()

    def update(self, slope: float | None) -> None:
        """One step; without a slope the loss is a root at 0, finite but for its gradient."""
        weight = self.learner.network.weight
        picture = torch.zeros(1, 3, 1, 1)
        part = Part(blurry=picture, sharp=picture, samples=slice(0, 1), share=1.0)

        def losses_of(part: Part) -> dict[str, Tensor]:
            loss = (weight - weight.detach()).square().sqrt() if slope is None else slope * weight
            return {"loss": loss.sum()}

        self._learning.update(self.learner, Batch(parts=(part,), size=1), losses_of)


def test_a_scaled_loss_gives_the_very_same_update() -> None:
    scaled, plain = Scaled(), Scaled(enabled=False)
    for slope in (0.5, 3.0, -0.25):  # clipped and not: the clipping sees the gradient unscaled
        for one in (scaled, plain):
            one.update(slope)
        assert scaled.weight == plain.weight
    assert (scaled.scale, plain.scale) == (2.0**16, 1.0)


def test_a_gradient_that_overflows_scaled_is_no_failure_but_a_step_left_out() -> None:
    scaled = Scaled()
    scaled.update(1e36)  # times 2^16 it is infinite
    assert (scaled.weight, scaled.scale) == (1.0, 2.0**15)
    scaled.update(0.5)
    assert scaled.weight < 1.0


def test_a_gradient_that_overflows_at_any_scale_is_a_failure() -> None:
    scaled = Scaled()
    for _ in range(16):
        scaled.update(None)
    assert scaled.scale == 1.0
    with pytest.raises(NotFiniteError, match="the gradient of the network"):
        scaled.update(None)
    assert scaled.weight == 1.0


def test_the_scale_is_part_of_the_state() -> None:
    before, after = Scaled(), Scaled()
    for slope in (0.5, 1e36, 0.5):
        before.update(slope)
    after.state.restore(before.state.tensors(), json.loads(json.dumps(before.state.scalars())))
    assert after.scale == before.scale == 2.0**15
    for one in (before, after):
        one.update(0.25)
    assert after.weight == before.weight


@pytest.fixture
def switches() -> Iterator[Callable[[], tuple[object, ...]]]:
    """What `repeatable` sets, as it is now."""

    def now() -> tuple[object, ...]:
        cudnn = torch.backends.cudnn
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            cudnn.deterministic,
            cudnn.benchmark,
            os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        )

    return now


def test_determinism_is_switched_on_and_leaves_nothing_behind(
    pairs_folder: Path, plain: Path, tmp_path: Path, switches: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = switches()
    with repeatable(wanted=True):
        assert switches() == (True, False, True, False, ":4096:8")
    assert switches() == before
    with repeatable(wanted=False):
        assert switches() == before
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with repeatable(wanted=True):
        assert switches()[-1] == ":16:8"  # the user's own, which will do as well
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    found = train(pairs_folder, tmp_path / "run", deterministic=True)
    assert switches() == before
    expected = load_file(plain / "last" / "state.safetensors")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["request"]["deterministic"] is True


def test_an_operation_without_a_deterministic_form_is_named(tmp_path: Path, switches: Callable) -> None:
    before = switches()
    with (
        pytest.raises(
            UsageError, match=r"--deterministic: put_ has no deterministic form on cpu; begin a new run"
        ),
        repeatable(wanted=True),
        explained(Recipe(), patch=8, device=CPU, run=RunFolder(tmp_path)),
    ):
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))
    assert switches() == before


WORDS = (
    "-m",
    "rednet30",
    "-o",
    "mine",
    "--steps",
    "3",
    "--device",
    "cpu",
    "--dtype",
    "float32",
    "--seed",
    "3",
    "-q",
)
SETTINGS = (
    "--set",
    "model.depth=2",
    "model.width=8",
    "batch_size=4",
    "patch=24",
    "ema_decay=0",
    "freeze_norm_after=1",
)


def apart(words: list[str], cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "deblur_cli", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1", **changes},
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a C++ compiler")
def test_a_compiled_network_learns_the_same_and_is_saved_under_its_own_names(
    pairs_folder: Path, plain: Path, tmp_path: Path
) -> None:
    done = apart(["train", "--data", str(pairs_folder), *WORDS, *SETTINGS, "--compile"], tmp_path)
    assert done.returncode == 0, done.stderr
    found, expected = (
        load_file(folder / "last" / "state.safetensors") for folder in (tmp_path / "mine", plain)
    )
    assert found.keys() == expected.keys()
    for one, other in zip(losses(tmp_path / "mine"), losses(plain), strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    assert json.loads((tmp_path / "mine" / "run.json").read_text())["request"]["compile"] is True


@pytest.mark.slow
@pytest.mark.parametrize("script", [None, 'case "$*" in *--version*) echo 13;; *) exit 1;; esac'])
def test_without_a_compiler_that_works_no_run_begins(
    pairs_folder: Path, tmp_path: Path, script: str | None
) -> None:
    (tmp_path / "bin").mkdir()
    if script is not None:
        (tmp_path / "bin" / "g++").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / "g++").chmod(0o755)
    words = ["train", "--data", str(pairs_folder), *WORDS, *SETTINGS, "--compile"]
    done = apart(words, tmp_path, PATH=str(tmp_path / "bin"), CXX="")
    assert done.returncode == 4, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert re.match(
        r"deblur: --compile takes a compiler that works here, such as g\+\+ \(.+\); install one", done.stderr
    )
    assert not (tmp_path / "mine").exists()


def test_only_the_network_that_is_released_is_compiled(
    pairs_folder: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's own backend without a compiler stands in for the compiler, and counts what it is given."""
    given: list[str] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        given.append(graph.code)
        return graph.forward

    compile_ = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda *args, **changes: compile_(*args, backend=backend, **changes)
    )
    try:
        found = train(pairs_folder, tmp_path / "run", compile=True)
    finally:
        torch.compiler.reset()
    expected = load_file(plain / "last" / "state.safetensors")
    assert found.keys() == expected.keys()  # no _orig_mod
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert (
        sum("conv2d" in code for code in given) == 1
    )  # one form for all steps; the validation takes the plain one


def test_a_probe_that_fails_leaves_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **changes: object) -> Callable[[Tensor], Tensor]:
        raise RuntimeError("backend='inductor' raised:\nInvalidCxxCompiler: nothing found\n\nmore")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(MissingError, match=re.escape("(InvalidCxxCompiler: nothing found); install one")):
        compiled(nn.Conv2d(3, 3, 3), device=CPU)
