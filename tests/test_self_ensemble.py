"""The geometric self-ensemble: the mean of a picture's eight flips and quarter turns, each restored and turned back."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import deblur_cli
from deblur_cli import Facts, Geometry, Model
from deblur_cli.evaluation.session import Contender
from deblur_cli.host.manager import Host
from deblur_cli.networks import InstanceNorm, PictureMap
from deblur_cli.pictures.picture import Origin, Picture
from deblur_cli.restore.restorer import Restorer
from deblur_cli.restore.verification import check_tiling
from deblur_cli.weights import resolve

STEP = 4
HALO = 10
"""Of `Lopsided`: 3 px of the first convolution, a sample of 4 px of the second, 3 px from a sample's first pixel to its last."""


class Lopsided(nn.Module):
    """A quarter of the resolution and back, with kernels at random: no two ways to lay a picture give the same result."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.register_buffer("down", torch.rand(6, 3, 7, 7, generator=rng) - 0.5)
        self.register_buffer("inside", torch.rand(6, 6, 3, 3, generator=rng) - 0.5)
        self.register_buffer("up", torch.rand(6, 3, STEP, STEP, generator=rng) - 0.5)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(F.conv2d(x, self.down, stride=STEP, padding=3))
        y = torch.tanh(F.conv2d(y, self.inside, padding=1))
        return x + 0.3 * F.conv_transpose2d(y, self.up, stride=STEP)


class Marks(PictureMap):
    """Where a picture is brighter than at its first pixel: of the whole, and of how it lies."""

    def levels(self, x: Tensor) -> Tensor:
        return x.mul(255).round().byte()

    def drawn(self, levels: Tensor) -> Tensor:
        return (levels > levels[..., :1, :1]).to(torch.int8)


class Normed(nn.Module):
    """Looks at the whole picture three times: for marks, and through two instance norms, the second behind the first."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.marks = Marks()
        self.first, self.second = InstanceNorm(6), InstanceNorm(6)
        self.register_buffer("one", torch.rand(6, 6, 3, 3, generator=rng) - 0.5)
        self.register_buffer("two", torch.rand(6, 6, 3, 3, generator=rng) - 0.4)
        self.register_buffer("three", torch.rand(3, 6, 3, 3, generator=rng) - 0.5)

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv2d(torch.cat([x, self.marks(x)], dim=1), self.one, padding=1)
        y = F.conv2d(torch.relu(self.first(y)), self.two, padding=1)
        return x + 0.05 * F.conv2d(torch.relu(self.second(y)), self.three, padding=1)


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def restorer(
    network: nn.Module | None = None,
    *,
    geometry: Geometry | None = None,
    values: str = "unit",
    **settings: object,
) -> Restorer:
    model = Model(
        name="local", summary="for this test", source="this test", network="nowhere:Nothing",
        geometry=geometry or Geometry(multiple_of=STEP, halo=HALO),
        facts=Facts(parameters=0, kmacs_per_pixel=0), licence="MIT", values=values,
    )  # fmt: skip
    asked = {"device": "cpu", "dtype": "float32", "self_ensemble": True, **settings}
    return Restorer(network or Lopsided(), model=model, **asked)


def picture(height: int, width: int, channels: int = 3, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, channels), dtype=np.float32)


def eight(image: np.ndarray) -> Iterator[tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]]:
    """Each way to lay a picture (H, W, C), and what lays it back: by quarter turns, with and without a mirror."""
    for quarters in range(4):
        yield np.rot90(image, quarters), lambda found, q=quarters: np.rot90(found, -q)
        yield np.rot90(image[:, ::-1], quarters), lambda found, q=quarters: np.rot90(found, -q)[:, ::-1]


