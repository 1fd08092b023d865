"""Which released weights `-m fast` and `-m best` stand for, decided by records of evaluations.

    python -m deblur_cli.evaluation.winners weights/records -o weights/winners.json

best : the greatest mean gain in PSNR over the protocols
fast : the same among those that take at most twice the time of the quickest
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean, median
from typing import Any

from deblur_cli.errors import UsageError
from deblur_cli.evaluation.results import newest, read_records
from deblur_cli.pictures import atomic_write

AT_MOST_TIMES = 2.0
"""The time of the quickest."""

Record = Mapping[str, Any]  # a JSON object


def winners(records: Iterable[Record]) -> dict[str, Any]:
    """The winners, with what they won by, as winners.json has them.

    A protocol without a gain in PSNR, as where the pictures are sharp already, decides nothing.

    Parameters
    ----------
    records : of released weights, `NAME.TAG`; all have been measured under the same protocols

    Raises
    ------
    UsageError : there are none, some lack protocols that others have, or two weights have one name
    """
    gains: dict[str, dict[str, float]] = defaultdict(dict)
    seconds: dict[str, list[float]] = defaultdict(list)
    sha256: dict[str, str] = {}
    for record in records:
        label, gain = f"{record['network']}.{record['tag']}", record["gain"]["psnr"]
        if record["model"] not in (label, f"{label}, bfloat16"):
            continue  # a self-ensemble, say, or part of the strength: not what the weights do by themselves
        protocol = f"{record['protocol']['name'] or record['protocol']['data']}#{record['protocol']['hash']}"
        seconds[label].append(record["seconds_per_picture"])
        if sha256.setdefault(label, record["weights_sha256"]) != record["weights_sha256"]:
            raise UsageError(
                f"there are records of two different weights {label}; remove those of the older ones"
            )
        if gain is not None:
            gains[label][protocol] = gain
    if not gains:
        raise UsageError("there is no record of released weights; make some with deblur eval --record FOLDER")
    every = set().union(*gains.values())
    for label, found in gains.items():
        if missing := sorted(every - set(found)):
            raise UsageError(f"{label} has not been measured under {', '.join(missing)}, as others have")
    mean_gain = {label: fmean(found.values()) for label, found in gains.items()}
    time = {label: median(seconds[label]) for label in gains}
    quick = [label for label in gains if time[label] <= AT_MOST_TIMES * min(time.values())]
    chosen = {"best": max(gains, key=mean_gain.__getitem__), "fast": max(quick, key=mean_gain.__getitem__)}
    return {
        alias: {
            "weights": label,
            "sha256": sha256[label],
            "mean_gain_db": round(mean_gain[label], 4),
            "seconds_per_picture": round(time[label], 4),
        }
        for alias, label in chosen.items()
    }


def main() -> None:
    """Write the winners of a folder of records."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    found, _ = read_records([given.records])
    records, _ = newest(found)
    with atomic_write(given.out) as part:
        part.write_text(json.dumps(winners(records), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
