"""`deblur make-dataset`: pairs that depend on the seed alone, with records from which they can be made again."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from deblur_cli.blur.light import Light, decode, encode
from deblur_cli.data import open_pairs
from deblur_cli.data.ledger import Ledger
from deblur_cli.errors import MissingError
from deblur_cli.host.manager import Host
from deblur_cli.pictures.scaling import from_integers, to_8_bit

MIXED = """
schema = 1
name = "mixed"
seed = 5
light = "linear"
border = "crop-valid"
patch = [24, 24]

[[step]]
op = "mix"
branch = [
  { p = 0.4, step = [{ op = "camera_shake", max_extent_px = 6 }] },
  { p = 0.3, step = [{ op = "gaussian", sigma = { uniform = [0.4, 2.0] } }] },
  { p = 0.2, step = [{ op = "trajectory", length = 12, samples = 200, fraction = { choice = [0.5, 1.0] } }] },
  { p = 0.1, step = [{ op = "identity" }] },
]

[[step]]
op = "noise"
prob = 0.8

[[step]]
op = "jpeg"
prob = 0.7
"""


@pytest.fixture
def sharp(tmp_path) -> Path:
    """Six sharp pictures, one in a sub-folder."""
    folder = tmp_path / "sharp"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("b.png", "a.png", "sub/c.png", "d.png", "e.png", "f.png")):
        Image.fromarray(data.astronaut()[60 * number : 60 * number + 64, 150:230]).save(folder / name)
    return folder


@pytest.fixture
def mixed(tmp_path) -> Path:
    """A spec file with a mixture, noise and JPEG."""
    path = tmp_path / "mixed.toml"
    path.write_text(MIXED)
    return path


@pytest.fixture
def spec(tmp_path):
    """(steps as TOML, further keys) -> a spec file."""

    def write(steps: str, **keys: object) -> Path:
        path = tmp_path / "spec.toml"
        lines = [f"{name} = {value}" for name, value in keys.items()]
        path.write_text(
            "\n".join(["schema = 1", 'name = "test"', "seed = 1", *lines, f"step = [{steps}]", ""])
        )
        return path

    return write


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
    words = ("--preset", "gaussian", "--split", "100/0/0")
    ran = run("make-dataset", sharp, tmp_path / "out", *words)
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
def test_pairs_depend_neither_on_the_number_of_workers_nor_on_the_other_pictures(run, sharp, mixed, tmp_path):
    made = {}
    for workers in (0, 1, 2, 3):
        out = tmp_path / f"out{workers}"
        words = ("--spec", mixed, "--set", "draws=2", "--workers", workers)
        assert run("make-dataset", sharp, out, *words, subprocess=True).code == 0
        made[workers] = hashes(out)
    assert made[0] == made[1] == made[2] == made[3]
    assert len({digest for name, digest in made[0].items() if name.startswith("blur/")}) == 12
    (sharp / "sub" / "c.png").unlink()  # the last in order, so the others keep their place
    assert run("make-dataset", sharp, tmp_path / "less", "--spec", mixed, "--set", "draws=2").code == 0
    less = {name: digest for name, digest in hashes(tmp_path / "less").items() if name.endswith("png")}
    assert len(less) == 20
    assert less.items() <= made[0].items()


def test_changing_one_step_leaves_the_draws_of_the_others(run, sharp, mixed, tmp_path):
    words = ("--spec", mixed, "--pairs", "3")
    assert run("make-dataset", sharp, tmp_path / "a", *words).code == 0
    changes = ("--set", "step.1.prob=0.0", "step.0.branch.1.step.0.sigma=2.0")
    assert run("make-dataset", sharp, tmp_path / "b", *words, *changes).code == 0
    branches = set()
    for one, other in zip(records(tmp_path / "a"), records(tmp_path / "b"), strict=True):
        assert one["offset"] == other["offset"]
        assert one["sharp_sha256"] == other["sharp_sha256"]
        assert one["steps"][0] == other["steps"][0]  # which blur
        assert one["steps"][-1] == other["steps"][-1]  # JPEG
        branches.add(one["steps"][1]["op"])
        if one["steps"][1]["op"] != "gaussian":
            assert one["steps"][1] == other["steps"][1]
    assert branches >= {"camera_shake", "gaussian", "trajectory"}


def test_names_that_are_no_text_are_escaped_in_the_record(run, sharp, tmp_path, rednet_weights):
    odd = os.fsdecode(b"\xff\xfe.png")
    (sharp / "a.png").rename(sharp / odd)
    ran = run("make-dataset", sharp, tmp_path / "out", "--preset", "gaussian", "--split", "1/0/0")
    assert ran.code == 0, ran.err
    assert "\\xff\\xfe.png" in {record["source"] for record in records(tmp_path / "out")}
    checked = run("make-dataset", "--verify", tmp_path / "out")
    assert (checked.code, checked.err) == (0, "")
    ran = run("eval", "-m", rednet_weights, "--data", tmp_path / "out", "--split", "train")
    assert ran.code == 0, ran.err


def test_another_seed_makes_other_pairs(run, sharp, mixed, tmp_path):
    assert run("make-dataset", sharp, tmp_path / "a", "--spec", mixed).code == 0
    assert run("make-dataset", sharp, tmp_path / "b", "--spec", mixed, "--seed", "6").code == 0
    first, second = ([record["blur_sha256"] for record in records(tmp_path / name)] for name in "ab")
    assert not set(first) & set(second)


def test_patches_lie_where_the_record_says_and_see_no_border(run, sharp, spec, tmp_path):
    file = spec('{ op = "gaussian", sigma = 2.0 }', border='"crop-valid"', patch="[20, 20]", patches=3)
    assert run("make-dataset", sharp, tmp_path / "out", "--spec", file).code == 0
    offsets = set()
    for record in records(tmp_path / "out"):
        assert (record["margin"], record["size"], record["full_size"]) == (8, [20, 20], [80, 64])
        whole = read(sharp / record["source"])
        left, top = record["offset"]
        assert 8 <= left <= 80 - 28
        assert 8 <= top <= 64 - 28
        window = np.s_[top : top + 20, left : left + 20]
        assert np.array_equal(read(tmp_path / "out" / "sharp" / f"{record['name']}.png"), whole[window])
        expected = cv2.GaussianBlur(whole.astype(np.float64), (17, 17), 2.0)[window]
        blurry = read(tmp_path / "out" / "blur" / f"{record['name']}.png")
        assert np.abs(blurry - expected).max() <= 0.5 + 1e-4
        offsets.add((record["source"], left, top))
    assert len(offsets) == 18


def test_a_patch_with_a_mirrored_border_is_blurred_as_within_the_whole_picture(run, sharp, spec, tmp_path):
    file = spec('{ op = "gaussian", sigma = 2.0 }', patch="[20, 30]", patches=8)
    assert run("make-dataset", sharp, tmp_path / "out", "--spec", file).code == 0
    near_the_edge = 0
    for record in records(tmp_path / "out"):
        left, top = record["offset"]
        near_the_edge += left < 8 or top < 8
        whole = cv2.GaussianBlur(read(sharp / record["source"]).astype(np.float64), (17, 17), 2.0)
        blurry = read(tmp_path / "out" / "blur" / f"{record['name']}.png")
        assert blurry.shape == (20, 30, 3)
        assert np.abs(blurry - whole[top : top + 20, left : left + 30]).max() <= 0.5 + 1e-4
    assert near_the_edge
    assert run("make-dataset", "--verify", tmp_path / "out").code == 0


def test_of_several_candidates_the_patch_with_most_detail_is_taken(run, spec, tmp_path):
    picture = np.full((64, 512, 3), 128, np.uint8)
    picture[:, 400:] = np.random.default_rng(0).integers(0, 256, (64, 112, 3), dtype=np.uint8)
    (tmp_path / "one").mkdir()
    Image.fromarray(picture).save(tmp_path / "one" / "a.png")
    file = spec('{ op = "identity" }', patch="[32, 32]", candidates=40, draws=5)
    assert run("make-dataset", tmp_path / "one", tmp_path / "out", "--spec", file).code == 0
    assert all(record["offset"][0] > 380 for record in records(tmp_path / "out"))


def test_identity_without_noise_and_jpeg_is_the_picture_bit_for_bit(run, sharp, spec, tmp_path):
    file = spec('{ op = "identity" }', light='"linear"')
    ran = run("make-dataset", sharp, tmp_path / "out", "--spec", file, "--json")
    assert (ran.json()[0]["psnr_db"], ran.json()[0]["identical"]) == (None, 6)
    for record in records(tmp_path / "out"):
        assert record["blur_sha256"] == record["sharp_sha256"]
        assert record["psnr_db"] is None
        assert hashlib.sha256(read(sharp / record["source"]).tobytes()).hexdigest() == record["sharp_sha256"]


def test_light_is_where_the_blur_acts(run, sharp, tmp_path):
    for light in ("srgb", "linear"):
        words = ("--preset", "gaussian", "--set", "step.0.sigma=2.0", f"light={light}")
        assert run("make-dataset", sharp, tmp_path / light, *words).code == 0
    original = from_integers(read(sharp / "a.png"))
    linear = cv2.GaussianBlur(decode(original, Light.LINEAR).astype(np.float64), (17, 17), 2.0)
    expected = to_8_bit(encode(linear.astype(np.float32), Light.LINEAR)).astype(int)
    assert np.abs(read(tmp_path / "linear/blur/000000_00_0.png") - expected).max() <= 1
    assert np.abs(read(tmp_path / "srgb/blur/000000_00_0.png") - expected).max() > 8


def test_steps_are_applied_with_their_probability(run, sharp, spec, tmp_path):
    steps = '{ op = "noise", prob = 0.5 }, { op = "jpeg", prob = 0.5, quality = { integers = [30, 40] } }'
    assert run("make-dataset", sharp, tmp_path / "out", "--spec", spec(steps, draws=20)).code == 0
    made = records(tmp_path / "out")
    for position in (0, 1):
        assert 40 < sum(record["steps"][position]["applied"] for record in made) < 80
    for record in made:
        untouched = not any(step.get("applied", True) for step in record["steps"])
        assert untouched == (record["psnr_db"] is None)
        if "params" in record["steps"][1]:
            assert 30 <= record["steps"][1]["params"]["quality"] <= 40


def test_sources_of_16_bit_and_grey_ones_are_taken_and_others_left_out_by_name(run, tmp_path):
    folder = tmp_path / "sharp"
    folder.mkdir()
    photo = data.camera()[:70, :90]
    Image.fromarray(photo).save(folder / "a_grey.png")
    cv2.imwrite(str(folder / "b_deep.png"), photo.astype(np.uint16) * 257)
    Image.fromarray(np.dstack([photo, photo, photo, photo])).save(folder / "c_clear.png")
    (folder / "d_broken.png").write_bytes(b"\x89PNG nothing")
    Image.fromarray(photo[:20]).save(folder / "e_small.png")
    words = (
        "--preset",
        "gaussian",
        "--set",
        "step.0.sigma=1",
        "border=crop-valid",
        "--patch",
        "40",
        "--json",
    )
    ran = run("make-dataset", folder, tmp_path / "out", *words)
    assert ran.code == 1
    summary = ran.json()[0]
    assert summary["pairs"] == 2
    assert set(summary["skipped"]) == {"c_clear.png", "d_broken.png", "e_small.png"}
    assert "transparent" in summary["skipped"]["c_clear.png"]
    assert summary["skipped"]["e_small.png"].startswith("90x20 is smaller than 48x48")
    assert ran.err.count("left out") == 3
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["left_out"] == summary["skipped"]
    left, top = records(tmp_path / "out")[0]["offset"]
    made = read(tmp_path / "out" / "sharp" / "000000_00_0.png")
    assert np.array_equal(made, photo[top : top + 40, left : left + 40])
    assert (tmp_path / "out" / "sharp" / "000001_00_0.png").exists()
    assert run("make-dataset", "--verify", tmp_path / "out").code == 0


def test_a_folder_with_something_in_it_is_refused_and_nothing_foreign_is_ever_removed(run, sharp, tmp_path):
    out = tmp_path / "out"
    assert run("make-dataset", sharp, out, "--preset", "gaussian").code == 0
    (out / "blur" / "mine.png").write_bytes(b"mine")
    before = hashes(out)
    ran = run("make-dataset", sharp, out, "--preset", "gaussian", "--seed", "1")
    assert ran.code == 2
    assert "is not empty" in ran.err
    assert hashes(out) == before
    words = ("--preset", "gaussian", "--seed", "1", "--overwrite")
    assert run("make-dataset", sharp / "a.png", out, *words).code == 0
    assert sorted(path.name for path in (out / "blur").iterdir()) == ["000000_00_0.png", "mine.png"]


def test_overwrite_leaves_a_folder_alone_that_holds_no_data_set(run, sharp, tmp_path):
    """The spec of a user's own, say, which bears the name that we give ours."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "spec.toml").write_text("mine")
    ran = run("make-dataset", sharp, out, "--preset", "gaussian", "--overwrite")
    assert (ran.code, (out / "spec.toml").read_text()) == (2, "mine")
    assert "no data set" in ran.err


