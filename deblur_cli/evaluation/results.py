"""Kept records of evaluations: found, checked, the newest of each kind taken, and flat rows for one CSV a set of data."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import NoneType
from typing import Any

from deblur_cli.evaluation.score_tables import Record, by_pairs, by_protocol, protocol_title
from deblur_cli.host.checks import is_int, is_number

NEWEST_SCHEMA = 1
"""Of records that are understood."""

_FIGURES = (
    "pooled_psnr_blurry",
    "pooled_psnr_restored",
    "kmacs_per_pixel",
    "seconds_per_picture",
    "seconds_end_to_end",
    "metric_seconds",
    "peak_memory_bytes",
    "timed_pictures",
)
"""Numbers that may be null or absent."""

_BY_SIGMA = {"from", "to", "pictures", "psnr_blurry", "psnr_restored"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A record with where it stood. made : when, in seconds since 1970; of one that does not say, when its file was written"""

    record: Record
    path: Path
    made: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """A file or folder without a record, and why."""

    path: Path
    why: str


def read_records(paths: Sequence[Path]) -> tuple[list[Found], list[Unusable]]:
    """The records of files, and of the *.json in folders, in the order of their names; what holds none is listed.

    A file may hold one record, or one a line as `deblur eval --json` prints them.
    """
    found: list[Found] = []
    unusable: list[Unusable] = []
    for path in dict.fromkeys(file for given in paths for file in _files(given)):
        try:
            if path.is_dir():
                raise ValueError("the folder holds no *.json")
            modified = path.stat().st_mtime
            records = [_checked(_printable(value)) for value in _values(path)]
        except OSError as error:
            unusable.append(Unusable(path=path, why=(error.strerror or str(error)).lower()))
        except UnicodeDecodeError:
            unusable.append(Unusable(path=path, why="no JSON: not even text"))
        except (ValueError, RecursionError) as error:
            unusable.append(Unusable(path=path, why=str(error)))
        else:
            found += [Found(record=record, path=path, made=_made(record, modified)) for record in records]
    return found, unusable


