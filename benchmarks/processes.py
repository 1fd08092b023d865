"""The real command in a process of its own: how long it takes, and how much memory at most."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

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


LAUNCHER = """
import json, os, sys, time
start = time.perf_counter()
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
_, status, usage = os.wait4(process, 0)
wall_s = time.perf_counter() - start
print(json.dumps([os.waitstatus_to_exitcode(status), wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""
"""Starts the process and waits for it. Linux hands the peak of whoever starts a process on to it, so that has to be small."""


def use(command: Sequence[str | Path], *, environ: Mapping[str, str]) -> Used:
    """Run a command, its program as a full path, to its end. Raises RuntimeError with what it said where it fails."""
    words = [os.fspath(word) for word in command]
    launch = [sys.executable, "-I", "-S", "-c", LAUNCHER, *words]
    done = subprocess.run(launch, env=dict(environ), capture_output=True, text=True, check=True)
    code, wall_s, cpu_s, peak = json.loads(done.stdout)
    if code != 0:
        raise RuntimeError(f"{words} ended with {code}: {done.stderr}")
    return Used(wall_s=wall_s, cpu_s=cpu_s, peak_bytes=peak if sys.platform == "darwin" else 1024 * peak)


@contextmanager
def own_home() -> Iterator[tuple[Path, dict[str, str]]]:
    """A temporary folder, and an environment in which no setting or cache of the user counts."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("DEBLUR_")}
        for kind in ("CACHE", "CONFIG", "STATE", "DATA"):
            environ[f"XDG_{kind}_HOME"] = str(home / kind.lower())
        yield home, environ
