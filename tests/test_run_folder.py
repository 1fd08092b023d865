"""What a run shows of itself: pairs.png, metrics.csv, curves.png, events, progress; and run.json, which repeats it."""

import csv
import io
import json
import math
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import deblur_rednet
from deblur_cli.cli import console
from deblur_cli.cli.training_progress import Pace, Reporter, in_words
from deblur_cli.data import open_pairs
from deblur_cli.host.declarations import Values
from deblur_cli.host.manager import Host
from deblur_cli.host.recipes import Flips, Term
from deblur_cli.host.strategies import WassersteinGP
from deblur_cli.training.engine import Ended, Progress
from deblur_cli.training.feeding.batches import Division, batches
from deblur_cli.training.feeding.crops import Crops
from deblur_cli.training.learning import Placement
from deblur_cli.training.processes import Processes
from deblur_cli.training.request import Request
from deblur_cli.training.session import run_training
from deblur_cli.training.showing.event_log import _is_kept
from deblur_cli.training.showing.input_sheet import draw_inputs
from deblur_cli.training.showing.live import Beginning
from deblur_cli.training.validation import Validation

SMALL = ("--set", "model.depth=2", "model.width=8", "batch_size=4", "patch=24", "--device", "cpu")


@pytest.fixture(scope="session")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pairs, 64x80 pieces of a photograph and their Gaussian blur of sigma 1.5."""
    from skimage import data

    folder = tmp_path_factory.mktemp("shown") / "pairs"
    for number in range(6):
        sharp = data.coffee()[40 * number : 40 * number + 64, 150:230]
        blurry = np.rint(gaussian_filter(sharp.astype(float), (1.5, 1.5, 0))).astype(np.uint8)
        for part, picture in (("sharp", sharp), ("blur", blurry)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / part / f"{number}.png")
    return folder


def request(folder: Path, **changes: object) -> Request:
    base = Request(
        model="rednet30",
        data=(str(folder),),
        recipe=replace(deblur_rednet.FAST, batch_size=4, patch=24, ema_decay=0.0),
        recipe_name="fast",
        options={"depth": 2, "width": 8},
        device="cpu",
        dtype="float32",
        seed=3,
        steps=8,
    )
    return replace(base, **changes)


def train(
    wanted: Request,
    folder: Path,
    *,
    resume: bool = False,
    stop_at: int | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    warned: list[str] | None = None,
) -> Ended:
    """Train; stop_at : after so many steps of this call."""
    steps: list[int] = []

    def note(progress: Progress) -> None:
        report(progress)
        if progress.validation is None:
            steps.append(progress.step)

    return run_training(
        wanted,
        folder,
        host=Host.discover(),
        command=["test"],
        resume=resume,
        should_stop=lambda: stop_at is not None and len(steps) + 1 >= stop_at,
        report=note,
        warn=([] if warned is None else warned).append,
    )


def assert_same_bits(first: Path, second: Path) -> None:
    a, b = (load_file(run / "last" / "state.safetensors") for run in (first, second))
    assert a.keys() == b.keys()
    for name, values in a.items():
        assert torch.equal(values, b[name]), name


def metrics(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))


def read(source: Path | io.BytesIO) -> np.ndarray:
    with Image.open(source) as picture:
        return np.asarray(picture)


def find(sheet: np.ndarray, picture: np.ndarray) -> tuple[int, int]:
    """Row and column at which a sheet holds a picture, pixel by pixel."""
    height, width = picture.shape[:2]
    for row in range(sheet.shape[0] - height + 1):
        for column in np.flatnonzero((sheet[row] == picture[0, 0]).all(axis=1)):
            if np.array_equal(sheet[row : row + height, column : column + width], picture):
                return row, int(column)
    raise AssertionError("the sheet does not hold the picture")


@pytest.mark.parametrize("values", list(Values))
def test_pairs_png_shows_the_first_inputs_of_the_network_pixel_by_pixel(
    pairs_folder: Path, tmp_path: Path, values: Values
) -> None:
    pairs = open_pairs(Host.discover(), pairs_folder, split="train")
    crops = Crops(pairs, patch=24, flips=Flips.BOTH, seed=3)
    draw_inputs(
        crops, pairs, placement=Placement(device=torch.device("cpu")), values=values, title="these", target=tmp_path / "pairs.png"
    )  # fmt: skip
    sheet = read(tmp_path / "pairs.png")
    division = Division(batch_size=4, parts=1, drop_last=True, processes=Processes())
    _, blurry, sharp = next(batches(crops, division, epoch=0, start=0, workers=0))
    places = [
        [find(sheet, picture.permute(1, 2, 0).numpy().repeat(16, axis=0).repeat(16, axis=1)) for picture in part[:3]]
        for part in (blurry, sharp)
    ]  # fmt: skip
    assert [row for row, _ in places[0]] == sorted(row for row, _ in places[0])  # below each other, in order
    for left, right in zip(*places, strict=True):
        assert left[0] == right[0]  # a pair side by side
        assert left[1] + 24 * 16 < right[1]


def test_pairs_png_changes_nothing_but_is_there_before_step_1(pairs_folder: Path, tmp_path: Path) -> None:
    seen = []
    train(request(pairs_folder), tmp_path / "with", report=lambda _: seen.append((tmp_path / "with/pairs.png").exists()))  # fmt: skip
    assert all(seen)
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "pairs.png").write_text("kept")  # a run does not draw over it
    train(request(pairs_folder), tmp_path / "without")
    assert (tmp_path / "without" / "pairs.png").read_text() == "kept"
    assert_same_bits(tmp_path / "with", tmp_path / "without")


def test_a_run_repeats_from_its_run_json_alone_bit_for_bit(pairs_folder: Path, tmp_path: Path, run) -> None:
    words = ("train", "--data", pairs_folder / "sharp", "--blur", "gaussian", "-m", "rednet30", "-o", "first", "--steps", "4")  # fmt: skip
    done = run(*words, *SMALL, "--set", "optimizer.lr=3e-3", "--seed", "11", "--dtype", "float32")
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "first" / "run.json").read_text())
    again = Request.from_values(record["request"], run=tmp_path / "first")
    assert torch.get_num_threads() == record["environment"]["threads"]
    train(again, tmp_path / "second")
    assert_same_bits(tmp_path / "first", tmp_path / "second")
    assert record["command"][:2] == ["deblur", "train"]
    assert {"torch", "numpy", "pillow", "python", "cpu", "plugin", "device", "dtype"} <= record[
        "environment"
    ].keys()
    train(replace(again, seed=12), tmp_path / "third")
    with pytest.raises(AssertionError):
        assert_same_bits(tmp_path / "first", tmp_path / "third")


def test_metrics_have_one_header_even_if_a_critic_joins_later(pairs_folder: Path, tmp_path: Path) -> None:
    strategy = WassersteinGP(critic_options={"width": 2}, pretrain_epochs=1, n_critic=1)
    recipe = replace(request(pairs_folder).recipe, strategy=strategy, loss=Term(loss="mse"), epochs=2)
    train(request(pairs_folder, recipe=recipe, steps=None), tmp_path / "run")
    rows = metrics(tmp_path / "run")
    assert len(rows) == 2
    assert list(rows[0]) == [
        "step", "epoch", "seconds", "lr", "train_loss",
        "train_mse", "train_adversarial", "train_critic_restored", "train_critic_sharp", "train_gradient_penalty",
        "val_loss", "psnr", "ssim", "blurry_psnr", "blurry_ssim",
    ]  # fmt: skip
    assert rows[0]["train_gradient_penalty"] == ""
    assert float(rows[1]["train_gradient_penalty"]) >= 0
    assert float(rows[1]["train_mse"]) == float(rows[1]["train_loss"])


def test_an_epoch_that_is_not_finished_counts_by_its_share(pairs_folder: Path, tmp_path: Path) -> None:
    per_epoch = len(Crops(open_pairs(Host.discover(), pairs_folder, split="train"), patch=24, flips=Flips.BOTH, seed=3)) // 4  # fmt: skip
    train(request(pairs_folder, steps=14), tmp_path / "run")
    epochs = [float(row["epoch"]) for row in metrics(tmp_path / "run")]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["train_pairs"] == 5
    assert epochs[0] == 1
    assert 1 < epochs[1] < 2
    assert epochs[1] - 1 == pytest.approx(14 / int(metrics(tmp_path / "run")[0]["step"]) - 1, abs=1e-3)
    assert per_epoch > 0


def test_curves_png_is_drawn_and_a_broken_one_stops_nothing(pairs_folder: Path, tmp_path: Path) -> None:
    warned: list[str] = []
    train(request(pairs_folder), tmp_path / "run", warned=warned)
    with Image.open(tmp_path / "run" / "curves.png") as drawn:
        assert drawn.width == 1200
    (tmp_path / "broken" / "curves.png").mkdir(parents=True)
    (tmp_path / "broken" / "events").write_text("no folder")
    before = len(warned)
    assert train(request(pairs_folder, tensorboard=True), tmp_path / "broken", warned=warned) is Ended.DONE
    said = [text for text in warned[before:] if "curves.png" in text or "events" in text]
    assert len(said) == 2, said
    assert "it is a folder" in said[1]
    assert_same_bits(tmp_path / "run", tmp_path / "broken")


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a run."""
    events = EventAccumulator(str(run / "events"), size_guidance={"scalars": 0, "images": 0}).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }  # fmt: skip


