"""Several processes of one training: they equal one process, one of them writes and speaks, and none is lost unnoticed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter

from deblur_cli.host.manager import Host
from deblur_cli.host.optimizers import Optimizer
from deblur_cli.host.recipes import Recipe
from deblur_cli.host.strategies import WassersteinGP
from deblur_cli.training.engine import Ended
from deblur_cli.training.feeding.batches import Division
from deblur_cli.training.feeding.material import Preparation
from deblur_cli.training.feeding.pool import Pool
from deblur_cli.training.processes import Processes, joined_processes
from deblur_cli.training.request import Request
from deblur_cli.training.session import run_training

PLUGIN = '''
"""Convolutions without batch norm: what they learn from a batch is the mean of what they learn from its samples."""
from deblur_cli import Facts, Geometry, Model, Recipe, hookimpl

@hookimpl
def deblur_models():
    return [
        Model(
            name="plain", summary="three convolutions", source="this test", network="plain_plugin.network:Plain",
            geometry=Geometry(halo=3), facts=Facts(parameters=1, kmacs_per_pixel=0.001), licence="MIT",
            recipes={"report": Recipe(batch_size=4, patch=16, loss="mse", epochs=3, crops_per_pair=5)},
        )
    ]
'''
NETWORK = '''
import os
import time
from torch import nn

class Plain(nn.Module):
    """PAUSE_S : how long each step takes at least, so that a test meets it at work."""
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.GELU(), nn.Conv2d(6, 6, 3, padding=1), nn.GELU(), nn.Conv2d(6, 3, 3, padding=1)
        )
    def forward(self, x):
        if self.training:
            time.sleep(float(os.environ.get("PAUSE_S", "0")))
        return x + self.layers(x)

class Critic(nn.Module):
    """Normalised over channels and positions of each picture. The last layer has no bias: its gradient would be nothing but
    the rounding of 1 - 1, of which Adam makes steps."""
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 4, stride=2), nn.GroupNorm(1, 6), nn.GELU(), nn.Conv2d(6, 1, 3, bias=False)
        )
    def forward(self, x):
        return self.layers(x)
'''

BASE = Recipe(
    loss="mse",
    batch_size=5,
    patch=16,
    crops_per_pair=1,
    drop_last=False,
    epochs=2,
    accumulate=2,
    clip_norm=0.05,
    ema_decay=0.9,
    optimizer=Optimizer(lr=1e-3),
)
SAME = WassersteinGP(critic="plain_plugin.network:Critic", n_critic=2, adversarial=0.1)
CASES: Mapping[str, tuple[Recipe, str]] = {
    "reused-float64": (replace(BASE, reuse=2), "float64"),
    "supervised-float32": (BASE, "float32"),
    "same-float64": (replace(BASE, strategy=SAME), "float64"),
    "same-float32": (replace(BASE, strategy=SAME), "float32"),
    "fresh-float64": (
        replace(BASE, strategy=replace(SAME, critic_batches="fresh", n_critic=1), batch_size=3),
        "float64",
    ),
}


@pytest.fixture(scope="session")
def plugin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    (folder / "plain_plugin").mkdir()
    (folder / "plain_plugin" / "__init__.py").write_text(PLUGIN)
    (folder / "plain_plugin" / "network.py").write_text(NETWORK)
    return folder


@pytest.fixture(autouse=True)
def plain_model(plugin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model `plain`, in this process and in those it starts; each of them computes in one thread."""
    monkeypatch.syspath_prepend(plugin_folder)
    paths = [str(plugin_folder), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("DEBLUR_PLUGINS", "plain_plugin")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven pairs, 104x108 pieces of a photograph and their Gaussian blur; six to train on: batches of five and of one."""
    from skimage import data

    folder = tmp_path_factory.mktemp("pairs")
    for name in ("blur", "sharp"):
        (folder / name).mkdir()
    for i in range(7):
        sharp = data.astronaut()[60 + 20 * i : 164 + 20 * i, 150:258]
        blurry = np.rint(gaussian_filter(sharp.astype(float), (1.5, 1.5, 0))).astype(np.uint8)
        Image.fromarray(sharp).save(folder / "sharp" / f"{i}.png")
        Image.fromarray(blurry).save(folder / "blur" / f"{i}.png")
    return folder


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_sample_of_a_batch_is_in_one_part_of_one_process(count: int, parts: int) -> None:
    divisions = [
        Division(batch_size=9, parts=parts, drop_last=False, processes=Processes(rank=rank, count=count))
        for rank in range(count)
    ]
    for size in range(1, 10):
        taken = [part for division in divisions for part in division.own_parts(size)]
        assert [i for part in taken for i in range(size)[part]] == list(range(size))
        lengths = [part.stop - part.start for part in taken]
        assert len(taken) == min(size, count * parts)
        assert max(lengths) - min(lengths) <= 1
        assert divisions[0].own_parts(size), "the first process tells the others what is computed"


def test_a_pool_is_made_and_removed_by_one_process_alone(tmp_path: Path) -> None:
    from deblur_cli.data.drawn import Latent

    latent = Latent(blurry=np.full((2, 2, 3), 0.5, np.float16), sharp=np.ones((2, 2, 3), np.uint8))
    first, other = (Pool(tmp_path / "pool", side=2, max_bytes=2**20) for _ in range(2))
    other.put(0, 7, latent)
    assert not (tmp_path / "pool").exists()
    first.make()
    other.put(0, 7, latent)
    kept = first.get(0, 7)
    assert kept is not None
    assert np.array_equal(kept.sharp, latent.sharp)
    first.remove()
    other.put(1, 8, latent)
    assert not (tmp_path / "pool").exists()


def request_of(case: str, data: Path) -> Request:
    recipe, dtype = CASES[case]
    preparation = Preparation(blur="photo-mix") if recipe.reuse > 1 else Preparation()
    folder = data / "sharp" if recipe.reuse > 1 else data
    return Request(
        model="plain",
        data=(str(folder),),
        recipe=recipe,
        preparation=preparation,
        device="cpu",
        dtype=dtype,
        seed=3,
    )


def train_all(data: Path, runs: Path, processes: Processes | None = None) -> None:
    for case in CASES:
        ended = run_training(
            request_of(case, data),
            runs / case,
            host=Host.discover(),
            command=["test"],
            processes=processes,
        )
        assert ended is Ended.DONE


def train_all_as_one_of_two(rank: int, data: Path, runs: Path) -> None:
    """What each of two processes does; all but the first note what they write where the runs are."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    written = []

    def watch(event: str, details: tuple[object, ...]) -> None:
        changes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")
        if event == "open":
            changes = isinstance(details[2], int) and bool(
                details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
        if changes and str(details[0]).startswith(str(runs)):
            written.append(f"{event} {details[0]}")

    if rank:
        sys.addaudithook(watch)
    with joined_processes() as processes:
        train_all(data, runs, processes)
    if rank:
        runs.with_name("written").write_text("\n".join(written))


@pytest.fixture(scope="module")
def two_as_one(pairs: Path, tmp_path_factory: pytest.TempPathFactory, plugin_folder: Path) -> Path:
    """The runs of all cases: in `one` by one process, in `two` by two."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(plugin_folder))
        patch.setenv("DEBLUR_PLUGINS", "plain_plugin")
        patch.syspath_prepend(plugin_folder)
        patch.setenv("MASTER_ADDR", "localhost")
        patch.setenv("MASTER_PORT", str(_free_port()))
        for name in ("one", "two"):
            (folder / name).mkdir()
        started = torch.multiprocessing.spawn(
            train_all_as_one_of_two, (pairs, folder / "two"), nprocs=2, join=False
        )
        train_all(pairs, folder / "one")
        while not started.join():
            pass
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_equal_one_on_the_same_batches(two_as_one: Path, case: str) -> None:
    tolerance = 1e-10 if case.endswith("64") else 1e-5
    tensors = [load_file(two_as_one / name / case / "last" / "state.safetensors") for name in ("one", "two")]
    assert tensors[0].keys() == tensors[1].keys()
    assert any(name.startswith("average.") for name in tensors[0])
    for name, value in tensors[0].items():
        assert value.dtype == tensors[1][name].dtype
        assert (value - tensors[1][name]).abs().max() <= tolerance, name
    states = [
        json.loads((two_as_one / name / case / "last" / "state.json").read_text()) for name in ("one", "two")
    ]
    assert states[0]["step"] == states[1]["step"]
    assert len(states[0]["history"]) == 2
    for rows in zip(*(state["history"] for state in states), strict=True):
        assert rows[0].keys() == rows[1].keys()
        for name in rows[0].keys() - {"seconds"}:
            assert rows[0][name] == pytest.approx(rows[1][name], rel=100 * tolerance), name


@pytest.mark.slow
def test_only_the_first_process_writes_to_the_run_folder(two_as_one: Path) -> None:
    written = (two_as_one / "written").read_text().splitlines()
    patches = [line for line in written if line.endswith("/pool")]
    assert set(written) == set(patches)  # one file of patches serves all, and only for reuse
    assert all("reused" in line for line in patches)
    assert patches
    assert not list(two_as_one.rglob("pool"))
    listings = [
        sorted(str(path.relative_to(two_as_one / name)) for path in (two_as_one / name).rglob("*"))
        for name in ("one", "two")
    ]
    assert listings[0] == listings[1]


@dataclass
class Job:
    """A command under way. err : the file that its stderr goes to"""

    process: subprocess.Popen[str]
    err: Path

    def said(self) -> str:
        return self.err.read_text()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def ranks(self) -> dict[int, int]:
        """The processes that train, by rank."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                variables = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            rank = [int(value[5:]) for value in variables if value.startswith(b"RANK=")]
            if parent == self.process.pid and rank:
                found[rank[0]] = int(folder.name)
        return found

    def end(self) -> tuple[int, str, str]:
        """Exit code, stdout, and the lines of stderr that are no progress."""
        out, _ = self.process.communicate(timeout=120)
        return self.process.returncode, out, self.said()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """Start a command in a process group of its own; its temporary files go to tmp_path/scratch. It draws no curves."""
    jobs: list[Job] = []
    (tmp_path / "scratch").mkdir()
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "matplotlib.py").write_text("raise ModuleNotFoundError(name='matplotlib')\n")
    paths = os.pathsep.join([str(tmp_path / "without"), os.environ["PYTHONPATH"]])

    def start(*words: object, pause_s: float = 0, launcher: tuple[str, ...] = ("-m", "deblur_cli")) -> Job:
        err = tmp_path / f"err{len(jobs)}"
        with err.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, *launcher, *map(str, words)],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                start_new_session=True,
                env=os.environ
                | {"PAUSE_S": str(pause_s), "TMPDIR": str(tmp_path / "scratch"), "PYTHONPATH": paths},
            )
        jobs.append(Job(process, err))
        return jobs[-1]

    yield start
    for job in jobs:
        for pid in (*job.ranks().values(), job.process.pid):
            if job.process.poll() is None:
                os.kill(pid, signal.SIGKILL)
        job.process.communicate()


