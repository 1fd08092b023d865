"""The loss of a recipe: sums of several losses on one or several scales, and losses that plugins bring."""

import csv
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from deblur_cli.errors import CheckFailed
from deblur_cli.host.checks import DeclarationError
from deblur_cli.host.declarations import Loss, Option, Values
from deblur_cli.host.manager import Host
from deblur_cli.host.recipes import Recipe, Scales, Term
from deblur_cli.training.objective import Objective, build_objective, reduced_to
from deblur_cli.weights import read_header

Array = NDArray[np.float64]
FORMULAS: dict[str, Callable[[Array], Array]] = {
    "mse": np.square,
    "mae": np.abs,
    "logcosh": lambda error: np.log(np.cosh(error)),
    "charbonnier": lambda error: np.sqrt(error**2 + 1e-6),
}


def objective(*terms: Term) -> Objective:
    return build_objective(
        Host.discover(),
        Recipe(loss=terms),
        values=Values.UNIT,
        device=torch.device("cpu"),
        dtype=torch.float64,
    )


def pictures(*sizes: tuple[int, int]) -> list[Tensor]:
    """Four random pictures of each size (height, width)."""
    rng = np.random.default_rng(3)
    return [torch.from_numpy(rng.random((4, 3, *size))) for size in sizes]


def reduced(sharp: Tensor, height: int, width: int) -> Array:
    """Each picture reduced by OpenCV, (B, C, H, W) -> (B, C, height, width)."""
    found = [
        cv2.resize(picture.permute(1, 2, 0).numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
        for picture in sharp
    ]
    return np.stack(found).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("size", [(12, 16), (6, 8), (6, 4), (3, 4), (7, 9), (5, 16), (1, 1), (12, 5)])
def test_targets_of_coarser_scales_are_those_of_opencv(size: tuple[int, int]) -> None:
    sharp, like = pictures((12, 16), size)
    np.testing.assert_allclose(reduced_to(sharp, like).numpy(), reduced(sharp, *size), atol=1e-12)


@pytest.mark.parametrize("size", [(6, 9), (7, 11), (13, 21)])
def test_targets_of_odd_pictures_are_those_of_opencv(size: tuple[int, int]) -> None:
    sharp, like = pictures((13, 21), size)
    np.testing.assert_allclose(reduced_to(sharp, like).numpy(), reduced(sharp, *size), atol=1e-12)


def test_a_half_is_the_mean_of_four_and_a_quarter_that_of_the_inner_four_of_sixteen() -> None:
    sharp, half, quarter = pictures((8, 12), (4, 6), (2, 3))
    cells = sharp.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2))
    torch.testing.assert_close(reduced_to(sharp, half), cells.mean(dim=(-3, -1)))
    cells = sharp.unflatten(-1, (-1, 4)).unflatten(-3, (-1, 4))[..., 1:3, :, 1:3]
    torch.testing.assert_close(reduced_to(sharp, quarter), cells.mean(dim=(-3, -1)))


@pytest.mark.parametrize("name", FORMULAS)
def test_the_multi_scale_loss_of_any_loss_is_equation_4_3(name: str) -> None:
    """S0, eq. 4.3: 1/(2K) sum over scales of the sum over a picture divided by its c w h; then the mean over the batch."""
    outputs = pictures((12, 16), (6, 8), (3, 4))
    (sharp,) = pictures((12, 16))
    each = np.zeros(4)
    for output in outputs:
        _, channels, height, width = output.shape
        error = output.numpy() - reduced(sharp, height, width)
        each += FORMULAS[name](error).sum(axis=(1, 2, 3)) / (channels * width * height)
    expected = (each / (2 * 3)).mean()
    found = objective(Term(loss=name, scales="half-mean"))(outputs, sharp)
    assert {key: float(value) for key, value in found.items()} == {name: pytest.approx(expected, rel=1e-12)}


@pytest.mark.parametrize("sizes", [((12, 16), (6, 8)), ((12, 16), (6, 8), (3, 4)), ((13, 21), (7, 11))])
def test_the_loss_of_srn_is_the_sum_of_mean_squares(sizes: Sequence[tuple[int, int]]) -> None:
    """S2: mean (S_k - R_k)^2 of each scale, weights 1; two scales for its own networks, three for the original."""
    outputs = pictures(*sizes)
    (sharp,) = pictures(sizes[0])
    expected = sum(np.mean((output.numpy() - reduced(sharp, *output.shape[2:])) ** 2) for output in outputs)
    found = objective(Term(loss="mse", scales="sum"))(outputs, sharp)
    assert float(found["mse"]) == pytest.approx(expected, rel=1e-12)


