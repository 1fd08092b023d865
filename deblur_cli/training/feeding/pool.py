"""Blurred patches kept for later epochs, in one file that all processes of a training share, also while they write.

It only saves time: what is not kept, or not there any more, is made again and comes out the same.
"""

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from deblur_cli.data.drawn import Latent

MAX_BYTES = 4 << 30

_HEAD = np.dtype(
    [("number", "<i8"), ("height", "<u2"), ("width", "<u2"), ("channels", "<u2"), ("crc", "<u4")]
)
_BYTES_A_VALUE = 3  # float16 blurred, uint8 sharp


class Pool:
    """Places of one size, each for the patch of one crop: the last one put there.

    Parameters
    ----------
    path : of the file, which `make` makes; it stays sparse
    side : greatest side of a patch, px
    max_bytes : of the file; places beyond it keep nothing
    """

    def __init__(self, path: Path, *, side: int, max_bytes: int) -> None:
        self.path = path
        self._step = _HEAD.itemsize + _BYTES_A_VALUE * 3 * side**2
        self._count = max_bytes // self._step

    def make(self) -> None:
        """Make the file, still empty. Who puts patches does not: a process may outlast the removal."""
        if self._count:
            with contextlib.suppress(OSError):
                self.path.touch()

    def get(self, place: int, number: int) -> "Latent | None":
        """The patch of a draw, None where the place holds none or that of another draw."""
        from deblur_cli.data.drawn import Latent

        if place >= self._count:
            return None
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(place * self._step)
                data = file.read(self._step)
        except OSError:
            return None
        if len(data) < _HEAD.itemsize:
            return None
        head = np.frombuffer(data, _HEAD, 1)[0]
        shape = (int(head["height"]), int(head["width"]), int(head["channels"]))
        count = shape[0] * shape[1] * shape[2]
        values = data[_HEAD.itemsize : _HEAD.itemsize + _BYTES_A_VALUE * count]
        if count == 0 or head["number"] != number or head["crc"] != crc32(values):
            return None  # a hole, another draw, or what a full disk cut short
        blurry, sharp = np.frombuffer(values, "<f2", count), np.frombuffer(values, np.uint8, count, 2 * count)
        return Latent(blurry=blurry.astype(np.float16).reshape(shape), sharp=sharp.reshape(shape))

    def put(self, place: int, number: int, latent: "Latent") -> None:
        """Keep the patch of a draw. A full disk is no failure: then it is not kept."""
        if place >= self._count:
            return
        values = latent.blurry.astype("<f2").tobytes() + latent.sharp.tobytes()
        head = np.array([(number, *latent.sharp.shape, crc32(values))], _HEAD)
        with contextlib.suppress(OSError), self.path.open("r+b", buffering=0) as file:
            file.seek(place * self._step)
            file.write(head.tobytes() + values)

    def remove(self) -> None:
        """Delete the file."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def pool_bytes(folder: Path) -> int:
    """What a pool may take: a quarter of the free disk at most, since checkpoints need room too."""
    return min(MAX_BYTES, shutil.disk_usage(folder).free // 4)
