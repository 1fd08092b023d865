"""The data set `sample`: a few small pairs, made on the spot from photographs that come with scikit-image.

Nothing is downloaded and every draw has a fixed seed, so the pairs are the same everywhere but for the versions of the
libraries that make them; these are part of the cache folder's name.
"""

import contextlib
import hashlib
import importlib.util
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import numpy as np

from deblur_cli.blur import DEGRADATIONS
from deblur_cli.blur.spec_file import parse_spec
from deblur_cli.data.files import read_rgb, write_png, write_text
from deblur_cli.data.making import versions
from deblur_cli.data.pairs import Pair, match_folders
from deblur_cli.data.synthesis import Opened, make_pairs
from deblur_cli.errors import MissingError
from deblur_cli.pictures.picture import Pixels

SIDE_PX = 256

SHAKE = """
schema = 1
name = "sample-shake"
seed = 11
light = "linear"
step = [
  { op = "camera_shake", rate_dps = { log_uniform = [3, 8] }, exposure_s = { log_uniform = [0.1, 0.25] }, max_extent_px = 8 },
  { op = "noise", prob = 1.0, gain = { log_uniform = [1e-4, 4e-4] } },
  { op = "jpeg", prob = 1.0, quality = { integers = [90, 96] }, subsampling = { choice = ["420", "444"] } },
]
"""
"""A shaken photograph as a camera stores it: noise, then JPEG."""

GAUSSIAN = """
schema = 1
name = "sample-gaussian"
seed = 11
step = [{ op = "gaussian", sigma = 1.5 }]
"""


@dataclass(frozen=True, slots=True)
class _Shot:
    """A square of a photograph, and what is done to it. top, left : of the square, px; spec : TOML."""

    file: str
    top: int
    left: int
    spec: str


_SHOTS = {
    "val": (
        _Shot("astronaut.png", 0, 90, SHAKE),
        _Shot("chelsea.png", 20, 100, GAUSSIAN),
        _Shot("coffee.png", 60, 170, SHAKE),
        _Shot("hubble_deep_field.jpg", 300, 300, GAUSSIAN),
        _Shot("ihc.png", 120, 120, SHAKE),
        _Shot("rocket.jpg", 100, 180, SHAKE),
    ),
    "train": (  # other photographs than those that are measured
        _Shot("brick.png", 100, 100, SHAKE),
        _Shot("camera.png", 60, 110, GAUSSIAN),
        _Shot("grass.png", 100, 100, SHAKE),
        _Shot("gravel.png", 100, 100, GAUSSIAN),
        _Shot("motorcycle_left.png", 120, 250, SHAKE),
        _Shot("motorcycle_left.png", 120, 480, GAUSSIAN),
    ),
}


_SUMS = "sha256.json"


def sample(root: Path, split: str) -> Sequence[Pair]:
    """The pairs of a split, "train" or "val", six of 256 x 256 px each.

    Parameters
    ----------
    root : cache folder; the pairs are made there the first time

    Raises
    ------
    MissingError : the photographs are not there, or the cache cannot be written
    """
    recipe = {
        split: [[shot.file, shot.top, shot.left, shot.spec] for shot in shots]
        for split, shots in _SHOTS.items()
    }
    key = hashlib.sha256(json.dumps([SIDE_PX, recipe, versions()]).encode()).hexdigest()[:12]
    folder = root / f"sample-{key}"
    if not _is_whole(folder):  # cleaners of caches remove single files
        _make_whole_or_not_at_all(folder)
    return match_folders(folder / split / "blur", folder / split / "sharp")


def photograph(file: str) -> Pixels:
    """A photograph that lies within scikit-image itself, (H, W, 3) uint8.

    Parameters
    ----------
    file : its file name, such as "astronaut.png"

    Raises
    ------
    MissingError : this scikit-image does not hold it
    """
    # Found as a file, not through skimage.data, which would download what it does not find.
    found = importlib.util.find_spec("skimage")
    path = Path(*(found.submodule_search_locations or [""])[:1] if found else [""], "data", file)
    if not path.is_file():
        raise MissingError(
            f"the photograph {file} is not in scikit-image; pip install --force-reinstall scikit-image"
        )
    return read_rgb(path)


def _make_whole_or_not_at_all(folder: Path) -> None:
    """Make all pairs beside `folder`, then give them its name; another process may be doing the same."""
    temporary, damaged = (folder.with_name(f".{folder.name}-{token_hex(6)}.{end}") for end in ("part", "old"))
    try:
        _make(temporary)
        if folder.exists() and not _is_whole(folder):  # nobody else has mended it meanwhile
            folder.rename(damaged)
        with contextlib.suppress(OSError):  # the other one was first, and its pairs are the same
            temporary.rename(folder)
    except OSError as error:
        raise MissingError(
            f"cannot write the sample pairs to {folder} ({error.strerror}); set DEBLUR_CACHE to a folder that can be written"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(damaged, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    """Whether the pairs are there as they were made."""
    try:
        sums = json.loads((folder / _SUMS).read_text(encoding="utf-8"))
        return bool(_sums(folder, sums) == sums)
    except (OSError, ValueError, TypeError):
        return False


def _sums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def _make(folder: Path) -> None:
    operations = {item.name: item for item in DEGRADATIONS}
    for split, shots in _SHOTS.items():
        for kind in ("blur", "sharp"):
            (folder / split / kind).mkdir(parents=True)
        records = []
        for index, shot in enumerate(shots):
            square = photograph(shot.file)[shot.top : shot.top + SIDE_PX, shot.left : shot.left + SIDE_PX]
            spec = parse_spec(shot.spec, operations, file="sample", folder=folder)
            opened = Opened(sharp=np.ascontiguousarray(square))
            (made,) = make_pairs(opened, spec, operations, index=index, draw=0)
            name = f"{index}_{Path(shot.file).stem}"
            write_png(folder / split / "blur" / f"{name}.png", made.blurry)
            write_png(folder / split / "sharp" / f"{name}.png", made.sharp)
            records.append(
                {"name": name, "source": shot.file, "top": shot.top, "left": shot.left, **made.record}
            )
        write_text(folder / split / "meta.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    made_files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    write_text(folder / _SUMS, json.dumps(_sums(folder, made_files)))
