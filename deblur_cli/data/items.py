"""What pairs are made of, as one interface: a source lists items in an order that decides their numbers, its opener reads them.

The two are apart because the listing of a million names stays in one process, while each worker needs an opener.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from deblur_cli.blur.spec import SourceKind
from deblur_cli.data.synthesis import Opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to make pairs of.

    index : what its random numbers depend on; name : what records call it, a relative path
    part : "train", "val" or "test" where the source says so, None where it does not
    clip : of frames, the sequence they are from, which stays in one part whatever else is divided; "" of other pictures
    key : by which its opener finds it (`Any`: each opener has its own)
    """

    index: int
    name: str
    part: str | None = None
    clip: str = ""
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


def described(kind: SourceKind, path: Path, names: Iterable[bytes]) -> dict[str, str]:
    """Kind, path and a hash of the names of a source, as a JSON object."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(name + b"\0")
    return {"kind": kind.value, "path": str(path.resolve()), "names_sha256": digest.hexdigest()}
