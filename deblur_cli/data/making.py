"""Making a data set: every sharp picture of a folder becomes pairs, in as many processes as wanted.

OUT/blur/000012_00_1.png  OUT/sharp/000012_00_1.png    position of the source _ draw _ patch
OUT/meta.jsonl            one line a pair with everything that was drawn, sorted by name, written last
OUT/dataset.json          settings, versions, counts, what was left out and why
"""

import hashlib
import json
import multiprocessing
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deblur_cli.data.files import as_text, find_pictures, read_opaque, write_png, write_text
from deblur_cli.data.synthesis import Degrade, Record, as_settings, fits, make_pair
from deblur_cli.errors import MissingError, NotEnoughRoomError, PictureError, UsageError

SCHEMA = 1

_MADE = re.compile(r"\d{6,}_\d{2,}_\d+\.png")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was made. skipped : relative path of a source -> why nothing was made of it."""

    folder: Path
    num_pairs: int
    num_sources: int
    skipped: dict[str, str]
    psnr_db: float | None  # mean over the pairs that are not identical, None without any


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """All pairs of one source."""

    source: Path
    name: str  # path relative to the folder of sources, POSIX
    index: int
    out: Path
    degrade: Degrade
    draws: int
    patches: int


def make_dataset(
    source: Path,
    out: Path,
    degrade: Degrade,
    *,
    draws: int = 1,
    patches: int = 1,
    workers: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Made:
    """Make `draws * patches` pairs of each sharp picture below `source`.

    Parameters
    ----------
    source : a folder, searched with its sub-folders, or one picture
    out : new or empty folder
    draws, patches : pairs a source; with whole pictures `patches` must be 1
    workers : processes; 0 = this one. The result does not depend on it
    overwrite : remove the pairs of an earlier run from `out` first
    progress : called with (sources done, sources in all)

    Raises
    ------
    UsageError : `out` is not empty, or lies inside `source`, or the counts make no sense
    MissingError : there is no picture below `source`, or none of them could be used
    """
    if draws < 1 or patches < 1:
        raise UsageError(f"{draws} draws of {patches} patches make no pairs; both must be 1 or more")
    if patches > 1 and degrade.patch is None:
        raise UsageError(
            f"{patches} patches of a whole picture would be the same; give the patch size, or more draws"
        )
    sources = find_pictures(source)
    if not sources:
        raise MissingError(f"no pictures in {source}")
    _prepare(out, source, overwrite=overwrite)
    base = source if source.is_dir() else source.parent
    jobs = [
        _Job(source=path, name=as_text(path.relative_to(base)), index=index, out=out, degrade=degrade, draws=draws, patches=patches)
        for index, path in enumerate(sources)
    ]  # fmt: skip
    records: list[Record] = []
    skipped: dict[str, str] = {}
    for done, (job, result) in enumerate(zip(jobs, _run(jobs, workers=workers), strict=True), start=1):
        if isinstance(result, str):
            skipped[job.name] = result
        else:
            records += result
        if progress is not None:
            progress(done, len(jobs))
    if not records:
        first, reason = next(iter(skipped.items()))
        raise MissingError(f"none of the {len(jobs)} pictures in {source} could be used; {first}: {reason}")
    return _finish(out, records, skipped, degrade=degrade, draws=draws, patches=patches)


def _run(jobs: list[_Job], *, workers: int) -> Iterator[list[Record] | str]:
    if workers <= 0:
        yield from map(_make, jobs)
        return
    context = multiprocessing.get_context("spawn")  # a fork may copy a held lock of a library
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_start_worker) as pool:
        try:
            yield from pool.map(_make, jobs)
        except BrokenProcessPool as error:
            raise NotEnoughRoomError(
                f"one of the {workers} processes was killed, most likely for its memory; use fewer --workers"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker() -> None:
    from deblur_cli.blur.opencv import import_opencv

    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches all processes; the first one ends the others
    import_opencv().setNumThreads(0)  # the processes are the parallelism


def _make(job: _Job) -> list[Record] | str:
    """Make and write the pairs of one source; a text instead says why there are none."""
    try:
        pixels = read_opaque(job.source)
    except PictureError as error:
        return str(error)
    if not fits(pixels, job.degrade):
        height, width = pixels.shape[:2]
        return f"{width}x{height} is smaller than a patch of {job.degrade.patch} with a margin of {job.degrade.margin} px"
    digest = hashlib.sha256(job.source.read_bytes()).hexdigest()
    records = []
    for draw in range(job.draws):
        for patch in range(job.patches):
            name = f"{job.index:06d}_{draw:02d}_{patch}"
            try:
                made = make_pair(pixels, job.degrade, index=job.index, draw=draw * job.patches + patch)
            except PictureError as error:
                return str(error)
            write_png(job.out / "blur" / f"{name}.png", made.blurry)
            write_png(job.out / "sharp" / f"{name}.png", made.sharp)
            origin = {
                "source": job.name,
                "source_sha256": digest,
                "index": job.index,
                "draw": draw,
                "patch": patch,
            }
            records.append({"schema": SCHEMA, "name": name, **origin, **made.record})
    return records


def _prepare(out: Path, source: Path, *, overwrite: bool) -> None:
    """Make the folders of `out`, after removing what an earlier run left there if that is wanted."""
    if out.resolve().is_relative_to(source.resolve()) or source.resolve().is_relative_to(out.resolve()):
        raise UsageError(f"cannot make a data set in {out}: it must lie outside of its source {source}")
    if out.exists() and not out.is_dir():
        raise UsageError(f"cannot make a data set in {out}: it is a file")
    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise UsageError(
                f"cannot make a data set in {out}: it is not empty; choose another folder or --overwrite"
            )
        for path in (out / "meta.jsonl", out / "dataset.json"):
            path.unlink(missing_ok=True)
        for kind in ("blur", "sharp"):
            for path in _made_files(out / kind):
                path.unlink()
    for kind in ("blur", "sharp"):
        (out / kind).mkdir(parents=True, exist_ok=True)


def _made_files(folder: Path) -> Iterable[Path]:
    return [path for path in folder.glob("*.png") if _MADE.fullmatch(path.name)]


def _finish(
    out: Path, records: list[Record], skipped: dict[str, str], *, degrade: Degrade, draws: int, patches: int
) -> Made:
    records.sort(key=lambda record: record["name"])
    meta = "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records)
    num_sources = len({record["index"] for record in records})
    summary: dict[str, Any] = {  # a JSON object
        "schema": SCHEMA,
        "settings": {**as_settings(degrade), "draws": draws, "patches": patches},
        "versions": versions(),
        "pairs": len(records),
        "sources": num_sources,
        "skipped": skipped,
        "meta_sha256": hashlib.sha256(meta.encode()).hexdigest(),
    }
    write_text(out / "dataset.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    write_text(out / "meta.jsonl", meta)
    finite = [record["psnr_db"] for record in records if record["psnr_db"] is not None]
    return Made(
        folder=out,
        num_pairs=len(records),
        num_sources=num_sources,
        skipped=skipped,
        psnr_db=sum(finite) / len(finite) if finite else None,
    )


def versions() -> dict[str, str]:
    """Versions of what decides the bytes: pairs are made again bit for bit under equal ones."""
    import cv2
    import numpy as np
    import PIL
    from PIL import features

    from deblur_cli import __version__

    return {
        "deblur_cli": __version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
        "libjpeg_turbo": features.version("libjpeg_turbo") or "",
    }