def test_tensorboard_reads_what_was_measured_with_no_step_twice_after_kills(
    pairs_folder: Path, tmp_path: Path
) -> None:
    wanted = request(pairs_folder, steps=26, tensorboard=True)
    whole, parts, kept = tmp_path / "whole", tmp_path / "parts", tmp_path / "kept"
    train(wanted, whole)
    train(wanted, parts, stop_at=5)
    shutil.copytree(parts / "last", kept)
    train(wanted, parts, resume=True, stop_at=20)  # beyond a validation
    shutil.rmtree(parts / "last")
    kept.rename(parts / "last")  # as if it had been killed after step 25, and last saved at step 5
    train(wanted, parts, resume=True, stop_at=3)
    train(wanted, parts, resume=True)
    train(wanted, parts, resume=True)  # with nothing left to do
    seen, expected = scalars(parts), scalars(whole)
    assert seen.keys() == expected.keys()
    for tag in seen.keys() - {"images_per_second"}:
        assert seen[tag] == expected[tag], tag
    assert [step for step, _ in seen["loss/charbonnier"]] == list(range(1, 27))
    for column, tag in (("val_loss", "loss"), ("psnr", "psnr"), ("blurry_ssim", "blurry_ssim")):
        measured = [(int(row["step"]), float(row[column])) for row in metrics(whole)]
        assert [step for step, _ in seen[f"validation/{tag}"]] == [step for step, _ in measured]
        np.testing.assert_allclose([value for _, value in seen[f"validation/{tag}"]], [value for _, value in measured], rtol=1e-6)  # fmt: skip
    assert_same_bits(whole, parts)