def same_state(first: Path, second: Path) -> bool:
    a, b = (load_file(folder / "last" / "state.safetensors") for folder in (first, second))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def saved_step(run: Path) -> int:
    step: int = json.loads((run / "last" / "state.json").read_text())["step"]
    return step


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the processes in /proc")
def test_stopped_orphaned_killed_and_resumed_two_processes_end_as_the_uninterrupted_ones(
    start: Callable[..., Job], run, pairs: Path, tmp_path: Path
) -> None:
    new = ("train", "--data", pairs, "-m", "plain", "--device", "cpu", "--dtype", "float32")
    whole = start(
        *new,
        "--epochs",
        8,
        launcher=("-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "deblur_cli"),
    )
    parts = tmp_path / "parts"
    job = start(*new, "--epochs", 8, "-o", "parts", "--processes", 2, pause_s=0.3)
    job.wait_for((parts / "last" / "state.json").exists)  # after an epoch of seven steps
    os.killpg(job.process.pid, signal.SIGINT)
    code, out, err = job.end()
    assert (code, out) == (130, ""), err
    assert err.count("stopping after this step") == 1
    assert err.count("go on with: deblur train --resume -o parts --processes 2") == 1
    assert err.splitlines()[-1].startswith("deblur: interrupted")
    assert err.count("interrupted") == 1
    step = saved_step(parts)
    assert step >= 7

    again = ("train", "--resume", "-o", "parts", "--processes", 2)
    job = start(*again, pause_s=0.3)
    job.wait_for(lambda: "step " in job.said())
    ranks = job.ranks()
    job.process.kill()
    job.process.wait()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in ranks.values()):
        assert time.monotonic() < deadline, "processes outlive the command"
        time.sleep(0.05)
    assert saved_step(parts) > step

    rng = random.Random()
    for number in range(12 if os.environ.get("DEBLUR_SOAK") else 1):
        job = start(*again, pause_s=0.3)
        job.wait_for(lambda job=job: "step " in job.said())
        victim = (number + 1) % 2
        time.sleep(rng.uniform(0, 1))
        os.kill(job.ranks()[victim], signal.SIGKILL)
        code, out, err = job.end()
        assert (code, out) == (1, ""), err
        last = err.splitlines()[-1]
        assert f"process {victim} of 2 (the first is 0) was stopped by SIGKILL" in last
        assert f"the last checkpoint is that of step {saved_step(parts)} in parts/last" in last
        assert last.endswith("go on with: deblur train --resume -o parts --processes 2")
        assert err.count("deblur: ") == 1
        assert "Traceback" not in err

    job = start(*again)
    code, out, err = whole.end()
    assert code == 0, err
    assert out == f"runs/plain-{pairs.name}-1\n"
    reference = tmp_path / out.strip()
    assert json.loads((reference / "run.json").read_text())["environment"]["processes"] == 2
    assert len(list((tmp_path / "runs").iterdir())) == 1
    code, out, err = job.end()
    assert (code, out) == (0, "parts\n"), err
    assert same_state(parts, reference)
    assert len(list((tmp_path / "scratch").glob("deblur-*"))) <= 1  # that of the command that was killed

    alone = run("train", "--resume", "-o", "parts", "--epochs", "9")
    assert alone.code == 0, alone.err
    assert "not be bit for bit" in alone.err
    assert "processes was 2, is 1" in alone.err


