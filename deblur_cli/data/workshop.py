"""The work on a chunk of items: pictures are opened, pairs are made, encoded and written, and records tell of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deblur_cli.blur.frame_average import WindowRefused
from deblur_cli.blur.pipeline import Operations
from deblur_cli.blur.spec import Spec
from deblur_cli.data.framing import smallest
from deblur_cli.data.items import Item, Opener
from deblur_cli.data.ledger import SCHEMA, Ledger, Record
from deblur_cli.data.outbox import HELD_BYTES, Outbox
from deblur_cli.data.splits import group_named, split_for
from deblur_cli.data.synthesis import Opened, make_pairs, resized
from deblur_cli.errors import NotEnoughRoomError, PictureError


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Consecutive items, and where their records go."""

    start: int
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """All that a process needs to make any chunk."""

    opener: Opener
    spec: Spec
    operations: Operations
    ledger: Ledger
    parts: frozenset[str]
    digits: int

    def make(self, chunk: Chunk) -> int:
        """Make the pairs of a chunk and write them; returns how many items are done."""
        self.ledger.write_chunk(chunk.start, self._records(chunk.items))
        return len(chunk.items)

    def _records(self, items: Iterable[Item]) -> Iterator[Record]:
        """The records of all pairs, at the end of which the pictures are written."""
        outbox = Outbox(self.ledger)
        for group in self._groups(items):
            yield from [entry for item, opened in group for entry in self._entries(item, opened, outbox)]
        outbox.flush()

    def _groups(self, items: Iterable[Item]) -> Iterator[list[tuple[Item, Opened | PictureError]]]:
        """Items with their pictures, or why there is none: many small ones at a time for the reason that `Outbox` has."""
        group: list[tuple[Item, Opened | PictureError]] = []
        held = 0
        for item in items:
            opened = self._open(item)
            group.append((item, opened))
            held += 0 if isinstance(opened, PictureError) else opened.sharp.nbytes
            if held > HELD_BYTES:
                yield group
                group, held = [], 0
        yield group

    def _open(self, item: Item) -> Opened | PictureError:
        try:
            opened = resized(self.opener.open(item), self.spec.resize)
            self._check_size(opened)
        except PictureError as error:
            return error
        except MemoryError as error:
            raise _no_memory(item) from error
        return opened

    def _entries(self, item: Item, opened: Opened | PictureError, outbox: Outbox) -> list[Record]:
        """The records of one item's pairs after making them, or why there are none."""
        if isinstance(opened, PictureError):
            return [_left_out(item, opened)]
        records: list[Record] = []
        try:
            for draw in range(self.spec.draws):
                for patch in range(self.spec.patches):
                    records += self._pairs(item, opened, outbox, draw=draw, patch=patch)
        except PictureError as error:
            outbox.take_back(record["name"] for record in records)
            return [_left_out(item, error)]
        except MemoryError as error:
            raise _no_memory(item) from error
        return records

    def _pairs(
        self, item: Item, opened: Opened, outbox: Outbox, *, draw: int, patch: int
    ) -> Iterator[Record]:
        made = make_pairs(opened, self.spec, self.operations, index=item.index, draw=draw, patch=patch)
        for tile, pair in enumerate(made):
            name = f"{item.index:0{self.digits}d}_{draw:02d}_{patch * len(made) + tile}"
            outbox.put(name, blurry=pair.blurry, sharp=pair.sharp)
            yield {"schema": SCHEMA, "name": name, "split": self._split(item), **pair.record}

    def _split(self, item: Item) -> str:
        group = item.clip or group_named(item.name, self.spec.output.group)
        return split_for(
            group, part=item.part, parts=self.parts, seed=self.spec.seed, shares=self.spec.output.splits
        )

    def _check_size(self, opened: Opened) -> None:
        least_height, least_width = smallest(self.spec, self.operations)
        height, width = opened.sharp.shape[:2]
        if height < least_height or width < least_width:
            raise PictureError(
                f"{width}x{height} is smaller than {least_width}x{least_height}, "
                f"{'one pixel for each tile' if self.spec.grid else 'a patch'} with the margin that its blur needs"
            )


def _left_out(item: Item, error: PictureError) -> Record:
    reason = error.reason if isinstance(error, WindowRefused) else None
    return {"left_out": item.name, "because": str(error), "reason": reason}


def _no_memory(item: Item) -> NotEnoughRoomError:
    return NotEnoughRoomError(
        f"not enough memory for {item.name}; use fewer --workers, or begin anew with smaller pictures"
    )