def test_tensorboard_shows_restored_pictures(pairs_folder: Path, tmp_path: Path) -> None:
    from deblur_cli.restore.restorer import load

    train(request(pairs_folder, tensorboard=True), tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "events")).Reload()
    assert events.Tags()["images"] == ["restored/0"]  # one pair of six is held out
    (image,) = events.Images("restored/0")
    assert (image.step, image.width, image.height) == (8, 80, 64)
    shown = read(io.BytesIO(image.encoded_image_string))
    restored = load(str(tmp_path / "run"), device="cpu", dtype="float32")(
        read(pairs_folder / "blur" / "0.png")
    )
    assert np.abs(shown.astype(int) - np.asarray(restored).astype(int)).max() <= 1


def test_long_trainings_write_fewer_steps() -> None:
    kept = [number for number in range(1, 2001) if _is_kept(number, dense=20)]
    assert kept == [*range(1, 21), *range(30, 201, 10), *range(300, 2001, 100)]


def test_without_tensorboard_the_extra_is_named_before_a_run_begins(
    pairs_folder: Path, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    done = run("train", "--data", pairs_folder, "-m", "rednet30", "-o", "mine", "--steps", "1", *SMALL, "--tensorboard")  # fmt: skip
    assert done.code == 4
    assert "pip install 'deblur-cli[tensorboard]'" in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "mine").exists()


def test_the_first_line_says_what_is_trained_on_what(pairs_folder: Path, run, tmp_path: Path) -> None:
    words = ("train", "--data", pairs_folder, "-m", "rednet30", "-o", "mine", "--steps", "2", *SMALL)
    first = run(*words, "--dtype", "float32").err.splitlines()[0]
    assert first == (
        "training mine: rednet30 on pairs, recipe fast, 2,067 parameters, 5 pairs, 1 held out, crops of 24 px; "
        "cpu, float32; 2 steps"
    )
    more = run("train", "--resume", "-o", "mine", "--epochs", "1")
    assert "going on with mine: rednet30 on pairs" in more.err
    assert "1 epoch, going on after step 2" in more.err


BEGINNING = Beginning(
    about="tiny on set, recipe fast", parameters=1234567, train_pairs=2103, val_pairs=111, validated=16,
    crop_px=32, wanted_px=128, compute="cpu, float32", budget="20 epochs", losses=("mse",), step=0,
)  # fmt: skip


def progress(seconds: float, done: float, *, step: int = 7, validation: Validation | None = None) -> Progress:
    return Progress(
        step=step, epoch=2, done=done, seconds=seconds, losses={"mse": 0.25, "critic": -3.0}, lr=1e-3,
        images_per_second=50.0, validation=validation,
    )  # fmt: skip


@pytest.fixture
def loud():
    yield
    console.configure(console.Verbosity.NORMAL)


