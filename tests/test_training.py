"""Training through the API and the command, with a tiny network on real pictures."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter

import deblur_rednet
from deblur_cli.data import open_pairs
from deblur_cli.host.manager import Host
from deblur_cli.host.recipes import Flips
from deblur_cli.host.schedules import Cosine
from deblur_cli.training.engine import Ended
from deblur_cli.training.feeding.batches import Division, batches
from deblur_cli.training.feeding.crops import Crops
from deblur_cli.training.processes import Processes
from deblur_cli.training.request import Request
from deblur_cli.training.session import run_training
from deblur_cli.weights import load_network, resolve

TINY = {"depth": 2, "width": 8}
SMALL = ("--set", "model.depth=2", "model.width=8", "batch_size=4", "patch=24", "--device", "cpu")


@pytest.fixture(scope="session")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pairs, 64x80 pieces of photographs and their Gaussian blur of sigma 1.5."""
    from skimage import data

    folder = tmp_path_factory.mktemp("pairs")
    for name in ("blur", "sharp"):
        (folder / name).mkdir()
    pictures = [data.astronaut(), data.coffee(), data.chelsea()]
    for i in range(6):
        sharp = pictures[i % 3][60 + 20 * i : 124 + 20 * i, 150:230]
        blurry = np.rint(gaussian_filter(sharp.astype(float), (1.5, 1.5, 0))).astype(np.uint8)
        Image.fromarray(sharp).save(folder / "sharp" / f"{i}.png")
        Image.fromarray(blurry).save(folder / "blur" / f"{i}.png")
    return folder


def request(folder: Path, **changes: object) -> Request:
    base = Request(
        model="rednet30",
        data=(str(folder),),
        recipe=replace(deblur_rednet.FAST, batch_size=4, patch=24, schedule=Cosine(warmup_steps=2)),
        options=TINY,
        device="cpu",
        dtype="float32",
        seed=3,
    )
    return replace(base, **changes)


def train(wanted: Request, folder: Path, *, resume: bool = False, stop_at: int | None = None) -> Ended:
    steps: list[int] = []
    return run_training(
        wanted,
        folder,
        host=Host.discover(),
        command=["test"],
        resume=resume,
        should_stop=lambda: stop_at is not None and len(steps) >= stop_at,
        report=lambda progress: steps.append(progress.step),
    )


