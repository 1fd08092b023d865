"""CIFAR-10 (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009): 60,000 pictures of 32 x 32 px.

Read from the binary version, or from class folders of picture files. Labels are left aside.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deblur_cli.data import CIFAR10_LAYOUT
from deblur_cli.data.lazy import Lazy
from deblur_cli.data.listing import list_names
from deblur_cli.data.pairs import SharpPicture
from deblur_cli.data.photographs import pictures_named
from deblur_cli.errors import MissingError, PictureError

_log = logging.getLogger(__name__)

SIDE_PX = 32
BATCH = 10_000
"""Pictures in a whole batch."""

_PIXELS = 3 * SIDE_PX**2
_RECORD = 1 + _PIXELS  # the label, then the planes red, green and blue, each row by row
_FOLDER = "cifar-10-batches-bin"
_BATCHES = {
    "train": ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"),
    "test": ("test_batch",),
}
_ALL = (*_BATCHES["train"], *_BATCHES["test"])
_AGAIN = "get it again: deblur datasets get cifar10"


@dataclass(frozen=True, slots=True, kw_only=True)
class CifarPicture:
    """A picture of a batch file. record : its place there, from 0."""

    file: Path
    record: int

    @property
    def name(self) -> str:
        """Such as data_batch_1/00042."""
        return f"{self.file.stem}/{self.record:05d}"

    @property
    def group(self) -> str:
        """The picture itself: no two of them belong together."""
        return self.name

    @property
    def index(self) -> int:
        """Its place among all 60,000, whichever batches are there: data_batch_1 to 5, then test_batch."""
        return _ALL.index(self.file.stem) * BATCH + self.record

    @property
    def part(self) -> str:
        """train or test."""
        return "test" if self.file.stem in _BATCHES["test"] else "train"

    def size(self) -> tuple[int, int]:
        """Height and width in px."""
        return SIDE_PX, SIDE_PX

    def load(self) -> NDArray[np.uint8]:
        """(32, 32, 3) uint8.

        Raises
        ------
        PictureError : the batch cannot be read any more
        """
        try:
            # Opened for each picture: a mapped file would count as memory, up to all of it.
            with open(self.file, "rb", buffering=0) as batch:
                batch.seek(self.record * _RECORD)
                data = batch.read(_RECORD)
        except OSError as error:
            raise PictureError(f"cannot read {self.name} in {self.file}: {error.strerror}") from error
        if len(data) < _RECORD:
            raise PictureError(f"cannot read {self.name} in {self.file}: the file ends before it; {_AGAIN}")
        planes = _planes(np.frombuffer(data, np.uint8))[0]
        return np.ascontiguousarray(planes.transpose(1, 2, 0))


def pictures(root: Path, split: str) -> Sequence[SharpPicture]:
    """The pictures of an official part, whose batches may be incomplete; a warning then says so.

    Parameters
    ----------
    root : the folder of the batch files, its parent, or a folder with train/CLASS/ and test/CLASS/
    split : "train" or "test"

    Raises
    ------
    MissingError : there is neither
    PictureError : a batch file was cut short
    """
    folder = batch_folder(root)
    if folder is not None:
        return _in_batches(folder, split)
    found = _in_class_folders(root, split)
    if not found:
        raise MissingError(
            f"no pictures for the split {split} in CIFAR-10\n  expected: {root}/{CIFAR10_LAYOUT}\n"
            f"  looked in: {root}, {root / _FOLDER}"
        )
    return found


def batch_folder(root: Path) -> Path | None:
    """The folder of batch files that `root` is or holds, None where there is none."""
    for folder in (root, root / _FOLDER):
        if any((folder / f"{name}.bin").is_file() for name in _ALL):
            return folder
    return None


def batch_files(folder: Path, split: str) -> list[Path]:
    """The batch files of an official part that are there, in their order."""
    files = [folder / f"{name}.bin" for name in _BATCHES[split]]
    return [file for file in files if file.is_file()]


def read_batch(file: Path) -> NDArray[np.uint8]:
    """All pictures of a batch file, (N, 32, 32, 3) uint8, for those who want them all: one read, one copy.

    Raises
    ------
    PictureError : it cannot be read, or was cut short
    """
    count = _count(file)
    try:
        records = np.fromfile(file, np.uint8, count * _RECORD)
    except OSError as error:
        raise PictureError(f"cannot read {file}: {(error.strerror or str(error)).lower()}") from error
    return np.ascontiguousarray(_planes(records).transpose(0, 2, 3, 1))


def _in_batches(folder: Path, split: str) -> Sequence[CifarPicture]:
    files = batch_files(folder, split)
    if not files:
        raise MissingError(
            f"no pictures for the split {split} in CIFAR-10: {folder} holds no {_BATCHES[split][0]}.bin; {_AGAIN}"
        )
    counts = [_count(file) for file in files]
    if len(files) < len(_BATCHES[split]):
        _log.warning(
            "CIFAR-10 in %s is incomplete: %d of %d batches for %s",
            folder, len(files), len(_BATCHES[split]), split,
        )  # fmt: skip
    for file, count in zip(files, counts, strict=True):
        if count < BATCH:
            _log.warning("%s holds %d of %d pictures", file, count, BATCH)
    # Numbers are batch * 10000 + record, so that a number alone says which picture it is.
    numbers = [range(at * BATCH, at * BATCH + count) for at, count in enumerate(counts)]
    return Lazy(_joined(numbers), partial(_picture, tuple(files)))


def _picture(files: Sequence[Path], number: int) -> CifarPicture:
    batch, record = divmod(int(number), BATCH)
    return CifarPicture(file=files[batch], record=record)


def _joined(ranges: Sequence[range]) -> Sequence[int]:
    """One sequence of all numbers; a range where they are without a gap."""
    if all(len(item) == BATCH for item in ranges[:-1]):
        return range(ranges[0].start, ranges[-1].stop)
    return [number for item in ranges for number in item]


def _in_class_folders(root: Path, split: str) -> Sequence[SharpPicture]:
    """Those of one part; their index is the place among the sorted names of both."""
    names = [
        part.encode() + b"/" + name
        for part in sorted(_BATCHES)
        if (root / part).is_dir()
        for name in list_names(root / part)
        if b"/" in name
    ]
    wanted = [at for at, name in enumerate(names) if name.startswith(f"{split}/".encode())]
    if not wanted:
        return []
    return pictures_named(root, names)[wanted[0] : wanted[-1] + 1]


def _count(file: Path) -> int:
    """How many pictures a batch file holds."""
    try:
        size = file.stat().st_size
    except OSError as error:
        raise PictureError(f"cannot read {file}: {(error.strerror or str(error)).lower()}") from error
    count, rest = divmod(size, _RECORD)
    if rest or not 0 < count <= BATCH:
        raise PictureError(
            f"cannot use {file}: it holds {size} bytes, not the {BATCH * _RECORD} of a batch of CIFAR-10; {_AGAIN}"
        )
    return count


def _planes(records: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, 3, 32, 32) of the bytes of N records."""
    return records.reshape(-1, _RECORD)[:, 1:].reshape(-1, 3, SIDE_PX, SIDE_PX)
