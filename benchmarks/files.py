"""Reading and writing picture files against Pillow alone."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Clock, Contest, Row, compare, timed
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from deblur_cli.pictures import read_picture, write_picture

TARGET = 1.2
QUALITY = 92


def run(*, repeats: int, clock: Clock, height: int, width: int) -> list[Row]:
    """PNG and JPEG, each read and written."""
    pixels = photograph(height, width)
    with tempfile.TemporaryDirectory() as folder:
        return [
            row
            for extension in ("jpg", "png")
            for row in _of_format(extension, pixels, folder=Path(folder), repeats=repeats, clock=clock)
        ]


def photograph(height: int, width: int) -> NDArray[np.uint8]:
    """A photograph of that size: one of scikit-image's, enlarged, with noise as a sensor would add, (H, W, 3)."""
    small = Image.fromarray(data.coffee())
    rng = np.random.default_rng(0)
    pixels = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    for rows in range(0, height, 256):  # in strips: the noise of a whole picture would need gigabytes
        strip = pixels[rows : rows + 256]
        strip += rng.integers(-3, 4, strip.shape, dtype=np.int16)
    return pixels.clip(0, 255).astype(np.uint8)


def _of_format(
    extension: str, pixels: NDArray[np.uint8], *, folder: Path, repeats: int, clock: Clock
) -> list[Row]:
    source, ours, theirs = (folder / f"{name}.{extension}" for name in ("source", "ours", "theirs"))
    # Any: the options of Pillow's encoders are of any type. Ours takes its choices from the file it read
    options: dict[str, Any] = {"quality": QUALITY, "subsampling": "4:2:0"} if extension == "jpg" else {}
    Image.fromarray(pixels).save(source, **options)
    picture = read_picture(source)
    decoded = np.asarray(Image.open(source))
    work: dict[str, Callable[[], object]] = {
        "read": lambda: read_picture(source),
        "array": lambda: np.asarray(Image.open(source)),
        "load": lambda: Image.open(source).load(),
        "write": lambda: write_picture(picture, ours, overwrite=True),
        "save": lambda: Image.fromarray(decoded).save(theirs, **options),
    }
    megapixels = round(pixels.shape[0] * pixels.shape[1] / 1e6)
    where = f"{extension}, {megapixels} MP"
    contests = [
        Contest(
            what=f"{where}: read_picture / Pillow open and np.asarray", thing="read", bare="array", target=TARGET
        ),
        Contest(
            what=f"{where}: read_picture / Pillow open and load", thing="read", bare="load", target=None,
            note="load leaves the pixels inside Pillow: no array",
        ),
        Contest(
            what=f"{where}: write_picture / Pillow save", thing="write", bare="save", target=TARGET,
            note="ours waits for the disk (fsync) and renames",
        ),
    ]  # fmt: skip
    return compare({key: timed(run, clock=clock) for key, run in work.items()}, contests, repeats=repeats)
