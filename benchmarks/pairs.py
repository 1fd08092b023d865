"""CIFAR-10's Gaussian pairs by the command on two workers, against bare calls of OpenCV and plain writes in one process.

And its memory: what a name of the listing takes, and whether the rest stays the same however many pictures there are.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from measuring import Clock, Row, timed
from numpy.typing import NDArray
from processes import DEBLUR, Used, own_home, use
from skimage import data

from deblur_cli.blur.opencv import import_opencv
from deblur_cli.data.cifar10 import SIDE_PX, batch_files, batch_folder, read_batch

TARGET = 1.0
NAME_TARGET_BYTES = 200
FLAT_TARGET = 1.1
WORKERS = 2
ROUNDS = 3
"""At most: each leaves 240,000 files. None is removed before the end: ext4 searches long past inodes freed lately."""

BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
LINKS = 50_000
"""Names of one file; file systems allow 65,000 at most."""


def run(*, repeats: int, clock: Clock, count: int, listed: int) -> list[Row]:
    """count : pictures in each of the six batches that are blurred; listed : names in the long list"""
    with own_home() as (home, environ):
        pictures, origin = _pictures(count)
        _write_batches(home / "cifar", pictures)
        _write_batches(home / "few", pictures[:60])
        race = _Race(home=home, environ=environ, pictures=pictures)
        rounds = [(race.command(number), race.bare(number, clock)) for number in range(min(repeats, ROUNDS))]
        few = race.make(home / "few", home / "few-pairs")
        used = [ours for ours, _ in rounds]
        return [
            Row(
                what=f"{len(pictures)} Gaussian pairs, {WORKERS} workers / bare blur, imencode and writes in one process",
                ratios=tuple(ours.seconds(clock) / bare for ours, bare in rounds),
                target=TARGET if clock is Clock.WALL else None,
                seconds=(median(ours.seconds(clock) for ours in used), median(bare for _, bare in rounds)),
                note=f"{origin}; processor time of all ours {median(ours.cpu_s for ours in used):.1f} s",
            ),
            Row(
                what=f"peak of the largest process: {len(pictures)} pictures / 60",
                ratios=tuple(ours.peak_bytes / few.peak_bytes for ours in used),
                target=FLAT_TARGET,
                note=f"{few.peak_bytes / 1e6:.0f} MB for 60",
            ),
            *_listing(home, environ, counts=(len(pictures), listed)),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Race:
    """pictures : (N, 32, 32, 3) uint8, which lie in home/cifar too"""

    home: Path
    environ: Mapping[str, str]
    pictures: NDArray[np.uint8]

    def command(self, number: int) -> Used:
        """One run of ours."""
        return self.make(self.home / "cifar", self.home / f"ours{number}")

    def make(self, source: Path, out: Path) -> Used:
        """Make pairs of all batches in a folder."""
        words = ("make-dataset", source, out, "--preset", "cifar10-s0", "--workers", str(WORKERS))
        os.sync()  # else the files of the run before are written while this one is timed
        return use([*DEBLUR, *words], environ=self.environ)

    def bare(self, number: int, clock: Clock) -> float:
        """Seconds of as many bare calls and writes, pictures in memory."""
        out = self.home / f"bare{number}"
        for kind in ("blur", "sharp"):
            (out / kind).mkdir(parents=True)
        sigmas = np.random.default_rng(0).uniform(0, 3, len(self.pictures))
        os.sync()
        return timed(lambda: _bare(self.pictures, sigmas.tolist(), out), clock=clock)()


def _bare(pictures: NDArray[np.uint8], sigmas: list[float], out: Path) -> None:
    cv2 = import_opencv()
    for number, (sharp, sigma) in enumerate(zip(pictures, sigmas, strict=True)):
        blurry = cv2.GaussianBlur(sharp, (0, 0), sigma)
        for kind, pixels in (("blur", blurry), ("sharp", sharp)):
            _, encoded = cv2.imencode(".png", pixels)
            with open(f"{out}/{kind}/{number:06d}_00_0.png", "wb") as file:
                file.write(encoded)


def _pictures(count: int) -> tuple[NDArray[np.uint8], str]:
    """`count` pictures for each batch, and what they are: CIFAR-10's own where all of them are below DEBLUR_DATA."""
    folder = batch_folder(Path(os.environ.get("DEBLUR_DATA", ""), "cifar10"))
    files = (
        [] if folder is None else [file for part in ("train", "test") for file in batch_files(folder, part)]
    )
    if len(files) == len(BATCHES):
        return np.concatenate([read_batch(file)[:count] for file in files]), "CIFAR-10's own pictures"
    photograph = data.coffee()[::3, ::3]
    height, width = (side - SIDE_PX for side in photograph.shape[:2])
    corners = np.random.default_rng(0).integers(0, (height, width), (len(BATCHES) * count, 2))
    pieces = [photograph[top : top + SIDE_PX, left : left + SIDE_PX] for top, left in corners]
    return np.stack(pieces), "pieces of a photograph, as CIFAR-10 is not below DEBLUR_DATA"


def _write_batches(folder: Path, pictures: NDArray[np.uint8]) -> None:
    """The official form: a label, then the planes red, green and blue."""
    folder.mkdir()
    for name, batch in zip(BATCHES, np.array_split(pictures, len(BATCHES)), strict=True):
        planes = batch.transpose(0, 3, 1, 2).reshape(len(batch), -1)
        np.hstack([np.zeros((len(batch), 1), np.uint8), planes]).tofile(folder / f"{name}.bin")


def _listing(home: Path, environ: Mapping[str, str], *, counts: tuple[int, ...]) -> list[Row]:
    """What each name adds to the peak of a command that looks through a folder and makes nothing."""

    def peak(count: int) -> int:
        words = ("make-dataset", _names(home / f"names{count}", count), "--preset", "gaussian", "--dry-run")
        return use([*DEBLUR, *words], environ=environ).peak_bytes

    base = peak(1)
    return [
        Row(
            what=f"bytes a name of {count} listed pictures / {NAME_TARGET_BYTES}",
            ratios=((peak(count) - base) / count / NAME_TARGET_BYTES,),
            target=1.0,
            note=f"names of {len('scene0000/frame0000000.png')} bytes",
        )
        for count in counts
    ]


def _names(folder: Path, count: int) -> Path:
    """A folder with so many names of empty pictures, a thousand in each sub-folder."""
    folder.mkdir()
    for number in range(count):
        if number % LINKS == 0:
            empty = folder / f".empty{number}"  # hidden: no picture itself
            empty.touch()
        if number % 1000 == 0:
            scene = folder / f"scene{number // 1000:04d}"
            scene.mkdir()
        os.link(empty, f"{scene}/frame{number:07d}.png")
    return folder
