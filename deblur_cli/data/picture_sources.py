"""Sources of single pictures: photographs, CIFAR-10, and ready pairs."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deblur_cli.blur.spec import SourceKind
from deblur_cli.data.cifar10 import CifarPicture, batch_files, batch_folder
from deblur_cli.data.cifar10 import pictures as cifar_pictures
from deblur_cli.data.files import as_text, read_opaque
from deblur_cli.data.items import Item, described
from deblur_cli.data.listing import list_names, path_of, text_of
from deblur_cli.data.pairs import FilePair
from deblur_cli.data.photographs import pictures_named
from deblur_cli.data.prepared import PartedPair
from deblur_cli.data.splits import part_named
from deblur_cli.data.synthesis import Opened, sha256_of
from deblur_cli.errors import MissingError, PictureError, UsageError
from deblur_cli.pictures.picture import Pixels


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
        parts = (part_named(f"{text_of(first)}/") for first in firsts)
        self.parts = frozenset(part for part in parts if part is not None)

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self._names)

    def items(self, start: int, stop: int) -> list[Item]:
        """Pictures by their position."""
        pictures = (self._pictures[index] for index in range(start, min(stop, len(self))))
        return [Item(index=item.index, name=item.name, part=item.part, key=item.file) for item in pictures]

    def describe(self) -> dict[str, str]:
        """Kind, path and names."""
        return described(SourceKind.IMAGES, self._root, self._names)


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
        found = [part for part in ("train", "test") if batch_files(folder, part)]
        self._sets = [cifar_pictures(folder, part) for part in found]
        self._count = sum(map(len, self._sets))
        self.parts = frozenset(found)

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
        return described(SourceKind.CIFAR10, self._root, files)


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
    """Ready pairs, of which only the frame is changed."""

    def __init__(self, root: Path, pairs: Sequence[PartedPair]) -> None:
        self._root, self._pairs = root, pairs
        self.opener = PairOpener(root)
        self.parts = frozenset(item.part for item in pairs if item.part is not None)

    def __len__(self) -> int:
        """How many pairs there are."""
        return len(self._pairs)

    def items(self, start: int, stop: int) -> list[Item]:
        """Pairs by their position. Raises UsageError where a plugin's pairs are in no files."""
        items = []
        for found in self._pairs[start:stop]:
            if not isinstance(found.pair, FilePair):
                raise UsageError(
                    f"the pair {found.source} does not lie in two files, so nothing can be made of it"
                )
            key = found.pair.blurry, found.pair.sharp
            items.append(Item(index=found.index, name=found.source, part=found.part, key=key))
        return items

    def describe(self) -> dict[str, str]:
        """Kind, path and names."""
        return described(SourceKind.PAIRS, self._root, (item.source.encode() for item in self._pairs))


def _read(path: Path) -> tuple[Pixels, str]:
    """Pixels, and the SHA-256 of the file."""
    pixels = read_opaque(path)
    try:
        with path.open("rb") as file:
            return pixels, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:  # it has vanished in between, say
        raise PictureError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error


def _single(path: Path) -> list[bytes]:
    if not path.is_file():
        raise MissingError(f"there is no picture or folder {path}")
    return [os.fsencode(path.name)]


def _kind(pixels: Pixels) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]} {'grey' if pixels.shape[2] == 1 else 'RGB'} {pixels.dtype}"
