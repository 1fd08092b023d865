"""What a check of a data set finds, and the report of all of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How bad it is. The order is that of their weight."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(StrEnum):
    """What is looked at, in the order of the report."""

    UNREADABLE = "unreadable"  # pictures that cannot be read
    NAMES = "names"  # blurred without sharp, sharp without blurred
    SIZE = "size"  # pairs of two sizes
    MODE = "mode"  # pairs of two kinds: grey and colour, 8 and 16 bit, with and without alpha
    SWAPPED = "swapped"  # the blurred picture is the sharper one
    IDENTICAL = "identical"  # pairs without any blur
    SHIFT = "shift"  # blurred and sharp lie beside each other
    BRIGHTNESS = "brightness"  # pairs of two brightnesses
    RECORD = "record"  # pictures that differ from their record
    SCENES = "scenes"  # one scene or source in two splits, by name
    LEAKAGE = "leakage"  # pictures that look alike in two splits


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong, or odd.

    files : what it is about, the worst first; text : what is wrong, in one line that names them
    value : how bad, in the unit that the text states; None where there is no number
    """

    check: Check
    level: Level
    text: str
    files: tuple[str, ...]
    value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A measure over all pairs: median, 95th percentile and greatest value; None without any.

    judged : over how many; unjudged : how many could not be measured
    """

    median: float | None
    p95: float | None
    max: float | None
    judged: int
    unjudged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the report. worst : the finding to look at first."""

    check: Check
    level: Level
    count: int
    worst: Finding | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check of a data set came to.

    splits : pairs in each, "" for a set without splits; checked : pairs looked at
    shift_px, brightness_levels : how these two are distributed
    """

    data: str
    splits: dict[str, int]
    checked: int
    shift_px: Distribution
    brightness_levels: Distribution
    findings: Sequence[Finding] = field(default_factory=tuple)

    @property
    def failed(self) -> list[Check]:
        """The checks with at least one failure."""
        return [row.check for row in self.rows() if row.level is Level.FAIL]

    def rows(self) -> list[Row]:
        """A line for each check, those without findings too."""
        return [_row(check, [item for item in self.findings if item.check is check]) for check in Check]

    def as_json(self) -> dict[str, Any]:
        """All of it as values that JSON can hold (hence `Any`)."""
        from dataclasses import asdict

        return {
            "data": self.data,
            "ok": not self.failed,
            "splits": self.splits,
            "pairs": sum(self.splits.values()),
            "checked": self.checked,
            "checks": [
                {"check": row.check, "level": row.level, "count": row.count, "worst": row.worst.text if row.worst else None}
                for row in self.rows()
            ],
            "shift_px": asdict(self.shift_px),
            "brightness_levels": asdict(self.brightness_levels),
            "findings": [asdict(item) for item in self.findings],
        }  # fmt: skip


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Failures before warnings, greater values before smaller ones; else as they came."""
    weight = list(Level)
    return sorted(findings, key=lambda item: (-weight.index(item.level), -(item.value or 0.0)))


def _row(check: Check, findings: Sequence[Finding]) -> Row:
    ordered = worst_first(findings)
    level = ordered[0].level if ordered else Level.OK
    return Row(check=check, level=level, count=len(findings), worst=ordered[0] if ordered else None)
