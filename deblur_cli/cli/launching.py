"""Several processes of one training: torchrun's launcher as `--processes` starts it, and the one voice they speak with."""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TYPE_CHECKING

from deblur_cli.cli import console
from deblur_cli.cli.errors import INTERRUPTED, TERMINATED, Terminated, report
from deblur_cli.cli.signals import stopping_signals
from deblur_cli.errors import DeblurError

if TYPE_CHECKING:
    from torch.distributed.elastic.agent.server.api import ElasticAgent

    from deblur_cli.training.processes import Processes

_READY = "ready"
_SILENT = 99  # exit code of a process that leaves the last word to another one
_GRACE_S = 10  # for processes that outlive another one
_DEFAULTS = {"TORCH_CPP_LOG_LEVEL": "ERROR"}  # it warns of connections that end with their process
_OURS = {"TORCHELASTIC_SIGNALS_TO_HANDLE": "none"}


def launch(words: Sequence[str], *, count: int, folder: Path) -> None:
    """Run the command line `words` in so many processes at once and wait for them; what they say is the command's.

    Each takes its share of the processors, unless OMP_NUM_THREADS says otherwise. Ctrl-C and SIGTERM go on to them.

    Parameters
    ----------
    folder : the run folder they write

    Raises
    ------
    DeblurError : one of them was killed
    SystemExit : one of them failed, and said why
    """
    from deblur_cli.training.processes import processors

    if count > processors():
        console.warn(
            f"{count} processes share {processors()} processors; more than these make nothing faster"
        )
    threads = max(1, processors() // count)
    environment = {"OMP_NUM_THREADS": str(threads), **_DEFAULTS, **os.environ, **_OURS}
    with TemporaryDirectory(prefix="deblur-") as scratch, _set(environment), _without_logs():
        agent = _agent(words, count=count, scratch=scratch)
        with _passing_signals(agent, scratch=Path(scratch), count=count) as stop:
            codes = {rank: failed.exitcode for rank, failed in agent.run().failures.items()}
    if codes:
        raise _failure(codes, stop, folder=folder, count=count)


def _failure(codes: Mapping[int, int], stop: "_Passing", *, folder: Path, count: int) -> BaseException:
    """What the command ends with. codes : how processes ended, by rank, those first that failed first"""
    if stop.number is not None:
        return stop.as_exception()
    rank, code = next(((rank, code) for rank, code in codes.items() if code != _SILENT), (None, _SILENT))
    if code == INTERRUPTED:
        return KeyboardInterrupt()
    # The launcher stops the others with SIGTERM, and one of those may end first: what was said counts.
    for said in codes.values():
        if said > 0 and said not in (_SILENT, TERMINATED, INTERRUPTED):
            console.mute()
            return SystemExit(said)
    if rank is None:
        return DeblurError(f"the processes lost contact with each other; {_left(folder, count)}")
    number = signal.Signals(signal.SIGTERM if code == TERMINATED else -code)
    why = ", as the system does when memory runs out" if number.name == "SIGKILL" else ""
    return DeblurError(
        f"process {rank} of {count} (the first is 0) was stopped by {number.name}{why}; {_left(folder, count)}"
    )


@contextmanager
def one_voice() -> Iterator["Processes"]:
    """The processes that train together with this one. The first of them speaks; of an error, the first that meets it."""
    from deblur_cli.training.processes import LostError, joined_processes

    with joined_processes() as processes:
        if processes.count == 1:
            yield processes
            return
        if not processes.is_first:
            console.mute()
        try:
            yield processes
        except Exception as error:
            signal.signal(
                signal.SIGTERM, signal.SIG_IGN
            )  # the launcher ends all where one ended: not before the last word
            console.mute()
            if (launcher() and isinstance(error, LostError)) or not processes.claims("the last word"):
                raise SystemExit(_SILENT) from error
            console.unmute()
            code = report(error)
            console.mute()
            raise SystemExit(code) from error
        except BaseException:
            if launcher():
                console.mute()  # the launcher says so
            raise


@contextmanager
def naming_what_is_left(folder: Path, processes: int) -> Iterator[None]:
    """Inside, the loss of another process is told with the last checkpoint and the way on."""
    from deblur_cli.training.processes import LostError

    try:
        yield
    except LostError as error:
        raise LostError(f"{error}; {_left(folder, processes)}") from error


def launcher() -> int | None:
    """The process whose `launch` started this one; None where torchrun or the user did."""
    parent = os.getppid()
    return parent if os.environ.get("TORCHELASTIC_RUN_ID") == _run_id(parent) else None


def say_ready() -> None:
    """Tell the launcher, if any, that this process handles signals from now on."""
    if launcher() is not None:
        Path(os.environ["TORCHELASTIC_ERROR_FILE"]).with_name(_READY).touch()


def how_to_go_on(folder: Path, processes: int) -> str:
    """The command that resumes a run."""
    words = f"train --resume -o {folder}"
    if processes > 1 and not launcher() and "TORCHELASTIC_RUN_ID" in os.environ:
        return f"torchrun ... -m deblur_cli {words}"
    return f"deblur {words}" + (f" --processes {processes}" if processes > 1 else "")


def _left(folder: Path, count: int) -> str:
    """What a run that broke off left, and what to do with it."""
    from deblur_cli.training.recording.run_folder import RunFolder

    if not (folder / "run.json").exists():
        return "nothing was trained yet"
    last = RunFolder(folder).last_step_text()
    return f"the last checkpoint is {last}; go on with: {how_to_go_on(folder, count)}"


class _Passing:
    """Passes signals on to the processes: the first lets them save, the second stops them at once, the third kills."""

    def __init__(self, agent: "ElasticAgent", *, scratch: Path, count: int) -> None:
        self._agent = agent
        self._scratch = scratch
        self._count = count
        self._seen = 0
        self.number: signal.Signals | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self._seen += 1
        self.number = self.number or signal.Signals(number)
        pids = [worker.id for worker in self._agent.get_worker_group().workers if worker.id is not None]
        are_ready = len(list(self._scratch.rglob(_READY))) == self._count
        if self._seen == 1 and are_ready:
            console.note("stopping after this step; once more stops at once")
        passed = signal.SIGINT if self._seen == 1 else signal.SIGTERM
        if self._seen > 2 or not are_ready:
            passed = signal.SIGKILL
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, passed)
        if not are_ready:
            raise self.as_exception()

    def as_exception(self) -> BaseException:
        """What the command ends with, so that its exit code is 130 or 143."""
        return KeyboardInterrupt() if self.number is signal.SIGINT else Terminated()