def test_without_a_word_the_finest_counts_alone() -> None:
    outputs = [picture.requires_grad_() for picture in pictures((12, 16), (6, 8))]
    (sharp,) = pictures((12, 16))
    found = objective(Term(loss="mse"))(outputs, sharp)["mse"]
    assert found.item() == pytest.approx((outputs[0] - sharp).square().mean().item())
    fine, coarse = torch.autograd.grad(found, outputs, allow_unused=True)
    assert fine is not None
    assert coarse is None


@pytest.mark.parametrize(("scales", "share"), [(Scales.SUM, 1.0), (Scales.HALF_MEAN, 1 / 6)])
def test_every_scale_learns_by_its_share(scales: Scales, share: float) -> None:
    outputs = [picture.requires_grad_() for picture in pictures((12, 16), (6, 8), (3, 4))]
    (sharp,) = pictures((12, 16))
    total = objective(Term(loss="mse", weight=5.0, scales=scales))(outputs, sharp)["mse"]
    for output, slope in zip(outputs, torch.autograd.grad(total, outputs), strict=True):
        error = output.detach().numpy() - reduced(sharp, *output.shape[2:])
        np.testing.assert_allclose(slope.numpy(), 5 * share * 2 * error / error.size, rtol=1e-9, atol=1e-15)


def test_one_output_is_one_scale() -> None:
    """As where a network that returns several while it trains is validated."""
    (output,), (sharp,) = pictures((12, 16)), pictures((12, 16))
    once = float((output - 1).square().mean())
    sharp = torch.ones_like(sharp)
    assert float(objective(Term(loss="mse", scales="sum"))((output,), sharp)["mse"]) == pytest.approx(once)
    half = objective(Term(loss="mse", scales="half-mean"))((output,), sharp)["mse"]
    assert float(half) == pytest.approx(once / 2)


def test_a_mixed_loss_is_the_sum_of_its_weighted_parts_by_name() -> None:
    outputs = pictures((12, 16), (6, 8))
    (sharp,) = pictures((12, 16))
    found = objective(
        Term(loss="mae", weight=100.0),
        Term(loss="logcosh", weight=0.5, scales="sum"),
        Term(loss="charbonnier", options={"eps": 0.25}),
    )(outputs, sharp)
    errors = [output.numpy() - reduced(sharp, *output.shape[2:]) for output in outputs]
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {
            "mae": 100 * np.abs(errors[0]).mean(),
            "logcosh": 0.5 * sum(np.log(np.cosh(error)).mean() for error in errors),
            "charbonnier": np.hypot(errors[0], 0.25).mean(),
        }
    )


@pytest.mark.parametrize(
    "sizes", [[(6, 8), (12, 16)], [], [(12, 15)], [(12, 16), (13, 8)], [(12, 16), (6, 17)]]
)
def test_a_network_that_returns_other_sizes_is_refused(sizes: Sequence[tuple[int, int]]) -> None:
    (sharp,) = pictures((12, 16))
    with pytest.raises(CheckFailed, match=r"sharp ones of \(4, 3, 12, 16\); the finest must come first"):
        objective(Term(loss="mse", scales="sum"))(pictures(*sizes), sharp)


