"""What pairs can be made of: photographs, CIFAR-10, ready pairs, frames of videos; in an order that decides their numbers.

A source lists items, its opener reads them. The two are apart because the listing of a million names stays in one
process, while each worker needs an opener.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from deblur_cli.blur.frame_average import FrameAverage, average_window
from deblur_cli.blur.light import parse_light
from deblur_cli.blur.params import from_record
from deblur_cli.blur.pipeline import Operations, Taken, draw_steps
from deblur_cli.blur.randomness import generator
from deblur_cli.blur.spec import Resize, SourceKind, Spec
from deblur_cli.data.cifar10 import CifarPicture, batch_files, batch_folder
from deblur_cli.data.cifar10 import pictures as cifar_pictures
from deblur_cli.data.files import as_text, read_opaque
from deblur_cli.data.frames import FrameSource, Window, plan_windows
from deblur_cli.data.framing import resize
from deblur_cli.data.listing import list_names, path_of, text_of
from deblur_cli.data.pairs import FilePair
from deblur_cli.data.photographs import pictures_named
from deblur_cli.data.prepared import parted
from deblur_cli.data.sets import open_pairs
from deblur_cli.data.splits import SPLITS
from deblur_cli.data.synthesis import Opened, sha256_of
from deblur_cli.data.video import VIDEO_EXTENSIONS, open_frames
from deblur_cli.errors import MissingError, PictureError, UsageError
from deblur_cli.host.manager import Host
from deblur_cli.pictures.picture import Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to make pairs of.

    index : what its random numbers depend on; name : what records call it, a relative path
    part : "train", "val" or "test" where the source says so, None where it does not
    key : by which its opener finds it (`Any`: each opener has its own)
    """

    index: int
    name: str
    part: str | None = None
    key: Any = None


class Opener(Protocol):
    """Reads items; small enough to be sent to every process."""

    def open(self, item: Item) -> Opened:
        """The picture, and where it came from.

        Raises
        ------
        PictureError : it cannot be read
        """

    def find(self, record: Mapping[str, Any]) -> Item:
        """The item that a record was made of.

        Raises
        ------
        MissingError : it is not there any more
        """


class Source(Protocol):
    """A sorted list of items."""

    @property
    def opener(self) -> Opener:
        """Reads what is listed."""

    def __len__(self) -> int:
        """How many items there are."""

    def items(self, start: int, stop: int) -> list[Item]:
        """The items from position `start` up to `stop`."""

    @property
    def parts(self) -> frozenset[str]:
        """The parts it has."""

    def describe(self) -> dict[str, str]:
        """Kind, path, and a hash of what is listed, as a JSON object."""


@dataclass(frozen=True, slots=True)
class PictureOpener:
    """Pictures below a folder. key : relative path as bytes."""

    root: Path

    def open(self, item: Item) -> Opened:
        """Read a picture."""
        path = path_of(self.root, item.key)
        pixels, digest = _read(path)
        return Opened(sharp=pixels, record={"source": item.name, "source_sha256": digest})

    def find(self, record: Mapping[str, Any]) -> Item:
        """The file of that name."""
        name = record["source"]
        key = name.encode()
        if not (self.root / name).is_file():  # a name that is no text was escaped
            key = next((found for found in list_names(self.root) if text_of(found) == name), b"")
        if not key:
            raise MissingError(f"{record['name']} was made of {self.root / name}, which is not there")
        return Item(index=record["index"], name=name, key=key)


class Pictures:
    """A folder of photographs, or one photograph."""

    def __init__(self, root: Path) -> None:
        """List the pictures. Raises MissingError where there are none."""
        self._root = root
        self._names = list_names(root) if root.is_dir() else _single(root)
        if not self._names:
            raise MissingError(f"no pictures in {root}")
        folder = root if root.is_dir() else root.parent
        self.opener = PictureOpener(folder)
        self._pictures = pictures_named(folder, self._names)
        firsts = {name.partition(b"/")[0] for name in self._names if b"/" in name}
        self.parts = frozenset(part for part in SPLITS if part.encode() in firsts)

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self._names)

    def items(self, start: int, stop: int) -> list[Item]:
        """Pictures by their position."""
        pictures = (self._pictures[index] for index in range(start, min(stop, len(self))))
        return [Item(index=item.index, name=item.name, part=item.part, key=item.file) for item in pictures]

    def describe(self) -> dict[str, str]:
        """Kind, path and names."""
        return _described(SourceKind.IMAGES, self._root, self._names)


