"""The eight ways to lay a picture, flips and quarter turns, for the geometric self-ensemble.

Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR Workshops 2017, section 3.4; before them
Timofte et al., "Seven Ways to Improve Example-Based Single Image Super Resolution", CVPR 2016.
"""

from dataclasses import dataclass
from itertools import product

from torch import Tensor

from deblur_cli.networks import Extent, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Rows and columns change places, then either are reversed: a quarter turn is the first and one of the others."""

    transposed: bool = False
    rows_reversed: bool = False
    columns_reversed: bool = False

    def there(self, x: Tensor) -> Tensor:
        """(..., H, W) -> the same laid so, (..., H, W) or (..., W, H); may be a view."""
        return self._reversed(x.transpose(-2, -1) if self.transposed else x)

    def back(self, y: Tensor) -> Tensor:
        """What undoes `there`."""
        y = self._reversed(y)
        return y.transpose(-2, -1) if self.transposed else y

    def window(self, window: Window, *, height: int, width: int) -> Window:
        """Where a window lies once its picture of that size, in pixels, is laid so."""
        rows, columns = window.rows, window.columns
        if self.transposed:
            rows, columns, height, width = columns, rows, width, height
        return Window(
            rows=_mirrored(rows, height) if self.rows_reversed else rows,
            columns=_mirrored(columns, width) if self.columns_reversed else columns,
        )

    def _reversed(self, x: Tensor) -> Tensor:
        axes = [-2] * self.rows_reversed + [-1] * self.columns_reversed
        return x.flip(axes) if axes else x


UPRIGHT = Turn()
TURNS = tuple(
    Turn(transposed=transposed, rows_reversed=rows, columns_reversed=columns)
    for transposed, rows, columns in product((False, True), repeat=3)
)
"""All eight, as the picture is first, and those of its own height and width before the others: fewer changes of shape."""


def _mirrored(extent: Extent, length: int) -> Extent:
    return Extent(
        read_start=length - extent.read_stop,
        read_stop=length - extent.read_start,
        keep_start=length - extent.keep_stop,
        keep_stop=length - extent.keep_start,
    )
