"""Finding a data set: by name below DEBLUR_DATA, or in the folder that is given."""

import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from deblur_cli.data import GOPRO_GAMMA_LAYOUT, GOPRO_LAYOUT, REDS_LAYOUT, REDS_X4_LAYOUT
from deblur_cli.data.pairs import FilePair, Pair, match_folders, pairs_below
from deblur_cli.errors import MissingError, UsageError
from deblur_cli.host.declarations import Dataset, import_object
from deblur_cli.host.folders import cache_folder
from deblur_cli.host.manager import Host

SPLITS = ("train", "val", "test")

_SPLIT_FOLDERS: Mapping[str, tuple[str, ...]] = {
    # A set with only one of the held-out parts uses it for both: GoPro has no val, REDS publishes no sharp test.
    "train": ("train",),
    "val": ("val", "test"),
    "test": ("test", "val"),
}

_ANY_LAYOUT = (
    "FOLDER/{blur,sharp}/NAME.png, FOLDER/{input,target}/NAME.png, either also below train/ and val/ or scene by scene, "
    "or the layout of GoPro or REDS; any picture format"
)


def open_pairs(
    host: Host, spec: str | Path, *, split: str, environ: Mapping[str, str] = os.environ
) -> Sequence[Pair]:
    """The pairs of a data set.

    Parameters
    ----------
    spec : the name of a data set, which is looked for below DEBLUR_DATA, or a folder ("./reds" for one named like a set)
    split : "train", "val" or "test"; a folder without such sub-folders has one set of pairs for all splits
    environ : where DEBLUR_DATA and DEBLUR_CACHE are looked up

    Raises
    ------
    MissingError : no such set, or no pairs in it; says which layout is expected and where it looked
    UsageError : no such split, or an empty name
    PictureError : a blurred picture has no sharp one
    """
    if split not in SPLITS:
        raise UsageError(f"there is no split {split!r}; there are: {', '.join(SPLITS)}")
    if spec == "":
        raise UsageError("the name of the data is empty; give a data set or a folder")
    if isinstance(spec, str) and spec in host.datasets:
        return _open_named(host.datasets[spec], split=split, environ=environ)
    folder = Path(spec).expanduser()
    if not folder.is_dir():
        if isinstance(spec, str) and os.sep not in spec and not folder.exists():
            raise _unknown(host, spec)
        raise MissingError(
            f"no pairs in {folder}: {'it is a file' if folder.exists() else 'there is no such folder'}"
        )
    looked: list[Path] = []
    for base in _bases(folder, split):
        for find in (pairs_below, _reds_pairs(split), _reds_x4_pairs(split)):
            looked.append(base)
            pairs = find(base)
            if pairs:
                return pairs
    raise _no_pairs(f"the folder {folder}", split, layout=_ANY_LAYOUT, looked=looked)


def gopro(root: Path, split: str) -> Sequence[Pair]:
    """GoPro, blurred pictures of the folder `blur`."""
    return _gopro(root, split, blurry="blur", layout=GOPRO_LAYOUT)


def gopro_gamma(root: Path, split: str) -> Sequence[Pair]:
    """GoPro, blurred pictures of the folder `blur_gamma`."""
    return _gopro(root, split, blurry="blur_gamma", layout=GOPRO_GAMMA_LAYOUT)


def reds(root: Path, split: str) -> Sequence[Pair]:
    """REDS at full size."""
    return _reds(root, split, find=_reds_pairs(split), layout=f"{root}/{REDS_LAYOUT}")


def reds_x4(root: Path, split: str) -> Sequence[Pair]:
    """REDS reduced four times."""
    return _reds(root, split, find=_reds_x4_pairs(split), layout=f"{root}/{REDS_X4_LAYOUT}")


