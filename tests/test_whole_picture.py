"""What a network takes from the whole picture is told to each tile of it: no tile differs in tone from its neighbours."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from deblur_cli import Facts, Geometry, Model
from deblur_cli.networks import (
    ChannelAttention,
    Extent,
    InstanceNorm,
    PictureMap,
    PictureMoments,
    PictureStatistics,
    Window,
)
from deblur_cli.pictures.picture import Picture
from deblur_cli.restore.restorer import Restorer
from deblur_cli.restore.verification import check_tiling

EPS = 1e-5


def features(*shape: int, seed: int = 0) -> Tensor:
    """Of several means and spreads."""
    rng = np.random.default_rng(seed)
    means, spreads = rng.normal(0, 3, (shape[1], 1, 1)), rng.uniform(0.1, 5, (shape[1], 1, 1))
    return torch.from_numpy((means + spreads * rng.normal(size=shape)).astype(np.float32))


def normed(x: Tensor) -> np.ndarray:
    """By definition, in float64."""
    values = x.double().numpy()
    centred = values - values.mean(axis=(2, 3), keepdims=True)
    found: np.ndarray = centred / np.sqrt((centred**2).mean(axis=(2, 3), keepdims=True) + EPS)
    return found


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last], ids=str)
def test_an_instance_norm_is_what_its_name_says(batch: int, order: torch.memory_format) -> None:
    x = features(batch, 4, 7, 9).contiguous(memory_format=order)
    np.testing.assert_allclose(InstanceNorm(4)(x).numpy(), normed(x), atol=2e-5)
    affine = InstanceNorm(4, affine=True)
    with torch.no_grad():
        affine.weight.copy_(torch.tensor([1.0, 2, 3, 4]))
        affine.bias.copy_(torch.tensor([5.0, 6, 7, 8]))
        found = affine(x).numpy()
    expected = normed(x) * np.array([1, 2, 3, 4])[:, None, None] + np.array([5, 6, 7, 8])[:, None, None]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_megapixel_is_normed_as_exactly_as_a_crop(order: torch.memory_format) -> None:
    """Sums over so many values lose digits: torch's own batch norm is off by 1e-3 here."""
    x = (torch.randn(1, 2, 1000, 1100, generator=torch.Generator().manual_seed(0)) + 3).contiguous(
        memory_format=order
    )
    with torch.no_grad():
        np.testing.assert_allclose(InstanceNorm(2)(x).numpy(), normed(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_single_value_is_its_own_mean(batch: int) -> None:
    norm = InstanceNorm(3, affine=True)
    nn.init.constant_(norm.bias, 0.5)
    assert torch.equal(norm(features(batch, 3, 1, 1)), torch.full((batch, 3, 1, 1), 0.5))
    assert torch.equal(InstanceNorm(3)(features(batch, 3, 1, 1)), torch.zeros(batch, 3, 1, 1))


def test_channel_attention_weighs_features_by_their_means() -> None:
    torch.manual_seed(0)
    layer = ChannelAttention(8, reduction=4, bias=True, activation=nn.LeakyReLU(0.2))
    x = features(2, 8, 5, 6)
    first, second = layer.weigh[0], layer.weigh[2]
    with torch.no_grad():
        found = layer(x).numpy()
    mean = x.double().numpy().mean(axis=(2, 3))
    inner = mean @ first.weight.detach().double().numpy()[:, :, 0, 0].T + first.bias.detach().numpy()
    outer = np.where(inner > 0, inner, 0.2 * inner) @ second.weight.detach().double().numpy()[:, :, 0, 0].T
    weights = 1 / (1 + np.exp(-(outer + second.bias.detach().numpy())))
    np.testing.assert_allclose(found, x.numpy() * weights[:, :, None, None], rtol=1e-4, atol=1e-5)


@given(
    cuts=st.tuples(st.integers(1, 11), st.integers(1, 15)), margin=st.integers(0, 5), seed=st.integers(0, 9)
)
def test_moments_of_windows_add_up_to_those_of_the_picture(
    cuts: tuple[int, int], margin: int, seed: int
) -> None:
    """Four windows that overlap, each noted for what it keeps."""
    x = features(1, 3, 12, 16, seed=seed)
    moments = PictureMoments()
    statistics = PictureStatistics(moments)
    for window in four_windows(12, 16, cuts=cuts, margin=margin):
        statistics.at(window)
        part = read(x, window)
        own = moments(part)
        np.testing.assert_allclose(own[0], part.mean(dim=(0, 2, 3)), atol=1e-5)
    assert statistics.tell()
    mean, variance = moments(torch.zeros(1, 3, 2, 2))
    values = x.double().numpy()
    np.testing.assert_allclose(mean, values.mean(axis=(0, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(variance, values.var(axis=(0, 2, 3)), rtol=1e-4)


def four_windows(height: int, width: int, *, cuts: tuple[int, int], margin: int) -> Iterator[Window]:
    """That meet at (row, column) and read a margin more."""

    def halves(length: int, cut: int) -> Iterator[Extent]:
        for start, stop in ((0, cut), (cut, length)):
            yield Extent(
                read_start=max(0, start - margin),
                read_stop=min(length, stop + margin),
                keep_start=start,
                keep_stop=stop,
            )

    for rows in halves(height, cuts[0]):
        for columns in halves(width, cuts[1]):
            yield Window(rows=rows, columns=columns)


def read(x: Tensor, window: Window) -> Tensor:
    """What the window sees of features of the picture's size."""
    rows, columns = window.rows, window.columns
    return x[..., rows.read_start : rows.read_stop, columns.read_start : columns.read_stop]


class OneNorm(nn.Module):
    """Halves the size, takes the picture's statistics, doubles it again. REACH : px that it looks around besides."""

    REACH = 3

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 4, stride=2, padding=1)
        self.norm = InstanceNorm(8, affine=True)
        self.attention = ChannelAttention(8, reduction=2, bias=True, activation=nn.ReLU())
        self.up = nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = 0.5 + 0.1 * self.up(self.norm(self.down(x)))
        return y


class NormAndAttention(OneNorm):
    """Weighs the features before they are normed: one layer looks at the whole picture through another."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = 0.5 + 0.1 * self.up(self.norm(torch.relu(self.attention(self.down(x)))))
        return y


def restorer(network: nn.Module, **settings: object) -> Restorer:
    torch.manual_seed(0)
    geometry = Geometry(multiple_of=2, halo=None, frozen_halo=OneNorm.REACH)
    model = Model(
        name="told", summary="for this test", source="this test", network="nowhere:Nothing", geometry=geometry,
        facts=Facts(parameters=0, kmacs_per_pixel=0), licence="MIT",
    )  # fmt: skip
    return Restorer(network, model=model, device="cpu", **{"dtype": "float32", **settings})


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return OneNorm()


def picture(height: int, width: int) -> np.ndarray:
    """Dark to the left, bright to the right."""
    noise = np.random.default_rng(0).random((height, width, 3), dtype=np.float32)
    slope = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    return 0.3 * noise + 0.7 * slope


@pytest.mark.parametrize(("height", "width"), [(60, 80), (61, 83), (40, 9), (1, 70)])
def test_tiles_equal_the_whole_where_one_layer_looks_at_it(
    network: nn.Module, height: int, width: int
) -> None:
    image = picture(height, width)
    whole = restorer(network).restore_array(image)
    tiled = restorer(network, tile=16)
    assert tiled.plan(height, width).num_tiles > 1
    np.testing.assert_allclose(tiled.restore_array(image), whole, atol=1e-5)
    alone = tiled.retiled(16, statistics="tile").restore_array(image)
    assert np.abs(alone - whole).max() > 0.01


def test_they_are_nearer_to_it_where_layers_look_at_it_through_others() -> None:
    torch.manual_seed(0)
    found = check_tiling(restorer(NormAndAttention()), picture(64, 80), tile=16, statistics="quick")
    assert found.max_difference_alone is not None
    assert found.mean_difference_alone is not None
    assert found.max_difference < found.max_difference_alone / 2
    assert found.mean_difference < found.mean_difference_alone / 2
    assert found.kept_promise


@pytest.mark.parametrize(("height", "width"), [(60, 80), (61, 83)])
def test_they_equal_it_by_a_pass_for_each_such_layer(height: int, width: int) -> None:
    torch.manual_seed(0)
    network = NormAndAttention()
    tiled = restorer(network, tile=16, statistics="exact")
    assert tiled.plan(height, width).exact
    image = picture(height, width)
    np.testing.assert_allclose(tiled.restore_array(image), restorer(network).restore_array(image), atol=1e-5)
    assert (
        np.abs(
            tiled.retiled(16, statistics="quick").restore_array(image)
            - restorer(network).restore_array(image)
        ).max()
        > 1e-3
    )
    too_little_around = tiled.retiled(16, overlap=OneNorm.REACH - 1, statistics="exact")
    assert not too_little_around.plan(height, width).exact


class LitBySum(PictureMap):
    """A map that is one where the levels of the rows above sum to an odd number: each pixel of it looks at many."""

    def levels(self, x: Tensor) -> Tensor:
        return (x[:, :1] * 255).round().byte()

    def drawn(self, levels: Tensor) -> Tensor:
        return levels.long().cumsum(dim=2) % 2


class Lit(nn.Module):
    """What the map says, before a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.lit, self.norm = LitBySum(), InstanceNorm(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(torch.cat([x, self.lit(x)], dim=1))
        return 0.5 + 0.1 * (y[:, :3] + y[:, 3:])


@pytest.mark.parametrize("region", [None, (33, 7, 20, 30)])
def test_a_map_is_drawn_once_of_the_whole_picture(region: tuple[int, int, int, int] | None) -> None:
    pixels = (picture(61, 83) * 65535).astype(np.uint16)
    whole = restorer(Lit()).restore_array(pixels).astype(np.float64)
    x, y, width, height = region or (0, 0, 83, 61)
    cut = whole[y : y + height, x : x + width]
    exact = restorer(Lit(), tile=16, statistics="exact")
    found = exact.restore_picture(Picture(pixels=pixels), region=region, force=True).pixels
    np.testing.assert_allclose(found, cut, atol=1)
    alone = exact.retiled(16, statistics="tile").restore_picture(
        Picture(pixels=pixels), region=region, force=True
    )
    assert np.abs(alone.pixels - cut).max() > 1000


@pytest.mark.parametrize("overlap", [None, OneNorm.REACH - 2])
@pytest.mark.parametrize("statistics", ["auto", "quick", "tile"])
@pytest.mark.parametrize("tile", ["auto", 16])
def test_a_region_is_the_same_as_in_the_whole_result(
    tile: str | int, statistics: str, overlap: int | None
) -> None:
    pixels = (picture(60, 80) * 65535).astype(np.uint16)
    torch.manual_seed(0)
    tiled = restorer(NormAndAttention(), tile=tile, statistics=statistics, overlap=overlap)
    part = tiled.restore_picture(Picture(pixels=pixels), region=(33, 7, 20, 30), force=True)
    whole = tiled.restore_array(pixels)
    np.testing.assert_allclose(
        part.pixels, whole[7:37, 33:53].astype(np.float64), atol=1
    )  # a tie may fall to either side


@pytest.mark.parametrize(("statistics", "runs"), [("tile", 1), ("quick", 2), ("exact", 3)])
def test_progress_counts_every_pass(statistics: str, runs: int) -> None:
    tiled, pixels = (
        restorer(NormAndAttention(), tile=16, statistics=statistics),
        (picture(60, 80) * 255).astype(np.uint8),
    )
    tiles = tiled.plan(60, 80).num_tiles
    seen: list[tuple[int, int]] = []
    tiled.restore_picture(
        Picture(pixels=pixels), force=True, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(done, runs * tiles) for done in range(runs * tiles + 1)]


class OverAll(nn.Module):
    """Nothing can be told of what it takes from the picture."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x + 0.5 * x.mean(dim=(2, 3), keepdim=True)


@pytest.mark.parametrize("tile", ["auto", 32])
def test_a_region_is_the_same_where_a_network_cannot_be_told(tile: str | int) -> None:
    model = Model(
        name="all", summary="for this test", source="this test", network="nowhere:Nothing", geometry=Geometry(halo=None),
        facts=Facts(parameters=0, kmacs_per_pixel=0), licence="MIT",
    )  # fmt: skip
    whole_picture = Restorer(OverAll(), model=model, device="cpu", dtype="float32", tile=tile)
    pixels = (picture(200, 300) * 65535).astype(np.uint16)
    part = whole_picture.restore_picture(Picture(pixels=pixels), region=(133, 7, 20, 30), force=True)
    expected = whole_picture.restore_array(pixels)[7:37, 133:153]
    np.testing.assert_allclose(part.pixels, expected.astype(np.float64), atol=1)


def test_each_picture_has_its_own(network: nn.Module) -> None:
    tiled, whole = restorer(network, tile=16), restorer(network)
    for image in (picture(60, 80), 0.2 * picture(60, 80), picture(14, 14)):
        np.testing.assert_allclose(tiled.restore_array(image), whole.restore_array(image), atol=1e-5)


def test_a_picture_that_failed_leaves_nothing_behind(network: nn.Module) -> None:
    """Whether it failed while the tiles were looked at or after that."""
    tiled, image = restorer(network, tile=16, statistics="quick"), picture(60, 80)
    before, whole = tiled.restore_array(image), restorer(network).restore_array(image)
    tiles = tiled.plan(60, 80).num_tiles
    for last in (5, tiles + 5):
        calls: list[int] = []

        def fail(*_: object, calls: list[int] = calls, last: int = last) -> None:
            calls.append(1)
            if len(calls) == last:
                raise KeyboardInterrupt

        hook = network.up.register_forward_hook(fail)
        with pytest.raises(KeyboardInterrupt):
            tiled.restore_array(0.2 * image)
        hook.remove()
        np.testing.assert_array_equal(tiled.restore_array(image), before)
        np.testing.assert_array_equal(tiled.retiled("none").restore_array(image), whole)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "photograph.png"
    Image.fromarray((picture(160, 200) * 255).astype(np.uint8)).save(path)
    return path


def test_the_command_is_exact_unless_told_otherwise(run, photograph: Path, tmp_path: Path) -> None:
    words = (photograph, "-m", "verysimple_deblurgan", "--dtype", "float32", "--overwrite", "-o")
    results = {}
    for name, more in (
        ("whole", ("--tile", "none")),
        ("exact", ("--tile", 64)),
        ("quick", ("--tile", 64, "--statistics", "quick")),
        ("tile", ("--tile", 64, "--statistics", "tile")),
    ):
        done = run(*words, tmp_path / f"{name}.png", *more)
        assert done.code == 0, done.err
        assert ("--statistics exact makes it exact" in done.err) == (name in ("quick", "tile"))
        results[name] = np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int)
    assert np.abs(results["exact"] - results["whole"]).max() <= 1
    away = {name: float(np.abs(result - results["whole"]).mean()) for name, result in results.items()}
    assert away["exact"] < 0.01 < min(away["quick"], away["tile"])
    by_default = run(*words, tmp_path / "set.png", "--tile", 64, env={"DEBLUR_STATISTICS": "tile"})
    assert by_default.code == 0
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "set.png")), results["tile"])


def test_the_check_measures_what_is_asked_for(run, photograph: Path) -> None:
    words = ("verify-tiling", photograph, "-m", "verysimple_deblurgan", "--tile", 64, "--json")
    (exact,) = run(*words).json()
    (quick,) = run(*words, "--statistics", "quick").json()
    (tile,) = run(*words, "--statistics", "tile").json()
    assert exact["exact"]
    assert exact["kept_promise"]
    assert exact["max_difference"] <= 1e-5
    assert not quick["exact"]
    assert quick["max_difference"] > 1e-3
    assert tile["max_difference_alone"] is None
    assert tile["max_difference"] == quick["max_difference_alone"] == exact["max_difference_alone"] > 1e-3


def test_statistics_of_another_name_are_refused(run, photograph: Path) -> None:
    done = run(photograph, "-m", "verysimple_deblurgan", "--statistics", "most")
    assert done.code == 2
    assert "--statistics most is unknown; give one of auto, exact, quick, tile" in done.err
