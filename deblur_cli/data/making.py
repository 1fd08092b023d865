"""Making a data set: the items of a source become pairs, in as many processes as wanted, and it goes on where it stopped.

OUT/blur/000012_00_1.png  OUT/sharp/000012_00_1.png    index of the source _ draw _ patch or tile
OUT/meta.jsonl            one line a pair with everything that was drawn, sorted by name, written last
OUT/splits/train.txt ...  one name a line
OUT/spec.toml  OUT/dataset.json                        the spec as used; versions, counts, what was left out and why

Work goes in chunks of consecutive items. A chunk writes its pictures, then one file of records in OUT/.making, which
proves that they are complete; at the end these are put together. So nothing depends on who made which chunk and when.
"""

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any

import numpy as np

from deblur_cli.blur.opencv import import_opencv
from deblur_cli.blur.pipeline import Operations
from deblur_cli.blur.spec import Spec, Step, walk
from deblur_cli.data.items import Source
from deblur_cli.data.ledger import Ledger, Totals, totals_of
from deblur_cli.data.splits import SPLITS
from deblur_cli.data.workshop import Chunk, Workshop
from deblur_cli.errors import MissingError, NotEnoughRoomError, UsageError

Progress = Callable[[int, int], None]


def make_dataset(
    source: Source,
    out: Path,
    spec: Spec,
    operations: Operations,
    *,
    workers: int = 0,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
    warn: Callable[[str], None] = lambda message: None,
) -> Totals:
    """Make all pairs of a source.

    Parameters
    ----------
    out : new or empty folder
    workers : processes; 0 = this one. The result does not depend on it
    overwrite : remove the pairs of an earlier run from `out` first
    resume : go on with what an interrupted run left in `out`; ends byte for byte as if it had not been interrupted
    progress : called with (items done, items in all)

    Raises
    ------
    UsageError : `out` is not empty, or holds something else than what is to be resumed
    MissingError : none of the items could be used
    NotEnoughRoomError : the disk is full; what is complete stays and can be resumed
    """
    ledger = Ledger(out)
    plan = _plan(source, spec)
    _check_folder(out, Path(plan["source"]["path"]))
    try:
        with ledger.alone():
            if resume and ledger.meta.exists():
                return _complete(ledger, plan)
            _prepare(ledger, plan, spec, overwrite=overwrite, resume=resume, warn=warn)
            return _make(source, spec, operations, ledger, plan, workers=workers, progress=progress)
    except NotEnoughRoomError as error:
        raise NotEnoughRoomError(f"{error}; what is complete stays: go on with --resume") from error


def _make(
    source: Source,
    spec: Spec,
    operations: Operations,
    ledger: Ledger,
    plan: Mapping[str, Any],
    *,
    workers: int,
    progress: Progress | None,
) -> Totals:
    """Make what is not there yet, and put everything together."""
    starts = range(0, len(source), _chunk_size(len(source)))
    workshop = Workshop(
        opener=source.opener, spec=spec, operations=_used(spec, operations), ledger=ledger,
        parts=source.parts, digits=max(6, len(str(len(source) - 1))),
    )  # fmt: skip
    done = 0
    for count in _run(workshop, source, starts, workers=workers):
        done += count
        if progress is not None:
            progress(done, len(source))
    totals = ledger.finish(starts, plan, SPLITS)
    if totals.pairs == 0:
        ledger.clear()
        raise MissingError(f"none of the {len(source)} items could be used; {_why(totals)}")
    return totals


def _why(totals: Totals) -> str:
    """Why nothing could be made: the first reason, or how often windows were refused."""
    for name, reason in totals.left_out.items():
        return f"{name}: {reason}"
    return ", ".join(
        f"{count} windows of frames left out: {reason}" for reason, count in totals.refused.items()
    )


def _plan(source: Source, spec: Spec) -> dict[str, Any]:
    """What decides every byte, so that a resumed run can be told from another one."""
    return {
        "name": spec.name,
        "spec_sha256": hashlib.sha256(spec.text.encode()).hexdigest(),
        "source": source.describe(),
        "items": len(source),
        "versions": versions(),
    }


