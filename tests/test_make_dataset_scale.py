"""`deblur make-dataset` on long lists: its memory, and processes that are killed."""

import hashlib
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from deblur_cli.blur.spec_file import preset
from deblur_cli.data.items import Item
from deblur_cli.data.making import make_dataset
from deblur_cli.data.sources import open_source
from deblur_cli.host.manager import Host

HOST = Host.discover(environ={})
SPEC = preset("cifar10-s0", HOST.degradations)


@pytest.fixture(scope="module")
def cifar(tmp_path_factory) -> Path:
    """A batch of CIFAR-10 with 2000 pictures."""
    rng, photo = np.random.default_rng(0), data.coffee()
    pieces = [photo[top : top + 32, left : left + 32] for top, left in rng.integers(0, 350, (2000, 2))]
    planes = np.stack(pieces).transpose(0, 3, 1, 2).reshape(2000, -1)
    folder = tmp_path_factory.mktemp("cifar")
    np.hstack([np.zeros((2000, 1), np.uint8), planes]).tofile(folder / "data_batch_1.bin")
    return folder


@pytest.fixture(scope="module")
def whole(cifar, tmp_path_factory) -> dict[str, str]:
    """What a run makes that nothing interrupts."""
    out = tmp_path_factory.mktemp("whole") / "out"
    make_dataset(open_source(cifar, SPEC, HOST), out, SPEC, HOST.degradations)
    return hashes(out)


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@contextmanager
def at_work(cifar: Path, out: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """The command, stopped when its first chunk is done, and the ids of its two workers."""
    command = [sys.executable, "-m", "deblur_cli", "make-dataset", str(cifar), str(out)]
    options = ["--preset", "cifar10-s0", "--workers", "2"]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for(lambda: any((out / ".making").glob("*.jsonl")) or process.poll() is not None)
            process.send_signal(signal.SIGSTOP)  # it hands out no more chunks
            children = [(pid, words) for pid, (parent, words) in processes().items() if parent == process.pid]
            workers = [pid for pid, words in children if "spawn_main" in words]
            assert len(workers) == 2
            yield process, workers
        finally:
            process.kill()


def processes() -> dict[int, tuple[int, str]]:
    """Parent and command of all processes that have not ended."""
    command = ["ps", "-A", "-ww", "-o", "pid=", "-o", "ppid=", "-o", "stat=", "-o", "args="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = (line.split(None, 3) for line in listed.stdout.splitlines())
    return {int(pid): (int(parent), words) for pid, parent, state, words in rows if not state.startswith("Z")}


def wait_for(happened: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_listed_name_takes_less_than_200_bytes(tmp_path):
    count = 20_000
    (tmp_path / ".empty.png").touch()
    for number in range(count):
        if number % 1000 == 0:
            (tmp_path / f"scene{number // 1000:04d}").mkdir()
        os.link(tmp_path / ".empty.png", tmp_path / f"scene{number // 1000:04d}" / f"frame{number:07d}.png")
    tracemalloc.start()
    source = open_source(tmp_path, preset("gaussian", HOST.degradations), HOST)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(source) == count
    assert peak / count < 200


def test_only_a_few_chunks_are_under_way_at_any_time(cifar, tmp_path):
    """So that memory does not grow with the list: the items of a chunk are made when its turn is near."""
    source, asked, ahead = open_source(cifar, SPEC, HOST), 0, []

    class Counting:
        opener, parts = source.opener, source.parts

        def __len__(self) -> int:
            return 400

        def items(self, start: int, stop: int) -> list[Item]:
            nonlocal asked
            asked = min(stop, 400)
            return source.items(start, asked)

        def describe(self) -> dict[str, str]:
            return source.describe()

    totals = make_dataset(
        Counting(), tmp_path / "out", SPEC, HOST.degradations, workers=2,
        progress=lambda done, count: ahead.append(asked - done),
    )  # fmt: skip
    assert (totals.pairs, len(ahead), asked) == (400, 100, 400)
    assert max(ahead) <= 5 * 4  # twice the workers and one more, of four pictures each


@pytest.mark.slow
def test_a_killed_worker_is_one_clear_line_and_the_rest_is_made_by_resuming(run, cifar, whole, tmp_path):
    out = tmp_path / "out"
    with at_work(cifar, out) as (process, workers):
        os.kill(workers[0], signal.SIGKILL)
        process.send_signal(signal.SIGCONT)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 5
    (line,) = (
        line for line in error.splitlines() if not line.startswith("warning: ")
    )  # the batch is not whole
    assert "one of the 2 processes was killed" in line
    assert "--resume" in line
    wait_for(lambda: not processes().keys() & set(workers))
    made = list((out / "blur").iterdir())
    assert 0 < len(made) < 2000
    assert run("make-dataset", cifar, out, "--preset", "cifar10-s0", "--resume").code == 0
    assert hashes(out) == whole


@pytest.mark.slow
def test_workers_end_with_a_killed_command(cifar, tmp_path):
    with at_work(cifar, tmp_path / "out") as (process, workers):
        process.kill()
        process.wait(timeout=30)
        wait_for(lambda: not processes().keys() & set(workers))
    assert not (tmp_path / "out" / "meta.jsonl").exists()


def test_what_a_power_failure_kept_from_the_disk_is_made_again(cifar, whole, tmp_path):
    out, source = tmp_path / "out", open_source(cifar, SPEC, HOST)

    def stop(done: int, count: int) -> None:
        if done > 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_dataset(source, out, SPEC, HOST.degradations, progress=stop)
    chunks = sorted((out / ".making").glob("*.jsonl"))
    os.truncate(chunks[0], chunks[0].stat().st_size - 1)
    os.truncate(chunks[1], 0)
    os.truncate(sorted((out / "sharp").iterdir())[30], 0)
    assert make_dataset(source, out, SPEC, HOST.degradations, resume=True).pairs == 2000
    assert hashes(out) == whole
