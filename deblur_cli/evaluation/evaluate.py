"""Restorers over pairs of pictures, measured against the sharp ones and beside the blurred input.

Measuring runs in threads beside the network. A score depends on its picture alone, so the number of threads changes none.
Only the first pictures are restored with nothing beside them: the time that is stated is theirs.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

import numpy as np
import numpy.typing as npt

from deblur_cli.data.drawn import DrawnPair
from deblur_cli.errors import DeblurError, MissingError, PictureError, UsageError
from deblur_cli.evaluation.ledger import Ledger
from deblur_cli.evaluation.measures import FloatPicture, Measure, build_measures
from deblur_cli.evaluation.peak import watch_memory
from deblur_cli.evaluation.protocols import Protocol
from deblur_cli.evaluation.records import Evaluation, FailedPicture, PictureRecord, Progress
from deblur_cli.host.declarations import Metric
from deblur_cli.metrics.full_reference import mse
from deblur_cli.pictures.scaling import from_integers, to_8_bit

if TYPE_CHECKING:
    from deblur_cli.data import Pair

ALONE_PICTURES, ALONE_SECONDS, ALONE_AT_LEAST = 20, 10.0, 3
"""How many pictures are restored with nothing beside: until so many are, or have taken so long, but at least three, of
which the first warms up."""

AS_THEY_ARE = Protocol(data="", split="")


class RestoresArrays(Interface):
    """What is evaluated: a `Restorer`, or anything else with this method."""

    def restore_array(self, image: FloatPicture, /) -> FloatPicture:
        """(H, W, 3) float32 in [0, 1] to the same, clipped and not rounded."""


def evaluate(
    restorer: RestoresArrays,
    pairs: "Sequence[Pair]",
    metrics: Sequence[Metric],
    *,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Restore the blurred picture of each pair and measure it against the sharp one; `evaluate_models` for one restorer."""
    return evaluate_models({"": restorer}, pairs, build_measures(metrics), limit=limit, progress=progress)[""]


