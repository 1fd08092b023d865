"""Evaluations as tables, CSV and JSON Lines."""

import csv
import json
import math
from pathlib import Path

import pytest

from deblur_cli.errors import UsageError
from deblur_cli.evaluation.records import Evaluation, FailedPicture, PictureRecord
from deblur_cli.evaluation.tables import (
    Conditions,
    comparison_table,
    explain,
    picture_rows,
    summary_rows,
    write_table,
)
from deblur_cli.metrics import METRICS

PSNR, SSIM, *_ = METRICS


def record(name: str, blurry: float, restored: float, *, seconds: float = 0.5) -> PictureRecord:
    return PictureRecord(
        name=name,
        width=64,
        height=48,
        blurry={"psnr": blurry, "ssim": 0.5},
        restored={"psnr": restored, "ssim": 0.75},
        mse_blurry=10 ** (-blurry / 10),
        mse_restored=10 ** (-restored / 10),
        seconds=seconds,
    )


def evaluation(
    *records: PictureRecord, failures: tuple[FailedPicture, ...] = (), pairs: str = "a1"
) -> Evaluation:
    return Evaluation(metrics=(PSNR, SSIM), records=records, failures=failures, pairs_sha256=pairs)


TWO = evaluation(record("a", 20, 21, seconds=9), record("b", 30, 31.5, seconds=0.25))
SAME = evaluation(record("a", math.inf, 50), record("b", 30, 31))


def test_the_table_sets_each_model_below_the_blurred_input() -> None:
    columns, rows = comparison_table({"first": TWO, "second": TWO})
    assert columns[:5] == ["model", "PSNR dB", "gain", "pooled dB", "identical"]
    assert [row[0] for row in rows] == ["blurred input", "first", "second"]
    blurred, first = (dict(zip(columns, row, strict=True)) for row in rows[:2])  # the last gain is SSIM's
    assert blurred["PSNR dB"] == "25.00"
    assert first["PSNR dB"] == "26.25"
    assert (rows[0][2], rows[1][2]) == ("", "+1.25")
    # pooled: -10 log10 of the mean of 10^-2.1 and 10^-3.15
    assert first["pooled dB"] == f"{-10 * math.log10((10**-2.1 + 10**-3.15) / 2):.2f}"
    assert (first["SSIM"], first["gain"]) == ("0.7500", "+0.2500")
    assert (blurred["s/picture"], first["s/picture"]) == (
        "",
        "0.25",
    )  # the first one's nine seconds are the warm-up


def test_a_model_that_measured_other_pictures_gets_a_baseline_of_its_own() -> None:
    partly = evaluation(
        record("b", 30, 31.5), failures=(FailedPicture(name="a", error="too large"),), pairs="b2"
    )
    _, rows = comparison_table({"first": TWO, "partly": partly})
    assert [(row[0], row[1]) for row in rows] == [
        ("blurred input", "25.00"), ("first", "26.25"), ("blurred input", "30.00"), ("partly", "31.50"),
    ]  # fmt: skip


def test_identical_pictures_are_counted_in_the_table_and_the_gain_is_explained() -> None:
    columns, rows = comparison_table({"model": SAME})
    identical = columns.index("identical")
    assert [row[identical] for row in rows] == ["1", "0"]
    assert rows[1][2] == "+1.00"
    assert any("finite before and after" in line for line in explain({"model": SAME}))
    assert not any("finite before and after" in line for line in explain({"model": TWO}))


def test_every_metric_is_explained() -> None:
    text = "\n".join(explain({"model": TWO}))
    assert "PSNR: mean over the pictures where it is finite" in text
    assert "SSIM: structural similarity: Gaussian window 11x11, sigma 1.5" in text


def test_the_explanation_says_how_time_was_taken() -> None:
    assert any("median of 1, without the first" in line for line in explain({"model": TWO}))
    assert any("warm-up included" in line for line in explain({"model": evaluation(record("a", 20, 21))}))


def test_nothing_measured_shows_as_dashes() -> None:
    empty = evaluation(failures=(FailedPicture(name="a", error="torn"),))
    _, rows = comparison_table({"model": empty})
    assert rows[1][1:3] == ["-", "-"]


def test_conditions_say_what_a_number_holds_for() -> None:
    text = Conditions(data="gopro", split="val", pairs=5, limit=2).text()
    for part in ("gopro", "val", "the first 2 of 5", "RGB", "border cut 0 px", "[0, 1]", "rounding: none"):
        assert part in text
    assert "all 5 pairs" in Conditions(data="gopro", split="val", pairs=5).text()
    assert "all 5 pairs" in Conditions(data="gopro", split="val", pairs=5, limit=9).text()


def test_pictures_are_written_as_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    failed = evaluation(record("a", math.inf, 50), failures=(FailedPicture(name="b", error="torn"),))
    write_table(path, picture_rows({"model": failed}))
    first, second = (json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines())
    assert first["model"] == "model"
    assert first["blurry"]["psnr"] is None
    assert first["identical_blurry"] is True
    assert first["restored"] == {"psnr": 50, "ssim": 0.75}
    assert second == {"model": "model", "name": "b", "error": "torn"}


def test_pictures_are_written_as_csv_with_flat_columns(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    failed = evaluation(record("a", 20, 21), failures=(FailedPicture(name="b, c", error='says "no"'),))
    write_table(path, picture_rows({"model": failed}))
    with path.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first["psnr_restored"] == "21"
    assert first["psnr_blurry"] == "20"
    assert (second["name"], second["error"], second["psnr_restored"]) == ("b, c", 'says "no"', "")


def test_the_summary_csv_has_a_line_a_model(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_table(
        path, summary_rows({"first": TWO, "second": SAME}, Conditions(data="sample", split="val", pairs=2))
    )
    with path.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["model"], first["data"], first["split"], first["pictures"]) == (
        "first",
        "sample",
        "val",
        "2",
    )
    assert float(first["psnr_gain"]) == 1.25
    assert (second["identical_blurry"], second["identical_restored"]) == ("1", "0")


def test_a_file_of_another_ending_is_refused_and_an_old_one_is_replaced(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"scores\.xlsx"):
        write_table(tmp_path / "scores.xlsx", [])
    path = tmp_path / "scores.csv"
    path.write_text("old")
    write_table(path, [{"model": "a"}])
    assert path.read_text().splitlines() == ["model", "a"]
    assert [item.name for item in tmp_path.iterdir()] == ["scores.csv"]