@dataclass(frozen=True, slots=True)
class CifarOpener:
    """CIFAR-10. key : (file, record)."""

    folder: Path

    @classmethod
    def of(cls, root: Path) -> "CifarOpener":
        """For the batch files in a folder. Raises MissingError where there are none."""
        folder = batch_folder(root)
        if folder is None:
            raise MissingError(f"there are no batch files of CIFAR-10 in {root}")
        return cls(folder)

    def open(self, item: Item) -> Opened:
        """Read a picture; its hash is that of its pixels."""
        file, record = item.key
        pixels = CifarPicture(file=file, record=record).load()
        return Opened(sharp=pixels, record={"source": item.name, "source_sha256": sha256_of(pixels)})

    def find(self, record: Mapping[str, Any]) -> Item:
        """The picture of that name, such as data_batch_1/00042."""
        batch, _, number = record["source"].partition("/")
        key = self.folder / f"{batch}.bin", int(number)
        return Item(index=record["index"], name=record["source"], key=key)


class Cifar:
    """CIFAR-10 in its official binary files."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.opener = CifarOpener(folder)
        self._root = root
        parts = [cifar_pictures(folder, part) for part in ("train", "test") if batch_files(folder, part)]
        self._sets = parts
        self._count = sum(map(len, parts))
        self.parts = frozenset(part for part in ("train", "test") if batch_files(folder, part))

    def __len__(self) -> int:
        """How many pictures there are."""
        return self._count

    def items(self, start: int, stop: int) -> list[Item]:
        """Pictures by their position: the training batches, then the test batch."""
        found: list[Item] = []
        before = 0
        for part in self._sets:
            for position in range(max(start - before, 0), min(stop - before, len(part))):
                picture = part[position]
                assert isinstance(picture, CifarPicture)
                key = picture.file, picture.record
                found.append(Item(index=picture.index, name=picture.name, part=picture.part, key=key))
            before += len(part)
        return found

    def describe(self) -> dict[str, str]:
        """Kind, path and batches."""
        folder = self.opener.folder
        files = [file.name.encode() for part in ("train", "test") for file in batch_files(folder, part)]
        return _described(SourceKind.CIFAR10, self._root, files)


@dataclass(frozen=True, slots=True)
class PairOpener:
    """Pairs in two files each. key : (blurry, sharp) paths."""

    root: Path

    def open(self, item: Item) -> Opened:
        """Read both pictures."""
        blurry_path, sharp_path = item.key
        (blurry, blurry_digest), (sharp, digest) = _read(blurry_path), _read(sharp_path)
        if blurry.shape != sharp.shape or blurry.dtype != sharp.dtype:
            raise PictureError(
                f"cannot use the pair {item.name}: {blurry_path} is {_kind(blurry)}, {sharp_path} is {_kind(sharp)}"
            )
        record = {
            "source": item.name, "source_sha256": digest,
            "source_blurry": self._name(blurry_path), "source_blurry_sha256": blurry_digest,
        }  # fmt: skip
        return Opened(sharp=sharp, blurry=blurry, record=record)

    def find(self, record: Mapping[str, Any]) -> Item:
        """The two files."""
        key = self.root / record["source_blurry"], self.root / record["source"]
        for path in key:
            if not path.is_file():
                raise MissingError(f"{record['name']} was made of {path}, which is not there")
        return Item(index=record["index"], name=record["source"], key=key)

    def _name(self, path: Path) -> str:
        return as_text(path.relative_to(self.root))


class Pairs:
    """Ready pairs, of which only the frame is changed. pairs : by part, in any order."""

    def __init__(self, root: Path, pairs: Mapping[str | None, Sequence[FilePair]]) -> None:
        self._root = root
        self.opener = PairOpener(root)
        self._pairs = parted(pairs, root=root)
        self.parts = frozenset(item.part for item in self._pairs if item.part is not None)

    def __len__(self) -> int:
        """How many pairs there are."""
        return len(self._pairs)

    def items(self, start: int, stop: int) -> list[Item]:
        """Pairs by their position."""
        items = []
        for found in self._pairs[start:stop]:
            assert isinstance(found.pair, FilePair)
            key = found.pair.blurry, found.pair.sharp
            items.append(Item(index=found.index, name=found.source, part=found.part, key=key))
        return items

    def describe(self) -> dict[str, str]:
        """Kind, path and names."""
        return _described(SourceKind.PAIRS, self._root, (item.source.encode() for item in self._pairs))


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOpener:
    """Windows of frames. key : (window, the step that averages it, as it was drawn)."""

    frames: FrameSource
    size: Resize | None

    def open(self, item: Item) -> Opened:
        """Average the frames of a window, after resizing them."""
        window, step = item.key
        frames = [resize(frame, self.size) for frame in self.frames.frames(window)]
        averaged = average_window(frames, step.params, step.light)
        names = [
            self.frames.frame_name(window.sequence, window.first + position)
            for position in range(window.count)
        ]
        record = {
            "source": item.name,
            "source_sha256": hashlib.sha256(b"".join(np.ascontiguousarray(frame).data for frame in frames)).hexdigest(),
            "frames": [names[0], names[-1]],
            "window": [window.sequence, window.first, window.count],
        }  # fmt: skip
        return Opened(
            sharp=frames[len(frames) // 2], blurry=averaged.image, light=averaged.light, record=record,
            averaged=(step, averaged.info),
        )  # fmt: skip

    def find(self, record: Mapping[str, Any]) -> Item:
        """The window, averaged as it was."""
        sequence, first, count = record["window"]
        step = record["steps"][0]
        light = parse_light(step.get("light", record["light"]), folder=Path())
        params = from_record(FrameAverage, step["params"])
        taken = Taken(slot=step["slot"], op=step["op"], params=params, light=light)
        window = Window(index=record["index"], sequence=sequence, first=first, count=count)
        return Item(index=record["index"], name=record["source"], key=(window, taken))


class Windows:
    """Windows of consecutive frames, drawn by the spec's first step."""

    def __init__(self, root: Path, frames: FrameSource, spec: Spec, operations: Operations) -> None:
        self._root = root
        self.opener = WindowOpener(frames=frames, size=spec.resize)
        self._frames, self._spec, self._operations = frames, spec, operations
        self.parts: frozenset[str] = frozenset()
        self._windows = list(plan_windows(frames.sequences(), self._draw))
        if not self._windows:
            raise MissingError("no sequence has as many consecutive frames as the window takes")

    def __len__(self) -> int:
        """How many windows there are."""
        return len(self._windows)

    def items(self, start: int, stop: int) -> list[Item]:
        """Windows by their position."""
        return [
            Item(
                index=window.index,
                name=self._frames.frame_name(window.sequence, window.centre),
                key=(window, self._step(window.index)),
            )
            for window in self._windows[start:stop]
        ]

    def describe(self) -> dict[str, str]:
        """Kind, path and windows."""
        windows = [repr((window.sequence, window.first, window.count)).encode() for window in self._windows]
        return _described(SourceKind.FRAMES, self._root, windows)

    def _draw(self, index: int) -> tuple[int, int]:
        params = self._step(index).params
        return params.window, params.step

    def _step(self, index: int) -> Taken:
        """The first step of the spec, drawn for one window."""
        streams = partial(generator, self._spec.seed, index=index, draw=0)
        return draw_steps(self._spec, self._operations, streams=streams, number=0)[0]


