"""Where results differ, and the picture that shows them side by side."""

import numpy as np
import pytest

from deblur_cli.errors import PictureError, UsageError
from deblur_cli.evaluation.compare import (
    compare_finished,
    compare_results,
    differing_regions,
    draw,
    marked_regions,
)
from deblur_cli.evaluation.grid import region_side, side_by_side
from deblur_cli.evaluation.measures import build_measures
from deblur_cli.metrics import METRICS as ALL
from deblur_cli.pictures.regions import Region, find_regions

MEASURES = build_measures(ALL[:2])  # psnr and ssim


class Adds:
    """Adds a constant in [0, 1], everywhere or in one region only."""

    def __init__(self, value: float, region: Region | None = None) -> None:
        self._value = np.float32(value)
        self._region = region

    def restore_array(self, image: np.ndarray) -> np.ndarray:
        restored = image.copy()
        part = restored if self._region is None else self._region.crop(restored)
        part += self._value
        return restored


def flat(value: int, height: int = 60, width: int = 80, channels: int = 3) -> np.ndarray:
    return np.full((height, width, channels), value, dtype=np.uint8)


def test_the_region_found_covers_the_only_place_that_differs() -> None:
    other = flat(100)
    other[31:35, 52:56] = 140
    (region,) = find_regions([flat(100), other], width=16, height=12, count=1)
    assert (region.width, region.height) == (16, 12)
    assert region.x <= 52
    assert region.x + 16 >= 56
    assert region.y <= 31
    assert region.y + 12 >= 35


def test_the_greatest_difference_comes_first_and_regions_do_not_overlap() -> None:
    rng = np.random.default_rng(3)
    first, second = (rng.integers(0, 256, (60, 80, 3), dtype=np.uint8) for _ in range(2))
    regions = find_regions([first, second], width=20, height=15, count=4)
    difference = first.astype(float).sum(axis=-1) - second.astype(float).sum(axis=-1)
    sums = [region.crop(difference).var() for region in regions]
    everywhere = [difference[y : y + 15, x : x + 20].var() for y in range(46) for x in range(61)]
    assert sums[0] == pytest.approx(max(everywhere))
    assert sums == sorted(sums, reverse=True)
    covered = np.zeros((60, 80), dtype=int)
    for region in regions:
        region.crop(covered)[...] += 1
    assert covered.max() == 1
    assert covered.sum() == 4 * 20 * 15


def test_a_tint_all_over_does_not_draw_attention_from_detail() -> None:
    sharper = flat(100)
    sharper[10:14, 20:24] = 103  # a little detail against a strong tint
    tinted = flat(100)
    tinted[:, :, 0] = 180
    (region,) = find_regions([sharper, tinted], width=16, height=12, count=1)
    assert covers(region, Region(20, 10, 4, 4))


def test_fewer_regions_come_back_where_there_is_no_room_and_the_middle_where_all_is_equal() -> None:
    rng = np.random.default_rng(4)
    noise = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    assert find_regions([noise, flat(0, 20, 20)], width=50, height=50, count=3) == (Region(0, 0, 20, 20),)
    assert find_regions([flat(7), flat(7)], width=20, height=20, count=2) == (Region(30, 20, 20, 20),)


def test_every_picture_appears_in_its_cell_unchanged_when_it_needs_no_reduction() -> None:
    rng = np.random.default_rng(5)
    pictures = [rng.integers(0, 256, (40, 60, 3), dtype=np.uint8) for _ in range(3)]
    grid = side_by_side([(str(i), picture) for i, picture in enumerate(pictures)], cell_px=60, columns=3)
    for picture in pictures:
        assert occurs(picture, grid)


def test_small_pictures_are_enlarged_by_a_whole_factor_with_nearest_neighbour() -> None:
    picture = np.random.default_rng(6).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    grid = side_by_side([("tiny", picture)], cell_px=50)
    assert occurs(picture.repeat(4, axis=0).repeat(4, axis=1), grid)  # 50 // 12


