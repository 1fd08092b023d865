"""One picture restored in several ways: what each makes of it, what it scores, and a drawing of all side by side."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from deblur_cli.errors import PictureError
from deblur_cli.evaluation.evaluate import RestoresArrays, require_numbers
from deblur_cli.evaluation.grid import region_side, side_by_side
from deblur_cli.evaluation.measures import FloatPicture, Measure
from deblur_cli.evaluation.tables import format_value
from deblur_cli.host.declarations import Metric
from deblur_cli.pictures.drawing import as_rgb
from deblur_cli.pictures.picture import Pixels
from deblur_cli.pictures.regions import Pixels8, Region, find_regions
from deblur_cli.pictures.scaling import from_integers, to_8_bit

AUTOMATIC_REGIONS = 2
RESULTS_DIFFER = "results differ most"
RESULT_DIFFERS = "blurred and result differ most"
BLURRED_DIFFERS = "blurred and sharp differ most"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """A picture of the comparison. scores : by metric, without those that need a reference where there is none."""

    label: str
    pixels: Pixels8
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The blurred picture where it is known, the results, and the sharp picture where it is known.

    name : of the picture
    failures : by label, why a result is missing
    """

    metrics: tuple[Metric, ...]
    blurry: Shown | None
    restored: tuple[Shown, ...]
    sharp: Shown | None
    name: str = ""
    failures: Mapping[str, str] = field(default_factory=dict)

    def shown(self) -> tuple[Shown, ...]:
        """All pictures, from blurred to sharp."""
        return tuple(item for item in (self.blurry, *self.restored, self.sharp) if item is not None)

    def gain(self, shown: Shown, metric: Metric) -> float:
        """How much larger the score of a result is than that of the blurred picture; NaN where that is not known."""
        before = {} if self.blurry is None or shown not in self.restored else self.blurry.scores
        if metric.name not in before or metric.name not in shown.scores:
            return math.nan
        gain = shown.scores[metric.name] - before[metric.name]
        return gain if math.isfinite(gain) else math.nan

    def worst_gain(self) -> float:
        """Of the first metric, the gain of the result that gained least, so turned that more is better; or NaN."""
        if not self.metrics:
            return math.nan
        metric = self.metrics[0]
        gains = [self.gain(shown, metric) for shown in self.restored]
        sign = 1 if metric.higher_is_better else -1
        return min((sign * gain for gain in gains if not math.isnan(gain)), default=math.nan)

    def best(self, metric: Metric) -> float:
        """The best score among the results; NaN where none was measured or only one is there."""
        scores = [shown.scores[metric.name] for shown in self.restored if metric.name in shown.scores]
        if len(scores) < 2:
            return math.nan
        return max(scores) if metric.higher_is_better else min(scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A part of the picture to look at, and why."""

    region: Region
    why: str


def compare_results(
    restorers: Mapping[str, RestoresArrays],
    blurry: Pixels,
    *,
    name: str = "",
    sharp: Pixels | None = None,
    measures: Sequence[Measure] = (),
    progress: Callable[[], None] = lambda: None,
) -> Comparison:
    """Restore one picture with each restorer, and measure each result.

    Parameters
    ----------
    blurry, sharp : (H, W, 1 or 3) uint8 or uint16, of one size
    measures : taken of the unrounded results, as `evaluate` does; those that need `sharp` only where it is given
    progress : called after each restorer

    Raises
    ------
    PictureError : the two pictures differ in size, or no network gives a picture. Where some do, the others are failures
        of the comparison
    """
    given = from_integers(blurry)
    target = None if sharp is None else from_integers(sharp)
    if target is not None:
        if target.shape[:2] != given.shape[:2]:
            raise PictureError(
                f"the picture is {_size(given)}, the reference {_size(target)}; they must be of one size to be compared"
            )
        if target.shape != given.shape:  # one is grey
            given, target = _in_colour(given), _in_colour(target)
    show = _measured(measures, target)
    shown_blurry = show("blurred", given)
    restored: list[Shown] = []
    failures: dict[str, PictureError] = {}
    for label, restorer in restorers.items():
        try:
            picture = restorer.restore_array(given)
            require_numbers(picture)
            restored.append(show(label, picture))
        except PictureError as error:
            failures[label] = error
        progress()
    if not restored and failures:
        raise _all_failed(failures)
    return Comparison(
        name=name,
        metrics=tuple(measure.metric for measure in measures),
        blurry=shown_blurry,
        restored=tuple(restored),
        sharp=None if target is None else Shown(label="sharp", pixels=to_8_bit(target), scores={}),
        failures={label: str(error) for label, error in failures.items()},
    )


def _all_failed(failures: Mapping[str, PictureError]) -> PictureError:
    """What to say where no network gave a picture: what went wrong alike is said once."""
    labels: dict[str, list[str]] = {}
    for label, error in failures.items():
        labels.setdefault(str(error), []).append(label)
    if len(labels) == 1:
        return next(iter(failures.values()))
    return PictureError("; ".join(f"{', '.join(names)}: {error}" for error, names in labels.items()))


def compare_finished(
    results: Mapping[str, Pixels],
    *,
    name: str = "",
    blurry: Pixels | None = None,
    sharp: Pixels | None = None,
    measures: Sequence[Measure] = (),
) -> Comparison:
    """Compare pictures that are there already, all (H, W, 1 or 3) uint8 or uint16 of one size.

    Parameters
    ----------
    results : at least one, by label
    blurry, sharp : where they are known
    measures : those that need `sharp` are taken only where it is given

    Raises
    ------
    PictureError : the pictures differ in size
    """
    known = {"the blurred picture": blurry, "the reference": sharp}
    every = dict(results) | {label: pixels for label, pixels in known.items() if pixels is not None}
    first, start = next(iter(every.items()))
    for label, pixels in every.items():
        if pixels.shape[:2] != start.shape[:2]:
            raise PictureError(
                f"{first} is {_size(start)}, {label} {_size(pixels)}; they must be of one size to be compared"
            )
    colour = any(pixels.shape[2] == 3 for pixels in every.values())

    def floats(pixels: Pixels) -> FloatPicture:
        return _in_colour(from_integers(pixels)) if colour else from_integers(pixels)

    target = None if sharp is None else floats(sharp)
    show = _measured(measures, target)
    return Comparison(
        name=name,
        metrics=tuple(measure.metric for measure in measures),
        blurry=None if blurry is None else show("blurred", floats(blurry)),
        restored=tuple(show(label, floats(pixels)) for label, pixels in results.items()),
        sharp=None if target is None else Shown(label="sharp", pixels=to_8_bit(target), scores={}),
    )


def _measured(
    measures: Sequence[Measure], target: FloatPicture | None
) -> Callable[[str, FloatPicture], Shown]:
    """What measures a picture as far as that can be done, and makes 8 bit of it."""
    possible = [measure for measure in measures if target is not None or not measure.metric.reference]

    def show(label: str, picture: FloatPicture) -> Shown:
        sharp = picture if target is None else target  # looked at only by metrics that need it
        scores = {measure.metric.name: measure.of(picture, sharp) for measure in possible}
        return Shown(label=label, pixels=to_8_bit(picture), scores=scores)

    return show


def marked_regions(comparison: Comparison) -> tuple[Marked, ...]:
    """Where to look: where the results differ most and, with a reference, where the blurred picture differs most from it.

    None where each would be more than half as wide as the picture: that is drawn enlarged as a whole.
    """
    height, width = comparison.restored[0].pixels.shape[:2]
    side = region_side(width, height, count=AUTOMATIC_REGIONS)
    if 2 * side > min(width, height):
        return ()
    known = comparison.blurry is not None and comparison.sharp is not None
    alone = len(comparison.restored) == 1 and comparison.blurry is not None
    found = [
        Marked(region=region, why=RESULT_DIFFERS if alone else RESULTS_DIFFER)
        for region in differing_regions(comparison, count=1 if known else AUTOMATIC_REGIONS)
    ]
    if comparison.blurry is not None and comparison.sharp is not None:
        pair = [as_rgb(comparison.blurry.pixels), as_rgb(comparison.sharp.pixels)]
        # a square touches at most four of those that do not touch each other, so one of five is free
        free = [
            region
            for region in find_regions(pair, width=side, height=side, count=5)
            if not any(_overlap(region, marked.region) for marked in found)
        ]
        found += [Marked(region=region, why=BLURRED_DIFFERS) for region in free[:1]]
    return tuple(found)


def differing_regions(comparison: Comparison, *, count: int = AUTOMATIC_REGIONS) -> tuple[Region, ...]:
    """Where the results differ most among each other; if there is one or all agree, from the blurred or sharp picture."""
    results = [as_rgb(shown.pixels) for shown in comparison.restored]
    if all(np.array_equal(results[0], other) for other in results[1:]):
        other = comparison.blurry or comparison.sharp or comparison.restored[0]
        results = [as_rgb(other.pixels), results[0]]
    height, width = results[0].shape[:2]
    side = region_side(width, height, count=AUTOMATIC_REGIONS)
    return find_regions(results, width=side, height=side, count=count)


def draw(comparison: Comparison, regions: Sequence[Region], *, notes: Sequence[str] = ()) -> Pixels8:
    """All pictures side by side with regions enlarged and scores below, (H, W, 3).

    Parameters
    ----------
    notes : lines at the foot, such as what the data and the weights are

    Raises UsageError for a region that does not lie inside the picture.
    """
    shown = comparison.shown()
    return side_by_side(
        [(item.label, item.pixels) for item in shown],
        captions=["\n".join(score_lines(comparison, item)) for item in shown],
        regions=regions,
        notes=notes,
    )


def score_lines(comparison: Comparison, shown: Shown) -> list[str]:
    """The scores of a picture, one each, with what was gained: "PSNR 27.46 dB  +1.24"."""
    lines = []
    for metric in comparison.metrics:
        if metric.name in shown.scores:
            value = format_value(metric, shown.scores[metric.name])
            gain = comparison.gain(shown, metric)
            gained = "" if math.isnan(gain) else f"  {format_value(metric, gain, signed=True)}"
            lines.append(f"{metric.name.upper()} {value} {metric.unit}".strip() + gained)
    return lines


def _overlap(first: Region, second: Region) -> bool:
    return abs(first.x - second.x) < first.width and abs(first.y - second.y) < first.height  # of one size


def _in_colour(picture: FloatPicture) -> FloatPicture:
    return np.broadcast_to(picture, (*picture.shape[:2], 3))


def _size(picture: FloatPicture | Pixels) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
