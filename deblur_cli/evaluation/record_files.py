"""Evaluations as records: JSON objects that say what was measured, on what, how and by what, and that can be kept.

What `deblur eval --json` prints a line of, and `deblur results` makes tables of.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deblur_cli import __version__
from deblur_cli.evaluation.breakdown import by_sigma
from deblur_cli.evaluation.protocols import Conditions, Protocol
from deblur_cli.evaluation.records import Evaluation
from deblur_cli.host.declarations import Metric, Reported
from deblur_cli.pictures import atomic_write
from deblur_cli.restore.restorer import Restorer
from deblur_cli.weights import Source, file_sha256, read_header

SCHEMA = 1

_LONGEST = 80
"""Characters of a model's or a data set's label in the name of a file."""


def make_record(
    found: Evaluation,
    conditions: Conditions,
    *,
    source: Source,
    restorer: Restorer,
    settings: Mapping[str, Any],
    options: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """One model under one protocol, as plain values.

    Parameters
    ----------
    settings : how the restorer was asked to work, such as its tiles
    options : by name of a metric, what it was prepared with
    """
    reported = find_reported(source, conditions)
    return {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **identity(source),
        "parameters": restorer.num_parameters,
        "kmacs_per_pixel": source.model.facts.kmacs_per_pixel * restorer.passes
        if _is_default(source)
        else None,
        "steps": None if source.path is None else read_header(source.path).steps,
        "protocol": conditions.as_json(),
        "metrics": {metric.name: metric.summary for metric in found.metrics},
        "metric_files": {
            metric.name: _files(metric, options.get(metric.name, {}))
            for metric in found.metrics
            if metric.files
        },
        **found.summary().as_json(),
        "by_sigma": by_sigma(found.records),
        "reported": None if reported is None else _reported(reported),
        "pairs_sha256": found.pairs_sha256,
        "run": {**_run(restorer, found, conditions.protocol), **settings},
        "failures": [{"name": failure.name, "error": failure.error} for failure in found.failures],
    }


def identity(source: Source) -> dict[str, Any]:
    """Which network with which weights."""
    return {
        "model": source.label,
        "network": source.model.name,
        "tag": source.tag,
        "options": dict(source.options),
        "weights_sha256": None if source.path is None else file_sha256(source.path),
    }


def write_record(folder: Path, record: Mapping[str, Any]) -> Path:
    """Keep a record as FOLDER/MODEL.PROTOCOL.HASH.json and return the path.

    An earlier one of that name is replaced if it is of the same weights and pictures, or if some of its pictures failed; else
    this one's name has digits of its weights' and pictures' hashes, too.
    """
    protocol = record["protocol"]
    words = (record["model"], protocol["name"] or f"{protocol['data']}-{protocol['split']}", protocol["hash"])
    # of a long path the end says most, and no file system takes more than 255 bytes
    name = ".".join(re.sub(r"[^\w.+-]+", "-", word).strip("-.")[-_LONGEST:] for word in words)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    if _of_others(path, record):
        path = folder / f"{name}.{(record['weights_sha256'] or '')[:8]}{record['pairs_sha256'][:8]}.json"
    with atomic_write(path) as part:
        part.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def _of_others(path: Path, record: Mapping[str, Any]) -> bool:
    """Whether a record is kept there of other weights, or of other pictures, none of which failed."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        same = kept["weights_sha256"] == record["weights_sha256"]
        return not same or (kept["pairs_sha256"] != record["pairs_sha256"] and not kept["failed"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def find_reported(source: Source, conditions: Conditions) -> Reported | None:
    """What a report prints for this network under this protocol, if it does."""
    for reported in source.model.reported:
        same = source.model.resolve_options(reported.options) == dict(source.options)
        if same and reported.protocol == conditions.protocol.name:
            return reported
    return None


def _files(metric: Metric, options: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the files that a metric was prepared with, by option: of others its scores do not compare."""
    return {name: file_sha256(Path(options[name])) for name in metric.files if options.get(name)}


def _reported(reported: Reported) -> dict[str, Any]:
    return {
        "scores": dict(reported.scores),
        "blurry": dict(reported.blurry),
        "where": reported.where,
        "note": reported.note,
    }


def _is_default(source: Source) -> bool:
    return dict(source.options) == source.model.resolve_options({})


def _run(restorer: Restorer, found: Evaluation, protocol: Protocol) -> dict[str, Any]:
    """What belongs to the machine rather than to the data or the model."""
    pictures = {(record.height, record.width) for record in found.records}
    sizes = {  # of what the network was given: a whole picture, or the protocol's pieces of it
        (min(rows.stop, height) - rows.start, min(columns.stop, width) - columns.start)
        for height, width in pictures
        for rows, columns in protocol.boxes(height, width)
    }
    exact = {restorer.plan(height, width, pixels=np.float32).exact for height, width in sizes}
    return {
        "device": str(restorer.device),
        "dtype": restorer.dtype_for(np.float32),
        "self_ensemble": restorer.passes > 1,
        "tiling": None if not exact else "exact" if all(exact) else "approximate",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "deblur_cli": __version__,
    }