def test_lines_come_now_and_then_and_tell_the_time_left(capsys: pytest.CaptureFixture[str], loud) -> None:
    reporter = Reporter("training runs/a", None)
    reporter.begin(BEGINNING)
    for second in range(10_000):
        reporter(progress(second, second / 20_000, step=second))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == (
        "training runs/a: tiny on set, recipe fast, 1,234,567 parameters, 2,103 pairs, 111 held out (16 of them validate), "
        "crops of 32 px (the pictures are smaller than patch=128); cpu, float32; 20 epochs"
    )
    assert lines[2] == (
        "step 30, epoch 2, 0%, loss 0.25000, critic -3, lr 1.0e-03, 50.0 images/s, 5 h 33 min left"
    )
    times = [int(line.split()[1].rstrip(",").replace(",", "")) for line in lines[1:]]
    gaps = np.diff(times)
    assert gaps.min() == 30
    assert gaps.max() == pytest.approx(200, abs=5)  # a fiftieth of the time
    reporter(progress(10_000, 0.5, validation=Validation(val_loss=0.1, psnr=30, ssim=0.9, blurry_psnr=28, blurry_ssim=0.8)))  # fmt: skip
    assert "validation PSNR 30.000 dB (blurred 28.000)" in capsys.readouterr().err


def test_the_bar_shows_loss_scores_speed_and_time_left(capsys: pytest.CaptureFixture[str], loud) -> None:
    shown: list[tuple[float, str]] = []
    reporter = Reporter("training", lambda done, text: shown.append((done, text)))
    reporter.begin(BEGINNING)
    reporter(progress(0, 0.0))
    reporter(progress(60, 0.5, validation=Validation(val_loss=0.1, psnr=math.inf, ssim=1, blurry_psnr=28, blurry_ssim=0.8)))  # fmt: skip
    reporter(progress(61, 0.5))
    assert shown[-1] == (
        0.5, "1 min left, loss 0.25000, PSNR inf dB, SSIM 1.0000, 50.0 images/s, epoch 2"
    )  # fmt: skip


def left(points: Sequence[tuple[float, float]]) -> float | None:
    pace = Pace()
    for seconds, done in points:
        pace.add(seconds, done)
    return pace.left_s


def test_the_time_left_is_honest_for_steps_epochs_and_minutes() -> None:
    assert left([]) is left([(1, 0.1)]) is None
    assert left([(s, s / 1000) for s in range(301)]) == pytest.approx(
        700
    )  # minutes: the share is that of time
    assert left([(5000 + s, 0.6 + s / 1000) for s in range(101)]) == pytest.approx(300)  # of a resumed run
    slow_start = [(0, 0), (100, 0.001), *((100 + s, 0.001 + s * 0.0009) for s in range(1, 111))]
    assert left(slow_start) == pytest.approx(0.9 / 0.0009, rel=0.01)
    with_critic = [(s, 0.001 * s) for s in range(100)] + [(100 + s, 0.1 + 0.0002 * s) for s in range(300)]
    assert left(with_critic) == pytest.approx((0.9 - 0.06) / 0.0002, rel=0.01)
    many = Pace()
    for number in range(200_000):
        many.add(number, number / 1e6)
    assert len(many._seen) < 200
    assert many.left_s == pytest.approx(800_000, rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (3569, "59 min"), (3590, "1 h 0 min"), (86_399, "1 d 0 h"), (7980, "2 h 13 min"), (273_600, "3 d 4 h")],
)  # fmt: skip
def test_times_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.slow
def test_a_terminal_shows_a_bar(pairs_folder: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    words = ["train", "--data", str(pairs_folder), "-m", "rednet30", "-o", "mine", "--steps", "20", *SMALL]
    process = subprocess.Popen(
        [sys.executable, "-m", "deblur_cli", *words], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "150"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux answers so at the end
            break
        if not part:
            break
        seen += part
    out = process.communicate(timeout=60)[0]
    os.close(ours)
    assert process.returncode == 0, seen
    assert out.decode() == "mine\n"
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert re.search(r"100 % 0 s left, loss 0\.\d{5}, PSNR \d\d\.\d\d dB, SSIM 0\.\d{4}, [\d.]+ images/s, epoch \d", text)  # fmt: skip


@pytest.mark.slow
def test_of_several_processes_the_first_one_writes(pairs_folder: Path, run, tmp_path: Path) -> None:
    words = ("train", "--data", pairs_folder, "-m", "rednet30", "-o", "mine", "--steps", "3", *SMALL)
    done = run(*words, "--tensorboard", "--processes", "2", subprocess=True)
    assert done.code == 0, done.err
    assert [path.name for path in (tmp_path / "mine" / "events").iterdir()] == ["events.out.tfevents.000000"]
    assert [step for step, _ in scalars(tmp_path / "mine")["loss/charbonnier"]] == [1, 2, 3]
    assert {"pairs.png", "curves.png"} <= {path.name for path in (tmp_path / "mine").iterdir()}
