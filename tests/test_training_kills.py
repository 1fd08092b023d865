"""Trainings that are killed by SIGKILL at random moments and resumed each time end as if nothing had happened, bit for bit.

Each training is a process of its own, forked from a server that has imported PyTorch once. It tells of each step; it is
killed a random number of steps and of looks at its folder later, or when a checkpoint is seen being written.
"""

import csv
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import deblur_rednet
from deblur_cli.errors import MissingError
from deblur_cli.host.manager import Host
from deblur_cli.host.recipes import Recipe
from deblur_cli.host.schedules import Cosine
from deblur_cli.host.strategies import Supervised, WassersteinGP
from deblur_cli.training.engine import Ended
from deblur_cli.training.feeding.material import Preparation
from deblur_cli.training.recording.run_folder import RunFolder
from deblur_cli.training.request import Request
from deblur_cli.training.session import run_training
from deblur_cli.weights import load_network, resolve

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL and fork")]

SOAK = bool(os.environ.get("DEBLUR_SOAK"))
KILLS = 25 if SOAK else 6
"""Of each of the four kinds; one more kills the command, so that there are 25 at least."""
STEPS_A_KILL = 4  # more than are made before a kill, on an average
LONGEST_S = 120.0

RECIPE = replace(deblur_rednet.FAST, batch_size=4, patch=24, schedule=Cosine(warmup_steps=2))
STRATEGIES = {
    "supervised": Supervised(),
    "wgan-gp": WassersteinGP(n_critic=2, critic_options={"width": 4}, adversarial=1e-2),
}

PROCESSES = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
PROCESSES.set_forkserver_preload(
    [
        "pytest",
        "cv2",
        "torch._dynamo",  # which the first optimiser imports
        "skimage.metrics",
        "matplotlib.figure",
        "matplotlib.backends.backend_agg",
        "deblur_cli.training.session",
        "deblur_cli.training.strategies.supervised",
        "deblur_cli.training.strategies.wasserstein_gp",
        "deblur_cli.networks.critics",
        "deblur_rednet.network",
    ]
)


@dataclass
class Counts:
    """Kills of one kind of run."""

    kills: int = 0
    while_saving: int = 0
    pids: list[int] = field(default_factory=list)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Bits depend on the number of threads; and a pool of threads would not survive the fork."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pairs/: six pairs of 64x80; sharp/: their sharp pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(1)
    for name in ("pairs/blur", "pairs/sharp", "sharp"):
        (folder / name).mkdir(parents=True)
    for number in range(6):
        sharp = rng.integers(0, 256, (16, 20, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)
        blurry = (sharp // 3 + np.roll(sharp, 1, axis=0) // 3 + np.roll(sharp, 1, axis=1) // 3).astype(
            np.uint8
        )
        for place, picture in (("pairs/blur", blurry), ("pairs/sharp", sharp), ("sharp", sharp)):
            Image.fromarray(picture).save(folder / place / f"{number}.png")
    return folder


def wanted_of(pictures: Path, recipe: Recipe, *, kills: int) -> Request:
    return Request(
        model="rednet30",
        data=(str(pictures / "pairs"),),
        recipe=recipe,
        options={"depth": 2, "width": 8},
        steps=STEPS_A_KILL * kills + 5,
        device="cpu",
        dtype="float32",
        seed=3,
        save_every_s=0,
    )


def _train(values: dict[str, Any], folder: Path, said: Connection, start_method: str) -> None:
    """What a victim does: train, or go on where the last one was killed."""
    os.setpgid(0, 0)
    multiprocessing.set_start_method(start_method, force=True)  # of its loading processes: as everywhere else
    torch.set_num_threads(1)
    said.send(0)
    ended = run_training(
        Request.from_values(values, run=folder),
        folder,
        host=Host.discover(),
        command=["test"],
        resume=(folder / "run.json").exists(),
        report=lambda progress: said.send(progress.step),
    )
    assert ended is Ended.DONE


class Victim:
    """A training in a process of its own; the processes that it starts are in its group."""

    def __init__(self, wanted: Request, folder: Path) -> None:
        saved = RunFolder(folder).read_last()
        self._before = 0 if saved is None else saved.scalars["step"]
        self._heard, theirs = PROCESSES.Pipe(duplex=False)
        self.process = PROCESSES.Process(
            target=_train, args=(wanted.as_values(), folder, theirs, multiprocessing.get_start_method())
        )
        self.process.start()
        theirs.close()
        assert self._hear() == 0  # it has started

    def _hear(self) -> int:
        assert self._heard.poll(LONGEST_S), "the training stands still"
        step: int = self._heard.recv()
        return step

    def wait_for(self, steps: int) -> None:
        """Wait until it has told of so many steps; see that it has gone on from its checkpoint."""
        for number in range(steps):
            step = self._hear()
            assert number or step - self._before in (0, 1)  # 0: only the validation was missing

    def finish(self) -> None:
        """Let it come to its end."""
        with suppress(EOFError):
            self.wait_for(sys.maxsize)
        self.process.join(LONGEST_S)
        assert self.process.exitcode == 0

    def kill(self) -> None:
        """SIGKILL, for this process alone."""
        assert self.process.is_alive(), "it came to its end before it could be killed"
        self.process.kill()
        self.process.join()
        assert self.process.exitcode == -signal.SIGKILL


@contextmanager
def victim_of(wanted: Request, folder: Path) -> Iterator[Victim]:
    victim = Victim(wanted, folder)
    try:
        yield victim
    finally:
        victim.process.kill()
        victim.process.join()


def kill_at_random(wanted: Request, folder: Path, rng: random.Random, counts: Counts) -> None:
    """Start or resume the run, kill it once, and see that what it left is whole."""
    with victim_of(wanted, folder) as victim:
        victim.wait_for(rng.randrange(3))
        deadline = time.monotonic() + LONGEST_S
        if rng.random() < 0.5:  # while it writes a checkpoint
            while not (folder / "last.new").exists():
                assert time.monotonic() < deadline
        for _ in range(rng.randrange(2000)):  # at any moment: some milliseconds
            (folder / "last").exists()
        victim.kill()
    counts.kills += 1
    counts.pids.append(victim.process.pid)
    names = {path.name for path in folder.glob("*")}
    counts.while_saving += bool(names & {"last.new", "last.old"})
    saved = RunFolder(folder).read_last()  # what it reads, or finds not there, is never damaged
    if saved is not None:
        assert saved.scalars["step"] > 0
        load_network(resolve(Host.discover(), str(folder)))
    else:
        assert not names & {"last", "last.old"}
        with pytest.raises(MissingError):
            resolve(Host.discover(), str(folder))


def assert_same_run(folder: Path, whole: Path) -> None:
    """All tensors, the rows of metrics.csv but for the time, the best weights; and nothing half-written beside them."""
    for name in ("last/state.safetensors", "last/weights.safetensors", "best/weights.safetensors"):
        first, second = load_file(folder / name), load_file(whole / name)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first), name
    rows = [
        [{**row, "seconds": ""} for row in csv.DictReader((run / "metrics.csv").read_text().splitlines())]
        for run in (folder, whole)
    ]
    assert len(rows[0]) > 1
    assert rows[0] == rows[1]
    left = [path.name for path in folder.rglob("*") if path.name.startswith((".deblur", "last.", "pool"))]
    assert left == []


