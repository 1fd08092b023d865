"""All pairs of a folder, of all splits, and whatever there does not pair up: unlike reading, which stops at the first fault."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deblur_cli.data.files import as_text, find_pictures
from deblur_cli.data.findings import Check, Finding, Level
from deblur_cli.data.layouts import ANY_LAYOUT, is_made
from deblur_cli.data.pairs import FOLDER_NAMES, FilePair, Pair
from deblur_cli.data.roots import require_root
from deblur_cli.data.splits import SPLITS
from deblur_cli.errors import MissingError, PictureError, UsageError
from deblur_cli.host.declarations import Dataset, import_object

Folders = Sequence[tuple[str, str]]

ANY_FOLDERS: Folders = (
    *FOLDER_NAMES,
    ("blur_gamma", "sharp"),
    ("blur_jpeg", "sharp"),
    ("blur_comp", "sharp"),
)
"""Names of the folders of blurred and of sharp pictures, the likeliest first."""

_FOLDERS_OF: Mapping[str, Folders] = {
    "gopro": FOLDER_NAMES,
    "gopro-gamma": (("blur_gamma", "sharp"),),
    "reds": FOLDER_NAMES,
    "reds-jpeg": (("blur_jpeg", "sharp"), ("blur_comp", "sharp")),
    "reds_x4": FOLDER_NAMES,
}
"""By data set that lies in folders of a known layout."""

_OFFICIAL = (
    ("blur", "{}_blur", "{}_sharp"),
    ("blur", "{}_blur_bicubic/X4", "{}_sharp_bicubic/X4"),
    ("blur_jpeg", "{}_blur_jpeg", "{}_sharp"),
    ("blur_comp", "{}_blur_comp", "{}_sharp"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A pair and where it belongs. split : "" where there are none; scene : its clip, scene or folder, "" without one."""

    pair: Pair
    split: str
    scene: str