def test_lists_of_other_names_survive_overwrite(run, sharp, tmp_path):
    out = tmp_path / "out"
    assert run("make-dataset", sharp, out, "--preset", "gaussian").code == 0
    (out / "splits" / "hard.txt").write_text("000000_00_0")
    assert run("make-dataset", sharp, out, "--preset", "gaussian", "--overwrite").code == 0
    assert (out / "splits" / "hard.txt").read_text() == "000000_00_0"


def test_a_strip_replaces_no_picture_unasked(run, sharp):
    before = (sharp / "a.png").read_bytes()
    ran = run("make-dataset", sharp / "b.png", "--strip", sharp / "a.png")
    assert (ran.code, "exists already" in ran.err, (sharp / "a.png").read_bytes()) == (2, True, before)
    ran = run("make-dataset", sharp / "a.png", "--strip", sharp / "a.png", "--overwrite")
    assert (ran.code, (sharp / "a.png").read_bytes()) == (2, before), "the source itself never"
    assert run("make-dataset", sharp, "--strip", sharp / "strip.txt").code == 2


def test_a_link_that_leads_to_itself_is_one_picture_that_cannot_be_read(run, sharp, tmp_path):
    (sharp / "loop.png").symlink_to("loop.png")
    ran = run("make-dataset", sharp, tmp_path / "out", "--preset", "gaussian")
    assert (ran.code, ran.err.count("left out loop.png")) == (1, 1)
    assert len(records(tmp_path / "out")) == 6


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_is_at_work(run, sharp, tmp_path):
    out = tmp_path / "out"
    assert run("make-dataset", sharp, out, "--preset", "gaussian").code == 0
    before = hashes(out)
    with Ledger(out).alone():
        for words in (("--overwrite",), ("--resume",)):
            ran = run("make-dataset", sharp, out, "--preset", "gaussian", *words)
            assert (ran.code, "another deblur make-dataset is at work" in ran.err) == (2, True)
            assert hashes(out) == before


