"""Pairs that are made when they are asked for: a picture is blurred on the fly, with random numbers of its own."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.pipeline import Operations
from deblur_cli.blur.spec import Redraw, Spec, margin
from deblur_cli.data.framing import smallest
from deblur_cli.data.pairs import Pixels, SharpPicture
from deblur_cli.data.synthesis import Opened, develop, draw_pair, resized
from deblur_cli.errors import PictureError


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPair:
    """A sharp picture and how it is blurred. Equal seeds give equal pairs, whatever the order in which they are made.

    As a pair it is always the first draw, so that it can be measured on; training asks for `crop`.
    """

    picture: SharpPicture
    spec: Spec
    operations: Operations

    @property
    def name(self) -> str:
        """The picture's."""
        return self.picture.name

    @property
    def is_redrawn(self) -> bool:
        """Whether training shall blur it anew each time."""
        return self.spec.redraw is Redraw.EPOCH

    def size(self) -> tuple[int, int]:
        """Height and width in px of the pair."""
        if self.spec.patch is not None:
            return self.spec.patch
        return self.room()

    def room(self) -> tuple[int, int]:
        """Height and width in px out of which crops can be cut."""
        how = self.spec.resize
        height, width = (how.height, how.width) if how is not None else self.picture.size()
        edge = 2 * margin(self.spec, self.operations)
        return height - edge, width - edge

    def load(self) -> tuple[Pixels, Pixels]:
        """Blurry and sharp, both (H, W, 3) uint8.

        Raises
        ------
        PictureError : it cannot be read, or is too small
        """
        return self._make(self.spec, number=0)

    def crop(self, *, number: int, side: int) -> tuple[Pixels, Pixels]:
        """A crop, both (side, side, 3) uint8, placed and blurred by the draw of this number."""
        return self._make(replace(self.spec, patch=(side, side)), number=number)

    def _make(self, spec: Spec, *, number: int) -> tuple[Pixels, Pixels]:
        opened = resized(Opened(sharp=self.picture.load()), spec.resize)
        (height, width), (least_height, least_width) = opened.sharp.shape[:2], smallest(spec, self.operations)
        if height < least_height or width < least_width:
            raise PictureError(
                f"cannot use {self.name}: it is {width}x{height}, and {spec.name} needs {least_width}x{least_height}"
            )
        drawn = draw_pair(opened.sharp, spec, self.operations, index=self.picture.index, number=number)
        blurry, sharp, _ = develop(opened, drawn, self.operations, with_kernels=False)
        return _rgb(blurry), _rgb(sharp)


def _rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)
