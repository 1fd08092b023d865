"""Tiling: plans cover every pixel once, and tiled results equal the whole picture's."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import deblur_rednet
from deblur_cli import Facts, Geometry, Model
from deblur_cli.errors import NotEnoughRoomError, PictureError, UsageError
from deblur_cli.restore.planning import TileRequest, parse_region, plan_picture, whole_area
from deblur_cli.restore.restorer import Restorer
from deblur_cli.restore.tiling import (
    Area,
    TilePlan,
    blend_weights,
    choose_size,
    parse_tile,
    plan_axis,
    reflected_indices,
    smallest_size,
)

REDNET = deblur_rednet.MODELS[0]


class Strided(nn.Module):
    """Down by 4 and up again, so that the origin of a tile matters. It reaches 3 + 4 + 5 = 12 px."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 4, 7, stride=4, padding=3)
        self.middle = nn.Conv2d(4, 4, 3, padding=1)
        self.up = nn.ConvTranspose2d(4, 3, 8, stride=4, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.up(torch.relu(self.middle(torch.relu(self.down(x)))))
        return 0.5 * x + 0.3 * y


class WholePicture(nn.Module):
    """Adds the mean of the whole picture."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x + 0.5 * x.mean(dim=(2, 3), keepdim=True)


def declared(geometry: Geometry, *, values: str = "unit") -> Model:
    return Model(
        name="local", summary="for this test", source="this test", network="nowhere:Nothing", geometry=geometry,
        facts=Facts(parameters=0, kmacs_per_pixel=0), licence="MIT", values=values,
    )  # fmt: skip


def seeded(build: type[nn.Module] | None = None) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network: nn.Module = REDNET.build(REDNET.tiny) if build is None else build()
    if build is None:
        with torch.no_grad():
            network.output.weight.mul_(0.1)
    return network.eval()


def picture(height: int, width: int, *, seed: int = 0, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, channels), dtype=np.float32)


@pytest.fixture(scope="module")
def rednet() -> nn.Module:
    return seeded()


@pytest.fixture(scope="module")
def strided() -> nn.Module:
    return seeded(Strided)


def tiny_rednet(network: nn.Module, **settings: object) -> Restorer:
    return Restorer(
        network, model=REDNET, options=REDNET.tiny, device="cpu", **{"dtype": "float32", **settings}
    )


def covers_once(plan: TilePlan) -> bool:
    count = np.zeros((plan.height, plan.width), int)
    for row, column in plan.tiles():
        count[row.keep_start : row.keep_stop, column.keep_start : column.keep_stop] += 1
    inside = np.zeros_like(count)
    area = plan.area
    inside[area.top : area.top + area.height, area.left : area.left + area.width] = 1
    return bool((count == inside).all())


@st.composite
def axes(draw: st.DrawFn) -> dict[str, object]:
    length = draw(st.integers(1, 400))
    start = draw(st.integers(0, length - 1))
    multiple_of = draw(st.sampled_from([1, 2, 3, 4, 8, 16]))
    margin = draw(st.integers(0, 40))
    around = 2 * (-(-margin // multiple_of) * multiple_of)
    size = around + multiple_of * draw(st.integers(1, 40))
    return {
        "length": length,
        "keep": (start, draw(st.integers(start + 1, length))),
        "size": size,
        "margin": margin,
        "multiple_of": multiple_of,
    }


@given(axis=axes())
def test_windows_of_an_axis_keep_each_pixel_once_with_the_margin_around_on_the_grid(axis: dict) -> None:
    spans = plan_axis(**axis)
    padded = -(-axis["length"] // axis["multiple_of"]) * axis["multiple_of"]
    assert spans[0].keep_start == axis["keep"][0]
    assert spans[-1].keep_stop == axis["keep"][1]
    assert all(left.keep_stop == right.keep_start for left, right in pairwise(spans))
    assert len({span.size for span in spans}) == 1
    for span in spans:
        assert span.size <= max(axis["size"], 0)
        assert span.read_start % axis["multiple_of"] == 0 == span.read_stop % axis["multiple_of"]
        assert 0 <= span.read_start <= max(0, span.keep_start - (axis["margin"] if span.read_start else 0))
        assert span.read_stop == padded or span.read_stop >= span.keep_stop + axis["margin"]


@given(
    extents=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    pixels=st.integers(1, 10**6),
    margin=st.integers(0, 40),
)
def test_chosen_windows_keep_to_the_limit_and_are_refused_only_where_none_of_use_fits(
    extents: tuple[int, int], pixels: int, margin: int
) -> None:
    size = choose_size(extents, most_pixels=pixels, margin=margin, multiple_of=1)
    if size is None:
        least = smallest_size(extents, margin=margin, multiple_of=1)
        assert least[0] * least[1] > pixels
        # what the refusal names does work, and cutting an axis evenly at most doubles a window of use
        assert choose_size(extents, most_pixels=least[0] * least[1], margin=margin, multiple_of=1) == least
        assert all(
            side <= min(extent, 2 * (2 * margin + 33)) for side, extent in zip(least, extents, strict=True)
        )
    else:
        assert size[0] * size[1] <= pixels
        assert size[0] <= extents[0]
        assert size[1] <= extents[1]


def test_a_picture_that_fits_is_one_window_and_the_largest_useful_tile_is_taken_otherwise() -> None:
    request = {"area": whole_area(720, 1280), "geometry": Geometry(halo=30), "request": TileRequest()}
    whole = plan_picture(height=720, width=1280, most_pixels=None, **request)
    half = plan_picture(height=720, width=1280, most_pixels=720 * 1000, **request)
    assert whole is not None
    assert half is not None
    assert (whole.num_tiles, whole.tile_shape) == (1, (720, 1280))
    assert (half.num_tiles, half.tile_shape) == (2, (720, 670))  # 1280 + 2 * 30 read twice, in two halves


def test_tiles_stay_small_on_a_huge_picture_so_that_memory_does_not_grow_with_it() -> None:
    plans = [
        plan_picture(
            height=side, width=side * 4 // 3, area=whole_area(side, side * 4 // 3), geometry=Geometry(halo=30),
            request=TileRequest(), most_pixels=None,
        )
        for side in (6000, 9000)
    ]  # fmt: skip
    pixels = [plan.tile_pixels for plan in plans if plan is not None]
    assert max(pixels) <= 1024**2
    assert max(pixels) <= 1.1 * min(pixels)


@given(
    length=st.integers(1, 300),
    size=st.integers(2, 60),
    margin=st.integers(0, 29),
    multiple_of=st.sampled_from([1, 2, 4]),
)
def test_blend_weights_are_positive_and_sum_to_one_at_each_pixel(
    length: int, size: int, margin: int, multiple_of: int
) -> None:
    size = -(-size // multiple_of) * multiple_of + 2 * (-(-margin // multiple_of) * multiple_of)
    spans = plan_axis(length=length, keep=(0, length), size=size, margin=margin, multiple_of=multiple_of)
    total = np.zeros(spans[-1].read_stop)
    for span, weight in zip(spans, blend_weights(spans), strict=True):
        assert (weight > 0).all()
        total[span.read_start : span.read_stop] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)


@given(length=st.integers(2, 40), more=st.integers(0, 100))
def test_padding_reflects_as_numpy_does(length: int, more: int) -> None:
    expected = np.pad(np.arange(length), (0, more), mode="reflect")
    np.testing.assert_array_equal(reflected_indices(0, length + more, length=length), expected)


def test_padding_of_a_single_pixel_repeats_it() -> None:
    assert reflected_indices(0, 5, length=1).tolist() == [0, 0, 0, 0, 0]


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    tile=st.tuples(st.integers(7, 40), st.integers(7, 40)),
    overlap=st.integers(4, 9),
    seed=st.integers(0, 99),
)
def test_tiled_equals_whole_for_a_network_of_finite_extent(
    rednet: nn.Module, height: int, width: int, tile: tuple[int, int], overlap: int, seed: int
) -> None:
    image = picture(height, width, seed=seed)
    whole = tiny_rednet(rednet, tile="none").restore_array(image)
    tiled = tiny_rednet(rednet, tile=tile, overlap=overlap).restore_array(image)
    assert np.abs(tiled - whole).max() <= 1e-5
    different = np.rint(tiled * 255) != np.rint(whole * 255)
    ties = np.abs(whole * 255 % 1 - 0.5) <= 255e-5
    assert not (different & ~ties).any()


@given(height=st.integers(1, 90), width=st.integers(1, 90), tile=st.integers(9, 40), seed=st.integers(0, 99))
def test_tiled_equals_whole_for_a_strided_network_on_sizes_off_its_grid(
    strided: nn.Module, height: int, width: int, tile: int, seed: int
) -> None:
    model = declared(Geometry(multiple_of=4, halo=12))
    image = picture(height, width, seed=seed)
    whole, tiled = (
        Restorer(strided, model=model, device="cpu", dtype="float32", tile=how).restore_array(image)
        for how in ("none", tile)
    )
    assert np.abs(tiled - whole).max() <= 1e-5


@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    tile=st.integers(5, 40),
    corner=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    share=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_region_equals_the_same_part_of_the_whole_result(
    rednet: nn.Module,
    size: tuple[int, int],
    tile: int,
    corner: tuple[float, float],
    share: tuple[float, float],
) -> None:
    from deblur_cli.pictures.picture import Picture

    pixels = (picture(*size) * 255).astype(np.uint8)
    top, left = (int(at * (side - 1)) for at, side in zip(corner, size, strict=True))
    height, width = (
        1 + int(s * (side - at - 1)) for s, side, at in zip(share, size, (top, left), strict=True)
    )
    whole = tiny_rednet(rednet, tile="none").restore_array(pixels)
    part = tiny_rednet(rednet, tile=tile).restore_picture(
        Picture(pixels=pixels), region=(left, top, width, height), force=True
    )
    expected = whole[top : top + height, left : left + width].astype(int)
    assert np.abs(part.pixels.astype(int) - expected).max() <= 1  # rounding ties
    assert (part.pixels != expected).mean() < 0.01


def test_the_plain_forward_is_what_a_whole_picture_gets(strided: nn.Module) -> None:
    image = picture(21, 30)
    padded = np.pad(image, ((0, 3), (0, 2), (0, 0)), mode="reflect")
    with torch.inference_mode():
        y = strided(torch.from_numpy(padded.transpose(2, 0, 1)[None].copy()))[0].numpy().transpose(1, 2, 0)
    restored = Restorer(
        strided, model=declared(Geometry(multiple_of=4, halo=12)), device="cpu", dtype="float32"
    ).restore_array(image)
    np.testing.assert_allclose(restored, np.clip(y[:21, :30], 0, 1), atol=1e-6)


def structural(network: nn.Module) -> nn.Module:
    """Positive kernels, norms and activations without effect: an input reaches all that the structure lets it reach."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.fill_(1 / module.weight[0].numel())
                module.bias.zero_()
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            parent = network.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], nn.Identity())
    return network.double().eval()