def living(groups: set[int]) -> list[str]:
    """Processes of these groups that run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(")")
        except OSError:  # it has just ended
            continue
        state, _, group = rest.split()[:3]
        if int(group) in groups and state != "Z":
            found.append(name)
    return found


def assert_no_orphans(counts: Counts) -> None:
    """What loads pictures ends with the training that started it."""
    if not Path("/proc/self/stat").exists():
        return
    deadline = time.monotonic() + 30
    while left := living(set(counts.pids)):
        assert time.monotonic() < deadline, left


@pytest.fixture(scope="module", params=STRATEGIES)
def whole(request: pytest.FixtureRequest, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of a strategy, which saves after each epoch alone."""
    recipe = replace(RECIPE, strategy=STRATEGIES[request.param])
    folder = tmp_path_factory.mktemp("whole") / request.param
    with victim_of(replace(wanted_of(pictures, recipe, kills=KILLS), save_every_s=1e9), folder) as victim:
        victim.finish()
    return folder


@pytest.mark.timeout(3600 if SOAK else 300)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_is_killed_again_and_again_ends_as_the_uninterrupted_one(
    pictures: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    recipe = replace(RECIPE, strategy=STRATEGIES[whole.name])
    wanted = replace(wanted_of(pictures, recipe, kills=KILLS), workers=workers)
    rng, counts = random.Random(f"{whole.name} {workers}"), Counts()
    while counts.kills < KILLS:
        kill_at_random(wanted, tmp_path / "run", rng, counts)
    with victim_of(wanted, tmp_path / "run") as last:
        last.finish()
    assert_same_run(tmp_path / "run", whole)
    assert counts.while_saving > 0
    assert_no_orphans(counts)
    with capsys.disabled():
        print(
            f"\n{whole.name}, {workers} workers: {counts.kills} kills, "
            f"{counts.while_saving} while a checkpoint was being written; bit-identical"
        )


def test_patches_kept_in_a_pool_do_not_hinder_a_killed_run(pictures: Path, tmp_path: Path) -> None:
    wanted = replace(
        wanted_of(pictures, replace(RECIPE, reuse=3), kills=3),
        workers=2,
        data=(str(pictures / "sharp"),),
        preparation=Preparation(blur="gaussian"),
    )
    with victim_of(replace(wanted, workers=0), tmp_path / "whole") as whole:
        rng, counts = random.Random("pool"), Counts()
        while counts.kills < 3:
            kill_at_random(wanted, tmp_path / "run", rng, counts)
        with victim_of(wanted, tmp_path / "run") as last:
            last.finish()
        whole.finish()
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert_no_orphans(counts)


def test_the_command_that_is_killed_goes_on_with_resume(pictures: Path, tmp_path: Path) -> None:
    def deblur(*words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "deblur_cli", "train", *map(str, words)]
        return subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)

    small = ("--set", "model.depth=2", "model.width=8", "batch_size=4", "patch=24", "--device", "cpu")
    run = tmp_path / "run"
    begun = deblur(
        "--data", pictures / "pairs", "-m", "rednet30", "-o", "run", "--steps", 30, "--save-every", 0, *small
    )
    deadline = time.monotonic() + LONGEST_S
    while not (run / "last").exists():
        assert begun.poll() is None, begun.communicate()[1]
        time.sleep(0.01)  # its start takes seconds
    while not (run / "last.new").exists():
        assert begun.poll() is None, begun.communicate()[1]
        assert time.monotonic() < deadline
    begun.kill()
    begun.communicate()
    assert begun.returncode == -signal.SIGKILL
    resumed = deblur("--resume", "-o", "run")
    wanted = Request.from_values(RunFolder(run).read_record()["request"], run=run)
    with victim_of(wanted, tmp_path / "whole") as whole:
        whole.finish()
    _, err = resumed.communicate(timeout=LONGEST_S)
    assert resumed.returncode == 0, err
    assert_same_run(run, tmp_path / "whole")
