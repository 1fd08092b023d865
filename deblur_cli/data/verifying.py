"""Making pairs of a finished data set again, from their records alone, and comparing every bit."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.pipeline import Operations
from deblur_cli.blur.spec import SourceKind
from deblur_cli.data.files import encode_png, read_rgb, write_plainly
from deblur_cli.data.items import Opener
from deblur_cli.data.ledger import Ledger, Record, read_records
from deblur_cli.data.making import versions
from deblur_cli.data.picture_sources import CifarOpener, PairOpener, PictureOpener
from deblur_cli.data.synthesis import MadePair, Opened, remake_pair, resize_of, sha256_of
from deblur_cli.data.video import open_frames
from deblur_cli.data.window_source import WindowOpener
from deblur_cli.errors import DeblurError, MissingError, NotEnoughRoomError, PictureError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """checked : pairs that were made again; different : by name, what is not as recorded

    mended : files that were written again
    versions : libraries that changed since, as "name was, is"; then other bytes are no fault of the set
    """

    checked: int
    mended: int = 0
    different: dict[str, str] = field(default_factory=dict)
    versions: tuple[str, ...] = ()


def verify(
    out: Path,
    operations: Operations,
    *,
    source: Path | None = None,
    only: Sequence[str] = (),
    sample: int | None = None,
    mend: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Verified:
    """Make pairs again and compare them with their records and with the files.

    Parameters
    ----------
    out : what make-dataset wrote
    source : where the sharp pictures lie now, if they were moved
    only : names of pairs; none = those of `sample`
    sample : how many, evenly spread over the set; None = all
    mend : write files that are missing or damaged, where the record and what was made again agree

    Raises
    ------
    UsageError : the set is unfinished or its records make no sense; a name in `only` is not in it
    MissingError : the source is not there any more
    """
    ledger = Ledger(out)
    if not ledger.meta.is_file():
        raise UsageError(f"{out} holds no finished data set: there is no {ledger.meta.name}")
    summary = ledger.read_summary()
    wanted = min(len(set(only)) or sample or summary["pairs"], summary["pairs"])
    opener = _opener(summary["source"], source, next(read_records(ledger.meta), None))
    different: dict[str, str] = {}
    checked, mended, last = 0, 0, None
    lost = set(only)
    for record in _chosen(ledger.meta, summary["pairs"], only=set(only), sample=sample):
        lost.discard(record["name"])
        try:
            if last is None or last[0] != record["index"]:  # patches of one picture share its reading
                last = record["index"], opener.open(opener.find(record))
            made = _made_again(last[1], record, operations)
            damaged = [path for path, pixels in _files(made, record, ledger) if not _holds(path, pixels)]
            problem = None
            if damaged and mend:
                mended += _mend(made, record, ledger, damaged)
            elif damaged:
                problem = f"{' and '.join(damaged)} {'is' if len(damaged) == 1 else 'are'} missing, damaged or not what was made"
        except NotEnoughRoomError:  # no fault of the set
            raise
        except DeblurError as error:
            if isinstance(error, MissingError) and checked == 0:
                raise
            problem = str(error)
        except (
            KeyError,
            IndexError,
            TypeError,
            ValueError,
            AttributeError,
            ArithmeticError,
            MemoryError,
        ) as error:
            problem = f"its record makes no sense ({error!r})"
        if problem is not None:
            different[record["name"]] = problem
        checked += 1
        if progress is not None:
            progress(checked, wanted)
    if lost:
        raise UsageError(f"{out} holds no pair {min(lost)}")
    with ledger.meta.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != summary.get("meta_sha256"):
            different[ledger.meta.name] = (
                f"the records are not those that were written, of {summary['pairs']} pairs; make the set again with --overwrite"
            )
    now, before = versions(), summary["versions"]
    changed = tuple(
        f"{name} {before.get(name)}, now {now[name]}" for name in now if before.get(name) != now[name]
    )
    return Verified(checked=checked, mended=mended, different=different, versions=changed)


def _chosen(meta: Path, count: int, *, only: set[str], sample: int | None) -> Iterable[Record]:
    """The records of some names, or of so many places evenly spread, or all."""
    if only:
        return (record for record in read_records(meta) if record["name"] in only)
    if sample is None or sample >= count:
        return read_records(meta)
    places = {round((position + 0.5) * count / sample - 0.5) for position in range(sample)}
    return (record for place, record in enumerate(read_records(meta)) if place in places)


def _opener(described: dict[str, str], moved: Path | None, first: Record | None) -> Opener:
    root = moved or Path(described["path"])
    if not root.exists():
        raise MissingError(
            f"the sharp pictures lay in {root}, which is not there; say where they are now: deblur make-dataset SOURCE --verify OUT"
        )
    if described["kind"] not in tuple(SourceKind):
        raise UsageError(f"the source of this set, {described['kind']!r}, is none that this program knows")
    match SourceKind(described["kind"]):
        case SourceKind.IMAGES:
            return PictureOpener(root if root.is_dir() else root.parent)
        case SourceKind.CIFAR10:
            return CifarOpener.of(root)
        case SourceKind.PAIRS:
            return PairOpener(root)
        case SourceKind.FRAMES:
            return WindowOpener(frames=open_frames(root), size=resize_of(first) if first else None)


def _made_again(opened: Opened, record: Record, operations: Operations) -> MadePair:
    """The pair of a record. Raises DeblurError where it is not the one that was recorded."""
    if opened.record["source_sha256"] != record["source_sha256"]:
        raise PictureError(f"its source {record['source']} has changed")
    made = remake_pair(opened, record, operations)
    for kind, pixels in (("blur", made.blurry), ("sharp", made.sharp)):
        if sha256_of(pixels) != record[f"{kind}_sha256"]:
            raise PictureError(f"the {kind} picture made again is another one than recorded")
    return made


def _files(made: MadePair, record: Record, ledger: Ledger) -> Iterable[tuple[str, NDArray[np.uint8]]]:
    """Where the pictures of a pair lie, and what they must hold."""
    return zip(ledger.pictures(record["name"]), (made.blurry, made.sharp), strict=True)


def _holds(path: str, pixels: NDArray[np.uint8]) -> bool:
    try:
        found = read_rgb(Path(path))[..., : pixels.shape[2]]
    except DeblurError:
        return False
    return sha256_of(found) == sha256_of(pixels)


def _mend(made: MadePair, record: Record, ledger: Ledger, damaged: Sequence[str]) -> int:
    """Write damaged files of a pair anew; returns how many."""
    for path, pixels in _files(made, record, ledger):
        if path in damaged:
            Path(path).parent.mkdir(exist_ok=True)
            write_plainly(path, encode_png(pixels))
    return len(damaged)