def _open_named(dataset: Dataset, *, split: str, environ: Mapping[str, str]) -> Sequence[Pair]:
    if split not in dataset.splits:
        alternatives = [name for name in _SPLIT_FOLDERS[split] if name in dataset.splits]
        if not alternatives:
            raise UsageError(
                f"the data set {dataset.name} has no split {split}; it has: {', '.join(dataset.splits)}"
            )
        split = alternatives[0]
    find: Callable[[Path, str], Sequence[Pair]] = import_object(dataset.pairs)
    if dataset.generated:
        return find(cache_folder(environ), split)
    expected = f"DEBLUR_DATA/{dataset.folder}/{dataset.layout}"
    data = environ.get("DEBLUR_DATA")
    if not data:
        raise MissingError(
            f"cannot find the data set {dataset.name}: DEBLUR_DATA is not set; set it to the folder that holds "
            f"{dataset.folder}/, or give the folder itself\n  expected: {expected}"
        )
    root = _folder_named(Path(data).expanduser(), dataset.folder)
    if root is None:
        raise MissingError(
            f"cannot find the data set {dataset.name}: there is no {Path(data) / dataset.folder}; "
            f"put it there, or give its folder\n  expected: {expected}"
        )
    return find(root, split)


def _folder_named(parent: Path, name: str) -> Path | None:
    """The folder of that name, whatever the case of its letters."""
    if (parent / name).is_dir():
        return parent / name
    if not parent.is_dir():
        return None
    return next(
        (path for path in sorted(parent.iterdir()) if path.name.lower() == name and path.is_dir()), None
    )


def _gopro(root: Path, split: str, *, blurry: str, layout: str) -> Sequence[Pair]:
    looked = _bases(root, split)
    for base in looked:
        pairs = pairs_below(base, names=((blurry, "sharp"),))
        if pairs:
            return pairs
    raise _no_pairs("GoPro", split, layout=f"{root}/{layout}", looked=looked)


def _reds(root: Path, split: str, *, find: Callable[[Path], list[FilePair]], layout: str) -> Sequence[Pair]:
    looked = _bases(root, split)
    for base in looked:
        pairs = pairs_below(base) or find(base)
        if pairs:
            return pairs
    raise _no_pairs("REDS", split, layout=layout, looked=looked)


def _reds_pairs(split: str) -> Callable[[Path], list[FilePair]]:
    return lambda base: _official(base, split, "{}_blur", "{}_sharp")


def _reds_x4_pairs(split: str) -> Callable[[Path], list[FilePair]]:
    return lambda base: _official(base, split, "{}_blur_bicubic/X4", "{}_sharp_bicubic/X4")


def _official(base: Path, split: str, blurry: str, sharp: str) -> list[FilePair]:
    """Pairs of folders whose names begin with the split's."""
    for name in _SPLIT_FOLDERS[split]:
        if (base / blurry.format(name)).is_dir() and (base / sharp.format(name)).is_dir():
            return match_folders(base / blurry.format(name), base / sharp.format(name))
    return []


def _bases(folder: Path, split: str) -> list[Path]:
    """Where the pairs of a split may lie: its own folder if there are folders for splits, else the folder itself."""
    if not any((folder / name).is_dir() for name in SPLITS):
        return [folder]
    return [folder / name for name in _SPLIT_FOLDERS[split] if (folder / name).is_dir()] or [folder / split]


def _no_pairs(what: str, split: str, *, layout: str, looked: Iterable[Path]) -> MissingError:
    places = ", ".join(map(str, dict.fromkeys(looked)))
    return MissingError(
        f"no pairs for the split {split} in {what}\n  expected: {layout}\n  looked in: {places}"
    )


def _unknown(host: Host, spec: str) -> MissingError:
    names = [name for name in host.datasets if ":" not in name]
    near = difflib.get_close_matches(spec, names, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"data sets: {', '.join(sorted(names))}"
    return MissingError(
        f"there is neither a data set nor a folder {spec!r}; {hint}\n  a folder: {_ANY_LAYOUT}"
    )