def test_a_complete_set_is_not_taken_for_one_of_another_source(run, sharp, tmp_path):
    out = tmp_path / "out"
    assert run("make-dataset", sharp, out, "--preset", "gaussian").code == 0
    (sharp / "g.png").write_bytes((sharp / "a.png").read_bytes())
    ran = run("make-dataset", sharp, out, "--preset", "gaussian", "--resume")
    assert (ran.code, "the source is not the one it was made with" in ran.err) == (2, True)


def test_what_a_kill_at_the_very_end_leaves_is_cleared_away_by_resume(run, sharp, tmp_path):
    out = tmp_path / "out"
    assert run("make-dataset", sharp, out, "--preset", "gaussian").code == 0
    before = hashes(out)
    (out / ".making").mkdir()
    for name in (".making/plan.json", ".deblur-0123456789ab.part", "splits/.deblur-0123456789ab.part"):
        (out / name).write_text("{}")
    assert run("make-dataset", sharp, out, "--preset", "gaussian", "--resume").code == 0
    assert hashes(out) == before


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "say how pairs are made, with either --preset or --spec FILE; presets: camera-shake"),
        (["--preset", "gausian"], 2, "did you mean gaussian or kodak-gaussian?"),
        (["--preset", "gaussian", "--set", "step.0.sgma=2"], 2, 'did you mean "sigma"?'),
        (["--preset", "gaussian", "--set", "step.0.sigma=-1"], 2, "step[0].sigma: -1"),
        (["--preset", "gaussian", "--size", "12"], 2, "--size 12: write it as WxH"),
        (["--preset", "gaussian", "--grid", "0x3"], 2, "--grid 0x3: write it as CxR, such as 4x3"),
        (["--preset", "gaussian", "--grid", "999999999x999999999"], 4, "one pixel for each tile"),
        (["--preset", "gaussian", "--split", "inf/1"], 2, "--split inf/1: write shares"),
        (["--preset", "gaussian", "--only", "000000_00_0"], 2, "add --verify OUT"),
        (["--preset", "gaussian", "--mend"], 2, "add --verify OUT"),
        (["--preset", "gaussian", "--verify", "pairs"], 2, "--preset has no place beside it"),
        (["--preset", "gaussian", "--split", "80-20"], 2, "--split 80-20: write shares"),
        (["--preset", "gaussian", "--set", "patches=2"], 2, "patches"),
        (["--preset", "gaussian", "--resume", "--overwrite"], 2, "give one of them"),
        (["--preset", "gaussian", "--patch", "500"], 4, "none of the 6 items could be used"),
        (["--preset", "gaussian", "--set", "step.0.sigma=30"], 4, "too small for a blur"),
        (["--preset", "gopro-256"], 4, "no pairs for the split train"),
    ],
)
def test_requests_that_make_no_sense_say_what_to_do(run, sharp, tmp_path, words, code, message):
    ran = run("make-dataset", sharp, tmp_path / "out", *words)
    assert ran.code == code, ran.err
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_output_within_the_source_is_refused(run, sharp):
    for out in (sharp, sharp / "pairs", sharp.parent):
        ran = run("make-dataset", sharp, out, "--preset", "gaussian")
        assert ran.code == 2
        assert "must lie outside of its source" in ran.err


