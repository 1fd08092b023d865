"""Metrics made ready to measure: their functions, imported, and prepared where they must be."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deblur_cli.errors import DeblurError, PictureError
from deblur_cli.host.declarations import Metric, import_object

FloatPicture = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A metric and what computes it."""

    metric: Metric
    function: Callable[..., float]

    def of(self, picture: FloatPicture, sharp: FloatPicture) -> float:
        """The score of a picture, both (H, W, C) in [0, 1]; PictureError where it cannot be had."""
        seen = (picture, sharp) if self.metric.reference else (picture,)
        try:
            score = float(self.function(*map(_read_only, seen)))
        except DeblurError:
            raise
        except Exception as error:  # a plugin's function may raise anything, and give anything
            reason = (str(error).splitlines() or ["no message"])[0]
            raise PictureError(
                f"the metric {self.metric.name} failed: {type(error).__name__}: {reason}"
            ) from error
        if math.isnan(score):
            raise PictureError(f"the metric {self.metric.name} gave no number for this picture")
        return score


def _read_only(picture: FloatPicture) -> FloatPicture:
    """The same pixels, for eyes only: other metrics look at them, too."""
    view = picture.view()
    view.flags.writeable = False
    return view


def build_measures(
    metrics: Sequence[Metric], options: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[Measure, ...]:
    """The metrics, ready to measure.

    Parameters
    ----------
    options : by name of a metric, what it is prepared with

    Raises
    ------
    DeclarationError : a metric does not take such an option
    MissingError, UsageError : a file that it needs is not there, or holds something else
    """
    return tuple(_build(metric, (options or {}).get(metric.name, {})) for metric in metrics)


def _build(metric: Metric, options: Mapping[str, Any]) -> Measure:
    resolved = metric.resolve_options(options)
    made: Any = import_object(metric.function or metric.build)
    return Measure(metric=metric, function=made(**resolved) if metric.build else made)
