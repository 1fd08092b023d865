"""What `deblur compare` is asked: which pictures belong together, and where the outcome goes."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from deblur_cli.errors import PictureError, UsageError

if TYPE_CHECKING:
    from deblur_cli.data import Pair
    from deblur_cli.evaluation.compare import Comparison
    from deblur_cli.evaluation.evaluate import RestoresArrays
    from deblur_cli.evaluation.measures import Measure
    from deblur_cli.pictures.picture import Pixels
    from deblur_cli.pictures.regions import Region

PAGES = (".html", ".htm")


class Input(Protocol):
    """One picture to compare."""

    @property
    def name(self) -> str:
        """How messages, sheets and pages call it."""

    @property
    def source(self) -> str | list[str]:
        """What was named: files, or a pair."""

    @property
    def files(self) -> Sequence[Path]:
        """What must not be overwritten."""

    @property
    def stem(self) -> Path:
        """Path without extension, after which its sheet is named."""

    def compare(
        self,
        restorers: "Mapping[str, RestoresArrays]",
        measures: "Sequence[Measure]",
        progress: Callable[[], None],
    ) -> "tuple[Comparison, bytes | None]":
        """The comparison and the pictures' colour profile; PictureError where it cannot be had.

        progress : called after each restorer
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInput:
    """A blurred picture in a file. reference : its sharp one; a text says why it is missing"""

    path: Path
    name: str
    reference: Path | str | None
    max_pixels: int

    @property
    def source(self) -> str:
        """The file."""
        return str(self.path)

    @property
    def files(self) -> list[Path]:
        """The picture and its reference."""
        return [self.path, *([self.reference] if isinstance(self.reference, Path) else [])]

    @property
    def stem(self) -> Path:
        """The file's path without extension."""
        return self.path.parent / self.path.stem

    def compare(
        self,
        restorers: "Mapping[str, RestoresArrays]",
        measures: "Sequence[Measure]",
        progress: Callable[[], None],
    ) -> "tuple[Comparison, bytes | None]":
        """Read, restore and measure."""
        from deblur_cli.evaluation.compare import compare_results

        if isinstance(self.reference, str):
            raise PictureError(self.reference)
        blurry, icc = _read(self.path, self.max_pixels)
        sharp = None if self.reference is None else _read(self.reference, self.max_pixels)[0]
        return compare_results(
            restorers, blurry, name=self.name, sharp=sharp, measures=measures, progress=progress
        ), icc