def test_regions_are_framed_in_the_picture_and_enlarged_below_it() -> None:
    picture = np.random.default_rng(7).integers(0, 256, (48, 96, 3), dtype=np.uint8)
    region = Region(10, 8, 12, 12)
    plain = side_by_side([("a", picture)], cell_px=96)
    grid = side_by_side([("a", picture)], cell_px=96, regions=[region])
    assert occurs(picture, plain)
    assert not occurs(picture, grid)  # the frame covers some of it
    enlarged = region.crop(picture).repeat(8, axis=0).repeat(8, axis=1)  # 96 // 12
    assert occurs(enlarged[2:-2, 2:-2], grid)  # within its own frame
    assert grid.shape[0] > plain.shape[0] + 90


def test_large_pictures_are_reduced_to_the_cell() -> None:
    grid = side_by_side([("a", flat(90, 900, 1600)), ("b", flat(90, 900, 1600))], cell_px=160)
    assert grid.shape[1] < 2 * 160 + 40
    assert (grid == 90).all(axis=-1).sum() == 2 * 160 * 90


def test_cells_go_to_the_next_row_and_grey_pictures_are_shown() -> None:
    one_row = side_by_side([("a", flat(10, channels=1))] * 4, columns=4, cell_px=80)
    two_rows = side_by_side([("a", flat(10, channels=1))] * 4, columns=2, cell_px=80)
    assert one_row.shape[2] == 3
    assert two_rows.shape[0] > 1.8 * one_row.shape[0]
    assert two_rows.shape[1] < 0.6 * one_row.shape[1]


def test_labels_and_captions_are_drawn_and_never_run_into_the_next_cell() -> None:
    pictures = [("a label that is far too long for any cell " * 3, flat(255)), ("", flat(255))]
    grid = side_by_side(pictures, captions=["PSNR 30.12 dB", ""], cell_px=200)
    ink = (grid < 128).all(axis=-1)
    middle = grid.shape[1] // 2
    assert ink[:36, :middle].any()
    assert ink[-36:, :middle].any()
    assert not ink[:, middle:].any()


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (3, 5), (33, 2000)])
def test_pictures_of_any_size_can_be_shown(size: tuple[int, int]) -> None:
    height, width = size
    side = region_side(width, height, count=2)
    regions = find_regions([flat(3, height, width), flat(9, height, width)], width=side, height=side, count=2)
    grid = side_by_side(
        [("a", flat(3, height, width)), ("b", flat(9, height, width))], regions=regions, captions=["x", "y"]
    )
    assert (grid == 3).all(axis=-1).any()
    assert (grid == 9).all(axis=-1).any()


def test_what_cannot_be_shown_side_by_side_is_refused() -> None:
    with pytest.raises(UsageError, match="b is 80x61, a is 80x60"):
        side_by_side([("a", flat(1)), ("b", flat(1, height=61))])
    with pytest.raises(UsageError, match=r"70,0,20,20 does not lie inside the picture of 80x60"):
        side_by_side([("a", flat(1))], regions=[Region(70, 0, 20, 20)])
    with pytest.raises(UsageError, match="no picture"):
        side_by_side([])
    with pytest.raises(UsageError, match="2 pictures need as many captions, not 1"):
        side_by_side([("a", flat(1))] * 2, captions=["x"])


def test_a_comparison_measures_every_result_against_the_reference_before_rounding() -> None:
    found = compare_results(
        {"worse": Adds(0.1), "better": Adds(0.001)}, flat(100), sharp=flat(100), measures=MEASURES
    )
    worse, better = found.restored
    assert worse.scores["psnr"] == pytest.approx(20, abs=1e-4)
    assert better.scores["psnr"] == pytest.approx(60, abs=1e-3)  # rounded to 8 bit it would be identical
    assert np.array_equal(better.pixels, flat(100))
    assert found.blurry.scores["psnr"] == float("inf")
    assert found.sharp is not None


def test_a_comparison_without_reference_has_no_scores() -> None:
    found = compare_results({"a": Adds(0.1)}, flat(100), measures=MEASURES)
    assert found.sharp is None
    assert found.restored[0].scores == {}
    assert draw(found, differing_regions(found)).dtype == np.uint8


