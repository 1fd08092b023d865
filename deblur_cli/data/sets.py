"""Finding a data set: by name below DEBLUR_DATA, or in the folder that is given; and its pairs as a preset wants them."""

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from deblur_cli.blur.pipeline import Operations
from deblur_cli.blur.spec import SourceKind, Spec
from deblur_cli.blur.spec_file import preset as preset_named
from deblur_cli.data.blurred import blurred_pictures
from deblur_cli.data.cifar10 import batch_folder
from deblur_cli.data.drawn import DrawnPair
from deblur_cli.data.layouts import ANY_LAYOUT, bases, is_made, made_pairs, no_pairs
from deblur_cli.data.official import reds_in
from deblur_cli.data.pairs import FilePair, Pair, SharpPicture, pairs_below
from deblur_cli.data.photographs import pictures_below
from deblur_cli.data.prepared import PartedPair, PreparedPair, parted, prepared_pairs
from deblur_cli.data.roots import require_root
from deblur_cli.data.splits import FALLBACKS, SPLITS
from deblur_cli.errors import MissingError, UsageError
from deblur_cli.host.declarations import Dataset, import_object
from deblur_cli.host.manager import Host

CIFAR10 = "cifar10"


def open_pairs(
    host: Host,
    spec: str | Path,
    *,
    split: str,
    environ: Mapping[str, str] = os.environ,
    preset: Spec | None = None,
) -> Sequence[Pair]:
    """The pairs of a data set.

    Parameters
    ----------
    spec : the name of a data set, which is looked for below DEBLUR_DATA, or a folder ("./reds" for one named like a set)
    split : "train", "val" or "test"; a folder without such sub-folders has one set of pairs for all splits
    environ : where DEBLUR_DATA and DEBLUR_CACHE are looked up
    preset : how sharp pictures are blurred, or how ready pairs are resized, cut and divided; None takes that of the data
        set itself, and ready pairs as they are

    Raises
    ------
    MissingError : no such set, or no pairs in it; says which layout is expected and where it looked
    UsageError : no such split, an empty name, or a preset for another kind of data
    PictureError : a blurred picture has no sharp one, or a file of many pictures was cut short
    """
    if split not in SPLITS:
        raise UsageError(f"there is no split {split!r}; there are: {', '.join(SPLITS)}")
    if spec == "":
        raise UsageError("the name of the data is empty; give a data set or a folder")
    if isinstance(spec, str) and spec in host.datasets:
        dataset = host.datasets[spec]
        return _of_set(host, dataset, split=split, preset=preset, root=lambda: require_root(dataset, environ))
    folder = _existing_folder(host, spec)
    if CIFAR10 in host.datasets and batch_folder(folder) is not None:
        return _of_set(host, host.datasets[CIFAR10], split=split, preset=preset, root=lambda: folder)
    if preset is None:
        return _pairs_as_they_are(folder, split)
    if preset.source is SourceKind.PAIRS:
        whole = require_pairs(folder)
        return prepared_pairs(whole, preset, host.degradations, split=split, what=f"the folder {folder}")
    return _pictures_blurred(folder, preset, host.degradations, split=split)


def spec_of(pairs: Sequence[Pair]) -> Spec | None:
    """The spec by which the pairs of one data set are made or prepared, None where they are as they were found."""
    first = next(iter(pairs), None)
    return first.spec if isinstance(first, DrawnPair | PreparedPair) else None


def holds_sharp(host: Host, spec: str) -> bool:
    """Whether a data set, or a folder, holds sharp pictures without blurred ones. False where there is no such thing."""
    if spec in host.datasets:
        return bool(host.datasets[spec].sharp)
    folder = Path(spec).expanduser()
    if not folder.is_dir():
        return False
    if CIFAR10 in host.datasets and batch_folder(folder) is not None:
        return True
    return not any(_pairs_in(folder, split)[0] for split in SPLITS)


def _of_set(
    host: Host, dataset: Dataset, *, split: str, preset: Spec | None, root: Callable[[], Path]
) -> Sequence[Pair]:
    """The pairs of a declared set. root : finds its folder, once all else is in order."""
    if preset is not None:
        _require_kind(dataset, preset)
    if dataset.sharp:
        preset = preset or preset_named(dataset.preset, host.degradations)
        find: Callable[[Path, str], Sequence[SharpPicture]] = import_object(dataset.sharp)
        return blurred_pictures(
            partial(find, root()),
            preset,
            host.degradations,
            split=split,
            parts=dataset.splits,
            what=dataset.name,
        )
    find_pairs: Callable[[Path, str], Sequence[Pair]] = import_object(dataset.pairs)
    if preset is None:
        return find_pairs(root(), _part_for(dataset, split))
    whole = pairs_of_set(dataset, root(), needed=_part_for(dataset, split))
    return prepared_pairs(whole, preset, host.degradations, split=split, what=dataset.name)


def pairs_of_set(dataset: Dataset, root: Path, *, needed: str = "") -> list[PartedPair]:
    """The pairs of all parts of a declared set that are there.

    Parameters
    ----------
    root : its folder
    needed : the part that must be there; "" = any

    Raises
    ------
    MissingError : that part is not there, or none is
    """
    find: Callable[[Path, str], Sequence[Pair]] = import_object(dataset.pairs)
    parts: dict[str | None, Sequence[Pair]] = {}
    for part in dataset.splits:
        try:
            parts[part] = find(root, part)
        except MissingError:
            if part == needed or (part == dataset.splits[-1] and not parts):
                raise
    return parted(parts, root=root)


