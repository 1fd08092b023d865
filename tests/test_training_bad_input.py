"""What a user gives a training that it cannot use: one clear line, the right exit code, nothing lost."""

from pathlib import Path

import pytest
from PIL import Image, ImageFilter

SMALL = ("--set", "model.depth=2", "model.width=8", "batch_size=4", "patch=24", "--device", "cpu")
WORDS = ("train", "-m", "rednet30", *SMALL)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Five pairs, 64x64 pieces of a photograph; to be damaged."""
    from skimage import data

    folder = tmp_path / "pairs"
    for name in ("blur", "sharp"):
        (folder / name).mkdir(parents=True)
    for i in range(5):
        sharp = Image.fromarray(data.astronaut()[40 * i : 40 * i + 64, 150:214])
        sharp.save(folder / "sharp" / f"{i}.png")
        sharp.filter(ImageFilter.GaussianBlur(1.5)).save(folder / "blur" / f"{i}.png")
    return folder


@pytest.mark.parametrize("cache", ["memory", "device"])
def test_a_picture_that_a_reading_process_refuses_is_one_line(pairs: Path, run, cache: str) -> None:
    broken = pairs / "sharp" / "3.png"
    broken.write_bytes(broken.read_bytes()[:2000])
    done = run(*WORDS, "--data", pairs, "--steps", "8", "--workers", "1", "--cache", cache, "-o", "mine")
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith(f"deblur: cannot read {broken}: it is damaged or cut off")
    assert "Traceback" not in done.err