@dataclass(frozen=True, slots=True, kw_only=True)
class PairInput:
    """A pair of a data set."""

    pair: "Pair"

    @property
    def name(self) -> str:
        """How the data set calls it."""
        return self.pair.name

    @property
    def source(self) -> str:
        """The pair's name."""
        return self.pair.name

    @property
    def files(self) -> list[Path]:
        """Not known: a pair need not be one of files."""
        return []

    @property
    def stem(self) -> Path:
        """Its name as that of one file."""
        return Path(self.pair.name.replace("/", "-"))

    def compare(
        self,
        restorers: "Mapping[str, RestoresArrays]",
        measures: "Sequence[Measure]",
        progress: Callable[[], None],
    ) -> "tuple[Comparison, bytes | None]":
        """Load, restore and measure."""
        from deblur_cli.evaluation.compare import compare_results

        blurry, sharp = self.pair.load()
        return compare_results(
            restorers, blurry, name=self.name, sharp=sharp, measures=measures, progress=progress
        ), None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Results of one picture in files. blurred, sharp : that picture, as far as it is known"""

    paths: tuple[Path, ...]
    blurred: Path | None
    sharp: Path | None
    max_pixels: int

    @property
    def name(self) -> str:
        """All names, as far as they are read."""
        names = unique_names(self.paths)
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

    @property
    def source(self) -> list[str]:
        """The files."""
        return [str(path) for path in self.paths]

    @property
    def files(self) -> list[Path]:
        """All that were named."""
        return [path for path in (*self.paths, self.blurred, self.sharp) if path is not None]

    @property
    def stem(self) -> Path:
        """The first result's path without extension."""
        return self.paths[0].parent / self.paths[0].stem

    def compare(
        self,
        restorers: "Mapping[str, RestoresArrays]",
        measures: "Sequence[Measure]",
        progress: Callable[[], None],
    ) -> "tuple[Comparison, bytes | None]":
        """Read and measure; a result that cannot be read or has another size is a failure, where others can be used."""
        from deblur_cli.evaluation.compare import compare_finished

        results: dict[str, Pixels] = {}
        profiles: dict[str, bytes | None] = {}
        failures: dict[str, PictureError] = {}
        for label, path in zip(unique_names(self.paths), self.paths, strict=True):
            try:
                results[label], profiles[label] = _read(path, self.max_pixels)
            except PictureError as error:
                failures[label] = error
        blurry, sharp = (
            None if path is None else _read(path, self.max_pixels)[0] for path in (self.blurred, self.sharp)
        )
        known = [pixels.shape[:2] for pixels in (sharp, blurry) if pixels is not None]
        if any(
            pixels.shape[:2] in known for pixels in results.values()
        ):  # it is those of other sizes that are wrong
            for label in [label for label, pixels in results.items() if pixels.shape[:2] not in known]:
                height, width = results.pop(label).shape[:2]
                failures[label] = PictureError(
                    f"it is {width}x{height}, not {known[0][1]}x{known[0][0]} as the others"
                )
        if not results or len(results) + len(known) < 2:
            raise next(iter(failures.values()))
        found = compare_finished(results, name=self.name, blurry=blurry, sharp=sharp, measures=measures)
        return replace(found, failures={label: str(error) for label, error in failures.items()}), profiles[
            next(iter(results))
        ]


def _read(path: Path, max_pixels: int) -> "tuple[Pixels, bytes | None]":
    """Pixels and colour profile; that of a grey picture fits no colour sheet."""
    from deblur_cli.pictures import read_picture

    picture = read_picture(path, max_pixels=max_pixels)
    return picture.pixels, picture.origin.icc if picture.pixels.shape[2] == 3 else None


def refuse_swallowed(options: Mapping[str, Sequence[str] | None]) -> None:
    """Raise UsageError where an option that takes several values took a picture as one.

    options : by name, such as "-m", what it got
    """
    from deblur_cli.pictures.formats import READABLE_EXTENSIONS

    for option, words in options.items():
        for word in words or ():
            if Path(word).suffix.lower() in READABLE_EXTENSIONS:
                raise UsageError(
                    f"{option} takes all words that follow, and got the picture {word}: put pictures before {option}, or after --"
                )


def file_inputs(images: Sequence[Path], references: Sequence[Path], *, max_pixels: int) -> list[FileInput]:
    """Blurred pictures, each once, with the reference that belongs to it.

    Parameters
    ----------
    references : none, one for each image in their order, or a folder of files of the same names

    Raises UsageError for another number of references. One that is missing in the folder is an error of its picture.
    """
    folder = references[0] if len(references) == 1 and references[0].is_dir() else None
    if references and folder is None and len(references) != len(images):
        raise UsageError(
            f"{len(references)} references for {len(images)} {'picture' if len(images) == 1 else 'pictures'}: give as many, or a folder of files of the same "
            "names; --reference takes all words that follow, so put the pictures before it, or after --"
        )
    found: list[Path | str | None] = [None] * len(images)
    if folder is not None:
        found = [_reference_in(folder, image) for image in images]
    elif references:
        found = list(references)
    made = (
        FileInput(path=image, name=name, reference=reference, max_pixels=max_pixels)
        for image, name, reference in zip(images, unique_names(images), found, strict=True)
    )
    return list(dict.fromkeys(made))


def unique_names(paths: Sequence[Path]) -> list[str]:
    """File names, or whole paths where several files have one name, as they may be shown."""
    from deblur_cli.pictures.picture import shown

    names = Counter(path.name for path in dict.fromkeys(paths))
    return [shown(path.name if names[path.name] == 1 else path) for path in paths]


