"""What one pair of pictures is measured for when a data set is checked."""

import hashlib
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from deblur_cli.blur.light import decode
from deblur_cli.blur.opencv import import_opencv
from deblur_cli.data.alignment import UNKNOWN_RMS_PX, Plane, Shift, estimate_shift
from deblur_cli.data.files import as_text
from deblur_cli.data.findings import Check, Finding, Level
from deblur_cli.data.pair_records import Recorded
from deblur_cli.data.pairs import FilePair, Pair
from deblur_cli.data.thumbnails import Thumbnail, thumbnail
from deblur_cli.errors import PictureError
from deblur_cli.pictures.picture import Picture
from deblur_cli.pictures.reading import read_picture

_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_LEAST_GRADIENT = 1e-6  # levels^2; below this there is nothing to compare


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A pair after looking at it. Numbers are None where the pair could not be compared.

    brightness : mean grey of the blurred picture less that of the sharp one, in levels of 255
    excess : log2 of the energy of gradients, blurred over sharp, after a slight blur of both: below 0 for a pair in order
    surplus : by how much this energy of the blurred picture is greater, in levels^2
    """

    faults: tuple[Finding, ...] = ()
    identical: bool = False
    brightness: float | None = None
    excess: float | None = None
    surplus: float | None = None
    shift: Shift | None = None
    thumbnail: Thumbnail | None = None


@dataclass(frozen=True)
class _Side:
    """One picture of a pair. label : how messages call it."""

    picture: Picture
    label: str = field(default="")

    @cached_property
    def grey(self) -> Plane:
        """(H, W) float32 in [0, 255]."""
        pixels = self.picture.pixels
        values = pixels.astype(np.float32)
        if pixels.dtype == np.uint16:
            values /= 257  # 65535 / 255
        plane: Plane = values[..., 0] if values.shape[2] == 1 else values @ _GREY
        return plane

    @property
    def size(self) -> str:
        return f"{self.picture.width}x{self.picture.height}"

    @property
    def kind(self) -> str:
        colour = "grey" if self.picture.pixels.shape[2] == 1 else "colour"
        alpha = "" if self.picture.alpha is None else " with alpha"
        return f"{self.picture.bits}-bit {colour}{alpha}"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(np.ascontiguousarray(self.picture.pixels).data).hexdigest()


def measure(pair: Pair, recorded: Recorded | None) -> Measured:
    """Read a pair and measure it.

    Raises
    ------
    MissingError : OpenCV is not there
    """
    try:
        blurry, sharp = _read(pair)
    except PictureError as error:
        fault = Finding(check=Check.UNREADABLE, level=Level.FAIL, text=str(error), files=files_of(pair))
        return Measured(faults=(fault,))
    faults = [*_compare_kinds(pair, blurry, sharp), *_compare_record(pair, blurry, sharp, recorded)]
    if blurry.grey.shape != sharp.grey.shape:
        return Measured(faults=tuple(faults), thumbnail=thumbnail(sharp.grey))
    excess, surplus = _sharpness(blurry.grey, sharp.grey)
    return Measured(
        faults=tuple(faults),
        identical=np.array_equal(blurry.grey, sharp.grey),
        brightness=float(blurry.grey.mean(dtype=np.float64) - sharp.grey.mean(dtype=np.float64)),
        excess=excess,
        surplus=surplus,
        shift=_shift(blurry, sharp, recorded),
        thumbnail=thumbnail(sharp.grey),
    )


def files_of(pair: Pair) -> tuple[str, ...]:
    """The two files of a pair, blurred and sharp, or its name where it is not in files."""
    if isinstance(pair, FilePair):
        return as_text(pair.blurry), as_text(pair.sharp)
    return (pair.name,)


def _read(pair: Pair) -> tuple[_Side, _Side]:
    if isinstance(pair, FilePair):
        sides = [_Side(_read_file(path), as_text(path)) for path in (pair.blurry, pair.sharp)]
        return sides[0], sides[1]
    blurry, sharp = pair.load()
    return _Side(Picture(pixels=blurry), "the blurred picture"), _Side(Picture(pixels=sharp), "the sharp one")


def _read_file(path: Path) -> Picture:
    try:
        return read_picture(path)
    except OSError as error:
        raise PictureError(f"cannot read {path}: {error.strerror or error}") from error


def _compare_kinds(pair: Pair, blurry: _Side, sharp: _Side) -> list[Finding]:
    compared = ((Check.SIZE, blurry.size, sharp.size), (Check.MODE, blurry.kind, sharp.kind))
    return [
        Finding(
            check=check,
            level=Level.FAIL,
            text=f"{blurry.label} is {first}, {sharp.label} is {second}",
            files=files_of(pair),
        )
        for check, first, second in compared
        if first != second
    ]


def _compare_record(pair: Pair, blurry: _Side, sharp: _Side, recorded: Recorded | None) -> list[Finding]:
    """Whether both pictures are those that were made, and each in its place."""
    if recorded is None:
        return []
    found, made = (blurry.sha256, sharp.sha256), (recorded.blurry_sha256, recorded.sharp_sha256)
    if found == made:
        return []
    if found == made[::-1]:
        text = f"{blurry.label} and {sharp.label} are exchanged: each is what was made as the other"
        return [Finding(check=Check.SWAPPED, level=Level.FAIL, text=text, files=files_of(pair))]
    changed = [
        side.label for side, one, other in zip((blurry, sharp), found, made, strict=True) if one != other
    ]
    text = f"{' and '.join(changed)} {'is' if len(changed) == 1 else 'are'} not what was made, by the SHA-256 in meta.jsonl"
    return [Finding(check=Check.RECORD, level=Level.FAIL, text=text, files=tuple(changed))]


def _sharpness(blurry: Plane, sharp: Plane) -> tuple[float | None, float | None]:
    """Excess and surplus; None where either picture is flat."""
    if min(sharp.shape) < 2:
        return None, None
    own, other = (_gradient_energy(plane) for plane in (blurry, sharp))
    if min(own, other) < _LEAST_GRADIENT:
        return None, None
    return math.log2(own / other), own - other


def _shift(blurry: _Side, sharp: _Side, recorded: Recorded | None) -> Shift | None:
    """In the light in which the pair was blurred, code values where that is not known."""
    if recorded is None or not recorded.is_centred:
        return estimate_shift(sharp.grey, blurry.grey)
    first, second = (
        np.float32(255) * decode(side.grey / np.float32(255), recorded.light) for side in (sharp, blurry)
    )
    return estimate_shift(
        first, second, rms_px=UNKNOWN_RMS_PX if recorded.rms_px is None else recorded.rms_px
    )


def _gradient_energy(plane: Plane) -> float:
    smooth: Plane = import_opencv().GaussianBlur(plane, (0, 0), 1.0)
    return float(np.mean([np.mean(np.square(np.diff(smooth, axis=axis))) for axis in (0, 1)]))
