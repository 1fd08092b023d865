"""`deblur compare` as users type it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from skimage.metrics import peak_signal_noise_ratio

from deblur_cli.weights import read_header, read_tensors, write_weights


@pytest.fixture
def blurred_file(tmp_path: Path, photo: np.ndarray) -> Path:
    """The photograph, blurred, as blurred.png."""
    path = tmp_path / "blurred.png"
    Image.fromarray(photo).filter(ImageFilter.GaussianBlur(2)).save(path)
    return path


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_the_grid_is_written_beside_the_picture_with_scores_against_the_reference(
    run, identity, rednet_weights, blurred_file, photo_file
) -> None:
    words = (
        "compare",
        blurred_file,
        "-m",
        identity.weights["identity"],
        rednet_weights,
        "--reference",
        photo_file,
    )
    ran = run(*words, "--json", env=identity.env)
    assert ran.code == 0, ran.err
    (found,) = ran.json()
    expected = peak_signal_noise_ratio(read(photo_file) / 255, read(blurred_file) / 255, data_range=1)
    assert found["blurry"]["psnr"] == pytest.approx(expected, abs=1e-4)
    first, second = found["restored"]
    assert first["model"] == "identity (identity.safetensors)"
    assert first["scores"] == found["blurry"]
    assert second["scores"]["psnr"] != pytest.approx(expected, abs=1e-6)
    assert Path(found["output"]) == blurred_file.with_name("blurred.compare.png")
    assert len(found["regions"]) == 2
    grid = read(blurred_file.with_name("blurred.compare.png"))
    assert grid.shape[1] > 4 * 3 * 128  # four cells, the picture enlarged three times
    assert f"{expected:.2f}" in run(*words, "--overwrite", env=identity.env).out


def test_regions_given_are_those_shown(run, identity, blurred_file, tmp_path) -> None:
    ran = run(
        "compare", blurred_file, "-m", identity.weights["identity"], "--roi", "10,20,30,40", "50,8,16,16",
        "-o", tmp_path / "grid.png", "--json", env=identity.env,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    (found,) = ran.json()
    assert found["regions"] == [[10, 20, 30, 40], [50, 8, 16, 16]]
    assert found["blurry"] == {}
    grid = read(tmp_path / "grid.png")
    enlarged = read(blurred_file)[8:24, 50:66].repeat(11, axis=0).repeat(11, axis=1)  # (384 - 10) // 2 // 16
    inner = enlarged[2:-2, 2:-2]
    corners = np.argwhere((grid[: -inner.shape[0], : -inner.shape[1]] == inner[0, 0]).all(axis=-1))
    height, width = inner.shape[:2]
    assert (
        sum(np.array_equal(grid[y : y + height, x : x + width], inner) for y, x in corners) == 2
    )  # both cells


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--roi", "10,20,30"), "X,Y,W,H"),
        (("--roi", "10,20,a,9"), "X,Y,W,H"),
        (("--roi", "10,20,0,9"), "at least 1 pixel"),
        (("--roi", "120,0,64,64"), "does not lie inside the picture of 128x96"),
        (("-o", "blurred.png"), "blurred.png"),
        (("-o", "photo.png", "--reference", "photo.png"), "photo.png"),
    ],
)
def test_requests_that_make_no_sense_are_refused_and_no_input_is_touched(
    run, identity, blurred_file, photo_file, words, says
) -> None:
    before = blurred_file.read_bytes(), photo_file.read_bytes()
    ran = run(
        "compare", blurred_file, "-m", identity.weights["identity"], *words, "--overwrite", env=identity.env
    )
    assert ran.code == 2, ran.err
    assert says in ran.err
    assert (blurred_file.read_bytes(), photo_file.read_bytes()) == before


def test_an_existing_grid_is_kept_unless_told_otherwise(run, identity, blurred_file, tmp_path) -> None:
    grid = tmp_path / "grid.png"
    grid.write_bytes(b"mine")
    words = ("compare", blurred_file, "-m", identity.weights["identity"], "-o", grid)
    ran = run(*words, env=identity.env)
    assert ran.code == 2
    assert "--overwrite" in ran.err
    assert grid.read_bytes() == b"mine"
    assert run(*words, "--overwrite", env=identity.env).code == 0
    assert read(grid).shape[2] == 3


def test_a_reference_of_another_size_and_a_missing_picture_are_named(
    run, identity, blurred_file, tmp_path, photo
) -> None:
    small = tmp_path / "small.png"
    Image.fromarray(photo[:50]).save(small)
    words = ("-m", identity.weights["identity"])
    ran = run("compare", blurred_file, *words, "--reference", small, env=identity.env)
    assert ran.code == 1
    assert "128x96" in ran.err
    assert "128x50" in ran.err
    ran = run("compare", tmp_path / "absent.png", *words, env=identity.env)
    assert ran.code == 1
    assert "absent.png" in ran.err
    ran = run("compare", ".", *words, env=identity.env)
    assert ran.code == 1
    assert "cannot read .: " in ran.err
    assert not list(tmp_path.glob("*.compare.png"))


@pytest.mark.parametrize("words", [("compare", "photo.png"), ("verify-tiling", "photo.png"), ("eval",)])
def test_a_network_that_gives_no_numbers_is_said_to_be_broken(run, rednet_weights, photo_file, words) -> None:
    broken = photo_file.parent / "broken.safetensors"
    tensors = {name: value * float("nan") for name, value in read_tensors(rednet_weights).items()}
    write_weights(broken, tensors, read_header(rednet_weights))
    ran = run(*words, "-m", broken)
    assert ran.code == 1
    assert "that are not numbers" in ran.err
    assert "weights may be broken" in ran.err
    assert not list(photo_file.parent.glob("*.compare.png"))


def test_grey_16_bit_and_transparent_pictures_are_compared(run, identity, tmp_path) -> None:
    ramp = np.linspace(0, 65535, 40 * 50).reshape(40, 50).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "grey16.png")
    rgba = np.dstack([np.full((40, 50, 3), 90, np.uint8), np.full((40, 50), 128, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    for name in ("grey16", "rgba"):
        ran = run("compare", tmp_path / f"{name}.png", "-m", identity.weights["identity"], env=identity.env)
        assert ran.code == 0, ran.err
        assert (tmp_path / f"{name}.compare.png").is_file()
