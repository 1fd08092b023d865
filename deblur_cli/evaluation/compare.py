"""One picture through several restorers: what each makes of it, what it scores, and a drawing of all side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deblur_cli.errors import PictureError
from deblur_cli.evaluation.evaluate import RestoresArrays, require_numbers
from deblur_cli.evaluation.grid import region_side, side_by_side
from deblur_cli.evaluation.measures import FloatPicture, build_measures
from deblur_cli.evaluation.tables import format_value
from deblur_cli.host.declarations import Metric
from deblur_cli.pictures.drawing import as_rgb
from deblur_cli.pictures.picture import Pixels
from deblur_cli.pictures.regions import Pixels8, Region, find_regions
from deblur_cli.pictures.scaling import from_integers, to_8_bit

AUTOMATIC_REGIONS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A picture of the comparison. scores : by metric, empty without a reference."""

    label: str
    pixels: Pixels8
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The blurred picture, what each restorer made of it, and the sharp one where it is known."""

    metrics: tuple[Metric, ...]
    blurry: Shown
    restored: tuple[Shown, ...]
    sharp: Shown | None


def compare_results(
    restorers: Mapping[str, RestoresArrays],
    blurry: Pixels,
    *,
    sharp: Pixels | None = None,
    metrics: Sequence[Metric] = (),
    progress: Callable[[], None] = lambda: None,
) -> Comparison:
    """Restore one picture with each restorer, and measure each result where the sharp picture is given.

    Parameters
    ----------
    blurry, sharp : (H, W, 1 or 3) uint8 or uint16, of one size
    metrics : measured on the unrounded results, as `evaluate` does
    progress : called after each restorer

    Raises
    ------
    PictureError : the two pictures differ in size, or a network gives no numbers
    """
    given = from_integers(blurry)
    target = None if sharp is None else from_integers(sharp)
    if target is not None:
        if target.shape[:2] != given.shape[:2]:
            raise PictureError(
                f"the picture is {_size(given)}, the reference {_size(target)}; they must be of one size to be compared"
            )
        if target.shape != given.shape:  # one is grey
            given, target = (np.broadcast_to(picture, (*picture.shape[:2], 3)) for picture in (given, target))
    measures = build_measures(metrics)

    def show(label: str, picture: FloatPicture) -> Shown:
        scores = (
            {}
            if target is None
            else {measure.metric.name: measure.of(picture, target) for measure in measures}
        )
        return Shown(label=label, pixels=to_8_bit(picture), scores=scores)

    restored = []
    for label, restorer in restorers.items():
        picture = restorer.restore_array(given)
        require_numbers(picture)
        restored.append(show(label, picture))
        progress()
    return Comparison(
        metrics=tuple(metrics),
        blurry=show("blurred", given),
        restored=tuple(restored),
        sharp=None if target is None else Shown(label="sharp", pixels=to_8_bit(target), scores={}),
    )


def differing_regions(comparison: Comparison, *, count: int = AUTOMATIC_REGIONS) -> tuple[Region, ...]:
    """Where the results differ most among each other; from the blurred picture, if there is one result or all agree."""
    results = [as_rgb(shown.pixels) for shown in comparison.restored]
    if all(np.array_equal(results[0], other) for other in results[1:]):
        results = [as_rgb(comparison.blurry.pixels), results[0]]
    height, width = comparison.blurry.pixels.shape[:2]
    side = region_side(width, height, count=count)
    return find_regions(results, width=side, height=side, count=count)


def draw(comparison: Comparison, regions: Sequence[Region]) -> Pixels8:
    """All pictures side by side with regions enlarged and scores below, (H, W, 3).

    Raises UsageError for a region that does not lie inside the picture.
    """
    shown = [comparison.blurry, *comparison.restored, *([comparison.sharp] if comparison.sharp else [])]
    return side_by_side(
        [(item.label, item.pixels) for item in shown],
        captions=[_caption(comparison.metrics, item.scores) for item in shown],
        regions=regions,
    )


def _caption(metrics: Sequence[Metric], scores: Mapping[str, float]) -> str:
    return "   ".join(
        f"{metric.name.upper()} {format_value(metric, scores[metric.name])} {metric.unit}".strip()
        for metric in metrics
        if metric.name in scores
    )


def _size(picture: FloatPicture) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