@pytest.mark.parametrize("value", [torch.zeros(4), torch.zeros(1), 0.5, None])
def test_a_loss_that_is_no_single_number_is_refused(value: object) -> None:
    def wrong(restored: torch.Tensor, sharp: torch.Tensor) -> Any:
        return value

    (sharp,) = pictures((12, 16))
    with pytest.raises(CheckFailed, match=r"the loss mine returned .*; it must be one number as a tensor"):
        Objective(terms=[(Term(loss="mine"), wrong)])((sharp,), sharp)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"function": ""}, "function"),
        ({"build": "a.b:c"}, "function"),
        ({"function": "nonsense"}, "import path"),
        ({"options": {"eps": 0.1}}, "names to Option"),
        ({"options": {"weight": Option(type=float, default=1.0, help="x")}}, "those of every loss"),
        ({"options": {"scales": Option(type=str, default="", help="x")}}, "those of every loss"),
        ({"files": ("table",)}, "names of its options that are texts"),
        (
            {"files": ("table",), "options": {"table": Option(type=int, default=1, help="x")}},
            "names of its options that are texts",
        ),
    ],
)
def test_a_loss_that_contradicts_itself_is_refused(changes: Mapping[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=f"loss mine: .*{said}"):
        Loss(**{"name": "mine", "summary": "a test's", "function": "a.b:c", **changes})


PLUGIN = '''
"""A network of three scales, and losses with options, one of which reads a file."""
from deblur_cli import Dataset, Facts, Geometry, Loss, Model, Option, Optimizer, Recipe, Term, hookimpl

@hookimpl
def deblur_models():
    recipe = Recipe(
        loss=(
            Term(loss="logcosh", scales="half-mean"),
            Term(loss="mse", weight=2.0, scales="sum"),
            Term(loss="tuned", weight=0.5, options={"factor": 4.0}),
        ),
        optimizer=Optimizer(lr=0.01), batch_size=1, patch=16, epochs=1,
    )
    return [
        Model(
            name="pyramid", summary="a number for each scale", source="this test", network="pyramid.code:Pyramid",
            geometry=Geometry(multiple_of=4, halo=0), facts=Facts(parameters=3, kmacs_per_pixel=0.0), licence="MIT",
            recipes={"plain": recipe},
        )
    ]

@hookimpl
def deblur_datasets():
    return [Dataset(name="flat", summary="a flat pair", pairs="pyramid.code:pairs", layout="none", generated=True)]

@hookimpl
def deblur_losses():
    return [
        Loss(
            name="tuned", summary="mae times a factor, moved", function="pyramid.code:tuned",
            options={
                "factor": Option(type=float, default=1.0, help="what it is multiplied by"),
                "shift": Option(type=int, default=0, help="what is added"),
            },
        ),
        Loss(
            name="tabled", summary="mse times what a file says", build="pyramid.code:Tabled",
            options={"table": Option(type=str, default="", help="a file that holds a number")}, files=("table",),
        ),
        Loss(name="broken", summary="cannot be built", build="pyramid.code:broken"),
        Loss(name="absent", summary="is not there", function="pyramid.code:absent"),
        Loss(name="mapped", summary="is no mean", function="pyramid.code:mapped"),
    ]
'''
CODE = """
from pathlib import Path
import numpy as np
import torch
from torch.nn import functional as F

class Pyramid(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gains = torch.nn.Parameter(torch.tensor([1.0, 1.5, 1.75]))
    def forward(self, x):
        if not self.training:
            return x * self.gains[0]
        half, quarter = (F.avg_pool2d(x, size) for size in (2, 4))
        return x * self.gains[0], half * self.gains[1], quarter * self.gains[2]

class Flat:
    name = "flat"
    def size(self):
        return 16, 16
    def load(self):
        return np.full((16, 16, 3), 51, np.uint8), np.full((16, 16, 3), 102, np.uint8)

def pairs(root, split):
    return [Flat()]

def tuned(restored, sharp, *, factor, shift):
    return factor * (restored - sharp).abs().mean() + shift

class Tabled(torch.nn.Module):
    def __init__(self, *, values, table):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(float(Path(table).read_text())))
        self.is_unit = values == "unit"
    def forward(self, restored, sharp):
        assert self.is_unit and not self.training and not self.factor.requires_grad
        return self.factor * (restored - sharp).square().mean()

def broken(*, values):
    raise ZeroDivisionError("one by nothing")

def mapped(restored, sharp):
    return restored - sharp
"""


@pytest.fixture
def pyramid(tmp_path: Path) -> Mapping[str, str]:
    """The environment in which the plugin is known."""
    package = tmp_path / "site/pyramid"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PLUGIN)
    (package / "code.py").write_text(CODE)
    paths = os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")])
    return {"PYTHONPATH": paths, "DEBLUR_PLUGINS": "pyramid", "DEBLUR_STRICT": "1"}


TRAIN = ("train", "--data", "flat", "-m", "pyramid", "-o", "mine", "--device", "cpu", "--dtype", "float32")


