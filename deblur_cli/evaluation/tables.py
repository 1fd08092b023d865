"""Evaluations as tables, CSV and JSON Lines, always beside what the numbers mean."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deblur_cli.errors import UsageError
from deblur_cli.evaluation.records import Evaluation, Summary
from deblur_cli.host.declarations import Metric
from deblur_cli.pictures import atomic_write

BLURRED = "blurred input"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a score holds for.

    pairs : number of pairs in the split; the limit, if any, took the first ones
    preset : the spec that made or prepared them, None where they are as they were found
    """

    data: str
    split: str
    pairs: int
    limit: int | None = None
    preset: str | None = None
    colour: str = "RGB as stored, every channel alike"
    border_px: int = 0
    rounding: str = "none (float32, not the 8-bit file)"
    clip: str = "[0, 1]"

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def text(self) -> str:
        """One line."""
        limited = self.limit is not None and self.limit < self.pairs
        taken = f"the first {self.limit} of {self.pairs} pairs" if limited else f"all {self.pairs} pairs"
        prepared = "" if self.preset is None else f" prepared by {self.preset}"
        return (
            f"{self.data}{prepared}, split {self.split}, {taken}; {self.colour}, border cut {self.border_px} px, "
            f"clipped to {self.clip}, rounding: {self.rounding}"
        )


def comparison_table(evaluations: Mapping[str, Evaluation]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: each model's means and gains below those of the blurred pictures it was given.

    Parameters
    ----------
    evaluations : by model, all with the same metrics. Models that measured other pictures than the one before (because
        some failed) get a baseline of their own
    """
    metrics = next(iter(evaluations.values())).metrics
    columns = ["model"]
    for metric in metrics:
        columns += [metric_title(metric), "gain"]
        if metric.name == "psnr":
            columns += ["pooled dB", "identical"]
    columns += ["pictures", "s/picture"]
    rows: list[list[str]] = []
    measured = ""
    for name, evaluation in evaluations.items():
        summary = evaluation.summary()
        if evaluation.pairs_sha256 != measured:
            rows.append(_row(BLURRED, summary, of_input=True))
            measured = evaluation.pairs_sha256
        rows.append(_row(name, summary, of_input=False))
    return columns, rows


def explain(evaluations: Mapping[str, Evaluation]) -> list[str]:
    """What the columns of `comparison_table` mean, a sentence each, as far as they need saying."""
    summaries = [evaluation.summary() for evaluation in evaluations.values()]
    lines = []
    if any(score.metric.name == "psnr" for score in summaries[0].scores):
        lines.append(
            "PSNR: mean over the pictures where it is finite; pooled: PSNR of the mean squared error over all of them; "
            "identical: pictures of infinite PSNR, left out of the mean"
        )
    lines += [
        f"{score.metric.name.upper()}: {score.metric.summary}"
        for score in summaries[0].scores
        if score.metric.name != "psnr"
    ]
    if any(summary.identical_blurry or summary.identical_restored for summary in summaries):
        lines.append(
            "gain: mean over the pictures that are finite before and after, not the difference of the two means"
        )
    timed = summaries[0]
    if timed.timed:
        excluded = (
            "without the first, which warms up"
            if timed.warm_up_excluded
            else "its first run, warm-up included"
        )
        lines.append(
            f"s/picture: median of {timed.timed}, {excluded}; from float picture to float picture, tiles and transfers "
            "included, files and metrics not"
        )
    return lines


def metric_title(metric: Metric) -> str:
    """Name and unit, as a column's title."""
    return f"{metric.name.upper()} {metric.unit}".strip()


def format_value(metric: Metric, value: float, *, signed: bool = False) -> str:
    """A value with the metric's decimals, on request with its sign; "-" for what is undefined."""
    return "-" if math.isnan(value) else f"{value:{'+' if signed else ''}.{metric.decimals}f}"


def summary_rows(evaluations: Mapping[str, Evaluation], conditions: Conditions) -> list[dict[str, Any]]:
    """One flat mapping a model, for CSV: conditions, means, gains, counts, time."""
    rows: list[dict[str, Any]] = []
    for name, evaluation in evaluations.items():
        summary = evaluation.summary()
        row: dict[str, Any] = {
            "model": name,
            "data": conditions.data,
            "preset": conditions.preset,
            "split": conditions.split,
        }
        row |= {"pictures": summary.pictures, "failed": summary.failed}
        for score in summary.scores:
            metric = score.metric.name
            row |= {
                f"{metric}_blurry": score.blurry,
                f"{metric}_restored": score.restored,
                f"{metric}_gain": score.gain,
            }
        row |= {
            "pooled_psnr_blurry": summary.pooled_psnr_blurry,
            "pooled_psnr_restored": summary.pooled_psnr_restored,
            "identical_blurry": summary.identical_blurry,
            "identical_restored": summary.identical_restored,
            "seconds_per_picture": summary.seconds,
            "pairs_sha256": evaluation.pairs_sha256,
        }
        rows.append(row)
    return rows


def picture_rows(evaluations: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    """One JSON-able mapping for each model and picture; those that failed carry `error` instead of scores."""
    rows: list[dict[str, Any]] = []
    for name, evaluation in evaluations.items():
        rows += [{"model": name, **record.as_json()} for record in evaluation.records]
        rows += [
            {"model": name, "name": failure.name, "error": failure.error} for failure in evaluation.failures
        ]
    return rows


def flattened(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same without mappings inside: {"restored": {"psnr": 30}} -> {"psnr_restored": 30}, as a CSV column wants."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            flat |= {f"{inner}_{key}": item for inner, item in value.items()}
        else:
            flat[key] = value
    return flat


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, or as JSON Lines where the name ends in .json, .jsonl or .ndjson; whole or not at all.

    An existing file is replaced. Raises UsageError for another ending, which nobody would know how to read.
    """
    kind = table_kind(path)
    with atomic_write(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        if kind == "csv":
            flat = [flattened(row) for row in rows]
            writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(key for row in flat for key in row)))
            writer.writeheader()
            writer.writerows(flat)
        else:
            file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def table_kind(path: Path) -> str:
    """ "csv" or "json", by the ending of the name; UsageError for another one."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return "csv"
    if suffix in {".json", ".jsonl", ".ndjson"}:
        return "json"
    raise UsageError(
        f"cannot tell how to write {path}: name it .csv for a table, or .jsonl for one JSON object a line"
    )


def _row(name: str, summary: Summary, *, of_input: bool) -> list[str]:
    cells = [name]
    for score in summary.scores:
        value = format_value(score.metric, score.blurry if of_input else score.restored)
        cells += [value, "" if of_input else format_value(score.metric, score.gain, signed=True)]
        if score.metric.name == "psnr":
            pooled = summary.pooled_psnr_blurry if of_input else summary.pooled_psnr_restored
            identical = summary.identical_blurry if of_input else summary.identical_restored
            cells += [format_value(score.metric, pooled), str(identical)]
    seconds = "" if of_input or math.isnan(summary.seconds) else f"{summary.seconds:.3g}"
    return [*cells, str(summary.pictures), seconds]