def test_a_source_without_pictures_is_missing(run, tmp_path):
    (tmp_path / "empty").mkdir()
    ran = run("make-dataset", tmp_path / "empty", tmp_path / "out", "--preset", "gaussian")
    assert (ran.code, ran.err.strip()) == (4, f"deblur: no pictures in {tmp_path / 'empty'}")
    assert run("make-dataset", tmp_path / "nowhere", tmp_path / "out", "--preset", "gaussian").code == 4
    assert not (tmp_path / "out").exists()


def test_records_alone_make_every_pair_again(run, sharp, mixed, tmp_path):
    out = tmp_path / "out"
    assert run("make-dataset", sharp, out, "--spec", mixed, "--pairs", "2").code == 0
    lines = (out / "meta.jsonl").read_text()
    assert (
        "".join(json.dumps(json.loads(line), ensure_ascii=False) + "\n" for line in lines.splitlines())
        == lines
    )
    (out / "spec.toml").unlink()
    mixed.unlink()
    ran = run("make-dataset", "--verify", out, "--json")
    assert ran.json() == [{"checked": 12, "different": {}, "mended": 0, "versions": []}]

    made = records(out)
    made[3]["schema"] = 2
    (out / "meta.jsonl").write_text("".join(json.dumps(record) + "\n" for record in made))
    ran = run("make-dataset", "--verify", out)
    assert ran.code == 2
    assert f"{out / 'meta.jsonl'}:4: schema: 2 is newer than this program understands (1)" in ran.err


