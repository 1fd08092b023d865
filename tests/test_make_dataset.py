"""`deblur make-dataset`: pairs that depend on the seed alone, with a record of what was drawn."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from deblur_cli.blur.light import Light, decode, encode
from deblur_cli.data import open_pairs
from deblur_cli.data.making import make_dataset
from deblur_cli.data.synthesis import Degrade
from deblur_cli.errors import MissingError, UsageError
from deblur_cli.host.manager import Host
from deblur_cli.pictures.scaling import from_integers, to_8_bit

MIXED = Degrade(
    blurs=("camera_shake", "gaussian", "identity"), light=Light.LINEAR, sigma=(0.4, 3.0), max_extent_px=6.0,
    noise=0.8, jpeg=0.7, patch=24, seed=5,
)  # fmt: skip


@pytest.fixture
def sharp(tmp_path) -> Path:
    """Six sharp pictures, one in a sub-folder."""
    folder = tmp_path / "sharp"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("b.png", "a.png", "sub/c.png", "d.png", "e.png", "f.png")):
        Image.fromarray(data.astronaut()[60 * number : 60 * number + 64, 150:230]).save(folder / name)
    return folder


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "meta.jsonl").read_text().splitlines()]


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_promised_line_makes_pairs_that_can_be_read_back(run, sharp, tmp_path):
    ran = run(
        "make-dataset", sharp, tmp_path / "out", "--blur", "gaussian", "--sigma", "0", "3", "--seed", "7"
    )
    assert (ran.code, ran.err) == (0, "")
    assert "6 pairs of 6 pictures" in ran.out
    pairs = open_pairs(Host.discover(environ={}), tmp_path / "out", split="train")
    sources = sorted((path.relative_to(sharp).as_posix() for path in sharp.rglob("*.png")), key=str.encode)
    assert [pair.name for pair in pairs] == [f"{index:06d}_00_0" for index in range(6)]
    for pair, record, source in zip(pairs, records(tmp_path / "out"), sources, strict=True):
        blurry, original = pair.load()
        assert np.array_equal(original, read(sharp / source))
        assert record["source"] == source
        sigma = record["steps"][0]["params"]["sigma"]
        assert 0 <= sigma < 3
        # OpenCV's own blur on floats, with the side that reaches 4 sigma
        side = 2 * int(np.ceil(4 * sigma)) + 1
        expected = cv2.GaussianBlur(original.astype(np.float64), (side, side), sigma) if sigma else original
        assert np.abs(blurry - expected).max() <= 0.5 + 1e-4
        assert record["psnr_db"] == pytest.approx(cv2.PSNR(blurry, original), abs=1e-6)


@pytest.mark.slow
def test_pairs_depend_neither_on_the_number_of_workers_nor_on_the_other_pictures(sharp, tmp_path):
    made = {}
    for workers in (0, 1, 2, 3):
        made[workers] = tmp_path / f"out{workers}"
        make_dataset(sharp, made[workers], MIXED, draws=2, workers=workers)
    assert hashes(made[0]) == hashes(made[1]) == hashes(made[2]) == hashes(made[3])
    blurred = {digest for name, digest in hashes(made[0]).items() if name.startswith("blur/")}
    assert len(blurred) == 12
    (sharp / "sub" / "c.png").unlink()  # the last in order, so the others keep their place
    make_dataset(sharp, tmp_path / "less", MIXED, draws=2)
    less = hashes(tmp_path / "less")
    assert {
        name: digest for name, digest in hashes(made[0]).items() if name in less and name.endswith("png")
    } == {name: digest for name, digest in less.items() if name.endswith("png")}


def test_changing_one_step_leaves_the_draws_of_the_others(sharp, tmp_path):
    make_dataset(sharp, tmp_path / "a", MIXED, draws=3)
    make_dataset(sharp, tmp_path / "b", replace(MIXED, noise=0.0, sigma=(3.0, 3.0)), draws=3)
    branches = set()
    for one, other in zip(records(tmp_path / "a"), records(tmp_path / "b"), strict=True):
        assert one["offset"] == other["offset"]
        assert one["sharp_sha256"] == other["sharp_sha256"]
        assert one["steps"][0] == other["steps"][0]  # which blur
        assert one["steps"][-1] == other["steps"][-1]  # JPEG
        branches.add(one["steps"][1]["op"])
        if one["steps"][1]["op"] == "camera_shake":
            assert one["steps"][1] == other["steps"][1]
    assert branches == {"camera_shake", "gaussian", "identity"}


def test_names_that_are_no_text_are_escaped_in_the_record(run, sharp, tmp_path, rednet_weights):
    odd = os.fsdecode(b"\xff\xfe.png")
    (sharp / "a.png").rename(sharp / odd)
    ran = run("make-dataset", sharp, tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "\\xff\\xfe.png" in {record["source"] for record in records(tmp_path / "out")}
    for kind in ("blur", "sharp"):
        (tmp_path / "out" / kind / "000000_00_0.png").rename(tmp_path / "out" / kind / odd)
    words = ("--data", tmp_path / "out", "--split", "train", "--per-image", "scores.csv")
    ran = run("eval", "-m", rednet_weights, *words)
    assert ran.code == 0, ran.err
    assert "\\xff\\xfe" in (tmp_path / "scores.csv").read_text()


def test_another_seed_makes_other_pairs(sharp, tmp_path):
    make_dataset(sharp, tmp_path / "a", MIXED)
    make_dataset(sharp, tmp_path / "b", replace(MIXED, seed=6))
    assert hashes(tmp_path / "a") != hashes(tmp_path / "b")


def test_patches_lie_where_the_record_says_and_see_no_border(sharp, tmp_path):
    degrade = Degrade(blurs=("gaussian",), sigma=(2.0, 2.0), patch=20, seed=1)
    make_dataset(sharp, tmp_path / "out", degrade, patches=3)
    offsets = set()
    for record in records(tmp_path / "out"):
        assert (record["margin"], record["size"], record["full_size"]) == (8, [20, 20], [80, 64])
        whole = read(sharp / record["source"])
        left, top = record["offset"]
        window = np.s_[top : top + 20, left : left + 20]
        assert np.array_equal(read(tmp_path / "out" / "sharp" / f"{record['name']}.png"), whole[window])
        expected = cv2.GaussianBlur(whole.astype(np.float64), (17, 17), 2.0)[window]
        assert (
            np.abs(read(tmp_path / "out" / "blur" / f"{record['name']}.png") - expected).max() <= 0.5 + 1e-4
        )
        offsets.add((record["source"], left, top))
    assert len(offsets) == 18


def test_of_several_candidates_the_patch_with_most_detail_is_taken(tmp_path):
    picture = np.full((64, 512, 3), 128, np.uint8)
    picture[:, 400:] = np.random.default_rng(0).integers(0, 256, (64, 112, 3), dtype=np.uint8)
    (tmp_path / "sharp").mkdir()
    Image.fromarray(picture).save(tmp_path / "sharp" / "a.png")
    degrade = Degrade(blurs=("identity",), patch=32, candidates=40)
    make_dataset(tmp_path / "sharp", tmp_path / "out", degrade, draws=5)
    assert all(record["offset"][0] > 380 for record in records(tmp_path / "out"))


def test_identity_without_noise_and_jpeg_is_the_picture_bit_for_bit(run, sharp, tmp_path):
    ran = run("make-dataset", sharp, tmp_path / "out", "--blur", "identity", "--light", "linear", "--json")
    assert ran.json()[0]["psnr_db"] is None
    for record in records(tmp_path / "out"):
        assert record["blur_sha256"] == record["sharp_sha256"]
        assert record["psnr_db"] is None
        assert hashlib.sha256(read(sharp / record["source"]).tobytes()).hexdigest() == record["sharp_sha256"]


def test_light_is_where_the_blur_acts(sharp, tmp_path):
    out = {}
    for light in (Light.SRGB, Light.LINEAR):
        out[light] = tmp_path / light.value
        make_dataset(sharp, out[light], Degrade(sigma=(2.0, 2.0), light=light))
    original = from_integers(read(sharp / "a.png"))
    linear = cv2.GaussianBlur(decode(original, Light.LINEAR).astype(np.float64), (17, 17), 2.0)
    expected = to_8_bit(encode(linear.astype(np.float32), Light.LINEAR)).astype(int)
    assert np.abs(read(out[Light.LINEAR] / "blur" / "000000_00_0.png") - expected).max() <= 1
    assert np.abs(read(out[Light.SRGB] / "blur" / "000000_00_0.png") - expected).max() > 8


def test_noise_and_jpeg_are_applied_with_their_probability(sharp, tmp_path):
    make_dataset(
        sharp, tmp_path / "out", Degrade(blurs=("identity",), noise=0.5, jpeg=0.5, quality=(30, 40)), draws=20
    )
    steps = [record["steps"] for record in records(tmp_path / "out")]
    for position, low, high in ((1, 40, 80), (2, 40, 80)):
        assert low < sum(step[position]["applied"] for step in steps) < high
    for record in records(tmp_path / "out"):
        untouched = not any(step.get("applied") for step in record["steps"])
        assert untouched == (record["psnr_db"] is None)
        if record["steps"][2]["applied"]:
            assert 30 <= record["steps"][2]["params"]["quality"] <= 40


def test_sources_of_16_bit_and_grey_ones_are_taken_and_others_left_out_by_name(run, tmp_path):
    folder = tmp_path / "sharp"
    folder.mkdir()
    photo = data.camera()[:70, :90]
    Image.fromarray(photo).save(folder / "a_grey.png")
    cv2.imwrite(str(folder / "b_deep.png"), photo.astype(np.uint16) * 257)
    Image.fromarray(np.dstack([photo, photo, photo, photo])).save(folder / "c_clear.png")
    (folder / "d_broken.png").write_bytes(b"\x89PNG nothing")
    Image.fromarray(photo[:20]).save(folder / "e_small.png")
    ran = run("make-dataset", folder, tmp_path / "out", "--sigma", "1", "1", "--patch", "40", "--json")
    assert ran.code == 0
    summary = ran.json()[0]
    assert summary["pairs"] == 2
    assert set(summary["skipped"]) == {"c_clear.png", "d_broken.png", "e_small.png"}
    assert "transparent" in summary["skipped"]["c_clear.png"]
    assert summary["skipped"]["e_small.png"] == "90x20 is smaller than a patch of 40 with a margin of 4 px"
    assert ran.err.count("left out") == 3
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["skipped"] == summary["skipped"]
    left, top = records(tmp_path / "out")[0]["offset"]
    assert np.array_equal(
        read(tmp_path / "out" / "sharp" / "000000_00_0.png"), photo[top : top + 40, left : left + 40]
    )
    assert (tmp_path / "out" / "sharp" / "000001_00_0.png").exists()


def test_a_folder_with_something_in_it_is_refused_and_nothing_foreign_is_ever_removed(run, sharp, tmp_path):
    out = tmp_path / "out"
    assert run("make-dataset", sharp, out).code == 0
    (out / "blur" / "mine.png").write_bytes(b"mine")
    before = hashes(out)
    ran = run("make-dataset", sharp, out, "--seed", "1")
    assert ran.code == 2
    assert "is not empty" in ran.err
    assert hashes(out) == before
    assert run("make-dataset", sharp / "a.png", out, "--seed", "1", "--overwrite").code == 0
    assert sorted(path.name for path in (out / "blur").iterdir()) == ["000000_00_0.png", "mine.png"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--blur", "gausian"], 4, "did you mean gaussian?"),
        (["--blur", "gaussian", "jpeg"], 2, "jpeg comes after the blur; ask for it with --jpeg"),
        (["--sigma", "3", "1"], 2, "the range of sigma is 3 to 1; write the smaller end first"),
        (["--sigma", "-1", "1"], 2, "Gaussian: sigma is -1.0; it must be from 0 to 64 px"),
        (["--blur", "camera-shake", "--rate", "0", "1"], 2, "its lower end must be above 0"),
        (["--jpeg", "0", "50"], 2, "Jpeg: quality is 0; it must be from 1 to 100"),
        (["--jpeg-share", "0.4"], 2, "--jpeg-share needs --jpeg"),
        (["--patches", "2"], 2, "give the patch size"),
        (["--patch", "500"], 4, "none of the 6 pictures"),
        (["--sigma", "30", "30"], 4, "too small for a blur"),
    ],
)
def test_requests_that_make_no_sense_say_what_to_do(run, sharp, tmp_path, words, code, message):
    ran = run("make-dataset", sharp, tmp_path / "out", "--seed", "1", *words)
    assert ran.code == code, ran.err
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_output_within_the_source_is_refused(sharp):
    for out in (sharp, sharp / "pairs", sharp.parent):
        with pytest.raises(UsageError, match="must lie outside of its source"):
            make_dataset(sharp, out, Degrade())


def test_a_source_without_pictures_is_missing(run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError, match="no pictures in"):
        make_dataset(tmp_path / "empty", tmp_path / "out", Degrade())
    assert run("make-dataset", tmp_path / "nowhere", tmp_path / "out").code == 4
    assert not (tmp_path / "out").exists()


PLUGIN = """
from dataclasses import dataclass
from deblur_cli import Degradation, hookimpl