def _require_kind(dataset: Dataset, preset: Spec) -> None:
    if preset.source is SourceKind.FRAMES:
        raise UsageError(
            f"the preset {preset.name} averages frames of videos, and the data set {dataset.name} holds single pictures; "
            "make pairs of a video with deblur make-dataset"
        )
    if dataset.sharp and preset.source is SourceKind.PAIRS:
        raise UsageError(
            f"the preset {preset.name} cuts ready pairs, and the data set {dataset.name} holds sharp pictures only; "
            f"take one that blurs, such as {dataset.preset}"
        )
    if dataset.pairs and preset.source is not SourceKind.PAIRS:
        raise UsageError(
            f"the preset {preset.name} blurs sharp pictures, and the data set {dataset.name} has blurred ones already; "
            "give the folder of its sharp pictures instead of its name, or a preset for ready pairs, such as gopro-256"
        )


def _part_for(dataset: Dataset, split: str) -> str:
    """The part of a data set that is meant for a split."""
    for name in FALLBACKS[split]:
        if name in dataset.splits:
            return name
    raise UsageError(f"the data set {dataset.name} has no split {split}; it has: {', '.join(dataset.splits)}")


def _existing_folder(host: Host, spec: str | Path) -> Path:
    folder = Path(spec).expanduser()
    if folder.is_dir():
        return folder
    if isinstance(spec, str) and os.sep not in spec and not folder.exists():
        raise _unknown(host, spec)
    raise MissingError(
        f"no pairs in {folder}: {'it is a file' if folder.exists() else 'there is no such folder'}"
    )


def _pairs_as_they_are(folder: Path, split: str) -> Sequence[Pair]:
    pairs, looked = _pairs_in(folder, split)
    if pairs:
        return pairs
    error = no_pairs(f"the folder {folder}", split, layout=ANY_LAYOUT, looked=looked)
    if not all_pairs(folder) and len(pictures_below(folder)):
        raise MissingError(
            f"{error}\n  it holds pictures: say with --preset NAME how they are blurred, or to train with --blur NAME"
        )
    raise error


def _pairs_in(folder: Path, split: str) -> tuple[Sequence[FilePair], Sequence[Path]]:
    """The pairs of a split in a folder of any known layout, none where there are none; and where they were looked for."""
    if is_made(folder):
        return made_pairs(folder, split), [folder / "splits"]
    looked = bases(folder, split)
    for base in looked:
        pairs = pairs_below(base) or reds_in(base, split)
        if pairs:
            return pairs, looked
    return [], looked


def all_pairs(folder: Path) -> list[PartedPair]:
    """The pairs of all parts of a folder of any known layout; empty where there are none."""
    found = {split: list(_pairs_in(folder, split)[0]) for split in SPLITS}
    parts: dict[str | None, Sequence[Pair]] = {name: pairs for name, pairs in found.items() if pairs}
    if found["val"] == found["test"]:
        parts.pop("val", None)  # one held-out part, which stood for the other
    if found["train"] == found["test"]:
        parts = {None: found["train"]}  # no parts at all
    return parted(parts, root=folder)


def require_pairs(folder: Path) -> list[PartedPair]:
    """The pairs of all parts of a folder. Raises MissingError where there are none."""
    whole = all_pairs(folder)
    if not whole:
        raise no_pairs(f"the folder {folder}", "train", layout=ANY_LAYOUT, looked=[folder])
    return whole


def refuse_pairs(folder: Path, preset: Spec) -> None:
    """Raise UsageError where a preset that blurs sharp pictures meets a folder of pairs: blurred ones would be blurred."""
    if all_pairs(folder):
        raise UsageError(
            f"the preset {preset.name} blurs sharp pictures, and the folder {folder} holds blurred ones already; "
            "give the folder of the sharp pictures alone, or a preset for ready pairs, such as gopro-256"
        )


def _pictures_blurred(folder: Path, preset: Spec, operations: Operations, *, split: str) -> Sequence[Pair]:
    refuse_pairs(folder, preset)
    if preset.source is SourceKind.FRAMES:
        raise UsageError(
            f"the preset {preset.name} averages frames of videos, which is done before: "
            f"deblur make-dataset {folder} PAIRS --preset {preset.name}"
        )
    pictures = pictures_below(folder, by=preset.output.group)
    if not len(pictures):
        raise MissingError(f"no pictures in {folder}")
    parts = sorted({picture.part for picture in pictures if picture.part is not None})
    return blurred_pictures(
        lambda part: pictures, preset, operations, split=split, parts=parts, what=f"the folder {folder}"
    )


def _unknown(host: Host, spec: str) -> MissingError:
    names = [name for name in host.datasets if ":" not in name]
    near = difflib.get_close_matches(spec, names, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"data sets: {', '.join(sorted(names))}"
    return MissingError(
        f"there is neither a data set nor a folder {spec!r}; {hint}\n  a folder: {ANY_LAYOUT}"
    )