def evaluate_models(
    restorers: Mapping[str, RestoresArrays],
    pairs: "Sequence[Pair]",
    measures: Sequence[Measure],
    *,
    protocol: Protocol = AS_THEY_ARE,
    limit: int | None = None,
    workers: int = 1,
    ledgers: Mapping[str, Ledger] | None = None,
    progress: Progress | None = None,
) -> dict[str, Evaluation]:
    """Restore the blurred picture of each pair with several restorers by name, and measure against the sharp one.

    Each pair is read, and its blurred picture measured, only once.

    Parameters
    ----------
    measures : what to measure; the blurred input is measured as well
    protocol : how pictures are cut, restored in pieces, rounded
    limit : number of pairs to take from the front, None for all
    workers : threads that measure beside the network; 0 = in turns with it
    ledgers : by name of a restorer, where its records are kept as they come, and are taken from if they are there
    progress : called with (done, total) after each pair

    Notes
    -----
    A pair that cannot be read or measured, and a picture that a restorer fails on, become failures of the evaluation, and
    the rest goes on.
    """
    total = len(pairs) if limit is None else min(limit, len(pairs))
    collectors = {name: _Collector((ledgers or {}).get(name, Ledger(None))) for name in restorers}
    measuring = _Measuring(measures, protocol, workers=workers)
    with measuring:
        for index in range(total):
            _restore_pair(pairs[index], index, restorers, measuring, collectors, protocol)
            measuring.collect(waiting=4 * workers)
            if progress is not None:
                progress(index + 1, total)
        measuring.collect(waiting=0)
    metrics = [measure.metric for measure in measures]
    return {name: collector.evaluation(metrics) for name, collector in collectors.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scores:
    """What was measured of one picture. values : by metric; seconds : that it took"""

    values: dict[str, float]
    mse: float
    seconds: float


class _Collector:
    """The records of one restorer while they grow."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.alone: list[float] = []  # seconds of pictures that were restored with nothing beside
        self._records: dict[int, PictureRecord] = {}
        self._failures: dict[int, FailedPicture] = {}
        self._digests: dict[int, str] = {}

    @property
    def wants_quiet(self) -> bool:
        """Whether the next picture is one of those whose time is stated."""
        done = len(self.alone)  # since this evaluation began, or went on
        return done < ALONE_AT_LEAST or (done < ALONE_PICTURES and sum(self.alone) < ALONE_SECONDS)

    @property
    def goes_on(self) -> bool:
        """Whether there are records already: then the next picture warms up as the first one did, and its time is none."""
        return bool(self._records)

    def opened(self, index: int, digest: str) -> None:
        """A pair was read."""
        self._digests[index] = digest

    def add(self, index: int, record: PictureRecord) -> None:
        """A picture was restored and measured."""
        self._records[index] = record

    def fail(self, index: int, name: str, error: Exception) -> None:
        """A picture was not."""
        self._failures[index] = FailedPicture(name=name, error=_reason(error))

    def evaluation(self, metrics: Sequence[Metric]) -> Evaluation:
        """All of it, in the order of the pairs."""
        digest = hashlib.sha256()
        for index in sorted(self._records):
            digest.update(bytes.fromhex(self._digests[index]))
        return Evaluation(
            metrics=tuple(metrics),
            records=tuple(record for _, record in sorted(self._records.items())),
            failures=tuple(failure for _, failure in sorted(self._failures.items())),
            pairs_sha256=digest.hexdigest(),
        )


class _Measuring:
    """Threads that measure, and the pictures that wait for them."""

    def __init__(self, measures: Sequence[Measure], protocol: Protocol, *, workers: int) -> None:
        self._measures = measures
        self._protocol = protocol
        self._threads = ThreadPoolExecutor(workers, "measure") if workers else None
        self._waiting: deque[Callable[[], object]] = deque()

    def __enter__(self) -> "_Measuring":
        return self

    def __exit__(self, *error: object) -> None:
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def start(self, picture: FloatPicture, sharp: FloatPicture) -> "Future[_Scores]":
        """Begin to measure a picture."""
        if self._threads is not None:
            return self._threads.submit(self._scores, picture, sharp)
        done: Future[_Scores] = Future()
        try:
            done.set_result(self._scores(picture, sharp))
        except Exception as error:  # as a thread would keep it
            done.set_exception(error)
        return done

    def then(self, finish: Callable[[], object]) -> None:
        """What to do with results, in the order of these calls."""
        self._waiting.append(finish)

    def collect(self, *, waiting: int) -> None:
        """Finish what was begun, but for the last so many."""
        while len(self._waiting) > waiting:
            self._waiting.popleft()()

    def _scores(self, picture: FloatPicture, sharp: FloatPicture) -> _Scores:
        start = perf_counter()
        values = {measure.metric.name: measure.of(picture, sharp) for measure in self._measures}
        cap = self._protocol.psnr_cap
        if cap is not None and "psnr" in values:
            values["psnr"] = min(values["psnr"], cap)
        return _Scores(values=values, mse=mse(picture, sharp), seconds=perf_counter() - start)


def _restore_pair(
    pair: "Pair",
    index: int,
    restorers: Mapping[str, RestoresArrays],
    measuring: _Measuring,
    collectors: Mapping[str, _Collector],
    protocol: Protocol,
) -> None:
    start = perf_counter()
    try:
        blurry_8bit, sharp_8bit = pair.load()
        if blurry_8bit.shape != sharp_8bit.shape:
            raise PictureError(
                f"cannot use the pair {pair.name}: blurred {_size(blurry_8bit)}, sharp {_size(sharp_8bit)}; "
                "both must be of one size"
            )
        blurry, sharp = (protocol.cut(from_integers(picture)) for picture in (blurry_8bit, sharp_8bit))
        target = protocol.without_border(sharp)
    except PictureError as error:
        for collector in collectors.values():
            collector.fail(index, pair.name, error)
        return
    reading = perf_counter() - start
    digest = _digest(pair.name, blurry_8bit, sharp_8bit)
    wanted: dict[str, RestoresArrays] = {}
    for name, restorer in restorers.items():
        collectors[name].opened(index, digest)
        kept = collectors[name].ledger.find(index, digest)
        if kept is None:
            wanted[name] = restorer
        else:
            collectors[name].add(index, kept)
    if not wanted:
        return
    baseline = measuring.start(protocol.without_border(blurry), target)
    measuring.then(
        lambda: wait([baseline])
    )  # also where all restorers fail: no more pictures than these wait
    for name, restorer in wanted.items():
        collector = collectors[name]
        alone = collector.wants_quiet
        if alone:
            measuring.collect(waiting=0)
        try:
            restored = _restore(restorer, blurry, protocol)
        except (MissingError, UsageError):
            raise  # not about this picture
        except Exception as error:  # a stranger's network may raise anything; the others go on
            collector.fail(index, pair.name, error)
            continue
        counts = alone and (bool(collector.alone) or not collector.goes_on)
        if alone:
            collector.alone.append(restored.seconds)
        scores = measuring.start(protocol.rounded(protocol.without_border(restored.picture)), target)
        facts = {
            "name": pair.name, "width": sharp.shape[1], "height": sharp.shape[0], "alone": counts,
            "drawn": pair.drawn() if isinstance(pair, DrawnPair) else {},
            "seconds": restored.network_seconds, "end_to_end": reading + restored.seconds, "peak_bytes": restored.peak_bytes,
        }  # fmt: skip
        measuring.then(_finisher(collector, index, digest, facts, baseline, scores))


def _finisher(
    collector: _Collector,
    index: int,
    digest: str,
    facts: dict[str, Any],
    baseline: "Future[_Scores]",
    scores: "Future[_Scores]",
) -> Callable[[], None]:
    def finish() -> None:
        try:
            before, after = baseline.result(), scores.result()
        except PictureError as error:
            collector.fail(index, facts["name"], error)
            return
        record = PictureRecord(
            **facts,
            blurry=before.values,
            restored=after.values,
            mse_blurry=before.mse,
            mse_restored=after.mse,
            metric_seconds=after.seconds,
        )
        collector.add(index, record)
        collector.ledger.add(index, digest, record)

    return finish


@dataclass(frozen=True, slots=True, kw_only=True)
class _Restored:
    """A restored picture. seconds : from picture to 8-bit picture; network_seconds : of the network alone"""

    picture: FloatPicture
    seconds: float
    network_seconds: float
    peak_bytes: int | None


def _restore(restorer: RestoresArrays, blurry: FloatPicture, protocol: Protocol) -> _Restored:
    network_seconds = 0.0
    with watch_memory(getattr(restorer, "device", None)) as memory:
        start = perf_counter()
        restored = np.empty_like(blurry)
        for box in protocol.boxes(*blurry.shape[:2]):
            before = perf_counter()
            piece = restorer.restore_array(np.ascontiguousarray(blurry[box]))
            network_seconds += getattr(restorer, "network_seconds", perf_counter() - before)
            restored[box] = piece
        require_numbers(restored)
        to_8_bit(restored)  # the last step of those that a user waits for
        seconds = perf_counter() - start
    return _Restored(
        picture=restored, seconds=seconds, network_seconds=network_seconds, peak_bytes=memory.peak_bytes
    )


def require_numbers(restored: FloatPicture) -> None:
    """A picture with NaN is a failed one: its scores would spoil the means, or vanish from them.

    Raises PictureError.
    """
    broken = restored.size - np.count_nonzero(np.isfinite(restored))
    if broken:
        raise PictureError(
            f"the network gave {broken} values that are not numbers; its weights may be broken"
        )


def _reason(error: Exception) -> str:
    if isinstance(error, DeblurError):
        return str(error)
    return f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"


def _digest(name: str, *pictures: npt.NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape"))
    for picture in pictures:
        digest.update(str(picture.shape).encode())
        digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()


def _size(picture: npt.NDArray[np.uint8]) -> str:
    height, width = picture.shape[:2]
    return f"{width}x{height}"