def test_the_smallest_change_of_a_record_shows(run, tmp_path):
    Image.fromarray(data.astronaut()).save(tmp_path / "astronaut.png")
    out = tmp_path / "out"
    words = ("--preset", "trajectory", "--set", "step.0.fraction=1.0", "step.0.anxiety=0", "--patch", "440")
    assert run("make-dataset", tmp_path / "astronaut.png", out, *words).code == 0
    (record,) = records(out)
    record["steps"][0]["params"]["angle"] += 1e-7
    (out / "meta.jsonl").write_text(json.dumps(record) + "\n")
    ran = run("make-dataset", "--verify", out)
    assert ran.code == 3
    assert ran.out.startswith("000000_00_0: the blur picture made again is another one than recorded")
    assert ran.out.endswith("1 pairs made again, 1 differ\n")


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda made: made.pop(2), 3, "meta.jsonl: the records are not those that were written, of 6 pairs"),
        (lambda made: made.clear(), 3, "meta.jsonl: the records are not those that were written, of 6 pairs"),
        (lambda made: made[2].update(name="../../x"), 2, "meta.jsonl:3: this is no record of a pair"),
        (lambda made: made[2].pop("name"), 2, "meta.jsonl:3: this is no record of a pair"),
        (lambda made: made[2].update(source=3), 3, "000002_00_0: its record makes no sense"),
        (lambda made: made[2].update(light=3), 3, "000002_00_0: its record makes no sense"),
        (lambda made: made[2].update(grid=[0, 0]), 3, "000002_00_0: the record of 000002_00_0 makes no sense"),
        (lambda made: made[2].update(grid=[10**9, 10**9]), 3, "000002_00_0: the record of 000002_00_0 makes no sense"),
        (lambda made: made[2].update(margin=10**7), 3, "000002_00_0: its record makes no sense"),
    ],
)  # fmt: skip
def test_verification_tells_of_records_that_were_lost_or_changed(run, sharp, tmp_path, change, code, message):
    out = tmp_path / "out"
    assert run("make-dataset", sharp, out, "--preset", "gaussian").code == 0
    made = records(out)
    change(made)
    (out / "meta.jsonl").write_text("".join(json.dumps(record) + "\n" for record in made))
    ran = run("make-dataset", "--verify", out, "--mend")
    assert (ran.code, message in ran.out + ran.err) == (code, True), ran.out + ran.err
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema": 1, "pairs": 6}', "\udcff"])
def test_a_damaged_summary_is_one_line(run, sharp, tmp_path, text):
    out = tmp_path / "out"
    assert run("make-dataset", sharp, out, "--preset", "gaussian").code == 0
    (out / "dataset.json").write_text(text, errors="surrogateescape")
    for words in (("--verify", out), (sharp, out, "--preset", "gaussian", "--resume")):
        ran = run("make-dataset", *words)
        assert (ran.code, "dataset.json is missing or damaged; make the set again" in ran.err) == (2, True)


def test_verification_finds_and_mends_files_and_tells_of_changed_sources(run, sharp, tmp_path):
    out = tmp_path / "out"
    assert run("make-dataset", sharp, out, "--preset", "gaussian").code == 0
    before = hashes(out)
    (out / "blur/000001_00_0.png").unlink()
    (out / "sharp/000002_00_0.png").write_bytes(b"\x89PNG")
    ran = run("make-dataset", "--verify", out)
    assert ran.code == 3
    assert "blur/000001_00_0.png is missing, damaged or not what was made" in ran.out
    assert "2 differ" in ran.out
    assert run("make-dataset", "--verify", out, "--only", "000003_00_0").code == 0
    assert run("make-dataset", "--verify", out, "--only", "x").code == 2
    ran = run("make-dataset", "--verify", out, "--mend")
    assert (ran.code, "0 differ, 2 files written again" in ran.out) == (0, True)
    assert hashes(out) == before
    shutil.rmtree(out / "blur")
    assert run("make-dataset", "--verify", out, "--mend").code == 0
    assert hashes(out) == before

    moved = sharp.rename(tmp_path / "moved")
    ran = run("make-dataset", "--verify", out)
    assert ran.code == 4
    assert "say where they are now" in ran.err
    Image.fromarray(data.coffee()[:64, :80]).save(moved / "b.png")
    ran = run("make-dataset", moved, "--verify", out)
    assert ran.code == 3
    assert ran.out.splitlines()[0] == "000001_00_0: its source b.png has changed"
    assert "1 differ" in ran.out