@dataclass(slots=True, kw_only=True)
class Survey:
    """What is in a folder. root : the folder, None for a set that is more than that; pairs : of all splits."""

    root: Path | None = None
    pairs: list[Listed] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Two folders whose pictures pair up. prefix : put before names; it is the scene where there is one."""

    split: str
    prefix: str
    blurry: Path
    sharp: Path


def survey_folder(folder: Path, *, folders: Folders = ANY_FOLDERS) -> Survey:
    """Find the pairs of a folder of any known layout.

    Parameters
    ----------
    folders : names that the folders of blurred and of sharp pictures may have

    Raises
    ------
    MissingError : there is no such folder, or there are no such folders in it
    """
    if not folder.is_dir():
        raise MissingError(
            f"no pairs in {folder}: {'it is a file' if folder.exists() else 'there is no such folder'}"
        )
    survey = Survey(root=folder)
    parts = [part for split, base in _bases(folder) for part in _parts(base, split, folders, survey)]
    if not parts:
        raise MissingError(f"no pairs in {folder}\n  expected: {ANY_LAYOUT}")
    for part in parts:
        _match(part, survey)
    if is_made(folder):
        survey.pairs = list(_with_listed_splits(folder, survey))
    return survey


def survey_dataset(dataset: Dataset, *, environ: Mapping[str, str]) -> Survey:
    """Find the pairs of a named data set.

    Raises
    ------
    MissingError : it is not there
    UsageError : it has no blurred pictures
    """
    if dataset.sharp:
        raise UsageError(
            f"the data set {dataset.name} holds sharp pictures only, and its pairs are in order by the way they are made; "
            f"check what deblur make-dataset made of it"
        )
    root = require_root(dataset, environ)
    if dataset.name in _FOLDERS_OF and dataset.pairs.startswith("deblur_cli."):
        return survey_folder(root, folders=_FOLDERS_OF[dataset.name])
    find: Callable[[Path, str], Sequence[Pair]] = import_object(dataset.pairs)
    survey, missing = Survey(), MissingError(f"the data set {dataset.name} has no splits")
    for split in dataset.splits:
        try:
            pairs = find(root, split)
        except MissingError as error:
            missing = error
        except PictureError as error:
            survey.findings.append(_fault(str(error), root))
        else:
            scenes = (pair.name.rpartition("/")[0] for pair in pairs)
            survey.pairs += [
                Listed(pair=pair, split=split, scene=scene) for pair, scene in zip(pairs, scenes, strict=True)
            ]
    if not survey.pairs and not survey.findings:
        raise missing
    return survey


def _bases(folder: Path) -> list[tuple[str, Path]]:
    return [(name, folder / name) for name in SPLITS if (folder / name).is_dir()] or [("", folder)]


def _parts(base: Path, split: str, folders: Folders, survey: Survey) -> list[_Part]:
    """The folders of pairs in the first layout that fits."""
    for blurry, sharp in folders:
        if (base / blurry).is_dir() and (base / sharp).is_dir():
            return [_Part(split=split, prefix="", blurry=base / blurry, sharp=base / sharp)]
    for blurry, sharp in folders:
        scenes = [
            scene for scene in _subfolders(base) if (scene / blurry).is_dir() or (scene / sharp).is_dir()
        ]
        if any((scene / blurry).is_dir() and (scene / sharp).is_dir() for scene in scenes):
            _report_halves(scenes, (blurry, sharp), survey)
            return [
                _Part(split=split, prefix=f"{as_text(Path(scene.name))}/", blurry=scene / blurry, sharp=scene / sharp)
                for scene in scenes
                if (scene / blurry).is_dir() and (scene / sharp).is_dir()
            ]  # fmt: skip
    for kind, blurry, sharp in _OFFICIAL:
        if kind not in {name for name, _ in folders}:
            continue
        parts = [
            _Part(split=name, prefix="", blurry=base / blurry.format(name), sharp=base / sharp.format(name))
            for name in SPLITS
        ]
        parts = [part for part in parts if part.blurry.is_dir() and part.sharp.is_dir()]
        if parts:
            return parts
    return []


def _report_halves(scenes: Sequence[Path], names: tuple[str, str], survey: Survey) -> None:
    for scene in scenes:
        for name in names:
            if not (scene / name).is_dir():
                survey.findings.append(_fault(f"the scene {scene} has no folder {name}", scene / name))


def _match(part: _Part, survey: Survey) -> None:
    """Pair up the pictures of two folders by relative path without extension."""
    blurry, sharp = (_by_stem(folder, survey) for folder in (part.blurry, part.sharp))
    for stem in blurry.keys() - sharp.keys():
        survey.findings.append(_fault(f"{blurry[stem]} has no sharp picture in {part.sharp}", blurry[stem]))
    for stem in sharp.keys() - blurry.keys():
        survey.findings.append(_fault(f"{sharp[stem]} has no blurred picture in {part.blurry}", sharp[stem]))
    survey.findings.sort(key=lambda finding: finding.files)
    for stem, path in blurry.items():
        if stem in sharp:
            pair = FilePair(name=part.prefix + stem, blurry=path, sharp=sharp[stem])
            scene = part.prefix.rstrip("/") or stem.rpartition("/")[0]
            survey.pairs.append(Listed(pair=pair, split=part.split, scene=scene))


def _by_stem(folder: Path, survey: Survey) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in find_pictures(folder):
        stem = as_text(path.relative_to(folder).with_suffix(""))
        if stem in found:
            text = f"{found[stem]} and {path} have one name but for the extension"
            survey.findings.append(_fault(text, found[stem], path))
        found.setdefault(stem, path)
    return found


def _with_listed_splits(folder: Path, survey: Survey) -> Iterator[Listed]:
    """The pairs with the splits that the lists in splits/ give them."""
    lists = {name: folder / "splits" / f"{name}.txt" for name in SPLITS}
    splits: dict[str, str] = {}
    for name, file in lists.items():
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            if line in splits:
                survey.findings.append(_fault(f"{line} is in two splits, {splits[line]} and {name}", file))
            splits[line] = name
    yield from _known(survey.pairs, splits, survey, folder)
    there = {listed.pair.name for listed in survey.pairs}
    for line, name in splits.items():
        if line not in there:
            survey.findings.append(
                _fault(f"{lists[name]} lists {line}, of which there is no pair", lists[name])
            )


def _known(
    pairs: Sequence[Listed], splits: Mapping[str, str], survey: Survey, folder: Path
) -> Iterator[Listed]:
    for listed in pairs:
        if listed.pair.name not in splits:
            text = f"the pair {listed.pair.name} stands in no list in {folder / 'splits'}"
            survey.findings.append(_fault(text, folder / "blur" / listed.pair.name))
        yield Listed(pair=listed.pair, split=splits.get(listed.pair.name, ""), scene=listed.scene)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _fault(text: str, *files: Path) -> Finding:
    return Finding(check=Check.NAMES, level=Level.FAIL, text=text, files=tuple(map(as_text, files)))