def test_16_bit_and_grey_pictures_are_compared() -> None:
    blurry = np.full((20, 24, 1), 65535 // 2, dtype=np.uint16)
    found = compare_results({"a": Adds(0.0)}, blurry, sharp=flat(255, 20, 24), measures=MEASURES)
    assert found.blurry.scores["psnr"] == pytest.approx(20 * np.log10(2), abs=1e-3)
    assert np.array_equal(found.restored[0].pixels, flat(127, 20, 24))
    assert compare_results({"a": Adds(0.0)}, blurry).restored[0].pixels.shape == (20, 24, 1)


def test_a_reference_of_another_size_is_refused() -> None:
    with pytest.raises(PictureError, match=r"80x60.*80x61"):
        compare_results({"a": Adds(0.0)}, flat(1), sharp=flat(1, height=61))


def test_regions_are_found_between_results_and_from_the_input_where_results_agree() -> None:
    # "left" and "both" agree on the left side, and differ on the right one
    left, right = Region(5, 5, 4, 4), Region(60, 40, 4, 4)

    class Both:
        def restore_array(self, image: np.ndarray) -> np.ndarray:
            return Adds(0.2, right).restore_array(Adds(0.5, left).restore_array(image))

    two = compare_results({"left": Adds(0.5, left), "both": Both()}, flat(100))
    assert covers(differing_regions(two)[0], right)
    same = compare_results({"a": Adds(0.5, left), "b": Adds(0.5, left)}, flat(100))
    assert covers(differing_regions(same)[0], left)
    one = compare_results({"a": Adds(0.5, left)}, flat(100))
    assert covers(differing_regions(one)[0], left)


def covers(outer: Region, inner: Region) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and outer.x + outer.width >= inner.x + inner.width
        and outer.y + outer.height >= inner.y + inner.height
    )


def occurs(part: np.ndarray, whole: np.ndarray) -> bool:
    """Whether `part` stands somewhere in `whole`, pixel for pixel."""
    height, width = part.shape[:2]
    candidates = np.argwhere(
        (whole[: whole.shape[0] - height + 1, : whole.shape[1] - width + 1] == part[0, 0]).all(axis=-1)
    )
    return any(np.array_equal(whole[y : y + height, x : x + width], part) for y, x in candidates)


def test_one_region_shows_where_results_differ_and_another_where_the_blurred_picture_differs_from_the_sharp() -> (
    None
):
    of_results, of_blur = Region(20, 20, 4, 4), Region(100, 60, 4, 4)
    sharp = flat(100, 100, 140)
    of_blur.crop(sharp)[...] = 200
    found = compare_results(
        {"a": Adds(0.0), "b": Adds(0.1, of_results)}, flat(100, 100, 140), sharp=sharp, measures=MEASURES[:1]
    )
    first, second = marked_regions(found)
    assert covers(first.region, of_results)
    assert covers(second.region, of_blur)
    assert "results" in first.why
    assert "blurred and sharp" in second.why


def test_a_single_result_is_said_to_differ_from_the_blurred_picture() -> None:
    place = Region(20, 20, 4, 4)
    found = compare_results({"a": Adds(0.5, place)}, flat(100, 100, 140))
    assert {marked.why for marked in marked_regions(found)} == {"blurred and result differ most"}


def test_the_two_kinds_of_regions_do_not_overlap_even_where_one_place_is_first_in_both() -> None:
    rng = np.random.default_rng(8)
    busy = Region(60, 40, 12, 12)
    sharp = np.clip(rng.normal(100, 3, (100, 140, 3)), 0, 255).astype(np.uint8)
    busy.crop(sharp)[...] = 250
    found = compare_results(
        {"a": Adds(0.0), "b": Adds(0.5, busy)}, flat(100, 100, 140), sharp=sharp, measures=MEASURES[:1]
    )
    first, second = (marked.region for marked in marked_regions(found))
    assert covers(first, busy)
    assert (
        abs(first.x - second.x) >= first.width or abs(first.y - second.y) >= first.height
    )  # side by side at most


