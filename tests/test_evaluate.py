"""`evaluate` over pairs made by hand, with restorers whose effect is known."""

import json
import math
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from deblur_cli.errors import MissingError, PictureError
from deblur_cli.evaluation.evaluate import evaluate, evaluate_models
from deblur_cli.evaluation.ledger import Ledger
from deblur_cli.evaluation.measures import Measure, build_measures
from deblur_cli.evaluation.protocols import Protocol, Rounding
from deblur_cli.evaluation.records import finite_mean
from deblur_cli.host.declarations import Metric
from deblur_cli.metrics import METRICS

BASIC = PSNR, SSIM, MSE, MAE = [
    next(metric for metric in METRICS if metric.name == name) for name in ("psnr", "ssim", "mse", "mae")
]


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
    found = evaluate(Subtracts(3), [MadePair("a", 5), MadePair("b", 7)], BASIC)
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
    found = evaluate_models(restorers, pairs, build_measures([PSNR]))
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


def test_whatever_else_a_network_raises_is_a_failure_of_its_picture() -> None:
    pairs = [MadePair("low", 5), MadePair("tall", 5, size=(20, 16))]
    found = evaluate(FailsOn(20, ZeroDivisionError("division by zero\nand more")), pairs, [PSNR])
    assert [record.name for record in found.records] == ["low"]
    assert [(failure.name, failure.error) for failure in found.failures] == [
        ("tall", "ZeroDivisionError: division by zero")
    ]


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
    found = evaluate(Keeps(), [MadePair("same", 0), BrokenPair("torn"), MadePair("a", 5)], BASIC)
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


def test_deviation_and_the_pictures_that_gain_least() -> None:
    summary = evaluate(
        Subtracts(3),
        [MadePair(name, error) for name, error in zip("abcde", (5, 9, 2, 4, 7), strict=True)],
        [PSNR],
    ).summary()
    after = [db(abs(error - 3)) for error in (5, 9, 2, 4, 7)]
    gains = [db(abs(error - 3)) - db(error) for error in (5, 9, 2, 4, 7)]
    assert summary.score("psnr").std == pytest.approx(np.std(after, ddof=1), abs=1e-4)
    assert [name for name, _ in summary.worst] == ["abcde"[at] for at in np.argsort(gains)[:3]]
    assert [gain for _, gain in summary.worst] == pytest.approx(sorted(gains)[:3], abs=1e-4)
    of_error = evaluate(Subtracts(3), [MadePair("a", 9), MadePair("b", 2)], [MAE]).summary()
    assert [name for name, _ in of_error.worst] == ["b", "a"]  # the error of b shrinks less
    assert math.isnan(evaluate(Keeps(), [MadePair("a", 5)], [PSNR]).summary().score("psnr").std)


def under(protocol: Protocol, restorer: object, pairs: list, metrics: object = (PSNR, MAE), **more: object):
    """One restorer under a protocol."""
    return evaluate_models({"": restorer}, pairs, build_measures(metrics), protocol=protocol, **more)[""]


@dataclass(frozen=True)
class Ramp:
    """A picture of two halves: the sharp one is 10 and 200, the blurred one off by 4 in its right half alone."""

    name: str = "ramp"

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        sharp = np.full((24, 32, 3), 10, np.uint8)
        sharp[:, 16:] = 200
        blurry = sharp.copy()
        blurry[:, 16:] += 4
        return blurry, sharp


def test_a_border_is_cut_off_before_measuring() -> None:
    found = under(Protocol(data="", split="", border_px=8), Keeps(), [Ramp()])
    assert found.records[0].blurry["mae"] == pytest.approx(4 / 255 / 2)
    assert under(Protocol(data="", split="", border_px=2), Keeps(), [Ramp()]).records[0].blurry[
        "mae"
    ] == pytest.approx(4 / 255 / 2)
    assert (
        "leaves nothing"
        in under(Protocol(data="", split="", border_px=12), Keeps(), [Ramp()]).failures[0].error
    )


def test_the_centre_is_what_the_network_sees_and_what_is_measured() -> None:
    sizes = []

    class Looks(Keeps):
        def restore_array(self, image: np.ndarray) -> np.ndarray:
            sizes.append(image.shape)
            return image

    found = under(Protocol(name="centre", data="", split="", crop=(20, 8)), Looks(), [Ramp()])
    assert sizes == [(8, 20, 3)]
    assert found.records[0].blurry["mae"] == pytest.approx(4 / 255 / 2)  # half of it is right of the middle
    small = under(Protocol(name="centre", data="", split="", crop=(20, 25)), Keeps(), [Ramp()])
    assert small.failures[0].name == "ramp"
    assert "it is 32x24" in small.failures[0].error
    assert "20x25" in small.failures[0].error


