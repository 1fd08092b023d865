"""What the records of a made data set say of a pair, as far as its pictures can be held against it."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deblur_cli.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A pair's record in short.

    source : relative path of the picture it was made of
    rms_px : root mean square radius of all its kernels together; None where not every blur has one
    blurry_sha256, sharp_sha256 : of the decoded pixels
    """

    source: str
    rms_px: float | None
    blurry_sha256: str
    sharp_sha256: str


def read_records(folder: Path) -> dict[str, Recorded]:
    """The records of `deblur make-dataset` by the names of the pairs; none where it did not make the folder.

    Raises
    ------
    UsageError : the file of records is damaged
    """
    path = folder / "meta.jsonl"
    if not path.is_file():
        return {}
    found: dict[str, Recorded] = {}
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                found[record["name"]] = Recorded(
                    source=record["source"],
                    rms_px=_rms_px(record),
                    blurry_sha256=record["blur_sha256"],
                    sharp_sha256=record["sharp_sha256"],
                )
            except (ValueError, KeyError, TypeError) as error:
                raise UsageError(f"{path}:{number}: the record makes no sense ({error!r})") from error
    return found


def _rms_px(record: Mapping[str, Any]) -> float | None:
    """None for what moves as it likes: averaged frames, ready pairs, and steps that no kernel describes."""
    if "source_blurry" in record:
        return None
    square = 0.0
    for step in _applied(record["steps"]):
        if "kernel" in step:
            square += step["kernel"]["rms_px"] ** 2
        elif step["op"] == "frame_average":
            return None
    return math.sqrt(square)


def _applied(steps: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    return (step for step in steps if step.get("applied", True) and "branch" not in step)