def same_tensors(first: Path, second: Path) -> bool:
    a, b = load_file(first), load_file(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(pairs_folder: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    wanted = request(pairs_folder, steps=14)  # more than one epoch of 8 batches
    assert train(wanted, whole) is Ended.DONE
    assert train(wanted, parts, stop_at=5) is Ended.STOPPED
    assert (
        train(wanted, parts, resume=True, stop_at=3) is Ended.STOPPED
    )  # exactly with the epoch's last batch
    assert train(wanted, parts, resume=True) is Ended.DONE
    assert same_tensors(whole / "last" / "state.safetensors", parts / "last" / "state.safetensors")
    rows = [
        list(csv.DictReader(Path(folder, "metrics.csv").read_text().splitlines()))
        for folder in (whole, parts)
    ]
    assert len(rows[0]) == 2
    for first, second in zip(*rows, strict=True):
        assert {**first, "seconds": ""} == {**second, "seconds": ""}


def test_the_number_of_workers_changes_nothing(pairs_folder: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        train(request(pairs_folder, steps=3, workers=workers), tmp_path / str(workers))
    assert same_tensors(tmp_path / "0/last/state.safetensors", tmp_path / "2/last/state.safetensors")


@pytest.mark.slow
def test_a_short_training_beats_the_blurred_input(pairs_folder: Path, tmp_path: Path) -> None:
    train(request(pairs_folder, steps=150), tmp_path / "run")
    last = list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))[-1]
    assert float(last["psnr"]) > float(last["blurry_psnr"]) + 0.1
    assert float(last["ssim"]) > float(last["blurry_ssim"])


def test_the_run_says_what_made_it(pairs_folder: Path, tmp_path: Path) -> None:
    train(request(pairs_folder, steps=2), tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["request"]["seed"] == 3
    assert record["request"]["recipe"]["batch_size"] == 4
    assert record["environment"]["torch"] == torch.__version__
    assert record["environment"]["threads"] == torch.get_num_threads()
    header = resolve(Host.discover(), str(tmp_path / "run"))
    assert header.options == TINY
    load_network(header)


def test_the_fast_recipe_starts_as_the_identity_and_the_report_does_not(
    pairs_folder: Path, tmp_path: Path
) -> None:
    blurry = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    model = deblur_rednet.MODELS[0]
    network = model.build(TINY)
    with torch.no_grad():
        assert not torch.allclose(network(blurry), blurry, atol=1e-3)
        from deblur_cli.host.declarations import import_object

        start = model.recipes["fast"].start
        assert start is not None
        import_object(start)(network)
        assert torch.equal(network(blurry), blurry)
    assert model.recipes["report"].start is None
    assert model.recipes["report"].loss == "logcosh"


def test_frozen_batch_norms_keep_their_statistics(pairs_folder: Path, tmp_path: Path) -> None:
    statistics = []
    for share in (0.0, 1.0):
        changes = request(pairs_folder, steps=4)
        changes = replace(changes, recipe=replace(changes.recipe, freeze_norm_after=share, ema_decay=0.0))
        train(changes, tmp_path / str(share))
        tensors = load_file(tmp_path / str(share) / "last" / "state.safetensors")
        statistics.append(tensors["network.encoder.0.norm.running_mean"])
    assert torch.equal(statistics[0], torch.zeros(8))
    assert not torch.equal(statistics[1], torch.zeros(8))


def test_crops_of_a_pair_show_the_same_place_and_depend_on_seed_epoch_and_index_alone(
    pairs_folder: Path,
) -> None:
    pairs = open_pairs(Host.discover(), pairs_folder, split="train")

    class Marked:
        """A pair whose blurred picture is its sharp one turned to its negative: places can be compared."""

        name = "marked"

        def size(self) -> tuple[int, int]:
            return pairs[0].size()

        def load(self) -> tuple[np.ndarray, np.ndarray]:
            sharp = pairs[0].load()[1]
            return 255 - sharp, sharp

    crops = Crops([Marked()], patch=16, flips=Flips.BOTH, seed=5)
    assert len(crops) == round(64 * 80 / 16**2)
    assert len(Crops([Marked()], patch=16, flips=Flips.NONE, seed=5, crops_per_pair=3)) == 3
    division = Division(batch_size=4, parts=1, drop_last=True, processes=Processes())
    seen = [list(batches(crops, division, epoch=epoch, start=0, workers=0)) for epoch in (0, 1)]
    for size, blurry, sharp in seen[0]:
        assert size == 4
        assert torch.equal(blurry, 255 - sharp)
        assert sharp.shape == (4, 3, 16, 16)
    assert not torch.equal(seen[0][0][2], seen[1][0][2])
    later = list(batches(crops, division, epoch=0, start=2, workers=0))
    assert torch.equal(later[0][1], seen[0][2][1])


def test_the_command_trains_a_network_that_deblur_can_use(pairs_folder: Path, run, photo_file: Path) -> None:
    done = run(
        "train", "--data", pairs_folder, "-m", "rednet30", "-o", "mine", "--steps", "3", "--json", *SMALL
    )
    assert done.code == 0, done.err
    assert done.json()[0]["step"] == 3
    restored = run(photo_file, "-m", "mine")
    assert restored.code == 0, restored.err
    assert photo_file.with_name("photo.deblurred.png").is_file()


def test_runs_without_a_name_are_numbered(pairs_folder: Path, run, tmp_path: Path) -> None:
    for _ in range(2):
        assert run("train", "--data", pairs_folder, "-m", "rednet30", "--steps", "1", *SMALL).code == 0
    assert sorted(path.name[-2:] for path in (tmp_path / "runs").iterdir()) == ["-1", "-2"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "--data"),
        (("--data", "nonsense"), 4, "nonsense"),
        (("--data", "PAIRS", "--epochs", "1", "--steps", "1"), 2, "one of --epochs"),
        (
            ("--data", "PAIRS", "--recipe", "slow"),
            4,
            "no recipe 'slow'; it has: fast, report, report-finetune",
        ),
        (("--data", "PAIRS", "--set", "model.depth=x"), 2, "depth is 'x'; it must be a whole number"),
        (("--data", "PAIRS", "--set", "model.depht=2"), 2, "has no option 'depht'"),
        (("--data", "PAIRS", "--set", "model.depth=3"), 2, "one of 2, 5, 10, 15"),
        (("--data", "PAIRS", "--init", "nonsense"), 4, "nonsense"),
        (("--data", "PAIRS", "--dtype", "float16"), 2, "bfloat16 or float32"),
        (("--data", "PAIRS", "--set", "optimizer.lr=-1"), 2, "a number > 0"),
        (("--resume",), 2, "-o RUN"),
        (("--resume", "-o", "none"), 4, "holds no run to resume"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line_and_begins_no_run(
    pairs_folder: Path, run, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    given = [str(pairs_folder) if word == "PAIRS" else word for word in words]
    done = run("train", "-m", "rednet30", *given)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    lines = done.err.strip().splitlines()
    assert all(line.startswith("  ") for line in lines[1:]), done.err  # where it looked may follow, indented
    assert not (tmp_path / "runs").exists()


def test_a_seed_has_63_bits(pairs_folder: Path, run) -> None:
    words = ("train", "--data", pairs_folder, "-m", "rednet30", "-o", "mine", "--steps", "1", *SMALL)
    done = run(*words, "--seed", str(2**63))
    assert done.code == 2
    assert "--seed" in done.err
    assert run(*words, "--seed", str(2**63 - 1)).code == 0


def test_more_workers_than_processors_are_not_started(pairs_folder: Path, tmp_path: Path) -> None:
    train(request(pairs_folder, steps=2, workers=100_000), tmp_path / "run")  # warnings are errors here
    assert (tmp_path / "run" / "last").is_dir()


def test_a_run_is_never_written_over(pairs_folder: Path, run) -> None:
    words = ("train", "--data", pairs_folder, "-m", "rednet30", "-o", "mine", "--steps", "1", *SMALL)
    assert run(*words).code == 0
    again = run(*words)
    assert again.code == 2
    assert "holds a run already" in again.err


def test_a_validation_part_counts_even_if_its_pictures_are_named_like_the_others(
    pairs_folder: Path, tmp_path: Path
) -> None:
    for split in ("train", "val"):
        shutil.copytree(pairs_folder, tmp_path / "split" / split)
    for folder, parts in ((tmp_path / "split", (6, 6)), (pairs_folder, (5, 1))):
        train(replace(request(folder), steps=1), tmp_path / f"run{parts}")
        record = json.loads((tmp_path / f"run{parts}" / "run.json").read_text())
        assert (record["train_pairs"], record["val_pairs"]) == parts


def test_a_resumed_run_keeps_its_settings_and_may_move_its_end(pairs_folder: Path, run) -> None:
    data = ("--data", pairs_folder)
    assert run("train", *data, "-m", "rednet30", "-o", "mine", "--steps", "1", *SMALL).code == 0
    for words in (("--set", "optimizer.lr=0.1"), ("--seed", "7"), ("--data", "reds")):
        refused = run("train", "--resume", "-o", "mine", *words)
        assert refused.code == 2
        assert f"keeps its {words[0]}" in refused.err
    longer = run("train", "--resume", "-o", "mine", *data, "--steps", "2", "--workers", "1", "--json")
    assert longer.code == 0, longer.err
    assert longer.json()[0]["step"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_run_goes_on_later(
    pairs_folder: Path, run, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    words = [
        "train",
        "--data",
        str(pairs_folder),
        "-m",
        "rednet30",
        "-o",
        "mine",
        "--epochs",
        "10000",
        *SMALL,
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "deblur_cli", *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    deadline = time.monotonic() + 150
    while not (tmp_path / "mine" / "last").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "go on with: deblur train --resume -o mine" in err
    step = json.loads((tmp_path / "mine" / "last" / "state.json").read_text())["step"]
    done = run("train", "--resume", "-o", "mine", "--steps", str(step + 2), "--json")
    assert done.code == 0, done.err
    assert done.json()[0]["step"] == step + 2


@pytest.mark.slow
def test_minutes_are_kept(pairs_folder: Path, run, tmp_path: Path) -> None:
    done = run("train", "--data", pairs_folder, "-m", "rednet30", "-o", "mine", "--minutes", "0.05", *SMALL)
    assert done.code == 0, done.err
    saved = json.loads((tmp_path / "mine" / "last" / "state.json").read_text())
    rows = list(csv.DictReader((tmp_path / "mine" / "metrics.csv").read_text().splitlines()))
    seconds = [float(row["seconds"]) for row in rows]  # rounded to 0.1
    assert all(value <= 3 for value in seconds[:-1])  # once the time is up no epoch is begun
    assert int(rows[-1]["step"]) == saved["step"]
    assert float(rows[-1]["lr"]) < 5e-4  # beyond half of the cosine: the schedule fits the time


def test_a_run_killed_before_its_first_checkpoint_begins_anew(pairs_folder: Path, tmp_path: Path) -> None:
    wanted = request(pairs_folder, steps=2)
    train(wanted, tmp_path / "whole")
    train(wanted, tmp_path / "killed")
    for name in ("last", "best"):
        shutil.rmtree(tmp_path / "killed" / name)
    train(wanted, tmp_path / "killed", resume=True)
    weights = Path("last", "weights.safetensors")
    assert same_tensors(tmp_path / "whole" / weights, tmp_path / "killed" / weights)


def test_a_run_killed_while_its_checkpoint_is_replaced_is_whole(pairs_folder: Path, tmp_path: Path) -> None:
    wanted = request(pairs_folder, steps=2)
    folder = tmp_path / "run"
    train(wanted, folder)
    (folder / "last").rename(folder / "last.old")
    train(request(pairs_folder, steps=3), folder, resume=True)
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["best", "last"]
    assert json.loads((folder / "last" / "state.json").read_text())["step"] == 3


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("run.json", "{"),
        ("run.json", "[]"),
        ("run.json", "{}"),
        ("run.json", '{"request": {}, "environment": {}}'),
        ("last/state.json", ""),
        ("last/state.json", "{}"),
        ("last/state.safetensors", ""),
    ],
)
def test_a_damaged_run_folder_is_refused_in_one_line(
    finished: Path, run, tmp_path: Path, file: str, content: str
) -> None:
    shutil.copytree(finished, tmp_path / "mine")
    (tmp_path / "mine" / file).write_text(content)
    done = run("train", "--resume", "-o", "mine", "--steps", "3")
    assert done.code == 2, done.err
    assert "mine" in done.err
    assert "begin a new run with another -o" in done.err
    assert len(done.err.splitlines()) == 1
    assert (tmp_path / "mine" / file).read_text() == content


@pytest.fixture(scope="session")
def finished(pairs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(request(pairs_folder, steps=2), folder)
    return folder