def test_a_network_of_three_scales_learns_on_all_of_them(
    run: Callable[..., Any], pyramid: Mapping[str, str], tmp_path: Path
) -> None:
    words = ("--steps", "1", "--set", "loss.tuned.factor=6", "--set", "loss.tuned.shift=2")
    done = run(*TRAIN, *words, env=pyramid)
    assert done.code == 0, done.err
    (row,) = csv.DictReader((tmp_path / "mine/metrics.csv").read_text().splitlines())
    errors = 0.2 * np.array([1.0, 1.5, 1.75]) - 0.4
    parts = {
        "train_logcosh": np.log(np.cosh(errors)).sum() / 6,
        "train_mse": 2 * (errors**2).sum(),
        "train_tuned": 0.5 * (6 * 0.2 + 2),
    }
    assert {name: float(row[name]) for name in parts} == pytest.approx(parts, rel=1e-5)
    assert float(row["train_loss"]) == pytest.approx(sum(parts.values()), rel=1e-5)
    gains = load_file(tmp_path / "mine/last/state.safetensors")["network.gains"].numpy()
    np.testing.assert_allclose(
        gains, [1.01, 1.51, 1.76], atol=1e-5
    )  # Adam's first step is lr, for each of them
    error = 0.2 * 1.01 - 0.4  # validation sees the picture alone
    expected = np.log(np.cosh(error)) / 2 + 2 * error**2 + 0.5 * (6 * abs(error) + 2)
    assert float(row["val_loss"]) == pytest.approx(expected, rel=1e-5)


def test_a_file_that_a_loss_needs_belongs_to_the_run(
    run: Callable[..., Any], pyramid: Mapping[str, str], tmp_path: Path
) -> None:
    table = tmp_path / "data/table.txt"
    table.parent.mkdir()
    table.write_text("5")
    words = ("--set", "loss=tabled", "--set", "loss.tabled.table=data/table.txt")
    done = run(*TRAIN, *words, "--steps", "1", env=pyramid)
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "mine/run.json").read_text())
    sha256 = hashlib.sha256(b"5").hexdigest()
    assert record["files"] == {"loss.tabled.table": {"path": str(table), "sha256": sha256}}
    assert record["request"]["recipe"]["loss"]["tabled"]["table"] == str(table)  # from wherever it is resumed
    (row,) = csv.DictReader((tmp_path / "mine/metrics.csv").read_text().splitlines())
    assert float(row["train_loss"]) == pytest.approx(5 * 0.04, rel=1e-5)

    saved = tmp_path / "mine/last"
    assert read_header(saved / "weights.safetensors").recipe["loss"]["tabled"]["table"] == "table.txt"
    for file in saved.glob("*.safetensors"):
        assert str(tmp_path).encode() not in file.read_bytes()  # what is given away names no folder
        assert not [name for name in load_file(file) if "factor" in name]  # and holds no part of the loss

    before = (saved / "state.safetensors").read_bytes()
    resume = ("train", "--resume", "-o", tmp_path / "mine", "--steps", "2")
    table.write_text("6")
    changed = run(*resume, env=pyramid)
    assert changed.code == 2
    assert f'loss.tabled.table was "SHA-256 {sha256}"' in changed.err
    assert hashlib.sha256(b"6").hexdigest() in changed.err
    table.unlink()
    gone = run(*resume, env=pyramid)
    assert gone.code == 4
    assert "the loss tabled cannot be built" in gone.err
    assert str(table) in gone.err
    assert (saved / "state.safetensors").read_bytes() == before
    table.write_text("5")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert run(*resume, env=pyramid, cwd=elsewhere).code == 0
    again = run(*resume[:-1], "3", *words, env=pyramid)  # what was typed before may be typed again
    assert again.code == 0, again.err


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        (("loss.tuned.factor=much",), 2, "factor"),
        (("loss.tuned.faktor=2",), 2, "did you mean factor?"),
        (("loss=broken",), 4, "the loss broken cannot be built: ZeroDivisionError: one by nothing"),
        (("loss=absent",), 4, "the loss absent cannot be built: AttributeError"),
        (
            ("loss=tabled", "loss.tabled.table=none.txt"),
            4,
            "the loss tabled cannot be built: FileNotFoundError",
        ),
        (("loss.tuned.shift=site",), 2, "shift"),
        (("loss.charbonnier.eps=0",), 2, "loss.charbonnier.eps is 0"),
        (("loss=mapped",), 3, "the loss mapped returned a tensor of shape (1, 3, 16, 16)"),
    ],
)
def test_a_loss_that_does_not_work_is_one_line(
    run: Callable[..., Any], pyramid: Mapping[str, str], settings: Sequence[str], code: int, said: str
) -> None:
    words = [word for setting in settings for word in ("--set", setting)]
    done = run(*TRAIN, "--steps", "1", *words, env=pyramid)
    assert (done.code, done.out) == (code, ""), done.err
    assert said in done.err
    lines = [line for line in done.err.splitlines() if not line.startswith("training ")]
    assert len(lines) == 1, done.err