def open_source(path: Path, spec: Spec, host: Host) -> Source:
    """What pairs are made of, by the kind that the spec asks for; CIFAR-10's batch files are known by themselves.

    Parameters
    ----------
    path : a folder, a picture, a video, or the name of a data set that is found below DEBLUR_DATA

    Raises
    ------
    MissingError : there is nothing of that kind
    UsageError : what is there is of another kind
    """
    folder = batch_folder(path)
    if folder is not None and spec.source in (SourceKind.CIFAR10, SourceKind.IMAGES):
        return Cifar(path, folder)
    if spec.source is SourceKind.FRAMES:
        return Windows(path, open_frames(path), spec, host.degradations)
    if path.suffix.lower() in VIDEO_EXTENSIONS and path.is_file():
        raise UsageError(
            f"{path} is a video, and {spec.name} takes {spec.source}; take a preset that averages frames, such as gopro_7_13"
        )
    if spec.source is SourceKind.PAIRS:
        return Pairs(path, _ready_pairs(path, host))
    return Pictures(path)


def _ready_pairs(path: Path, host: Host) -> dict[str | None, Sequence[FilePair]]:
    """Pairs by part; one that stands in for another counts once, and a single one is no part."""
    found: dict[str | None, Sequence[FilePair]] = {}
    reasons: list[MissingError] = []
    for part in SPLITS:
        try:
            pairs = [pair for pair in open_pairs(host, path, split=part) if isinstance(pair, FilePair)]
        except MissingError as error:
            reasons.append(error)
        else:
            if not any(pairs == others for others in found.values()):
                found[part] = pairs
    if not found:
        raise reasons[0]
    return found if len(found) > 1 else {None: next(iter(found.values()))}


def _described(kind: SourceKind, path: Path, names: Iterable[bytes]) -> dict[str, str]:
    digest = hashlib.sha256()
    for name in names:
        digest.update(name + b"\0")
    return {"kind": kind.value, "path": str(path.resolve()), "names_sha256": digest.hexdigest()}


def _read(path: Path) -> tuple[Pixels, str]:
    """Pixels, and the SHA-256 of the file."""
    pixels = read_opaque(path)
    with path.open("rb") as file:
        return pixels, hashlib.file_digest(file, "sha256").hexdigest()


def _single(path: Path) -> list[bytes]:
    if not path.is_file():
        raise MissingError(f"there is no picture or folder {path}")
    return [os.fsencode(path.name)]


def _kind(pixels: Pixels) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]} {'grey' if pixels.shape[2] == 1 else 'RGB'} {pixels.dtype}"
