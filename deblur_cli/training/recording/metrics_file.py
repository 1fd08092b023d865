"""What a run folder tells of its training without torch: metrics.csv as numbers, and run.json in one line."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from deblur_cli.errors import MissingError, UsageError

Row = Mapping[str, float]

_NEEDED = ("step", "epoch", "seconds", "lr", "train_loss", "val_loss", "psnr", "ssim")


def read_metrics(run: Path) -> list[Row]:
    """The validations of a run, the oldest first. A value that was not measured is missing from its row.

    Raises
    ------
    MissingError : there is no run, or it was not validated yet
    UsageError : the file is damaged
    """
    file = run / "metrics.csv"
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        if (run / "run.json").is_file():
            raise _not_yet(run) from error
        raise MissingError(f"{run} holds no run: there is no metrics.csv") from error
    except (OSError, ValueError) as error:
        raise _damaged(file, str(error)) from error
    lines = list(csv.reader(text.splitlines()))
    if len(lines) < 2:
        raise _not_yet(run)
    names = lines[0]
    lacking = [name for name in _NEEDED if name not in names]
    if lacking:
        raise _damaged(file, f"it has no column {', '.join(lacking)}")
    return [_row(file, names, cells, line=number) for number, cells in enumerate(lines[1:], 2)]


def best_of(rows: Sequence[Row]) -> Row | None:
    """The validation with the least loss, whose weights best/ holds; None where no loss is a number."""
    return min(
        (row for row in rows if math.isfinite(row["val_loss"])), key=itemgetter("val_loss"), default=None
    )


def about_run(record: Mapping[str, Any]) -> str:
    """What was trained on what, from run.json: "NAME on gopro by photo-mix, recipe fast"."""
    request = record["request"]
    prepared = next((value for key in ("blur", "preset") if (value := request["preparation"].get(key))), None)
    by = f" by {prepared}" if prepared else ""
    data = ", ".join(Path(name).name or name for name in request["data"])
    return f"{request['model']} on {data}{by}, recipe {request['recipe_name'] or 'of its own'}"


def caption_of(record: Mapping[str, Any]) -> str:
    """`about_run`, and what the scores are of."""
    count = record.get("validated_pictures", record["val_pairs"])
    return f"{about_run(record)}, {count} validation picture{'s' if count > 1 else ''} (centre crops)"


def read_caption(run: Path) -> str:
    """`caption_of` a run folder; empty where run.json does not say it."""
    try:
        return caption_of(json.loads((run / "run.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""


def _row(file: Path, names: Sequence[str], cells: Sequence[str], *, line: int) -> Row:
    try:
        row = {name: float(cell) for name, cell in zip(names, cells, strict=True) if cell}
    except ValueError as error:
        raise _damaged(file, f"line {line}: {error}") from error
    lacking = [name for name in _NEEDED if name not in row]
    if lacking:
        raise _damaged(file, f"line {line} has no {', '.join(lacking)}")
    return row


def _not_yet(run: Path) -> MissingError:
    return MissingError(f"{run} was not validated yet, so there is nothing to draw; wait for its first epoch")


def _damaged(file: Path, why: str) -> UsageError:
    return UsageError(f"{file} is damaged ({why}); deblur train --resume -o {file.parent} writes it anew")
