"""Training as `deblur train` does it: a step against a bare loop, a resume against a fresh start, memory as it goes on."""

import io
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr
from dataclasses import dataclass, field, replace
from multiprocessing import active_children, get_context, get_start_method, set_start_method
from pathlib import Path
from statistics import median
from typing import Any

import torch
from files import photograph
from measuring import Clock, Contest, Row, compare
from PIL import Image, ImageFilter
from processes import DEBLUR, own_home

import deblur_rednet
from deblur_cli.cli.training_progress import Reporter
from deblur_cli.host.manager import Host
from deblur_cli.host.recipes import Recipe
from deblur_cli.host.strategies import WassersteinGP
from deblur_cli.restore.devices import has_fast_bfloat16
from deblur_cli.training.engine import Progress
from deblur_cli.training.feeding.material import Preparation
from deblur_cli.training.objective import build_objective
from deblur_cli.training.request import Request
from deblur_cli.training.session import run_training
from deblur_cli.training.showing import plots

STEP_TARGET = 1.05
RESUME_TARGET = 1.2
MEMORY_TARGET = 1.02
BATCH = 8
WINDOW = 20  # steps over which the most memory counts: some of them have more in flight than others
MODEL = deblur_rednet.MODELS[0]
DTYPE = torch.bfloat16 if has_fast_bfloat16(torch.device("cpu")) else torch.float32
DTYPE_NAME = str(DTYPE).removeprefix("torch.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What is trained. patch, picture : px; options : of the network; steps : that count, for each repeat

    memory_steps : when memory is looked at first, and last
    """

    patch: int = 128
    picture: tuple[int, int] = (720, 1280)
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 4
    memory_steps: tuple[int, int] = (400, 900)  # five epochs fill the caches of allocator and matplotlib


QUICK = Sizes(patch=32, picture=(96, 128), options=MODEL.tiny, steps=2, memory_steps=(30, 60))


def run(*, repeats: int, clock: Clock, sizes: Sizes) -> list[Row]:
    """All three; memory where Linux tells of it."""
    with own_home() as (home, environ):
        pairs, small = _pairs(home / "pairs", *sizes.picture), _pairs(home / "small", 96, 128)
        rows = [
            _step(name, pairs, home / name, sizes=sizes, count=sizes.steps * repeats, clock=clock)
            for name in ("report", "fast")
        ]
        rows += _resume(small, home, environ, repeats=repeats, clock=clock)
        if sys.platform == "linux":
            rows += _memory(small, home, first=sizes.memory_steps[0], last=sizes.memory_steps[1])
        return rows


def _step(name: str, pairs: Path, folder: Path, *, sizes: Sizes, count: int, clock: Clock) -> Row:
    """A step of a recipe and one of the bare loop in turns: crops, checks and progress included, validation not."""
    recipe = replace(MODEL.recipes[name], batch_size=BATCH, patch=sizes.patch)
    request = Request(
        model=MODEL.name,
        data=(str(pairs),),
        recipe=recipe,
        options=sizes.options,
        steps=count + 1,
        device="cpu",
        dtype=DTYPE_NAME,
    )
    turns = _Turns(bare_loop(recipe, patch=sizes.patch, options=sizes.options), clock=clock)
    with redirect_stderr(io.StringIO()):
        run_training(request, folder, host=Host.discover(), command=[], report=turns)
    ours, bare = zip(*turns.seconds, strict=True)
    return Row(
        what=f"{MODEL.name}, {sizes.patch} px, batch {BATCH}, {DTYPE_NAME}: "
        f"step of its recipe {name} / bare forward, backward, {recipe.optimizer.kind}",
        ratios=tuple(one / other for one, other in zip(ours, bare, strict=True)),
        target=STEP_TARGET if name == "report" else None,
        seconds=(median(ours), median(bare)),
        note=f"{len(ours)} steps, PNG pairs on disk"
        + (", gradient clipped, weights averaged" * (name == "fast")),
    )


class _Turns:
    """Is told of each step of a training, and makes a bare one. seconds : of both, but for those around validations."""

    def __init__(self, bare: Callable[[], None], *, clock: Clock) -> None:
        self.seconds: list[tuple[float, float]] = []
        self._bare = bare
        self._clock = clock
        self._show = Reporter("training", None)  # as the command does
        self._start: float | None = None

    def __call__(self, progress: Progress) -> None:
        self._show(progress)
        middle = self._clock.now()
        if progress.validation is not None:
            self._start = None
            return
        self._bare()
        end = self._clock.now()
        if self._start is not None:
            self.seconds.append((middle - self._start, end - middle))
        self._start = self._clock.now()


def bare_loop(recipe: Recipe, *, patch: int, options: Mapping[str, Any] | None = None) -> Callable[[], None]:
    """Updates the network's parameters once, on tensors that lie ready, with nothing around it."""
    torch.manual_seed(0)
    network = MODEL.build(options).train().to(memory_format=torch.channels_last)
    objective = build_objective(
        Host.discover(), recipe, values=MODEL.values, device=torch.device("cpu"), dtype=torch.float32
    )
    ((_, loss),) = objective.terms
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer.kind]
    optimizer = kind(network.parameters(), lr=recipe.optimizer.lr)
    blurry, sharp = torch.rand(2, BATCH, 3, patch, patch)
    blurry, sharp = (pictures.to(memory_format=torch.channels_last) for pictures in (blurry, sharp))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=DTYPE, enabled=DTYPE is torch.bfloat16):
            restored = network(blurry)
        loss(restored, sharp).backward()
        optimizer.step()

    return step