def test_a_tiny_picture_is_enlarged_as_a_whole_instead_of_in_regions() -> None:
    rng = np.random.default_rng(9)
    tiny = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    found = compare_results({"a": Adds(0.1), "b": Adds(0.0)}, tiny, sharp=tiny, measures=MEASURES[:1])
    assert marked_regions(found) == ()
    grid = draw(found, (), notes=["32x32 px"])
    assert occurs(tiny.repeat(15, axis=0).repeat(15, axis=1), grid)  # 480 // 32, nearest neighbour


def test_every_score_has_a_line_of_its_own_and_notes_stand_at_the_foot() -> None:
    plain = side_by_side([("a", flat(255))], cell_px=240)
    two = side_by_side(
        [("a", flat(255))], captions=["PSNR 30.12 dB  +1.00\nSSIM 0.9000  +0.1000"], cell_px=240
    )
    noted = side_by_side([("a", flat(255))], notes=["weights: first", "data: second"], cell_px=240)
    line = 26
    assert two.shape[0] - plain.shape[0] == noted.shape[0] - plain.shape[0] == 2 * line
    for sheet in (two, noted):
        upper, lower = sheet[-2 * line - 6 : -line - 6], sheet[-line - 6 :]
        assert (upper < 160).any()
        assert (lower < 160).any()


def test_lines_at_the_foot_have_letters_of_one_size() -> None:
    short = side_by_side([("a", flat(255))], notes=["HHHH"], cell_px=240)
    beside_long = side_by_side(
        [("a", flat(255))], notes=["HHHH", "a line that is too long for it" * 2], cell_px=240
    )
    alone = side_by_side([("a", flat(255))], notes=["HHHH", "short"], cell_px=240)

    def height(sheet: np.ndarray, lines: int) -> int:
        first = sheet[-26 * lines :][:26]
        return int((first < 160).any(axis=(1, 2)).sum())

    assert height(alone, 2) == height(short, 1)
    assert height(beside_long, 2) < height(short, 1)


def test_finished_results_are_measured_as_they_are() -> None:
    one, other = flat(110), flat(150)
    found = compare_finished(
        {"one": one, "other": other}, blurry=flat(120), sharp=flat(100), measures=MEASURES[:1]
    )
    gain = found.gain(found.restored[0], MEASURES[0].metric)
    assert found.restored[0].scores["psnr"] == pytest.approx(20 * np.log10(255 / 10), abs=1e-4)
    assert found.restored[1].scores["psnr"] == pytest.approx(20 * np.log10(255 / 50), abs=1e-4)
    assert gain == pytest.approx(20 * np.log10(2), abs=1e-4)
    assert found.worst_gain() == pytest.approx(20 * np.log10(20 / 50), abs=1e-4)
    assert np.array_equal(found.restored[0].pixels, one)
    with pytest.raises(PictureError, match=r"one is 80x60, other 80x61"):
        compare_finished({"one": one, "other": flat(1, height=61)})


def test_a_gain_that_is_a_smaller_number_is_no_loss() -> None:
    mse = next(metric for metric in ALL if metric.name == "mse")
    assert not mse.higher_is_better
    found = compare_finished(
        {"better": flat(101)}, blurry=flat(120), sharp=flat(100), measures=build_measures([mse])
    )
    assert found.gain(found.restored[0], mse) < 0
    assert found.worst_gain() > 0


def test_a_network_that_fails_does_not_stop_the_others() -> None:
    class Broken:
        def restore_array(self, image: np.ndarray) -> np.ndarray:
            return image * np.float32("nan")

    found = compare_results({"broken": Broken(), "good": Adds(0.1)}, flat(100))
    assert [shown.label for shown in found.restored] == ["good"]
    assert "not numbers" in found.failures["broken"]
    with pytest.raises(PictureError, match="not numbers"):
        compare_results({"broken": Broken()}, flat(100))
