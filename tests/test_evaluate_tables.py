"""Scores of every picture in files, as CSV and JSON Lines."""

import csv
import json
import math
from pathlib import Path

import pytest

from deblur_cli.errors import UsageError
from deblur_cli.evaluation.records import Evaluation, FailedPicture, PictureRecord
from deblur_cli.evaluation.tables import (
    picture_rows,
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
        end_to_end=2 * seconds,
        metric_seconds=0.1,
        alone=True,
    )


def evaluation(
    *records: PictureRecord, failures: tuple[FailedPicture, ...] = (), pairs: str = "a1"
) -> Evaluation:
    return Evaluation(metrics=(PSNR, SSIM), records=records, failures=failures, pairs_sha256=pairs)


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


def test_a_file_of_another_ending_is_refused_and_an_old_one_is_replaced(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"scores\.xlsx"):
        write_table(tmp_path / "scores.xlsx", [])
    path = tmp_path / "scores.csv"
    path.write_text("old")
    write_table(path, [{"model": "a"}])
    assert path.read_text().splitlines() == ["model", "a"]
    assert [item.name for item in tmp_path.iterdir()] == ["scores.csv"]