@pytest.mark.slow
def test_killed_at_any_moment_it_resumes_to_the_same_bytes(run, tmp_path, mixed):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(40):
        Image.fromarray(data.astronaut()[number : number + 64, 150:230]).save(folder / f"{number:02d}.png")
    words = ["make-dataset", folder, "--spec", mixed, "--pairs", "6"]
    assert run(*words[:2], tmp_path / "whole", *words[2:]).code == 0
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "deblur_cli", *map(str, words[:2]), str(out), *map(str, words[2:])]
    moments = random.Random(0)
    kills = 0
    for _ in range(3):
        process = subprocess.Popen(
            [*command, "--workers", "2", "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        before = len(list((out / ".making").glob("*.jsonl"))) if out.exists() else 0
        wanted = before + moments.randint(1, 2)
        while process.poll() is None and not len(list((out / ".making").glob("*.jsonl"))) >= wanted:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2
    if (out / ".making").exists():
        ran = run(*words[:2], out, *words[2:])
        assert ran.code == 2
        assert "go on with --resume" in ran.err
        with pytest.raises(MissingError, match="is a data set that is not finished"):
            open_pairs(Host.discover(), str(out), split="train")
        ran = run(*words[:2], out, *words[2:], "--seed", "9", "--resume")
        assert ran.code == 2
        assert "the spec is not the one it was begun with" in ran.err
    assert run(*words[:2], out, *words[2:], "--resume").code == 0
    assert hashes(out) == hashes(tmp_path / "whole")
    ran = run(*words[:2], out, *words[2:], "--resume")
    assert (ran.code, "240 pairs of 40 pictures" in ran.out) == (0, True)
    assert hashes(out) == hashes(tmp_path / "whole")


def test_a_full_disk_is_one_line_and_what_is_complete_stays(sharp, tmp_path):
    """A limit on the size of files stands for the disk: the picture of one source is too large for it."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(sharp / "z.png")
    script = (
        "import resource, sys; from deblur_cli.cli.app import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); sys.exit(main(sys.argv[1:]))"
    )
    command = [
        sys.executable,
        "-c",
        script,
        "make-dataset",
        str(sharp),
        str(tmp_path / "out"),
        "--preset",
        "gaussian",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 5
    assert done.stderr.count("\n") == 1
    assert "the disk is full" in done.stderr
    assert not (tmp_path / "out/sharp/000006_00_0.png").exists()
    assert (tmp_path / "out/.making/000000000000.jsonl").exists()
    script = "import sys; from deblur_cli.cli.app import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [*command[:2], script, *command[3:], "--resume"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, "7 pairs" in done.stdout) == (0, True)


def test_ready_pairs_are_resized_cut_into_tiles_and_divided_by_folder(run, tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for clip in range(8 if split == "train" else 2):
            for kind in ("blur", "sharp"):
                folder = tmp_path / f"reds/{split}_{kind}/{clip:03d}"
                folder.mkdir(parents=True)
                for frame in range(2):
                    picture = rng.integers(0, 256, (72, 128, 3), dtype=np.uint8)
                    Image.fromarray(picture).save(folder / f"{frame:08d}.png")
    out = tmp_path / "out"
    words = ("--preset", "reds-s0-256", "--size", "64x36", "--grid", "4x3")
    ran = run("make-dataset", tmp_path / "reds", out, *words, "--split", "50/50")
    assert ran.code == 0, ran.err
    made = records(out)
    assert len(made) == 20 * 12
    clips = {}
    for record in made:
        part, clip = record["source"].split("/")[0], record["source"].rpartition("/")[0]
        clips.setdefault(clip, set()).add(record["split"])
        assert (record["split"] == "test") == (part == "val_sharp")
        assert record["size"] == [16, 12]
        for kind in ("blur", "sharp"):
            source = record["source"].replace("_sharp", f"_{kind}")
            whole = cv2.resize(read(tmp_path / "reds" / source).astype(np.float32), (64, 36))
            row, column = divmod(record["tile"], 4)
            expected = whole[row * 12 : row * 12 + 12, column * 16 : column * 16 + 16]
            assert np.abs(read(out / kind / f"{record['name']}.png") - expected).max() <= 0.5 + 1e-3
    refused = run("make-dataset", tmp_path / "reds", tmp_path / "twice", "--preset", "gaussian")
    assert refused.code == 2
    assert "holds blurred ones already" in refused.err
    assert all(len(splits) == 1 for splits in clips.values())
    assert {"train", "val", "test"} == set.union(*clips.values())
    listed = {split: (out / f"splits/{split}.txt").read_text().split() for split in ("train", "val", "test")}
    assert {split: set(names) for split, names in listed.items()} == {
        split: {record["name"] for record in made if record["split"] == split} for split in listed
    }
    assert run("make-dataset", "--verify", out).code == 0


def test_a_named_set_is_read_from_the_folders_that_it_means(run, tmp_path, monkeypatch):
    for part in ("train", "test"):
        for level, kind in enumerate(("blur", "blur_gamma", "sharp")):
            folder = tmp_path / "data/gopro" / part / "GOPR1" / kind
            folder.mkdir(parents=True)
            Image.fromarray(np.full((40, 40, 3), 60 * level, np.uint8)).save(folder / "000001.png")
    monkeypatch.setenv("DEBLUR_DATA", str(tmp_path / "data"))
    for name, level in (("gopro", 0), ("gopro-gamma", 60)):
        ran = run("make-dataset", name, tmp_path / name, "--preset", "gopro-256", "--patch", "32")
        assert ran.code == 0, ran.err
        assert [record["split"] for record in records(tmp_path / name)] == ["test", "train"]
        assert {int(read(path).mean()) for path in (tmp_path / name / "blur").iterdir()} == {level}
        assert run("make-dataset", "--verify", tmp_path / name).code == 0


def test_cifar10_is_read_from_its_binary_files(run, tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    batches = {}
    for name in ("data_batch_2", "test_batch"):
        batches[name] = rng.integers(0, 256, (30, 3073), dtype=np.uint8)
        (folder / f"{name}.bin").write_bytes(batches[name].tobytes())
    out = tmp_path / "out"
    ran = run("make-dataset", folder, out, "--preset", "cifar10-s0")
    assert ran.code == 0, ran.err
    made = records(out)
    assert [record["index"] for record in made] == [*range(10_000, 10_030), *range(50_000, 50_030)]
    for record in made:
        batch, number = record["source"].split("/")
        sharp = batches[batch][int(number)][1:].reshape(3, 32, 32).transpose(1, 2, 0)
        assert np.array_equal(read(out / "sharp" / f"{record['name']}.png"), sharp)
        sigma = record["steps"][0]["params"]["sigma"]
        expected = cv2.GaussianBlur(np.ascontiguousarray(sharp), (0, 0), sigma)
        assert np.array_equal(read(out / "blur" / f"{record['name']}.png"), expected)
        assert (record["split"] == "test") == (batch == "test_batch")
    assert run("make-dataset", "--verify", out, "--sample", "0").code == 0


def test_other_pictures_are_not_taken_for_cifar10(run, sharp, tmp_path):
    ran = run("make-dataset", sharp, tmp_path / "out", "--preset", "cifar10-s0")
    assert ran.code == 4
    assert "no pictures for the split test in CIFAR-10" in ran.err
    for number, part in enumerate(("train/cat", "test/cat")):
        (tmp_path / "png" / part).mkdir(parents=True)
        Image.fromarray(data.astronaut()[:32, number * 32 : number * 32 + 32]).save(
            tmp_path / "png" / part / "0.png"
        )
    assert run("make-dataset", tmp_path / "png", tmp_path / "out", "--preset", "cifar10-s0").code == 0
    assert {record["source"] for record in records(tmp_path / "out")} == {"test/cat/0.png", "train/cat/0.png"}


def test_frames_of_a_clip_are_averaged_over_drawn_windows_and_ghosts_are_left_out(run, tmp_path):
    photo = cv2.GaussianBlur(data.astronaut(), (0, 0), 2.0)
    for clip, speed in (("slow", 0.5), ("fast", 4.0)):
        folder = tmp_path / "clips" / clip
        folder.mkdir(parents=True)
        for number in range(40):
            moved = cv2.warpAffine(photo, np.array([[1, 0, -speed * number], [0, 1, 0]]), (512, 512))
            Image.fromarray(moved[100:260, 180:340]).save(folder / f"{number:05d}.png")
    out = tmp_path / "out"
    words = ("--preset", "gopro_7_13", "--set", "step.0.ghost=refuse", "light=linear")
    ran = run("make-dataset", tmp_path / "clips", out, *words)
    assert ran.code == 0, ran.err
    assert "windows of frames left out" in ran.err
    made = records(out)
    assert made
    for record in made:
        assert record["source"].startswith("slow/")
        names = sorted((tmp_path / "clips/slow").iterdir())
        first, last = (tmp_path / "clips" / name for name in record["frames"])
        window = names[names.index(first) : names.index(last) + 1]
        assert len(window) == record["steps"][0]["params"]["window"]
        assert len(window) in (7, 9, 11, 13)
        light = np.mean([decode(from_integers(read(name)), Light.LINEAR) for name in window], axis=0)
        expected = to_8_bit(encode(light.astype(np.float32), Light.LINEAR)).astype(int)
        assert np.abs(read(out / "blur" / f"{record['name']}.png") - expected).max() <= 1
        middle = read(window[len(window) // 2])
        assert np.array_equal(read(out / "sharp" / f"{record['name']}.png"), middle)
        assert record["steps"][0]["measured"]["flow_px"] < 1.15
    assert run("make-dataset", "--verify", out).code == 0


@pytest.mark.parametrize("below", ["", "scenes/", "{part}/", "{part}_sharp/"])
def test_clips_of_frames_are_never_divided_and_keep_the_part_they_have(run, tmp_path, below):
    rng = np.random.default_rng(0)
    for clip in range(1 if below == "" else 4):
        name = f"{clip:03d}" if below else ""
        folder = tmp_path / "clips" / below.format(part=("train", "test")[clip % 2]) / name
        folder.mkdir(parents=True)
        for number in range(24):
            Image.fromarray(rng.integers(0, 9, (16, 16, 3), np.uint8)).save(folder / f"{number:05d}.png")
    out = tmp_path / "out"
    words = ("--preset", "gopro_7_13", "--set", "step.0.window=3", "--split", "50/50")
    ran = run("make-dataset", tmp_path / "clips", out, *words)
    assert ran.code == 0, ran.err
    splits = {}
    for record in records(out):
        splits.setdefault(record["source"].rpartition("/")[0], []).append(record["split"])
    assert all(len(found) == 8 and len(set(found)) == 1 for found in splits.values())
    if "part" in below:
        assert {clip: clip.startswith("test") for clip in splits} == {
            clip: found[0] == "test" for clip, found in splits.items()
        }


def test_presets_operations_and_plans_can_be_looked_at_without_making_anything(run, sharp, tmp_path):
    names = [line.split()[0] for line in run("make-dataset", "--list-presets").out.splitlines()]
    assert {"cifar10-s0", "gopro_7_13", "photo-mix"} <= set(names)
    shown = run("make-dataset", "--show-preset", "photo-mix").out
    (tmp_path / "own.toml").write_text(shown)
    described = run("make-dataset", "--describe", "trajectory", "--json").json()[0]
    assert described["parameters"][0]["key"] == "anxiety"
    assert "from 0" in run("make-dataset", "--describe", "defocus").out
    words = ("--spec", tmp_path / "own.toml", "--set", "patch=[16,16]", "--dry-run", "--json")
    plan = run("make-dataset", sharp, tmp_path / "out", *words).json()[0]
    assert (plan["items"], plan["pairs"]) == (6, 24)
    assert plan["smallest"] == [16 + 2 * plan["margin"]] * 2
    assert not (tmp_path / "out").exists()


PLUGIN = """
from dataclasses import dataclass
from deblur_cli import Degradation, Integers, hookimpl, number

@dataclass(frozen=True)
class Shift:
    step: int = number(unit="px", ge=0, le=8, drawn=Integers(1, 3))

def apply(image, params, rng):
    import numpy as np
    return np.roll(image, params.step, axis=1)

def bound(node):
    return max(node["step"].extremes())

@hookimpl
def deblur_degradations():
    return [Degradation(name="sidestep", summary="moves", apply="sidestep_plugin:apply", params="sidestep_plugin:Shift", bound="sidestep_plugin:bound")]
"""


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_blur_of_a_plugin_works_like_ours(run, sharp, spec, tmp_path, workers):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "sidestep_plugin.py").write_text(PLUGIN)
    env = {"PYTHONPATH": str(tmp_path / "plugins"), "DEBLUR_PLUGINS": "sidestep_plugin"}
    file = spec('{ op = "sidestep" }', border='"crop-valid"')
    words = ["make-dataset", sharp, tmp_path / "out", "--spec", file, "--workers", workers]
    ran = run(*words, env=env, subprocess=True)
    assert ran.code == 0, ran.err
    steps = set()
    for record in records(tmp_path / "out"):
        step = record["steps"][0]["params"]["step"]
        expected = np.roll(read(sharp / record["source"]), step, axis=1)[3:-3, 3:-3]
        assert np.array_equal(read(tmp_path / "out" / "blur" / f"{record['name']}.png"), expected)
        steps.add(step)
    assert len(steps) > 1
    wrong = run(*words, "--set", "step.0.step=9", env=env, subprocess=True)
    assert "step[0].step: 9" in wrong.err


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
    ran = run("make-dataset", sharp, tmp_path / "out", "--preset", "gaussian", env=env, subprocess=True)
    assert ran.code == 4
    assert cure in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("border", "flag"), [("replicate", cv2.BORDER_REPLICATE), ("reflect101", cv2.BORDER_REFLECT_101)]
)
@pytest.mark.parametrize("patch", ["none", "60x50"])
def test_borders_are_those_of_opencv(run, sharp, tmp_path, border, flag, patch):
    words = (
        "--preset",
        "gaussian",
        "--set",
        "step.0.sigma=2.0",
        f"border={border}",
        "--patch",
        patch,
        "--pairs",
        "2",
    )
    assert run("make-dataset", sharp, tmp_path / "out", *words).code == 0
    for record in records(tmp_path / "out"):
        whole = read(sharp / record["source"]).astype(np.float64)
        left, top = record["offset"]
        blurred = cv2.GaussianBlur(whole, (17, 17), 2.0, borderType=flag)
        width, height = record["size"]
        made = read(tmp_path / "out" / "blur" / f"{record['name']}.png")
        assert np.abs(made - blurred[top : top + height, left : left + width]).max() <= 0.5 + 1e-4
    assert run("make-dataset", "--verify", tmp_path / "out").code == 0


def test_a_strip_shows_the_first_picture_of_any_source_of_single_pictures(run, sharp, tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "data_batch_1.bin").write_bytes(
        np.random.default_rng(0).integers(0, 256, 2 * 3073, dtype=np.uint8).tobytes()
    )
    for source in (sharp, sharp / "a.png", folder):
        ran = run("make-dataset", source, "--strip", tmp_path / "strip.png", "--overwrite")
        assert (ran.code, ran.out.strip()) == (0, str(tmp_path / "strip.png"))
        height, width = read(tmp_path / "strip.png").shape[:2]
        assert width > 4 * height  # seven pictures beside each other
