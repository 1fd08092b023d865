"""The frame of a pair: resizing before everything, the piece that is cut out, mirroring, and tiles."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.borders import Border, Window
from deblur_cli.blur.distributions import Integers
from deblur_cli.blur.opencv import import_opencv
from deblur_cli.blur.pipeline import Operations, Streams
from deblur_cli.blur.randomness import PAIR_SLOT, Role
from deblur_cli.blur.spec import Filter, Resize, Spec, margin, reach
from deblur_cli.pictures.picture import Pixels

Picture = NDArray[Any]  # uint8, uint16 or float32

Box = tuple[slice, slice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A piece of a picture, in px: what is kept, and what the steps see besides.

    top, left, height, width : of what is kept
    seen : px beyond it that the steps see, at the top, right, bottom and left
    flips : whether the pair is mirrored upside down, and left to right
    """

    whole_height: int
    whole_width: int
    top: int = 0
    left: int = 0
    height: int
    width: int
    seen: tuple[int, int, int, int] = (0, 0, 0, 0)
    flips: tuple[bool, bool] = (False, False)

    @property
    def window(self) -> Window:
        """Where that which the steps see lies in the whole picture."""
        top, left = self.top - self.seen[0], self.left - self.seen[3]
        return Window(whole_height=self.whole_height, whole_width=self.whole_width, top=top, left=left)

    def cut(self, picture: Picture) -> Picture:
        """What the steps see of a whole picture; beyond its edge the outermost pixels go on."""
        above, right, below, left = self.seen
        top, bottom = self.top - above, self.top + self.height + below
        first, last = self.left - left, self.left + self.width + right
        piece = picture[max(top, 0) : bottom, max(first, 0) : last]
        if piece.shape[:2] == (bottom - top, last - first):
            return piece
        rows = max(-top, 0), max(bottom - self.whole_height, 0)
        columns = max(-first, 0), max(last - self.whole_width, 0)
        return np.pad(piece, (rows, columns, (0, 0)), mode="edge")

    def keep(self, piece: Picture) -> Picture:
        """What is kept of what the steps saw, mirrored as drawn."""
        top, _, _, left = self.seen
        kept = piece[top : top + self.height, left : left + self.width]
        upside_down, mirrored = self.flips
        if upside_down:
            kept = kept[::-1]
        return kept[:, ::-1] if mirrored else kept

    def as_record(self) -> dict[str, Any]:
        """The frame as a JSON object: sizes and offsets as [x, y]; the margin as one number where it is one."""
        margins = self.seen[0] if len(set(self.seen)) == 1 else list(self.seen)
        return {
            "size": [self.width, self.height],
            "margin": margins,
            "offset": [self.left, self.top],
            "full_size": [self.whole_width, self.whole_height],
            **({"flips": list(self.flips)} if any(self.flips) else {}),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Place":
        """The frame that a record describes. Raises KeyError, TypeError or ValueError where it makes no sense."""
        (width, height), (left, top), (whole_width, whole_height) = (
            record[name] for name in ("piece" if "piece" in record else "size", "offset", "full_size")
        )
        margins = record["margin"]
        top_, right, bottom, left_ = [margins] * 4 if isinstance(margins, int) else margins
        upside_down, mirrored = record.get("flips", (False, False))
        return cls(
            whole_height=whole_height, whole_width=whole_width, top=top, left=left, height=height, width=width,
            seen=(top_, right, bottom, left_), flips=(upside_down, mirrored),
        )  # fmt: skip


def smallest(spec: Spec, operations: Operations) -> tuple[int, int]:
    """Height and width in px that a picture must have at least, after resizing."""
    edge = 2 * margin(spec, operations)
    height, width = spec.patch or spec.grid or (1, 1)
    return height + edge, width + edge


def draw_place(picture: Pixels, spec: Spec, operations: Operations, *, streams: Streams) -> Place:
    """Where a pair is cut from a picture at least as large as `smallest`.

    With the border crop-valid nothing nearer to the picture's edge than the margin is kept. Else a patch sees its
    surroundings as far as there are any, so that it is blurred as it would be within the whole picture.
    """
    whole_height, whole_width = picture.shape[:2]
    edge = margin(spec, operations)
    height, width = spec.patch or (whole_height - 2 * edge, whole_width - 2 * edge)
    top, left, flips = edge, edge, (False, False)
    if spec.patch is not None or spec.flips:
        rng = streams(slot=PAIR_SLOT, role=Role.PARAMETERS)
        top, left = _corner(picture, spec, rng, height=height, width=width, edge=edge)
        if spec.flips:
            flips = (bool(rng.random() < 0.5), bool(rng.random() < 0.5))
    room = (top, whole_width - left - width, whole_height - top - height, left)
    if spec.border is not Border.REFLECT101:
        far = edge if spec.border is Border.CROP_VALID else reach(spec, operations)
        seen = (far, far, far, far)
    elif any(room):  # the steps mirror by themselves where the picture ends
        far = reach(spec, operations)
        seen = (min(far, room[0]), min(far, room[1]), min(far, room[2]), min(far, room[3]))
    else:
        seen = (0, 0, 0, 0)
    return Place(
        whole_height=whole_height, whole_width=whole_width, top=top, left=left, height=height, width=width,
        seen=seen, flips=flips,
    )  # fmt: skip


def resize(picture: Picture, how: Resize | None) -> Picture:
    """Picture picture of the size asked for; half-pixel centres. None = as it is.

    Without `antialias` each pixel mixes 2 (bilinear) or 4 (bicubic) neighbours an axis, as cv2.resize and
    torch's interpolate do; with it, as many as the reduction takes in.
    """
    if how is None:
        return picture
    height, width = how.target(*picture.shape[:2])
    if picture.shape[:2] == (height, width):
        return picture
    size = width, height
    if how.antialias and how.filter in (Filter.BILINEAR, Filter.BICUBIC):
        from PIL import Image

        resample = {Filter.BILINEAR: Image.Resampling.BILINEAR, Filter.BICUBIC: Image.Resampling.BICUBIC}
        planes = [
            np.asarray(Image.fromarray(plane.astype(np.float32)).resize(size, resample[how.filter]))
            for plane in np.moveaxis(picture, 2, 0)
        ]
        return _rounded(np.stack(planes, axis=2), like=picture)
    cv2 = import_opencv()
    flags = {
        Filter.BILINEAR: cv2.INTER_LINEAR, Filter.AREA: cv2.INTER_AREA, Filter.BICUBIC: cv2.INTER_CUBIC,
        Filter.NEAREST: cv2.INTER_NEAREST_EXACT,
    }  # fmt: skip
    try:
        resized = cv2.resize(picture.astype(np.float32), size, interpolation=flags[how.filter])
    except cv2.error as error:
        if error.code != cv2.Error.StsNoMem:
            raise
        raise MemoryError(f"a picture of {width}x{height}") from error
    return _rounded(resized.reshape(height, width, picture.shape[2]), like=picture)


def tiles(height: int, width: int, grid: tuple[int, int] | None) -> list[Box]:
    """Equal tiles of a picture, row by row; what does not fill a tile at the right and the bottom is left out."""
    rows, columns = grid or (1, 1)
    tall, wide = height // rows, width // columns
    return [
        (slice(row * tall, (row + 1) * tall), slice(column * wide, (column + 1) * wide))
        for row in range(rows)
        for column in range(columns)
    ]


def _corner(
    picture: Pixels, spec: Spec, rng: np.random.Generator, *, height: int, width: int, edge: int
) -> tuple[int, int]:
    """Top and left of what is kept: of several candidates the one with most detail."""
    whole_height, whole_width = picture.shape[:2]
    places = []
    for _ in range(spec.candidates):
        left = int(Integers(edge, whole_width - width - edge).sample(rng, 0))
        places.append((int(Integers(edge, whole_height - height - edge).sample(rng, 0)), left))

    def detail(place: tuple[int, int]) -> float:
        rows, columns = (
            slice(at - edge, at + side + edge) for at, side in zip(place, (height, width), strict=True)
        )
        piece = picture[rows, columns].mean(axis=2)
        return float(np.abs(np.diff(piece, axis=0)).mean() + np.abs(np.diff(piece, axis=1)).mean())

    return places[0] if len(places) == 1 else max(places, key=detail)


def _rounded(values: NDArray[Any], *, like: Picture) -> Picture:
    if not np.issubdtype(like.dtype, np.integer):
        return values.astype(like.dtype)
    rounded: Picture = np.rint(np.clip(values, 0, np.iinfo(like.dtype).max)).astype(like.dtype)
    return rounded