@contextmanager
def _passing_signals(agent: "ElasticAgent", *, scratch: Path, count: int) -> Iterator[_Passing]:
    passing = _Passing(agent, scratch=scratch, count=count)
    before = {number: signal.signal(number, passing) for number in stopping_signals()}
    try:
        yield passing
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _agent(words: Sequence[str], *, count: int, scratch: str) -> "ElasticAgent":
    """What torchrun starts on one machine; after a failure it ends all processes and starts none again."""
    from torch.distributed.elastic.agent.server.api import WorkerSpec
    from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.rendezvous import RendezvousParameters, registry

    meeting = RendezvousParameters(
        backend="c10d",
        endpoint="localhost:0",
        run_id=_run_id(os.getpid()),
        min_nodes=1,
        max_nodes=1,
        local_addr="localhost",
    )
    spec = WorkerSpec(
        role="train",
        local_world_size=count,
        entrypoint=sys.executable,
        args=("-m", "deblur_cli", *words),
        rdzv_handler=registry.get_rendezvous_handler(meeting),
        max_restarts=0,
        monitor_interval=0.1,
        local_addr="localhost",
    )
    return LocalElasticAgent(spec, DefaultLogsSpecs(log_dir=scratch), shutdown_timeout=_GRACE_S)


def _run_id(process: int) -> str:
    return f"deblur-{process}"


@contextmanager
def _set(environment: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _without_logs() -> Iterator[None]:
    """The launcher logs each failure; `launch` says it in one line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
