"""Scores by how strongly a picture was blurred: a mean over all strengths says mostly how many are hardly blurred."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from deblur_cli.evaluation.records import PictureRecord, finite_mean, json_number
from deblur_cli.evaluation.score_tables import model_labels, protocol_title
from deblur_cli.evaluation.typeset import Cell, Column, Row, Table

PARAMETER = "gaussian.sigma"
EDGES = (0.0, 0.28, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, math.inf)
"""Px. Below 0.28 a Gaussian of 8 bit changes nothing; the others are those by which blurred pictures are told apart."""
MOST_VALUES = 6
"""Where a parameter takes so few values, each stands for itself."""


def by_sigma(records: Sequence[PictureRecord]) -> list[dict[str, Any]]:
    """PSNR of blurred and restored pictures by the sigma of their Gaussian, in px; none unless all of them have one.

    Returns
    -------
    a mapping for each range with pictures in it: from, to (equal for a single value), pictures, and means over those that
    are finite, psnr_blurry and psnr_restored, None where none is
    """
    if not records or any(PARAMETER not in record.drawn or "psnr" not in record.blurry for record in records):
        return []
    sigmas = sorted({record.drawn[PARAMETER] for record in records})
    few = len(sigmas) <= MOST_VALUES
    ranges = [(sigma, sigma) for sigma in sigmas] if few else list(pairwise(EDGES))
    rows = []
    for low, high in ranges:
        inside = [
            record
            for record in records
            if low <= record.drawn[PARAMETER] < high or record.drawn[PARAMETER] == low == high
        ]
        if inside:
            rows.append(
                {
                    "from": low,
                    "to": json_number(high),
                    "pictures": len(inside),
                    "psnr_blurry": json_number(finite_mean([record.blurry["psnr"] for record in inside])),
                    "psnr_restored": json_number(finite_mean([record.restored["psnr"] for record in inside])),
                }
            )
    return rows


def sigma_table(records: Sequence[Mapping[str, Any]]) -> Table | None:
    """Records of evaluations that measured the same pictures, range by range; None where the sigmas are not known, or one."""
    parts = [record.get("by_sigma") or [] for record in records]
    ranges = {tuple((part["from"], part["to"]) for part in same) for same in parts}
    if len(ranges) != 1 or len(parts[0]) < 2:  # a single range is all pictures, which the table of scores has
        return None
    labels = model_labels(records)
    columns = ("pictures", "blurred dB", *(f"{labels[id(record)]} dB" for record in records))
    rows = tuple(
        Row((
            Cell(_range(same[0])),
            Cell(str(same[0]["pictures"]), same[0]["pictures"]),
            _decibels(same[0]["psnr_blurry"]),
            *(_decibels(part["psnr_restored"]) for part in same),
        ))
        for same in zip(*parts, strict=True)
    )  # fmt: skip
    return Table(
        title=f"{protocol_title(records[0])}: PSNR by the sigma of the blur",
        columns=(Column(title="sigma px", number=False), *(Column(title=title) for title in columns)),
        rows=rows,
        notes=("-: all pictures of the range are identical to the sharp ones",),
    )


def _range(part: Mapping[str, Any]) -> str:
    low, high = part["from"], part["to"]
    if high is None:
        return f"{low:g} and more"
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _decibels(value: float | None) -> Cell:
    return Cell("-") if value is None else Cell(f"{value:.2f}", value)
