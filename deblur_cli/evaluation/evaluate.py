"""Restorers over pairs of pictures, measured against the sharp ones and beside the blurred input."""

import hashlib
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from deblur_cli.errors import PictureError
from deblur_cli.evaluation.measures import FloatPicture, Measure, build_measures
from deblur_cli.evaluation.records import Evaluation, FailedPicture, PictureRecord, Progress
from deblur_cli.host.declarations import Metric
from deblur_cli.metrics.full_reference import mse
from deblur_cli.pictures.scaling import from_integers

if TYPE_CHECKING:
    from deblur_cli.data import Pair


class RestoresArrays(Protocol):
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
    """Restore the blurred picture of each pair and measure it against the sharp one.

    Parameters
    ----------
    metrics : what to measure; the blurred input is measured as well
    limit : number of pairs to take from the front, None for all
    progress : called with (done, total) after each pair

    Notes
    -----
    A pair that cannot be read, restored or measured (PictureError) becomes a failure of the evaluation, and the rest
    goes on. Any other error ends it.
    """
    return evaluate_models({"": restorer}, pairs, metrics, limit=limit, progress=progress)[""]


def evaluate_models(
    restorers: Mapping[str, RestoresArrays],
    pairs: "Sequence[Pair]",
    metrics: Sequence[Metric],
    *,
    limit: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Evaluation]:
    """The same for several restorers by name, reading each pair and measuring its blurred picture only once.

    Restoring and measuring take turns: a measurement beside it would slow the network, and its time is a result.
    """
    measures = build_measures(metrics)
    total = len(pairs) if limit is None else min(limit, len(pairs))
    collectors = {name: _Collector() for name in restorers}
    for index in range(total):
        _measure_pair(pairs[index], restorers, measures, collectors)
        if progress is not None:
            progress(index + 1, total)
    return {name: collector.evaluation(metrics) for name, collector in collectors.items()}


class _Collector:
    """The records of one restorer while they grow."""

    def __init__(self) -> None:
        self._records: list[PictureRecord] = []
        self._failures: list[FailedPicture] = []
        self._digest = hashlib.sha256()

    def add(self, record: PictureRecord, digest: bytes) -> None:
        self._records.append(record)
        self._digest.update(digest)

    def fail(self, name: str, error: PictureError) -> None:
        self._failures.append(FailedPicture(name=name, error=str(error)))

    def evaluation(self, metrics: Sequence[Metric]) -> Evaluation:
        return Evaluation(
            metrics=tuple(metrics),
            records=tuple(self._records),
            failures=tuple(self._failures),
            pairs_sha256=self._digest.hexdigest(),
        )


def _measure_pair(
    pair: "Pair",
    restorers: Mapping[str, RestoresArrays],
    measures: Sequence[Measure],
    collectors: Mapping[str, _Collector],
) -> None:
    try:
        blurry_8bit, sharp_8bit = pair.load()
        if blurry_8bit.shape != sharp_8bit.shape:
            raise PictureError(
                f"cannot use the pair {pair.name}: blurred {_size(blurry_8bit)}, sharp {_size(sharp_8bit)}; "
                "both must be of one size"
            )
        blurry, sharp = from_integers(blurry_8bit), from_integers(sharp_8bit)
        blurry_scores = {measure.metric.name: measure.of(blurry, sharp) for measure in measures}
    except PictureError as error:
        for collector in collectors.values():
            collector.fail(pair.name, error)
        return
    digest = _digest(pair.name, blurry_8bit, sharp_8bit)
    mse_blurry = mse(blurry, sharp)
    height, width = sharp.shape[:2]
    for name, restorer in restorers.items():
        try:
            start = perf_counter()
            restored = restorer.restore_array(blurry)
            seconds = perf_counter() - start
            require_numbers(restored)
            scores = {measure.metric.name: measure.of(restored, sharp) for measure in measures}
        except PictureError as error:
            collectors[name].fail(pair.name, error)
            continue
        record = PictureRecord(
            name=pair.name,
            width=width,
            height=height,
            blurry=blurry_scores,
            restored=scores,
            mse_blurry=mse_blurry,
            mse_restored=mse(restored, sharp),
            seconds=seconds,
        )
        collectors[name].add(record, digest)


def require_numbers(restored: FloatPicture) -> None:
    """A picture with NaN is a failed one: its scores would spoil the means, or vanish from them.

    Raises PictureError.
    """
    broken = restored.size - np.count_nonzero(np.isfinite(restored))
    if broken:
        raise PictureError(
            f"the network gave {broken} values that are not numbers; its weights may be broken"
        )


def _digest(name: str, *pictures: npt.NDArray[np.uint8]) -> bytes:
    digest = hashlib.sha256(name.encode())
    for picture in pictures:
        digest.update(str(picture.shape).encode())
        digest.update(np.ascontiguousarray(picture).data)
    return digest.digest()


def _size(picture: npt.NDArray[np.uint8]) -> str:
    height, width = picture.shape[:2]
    return f"{width}x{height}"
