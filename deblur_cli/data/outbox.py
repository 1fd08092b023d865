"""Pictures on their way to the disk."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deblur_cli.data.files import encode_png, write_plainly
from deblur_cli.data.ledger import Ledger
from deblur_cli.errors import DeblurError, PictureError

HELD_BYTES = 500_000
"""Of pixels that wait."""


@dataclass(slots=True)
class Outbox:
    """Pairs that wait to be encoded and written, many small ones at a time, large ones at once.

    Blurring, encoding and writing each for many pairs in a row leaves the processor its caches, which takes a fifth off
    the time for pictures of 32 px.
    """

    ledger: Ledger
    _waiting: list[tuple[str, NDArray[np.uint8]]] = field(default_factory=list)
    _held: int = 0

    def put(self, name: str, *, blurry: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> None:
        """Take a pair in, (H, W, C) each. Raises as `flush` does."""
        for path, pixels in zip(self.ledger.pictures(name), (blurry, sharp), strict=True):
            self._waiting.append((path, pixels))
            self._held += pixels.nbytes
        if self._held > HELD_BYTES:
            self.flush()

    def take_back(self, names: Iterable[str]) -> None:
        """Forget pairs, or remove them where they were written."""
        unwanted = {path for name in names for path in self.ledger.pictures(name)}
        self._waiting = [item for item in self._waiting if item[0] not in unwanted]
        for path in unwanted:
            Path(path).unlink(missing_ok=True)

    def flush(self) -> None:
        """Write what waits.

        Raises
        ------
        NotEnoughRoomError : the disk is full
        DeblurError : the folder cannot be written; not a PictureError, since the picture at work now is not to blame
        """
        encoded = [(path, encode_png(pixels)) for path, pixels in self._waiting]
        self._waiting, self._held = [], 0
        for path, data in encoded:
            try:
                write_plainly(path, data)
            except PictureError as error:
                raise DeblurError(str(error)) from error
