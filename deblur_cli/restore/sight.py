"""What a network sees of a picture: window by window, as it lies or in all turns, and told of the whole where it needs that."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from deblur_cli.networks import Extent, PictureStatistics, Window
from deblur_cli.restore.arrays import Array
from deblur_cli.restore.calling import WindowCaller
from deblur_cli.restore.running import FloatPixels
from deblur_cli.restore.tiling import Span, TilePlan
from deblur_cli.restore.turns import Turn
from deblur_cli.restore.values import read_window, scale_of


class Sight:
    """One picture before a network.

    Parameters
    ----------
    call : the network
    image : (H, W, C), C = 1 or 3
    dtype : what the network computes in
    turns : each window is restored in all of these, and the result is their mean
    """

    def __init__(
        self, call: WindowCaller, image: Array, *, dtype: torch.dtype, turns: Sequence[Turn]
    ) -> None:
        self._call = call
        self._image = image
        self._dtype = dtype
        self._turns = turns
        self._statistics = PictureStatistics(call.module_for(dtype))
        self._whole: TilePlan | None = None
        self._told: dict[Turn, list[Any]] = {}

    @property
    def num_statistics(self) -> int:
        """How many layers take something from the whole picture."""
        return len(self._statistics)

    def look_at(self, whole: TilePlan, *, looks: int, exactly: bool, seen: Callable[[int], None]) -> None:
        """See the whole picture first: what its layers note of it holds for each window from then on, turn by turn.

        Parameters
        ----------
        whole : windows over the whole picture
        looks : at all of them, in each turn
        exactly : each look ends at the first layer that was told nothing yet
        seen : called with the number of windows seen so far, before each
        """
        self._whole = whole
        for number, turn in enumerate(self._turns):
            self._statistics.release()
            for look in range(number * looks, (number + 1) * looks):
                for done, (row, column) in enumerate(whole.tiles(), start=look * whole.num_tiles):
                    seen(done)
                    with self._statistics.noting(one_layer=exactly):
                        self._see(row, column, turn)
                if not self._statistics.tell():
                    break
            self._told[turn] = self._statistics.told

    def restore(self, row: Span, column: Span) -> FloatPixels:
        """A window restored, (h, w, C) in [0, 1], not clipped: the mean over all turns."""
        first, *others = self._turns
        if not others:
            return self._restored(row, column, first)
        mean = np.array(self._restored(row, column, first))
        for turn in others:
            mean += self._restored(row, column, turn)
        mean /= len(self._turns)
        return mean

    def close(self) -> None:
        """The network looks at what is there again."""
        self._statistics.release()

    def _restored(self, row: Span, column: Span, turn: Turn) -> FloatPixels:
        if turn in self._told:
            self._statistics.told = self._told[turn]
        return self._see(row, column, turn)

    def _see(self, row: Span, column: Span, turn: Turn) -> FloatPixels:
        if self._whole is not None:
            height, width = (spans[-1].read_stop for spans in (self._whole.rows, self._whole.columns))
            self._statistics.at(turn.window(self._window(row, column), height=height, width=width))
        window = read_window(self._image, row, column, scale=scale_of(self._image.dtype))
        return self._call(window, dtype=self._dtype, turn=turn)

    def _window(self, row: Span, column: Span) -> Window:
        """What layers are told of a window of a picture, which keeps the padding at the picture's end as well."""

        def extent(span: Span, length: int) -> Extent:
            return Extent(
                read_start=span.read_start,
                read_stop=span.read_stop,
                keep_start=span.keep_start,
                keep_stop=span.read_stop if span.keep_stop == length else span.keep_stop,
            )

        return Window(rows=extent(row, self._image.shape[0]), columns=extent(column, self._image.shape[1]))
