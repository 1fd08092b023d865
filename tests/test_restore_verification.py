"""`deblur verify-tiling` and what it measures."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import deblur_rednet
from deblur_cli import Facts, Geometry, Model
from deblur_cli.errors import NotEnoughRoomError, UsageError
from deblur_cli.restore.restorer import Restorer
from deblur_cli.restore.verification import check_tiling
from deblur_cli.weights import Header, write_weights

REDNET = deblur_rednet.MODELS[0]


class Box(nn.Module):
    """Mean over a square of 2 * reach + 1 px."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2 * reach + 1, stride=1, padding=reach)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pool(x)
        return y


def box(reach: int, *, halo: int | None, max_memory: str | None = None) -> Restorer:
    model = Model(
        name="box", summary="for this test", source="this test", network="nowhere:Nothing", geometry=Geometry(halo=halo),
        facts=Facts(parameters=0, kmacs_per_pixel=0), licence="MIT",
    )  # fmt: skip
    return Restorer(Box(reach), model=model, device="cpu", dtype="float32", max_memory=max_memory)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).random((60, 80, 3), dtype=np.float32)


def test_an_honest_halo_is_confirmed_and_the_smallest_margin_is_the_networks_reach(image: np.ndarray) -> None:
    found = check_tiling(box(5, halo=8), image)
    assert found.exact
    assert found.kept_promise
    assert found.max_difference <= 1e-6
    assert found.smallest_margin == 5
    assert found.num_tiles == 9
    assert found.values_8bit == image.size
    assert found.different_8bit == found.ties_8bit


def test_a_halo_declared_too_small_is_found_out(image: np.ndarray) -> None:
    found = check_tiling(box(5, halo=4), image)
    assert found.exact
    assert not found.kept_promise
    assert found.different_8bit > found.ties_8bit


def test_a_network_of_global_context_has_no_margin_and_makes_no_promise(image: np.ndarray) -> None:
    found = check_tiling(box(5, halo=None), image, tile=20, overlap=2)
    assert not found.exact
    assert found.kept_promise
    assert found.smallest_margin is None
    assert found.max_difference > 1e-3


def test_a_single_tile_is_nothing_to_compare(image: np.ndarray) -> None:
    with pytest.raises(UsageError, match="smaller --tile"):
        check_tiling(box(5, halo=8), image, tile=500)
    with pytest.raises(UsageError, match=r"give a larger picture$"):
        check_tiling(box(5, halo=8), image[:1, :1])


def test_a_budget_that_a_refusal_names_is_enough(image: np.ndarray) -> None:
    with pytest.raises(NotEnoughRoomError) as refused:
        check_tiling(box(5, halo=8, max_memory="100KB"), image)
    named = re.search(r"--max-memory (\S+)", str(refused.value))
    assert named is not None
    assert check_tiling(box(5, halo=8, max_memory=named[1]), image).num_tiles == 9


def test_the_command_shows_the_differences(
    run: Callable[..., Any], rednet_weights: Path, photo_file: Path
) -> None:
    ran = run("verify-tiling", photo_file, "-m", REDNET.name, "--weights", rednet_weights, "--device", "cpu")
    assert ran.code == 0, ran.err
    assert "max" in ran.out
    assert "mean" in ran.out
    assert "smallest margin" in ran.out


def test_the_command_says_as_json_what_an_overlap_below_the_halo_costs(
    run: Callable[..., Any], rednet_weights: Path
) -> None:
    words = ("verify-tiling", "--weights", rednet_weights, "--device", "cpu", "--json", "--tile", "64")
    (exact,) = run(*words).json()
    ran = run(*words, "--overlap", "1")
    (rough,) = ran.json()
    assert (exact["exact"], rough["exact"]) == (True, False)
    assert exact["max_difference"] <= 1e-5 < rough["max_difference"]
    assert 0 < exact["smallest_margin"] <= 4
    assert exact["trained"]
    assert ran.err == ""  # it need not be told to measure what it measures
    assert run(*words, env={"DEBLUR_MODEL": "another"}).code == 0  # the file says which model it is for


WIDE_PLUGIN = '''
"""Networks of a wide halo and of one size, in one file."""
import torch
from torch import nn
from deblur_cli import Facts, Geometry, Model, Option, hookimpl

class Wide(nn.Module):
    """A blur of 3 px, and a faint one of 81 px."""
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.1))
        self.near = nn.AvgPool2d(3, 1, 1)
        self.far = nn.Sequential(nn.AvgPool2d((1, 81), 1, (0, 40)), nn.AvgPool2d((81, 1), 1, (40, 0)))
    def forward(self, x):
        return self.near(x) * (1 - self.gain) + self.far(x) * self.gain

class Square(nn.Module):
    def __init__(self, memory):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
    def forward(self, x):
        assert x.shape[2:] == (32, 32)
        return x * self.gain

def geometry(options):
    return Geometry(halo=None, fixed_size=32, hint="memory=conv takes any size")

@hookimpl
def deblur_models():
    def model(name, network, geometry, **options):
        return Model(
            name=name, summary="for a test", source="a test", network=f"{__name__}:{network}", licence="MIT",
            geometry=geometry, facts=Facts(parameters=1, kmacs_per_pixel=1), options=options,
        )
    return [
        model("wide", "Wide", Geometry(halo=40, overlap=4)),
        model("square", "Square", geometry, memory=Option(type=str, default="dense", help="")),
    ]
'''