def _made(record: Record, modified: float) -> float:
    try:
        return datetime.fromisoformat(record.get("created", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return modified


def newest(found: Sequence[Found]) -> tuple[list[Record], list[str]]:
    """One record for each model, weights and protocol hash, and a sentence for each that an older one was left out of.

    Of records of one file the last is the newest.
    """
    groups: dict[tuple[str, str | None, str], list[Found]] = {}
    for item in found:
        record = item.record
        key = (record["model"], record["weights_sha256"], record["protocol"]["hash"])
        groups.setdefault(key, []).append(item)
    notes = []
    records = []
    for items in groups.values():
        items.sort(key=lambda item: item.made)
        taken = items[-1]
        records.append(taken.record)
        if len(items) > 1:
            others = ", ".join(dict.fromkeys(str(item.path) for item in items[:-1]))
            notes.append(
                f"{taken.record['model']} under {protocol_title(taken.record)}: the newest of {len(items)} records is taken, "
                f"{taken.path}; not {others}"
            )
    return records, notes


def other_pixels(records: Sequence[Record]) -> list[str]:
    """A sentence for each protocol hash under which models measured different pixels."""
    sentences = []
    for same in by_protocol(records):
        sections = by_pairs(same)
        if len(sections) > 1:
            groups = "; ".join(", ".join(record["model"] for record in section) for section in sections)
            sentences.append(
                f"{protocol_title(same[0])}: models measured different pixels, because some pictures failed or the data "
                f"changed, so their scores stand apart: {groups}"
            )
    return sentences


def by_data(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The records of each set of data, by a name that a file can have."""
    named: dict[str, list[Record]] = {}
    names: dict[str, str] = {}
    for record in records:
        data = record["protocol"]["data"]
        if data not in names:
            stem = re.sub(r"[^\w.+-]+", "-", data).strip("-.") or "data"
            taken = {name.casefold() for name in names.values()}
            number = 1
            while (name := stem if number == 1 else f"{stem}-{number}").casefold() in taken:
                number += 1
            names[data] = name
        named.setdefault(names[data], []).append(record)
    return named


def flat_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """A flat mapping for each record, all with the same keys: who, on what, scores, what the report prints, costs."""
    metrics = dict.fromkeys(name for record in records for name in record["restored"])
    printed = dict.fromkeys(
        name for record in records for name in (record.get("reported") or {}).get("scores", {})
    )
    rows = [_flat(record, list(metrics), list(printed)) for record in records]
    # ten digits: 4.2 and not 4.199999999999999
    return [
        {name: float(f"{value:.10g}") if isinstance(value, float) else value for name, value in row.items()}
        for row in rows
    ]


def _flat(record: Record, metrics: Sequence[str], printed: Sequence[str]) -> dict[str, Any]:
    protocol, run = record["protocol"], record.get("run", {})
    reported = record.get("reported") or {}
    row: dict[str, Any] = {
        "model": record["model"],
        "network": record["network"],
        "tag": record.get("tag"),
        "parameters": record["parameters"],
        "kmacs_per_pixel": record.get("kmacs_per_pixel"),
        "data": protocol["data"],
        "split": protocol.get("split"),
        "protocol": protocol.get("name"),
        "protocol_hash": protocol["hash"],
        "weights_sha256": _short(record["weights_sha256"]),
        "pairs_sha256": _short(record["pairs_sha256"]),
        "pictures": record["pictures"],
        "failed": record["failed"],
    }
    for name in metrics:
        row |= {f"{name}_{which}": record[which].get(name) for which in ("restored", "blurry", "gain")}
        row[f"{name}_std"] = record.get("std", {}).get(name)
    row |= {
        name: record.get(name)
        for name in (
            "pooled_psnr_restored",
            "pooled_psnr_blurry",
            "identical_restored",
            "identical_blurry",
            "seconds_per_picture",
            "seconds_end_to_end",
            "peak_memory_bytes",
        )
    }
    row |= {name: run.get(name) for name in ("device", "dtype", "tiling", "threads")}
    row |= {f"{name}_reported": reported.get("scores", {}).get(name) for name in printed}
    if printed:
        row |= {"reported_in": reported.get("where"), "reported_note": reported.get("note")}
    return row


def _short(digest: str | None) -> str | None:
    return None if digest is None else digest[:12]


def _files(path: Path) -> Iterator[Path]:
    """The path itself, or the *.json in the folder that it is; the folder where there are none."""
    if not path.is_dir():
        yield path
        return
    try:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".json" and file.is_file())
    except OSError:
        files = []
    yield from files or [path]


def _values(path: Path) -> list[Any]:
    """What a file of JSON holds, or of one JSON a line. Raises OSError, or ValueError where it is none."""
    text = path.read_text(encoding="utf-8-sig")
    try:
        return [json.loads(text)]
    except json.JSONDecodeError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not lines[0].startswith("{"):
            raise ValueError(f"no JSON: {error}") from error
        try:
            return [json.loads(line) for line in lines]
        except json.JSONDecodeError:
            raise ValueError(f"no JSON: {error}") from error


def _printable(value: Any) -> Any:
    """JSON whose texts go into any file and to any terminal: names may hold control characters and bytes that are no text."""
    if isinstance(value, str):
        return "".join(
            letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in value
        )
    if isinstance(value, dict):
        return {_printable(name): _printable(item) for name, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value


def _checked(value: Any) -> Record:
    """The value, if it is a record that tables can be made of. Raises ValueError."""
    if not isinstance(value, Mapping) or "schema" not in value or "pairs_sha256" not in value:
        raise ValueError("JSON, but no record of deblur eval")
    if not is_int(value["schema"]) or value["schema"] > NEWEST_SCHEMA:
        raise ValueError(
            f"a record of schema {value['schema']}, from a newer deblur; this one knows {NEWEST_SCHEMA}"
        )
    protocol, reported = value.get("protocol"), value.get("reported")
    if not isinstance(protocol, Mapping):
        raise ValueError("a record without its protocol")
    for owner, names in ((value, ("model", "network", "pairs_sha256")), (protocol, ("data", "hash", "text"))):
        for name in names:
            _require(isinstance(owner.get(name), str), name, "a text")
    for name in ("pictures", "failed", "identical_blurry", "identical_restored", "parameters"):
        _require(is_int(value.get(name)) and value[name] >= 0, name, "a count")
    for name in ("blurry", "restored", "gain"):
        _require(_are_scores(value.get(name)), name, "scores by metric")
    _require(value["blurry"].keys() >= value["restored"].keys(), "blurry", "of all metrics")
    for name in ("std", "std_blurry"):
        _require(_are_scores(value.get(name, {})), name, "scores by metric")
    for name in _FIGURES:
        _require(_is_score(value.get(name)), name, "a number or null")
    _require("weights_sha256" in value, "weights_sha256", "there")
    for name in ("weights_sha256", "tag"):
        _require(isinstance(value.get(name), (str, NoneType)), name, "a text or null")
    _require(isinstance(value.get("run", {}), Mapping), "run", "a mapping")
    parts = value.get("by_sigma") or []
    _require(isinstance(parts, list), "by_sigma", "a list")
    for part in parts:
        known = isinstance(part, Mapping) and part.keys() >= _BY_SIGMA and _are_scores(part)
        _require(
            known and part["from"] is not None and is_int(part["pictures"]),
            "by_sigma",
            "of ranges with scores",
        )
    if reported is not None:
        if not isinstance(reported, Mapping):
            raise ValueError("a record whose 'reported' is neither a mapping nor null")
        _require(isinstance(reported.get("where"), str), "reported", "with where it stands")
        _require(
            all(_are_scores(reported.get(name, {})) for name in ("scores", "blurry")), "reported", "of scores"
        )
    return value


def _are_scores(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(_is_score, value.values()))


def _is_score(value: object) -> bool:
    """A number as JSON may have it, or null for what is undefined."""
    return value is None or (isinstance(value, (int, float)) and is_number(value) and math.isfinite(value))


def _require(holds: bool, name: str, wanted: str) -> None:
    if not holds:
        raise ValueError(f"a record whose {name!r} is missing or not {wanted}")
