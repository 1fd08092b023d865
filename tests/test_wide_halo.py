"""Networks whose halo is so wide that exact tiles are a waste: they take the overlap that the network declares."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from deblur_cli import Facts, Geometry, Model
from deblur_cli.errors import NotEnoughRoomError
from deblur_cli.pictures.picture import Picture
from deblur_cli.restore.memory import parse_size
from deblur_cli.restore.planning import TileRequest, least_pixels, plan_picture, region_area, whole_area
from deblur_cli.restore.restorer import Restorer
from deblur_cli.restore.tiling import Span, TilePlan

HALO, OVERLAP = 42, 6
WIDE = Geometry(multiple_of=2, halo=HALO, overlap=OVERLAP)


class Wide(nn.Module):
    """Near things count much, far ones little: blocks of 2 px, and their mean over 83 px. copies : to take more memory"""

    def __init__(self, copies: int = 1) -> None:
        super().__init__()
        self.copies = copies

    def extra_repr(self) -> str:
        return f"{self.copies} copies"  # measured memory is kept by layers

    def forward(self, x: Tensor) -> Tensor:
        blocks = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2)
        blocks = blocks.repeat(self.copies, 1, 1, 1).mean(dim=0, keepdim=True)
        reach = HALO - 1
        far = F.pad(blocks, (reach, reach, reach, reach))
        far = F.avg_pool2d(F.avg_pool2d(far, (1, 2 * reach + 1), stride=1), (2 * reach + 1, 1), stride=1)
        return 0.5 * x + 0.3 * blocks + 0.2 * far


def declared(geometry: Geometry) -> Model:
    return Model(
        name="wide", summary="for this test", source="this test", network="nowhere:Nothing", geometry=geometry,
        facts=Facts(parameters=0, kmacs_per_pixel=0), licence="MIT",
    )  # fmt: skip


def wide(geometry: Geometry = WIDE, *, copies: int = 1, **settings: object) -> Restorer:
    return Restorer(Wide(copies), model=declared(geometry), device="cpu", **{"dtype": "float32", **settings})


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).random((height, width, 3), dtype=np.float32)


def planned(
    size: tuple[int, int],
    *,
    geometry: Geometry = WIDE,
    tile: str | tuple[int, int] = "auto",
    overlap: int | None = None,
    most_pixels: int | None = None,
    region: tuple[int, int, int, int] | None = None,
) -> TilePlan | None:
    height, width = size
    area = whole_area(height, width) if region is None else region_area(region, height=height, width=width)
    return plan_picture(
        height=height, width=width, area=area, geometry=geometry, most_pixels=most_pixels,
        request=TileRequest(tile=tile, overlap=overlap),
    )  # fmt: skip


def test_a_picture_that_fits_is_one_exact_tile() -> None:
    for size in ((1, 1), (3, 5), (200, 300), (333, 336)):
        plan = planned(size)
        assert plan is not None
        assert (plan.num_tiles, plan.exact, plan.margin) == (1, True, HALO)


def test_tiles_take_the_declared_overlap_where_exact_ones_would_read_more_than_twice_the_picture() -> None:
    image = picture(200, 260)
    whole = wide().restore_array(image)
    restorer = wide(tile=32)
    plan = restorer.plan(200, 260)
    assert (plan.exact, plan.blend, plan.margin) == (False, True, OVERLAP)
    assert max(plan.tile_shape) <= 32 + 2 * OVERLAP
    tiled = restorer.restore_array(image)
    assert 1e-5 < np.abs(tiled - whole).max() < 0.1
    exact = wide(tile=32, overlap=HALO).restore_array(image)
    np.testing.assert_allclose(exact, whole, atol=1e-5)


@pytest.mark.parametrize(("width", "exact"), [(168, True), (166, False)])
def test_the_limit_is_twice_the_picture(width: int, exact: bool) -> None:
    """Three exact tiles along a strip read it and twice the halo at each of two cuts: 168 px in all."""
    plan = planned((20, width), tile=(20, 30))
    assert plan is not None
    assert (plan.exact, plan.margin) == ((True, HALO) if exact else (False, OVERLAP))


def test_tiles_take_the_declared_overlap_where_exact_ones_do_not_fit() -> None:
    least = 2 * HALO + 32
    small = planned((1000, 1500), most_pixels=100 * 100)
    large = planned((1000, 1500), most_pixels=700 * 800)
    assert small is not None
    assert large is not None
    assert least * least > 100 * 100
    assert (small.exact, small.margin) == (False, OVERLAP)
    assert (large.exact, large.margin) == (True, HALO)
    assert large.read_pixels < 2 * 1000 * 1500


@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    tile=st.one_of(st.sampled_from(["auto", "none"]), st.tuples(st.integers(1, 200), st.integers(1, 200))),
    overlap=st.integers(0, 60),
    most_pixels=st.one_of(st.none(), st.integers(1, 90_000)),
)
def test_an_overlap_of_the_user_wins_always_and_nothing_changes_without_a_declared_one(
    size: tuple[int, int], tile: str | tuple[int, int], overlap: int, most_pixels: int | None
) -> None:
    plain = Geometry(multiple_of=2, halo=HALO)
    settings = {"tile": tile, "most_pixels": most_pixels}
    assert planned(size, overlap=overlap, **settings) == planned(
        size, geometry=plain, overlap=overlap, **settings
    )
    without = planned(size, geometry=plain, **settings)
    assert without is None or (without.exact and not without.blend and without.margin == HALO)
    found = planned(size, **settings)
    if found is not None and found.exact:
        assert replace(found, margin=HALO) == without


@given(
    geometry=st.builds(
        lambda multiple_of, halo, share: Geometry(
            multiple_of=multiple_of, halo=halo, overlap=None if share is None else int(share * halo)
        ),
        multiple_of=st.sampled_from([1, 2, 8, 16, 100, 1024]),
        halo=st.integers(1, 1400),
        share=st.one_of(st.none(), st.floats(0, 0.99)),
    ),
    size=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    corner=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)),
    overlap=st.one_of(st.none(), st.integers(0, 1400)),
)
def test_the_least_window_that_is_named_works_and_fewer_pixels_do_not(
    geometry: Geometry, size: tuple[int, int], corner: tuple[float, float], overlap: int | None
) -> None:
    height, width = size
    top, left = int(corner[0] * height), int(corner[1] * width)
    for region in (None, (left, top, width - left, height - top), (left, top, 1, 1)):
        area = (
            whole_area(height, width) if region is None else region_area(region, height=height, width=width)
        )
        least = least_pixels(
            height=height, width=width, area=area, geometry=geometry, request=TileRequest(overlap=overlap)
        )
        plan = planned(size, geometry=geometry, overlap=overlap, most_pixels=least, region=region)
        assert plan is not None
        assert plan.tile_pixels <= least
        assert planned(size, geometry=geometry, overlap=overlap, most_pixels=least - 1, region=region) is None


@given(
    size=st.tuples(st.integers(1, 150), st.integers(1, 200)),
    tile=st.integers(16, 120),
    overlap=st.sampled_from([0, 1, 6, 13]),
    corner=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    share=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_region_equals_the_same_part_of_the_whole_result_though_tiles_are_approximate(
    size: tuple[int, int],
    tile: int,
    overlap: int,
    corner: tuple[float, float],
    share: tuple[float, float],
) -> None:
    image = (picture(*size) * 65535).astype(np.uint16)
    top, left = (int(at * (side - 1)) for at, side in zip(corner, size, strict=True))
    height, width = (
        1 + int(s * (side - at - 1)) for s, side, at in zip(share, size, (top, left), strict=True)
    )
    region = (left, top, width, height)
    restorer = wide(Geometry(multiple_of=2, halo=HALO, overlap=overlap), tile=tile)
    part = restorer.restore_picture(Picture(pixels=image), region=region, force=True)
    expected = restorer.restore_array(image)[top : top + height, left : left + width]
    np.testing.assert_allclose(part.pixels, expected.astype(np.float64), atol=1)  # rounding ties
    plans = restorer.plan(*size), restorer.plan(*size, region=region)
    assert plans[0].exact == plans[1].exact
    assert plans[1].num_tiles <= plans[0].num_tiles


def test_a_small_region_runs_few_of_the_tiles() -> None:
    restorer = wide(tile=32)
    assert restorer.plan(500, 700).num_tiles > 200
    assert restorer.plan(500, 700, region=(300, 200, 20, 20)).num_tiles <= 4
    assert restorer.retiled(32, overlap=HALO).plan(500, 700, region=(300, 200, 20, 20)).exact


def test_it_is_said_once_in_one_line_with_what_makes_it_exact(caplog: pytest.LogCaptureFixture) -> None:
    restorer = wide(tile=32)
    for _ in range(2):
        restorer.restore_array(picture(200, 260))
    (message,) = caplog.messages
    assert message == (
        "tiling is approximate: an overlap of 6 px is less than the 42 px that wide looks around; "
        "--overlap 42 makes it exact; deblur verify-tiling measures the difference"
    )
    caplog.clear()
    wide(tile=32, overlap=HALO).restore_array(picture(200, 260))
    wide().restore_array(picture(200, 260))
    assert not caplog.records


def test_a_budget_in_which_exact_tiles_do_not_fit_is_enough_for_the_declared_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path))
    size = (1200, 1600)
    with pytest.raises(NotEnoughRoomError) as refused:
        wide(copies=50, max_memory=1).plan(*size)
    found = re.search(r"--max-memory (\S+) or a picture of fewer pixels", str(refused.value))
    assert found is not None
    restorer = wide(copies=50, max_memory=found[1])
    plan = restorer.plan(*size)
    assert (plan.exact, plan.margin) == (False, OVERLAP)
    for words in ({"geometry": Geometry(multiple_of=2, halo=HALO)}, {"overlap": HALO}):
        with pytest.raises(NotEnoughRoomError):
            wide(copies=50, max_memory=found[1], **words).plan(*size)
    with pytest.raises(NotEnoughRoomError):
        wide(copies=50, max_memory=int(parse_size(found[1]) * 0.9)).plan(*size)
    assert wide(copies=50, max_memory="20GB").plan(*size).exact


def test_where_memory_is_short_a_smaller_overlap_than_the_one_in_force_is_named() -> None:
    geometry = Geometry(multiple_of=2, halo=200, overlap=80)
    for budget, settings, remedy in (
        ("2MB", {}, "or an --overlap below 80, which is approximate"),
        ("2MB", {"overlap": 200}, "or an --overlap below 200, which is approximate"),
        ("2MB", {"overlap": 3}, "or a picture of fewer pixels"),
        ("2MB", {"overlap": 3, "tile": 512}, "or a picture of fewer pixels"),
        ("40MB", {"tile": 512}, "or --tile auto"),
        ("40MB", {"tile": "none"}, "or --tile auto"),
    ):
        with pytest.raises(NotEnoughRoomError, match=remedy):
            wide(geometry, max_memory=budget, **settings).plan(600, 600)
    assert wide(geometry, max_memory="40MB").plan(600, 600).num_tiles > 1


def _read(spans: Sequence[Span]) -> set[tuple[int, int]]:
    return {(span.read_start, span.read_stop) for span in spans}


def test_a_region_of_a_picture_that_just_fits_a_budget_gets_the_windows_of_the_whole() -> None:
    """The part's result is smaller, which would leave more memory for windows."""
    size, region = (1200, 1600), (100, 200, 30, 40)
    found = set()
    for budget in range(52, 120, 8):
        restorer = wide(copies=50, max_memory=budget * 10**6)
        whole = restorer.plan(*size, pixels=np.float32)
        part = restorer.plan(*size, pixels=np.float32, region=region)
        assert part.exact == whole.exact
        if not whole.exact:
            assert _read(part.rows) <= _read(whole.rows)
            assert _read(part.columns) <= _read(whole.columns)
        found.add(whole.exact)
    assert found == {True, False}


def test_a_tile_of_the_user_that_does_not_fit_with_the_halo_takes_the_overlap() -> None:
    needed = {}
    for overlap in (HALO, OVERLAP):
        with pytest.raises(NotEnoughRoomError) as refused:
            wide(copies=50, tile=400, overlap=overlap, max_memory=1).plan(1200, 1200)
        needed[overlap] = int(re.search(r"--max-memory (\d+)MB", str(refused.value))[1]) * 10**6
    between = (needed[HALO] + needed[OVERLAP]) // 2
    assert needed[OVERLAP] < between < needed[HALO]
    assert wide(copies=50, tile=400, max_memory=needed[HALO]).plan(1200, 1200).exact
    assert wide(copies=50, tile=400, max_memory=between).plan(1200, 1200).margin == OVERLAP