def plan_targets(output: str | None, inputs: Sequence[Input], *, overwrite: bool) -> list[Path]:
    """Where the sheet of each input goes, or the one page of all; found out before anything is restored.

    Parameters
    ----------
    output : a page (.html) or, for one input, a sheet; a folder for several; None puts NAME.compare.png beside each

    Raises
    ------
    UsageError : two sheets would have one name, a target exists or is an input, or the name fits no picture
    """
    from deblur_cli.pictures import refuse_input_as_output
    from deblur_cli.pictures.formats import WRITABLE, format_of_path

    if output == "-":
        raise UsageError("a comparison is a file; name one, such as -o sheet.png or -o page.html")
    targets = _targets(output, [item.stem for item in inputs])
    for target in targets:
        ending = target.suffix.lower()
        if ending not in {"", *PAGES, *(one for known in WRITABLE for one in known.extensions)}:
            raise UsageError(
                f"cannot write {target}: no picture format ends so; name it .png for a sheet, .html for a page"
            )
        if ending not in PAGES:
            format_of_path(target)  # refuses what cannot be written here
        if not target.exists():
            continue
        for item in inputs:
            for file in item.files:
                refuse_input_as_output(file, target)
        if not overwrite:
            raise UsageError(
                f"{target} exists already; replace it with --overwrite, or choose another name with -o"
            )
    places = Counter(map(os.path.realpath, targets))
    for target in targets:
        if (count := places[os.path.realpath(target)]) > 1:
            raise UsageError(
                f"{count} of the pictures would be shown in {target}, as they have one name; make one page of all with -o page.html"
            )
    return targets


def is_page(output: str | None) -> bool:
    """Whether a page is asked for rather than sheets."""
    return output is not None and output.lower().endswith(PAGES)


def parse_regions(words: Sequence[str]) -> "tuple[Region, ...]":
    """Regions from X,Y,W,H each; the commas may have been taken apart already.

    Raises UsageError unless the numbers come in fours, none negative and no side zero.
    """
    from deblur_cli.pictures.regions import Region

    text = ",".join(words)
    numbers = text.split(",") if text else []
    if len(numbers) % 4 or not all(number.strip().isdecimal() for number in numbers):
        raise UsageError(
            f"--roi {text}: give X,Y,W,H in pixels, four whole numbers a region, such as 100,80,64,64"
        )
    values = [int(number) for number in numbers]
    regions = tuple(Region(*values[start : start + 4]) for start in range(0, len(values), 4))
    for region in regions:
        if not (region.width and region.height):
            raise UsageError(f"--roi {','.join(map(str, region))}: width and height must be at least 1 pixel")
    return regions


def _reference_in(folder: Path, image: Path) -> Path | str:
    """The file of that name, else the only picture of that name with another extension; or what is missing."""
    from deblur_cli.pictures.formats import READABLE_EXTENSIONS

    if (folder / image.name).is_file():
        return folder / image.name
    others = [
        path
        for extension in sorted(READABLE_EXTENSIONS)
        if (path := folder / f"{image.stem}{extension}").is_file()
    ]
    if len(others) == 1:
        return others[0]
    if others:
        return f"{image} has several references: {', '.join(map(str, others))}; keep one of them"
    return f"{image} has no reference: there is no {folder / image.name}, nor a picture {image.stem} of another kind"


def _targets(output: str | None, stems: Sequence[Path]) -> list[Path]:
    if output is None:
        return [stem.parent / f"{stem.name}.compare.png" for stem in stems]
    path = Path(output)
    if is_page(output):
        return [path]
    if output.endswith(("/", os.sep)) or path.is_dir() or (len(stems) > 1 and not path.suffix):
        return [path / f"{stem.name}.compare.png" for stem in stems]
    if len(stems) > 1:
        raise UsageError(
            f"-o {output} is one picture, but there are {len(stems)} to show: give a page, -o {path.with_suffix('.html')}, "
            f"or a folder for a sheet each, -o {path.with_suffix('')}/"
        )
    return [path]
