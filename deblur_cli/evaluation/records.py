"""What an evaluation found, picture by picture and in sum, as frozen values that turn into JSON."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, stdev
from typing import Any

from deblur_cli.host.declarations import Metric
from deblur_cli.metrics.full_reference import psnr_from_mse

NUM_WORST = 3
"""Pictures that are named because they gain least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRecord:
    """The scores of one picture.

    blurry, restored : metric name -> value against the sharp picture; infinite PSNR = identical
    mse_blurry, mse_restored : kept whatever metrics are asked for: the pooled PSNR is made of them
    seconds : wall time of the network alone, on its device
    end_to_end : wall time of reading the pair, restoring, tiles and transfers included, and rounding to 8 bit
    metric_seconds : wall time of measuring the restored picture
    alone : whether nothing was measured beside it, so that the times count
    peak_bytes : most memory while it was restored; None where the system does not tell
    drawn : the numbers drawn for its blur, by step and parameter, where it was made for this
    """

    name: str
    width: int
    height: int
    blurry: dict[str, float]
    restored: dict[str, float]
    mse_blurry: float
    mse_restored: float
    seconds: float
    end_to_end: float
    metric_seconds: float
    alone: bool
    peak_bytes: int | None = None
    drawn: Mapping[str, float] = field(default_factory=dict)

    def gain(self, metric: Metric) -> float:
        """What restoring changed; infinite where one of the two is."""
        before, after = self.blurry[metric.name], self.restored[metric.name]
        return math.inf if math.isinf(before + after) else after - before

    def as_json(self) -> dict[str, Any]:
        """Plain values; an infinite PSNR becomes null, and `identical` says why."""
        return {
            "name": self.name,
            "width": self.width,
            "height": self.height,
            "blurry": {name: json_number(value) for name, value in self.blurry.items()},
            "restored": {name: json_number(value) for name, value in self.restored.items()},
            "identical_blurry": self.mse_blurry == 0,
            "identical_restored": self.mse_restored == 0,
            "seconds": round(self.seconds, 6),
            "end_to_end": round(self.end_to_end, 6),
            **({"drawn": dict(self.drawn)} if self.drawn else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedPicture:
    """A picture that could not be read, restored or measured, and why."""

    name: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One metric over all pictures.

    blurry, restored : means over the pictures where the value is finite (identical pictures have infinite PSNR)
    gain : mean of restored - blurry over the pictures where both are finite; positive = the number grew
    std_blurry, std : sample standard deviations over the same pictures as the means; NaN below two
    """

    metric: Metric
    blurry: float
    restored: float
    gain: float
    std_blurry: float
    std: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """An evaluation in a few numbers.

    pooled_psnr_* : PSNR in dB of the mean MSE over all pictures, identical ones included
    identical_* : pictures whose PSNR is infinite and therefore not in the mean
    seconds, end_to_end : median wall times a picture, of the network alone, and with reading and rounding; over the
        `timed` pictures beside which nothing was measured
    metric_seconds : median wall time of measuring a restored picture
    warm_up_excluded : False where there was one picture only, so that its first run had to count
    peak_bytes : most memory while a picture was restored; None where the system does not tell
    worst : names and gains in the first metric against a reference, of the pictures that gain least
    """

    pictures: int
    failed: int
    scores: tuple[Score, ...]
    pooled_psnr_blurry: float
    pooled_psnr_restored: float
    identical_blurry: int
    identical_restored: int
    seconds: float
    end_to_end: float
    metric_seconds: float
    timed: int
    warm_up_excluded: bool
    peak_bytes: int | None
    worst: tuple[tuple[str, float], ...]

    def score(self, metric: str) -> Score:
        """The score of the metric of this name; KeyError where it was not asked for."""
        for score in self.scores:
            if score.metric.name == metric:
                return score
        raise KeyError(metric)

    def as_json(self) -> dict[str, Any]:
        """Plain values; what is infinite or undefined becomes null."""
        return {
            "pictures": self.pictures,
            "failed": self.failed,
            "blurry": {score.metric.name: json_number(score.blurry) for score in self.scores},
            "restored": {score.metric.name: json_number(score.restored) for score in self.scores},
            "gain": {score.metric.name: json_number(score.gain) for score in self.scores},
            "std_blurry": {score.metric.name: json_number(score.std_blurry) for score in self.scores},
            "std": {score.metric.name: json_number(score.std) for score in self.scores},
            "pooled_psnr_blurry": json_number(self.pooled_psnr_blurry),
            "pooled_psnr_restored": json_number(self.pooled_psnr_restored),
            "identical_blurry": self.identical_blurry,
            "identical_restored": self.identical_restored,
            "seconds_per_picture": json_number(self.seconds),
            "seconds_end_to_end": json_number(self.end_to_end),
            "metric_seconds": json_number(self.metric_seconds),
            "timed_pictures": self.timed,
            "warm_up_excluded": self.warm_up_excluded,
            "peak_memory_bytes": self.peak_bytes,
            "worst": [{"name": name, "gain": gain} for name, gain in self.worst],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One restorer over a sequence of pairs.

    pairs_sha256 : of names and pixels of the pairs that were measured, in their order: two scores compare only
        where it is the same
    """

    metrics: tuple[Metric, ...]
    records: tuple[PictureRecord, ...]
    failures: tuple[FailedPicture, ...]
    pairs_sha256: str

    def summary(self) -> Summary:
        """Means, pooled PSNR, gains and time."""
        alone = [record for record in self.records if record.alone]
        timed = alone[1:] or alone  # the first run loads kernels and memory
        peaks = [record.peak_bytes for record in self.records if record.peak_bytes is not None]
        return Summary(
            pictures=len(self.records),
            failed=len(self.failures),
            scores=tuple(self._score(metric) for metric in self.metrics),
            pooled_psnr_blurry=_pooled_psnr(record.mse_blurry for record in self.records),
            pooled_psnr_restored=_pooled_psnr(record.mse_restored for record in self.records),
            identical_blurry=sum(record.mse_blurry == 0 for record in self.records),
            identical_restored=sum(record.mse_restored == 0 for record in self.records),
            seconds=_median(record.seconds for record in timed),
            end_to_end=_median(record.end_to_end for record in timed),
            metric_seconds=_median(record.metric_seconds for record in self.records),
            timed=len(timed),
            warm_up_excluded=len(alone) > 1,
            peak_bytes=max(peaks, default=None),
            worst=self._worst(),
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values: the summary, every picture, every failure."""
        return {
            "metrics": [metric.name for metric in self.metrics],
            "summary": self.summary().as_json(),
            "pairs_sha256": self.pairs_sha256,
            "pictures": [record.as_json() for record in self.records],
            "failures": [{"name": failure.name, "error": failure.error} for failure in self.failures],
        }

    def _score(self, metric: Metric) -> Score:
        blurry = [record.blurry[metric.name] for record in self.records]
        restored = [record.restored[metric.name] for record in self.records]
        return Score(
            metric=metric,
            blurry=finite_mean(blurry),
            restored=finite_mean(restored),
            gain=finite_mean([record.gain(metric) for record in self.records]),
            std_blurry=_deviation(blurry),
            std=_deviation(restored),
        )

    def _worst(self) -> tuple[tuple[str, float], ...]:
        metric = next((metric for metric in self.metrics if metric.reference), None)
        if metric is None:
            return ()
        sign = 1 if metric.higher_is_better else -1
        gains = [(record.name, record.gain(metric)) for record in self.records]
        finite = [(name, gain) for name, gain in gains if math.isfinite(gain)]
        return tuple(sorted(finite, key=lambda item: sign * item[1])[:NUM_WORST])


def finite_mean(values: Sequence[float]) -> float:
    """Mean without the infinite values; NaN where none is left, or where one is NaN (which must not go unseen)."""
    finite = [value for value in values if not math.isinf(value)]
    return math.fsum(finite) / len(finite) if finite else math.nan


def _deviation(values: Sequence[float]) -> float:
    finite = [value for value in values if not math.isinf(value)]
    return stdev(finite) if len(finite) > 1 else math.nan


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return median(found) if found else math.nan


def json_number(value: float) -> float | None:
    """The value, or None for what JSON cannot say."""
    return value if math.isfinite(value) else None


def _pooled_psnr(errors: Iterable[float]) -> float:
    values = list(errors)
    return psnr_from_mse(math.fsum(values) / len(values)) if values else math.nan


Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all)."""