def _prepare(
    ledger: Ledger,
    plan: Mapping[str, Any],
    spec: Spec,
    *,
    overwrite: bool,
    resume: bool,
    warn: Callable[[str], None],
) -> None:
    """Make the folders of `out`, or see that what is there is the beginning of the same."""
    out = ledger.out
    if overwrite and not ledger.is_empty() and not ledger.holds_set():
        raise UsageError(
            f"there is no data set in {out} to --overwrite, only other files; choose another folder"
        )
    if overwrite:
        ledger.clear()
    before = ledger.plan()
    if before is None:
        if not overwrite and not ledger.is_empty():
            raise UsageError(
                f"cannot make a data set in {out}: it is not empty; choose another folder or --overwrite"
            )
    elif not resume:
        raise UsageError(
            f"{out} holds an unfinished data set; go on with --resume, or begin anew with --overwrite"
        )
    else:
        changed = _changed(before, plan)
        if changed is not None:
            raise UsageError(
                f"cannot go on with {out}: {changed} is not the one it was begun with; begin anew with --overwrite"
            )
        if before.get("versions") != plan["versions"]:
            warn(f"{out} was begun with other versions of the libraries; its pairs may differ in rounding")
    ledger.begin(plan, spec.text)


def _complete(ledger: Ledger, plan: Mapping[str, Any]) -> Totals:
    """Nothing is left to do in a complete set of the same spec and source."""
    summary = ledger.read_summary()
    changed = _changed(summary, plan)
    if changed is not None:
        raise UsageError(
            f"{ledger.out} is complete, but {changed} is not the one it was made with; "
            "choose another folder or --overwrite"
        )
    ledger.tidy()
    return totals_of(summary)


def _changed(before: Mapping[str, Any], plan: Mapping[str, Any]) -> str | None:
    """What is not as it was when the work began, None if it may go on."""
    compared = {"spec_sha256": "the spec", "source": "the source", "items": "the source"}
    return next((what for name, what in compared.items() if before.get(name) != plan[name]), None)


def _check_folder(out: Path, origin: Path) -> None:
    """Refuse places where no data set can be made. origin : where the source lies"""
    if out.resolve().is_relative_to(origin) or origin.is_relative_to(out.resolve()):
        raise UsageError(f"cannot make a data set in {out}: it must lie outside of its source {origin}")
    if out.is_symlink() and not out.exists():
        raise UsageError(
            f"cannot make a data set in {out}: it is a link to {out.readlink()}, which is not there"
        )
    if out.exists() and not out.is_dir():
        raise UsageError(f"cannot make a data set in {out}: it is a file")


def _chunk_size(count: int) -> int:
    """Small enough to lose little when interrupted, large enough to keep the folder of records short."""
    return min(512, max(4, count // 256))


def _used(spec: Spec, operations: Operations) -> Operations:
    """What the spec names: declarations of other plugins need not travel to the workers."""
    return {step.op: operations[step.op] for step in walk(spec.steps) if isinstance(step, Step)}


def _run(workshop: Workshop, source: Source, starts: range, *, workers: int) -> Iterator[int]:
    """Make the chunks that are not there yet, in any order; yields the number of items of each."""
    todo = _todo(workshop.ledger, source, starts)
    if workers <= 0:
        for chunk, is_done in todo:
            yield len(chunk.items) if is_done else workshop.make(chunk)
        return
    context = multiprocessing.get_context("spawn")  # a fork may copy a held lock of a library
    with ProcessPoolExecutor(
        min(workers, len(starts)), mp_context=context, initializer=_start_worker, initargs=(workshop,)
    ) as pool:
        running: set[Future[int]] = set()
        try:
            for chunk, is_done in todo:
                if is_done:
                    yield len(chunk.items)
                    continue
                running.add(pool.submit(_make_in_worker, chunk))
                if len(running) > 2 * workers:  # never all at once: a million names would be copied
                    finished, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in finished)
            for future in running:
                yield future.result()
        except BrokenProcessPool as error:
            raise NotEnoughRoomError(
                f"one of the {workers} processes was killed, most likely for its memory; use fewer --workers"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _todo(ledger: Ledger, source: Source, starts: range) -> Iterator[tuple[Chunk, bool]]:
    for start in starts:
        items = source.items(start, min(start + starts.step, len(source)))
        yield Chunk(start=start, items=tuple(items)), ledger.is_done(start)


_workshop: list[Workshop] = []
"""Of a worker process: what it was started with. ProcessPoolExecutor has no other place for it."""


def _start_worker(workshop: Workshop) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches all processes; the first one ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import_opencv().setNumThreads(0)  # the processes are the parallelism
    _workshop.append(workshop)


def _make_in_worker(chunk: Chunk) -> int:
    return _workshop[0].make(chunk)


def _end_with_parent() -> None:
    """A killed parent cannot end its workers, which would wait for work forever."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def versions() -> dict[str, str]:
    """Versions of what decides the bytes: pairs are made again bit for bit under equal ones."""
    import PIL
    import scipy
    from PIL import features

    from deblur_cli import __version__

    return {
        "deblur_cli": __version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "opencv": import_opencv().__version__,
        "pillow": PIL.__version__,
        "libjpeg_turbo": features.version("libjpeg_turbo") or "",
    }
