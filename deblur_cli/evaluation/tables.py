"""Scores as text, and rows of them in files: CSV and JSON Lines."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deblur_cli.errors import UsageError
from deblur_cli.evaluation.records import Evaluation
from deblur_cli.host.declarations import Metric
from deblur_cli.pictures import atomic_write


def metric_title(metric: Metric) -> str:
    """Name and unit, as a column's title."""
    return f"{metric.name.upper()} {metric.unit}".strip()


def format_value(metric: Metric, value: float, *, signed: bool = False) -> str:
    """A value with the metric's decimals, on request with its sign; "-" for what is undefined."""
    return "-" if math.isnan(value) else f"{value:{'+' if signed else ''}.{metric.decimals}f}"


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
    text = (
        rows_as_csv(rows)
        if table_kind(path) == "csv"
        else "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    )
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def rows_as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line of names, of all that any row has, and one a row."""
    flat = [flattened(row) for row in rows]
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(key for row in flat for key in row)))
    writer.writeheader()
    writer.writerows(flat)
    return file.getvalue()


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
