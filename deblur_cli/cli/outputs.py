"""Which file goes where: the whole plan is made, and its contradictions found, before anything is restored."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deblur_cli.errors import UsageError
from deblur_cli.pictures.atomic import refuse_input_as_output
from deblur_cli.pictures.formats import WRITABLE, format_by_name
from deblur_cli.pictures.naming import default_output

STREAM = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One picture to restore.

    path : None for stdin
    relative : where it lies below the folder that was named, which an output folder repeats
    named : named itself, not found in a folder or by a pattern
    """

    path: Path | None
    relative: Path
    named: bool

    @property
    def name(self) -> str:
        """How messages call it."""
        return STREAM if self.path is None else str(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One picture and where its result goes. target : None for stdout."""

    input: Input
    target: Path | None

    @property
    def output(self) -> str:
        """How messages call the result."""
        return STREAM if self.target is None else str(self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How outputs are named. output : what -o said; suffix : put before the extension; format : replaces the extension."""

    output: str | None = None
    suffix: str | None = None
    format: str | None = None


def plan_jobs(inputs: Sequence[Input], naming: Naming) -> tuple[list[Job], list[Input]]:
    """Decide every output's name.

    Returns
    -------
    jobs, and those inputs that were left out because they are results of others (a folder restored for the second time)

    Raises
    ------
    UsageError : two inputs would write one file, an output would replace an input, or -o does not fit the inputs
    """
    _check(naming)
    folder = _output_folder(inputs, naming)
    jobs = [Job(input=item, target=_target(item, naming, folder)) for item in _without_doubles(inputs)]
    jobs, left_out = _without_results(jobs, beside=naming.output is None)
    _refuse_collisions(jobs)
    for job in jobs:
        if job.input.path is not None and job.target is not None:
            refuse_input_as_output(job.input.path, job.target)  # hard links lead to one file too
    return jobs, left_out


def _check(naming: Naming) -> None:
    if naming.output == "":
        raise UsageError("-o names nothing; give a file, a FOLDER/ (./ is this one), or - for stdout")
    if naming.format is not None and naming.output not in (None, STREAM):
        named = Path(str(naming.output)).suffix.lower()
        wanted = format_by_name(naming.format)
        if any(named in known.extensions for known in WRITABLE if known is not wanted):
            raise UsageError(
                f"-o {naming.output} and --format {naming.format} contradict each other; leave out one"
            )
    if naming.suffix is not None and Path(f"x{naming.suffix}").name != f"x{naming.suffix}":
        raise UsageError(f"--suffix {naming.suffix}: it is part of a name; give a folder with -o FOLDER/")


def parse_shard(text: str) -> tuple[int, int]:
    """ "2/8" -> (2, 8): the second of eight parts.

    Raises UsageError unless 1 <= I <= N.
    """
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise UsageError(
            f"--shard {text}: give I/N with I from 1 to N, such as 1/4 for the first of four parts"
        )
    return int(part), int(parts)


def _output_folder(inputs: Sequence[Input], naming: Naming) -> Path | None:
    """The folder that -o names, None where it names a file, a stream or nothing."""
    output = naming.output
    if output is None or output == STREAM:
        if output == STREAM and len(inputs) != 1:
            raise UsageError(f"-o - takes one picture, got {len(inputs)}; give a folder with -o FOLDER/")
        return None
    path = Path(output)
    if output.endswith(("/", os.sep)) or path.is_dir():
        return path
    if len(inputs) == 1 and inputs[0].named:
        if not path.suffix and naming.format is None:
            raise UsageError(
                f"-o {output}: is it a file or a folder? write {output}/ for a folder, or a name such as {output}.png"
            )
        return None
    if path.suffix or path.exists():
        raise UsageError(
            f"-o {output} is one file, but there are several pictures; give a folder: -o {path.with_suffix('')}/"
        )
    return path


def _target(item: Input, naming: Naming, folder: Path | None) -> Path | None:
    if naming.output == STREAM or (naming.output is None and item.path is None):
        return None
    if folder is None and naming.output is not None:
        return Path(naming.output)
    if item.path is None:
        raise UsageError("the picture from stdin has no name of its own; give -o FILE")
    suffix = naming.suffix if naming.suffix is not None else (".deblurred" if folder is None else "")
    return default_output(
        item.path,
        suffix=suffix,
        format=naming.format,
        folder=None if folder is None else folder / item.relative.parent,
    )


def _without_doubles(inputs: Sequence[Input]) -> list[Input]:
    """Each input once, where the same file was named twice."""
    seen: dict[str, Input] = {}
    for item in inputs:
        seen.setdefault(STREAM if item.path is None else os.path.realpath(item.path), item)
    return list(seen.values())


def _without_results(jobs: list[Job], *, beside: bool) -> tuple[list[Job], list[Input]]:
    """Leave out inputs that another job writes: results of an earlier run over the same folder."""
    writers = {os.path.realpath(job.target): job for job in jobs if job.target is not None}
    kept: list[Job] = []
    left_out: list[Input] = []
    for job in jobs:
        writer = None if job.input.path is None else writers.get(os.path.realpath(job.input.path))
        if writer is None:
            kept.append(job)
        elif writer is not job and (beside or not job.input.named):
            left_out.append(job.input)
        elif writer is job:
            raise UsageError(
                f"{job.input.name} would be replaced by its own result; choose another output with -o or --suffix"
            )
        else:
            raise UsageError(
                f"{job.input.name} is an input and would be replaced by the result of {writer.input.name}; choose another output"
            )
    return kept, left_out


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    """Raise UsageError where two jobs write one file, on this file system."""
    taken: dict[str, Job] = {}
    for job in jobs:
        if job.target is None:
            continue
        key = os.path.realpath(job.target)
        key = key.casefold() if _ignores_case(job.target.parent) else key
        other = taken.setdefault(key, job)
        if other is not job:
            raise UsageError(
                f"{other.input.name} and {job.input.name} would both be written to {job.target}; "
                "restore them one by one, or into different folders with -o"
            )


def _ignores_case(folder: Path) -> bool:
    """Whether names that differ in case alone are one file below `folder` (or its nearest parent that exists)."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    folder = folder.resolve()
    swapped = folder.with_name(folder.name.swapcase()) if folder.name else folder
    return swapped != folder and swapped.exists() and os.path.samefile(swapped, folder)
