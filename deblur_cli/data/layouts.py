"""How data sets of pairs are laid out in folders: by splits, by scenes, or as make-dataset writes them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from deblur_cli.data.pairs import FilePair, match_folders
from deblur_cli.data.splits import FALLBACKS, SPLITS
from deblur_cli.errors import MissingError

ANY_LAYOUT = (
    "FOLDER/{blur,sharp}/NAME.png, FOLDER/{input,target}/NAME.png, either also below train/ and val/ or scene by scene, "
    "or the layout of GoPro or REDS; any picture format"
)


def bases(folder: Path, split: str) -> list[Path]:
    """Where the pairs of a split may lie: its own folder if there are folders for splits, else the folder itself."""
    if not any((folder / name).is_dir() for name in SPLITS):
        return [folder]
    return [folder / name for name in FALLBACKS[split] if (folder / name).is_dir()] or [folder / split]


def named_by_split(base: Path, split: str, blurry: str, sharp: str) -> list[FilePair]:
    """Pairs of two folders whose names hold the split's, such as "{}_blur" and "{}_sharp"; none where they are not there."""
    for name in FALLBACKS[split]:
        if (base / blurry.format(name)).is_dir() and (base / sharp.format(name)).is_dir():
            return match_folders(base / blurry.format(name), base / sharp.format(name))
    return []


def is_made(folder: Path) -> bool:
    """Whether `deblur make-dataset` wrote it: pairs, and files that say which split each belongs to.

    Raises
    ------
    MissingError : it is not finished, so it would pass for all pairs without any splits
    """
    if (folder / ".making" / "plan.json").is_file() and not (folder / "meta.jsonl").is_file():
        raise MissingError(
            f"{folder} is a data set that is not finished; go on with deblur make-dataset and --resume"
        )
    return (folder / "blur").is_dir() and any(
        (folder / "splits" / f"{name}.txt").is_file() for name in SPLITS
    )


def made_pairs(folder: Path, split: str) -> Sequence[FilePair]:
    """The pairs of a split as its file in splits/ lists them; where it lists none, the other held-out split's.

    Raises
    ------
    MissingError : a pair that is listed is not there
    """
    for name in FALLBACKS[split]:
        listed = _lines(folder / "splits" / f"{name}.txt")
        if not listed:
            continue
        there = {pair.name: pair for pair in match_folders(folder / "blur", folder / "sharp")}
        lost = [item for item in listed if item not in there]
        if lost:
            raise MissingError(
                f"{folder / 'splits' / name}.txt lists {lost[0]}, which is not in {folder / 'blur'}"
                f"{f', and {len(lost) - 1} more' if len(lost) > 1 else ''}; "
                f"where pictures were lost, deblur make-dataset --verify {folder} --mend writes them again"
            )
        return [replace(there[item], group=item.partition("_")[0]) for item in listed]  # PICTURE_DRAW_PATCH
    return []


def no_pairs(what: str, split: str, *, layout: str, looked: Iterable[Path]) -> MissingError:
    """The error for a split without pairs. layout : what was expected; looked : where."""
    places = ", ".join(map(str, dict.fromkeys(looked)))
    return MissingError(
        f"no pairs for the split {split} in {what}\n  expected: {layout}\n  looked in: {places}"
    )


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8", errors="backslashreplace").splitlines() if file.is_file() else []
