"""What a user gives a training that it cannot use: one clear line, the right exit code, nothing lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from deblur_cli.cli.app import main

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


@pytest.mark.parametrize("lost", ["last", "last/state.json"])
def test_a_run_whose_checkpoint_is_gone_is_not_begun_anew_over_its_results(
    pairs: Path, run, tmp_path: Path, lost: str
) -> None:
    assert run(*WORDS, "--data", pairs, "--epochs", "2", "-o", "mine").code == 0
    best = tmp_path / "mine" / "best" / "weights.safetensors"
    before = best.read_bytes()
    where = tmp_path / "mine" / lost
    if where.is_dir():
        shutil.rmtree(where)
    else:
        where.unlink()
    done = run("train", "--resume", "-o", "mine", "--epochs", "3")
    assert done.code == 2
    assert "mine/last is damaged" in done.err
    assert "--init mine" in done.err
    assert best.read_bytes() == before


def test_a_run_that_another_process_trains_is_left_alone(pairs: Path, run, tmp_path: Path) -> None:
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (tmp_path / "mine").rglob("*") if path.is_file()}

    words = (*WORDS, "--data", str(pairs), "-o", str(tmp_path / "mine"), "--steps", "100000")
    with subprocess.Popen(
        [sys.executable, "-m", "deblur_cli", *words], stderr=subprocess.PIPE, text=True
    ) as other:
        assert other.stderr is not None
        next(line for line in other.stderr if "validation PSNR" in line)
        other.send_signal(signal.SIGSTOP)
        before = content()
        done = run("train", "--resume", "-o", "mine", "--steps", "2")
        assert done.code == 2
        assert "another deblur train is at work in mine" in done.err
        assert content() == before
        other.kill()
    assert run("train", "--resume", "-o", "mine", "--steps", "2").code == 0


def test_a_training_that_cannot_begin_leaves_no_folder(pairs: Path, run, tmp_path: Path) -> None:
    (pairs / "sharp" / "0.png").write_bytes(b"")
    assert run(*WORDS, "--data", pairs, "-o", "runs/mine").code == 1
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def one_step(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step on one pair."""
    folder = tmp_path_factory.mktemp("one")
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    for name in ("blur", "sharp"):
        (folder / "pairs" / name).mkdir(parents=True)
        Image.fromarray(pixels).save(folder / "pairs" / name / "0.png")
    words = [*WORDS, "--data", str(folder / "pairs"), "-o", str(folder / "mine"), "--steps", "1"]
    assert main(words) == 0
    return folder / "mine"


@pytest.mark.parametrize(
    "wrong",
    [
        {"request": 3},
        {"environment": []},
        {"request": {"data": []}},
        {"request": {"data": "pairs"}},
        {"request": {"data": [3]}},
        {"request": {"seed": "x"}},
        {"request": {"device": 3}},
        {"request": {"model": None}},
        {"request": {"options": 3}},
        {"request": {"workers": "many"}},
        {"request": {"minutes": "5", "steps": None}},
        {"request": {"save_every_s": None}},
        {"request": {"compile": "yes"}},
        {"request": {"preparation": 3}},
        {"request": {"preparation": {"preset": 3}}},
    ],
    ids=str,
)
def test_a_run_json_of_wrong_types_is_one_line(
    one_step: Path, run, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    folder = Path(shutil.copytree(one_step, tmp_path / "mine"))
    record = json.loads((folder / "run.json").read_text())
    for name, value in wrong.items():
        record[name] = {**record[name], **value} if isinstance(value, dict) else value
    (folder / "run.json").write_text(json.dumps(record))
    done = run("train", "--resume", "-o", "mine")
    assert done.code == 2, done.err
    assert done.err.startswith("deblur: mine/run.json")
    assert len(done.err.splitlines()) == 1


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no terminals that end so")
@pytest.mark.parametrize(
    "more",
    [
        pytest.param((), id="alone"),
        pytest.param(("--processes", "2"), id="two processes", marks=pytest.mark.slow),
    ],
)
def test_a_training_whose_terminal_is_closed_saves(
    pairs: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    import pty

    words = (*WORDS, "--data", str(pairs), "-o", str(tmp_path / "mine"), "--steps", "100000", *more)
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "deblur_cli", *words])
    while not (tmp_path / "mine" / "last").exists():
        os.read(terminal, 1000)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 143
    state = json.loads((tmp_path / "mine" / "last" / "state.json").read_text())
    assert state["batch"] > 0  # within an epoch: saved for the signal
    assert not list((tmp_path / "mine").glob("last.*"))


def test_a_training_goes_on_when_nobody_reads_what_it_says(pairs: Path, tmp_path: Path) -> None:
    words = (*WORDS, "--data", str(pairs), "-o", str(tmp_path / "mine"), "--steps", "3")
    heard, said = os.pipe()
    os.close(heard)
    done = subprocess.run([sys.executable, "-m", "deblur_cli", *words], stderr=said, stdout=subprocess.PIPE)
    os.close(said)
    assert done.returncode == 0
    assert done.stdout.decode().strip() == str(tmp_path / "mine")


def test_a_training_without_end_is_refused(pairs: Path, run) -> None:
    done = run(*WORDS, "--data", pairs, "-o", "mine", "--minutes", "inf")
    assert done.code == 2
    assert "--minutes inf" in done.err


def test_why_a_network_cannot_be_built_is_one_line(pairs: Path, run) -> None:
    done = run(*WORDS, "--data", pairs, "-o", "mine", "--set", f"model.width={10**20}")
    assert done.code == 4
    assert len(done.err.splitlines()) == 1
    assert "cannot be built: TypeError" in done.err


def test_half_of_what_torchrun_says_is_no_bug(pairs: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    done = run(*WORDS, "--data", pairs, "-o", "mine", "--steps", "1", env={"WORLD_SIZE": "2"})
    assert done.code == 2
    assert "WORLD_SIZE=2" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-m", "unet16", "--set", "patch=33"), "multiples of 8 px, not patch=33; give --set patch=32"),
        (("-m", "unet16", "--set", "patch=4"), "give --set patch=8"),
        (("-m", "srndeblur_cifar", "--set", "model.lstm=dense", "patch=64"), "give --set patch=32"),
        (("-m", "unet16", "--set", "model.width=0"), "option width is 0; it must be at least 3"),
    ],
)
def test_crops_and_widths_that_a_network_cannot_take_are_refused_before_anything_is_written(
    run, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = run("train", "--data", "sample", *words, "batch_size=2", "--steps", 1, "-o", tmp_path / "run")

    assert done.code == 2, done.err
    assert said in done.err
    assert not (tmp_path / "run").exists()
