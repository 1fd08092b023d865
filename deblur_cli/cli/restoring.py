"""The work of `deblur IMAGE...`: picture by picture through the restorer, each failure kept to its own picture."""

import io
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO

from deblur_cli.cli import console
from deblur_cli.cli.outputs import Job
from deblur_cli.cli.report import Report
from deblur_cli.errors import DeblurError, NotEnoughRoomError, PictureError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from deblur_cli.pictures import Kept, Picture
    from deblur_cli.restore.restorer import Restorer
    from deblur_cli.restore.tiling import TilePlan
    from deblur_cli.weights import Source


class Existing(StrEnum):
    """What happens where the output exists."""

    REFUSE = "refuse"
    OVERWRITE = "overwrite"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How each picture is read, restored and written.

    region : x, y, width, height in pixels, or None for the whole picture
    force : write a result even if the guard finds it broken
    """

    format: str | None
    quality: int | None
    max_pixels: int
    region: tuple[int, int, int, int] | None
    existing: Existing
    force: bool


def settle(job: Job, settings: Settings, report: Report) -> bool:
    """Whether a job is over before it begins: its input is missing, or its output exists and stays."""
    if job.input.path is not None and not os.path.lexists(job.input.path):
        from deblur_cli.pictures import read_picture

        try:
            read_picture(job.input.path)
        except DeblurError as error:
            report.failed(job, error)
            return True
    if job.target is None or not os.path.lexists(job.target) or settings.existing is Existing.OVERWRITE:
        return False
    if settings.existing is Existing.SKIP:
        report.skipped(job)
    else:
        report.failed(
            job,
            UsageError(
                f"{job.output} exists already; replace it with --overwrite, or leave it with --skip-existing"
            ),
        )
    return True


def restore_all(
    jobs: Sequence[Job], restorer: "Restorer", source: "Source", settings: Settings, report: Report
) -> None:
    """Restore every picture; what goes wrong with one is reported and does not stop the others.

    Raises NotEnoughRoomError when the disk is full: then the others would fail as well.
    """
    for job in _with_progress(jobs):
        try:
            _restore(job, restorer, source, settings, report)
        except NotEnoughRoomError as error:
            report.failed(job, error)
            if isinstance(error.__cause__, OSError):
                raise NotEnoughRoomError(
                    "stopped, because the disk is full; free some space and run again with --skip-existing"
                ) from error
        except BrokenPipeError:  # nobody reads what is said any more
            raise
        except (
            Exception
        ) as error:  # a plugin's network may raise anything; the report of a bug is written as well
            report.failed(job, error)


def _with_progress(jobs: Sequence[Job]) -> Iterator[Job]:
    """The jobs one by one, with a bar over them where there are several."""
    if len(jobs) == 1:
        yield from jobs
        return
    with console.progress("pictures", len(jobs)) as advance:
        for job in jobs:
            yield job
            advance()


def _restore(job: Job, restorer: "Restorer", source: "Source", settings: Settings, report: Report) -> None:
    """Read, restore and write one picture, and say how."""
    from deblur_cli.pictures import read_picture

    start = time.perf_counter()
    picture = read_picture(_source(job), max_pixels=settings.max_pixels)
    with console.steps(f"tiles of {job.input.relative}") as tiles:
        restored = restorer.restore_picture(
            picture, region=settings.region, force=settings.force, progress=tiles
        )
    plan = restorer.plan(
        picture.height,
        picture.width,
        channels=picture.pixels.shape[2],
        pixels=picture.pixels.dtype,
        region=settings.region,
    )
    dtype = restorer.dtype_for(picture.pixels.dtype)
    # the encoder needs a copy of its own: three pictures at once would break the promise of --max-memory
    del picture
    kept = _write(restored, job, settings)
    seconds = time.perf_counter() - start
    facts = {
        "model": source.model.name,
        "weights": source.path,
        "seconds": round(seconds, 3),
        "device": str(restorer.device),
        "dtype": dtype,
        "tiling": {
            "tiles": plan.num_tiles,
            "tile": list(plan.tile_shape),
            "overlap": plan.margin,
            "exact": plan.exact,
        },
        "self_ensemble": restorer.passes > 1,
        "kept": kept.as_dict(),
        "guard": {"checked": not settings.force, "alarms": []},
    }
    report.done(
        job,
        summary=f"{restorer.label}{', self-ensemble' * (restorer.passes > 1)}, {restorer.device}, {dtype}, {_tiling(plan)}, {seconds:.2f} s",
        facts=facts,
    )
    for sentence in kept.notes:
        console.note(f"{job.output}: {sentence}")


def _tiling(plan: "TilePlan") -> str:
    if plan.num_tiles == 1:
        return "1 tile" if plan.exact else "1 tile, approximate"
    return f"{plan.num_tiles} tiles{'' if plan.exact else ', approximate'}"


def _source(job: Job) -> "Path | BinaryIO":
    if job.input.path is not None:
        return job.input.path
    if sys.stdin is None:
        raise PictureError("cannot read standard input: it is closed")
    return io.BytesIO(sys.stdin.buffer.read())


def _write(picture: "Picture", job: Job, settings: Settings) -> "Kept":
    from deblur_cli.pictures import write_picture

    if job.target is None:
        buffer = io.BytesIO()  # stdout gets the whole picture or nothing
        kept = write_picture(picture, buffer, format=settings.format, quality=settings.quality)
        sys.stdout.buffer.write(buffer.getbuffer())
        sys.stdout.buffer.flush()
        return kept
    job.target.parent.mkdir(parents=True, exist_ok=True)
    overwrite = settings.existing is Existing.OVERWRITE
    return write_picture(
        picture, job.target, format=settings.format, quality=settings.quality, overwrite=overwrite
    )