@pytest.fixture(scope="module")
def wide_plugin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide")
    (folder / "wide_halos.py").write_text(WIDE_PLUGIN)
    for name, gain in (("wide", torch.tensor(0.1)), ("square", torch.ones(1))):
        write_weights(folder / f"{name}.safetensors", {"gain": gain}, Header(model=name, licence="MIT"))
    return folder


@pytest.fixture
def wide_plugin(wide_plugin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Weights of the two networks, which the command finds now."""
    monkeypatch.setenv("DEBLUR_PLUGINS", str(wide_plugin_folder / "wide_halos.py"))
    return {name: wide_plugin_folder / f"{name}.safetensors" for name in ("wide", "square")}


def test_the_command_measures_what_the_declared_overlap_costs(
    run: Callable[..., Any], wide_plugin: dict[str, Path]
) -> None:
    words = ("verify-tiling", "-m", "wide", "--weights", wide_plugin["wide"], "--device", "cpu")
    (found,) = run(*words, "--json").json()
    assert (found["exact"], found["margin"], found["num_tiles"]) == (False, 4, 9)
    assert 1e-4 < found["mean_difference"] < found["max_difference"] < 0.1
    assert found["smallest_margin"] == 40
    (exact,) = run(*words, "--json", "--overlap", 40).json()
    assert exact["exact"]
    assert exact["max_difference"] <= 1e-5
    ran = run(*words)
    assert ran.code == 0
    assert "9 tiles of up to 91x70 px, margin 4 px, approximate" in ran.out
    assert "smallest margin that stays below 1e-5 here: 40 px" in ran.out


def test_the_command_says_that_a_picture_is_too_small_to_show_how_far_weights_reach(
    run: Callable[..., Any], wide_plugin: dict[str, Path], tmp_path: Path
) -> None:
    small = tmp_path / "small.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 66, 3), dtype=np.uint8)).save(small)
    ran = run("verify-tiling", small, "-m", "wide", "--weights", wide_plugin["wide"], "--device", "cpu")
    assert ran.code == 0
    assert "more than half of this picture shows" in ran.out


def test_a_picture_in_approximate_tiles_is_restored_and_one_line_says_so(
    run: Callable[..., Any], wide_plugin: dict[str, Path], photo_file: Path
) -> None:
    words = (photo_file, "-m", "wide", "--weights", wide_plugin["wide"], "--device", "cpu", "--tile", "20")
    ran = run(*words)
    assert ran.code == 0
    (line,) = [line for line in ran.err.splitlines() if "approximate" in line and "tiles" not in line]
    assert "4 px is less than the 40 px" in line
    assert "--overlap 40 makes it exact" in line
    assert "approximate" not in run(*words, "--overlap", 40, "--overwrite").err


def test_a_network_of_one_size_refuses_other_pictures_in_one_line_and_restores_the_rest(
    run: Callable[..., Any], wide_plugin: dict[str, Path], photo_file: Path, tmp_path: Path
) -> None:
    square = tmp_path / "square.png"
    Image.open(photo_file).crop((0, 0, 32, 32)).save(square)
    words = ("-m", "square", "--weights", wide_plugin["square"], "--device", "cpu")
    ran = run(photo_file, square, *words)
    assert ran.code == 1
    (line,) = [line for line in ran.err.splitlines() if "px only" in line]
    assert "takes pictures of 32x32 px only, and this one has 128x96; memory=conv takes any size" in line
    assert "--tile 32" in line
    assert (tmp_path / "square.deblurred.png").exists()
    tiled = run(photo_file, *words, "--tile", 32)
    assert tiled.code == 0
    assert "takes 32 px squares only" in tiled.err
    assert "give --tile 32" in run(photo_file, *words, "--tile", 64, "--overwrite").err
    assert run("verify-tiling", *words).code == 2


def test_pictures_of_the_one_size_are_measured_and_others_fail_alone(
    run: Callable[..., Any], wide_plugin: dict[str, Path], photo: np.ndarray, tmp_path: Path
) -> None:
    for folder in ("blur", "sharp"):
        (tmp_path / "pairs" / folder).mkdir(parents=True)
        for name, size in (("a", 32), ("b", 32), ("c", 40)):
            Image.fromarray(photo[:size, :32]).save(tmp_path / "pairs" / folder / f"{name}.png")
    words = ("-m", wide_plugin["square"], "--data", tmp_path / "pairs", "--device", "cpu")
    ran = run("eval", *words, "--json")
    assert ran.code == 1
    (found,) = ran.json()
    assert found["run"]["tiling"] == "exact"
    (failure,) = found["failures"]
    assert "and this one has 32x40" in failure["error"]
    (tiled,) = run("eval", *words, "--json", "--tile", 32).json()
    assert tiled["run"]["tiling"] == "approximate"
    assert not tiled["failures"]
