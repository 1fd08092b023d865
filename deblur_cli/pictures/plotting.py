"""What drawings by matplotlib (the extra `plots`) share: looks, colours, quiet, files that appear whole."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deblur_cli.errors import MissingError
from deblur_cli.pictures.atomic import atomic_write
from deblur_cli.pictures.picture import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
MISSING = "drawing curves needs the extra 'plots': pip install 'deblur-cli[plots]'"

# Okabe and Ito 2008, for every kind of colour vision; without their yellow, which is faint on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#6A6A6A"
_MARKERS = "osD^vP*X"

_LETTERS_PER_INCH = 16.5  # of a legend
_STYLE = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.formatter.useoffset": False,  # 28.1 and not 0.1 with "+2.8e1" in a corner
    "grid.alpha": 0.3,
    "legend.edgecolor": "none",
    "legend.fontsize": 8.5,
    "legend.markerscale": 0,
    "lines.linewidth": 1.6,
    "text.parse_math": False,  # names may hold dollar signs
    "svg.hashsalt": "deblur",  # the same run gives the same bytes
}


def write_figure(
    draw: "Callable[[], Figure]", target: Path, *, format: str = "png", overwrite: bool = True
) -> None:
    """Draw a figure and write it; it appears whole or not at all.

    Parameters
    ----------
    draw : makes the figure; called where matplotlib draws as we want
    format : one of FORMATS

    Raises
    ------
    MissingError : matplotlib is not installed
    UsageError, PictureError, NotEnoughRoomError : the file exists and must not be replaced, or cannot be written
    """
    with _matplotlib(), atomic_write(target, overwrite=overwrite) as part:
        figure = draw()
        stamps = {"png": "Software", "svg": "Date", "pdf": "CreationDate"}
        figure.savefig(part, format=format, metadata={stamps[format]: None})


def colour(number: int) -> str:
    """One after the other, then again."""
    return COLOURS[number % len(COLOURS)]


def look(number: int) -> dict[str, str]:
    """The colour of a curve or point, with another marker when the colours are used up."""
    return {"color": colour(number), "marker": _MARKERS[number // len(COLOURS) % len(_MARKERS)]}


def shortened(name: str, length: int = 36) -> str:
    """The name on one line, with its end kept where it is too long: names of runs and files differ there."""
    text = shown(name)
    return text if len(text) <= length else f"...{text[-length:]}"


def legend_columns(names: Sequence[str], *, width: float, most: int) -> int:
    """How many names stand beside each other in a legend as wide as the figure. width : of that, in inches"""
    each = max(map(len, names)) + 10  # 10: a stroke and the gaps beside it
    return max(1, min(int(width * _LETTERS_PER_INCH) // each, most, len(names)))


@contextmanager
def _matplotlib() -> Iterator[None]:
    """Inside, matplotlib draws as we want, whatever the user's own settings, and says nothing of fonts and caches."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of letters the font lacks, of texts too wide
            try:
                from matplotlib import style
            except ModuleNotFoundError as error:
                if error.name is not None and error.name.startswith("matplotlib"):
                    raise MissingError(MISSING) from error
                raise
            with style.context(["default", _STYLE]):
                yield
    finally:
        logger.setLevel(level)