def test_pieces_are_restored_one_by_one_and_measured_as_one_picture() -> None:
    seen = []

    class Paints:
        """Gives each piece back in the grey of its number."""

        def restore_array(self, image: np.ndarray) -> np.ndarray:
            seen.append(image.shape[:2])
            return np.full_like(image, len(seen) / 255)

    found = under(Protocol(data="", split="", pieces=(12, 16)), Paints(), [Ramp()])
    assert seen == [(16, 12)] * 6
    painted = np.zeros((24, 32))
    for number, (top, left) in enumerate(((0, 0), (0, 12), (0, 20), (8, 0), (8, 12), (8, 20)), start=1):
        painted[top : top + 16, left : left + 12] = number
    sharp = np.where(np.arange(32) < 16, 10, 200)
    assert found.records[0].restored["mae"] == pytest.approx(np.abs(painted - sharp).mean() / 255, abs=1e-6)
    seen.clear()
    under(Protocol(data="", split="", pieces=(99, 99)), Paints(), [Ramp()])
    assert seen == [(24, 32)]  # no larger than the picture


@pytest.mark.parametrize(
    ("rounding", "error"),
    [(Rounding.NONE, 2.4), (Rounding.NEAREST, 2), (Rounding.DOWN, 2), (Rounding.DOWN, 3)],
)
def test_results_are_rounded_as_asked(rounding: Rounding, error: float) -> None:
    steps = 2.6 if error != 3 else 2.0  # of 5
    found = under(Protocol(data="", split="", rounding=rounding), Subtracts(steps), [MadePair("a", 5)])
    assert found.records[0].restored["mae"] == pytest.approx(error / 255, abs=1e-6)


def test_rounding_leaves_8_bit_values_as_they_are() -> None:
    class Every:
        name = "every"

        def load(self) -> tuple[np.ndarray, np.ndarray]:
            values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
            return values, values

    for rounding in Rounding:
        found = under(Protocol(data="", split="", rounding=rounding), Keeps(), [Every()])
        assert found.summary().identical_restored == 1


def test_a_cap_counts_identical_pictures_into_the_mean() -> None:
    pairs = [MadePair("same", 0), MadePair("a", 5)]
    summary = under(Protocol(data="", split="", psnr_cap=100.0), Keeps(), pairs).summary()
    assert summary.score("psnr").restored == pytest.approx((100 + db(5)) / 2, abs=1e-4)
    assert summary.identical_restored == 1


def test_scores_are_the_same_digits_for_any_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    pictures = {name: rng.integers(0, 256, (2, 14, 18, 3), np.uint8) for name in "abcdefgh"}

    @dataclass(frozen=True)
    class Noise:
        name: str

        def load(self) -> tuple[np.ndarray, np.ndarray]:
            return tuple(pictures[self.name])

    found = [
        under(
            Protocol(data="", split=""),
            Subtracts(3),
            [Noise(name) for name in pictures],
            BASIC,
            workers=workers,
        )
        for workers in (0, 1, 5)
    ]
    scores = [[(record.name, record.blurry, record.restored) for record in one.records] for one in found]
    assert scores[0] == scores[1] == scores[2]
    assert len({one.pairs_sha256 for one in found}) == 1


def test_after_the_pictures_that_are_timed_measuring_goes_on_beside_the_network() -> None:
    restored = threading.Event()
    calls = []

    class Counts(Keeps):
        def restore_array(self, image: np.ndarray) -> np.ndarray:
            calls.append(1)
            if len(calls) == 23:
                restored.set()
            return image

    def waits(picture: np.ndarray, sharp: np.ndarray) -> float:
        if picture[0, 0, 0] * 255 > 120.5:  # the 22nd
            assert restored.wait(30), "the next picture was not restored while this one was measured"
        return 0.0

    waiting = Measure(
        metric=Metric(name="waits", summary="s", function="x:y", higher_is_better=True), function=waits
    )
    found = evaluate_models(
        {"": Counts()}, [MadePair(str(number), number) for number in range(24)], [waiting]
    )[""]
    assert not found.failures
    assert [record.alone for record in found.records] == [True] * 20 + [False] * 4
    assert (found.summary().timed, found.summary().warm_up_excluded) == (19, True)


class Stops(Keeps):
    """Is interrupted at one picture."""

    def __init__(self, at: int) -> None:
        self._left = at

    def restore_array(self, image: np.ndarray) -> np.ndarray:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1
        return image


def with_ledger(path: Path, restorer: object, pairs: list):
    """An evaluation that keeps what it finds."""
    return evaluate_models({"": restorer}, pairs, build_measures([PSNR, SSIM]), ledgers={"": Ledger(path)})[
        ""
    ]


def test_what_was_found_before_an_interruption_is_not_done_again(tmp_path: Path) -> None:
    pairs = [MadePair("same", 0), *(MadePair(name, 5 + number) for number, name in enumerate("abcd"))]
    path = tmp_path / "kept" / "x.jsonl"
    with pytest.raises(KeyboardInterrupt):
        with_ledger(path, Stops(4), pairs)
    with path.open("a") as file:
        file.write('{"index": 4, "digest": "torn')
    assert len(Ledger(path)) == 4
    found = with_ledger(path, Stops(1), pairs)  # is asked for one more
    whole = evaluate(Keeps(), pairs, [PSNR, SSIM])
    assert [(r.name, r.blurry, r.restored, r.mse_restored) for r in found.records] == [
        (r.name, r.blurry, r.restored, r.mse_restored) for r in whole.records
    ]
    assert found.pairs_sha256 == whole.pairs_sha256