@pytest.mark.slow
def test_a_second_signal_stops_at_once_and_an_error_is_said_once(
    start: Callable[..., Job], pairs: Path, tmp_path: Path
) -> None:
    words = ("train", "-m", "plain", "--device", "cpu", "--dtype", "float32", "--processes", 2)
    job = start(*words, "--data", pairs, "-o", "slow", pause_s=3600)
    missing = start(*words, "--data", "nowhere", "-o", "none")
    code, out, err = missing.end()
    assert (code, out) == (4, ""), err
    assert err.count("deblur: ") == 1
    assert "nowhere" in err
    assert "Traceback" not in err
    assert not (tmp_path / "none").exists()
    job.wait_for(lambda: "slow" in job.said())  # the title is said before the first step
    time.sleep(1)
    for _ in range(2):
        os.killpg(job.process.pid, signal.SIGTERM)
        time.sleep(0.5)
    code, out, err = job.end()
    assert (code, out) == (143, ""), err
    assert err.count("stopping after this step") == 1
    assert err.count("stopped by SIGTERM") == 1
    assert "Traceback" not in err
    assert not list((tmp_path / "scratch").glob("deblur-*"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--set", "batch_size=1"), 2, "a batch of 1 cannot be shared by 2 processes"),
        (("--set", "optimizer.lr=-1"), 2, "lr"),
        (("--recipe", "none"), 4, "none"),
    ],
)
def test_what_two_processes_cannot_do_is_said_before_they_start(
    run, pairs: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    done = run("train", "--data", pairs, "-m", "plain", "--processes", "2", *words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert not (tmp_path / "runs").exists()


def _free_port() -> int:
    import socket

    with socket.socket() as made:
        made.bind(("localhost", 0))
        port: int = made.getsockname()[1]
        return port