def _resume(pairs: Path, home: Path, environ: Mapping[str, str], *, repeats: int, clock: Clock) -> list[Row]:
    """From the start of the command to its first step, which is a small one, so that it hides nothing."""
    new = ("--data", str(pairs), "-m", MODEL.name, "--set", "batch_size=1", "patch=32")
    old = str(home / "run")
    _first_step(*new, "-o", old, "--steps", "2", environ=environ, clock=clock, to_the_end=True)
    fresh = (str(home / f"fresh{number}") for number in range(repeats + 1))
    runs = {
        "resumed": lambda: _first_step(
            "--resume", "-o", old, "--epochs", "1000", environ=environ, clock=clock
        ),
        "fresh": lambda: _first_step(
            *new, "-o", next(fresh), "--epochs", "1000", environ=environ, clock=clock
        ),
    }
    what = f"{MODEL.name}, from the command to its first step: deblur train --resume / a new run"
    return compare(
        runs, [Contest(what=what, thing="resumed", bare="fresh", target=RESUME_TARGET)], repeats=repeats
    )


def _first_step(*words: str, environ: Mapping[str, str], clock: Clock, to_the_end: bool = False) -> float:
    """Seconds until `deblur train` tells of its first step; it is then killed, unless it shall go on."""
    before, start = _of_children(), Clock.WALL.now()
    with subprocess.Popen(
        [*DEBLUR, "train", *words], env=dict(environ), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:  # fmt: skip
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("step ") and not to_the_end:
                process.kill()
                break
        else:
            if process.wait() != 0 or not to_the_end:
                raise RuntimeError(f"deblur train {' '.join(words)} ended too soon: {''.join(said)}")
        wall_s = Clock.WALL.now() - start
    return wall_s if clock is Clock.WALL else _of_children() - before


def _of_children() -> float:
    """Processor seconds of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _memory(pairs: Path, home: Path, *, first: int, last: int) -> list[Row]:
    """What a training of the tiny network and its workers hold together, late against early."""
    recipe = replace(MODEL.recipes["fast"], batch_size=4, patch=24, crops_per_pair=40)  # 80 steps an epoch
    critic = WassersteinGP(critic_options={"width": 8}, n_critic=2)
    blur = Preparation(blur="photo-mix")
    pairs_of, sharp = (
        {"data": (str(pairs),)},
        {"data": (str(pairs / "train" / "sharp"),), "preparation": blur},
    )
    kinds: dict[str, dict[str, Any]] = {
        "pairs": pairs_of,
        "pairs, 2 workers": pairs_of | {"workers": 2},
        "blur on the fly": sharp,
        "blur on the fly, 2 workers": sharp | {"workers": 2},
        "WGAN-GP": pairs_of | {"recipe": replace(recipe, strategy=critic)},
    }
    rows = []
    for number, (name, changes) in enumerate(kinds.items()):
        base = Request(model=MODEL.name, data=(), recipe=recipe, options=MODEL.tiny, steps=last, device="cpu")
        request = replace(base, dtype="float32", **changes).as_values()
        with ProcessPoolExecutor(
            1, get_context("spawn"), initializer=set_start_method, initargs=(get_start_method(), True)
        ) as alone:  # a fresh process, whose own workers start as those of the command do
            early, late = alone.submit(_most_held, request, home / f"memory{number}", (first, last)).result()
        rows.append(
            Row(
                what=f"tiny network, {name}: memory at step {last} / step {first}",
                ratios=(late / early,),
                target=MEMORY_TARGET,
                note=f"{late / 1e6:.0f} MB / {early / 1e6:.0f} MB",
            )
        )
    return rows


def _most_held(request: dict[str, Any], folder: Path, at: Sequence[int]) -> list[int]:
    """The most bytes held in the steps up to each of these, in a process of its own."""
    most = dict.fromkeys(at, 0)
    plots.REDRAW_S = 0.0  # curves.png is drawn after the first epoch: what that loads is there from then on

    def look(progress: Progress) -> None:
        for step in most:
            if step - WINDOW < progress.step <= step and progress.validation is None:
                held = sum(
                    _bytes(process) for process in ("self", *(child.pid for child in active_children()))
                )
                most[step] = max(most[step], held)

    run_training(
        Request.from_values(request, run=folder), folder, host=Host.discover(), command=[], report=look
    )
    return list(most.values())


def _bytes(process: int | str | None) -> int:
    """Resident memory but for files, such as libraries, whose share depends on what else runs. 0 if it has just ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    # what forked processes share counts in parts
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


def _pairs(folder: Path, height: int, width: int) -> Path:
    """Eight pairs, and a small one to validate with."""
    for part, count, size in (("train", 8, (height, width)), ("val", 1, (64, 64))):
        for kind in ("blur", "sharp"):
            (folder / part / kind).mkdir(parents=True)
        for number in range(count):
            sharp = Image.fromarray(photograph(*size)[:, :: (-1) ** number])
            sharp.save(folder / part / "sharp" / f"{number}.png")
            sharp.filter(ImageFilter.GaussianBlur(2)).save(folder / part / "blur" / f"{number}.png")
    return folder
