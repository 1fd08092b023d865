"""Consecutive frames of videos as they lie in folders, and the windows of frames that pairs are made of."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from deblur_cli.data.files import as_text, read_opaque
from deblur_cli.errors import MissingError, PictureError
from deblur_cli.pictures.formats import READABLE_EXTENSIONS
from deblur_cli.pictures.picture import Pixels

_NUMBER = re.compile(r"(.*?)(\d+)\D*", re.DOTALL)
_BLURRED = re.compile(r"blur.*")


@dataclass(frozen=True, slots=True)
class Run:
    """Frames without a gap. first : position of the first in its sequence; count : how many."""

    first: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSequence:
    """One clip.

    name : relative path or file name, parts separated by "/"
    runs : its frames without gaps, in order; frames are counted over all runs
    """

    name: str
    runs: tuple[Run, ...]

    @property
    def count(self) -> int:
        """Number of frames."""
        return sum(run.count for run in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Consecutive frames. index : of the window, over the whole source; sequence, first : positions; count : frames."""

    index: int
    sequence: int
    first: int
    count: int

    @property
    def centre(self) -> int:
        """Position of the middle frame in its sequence."""
        return self.first + self.count // 2


class FrameSource(Protocol):
    """Where frames come from."""

    def sequences(self) -> Sequence[FrameSequence]:
        """The clips, in a fixed order."""

    def frames(self, window: Window) -> list[Pixels]:
        """The frames of a window, each (H, W, C) of 8 or 16 bit, C = 1 or 3.

        Raises
        ------
        PictureError : one cannot be had, or the window runs over a gap
        """

    def frame_name(self, sequence: int, position: int) -> str:
        """What tells a frame from all others of the source."""

    def path(self, sequence: int, position: int) -> Path:
        """The file that a frame is in."""

    def close(self) -> None:
        """Close what is open; frames can still be asked for."""


def plan_windows(
    sequences: Sequence[FrameSequence], draw: Callable[[int], tuple[int, int]]
) -> Iterator[Window]:
    """All windows of a source, never over a gap.

    Parameters
    ----------
    draw : index of a window -> (frames in it, frames from its first to the next window's first); the index counts over
        the whole source, and what is drawn must depend on nothing else. A window that does not fit ends its run, and
        the next run starts with the same index
    """
    index = 0
    for number, sequence in enumerate(sequences):
        for run in sequence.runs:
            first, end = run.first, run.first + run.count
            count, step = draw(index)
            while first + count <= end:
                yield Window(index=index, sequence=number, first=first, count=count)
                index, first = index + 1, first + step
                count, step = draw(index)


def check_window(sequence: FrameSequence, window: Window) -> None:
    """Refuse a window that is not within one run.

    Raises
    ------
    PictureError : it runs over a gap or the end
    """
    end = window.first + window.count
    if not any(run.first <= window.first and end <= run.first + run.count for run in sequence.runs):
        raise PictureError(
            f"{sequence.name}: {window.count} frames from position {window.first} run over a gap in the frames' "
            "numbers or past the end"
        )


class FolderFrames:
    """Frames in files: each folder with numbered pictures is a clip, or several where the names before the number differ.

    The last number in a name counts. Folders of blurred pictures that have sharp ones beside them are left out
    (blur beside sharp, train_blur beside train_sharp).
    """

    def __init__(self, root: Path) -> None:
        """Look through a folder and its sub-folders, hidden ones left out.

        Raises
        ------
        MissingError : there is no such folder, or no picture in it
        PictureError : a picture's name holds no number, or two of one folder hold the same
        """
        if not root.is_dir():
            raise MissingError(f"there is no folder {root}")
        self._root = root
        self._clips: list[_Clip] = []
        for parent, folders, names in os.walk(root, followlinks=True):
            folders[:] = [name for name in folders if _is_wanted(name, folders)]
            self._clips += _clips_of(Path(parent), names, root)
        self._clips.sort(key=lambda clip: os.fsencode(clip.sequence.name))
        if not self._clips:
            raise MissingError(f"there are no pictures in {root}")

    def sequences(self) -> Sequence[FrameSequence]:
        """The clips, sorted by the bytes of their names."""
        return [clip.sequence for clip in self._clips]

    def frames(self, window: Window) -> list[Pixels]:
        """The frames of a window, (H, W, C) uint8 or uint16, C = 1 or 3.

        Raises
        ------
        PictureError : one cannot be read or is transparent, or the window runs over a gap
        """
        clip = self._clips[window.sequence]
        check_window(clip.sequence, window)
        names = clip.names[window.first : window.first + window.count]
        return [read_opaque(clip.folder / name) for name in names]

    def frame_name(self, sequence: int, position: int) -> str:
        """Relative path of a frame's file."""
        return as_text(self.path(sequence, position).relative_to(self._root))

    def path(self, sequence: int, position: int) -> Path:
        """A frame's file."""
        clip = self._clips[sequence]
        return clip.folder / clip.names[position]

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clip:
    """names : of files, in order of their numbers."""

    folder: Path
    names: tuple[str, ...]
    sequence: FrameSequence


def _is_wanted(name: str, siblings: Sequence[str]) -> bool:
    sharp = _BLURRED.sub("sharp", name)
    return not name.startswith(".") and (sharp == name or sharp not in siblings)


def _clips_of(folder: Path, names: Sequence[str], root: Path) -> Iterator[_Clip]:
    """The clips directly in a folder, one for each beginning of the names."""
    numbered: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for name in names:
        stem, extension = os.path.splitext(name)  # a Path of each name would keep all its parts for good
        if name.startswith(".") or extension.lower() not in READABLE_EXTENSIONS:
            continue
        found = _NUMBER.fullmatch(stem)
        if found is None:
            raise PictureError(
                f"cannot tell where {folder / name} belongs among the frames: its name holds no number; "
                "number it, or move it away"
            )
        numbered[found[1]].append((int(found[2]), name))
    for beginning, items in numbered.items():
        items.sort()
        for (number, name), (following, other) in pairwise(items):
            if number == following:
                raise PictureError(f"{folder / name} and {other} are both frame {number}; keep one of them")
        place = folder / beginning if beginning else folder
        name = root.resolve().name if place == root else as_text(place.relative_to(root))
        yield _Clip(
            folder=folder,
            names=tuple(name for _, name in items),
            sequence=FrameSequence(name=name, runs=runs_of([number for number, _ in items])),
        )


def runs_of(numbers: Sequence[int]) -> tuple[Run, ...]:
    """Rising numbers of frames, cut where one is missing."""
    starts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(numbers)) if b != a + 1)]
    ends = [*starts[1:], len(numbers)]
    return tuple(Run(start, end - start) for start, end in zip(starts, ends, strict=True) if end > start)
