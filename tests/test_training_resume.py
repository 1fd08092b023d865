"""Resuming a run: only as what it began as, from a checkpoint that is whole whatever happened while it was written."""

import csv
import importlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import deblur_rednet
from deblur_cli.errors import MissingError
from deblur_cli.host.manager import Host
from deblur_cli.host.schedules import Cosine
from deblur_cli.training.engine import Ended
from deblur_cli.training.feeding.material import Preparation
from deblur_cli.training.recording.run_folder import RunFolder
from deblur_cli.training.request import Request
from deblur_cli.training.session import run_training
from deblur_cli.weights import Header, load_network, resolve

STEPS = 6
LR = deblur_rednet.FAST.optimizer.lr


def picture(seed: int, height: int = 64, width: int = 80) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)


def write_pair(pairs: Path, name: str, sharp: np.ndarray) -> None:
    blurry = (sharp // 2 + np.roll(sharp, 1, axis=0) // 2).astype(np.uint8)
    for part, content in (("blur", blurry), ("sharp", sharp)):
        (pairs / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(content).save(pairs / part / f"{name}.png")


def request(**changes: Any) -> Request:
    base = Request(
        model="rednet30",
        data=("pairs",),
        recipe=replace(deblur_rednet.FAST, batch_size=4, patch=24, schedule=Cosine(warmup_steps=2)),
        options={"depth": 2, "width": 8},
        steps=STEPS,
        device="cpu",
        dtype="float32",
        seed=3,
    )
    return replace(base, **changes)


def train(wanted: Request, folder: Path, *, stop_at: int | None = None) -> Ended:
    steps: list[int] = []
    return run_training(
        wanted,
        folder,
        host=Host.discover(),
        command=["test"],
        should_stop=lambda: stop_at is not None and len(steps) + 1 >= stop_at,  # asked before it reports
        report=lambda progress: steps.append(progress.step),
    )


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pairs/ of six pictures, photos/ of their sharp ones; mine/: a run that was stopped after step 2; whole/: one that was not."""
    folder = tmp_path_factory.mktemp("begun")
    for number in range(6):
        write_pair(folder / "pairs", str(number), picture(number))
    shutil.copytree(folder / "pairs" / "sharp", folder / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train(request(), folder / "mine", stop_at=2) is Ended.STOPPED
        assert train(request(), folder / "whole") is Ended.DONE
    return folder


@pytest.fixture
def here(begun: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    return tmp_path


def assert_whole(mine: Path, whole: Path) -> None:
    """The run ended as the one that was never interrupted."""
    for name in ("last/state.safetensors", "best/weights.safetensors"):
        first, second = load_file(mine / name), load_file(whole / name)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
    rows = [
        [{**row, "seconds": ""} for row in csv.DictReader((run / "metrics.csv").read_text().splitlines())]
        for run in (mine, whole)
    ]
    assert rows[0] == rows[1]


def edit(file: Path, *keys: str, value: Any) -> None:
    """Change one value of a JSON file."""
    content = json.loads(file.read_text())
    table = content
    for key in keys[:-1]:
        table = table[key]
    table[keys[-1]] = value
    file.write_text(json.dumps(content))


def content_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


# What a run is of


def remove_pair(folder: Path) -> None:
    for part in ("blur", "sharp"):
        (folder / "pairs" / part / "3.png").unlink()


def rename_pair(folder: Path) -> None:
    for part in ("blur", "sharp"):
        (folder / "pairs" / part / "3.png").rename(folder / "pairs" / part / "33.png")


def edit_recipe(folder: Path) -> None:
    edit(folder / "mine/run.json", "request", "recipe", "optimizer", "lr", value=0.1)


def edit_recipe_everywhere_but_in_the_checkpoint(folder: Path) -> None:
    edit_recipe(folder)
    edit(folder / "mine/run.json", "run_is_of", "recipe", "optimizer", "lr", value=0.1)
    edit_recipe_file(folder)


def edit_recipe_file(folder: Path) -> None:
    file = folder / "mine/recipe.toml"
    text = file.read_text()
    assert text.count(f"lr = {LR}") == 1
    file.write_text(text.replace(f"lr = {LR}", "lr = 0.1"))


def edit_ten_values(folder: Path) -> None:
    for name in ("epochs", "batch_size", "patch", "reuse"):
        edit(folder / "mine/run.json", "request", "recipe", name, value=3)
    edit(folder / "mine/run.json", "request", "recipe", "optimizer", "eps", value=0.5)
    edit_recipe(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (remove_pair, ["4 pairs to train on where there were 5, 3 is gone"]),
        (
            lambda folder: write_pair(folder / "pairs", "7", picture(7)),
            ["6 pairs to train on where there were 5, 7 is new"],
        ),
        (rename_pair, ["5 pairs to train on where there were 5, 3 is gone, 33 is new"]),
        (lambda folder: write_pair(folder / "pairs", "2", picture(2, 60)), ["2 was 80x64 px, is 80x60"]),
        (
            lambda folder: write_pair(folder / "pairs", "0", picture(9)),
            ["the content of 0, held out for validation, has changed"],
        ),
        (edit_recipe, [f"recipe.optimizer.lr was {LR}, is 0.1"]),
        (edit_recipe_everywhere_but_in_the_checkpoint, [f"recipe.optimizer.lr was {LR}, is 0.1"]),
        (edit_recipe_file, [f"recipe.toml: optimizer.lr was {LR}, is 0.1"]),
        (lambda folder: (folder / "mine/recipe.toml").write_text("["), ["recipe.toml cannot be read"]),
        (edit_ten_values, ["recipe.batch_size was 4, is 3", "more"]),
        (lambda folder: edit(folder / "mine/run.json", "request", "seed", value=4), ["seed was 3, is 4"]),
        (
            lambda folder: edit(folder / "mine/run.json", "request", "options", "width", value=4),
            ["options.width was 8, is 4", "parameters.network was "],
        ),
        (
            lambda folder: edit(folder / "mine/run.json", "run_is_of", value={"pairs_sha256": "0"}),
            ["model was not set, is ", "recipe was not set, is a table; ", "and 3 more"],
        ),
    ],
)
def test_a_run_goes_on_only_as_what_it_began_as(
    here: Path, run, change: Callable[[Path], object], said: list[str]
) -> None:
    change(here)
    before = content_of(here / "mine")
    refused = run("train", "--resume", "-o", "mine")
    assert refused.code == 2, refused.err
    assert len(refused.err.splitlines()) == 1
    assert all(words in refused.err for words in ["mine cannot be resumed", *said]), refused.err
    assert content_of(here / "mine") == before


def test_another_blur_is_refused(here: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    wanted = request(data=("photos",), preparation=Preparation(blur="gaussian"))
    train(wanted, here / "blurred", stop_at=1)
    assert run("train", "--resume", "-o", "blurred", "--steps", "2").code == 0
    text = json.loads((here / "blurred/run.json").read_text())["request"]["preparation"]["text"]
    edit(here / "blurred/run.json", "request", "preparation", "text", value=text + "\n# another\n")
    refused = run("train", "--resume", "-o", "blurred")
    assert refused.code == 2
    assert "the blur gaussian is another" in refused.err
    edit(here / "blurred/run.json", "request", "preparation", value={"preset": "gaussian", "text": text})
    refused = run("train", "--resume", "-o", "blurred")
    assert refused.code == 2
    assert 'preset was not set, is "gaussian"; blur was "gaussian", is not set' in refused.err


VERSIONED = """
from torch import nn
from deblur_cli import Facts, Geometry, Model, Recipe, hookimpl

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        {layers}
    def forward(self, picture):
        return self.{last}(picture)

@hookimpl
def deblur_models():
    return [Model(
        name="versioned", summary="changes", source="this test", network="versioned_plugin:Net", licence="MIT",
        geometry=Geometry(halo=1), facts=Facts(parameters=1, kmacs_per_pixel=0.001), recipes={{"only": Recipe(patch=16, batch_size=2)}},
    )]
"""


@pytest.mark.parametrize(
    ("layers", "last", "said"),
    [
        (
            "self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3, padding=1)",
            "two",
            "parameters.network was 84, is 96",
        ),
        # as many parameters as before
        (
            "self.other = nn.Conv2d(3, 3, 3, padding=1)",
            "other",
            "the networks have no network.two.bias any more",
        ),
        (
            "self.two = nn.Conv2d(3, 3, (9, 1), padding=(4, 0))",
            "two",
            "network.two.weight was [3, 3, 3, 3], is [3, 3, 9, 1]",
        ),
    ],
)
def test_another_version_of_the_network_is_refused(
    here: Path, run, monkeypatch: pytest.MonkeyPatch, layers: str, last: str, said: str
) -> None:
    env = {"PYTHONPATH": str(here), "DEBLUR_PLUGINS": "versioned_plugin"}
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # its time stamps are too coarse for two versions

    def install(layers: str, last: str) -> None:
        (here / "versioned_plugin.py").write_text(VERSIONED.format(layers=layers, last=last))
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, "versioned_plugin", raising=False)

    install("self.two = nn.Conv2d(3, 3, 3, padding=1)", "two")
    begun = run(
        "train", "--data", "pairs", "-m", "versioned", "-o", "net", "--steps", 2, "--device", "cpu", env=env
    )
    assert begun.code == 0, begun.err
    install(layers, last)
    refused = run("train", "--resume", "-o", "net", "--steps", 3, env=env)
    assert refused.code == 2, refused.err
    assert said in refused.err
    assert len(refused.err.splitlines()) == 1
    monkeypatch.delitem(sys.modules, "versioned_plugin", raising=False)


def test_other_versions_and_threads_are_warned_of(here: Path, run) -> None:
    edit(here / "mine/run.json", "environment", "threads", value=77)
    done = run("train", "--resume", "-o", "mine")
    assert done.code == 0, done.err
    assert "will not be bit for bit" in done.err
    assert "threads was 77" in done.err


def test_a_run_of_an_earlier_version_is_refused_in_one_line(here: Path, run) -> None:
    record = json.loads((here / "mine/run.json").read_text())
    del record["run_is_of"]
    (here / "mine/run.json").write_text(json.dumps(record))
    refused = run("train", "--resume", "-o", "mine")
    assert refused.code == 2
    assert "an earlier version began it" in refused.err
    assert "--init mine" in refused.err
    assert len(refused.err.splitlines()) == 1


def test_a_finished_run_says_so_and_stays_as_it_is(here: Path, run) -> None:
    before = content_of(here / "whole")
    done = run("train", "--resume", "-o", "whole")
    assert done.code == 0, done.err
    assert f"whole is finished since step {STEPS}" in done.err
    again = run("train", "--resume", "-o", "whole", "--steps", STEPS, "--json")
    assert again.json()[0]["step"] == STEPS
    assert content_of(here / "whole") == before


def test_how_often_it_is_saved_may_change(here: Path, run) -> None:
    assert run("train", "--resume", "-o", "mine", "--save-every", 0).code == 0
    assert_whole(here / "mine", here / "whole")


def test_the_weights_that_a_run_started_from_may_be_gone(
    here: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    wanted = request(init="whole/best/weights.safetensors", steps=3)
    train(wanted, here / "tuned")
    train(wanted, here / "stopped", stop_at=1)
    (here / "whole/best/weights.safetensors").unlink()
    done = run("train", "--resume", "-o", "stopped")
    assert done.code == 0, done.err
    assert_whole(here / "stopped", here / "tuned")


# Checkpoints


def truncate(folder: Path) -> None:
    file = folder / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


def flip_a_bit(folder: Path) -> None:
    file = folder / "state.safetensors"
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data)


def replace_tensors(folder: Path) -> None:
    tensors = load_file(folder / "state.safetensors")
    save_file({name: value + 1 for name, value in tensors.items()}, folder / "state.safetensors")


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        flip_a_bit,
        replace_tensors,
        lambda folder: (folder / "state.safetensors").unlink(),
        lambda folder: (folder / "state.json").write_text('{"step": 2'),
        lambda folder: (folder / "state.json").write_text("[]"),
        lambda folder: edit(folder / "state.json", "step", value="2"),
        lambda folder: edit(folder / "state.json", "tensors_sha256", value=None),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_line(here: Path, run, damage: Callable[[Path], None]) -> None:
    damage(here / "mine/last")
    before = content_of(here / "mine")
    refused = run("train", "--resume", "-o", "mine")
    assert refused.code == 2, refused.err
    assert "damaged" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert content_of(here / "mine") == before


def test_what_a_killed_run_left_behind_is_cleared_away(here: Path, run) -> None:
    mine = here / "mine"
    shutil.copytree(mine / "last", mine / "last.new")
    (mine / "last").rename(mine / "last.old")
    (mine / "best").mkdir(exist_ok=True)
    for folder in (mine, mine / "last.old", mine / "best"):
        (folder / ".deblur-0123456789ab.part").write_bytes(b"half")
    assert run("photos/1.png", "-m", "mine", "-o", "restored.png").code == 0  # between the renames too
    done = run("train", "--resume", "-o", "mine")
    assert done.code == 0, done.err
    assert "begins anew" not in done.err
    assert_whole(mine, here / "whole")
    names = {path.name for path in mine.rglob("*")}
    assert not {name for name in names if name.startswith((".deblur", "last."))}


def _save(run: Path, step: int) -> None:
    """A checkpoint whose every number is its step."""
    tensors = {"weight": torch.full((2, 3), float(step))}
    RunFolder(run, facts={"step": step}).write_last(
        weights=tensors, header=Header(model="any", steps=step), tensors=tensors, state={"step": step}
    )


def _save_and_die(run: Path, number: int) -> None:
    """Save step 2, but be killed before the file operation of this number."""
    left = number

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}:
            within = event in {"os.remove", "os.rmdir"} and arguments[1] != -1  # below a folder that is open
            left -= within or str(run) in str(arguments[0])
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    _save(run, 2)


def _die_everywhere(folder: Path, answers: Connection) -> None:
    """Fork a process for each file operation of a first checkpoint and of a second one, which dies before it."""
    for name in ("first", "second"):
        (folder / name).mkdir()
        answers.send(_die_in_turn(folder / name, had_one=name == "second"))


def _die_in_turn(folder: Path, *, had_one: bool) -> int:
    number, killed = 0, True
    while killed:
        run = folder / str(number)
        run.mkdir()
        if had_one:
            _save(run, 1)
        child = os.fork()
        if not child:
            _save_and_die(run, number)
            os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
        number += 1
    return number


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL and fork")
def test_a_kill_between_any_two_file_operations_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("forkserver")  # forks where no thread runs
    answers, theirs = processes.Pipe(duplex=False)
    process = processes.Process(target=_die_everywhere, args=(tmp_path, theirs))
    process.start()
    counts = {}
    for name in ("first", "second"):
        assert answers.poll(120)
        counts[name] = answers.recv()
    process.join()
    for name, count in counts.items():
        seen = [_look_at(tmp_path / name / str(number)) for number in range(count)]
        assert seen == sorted(seen)
        assert set(seen) == {int(name == "second"), 2}
        assert count > 15


def _look_at(folder: Path) -> int:
    """See that all is whole and can be tidied and gone on with; returns the step of the checkpoint, 0 for none."""
    run = RunFolder(folder)
    saved = run.read_last()
    step: int = 0 if saved is None else saved.scalars["step"]
    if saved is not None:
        assert saved.facts == {"step": step}
        assert torch.equal(saved.tensors["weight"], torch.full((2, 3), float(step)))
        place = next(path for path in (folder / "last", folder / "last.old") if path.is_dir())
        assert torch.equal(load_file(place / "weights.safetensors")["weight"], saved.tensors["weight"])
    run.tidy()
    after = run.read_last()
    assert (0 if after is None else after.scalars["step"]) == step
    assert {path.name for path in folder.iterdir()} == ({"last"} if step else set())
    _save(folder, 3)
    last = run.read_last()
    assert last is not None
    assert last.scalars["step"] == 3
    return step


def test_names_reach_the_disk_after_what_they_name_and_before_the_old_ones_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power failure asks for: it may undo every change of names since the last fsync of their folder."""
    _save(tmp_path, 1)
    events: list[tuple[str, str]] = []
    synced = os.fsync

    def fsync(handle: int) -> None:
        events.append(("sync", os.readlink(f"/proc/self/fd/{handle}")))
        synced(handle)

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if recording and event in {"os.rename", "os.remove"}:
            events.append((event, str(arguments[0])))

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc to tell which file is synced")
    recording = True
    sys.addaudithook(note)
    monkeypatch.setattr(os, "fsync", fsync)
    _save(tmp_path, 2)
    recording = False
    files = [what for event, what in events if event == "os.rename" and what.endswith(".part")]
    assert len(files) == 3
    for file in files:  # content before name
        assert events.index(("sync", file)) < events.index(("os.rename", file))
    aside, exchanged = (events.index(("os.rename", str(tmp_path / name))) for name in ("last", "last.new"))
    run = ("sync", str(tmp_path))
    assert ("sync", str(tmp_path / "last.new")) in events[:aside]
    assert run in events[:aside]
    removed = next(at for at, (event, _) in enumerate(events) if event == "os.remove")
    assert aside < exchanged < removed
    assert run in events[exchanged:removed]


# Disks that fill up


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs a small disk, which only root can mount: {error}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, *, leave: int) -> Path:
    """Fill a disk but for so many bytes."""
    free = shutil.disk_usage(disk).free
    (disk / "ballast").write_bytes(bytes(free - leave))
    return disk / "ballast"


@pytest.mark.parametrize("leave", [0, 40_000])
def test_a_full_disk_ends_the_run_and_keeps_its_checkpoint(
    here: Path, small_disk: Path, run, leave: int
) -> None:
    mine = small_disk / "mine"
    shutil.copytree(here / "mine", mine)
    assert leave < (mine / "last/state.safetensors").stat().st_size
    ballast = fill(small_disk, leave=leave)
    stopped = run("train", "--resume", "-o", mine, "--save-every", 0)
    assert stopped.code == 5, stopped.err
    line = stopped.err.splitlines()[-1]
    assert "the disk is full" in line
    assert "that of step 2 in" in line
    assert f"deblur train --resume -o {mine}" in line
    saved = RunFolder(mine).read_last()
    assert saved is not None
    assert saved.scalars["step"] == 2
    load_network(resolve(Host.discover(), str(mine)))
    assert not (mine / "last.new").exists()
    ballast.unlink()
    assert run("train", "--resume", "-o", mine).code == 0
    assert_whole(mine, here / "whole")


def test_a_full_disk_begins_no_run(here: Path, small_disk: Path, run) -> None:
    fill(small_disk, leave=0)
    stopped = run("train", "--data", "pairs", "-m", "rednet30", "-o", small_disk / "new", "--steps", 1)
    assert stopped.code == 5, stopped.err
    assert "the disk is full" in stopped.err
    with pytest.raises(MissingError):
        RunFolder(small_disk / "new").read_record()


LIMITED = """
import resource, sys
size = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
from deblur_cli.cli.app import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_a_quota_ends_the_command_with_code_5_and_the_run_goes_on_later(here: Path, run) -> None:
    size = (here / "mine/last/state.safetensors").stat().st_size
    words = ["train", "--resume", "-o", "mine", "--save-every", "0"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(size - 1), *words],
        cwd=here,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 5, done.stderr
    line = done.stderr.splitlines()[-1]
    assert "the disk is full; the last good checkpoint is that of step 2 in mine/last" in line
    assert line.endswith("deblur train --resume -o mine")
    assert not (here / "mine/last.new").exists()
    assert run("train", "--resume", "-o", "mine").code == 0
    assert_whole(here / "mine", here / "whole")
