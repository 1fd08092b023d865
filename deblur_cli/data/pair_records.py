"""What the records of a made data set say of a pair, as far as its pictures can be held against it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deblur_cli.blur.light import Light, WorkingLight, parse_light
from deblur_cli.data.ledger import read_records
from deblur_cli.errors import UsageError

_NO_BLUR = frozenset({"highlights", "noise", "jpeg", "identity"})
_LINEAR = frozenset({"gaussian", "noise", "jpeg", "identity"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A pair's record in short.

    source : relative path of the picture it was made of
    is_centred : its blur was made by steps that shift nothing; averaged frames and ready pairs move as they like
    rms_px : root mean square radius of its kernels together, None where a step has none
    light : in which it was blurred: in any other, edges seem to move towards the bright side
    is_linear : that light was added up and nothing else; a median moves edges, and so does what is cut off at white
    blurry_sha256, sharp_sha256 : of the decoded pixels
    """

    source: str
    is_centred: bool
    rms_px: float | None
    light: WorkingLight
    is_linear: bool
    blurry_sha256: str
    sharp_sha256: str


def recorded_pairs(folder: Path) -> dict[str, Recorded]:
    """The records of `deblur make-dataset` by the names of the pairs; none where it did not make the folder.

    Raises
    ------
    UsageError : the file of records is damaged
    """
    path = folder / "meta.jsonl"
    if not path.is_file():
        return {}
    found: dict[str, Recorded] = {}
    for number, record in enumerate(read_records(path), start=1):
        try:
            found[record["name"]] = _recorded(record)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path}:{number}: the record makes no sense ({error!r})") from error
    return found


def _recorded(record: Mapping[str, Any]) -> Recorded:
    steps = [step for step in record["steps"] if step.get("applied", True) and "branch" not in step]
    blurs = [step for step in steps if step["op"] not in _NO_BLUR]
    squares = [step["kernel"]["rms_px"] ** 2 if "kernel" in step else None for step in blurs]
    light = next((step["light"] for step in blurs if "light" in step), record["light"])
    return Recorded(
        source=record["source"],
        is_centred="source_blurry" not in record and all(step["op"] != "frame_average" for step in steps),
        rms_px=None
        if None in squares
        else math.sqrt(sum(square for square in squares if square is not None)),
        light=Light.SRGB if light.startswith("crf:") else parse_light(light, folder=Path()),
        is_linear=all("kernel" in step or step["op"] in _LINEAR for step in steps),
        blurry_sha256=record["blur_sha256"],
        sharp_sha256=record["sharp_sha256"],
    )
