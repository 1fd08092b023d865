"""The most memory that is held while something runs."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(slots=True)
class Watched:
    """peak_bytes : None where the system does not tell"""

    peak_bytes: int | None = None


@contextmanager
def watch_memory(device: "torch.device | None") -> Iterator[Watched]:
    """The peak while the block runs: on a GPU what PyTorch holds there, else what the process holds (Linux only)."""
    watched = Watched()
    if device is not None and device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        yield watched
        watched.peak_bytes = torch.cuda.max_memory_allocated(device)
        return
    with suppress(OSError):
        _RESET.write_text("5", encoding="ascii")  # sets VmHWM back to what is held now
        watched.peak_bytes = 0
    yield watched
    if watched.peak_bytes is not None:
        with suppress(OSError):
            watched.peak_bytes = _high_water_mark()


def _high_water_mark() -> int | None:
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
