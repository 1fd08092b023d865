"""Checking a data set of pairs: every pair by itself, its scene as a whole, and the splits against each other."""

import multiprocessing
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np

from deblur_cli.blur.opencv import import_opencv
from deblur_cli.data.findings import Check, Distribution, Finding, Level, Report
from deblur_cli.data.leakage import LIKELY, Likeness, LookAlikes
from deblur_cli.data.pair_measures import Measured, files_of, measure
from deblur_cli.data.pair_records import Recorded, recorded_pairs
from deblur_cli.data.pair_search import Listed, Survey
from deblur_cli.data.pair_verdicts import judge_identical, judge_pair, judge_scene, judged_shift
from deblur_cli.errors import NotEnoughRoomError

Steps = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""(what is done, how many steps) -> a context that yields a function to be called with each number of steps done."""


def check_pairs(
    survey: Survey, *, data: str, steps: Steps, limit: int | None = None, workers: int = 0
) -> Report:
    """Check the pairs of a survey.

    Parameters
    ----------
    data : what the report calls the set
    steps : draws progress
    limit : pairs a split, spread evenly over it; None = all
    workers : processes; 0 = this one

    Raises
    ------
    MissingError : OpenCV is not there
    UsageError : the records of a made set are damaged
    NotEnoughRoomError : a process was killed
    """
    records = recorded_pairs(survey.root) if survey.root is not None else {}
    chosen = spread(survey.pairs, limit)
    jobs = [(listed, records.get(listed.pair.name)) for listed in chosen]
    findings = [*survey.findings, *_unrecorded(chosen, records, survey.root)]
    shifts: list[float] = []
    brightnesses: list[float] = []
    scenes: dict[tuple[str, str, bool], list[Measured]] = defaultdict(list)
    identical: list[Listed] = []
    with LookAlikes() as alike:
        with steps("pairs", len(jobs)) as done:
            for key, ((listed, recorded), measured) in enumerate(
                zip(jobs, _measure_all(jobs, workers), strict=True)
            ):
                findings += [*measured.faults, *judge_pair(listed.pair, measured, recorded)]
                if measured.thumbnail is not None:
                    alike.add(measured.thumbnail, split=listed.split, key=key)
                if measured.identical:
                    identical.append(listed)
                if measured.brightness is not None:
                    brightnesses.append(abs(measured.brightness))
                shift = judged_shift(measured)
                if shift is not None:
                    shifts.append(shift.length)
                by_hand = recorded is None or not recorded.is_centred
                slim = replace(
                    measured, thumbnail=None, faults=()
                )  # the thumbnail is by far the greatest part
                scenes[listed.split, listed.scene, by_hand].append(slim)
                done(1)
        for (split, scene, by_hand), members in scenes.items():
            name = "/".join(filter(None, (split, scene))) or data
            findings += judge_scene(name, members, recorded=not by_hand)
        findings += judge_identical([listed.pair for listed in identical], among=len(jobs))
        findings += _shared_names(chosen, records)
        with steps("splits", alike.comparisons()) as done:
            findings += _leaks(alike.find(done), chosen, records)
    return Report(
        data=data,
        splits=dict(Counter(listed.split for listed in survey.pairs)),
        checked=len(jobs),
        shift_px=_distribution(shifts, of=len(jobs)),
        brightness_levels=_distribution(brightnesses, of=len(jobs)),
        findings=findings,
    )


def spread(pairs: Sequence[Listed], limit: int | None) -> list[Listed]:
    """At most `limit` pairs of each split, evenly spread over it."""
    if limit is None:
        return list(pairs)
    splits: dict[str, list[Listed]] = defaultdict(list)
    for listed in pairs:
        splits[listed.split].append(listed)
    return [
        members[place * len(members) // min(limit, len(members))]
        for members in splits.values()
        for place in range(min(limit, len(members)))
    ]


Job = tuple[Listed, Recorded | None]


def _measure_all(jobs: Sequence[Job], workers: int) -> Iterator[Measured]:
    """The measures of all pairs, in their order."""
    if workers <= 0:
        yield from map(_measure, jobs)
        return
    context = multiprocessing.get_context("spawn")  # a fork may copy a held lock of a library
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        try:
            yield from pool.map(_measure, jobs, chunksize=8)
        except BrokenProcessPool as error:
            raise NotEnoughRoomError(
                f"one of the {workers} processes was killed, most likely for its memory; use fewer --workers"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker() -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches all processes; the first one ends the others
    import_opencv().setNumThreads(0)  # the processes are the parallelism


def _measure(job: Job) -> Measured:
    listed, recorded = job
    return measure(listed.pair, recorded)


def _unrecorded(
    pairs: Iterable[Listed], records: Mapping[str, Recorded], root: Path | None
) -> Iterator[Finding]:
    """Pairs that a made set has no record of."""
    if not records:
        return
    for listed in pairs:
        if listed.pair.name not in records:
            text = f"{root}/meta.jsonl has no record of the pair {listed.pair.name}"
            yield Finding(check=Check.RECORD, level=Level.FAIL, text=text, files=files_of(listed.pair))


def _shared_names(pairs: Iterable[Listed], records: Mapping[str, Recorded]) -> Iterator[Finding]:
    """Scenes of one name in two splits, and sources of which two splits hold pairs.

    A name alone is a warning: REDS counts the clips of each split from 000.
    """
    scenes: dict[str, dict[str, Listed]] = defaultdict(dict)
    sources: dict[str, dict[str, Listed]] = defaultdict(dict)
    for listed in pairs:
        recorded = records.get(listed.pair.name)
        if recorded is not None:
            sources[recorded.source].setdefault(listed.split, listed)
        elif listed.scene:
            scenes[listed.scene].setdefault(listed.split, listed)
    for what, level, groups in (("scene", Level.WARN, scenes), ("source", Level.FAIL, sources)):
        for name, splits in groups.items():
            if len(splits) > 1:
                yield Finding(
                    check=Check.SCENES,
                    level=level,
                    text=f"the {what} {name} is in {' and in '.join(splits)}",
                    files=tuple(files_of(listed.pair)[-1] for listed in splits.values()),
                )


def _leaks(
    found: Iterable[Likeness], pairs: Sequence[Listed], records: Mapping[str, Recorded]
) -> Iterator[Finding]:
    """A finding for each two scenes that look alike; for each two pictures where they are not of scenes."""
    groups: dict[tuple[tuple[str, str], tuple[str, str]], list[Likeness]] = defaultdict(list)
    for item in found:
        first, second = pairs[item.first], pairs[item.second]
        groups[_group(first, records), _group(second, records)].append(item)
    for items in groups.values():
        best = max(items, key=lambda item: (item.same, item.value))
        first, second = pairs[best.first], pairs[best.second]
        is_sure = best.same or (best.value >= LIKELY and not best.small)
        how = "are the same picture" if best.same else f"look alike ({best.value:.2f} of 1)"
        files = [files_of(listed.pair)[-1] for listed in (first, second)]
        more = f"; so do {len(items) - 1} more of these two" if len(items) > 1 else ""
        yield Finding(
            check=Check.LEAKAGE,
            level=Level.FAIL if is_sure else Level.WARN,
            text=f"{files[0]} ({first.split}) and {files[1]} ({second.split}) {how}{more}",
            files=tuple(files),
            value=best.value,
        )


def _group(listed: Listed, records: Mapping[str, Recorded]) -> tuple[str, str]:
    recorded = records.get(listed.pair.name)
    return listed.split, recorded.source if recorded else listed.scene or listed.pair.name


def _distribution(values: Sequence[float], *, of: int) -> Distribution:
    if not values:
        return Distribution(median=None, p95=None, max=None, judged=0, unjudged=of)
    median, p95, greatest = (float(value) for value in np.quantile(values, (0.5, 0.95, 1)))
    return Distribution(median=median, p95=p95, max=greatest, judged=len(values), unjudged=of - len(values))
