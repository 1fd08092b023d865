"""`evaluate` over pairs made by hand, with restorers whose effect is known."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest

from deblur_cli.errors import MissingError, PictureError
from deblur_cli.evaluation.evaluate import evaluate, evaluate_models
from deblur_cli.evaluation.records import finite_mean
from deblur_cli.metrics import METRICS as ALL

METRICS = PSNR, SSIM, MSE, MAE = [metric for metric in ALL if metric.name in ("psnr", "ssim", "mse", "mae")]


@dataclass(frozen=True)
class MadePair:
    """A flat sharp picture and a blurred one that is off by `error` 8-bit steps."""

    name: str
    error: int
    size: tuple[int, int] = (12, 16)

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        sharp = np.full((*self.size, 3), 100, dtype=np.uint8)
        return sharp + np.uint8(self.error), sharp


@dataclass(frozen=True)
class BrokenPair:
    name: str

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        raise PictureError(f"cannot read {self.name}.png: it is truncated")


class Keeps:
    """Gives back what it gets."""

    def restore_array(self, image: np.ndarray) -> np.ndarray:
        return image


class Subtracts:
    """Takes 8-bit steps away, which a pair of that error asks for."""

    def __init__(self, steps: float) -> None:
        self._steps = steps

    def restore_array(self, image: np.ndarray) -> np.ndarray:
        return np.clip(image - np.float32(self._steps / 255), 0, 1)


class FailsOn:
    """Refuses pictures of one height with the error given, keeps the others."""

    def __init__(self, height: int, error: Exception) -> None:
        self._height = height
        self._error = error

    def restore_array(self, image: np.ndarray) -> np.ndarray:
        if image.shape[0] == self._height:
            raise self._error
        return image


def db(steps: float) -> float:
    """PSNR of a constant error of so many 8-bit steps."""
    return -20 * math.log10(steps / 255)


def test_scores_of_blurred_and_restored_pictures_are_those_of_the_known_errors() -> None:
    found = evaluate(Subtracts(3), [MadePair("a", 5), MadePair("b", 7)], METRICS)
    assert [record.name for record in found.records] == ["a", "b"]
    assert [record.blurry["psnr"] for record in found.records] == pytest.approx([db(5), db(7)], abs=1e-4)
    assert [record.restored["psnr"] for record in found.records] == pytest.approx([db(2), db(4)], abs=1e-4)
    summary = found.summary()
    assert summary.score("psnr").blurry == pytest.approx((db(5) + db(7)) / 2, abs=1e-4)
    assert summary.score("psnr").gain == pytest.approx((db(2) + db(4) - db(5) - db(7)) / 2, abs=1e-4)
    assert summary.score("mae").restored == pytest.approx(3 / 255, rel=1e-5)
    assert summary.score("mse").gain == pytest.approx((4 + 16 - 25 - 49) / 2 / 255**2, rel=1e-4)
    assert summary.pooled_psnr_restored == pytest.approx(-10 * math.log10((4 + 16) / 2 / 255**2), abs=1e-4)
    assert summary.pooled_psnr_blurry == pytest.approx(-10 * math.log10((25 + 49) / 2 / 255**2), abs=1e-4)


def test_identical_pairs_are_counted_and_left_out_of_the_mean_but_not_of_the_pooled_psnr() -> None:
    pairs = [MadePair("same", 0), MadePair("a", 5), MadePair("b", 10)]
    summary = evaluate(Keeps(), pairs, [PSNR]).summary()
    assert (summary.pictures, summary.identical_blurry, summary.identical_restored) == (3, 1, 1)
    assert summary.score("psnr").restored == pytest.approx((db(5) + db(10)) / 2, abs=1e-4)
    assert summary.pooled_psnr_restored == pytest.approx(-10 * math.log10((25 + 100) / 3 / 255**2), abs=1e-4)
    assert summary.score("psnr").gain == 0


def test_the_gain_is_taken_where_both_values_are_finite() -> None:
    # "same" is infinite before and 55 dB after: its loss cannot be a number, and must not look like a gain either
    pairs = [MadePair("same", 0), MadePair("a", 10)]
    summary = evaluate(Subtracts(0.5), pairs, [PSNR]).summary()
    score = summary.score("psnr")
    assert score.restored > score.blurry + 10
    assert score.gain == pytest.approx(db(9.5) - db(10), abs=1e-3)


def test_only_identical_pairs_leave_no_mean() -> None:
    summary = evaluate(Keeps(), [MadePair("same", 0)], [PSNR]).summary()
    assert math.isnan(summary.score("psnr").restored)
    assert summary.pooled_psnr_restored == math.inf
    assert summary.as_json()["restored"]["psnr"] is None


def test_a_nan_is_not_swept_out_of_the_mean() -> None:
    assert math.isnan(finite_mean([30.0, math.nan]))
    assert finite_mean([30.0, math.inf, 32.0]) == 31.0


def test_a_pair_that_cannot_be_read_is_reported_and_the_rest_is_measured() -> None:
    pairs = [MadePair("a", 5), BrokenPair("torn"), MadePair("b", 5)]
    found = evaluate(Keeps(), pairs, [PSNR])
    assert [record.name for record in found.records] == ["a", "b"]
    assert [(failure.name, failure.error) for failure in found.failures] == [
        ("torn", "cannot read torn.png: it is truncated")
    ]
    assert found.summary().failed == 1


def test_a_pair_of_two_sizes_is_a_failure_that_names_both() -> None:
    class Uneven:
        name = "uneven"

        def load(self) -> tuple[np.ndarray, np.ndarray]:
            return np.zeros((12, 16, 3), np.uint8), np.zeros((12, 15, 3), np.uint8)

    found = evaluate(Keeps(), [Uneven()], [PSNR])
    assert "uneven" in found.failures[0].error
    assert "16x12" in found.failures[0].error
    assert "15x12" in found.failures[0].error


def test_a_metric_that_cannot_measure_a_picture_fails_that_picture_only() -> None:
    found = evaluate(Keeps(), [MadePair("small", 5, size=(10, 16)), MadePair("a", 5)], [SSIM])
    assert [record.name for record in found.records] == ["a"]
    assert "11x11" in found.failures[0].error


def test_a_model_that_fails_on_a_picture_does_not_take_the_others_down() -> None:
    pairs = [MadePair("low", 5, size=(12, 16)), MadePair("high", 5, size=(20, 16))]
    restorers = {"fails": FailsOn(20, PictureError("too high")), "keeps": Keeps()}
    found = evaluate_models(restorers, pairs, [PSNR])
    assert [record.name for record in found["fails"].records] == ["low"]
    assert [failure.name for failure in found["fails"].failures] == ["high"]
    assert len(found["keeps"].records) == 2
    assert not found["keeps"].failures


def test_a_result_that_is_not_a_number_fails_its_picture_and_stays_out_of_the_means() -> None:
    class BreaksTall:
        def restore_array(self, image: np.ndarray) -> np.ndarray:
            return image * np.float32(np.nan) if image.shape[0] == 20 else image

    found = evaluate(BreaksTall(), [MadePair("low", 5), MadePair("tall", 5, size=(20, 16))], [PSNR])
    assert [failure.name for failure in found.failures] == ["tall"]
    assert "not numbers" in found.failures[0].error
    assert found.summary().score("psnr").restored == pytest.approx(db(5), abs=1e-4)


def test_an_error_that_is_not_about_one_picture_ends_the_evaluation() -> None:
    with pytest.raises(MissingError, match="no device"):
        evaluate(FailsOn(12, MissingError("no device")), [MadePair("a", 5)], [PSNR])


def test_limit_takes_pairs_from_the_front_and_progress_counts_them() -> None:
    seen: list[tuple[int, int]] = []
    pairs = [MadePair(name, 5) for name in "abcde"]
    found = evaluate(Keeps(), pairs, [PSNR], limit=3, progress=lambda done, total: seen.append((done, total)))
    assert [record.name for record in found.records] == ["a", "b", "c"]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert len(evaluate(Keeps(), pairs, [PSNR], limit=99).records) == 5


def test_the_hash_of_the_pairs_changes_with_order_name_and_pixels_and_not_with_the_model() -> None:
    pairs = [MadePair("a", 5), MadePair("b", 6)]
    base = evaluate(Keeps(), pairs, [PSNR]).pairs_sha256
    assert evaluate(Subtracts(1), pairs, [MAE]).pairs_sha256 == base
    for other in (pairs[::-1], [MadePair("c", 5), pairs[1]], [MadePair("a", 7), pairs[1]], pairs[:1]):
        assert evaluate(Keeps(), other, [PSNR]).pairs_sha256 != base


def test_the_first_picture_is_left_out_of_the_time_where_there_are_more() -> None:
    many = evaluate(Keeps(), [MadePair(name, 5) for name in "abc"], [PSNR]).summary()
    assert (many.timed, many.warm_up_excluded) == (2, True)
    alone = evaluate(Keeps(), [MadePair("a", 5)], [PSNR])
    one = alone.summary()
    assert (one.timed, one.warm_up_excluded) == (1, False)
    assert one.seconds == alone.records[0].seconds


def test_an_evaluation_is_strict_json_even_with_infinite_values() -> None:
    found = evaluate(Keeps(), [MadePair("same", 0), BrokenPair("torn"), MadePair("a", 5)], METRICS)
    value = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert value["pictures"][0]["identical_restored"] is True
    assert value["pictures"][0]["restored"]["psnr"] is None
    assert value["pictures"][1]["restored"]["psnr"] == pytest.approx(db(5), abs=1e-4)
    assert value["summary"]["identical_restored"] == 1
    assert value["failures"][0]["name"] == "torn"


def test_no_pairs_give_an_empty_evaluation() -> None:
    summary = evaluate(Keeps(), [], [PSNR]).summary()
    assert summary.pictures == 0
    assert math.isnan(summary.score("psnr").restored)
    assert math.isnan(summary.pooled_psnr_restored)
    assert math.isnan(summary.seconds)