@dataclass(frozen=True)
class Shift:
    step: int

def draw(rng):
    return Shift(step=1 + int(rng.random() * 3))

def apply(image, params, rng):
    import numpy as np
    return np.roll(image, params.step, axis=1)

@hookimpl
def deblur_degradations():
    return [Degradation(name="sidestep", summary="moves", apply="sidestep_plugin:apply", params="sidestep_plugin:Shift", draw="sidestep_plugin:draw")]
"""


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_blur_of_a_plugin_works_like_ours(run, sharp, tmp_path, workers):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "sidestep_plugin.py").write_text(PLUGIN)
    env = {"PYTHONPATH": str(tmp_path / "plugins"), "DEBLUR_PLUGINS": "sidestep_plugin"}
    words = ["make-dataset", sharp, tmp_path / "out", "--blur", "sidestep", "--workers", workers]
    ran = run(*words, env=env, subprocess=True)
    assert ran.code == 0, ran.err
    steps = set()
    for record in records(tmp_path / "out"):
        step = record["steps"][0]["params"]["step"]
        original = read(sharp / record["source"])
        assert np.array_equal(
            read(tmp_path / "out" / "blur" / f"{record['name']}.png"), np.roll(original, step, axis=1)
        )
        steps.add(step)
    assert len(steps) > 1


@pytest.mark.parametrize(
    ("module", "cure"),
    [
        ('raise ImportError("libGL.so.1: cannot open shared object file")', "apt-get install libgl1"),
        (
            'raise ImportError("libGL.so.1: cannot open shared object file")',
            "pip install opencv-python-headless",
        ),
        ('__version__ = "4.10.0"', "pip install 'opencv-python>=5'"),
    ],
)
def test_an_opencv_that_does_not_load_or_is_too_old_is_one_line_with_the_cure(
    run, sharp, tmp_path, module, cure
):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "cv2.py").write_text(module)
    env = {"PYTHONPATH": str(tmp_path / "broken")}
    ran = run("make-dataset", sharp, tmp_path / "out", "--sigma", "1", "2", env=env, subprocess=True)
    assert ran.code == 4
    assert cure in ran.err
    assert "Traceback" not in ran.err