@pytest.mark.parametrize("options", [{"depth": 2, "width": 8}, {"depth": 15, "width": 4}])
def test_the_declared_halo_is_exact_and_one_pixel_less_is_not(options: dict[str, int]) -> None:
    halo = REDNET.geometry_for(options).halo
    assert halo == 2 * options["depth"]
    network = structural(REDNET.build(options))
    size = 2 * halo + 21
    x = torch.zeros(1, 3, size, size, dtype=torch.float64)
    impulse = x.clone()
    impulse[:, :, 5, size // 2] = 1  # the ELU is the identity for what is not negative
    with torch.inference_mode():
        change = (network(impulse).double() - network(x).double()).abs().amax(dim=(0, 1))
    reached = (change > 0).nonzero()
    assert int((reached[:, 0] - 5).abs().max()) == halo
    assert int((reached[:, 1] - size // 2).abs().max()) == halo


def test_overlap_below_the_halo_is_approximate_and_said_once(
    rednet: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    restorer = tiny_rednet(rednet, tile=16, overlap=2)
    image = picture(40, 40)
    for _ in range(2):
        restorer.restore_array(image)
    assert not restorer.plan(40, 40).exact
    assert [record.message.split(":")[0] for record in caplog.records] == ["tiling is approximate"]
    assert "2 px is less than the 4 px" in caplog.text


def test_a_network_that_sees_the_whole_picture_runs_whole_unless_it_is_tiled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    restorer = Restorer(WholePicture(), model=declared(Geometry(halo=None)), device="cpu", dtype="float32")
    image = picture(200, 300)
    assert restorer.plan(2000, 1500).num_tiles == 1
    np.testing.assert_allclose(
        restorer.restore_array(image),
        0.5 * image + 0.5 * image.mean(axis=(0, 1), dtype=np.float64),
        atol=1e-6,
    )
    assert not caplog.records
    tiled = restorer.retiled(100)
    assert tiled.plan(200, 300).num_tiles > 1
    restored = tiled.restore_array(image)
    assert "looks at the whole picture" in caplog.text
    # each window's mean differs a little; blended there is no seam: the added field is smooth
    added = restored - 0.5 * image
    assert np.abs(np.diff(added, axis=1)).max() < 0.002
    assert np.abs(added - 0.5 * image.mean(axis=(0, 1))).max() < 0.05


@given(height=st.integers(1, 100), width=st.integers(1, 100))
def test_a_network_of_fixed_size_gets_that_size_only(height: int, width: int) -> None:
    seen = set()

    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.add(tuple(x.shape))
            return x

    model = declared(Geometry(multiple_of=8, halo=None, fixed_size=32))
    image = picture(height, width)
    restored = Restorer(Fixed(), model=model, device="cpu", dtype="float32", tile=32).restore_array(image)
    assert seen == {(1, 3, 32, 32)}
    np.testing.assert_allclose(restored, image, atol=1e-6)


def test_a_network_of_fixed_size_refuses_other_pictures_unless_tiles_are_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = declared(Geometry(multiple_of=8, halo=None, fixed_size=32, hint="memory=conv takes any size"))
    restorer = Restorer(WholePicture(), model=model, device="cpu", dtype="float32")
    for size in ((32, 33), (31, 32), (64, 64), (1, 1)):
        with pytest.raises(PictureError) as refused:
            restorer.restore_array(picture(*size))
        message = str(refused.value)
        assert f"local takes pictures of 32x32 px only, and this one has {size[1]}x{size[0]}" in message
        assert "; memory=conv takes any size; --tile 32 restores it in blended tiles" in message
        assert "\n" not in message
    image = picture(32, 32)
    expected = 0.5 * image + 0.5 * image.mean(axis=(0, 1), dtype=np.float64)
    for tile in ("auto", "none", 32):
        np.testing.assert_allclose(restorer.retiled(tile).restore_array(image), expected, atol=1e-6)
    assert restorer.plan(32, 32).exact
    assert restorer.plan(32, 32, region=(3, 4, 5, 6)).exact  # of a picture that is one window
    assert not caplog.records
    tiled = restorer.retiled(32)
    assert not tiled.plan(40, 32).exact
    tiled.restore_array(picture(40, 32))
    assert caplog.messages == ["tiling is approximate: local takes 32 px squares only"]
    with pytest.raises(UsageError, match="give --tile 32"):
        restorer.retiled(64).restore_array(image)


@pytest.mark.parametrize("fixed_size", [32, None])
@pytest.mark.parametrize("measurable", [False, True])
def test_a_device_too_small_for_the_smallest_tiles_ends_in_one_line(
    fixed_size: int | None, measurable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """measurable : the memory that it takes can be measured, which is done on black windows"""
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path))
    calls = []

    class Full(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(x.shape)
            if not measurable or x.any():
                raise torch.OutOfMemoryError
            return x

    model = declared(Geometry(halo=None, fixed_size=fixed_size))
    restorer = Restorer(Full(), model=model, device="cpu", tile="auto" if fixed_size is None else 32)
    with pytest.raises(NotEnoughRoomError, match="cpu ran out of memory with the smallest tiles of local"):
        restorer.restore_array(picture(400, 500))
    assert len(calls) < 400


@given(
    size=st.tuples(st.integers(1, 80), st.integers(1, 80)),
    tile=st.integers(1, 50),
    overlap=st.integers(0, 12),
    channels=st.sampled_from([1, 3]),
)
def test_an_identity_network_changes_nothing_however_it_is_tiled(
    size: tuple[int, int], tile: int, overlap: int, channels: int
) -> None:
    model = declared(Geometry(multiple_of=2, halo=20))
    image = (picture(*size, channels=channels) * 65535).astype(np.uint16)
    restorer = Restorer(nn.Identity(), model=model, device="cpu", tile=tile, overlap=overlap)
    np.testing.assert_array_equal(restorer.restore_array(image), image)


@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    tile=st.tuples(st.integers(1, 90), st.integers(1, 90)),
)
def test_plans_cover_each_pixel_of_their_area_once(size: tuple[int, int], tile: tuple[int, int]) -> None:
    area = Area(
        top=size[0] // 3, left=size[1] // 4, height=size[0] - size[0] // 3, width=max(1, size[1] // 2)
    )
    plan = plan_picture(
        height=size[0], width=size[1], area=area, geometry=Geometry(multiple_of=4, halo=10),
        request=TileRequest(tile=tile), most_pixels=None,
    )  # fmt: skip
    assert plan is not None
    assert covers_once(plan)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("512", (512, 512)),
        ("640x480", (480, 640)),
        (64, (64, 64)),
        ((3, 5), (3, 5)),
    ],
)
def test_tile_sizes_are_read_as_width_by_height(text: object, expected: object) -> None:
    assert parse_tile(text) == expected


@pytest.mark.parametrize("text", ["0", "-3", "1x2x3", "big", "10x", "x", ""])
def test_nonsense_tile_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_tile(text)


def test_regions_are_read_and_must_lie_in_the_picture(rednet: nn.Module) -> None:
    assert parse_region("1, 2,30,40") == (1, 2, 30, 40)
    with pytest.raises(UsageError, match="X,Y,WIDTH,HEIGHT"):
        parse_region("1,2,3")
    with pytest.raises(PictureError, match="20x10 px"):
        tiny_rednet(rednet).plan(10, 20, region=(15, 0, 6, 5))


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width", "tile"), [(97, 101, 40), (64, 150, 64)])
def test_tiled_equals_whole_for_the_real_rednet30(height: int, width: int, tile: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = REDNET.build()
    with torch.no_grad():
        network.output.weight.mul_(0.05)
    whole, tiled = (
        Restorer(network, model=REDNET, device="cpu", dtype="float32", tile=how).restore_array(
            picture(height, width)
        )
        for how in ("none", tile)
    )
    assert np.abs(tiled - whole).max() <= 1e-5
