"""The real command in a process of its own: how long it takes, and how much memory at most."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from measuring import Clock

DEBLUR = (sys.executable, "-m", "deblur_cli")


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a finished process took. peak_bytes : resident memory at its highest."""

    wall_s: float
    cpu_s: float
    peak_bytes: int

    def seconds(self, clock: Clock) -> float:
        """By that clock."""
        return self.wall_s if clock is Clock.WALL else self.cpu_s


def use(command: Sequence[str | Path], *, environ: Mapping[str, str]) -> Used:
    """Run a command to its end. Raises RuntimeError with what it said where it fails."""
    start = perf_counter()
    with TemporaryDirectory() as folder, open(Path(folder) / "said", "w+b") as said:
        process = subprocess.Popen(
            [os.fspath(word) for word in command], env=environ, stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            said.seek(0)
            raise RuntimeError(f"{command} ended with {process.returncode}: {said.read().decode()}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Used(wall_s=wall_s, cpu_s=usage.ru_utime + usage.ru_stime, peak_bytes=usage.ru_maxrss * unit)


@contextmanager
def own_home() -> Iterator[tuple[Path, dict[str, str]]]:
    """A temporary folder, and an environment in which no setting or cache of the user counts."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("DEBLUR_")}
        for kind in ("CACHE", "CONFIG", "STATE", "DATA"):
            environ[f"XDG_{kind}_HOME"] = str(home / kind.lower())
        yield home, environ
