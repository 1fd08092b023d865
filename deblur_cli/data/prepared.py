"""Ready pairs in the shape that a preset asks for: resized, cut into tiles or patches, divided by clip or scene."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deblur_cli.blur.pipeline import Operations
from deblur_cli.blur.spec import Group, Spec
from deblur_cli.data.files import as_text
from deblur_cli.data.framing import smallest, tiles
from deblur_cli.data.pairs import FilePair, Pair, Pixels
from deblur_cli.data.splits import candidates, group_named, split_for
from deblur_cli.data.synthesis import MadePair, Opened, make_pairs
from deblur_cli.errors import MissingError, PictureError


@dataclass(frozen=True, slots=True, kw_only=True)
class PartedPair:
    """A pair of a source. source : relative path of its sharp picture; index : its place among all of the source.

    part : "train" or "test" where the source has parts of its own
    """

    pair: Pair
    source: str
    index: int
    part: str | None


class _Last:
    """The pairs made last, so that the tiles of one picture are cut from one reading."""

    def __init__(self) -> None:
        self._key: tuple[int, int] | None = None
        self._made: list[MadePair] = []

    def get(self, key: tuple[int, int], make: Callable[[], list[MadePair]]) -> list[MadePair]:
        """What was made for a key, or is made now."""
        if self._key != key:
            self._key, self._made = None, []  # frees the old pictures first
            self._made = make()
            self._key = key
        return self._made

    def __reduce__(self) -> tuple[type["_Last"], tuple[()]]:
        """Another process starts with nothing."""
        return _Last, ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedPair:
    """A pair, or a tile or a patch of one. number : of the patch; tile : of the grid, row by row."""

    whole: PartedPair
    spec: Spec
    operations: Operations
    number: int = 0
    tile: int = 0
    last: _Last = field(default_factory=_Last, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The pair's; with patch and tile where there are several."""
        patch = f"_patch{self.number}" if self.spec.patches > 1 else ""
        tile = f"_tile{self.tile}" if self.spec.grid is not None else ""
        return f"{self.whole.pair.name}{patch}{tile}"

    def size(self) -> tuple[int, int]:
        """Height and width in px."""
        how = self.spec.resize
        whole = self.whole.pair.size()
        height, width = self.spec.patch or (how.target(*whole) if how is not None else whole)
        rows, columns = self.spec.grid or (1, 1)
        return height // rows, width // columns

    def load(self) -> tuple[Pixels, Pixels]:
        """Blurry and sharp, both (H, W, 3) uint8.

        Raises
        ------
        PictureError : one of them cannot be read, or they are too small for the preset
        """
        made = self.last.get((self.whole.index, self.number), self._make)[self.tile]
        return made.blurry, made.sharp

    def _make(self) -> list[MadePair]:
        blurry, sharp = self.whole.pair.load()
        return prepare(
            blurry, sharp, self.spec, self.operations,
            name=self.whole.pair.name, index=self.whole.index, patch=self.number,
        )  # fmt: skip


def prepare(
    blurry: Pixels,
    sharp: Pixels,
    spec: Spec,
    operations: Operations,
    *,
    name: str,
    index: int,
    patch: int = 0,
) -> list[MadePair]:
    """The tiles of one patch of a ready pair, or the one pair where the spec has no grid.

    Parameters
    ----------
    blurry, sharp : (H, W, 3) uint8
    name : for errors
    index, patch : which random numbers place the patch

    Raises
    ------
    PictureError : the pair is too small
    """
    height, width = sharp.shape[:2]
    if spec.resize is not None:
        height, width = spec.resize.target(height, width)
    least_height, least_width = smallest(spec, operations)
    rows, columns = spec.grid or (1, 1)
    if height < max(least_height, rows) or width < max(least_width, columns):
        raise PictureError(
            f"cannot use the pair {name}: it is {width}x{height}, and {spec.name} needs "
            f"{max(least_width, columns)}x{max(least_height, rows)}"
        )
    opened = Opened(sharp=sharp, blurry=blurry)
    return make_pairs(opened, spec, operations, index=index, draw=0, patch=patch, with_kernels=False)


def parted(parts: Mapping[str | None, Sequence[Pair]], *, root: Path) -> list[PartedPair]:
    """The pairs of a source in one list, sorted by the relative paths of their sharp pictures.

    Parameters
    ----------
    parts : pairs by official part; a part beside "train" is held out, and counts as "test" where it is the only one
    root : the folder of the source
    """
    held_out = [part for part in parts if part not in (None, "train")]
    tested = held_out[0] if len(held_out) == 1 else "test"
    found = [
        (_source(pair, part, root), "test" if part == tested else part, pair)
        for part, pairs in parts.items()
        for pair in pairs
    ]
    found.sort(key=lambda entry: entry[0].encode("utf-8", "surrogateescape"))
    return [
        PartedPair(pair=pair, source=source, index=index, part=part)
        for index, (source, part, pair) in enumerate(found)
    ]


def prepared_pairs(
    whole: Sequence[PartedPair], spec: Spec, operations: Operations, *, split: str, what: str
) -> list[PreparedPair]:
    """The pairs of a split as the preset wants them. No clip or scene is torn apart.

    For training they are resized only: its crops and flips are drawn anew each time and are the trainer's.

    Raises
    ------
    MissingError : the preset leaves nothing for this split
    """
    parts = {item.part for item in whole if item.part is not None}
    chosen: list[PartedPair] = []
    for name in candidates(split, parts=parts, shares=spec.output.splits):
        chosen = chosen or [item for item in whole if _split(item, parts, spec) == name]
    if not chosen:
        raise MissingError(
            f"no pairs for the split {split} in {what}: of its {len(whole)} pairs {spec.name} puts none there; "
            "whole clips and scenes go to one split, so it takes several"
        )
    if split == "train":
        spec = replace(spec, patch=None, patches=1, grid=None, flips=False)
    count = len(tiles(1, 1, spec.grid))
    patches = spec.patches if spec.patch is not None else 1
    last = _Last()
    return [
        PreparedPair(whole=item, spec=spec, operations=operations, number=number, tile=tile, last=last)
        for item in chosen
        for number in range(patches)
        for tile in range(count)
    ]


def _source(pair: Pair, part: str | None, root: Path) -> str:
    if isinstance(pair, FilePair) and pair.sharp.is_relative_to(root):
        return as_text(pair.sharp.relative_to(root))
    return f"{part}/{pair.name}" if part else pair.name


def _split(item: PartedPair, parts: set[str], spec: Spec) -> str:
    group = group_named(item.source, Group.FOLDER)
    return split_for(group, part=item.part, parts=parts, seed=spec.seed, shares=spec.output.splits)