def test_what_was_found_of_other_pixels_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with_ledger(path, Keeps(), [MadePair("a", 5), MadePair("b", 5)])
    found = with_ledger(path, Keeps(), [MadePair("a", 5), MadePair("b", 9)])
    assert found.records[1].blurry["psnr"] == pytest.approx(db(9), abs=1e-4)


def test_an_evaluation_goes_on_where_nothing_can_be_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    found = with_ledger(tmp_path / "file" / "x.jsonl", Keeps(), [MadePair("a", 5), MadePair("b", 5)])
    assert len(found.records) == 2
    assert caplog.text.count("cannot keep what is found") == 1


def measured_by(function: object, pairs: list, restorer: object = None, **more: object):
    """An evaluation with one metric, that of a plugin, and MAE."""
    own = Metric(name="own", summary="s", function="x:y", higher_is_better=True)
    measures = [Measure(metric=own, function=function), *build_measures([MAE])]
    return evaluate_models({"": restorer or Keeps()}, pairs, measures, **more)[""]


@pytest.mark.parametrize(
    ("gives", "says"),
    [
        (lambda: 1 / 0, "the metric own failed: ZeroDivisionError: division by zero"),
        (lambda: None, "the metric own failed: TypeError"),
        (lambda: math.nan, "the metric own gave no number"),
    ],
)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_metric_of_a_plugin_that_breaks_fails_its_picture_and_says_which_it_is(
    gives, says, workers
) -> None:
    def own(picture: np.ndarray, sharp: np.ndarray) -> float:
        return gives() if picture.shape[0] == 20 else 1.0

    pairs = [MadePair("low", 5), MadePair("tall", 5, size=(20, 16))]
    found = measured_by(own, pairs, workers=workers)
    assert [record.name for record in found.records] == ["low"]
    assert [failure.name for failure in found.failures] == ["tall"]
    assert says in found.failures[0].error


def test_a_metric_may_give_a_number_of_numpy_and_it_is_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "x.jsonl")
    found = measured_by(lambda picture, sharp: np.float32(0.5), [MadePair("a", 5)], ledgers={"": ledger})
    assert found.records[0].restored["own"] == 0.5
    assert len(Ledger(tmp_path / "x.jsonl")) == 1


def test_a_metric_cannot_change_what_the_others_measure() -> None:
    def own(picture: np.ndarray, sharp: np.ndarray) -> float:
        sharp *= 0
        return 1.0

    (failure,) = measured_by(own, [MadePair("a", 5)]).failures
    assert "read-only" in failure.error


@dataclass(frozen=True)
class CountedPair(MadePair):
    """Says when it is loaded."""

    loaded: list[str] | None = None

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        assert self.loaded is not None
        self.loaded.append(self.name)
        return super().load()


def test_pictures_do_not_pile_up_where_measuring_is_slower_than_failing() -> None:
    # the first ones are timed, with nothing beside
    loaded: list[str] = []
    measured: list[int] = []
    ahead = []

    def slow(picture: np.ndarray, sharp: np.ndarray) -> float:
        threading.Event().wait(0.02)
        if picture.shape[0] == 20:
            measured.append(1)
            ahead.append(len(loaded) - 20 - len(measured))
        return 1.0

    sizes = [(12, 16)] * 20 + [(20, 16)] * 20
    pairs = [CountedPair(str(number), 5, size, loaded=loaded) for number, size in enumerate(sizes)]
    found = measured_by(slow, pairs, FailsOn(20, PictureError("no")))
    assert len(found.failures) == 20
    assert max(ahead) < 8


def test_nothing_is_measured_of_a_picture_that_was_found_before(tmp_path: Path) -> None:
    calls = []

    def own(picture: np.ndarray, sharp: np.ndarray) -> float:
        calls.append(1)
        return 1.0

    pairs = [MadePair("a", 5), MadePair("b", 6)]
    for expected in (4, 4):
        ledgers = {"": Ledger(tmp_path / "x.jsonl")}
        assert len(measured_by(own, pairs, ledgers=ledgers).records) == 2
        assert len(calls) == expected


def test_the_picture_that_warms_up_after_an_interruption_is_not_timed(tmp_path: Path) -> None:
    pairs = [MadePair(name, 5) for name in "abcde"]
    with pytest.raises(KeyboardInterrupt):
        with_ledger(tmp_path / "x.jsonl", Stops(3), pairs)
    found = with_ledger(tmp_path / "x.jsonl", Keeps(), pairs)
    alone = [record.alone for record in found.records]
    kept = alone.index(False)
    assert kept in (2, 3)  # the last before the interruption may not have been measured
    assert alone == [number != kept for number in range(5)]


def test_a_torn_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"index": 0, "digest": "torn')
    with_ledger(path, Keeps(), [MadePair("a", 5), MadePair("b", 5)])
    assert len(Ledger(path)) == 2
    assert Ledger(path).find(0, "torn") is None