def ensemble(network: nn.Module, image: np.ndarray, *, signed: bool = False) -> np.ndarray:
    """The definition, in float64 but for the network: of the picture reflected up to the grid; not clipped."""
    height, width, channels = image.shape
    padded = np.pad(image, ((0, -height % STEP), (0, -width % STEP), (0, 0)), mode="reflect")
    results = []
    for laid, back in eight(padded):
        seen = np.repeat(laid, 3 // channels, axis=2)
        x = torch.from_numpy(seen.copy()).permute(2, 0, 1)[None]
        with torch.no_grad():
            y = (network(2 * x - 1) + 1) / 2 if signed else network(x)
        found = y[0].permute(1, 2, 0).double().numpy()
        results.append(back(found.mean(axis=2, keepdims=True) if channels == 1 else found))
    mean: np.ndarray = np.mean(results, axis=0)[:height, :width]
    return mean


@pytest.mark.parametrize("values", ["unit", "signed"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(24, 40), (21, 38)])
def test_it_is_the_mean_of_the_eight_results_turned_back(
    values: str, channels: int, height: int, width: int
) -> None:
    image = picture(height, width, channels)
    found = restorer(values=values).restore_array(image)
    expected = np.clip(ensemble(Lopsided(), image, signed=values == "signed"), 0, 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    alone = restorer(values=values, self_ensemble=False).restore_array(image)
    assert np.abs(alone - found).max() > 0.01  # there is something to be averaged


def test_the_mean_is_taken_before_anything_is_clipped_or_rounded() -> None:
    """Half of the results are 1.2, the others 0.2: clipped first they would come to 0.6."""

    def brighter_in_half(x: Tensor) -> Tensor:
        return torch.full_like(x, 1.2 if x[0, 0, 0, 0] > x[0, 0, -1, -1] else 0.2)

    image = np.full((5, 7, 3), 100, np.uint8)
    image[0, 0], image[0, -1] = 200, 220
    found = restorer(Function(brighter_in_half), geometry=Geometry(halo=0)).restore_array(image)
    assert (found == round(0.7 * 255)).all()


@pytest.mark.parametrize("pixels", [np.uint8, np.uint16])
def test_integers_are_the_mean_rounded_once(pixels: type) -> None:
    full = np.iinfo(pixels).max
    image = np.rint(picture(16, 24) * full).astype(pixels)
    found = restorer().restore_array(image)
    expected = np.clip(ensemble(Lopsided(), image.astype(np.float32) / full), 0, 1) * full
    assert found.dtype == pixels
    assert np.abs(found - expected).max() < 0.5 + full * 1e-6


@settings(max_examples=30)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    way=st.integers(0, 7),
    seed=st.integers(0, 3),
)
def test_a_picture_laid_otherwise_gives_the_same_result_laid_so(
    height: int, width: int, way: int, seed: int
) -> None:
    """The law that the mean is taken for. On the network's grid: else what is reflected lies on another side."""
    image = picture(STEP * height, STEP * width, seed=seed)
    laid, back = list(eight(image))[way]
    ours = restorer()
    found = back(ours.restore_array(np.ascontiguousarray(laid)))
    np.testing.assert_allclose(found, ours.restore_array(image), rtol=0, atol=1e-6)


def test_without_it_that_law_does_not_hold() -> None:
    image = picture(24, 40)
    alone = restorer(self_ensemble=False)
    for laid, back in list(eight(image))[1:]:
        found = back(alone.restore_array(np.ascontiguousarray(laid)))
        assert np.abs(found - alone.restore_array(image)).max() > 0.01


@settings(max_examples=20)
@given(
    height=st.integers(50, 80),
    width=st.integers(50, 80),
    tile=st.tuples(st.integers(10, 25), st.integers(20, 25)),
)
def test_tiles_give_the_whole_pictures_result(height: int, width: int, tile: tuple[int, int]) -> None:
    image = picture(height, width)
    whole = restorer(tile="none").restore_array(image)
    tiled = restorer(tile=tile)
    plan = tiled.plan(height, width, pixels=np.float32)
    assert plan.exact
    assert plan.num_tiles > 1
    np.testing.assert_allclose(tiled.restore_array(image), whole, rtol=0, atol=2e-6)


def test_a_margin_too_small_shows() -> None:
    """What the test above looks for is there to be seen."""
    image = picture(90, 90)
    tiled = restorer(tile=40, overlap=4).restore_array(image)
    assert np.abs(tiled - restorer(tile="none").restore_array(image)).max() > 1e-3


def test_verifying_a_tiling_verifies_that_of_the_mean() -> None:
    found = check_tiling(restorer(), picture(61, 70), tile=(23, 40))
    assert found.exact
    assert found.kept_promise
    assert found.smallest_margin == 8  # cuts lie on the grid, from where those 3 px count on one side only


def test_a_region_is_what_would_be_cut_from_the_whole() -> None:
    pixels = np.rint(picture(99, 70) * 255).astype(np.uint8)
    whole = Picture(pixels=pixels, alpha=None, origin=Origin())
    ours = restorer(tile=40)
    found = ours.restore_picture(whole, region=(11, 37, 41, 50), force=True).pixels
    expected = ours.restore_array(pixels)[37:87, 11:52]
    assert (np.abs(found.astype(int) - expected) <= 1).all()  # ties
    assert (found != expected).mean() < 1e-3


def test_tiles_are_told_of_the_whole_picture_each_way_it_lies() -> None:
    image = picture(41, 50) ** 2
    geometry = Geometry(halo=None, frozen_halo=3)
    whole = restorer(Normed(), geometry=geometry, tile="none").restore_array(image)
    tiled = restorer(Normed(), geometry=geometry, tile=(20, 27), statistics="exact")
    assert tiled.plan(41, 50, pixels=np.float32).exact
    np.testing.assert_allclose(tiled.restore_array(image), whole, rtol=0, atol=1e-5)
    alone = restorer(Normed(), geometry=geometry, tile=(20, 27), statistics="tile").restore_array(image)
    assert np.abs(alone - whole).max() > 1e-3
    np.testing.assert_allclose(  # and forgotten with the picture
        tiled.retiled("none").restore_array(image), whole, rtol=0, atol=1e-6
    )


def test_a_network_of_one_size_sees_each_of_its_tiles_eight_times() -> None:
    geometry = Geometry(multiple_of=STEP, halo=None, fixed_size=32)
    image = picture(32, 32)
    found = restorer(geometry=geometry).restore_array(image)
    np.testing.assert_allclose(found, np.clip(ensemble(Lopsided(), image), 0, 1), rtol=0, atol=1e-6)
    assert restorer(geometry=geometry, tile=32).restore_array(picture(40, 50)).shape == (40, 50, 3)


def test_a_network_that_works_in_place_spoils_nothing() -> None:
    image = np.array([[[10, 20, 30]], [[40, 50, 60]]], np.uint8)
    halved = restorer(Function(lambda x: x.mul_(0.5)), geometry=Geometry(halo=0)).restore_array(image)
    np.testing.assert_array_equal(halved, image // 2)


def test_a_network_that_gives_the_same_memory_again_is_added_up_rightly() -> None:
    kept = torch.zeros(1, 3, 8, 8)
    found = restorer(Function(lambda x: kept.copy_(x)), geometry=Geometry(halo=0)).restore_array(
        picture(8, 8)
    )
    np.testing.assert_allclose(found, picture(8, 8), rtol=0, atol=1e-6)


def test_the_network_runs_eight_times_a_tile_and_progress_counts_that() -> None:
    shapes: list[tuple[int, ...]] = []
    steps: list[tuple[int, int]] = []

    def noted(x: Tensor) -> Tensor:
        shapes.append(tuple(x.shape[2:]))
        return x

    ours = restorer(Function(noted), geometry=Geometry(halo=0), tile=(8, 16))
    grey = np.full((16, 32, 3), 7, np.uint8)
    ours.restore_picture(
        Picture(pixels=grey, alpha=None, origin=Origin()),
        progress=lambda done, total: steps.append((done, total)),
    )
    assert ours.passes == 8
    assert sorted(shapes) == [(8, 16)] * 16 + [(16, 8)] * 16
    assert steps == [(0, 32), (8, 32), (16, 32), (24, 32), (32, 32)]
    assert ours.network_seconds > 0


def test_alpha_stays_as_it_is() -> None:
    image = np.rint(picture(16, 24, 4) * 255).astype(np.uint8)
    mild = restorer(Function(lambda x: x * 0.9), geometry=Geometry(halo=0))
    found = mild(image)
    np.testing.assert_array_equal(found[:, :, 3], image[:, :, 3])
    assert (found[:, :, :3] < image[:, :, :3]).mean() > 0.9


def test_a_budget_counts_what_it_holds_besides() -> None:
    """The same tiles need more, so the same budget gives smaller ones."""
    tiles = [
        restorer(max_memory="12MB", self_ensemble=wanted).plan(900, 1000).tile_pixels
        for wanted in (False, True)
    ]
    assert tiles[1] < tiles[0]


RESIDENT = """
import numpy as np
from test_self_ensemble import restorer

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

image = np.random.default_rng(0).integers(0, 256, (800, 1000, 3), dtype=np.uint8)
restorer().restore_array(image[:64, :64])
ours = restorer(max_memory="40MB")
ours.plan(800, 1000)
base = resident() - image.nbytes
ours.restore_array(image)
print(ours.plan(800, 1000).num_tiles, resident() - base)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_a_picture_stays_within_its_budget() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    num_tiles, taken = map(int, done.stdout.split())
    assert num_tiles > 1
    assert 15e6 < taken < 40e6


@pytest.fixture
def seen_through(rednet_weights: Path, photo: np.ndarray) -> np.ndarray:
    """The photograph through the tiny rednet30 and a self-ensemble, from Python."""
    found = deblur_cli.load(weights=rednet_weights, device="cpu", dtype="float32", self_ensemble=True)(photo)
    assert isinstance(found, np.ndarray)
    return found


def test_the_command_and_python_agree(run, rednet_weights, photo_file, photo, seen_through) -> None:
    rgba = photo_file.with_name("rgba.png")
    alpha = (
        np.arange(photo.shape[0] * photo.shape[1], dtype=np.uint32).astype(np.uint8).reshape(photo.shape[:2])
    )
    Image.fromarray(np.dstack([photo, alpha])).save(rgba)
    words = ("--weights", rednet_weights, "--device", "cpu", "--dtype", "float32")
    ran = run(rgba, *words, "--self-ensemble", "-o", "with.png", "--json")
    assert ran.code == 0, ran.err
    assert ran.json()[0]["self_ensemble"] is True
    found = np.asarray(Image.open(photo_file.with_name("with.png")))
    np.testing.assert_array_equal(found, np.dstack([seen_through, alpha]))
    ran = run("photo.png", *words, "-o", "without.png")
    assert "self-ensemble" not in ran.out
    assert (np.asarray(Image.open(photo_file.with_name("without.png"))) != seen_through).any()


def test_it_may_be_a_default_that_the_command_line_takes_back(
    run, rednet_weights, photo_file, tmp_path, monkeypatch
) -> None:
    words = ("photo.png", "--weights", rednet_weights, "--overwrite")
    monkeypatch.setenv("DEBLUR_SELF_ENSEMBLE", "1")
    assert ", self-ensemble, " in run(*words).out
    assert "self-ensemble" not in run(*words, "--no-self-ensemble").out
    monkeypatch.setenv("DEBLUR_SELF_ENSEMBLE", "often")
    ran = run(*words)
    assert ran.code == 2
    assert "DEBLUR_SELF_ENSEMBLE" in ran.err
    monkeypatch.delenv("DEBLUR_SELF_ENSEMBLE")
    (tmp_path / "settings.toml").write_text("self-ensemble = true\n")
    monkeypatch.setenv("DEBLUR_CONFIG", str(tmp_path / "settings.toml"))
    assert ", self-ensemble, " in run(*words).out


@pytest.mark.parametrize("command", ["deblur", "eval", "compare"])
def test_the_help_says_what_it_costs(run, command: str) -> None:
    words = " ".join(run(command, "-h", env={"COLUMNS": "200"}).out.replace("│", " ").split())
    assert "--self-ensemble" in words
    assert "in eight times the time" in words


@pytest.fixture
def pair(tmp_path: Path, photo: np.ndarray) -> Path:
    for folder, pixels in (("blur", photo[:40, :48]), ("sharp", photo[1:41, :48])):
        (tmp_path / "pair" / folder).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "pair" / folder / "0.png")
    return tmp_path / "pair"


def test_scores_say_whether_they_are_of_an_ensemble(run, rednet_weights, pair) -> None:
    words = ("eval", "-m", rednet_weights, "--data", pair, "--json")
    alone, together = (run(*words, *more).json()[0] for more in ((), ("--self-ensemble",)))
    assert together["model"] == f"{alone['model']}, self-ensemble"
    assert together["protocol"]["hash"] == alone["protocol"]["hash"]
    assert (alone["run"]["self_ensemble"], together["run"]["self_ensemble"]) == (False, True)
    assert together["restored"]["psnr"] != alone["restored"]["psnr"]


def test_so_they_do_where_python_names_no_settings(rednet_weights) -> None:
    source = resolve(Host.discover(environ={}), str(rednet_weights))
    ours = deblur_cli.load(weights=rednet_weights, device="cpu", dtype="float32", self_ensemble=True)
    label = Contender(source=source, restorer=ours, settings={}).label
    assert label == f"{source.label}, self-ensemble"


def test_an_ensemble_costs_eight_times_the_work(run, identity, pair) -> None:
    words = ("eval", "-m", identity.weights["identity"], "--data", pair, "--json")
    alone, together = (run(*words, *more, env=identity.env).json()[0] for more in ((), ("--self-ensemble",)))
    assert together["kmacs_per_pixel"] == pytest.approx(8 * alone["kmacs_per_pixel"])
    assert together["restored"] == pytest.approx(alone["restored"], abs=1e-4)


def test_a_comparison_says_that_it_shows_ensembles(run, rednet_weights, pair) -> None:
    words = (
        "compare",
        pair / "blur" / "0.png",
        "-m",
        rednet_weights,
        "--reference",
        pair / "sharp" / "0.png",
    )
    ran = run(*words, "--self-ensemble", "-o", "grid.png")
    assert ran.code == 0, ran.err
    assert "float32, self-ensemble" in " ".join((ran.out + ran.err).split())
