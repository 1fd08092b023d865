"""How ratios are measured: the thing and the bare operation take turns, so that whatever slows the machine hits both."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from statistics import median


class Clock(StrEnum):
    """What a duration is: time on the wall, or processor time where other programs compete for the processors.

    Processor time is only fair to one thread: with several, waiting for each other counts as work.
    """

    WALL = "wall"
    CPU = "cpu"

    def now(self) -> float:
        """Seconds since some moment."""
        return time.perf_counter() if self is Clock.WALL else time.process_time()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    what : the thing, and the bare operation it is compared with
    ratios : one for each round
    target : the largest median that is good, or None for a figure that only informs
    seconds : medians of the thing and of the bare operation; None where it is not time that is compared
    note : conditions, absolute figures
    """

    what: str
    ratios: tuple[float, ...]
    target: float | None
    seconds: tuple[float, float] | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """The ratio that counts."""
        return median(self.ratios)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        return None if self.target is None else self.median <= self.target

    def as_json(self) -> dict[str, object]:
        """All figures, the spread and the verdict."""
        spread = {"median": self.median, "min": min(self.ratios), "max": max(self.ratios)}
        return {**asdict(self), **spread, "met": self.met}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """One thing against one of the bare operations. target, note : as in Row."""

    what: str
    thing: str
    bare: str
    target: float | None
    note: str = ""


def compare(
    runs: Mapping[str, Callable[[], float]], contests: Sequence[Contest], *, repeats: int, warm: bool = False
) -> list[Row]:
    """Run everything in turns and put the ratios of equal rounds side by side.

    Parameters
    ----------
    runs : by name, what does one run and returns its seconds
    contests : which of them are compared
    repeats : rounds that count
    warm : whether everything ran before; else each runs once before, uncounted
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats if warm else repeats + 1):
        for name, run in runs.items():
            seconds[name].append(run())
    counted = {name: times[-repeats:] for name, times in seconds.items()}
    return [
        Row(
            what=contest.what,
            ratios=tuple(
                ours / bare for ours, bare in zip(counted[contest.thing], counted[contest.bare], strict=True)
            ),
            target=contest.target,
            seconds=(median(counted[contest.thing]), median(counted[contest.bare])),
            note=contest.note,
        )
        for contest in contests
    ]


def timed(work: Callable[[], object], *, clock: Clock) -> Callable[[], float]:
    """`work` as something that returns the seconds it took."""

    def run() -> float:
        start = clock.now()
        result = work()
        seconds = clock.now() - start
        del result  # after the clock has stopped: giving memory back is the caller's business
        return seconds

    return run
