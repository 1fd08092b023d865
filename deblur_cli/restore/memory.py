"""How much memory a network takes for a window of a size, and how much there is.

The figure is measured, not derived: the network runs on a few small windows while every tensor that comes to life is
counted. That takes a second, once for each model, dtype and device; the result is kept in the user's cache folder.
"""

import ctypes
import hashlib
import itertools
import json
import logging
import os
import re
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from deblur_cli.errors import DeblurError, UsageError
from deblur_cli.host.folders import cache_folder
from deblur_cli.pictures.atomic import atomic_write
from deblur_cli.restore.tiling import round_up

PROBE_SIDES_PX = (64, 128, 256)
BUFFER_BYTES_PER_PIXEL = 64
"""Of a window, beside the network: its pixels, the input and the result as float32, and copies on the way."""
ENSEMBLE_BYTES_PER_PIXEL = 36
"""Of a window that is restored in all eight turns, besides: the sum, the window turned, and a result turned back, of 12 each."""
SAFETY = 1.2
"""What libraries take inside one operation, and what the allocator loses between them, is not counted."""
SHARE_OF_FREE = 0.5
SHARE_IF_ASKED = 0.9
"""For a tile size that the user set: refused before the system ends the program."""
LARGE_TENSOR_BYTES = 4 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_MALLOC_MOST = 2**31 - 1
_MMAP_THRESHOLD_OLD = 32 << 20  # the most that older versions of glibc take
_budget_promised = False
_UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryModel:
    """Peak memory of one forward pass by window size.

    points : (pixels, bytes) as measured, by growing size; straight lines between them, and beyond the last one as steep
        as the last two, or growing with the square where they grew faster than in proportion (attention)
    buffer_bytes_per_pixel : what the restorer holds of a window beside the network
    """

    points: tuple[tuple[int, int], ...]
    buffer_bytes_per_pixel: int = BUFFER_BYTES_PER_PIXEL

    def bytes_for(self, pixels: int) -> int:
        """Bytes that a window of so many pixels takes, with the restorer's own buffers and the safety margin."""
        return int((self._measured(pixels) + self.buffer_bytes_per_pixel * pixels) * SAFETY)

    def pixels_within(self, num_bytes: int) -> int:
        """Pixels of the largest window that so many bytes hold; 0 if none."""
        low, high = 0, 1
        while self.bytes_for(high) <= num_bytes:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.bytes_for(middle) <= num_bytes else (low, middle)
        return low

    def _measured(self, pixels: int) -> float:
        (x0, y0), (x1, y1) = ((0, 0), *self.points)[-2:]
        for (left, low), (right, high) in zip(((0, 0), *self.points), self.points, strict=False):
            if pixels <= right:
                return low + (high - low) * (pixels - left) / (right - left)
        if x0 and y1 / y0 > 1.2 * x1 / x0:
            return y1 * (pixels / x1) ** 2
        return y1 + max(0, y1 - y0) * (pixels - x1) / (x1 - x0)


def parse_size(value: str | int) -> int:
    """Bytes of "2GB", "512MiB", "1.5g" or a plain number. Raises UsageError for anything else."""
    if isinstance(value, int):
        number, unit = float(value), ""
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", value.lower())
        if match is None or match[2] not in _UNITS:
            raise UsageError(
                f"cannot read the memory size {value!r}; give a number with a unit, such as 2GB or 512MiB"
            )
        number, unit = float(match[1]), match[2]
    if number <= 0:
        raise UsageError(f"a memory budget of {value} holds nothing; give a size such as 2GB")
    return int(number * _UNITS[unit])


def format_size(num_bytes: int) -> str:
    """Bytes as "850 MB" or "1.3 GB", rounded up so that the figure suffices when it is given back."""
    if num_bytes < 10**9:
        return f"{-(-num_bytes // 10**6)} MB"
    return f"{-(-num_bytes // 10**8) / 10:.1f} GB"


def free_memory(device: torch.device) -> int:
    """Bytes that this process may still take on the device; a careful guess where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    available = [value for value in (_meminfo_available(), _cgroup_available()) if value is not None]
    if available:
        return min(available)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError, AttributeError):  # no sysconf on Windows
        return 4 * 10**9


def memory_model(
    run: Callable[[int, int], object],
    network: nn.Module,
    *,
    key: Mapping[str, object],
    device: torch.device,
    multiple_of: int,
    fixed_size: int | None,
) -> MemoryModel:
    """Measure a network's memory, or read what was measured before.

    Parameters
    ----------
    run : restores a window of a height and width, pixels
    network : tells apart what `key` does not; a cached figure holds for the same layers only
    key : what else the figure depends on: model, options, dtype
    """
    content = {"layers": repr(network), "device": _device_name(device), "torch": torch.__version__, **key}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
    path = cache_folder(os.environ) / "memory" / f"{digest[:32]}.json"
    cached = _read_cache(path)
    if cached is not None:
        return cached
    sides = [fixed_size] if fixed_size else sorted({round_up(side, multiple_of) for side in PROBE_SIDES_PX})
    if len(sides) == 1 and not fixed_size:
        sides.append(2 * sides[0])
    points: list[tuple[int, int]] = []
    for side in sides:
        try:
            points.append((side * side, measure_peak(run, side, side, device=device)))
        except torch.OutOfMemoryError:
            if not points:
                raise
            break  # a small device: the smaller windows tell enough
        finally:
            give_back_free_memory()
    model = MemoryModel(points=tuple(points))
    _write_cache(path, model)
    return model


def measure_peak(run: Callable[[int, int], object], height: int, width: int, *, device: torch.device) -> int:
    """Peak bytes of the tensors alive at once while a window of that size is restored."""
    if device.type == "cuda":
        run(height, width)  # once before: libraries keep workspaces
        torch.cuda.reset_peak_memory_stats(device)
        before: int = torch.cuda.memory_allocated(device)
        run(height, width)
        peak: int = torch.cuda.max_memory_allocated(device)
        return peak - before
    live = _LiveTensors()
    with live:
        run(height, width)
    return live.peak_bytes


def give_back_free_memory() -> None:
    """Hand what was freed back to the system, where the C library (glibc) would keep it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


def keep_large_tensors_off_the_heap() -> None:
    """Have glibc take each large tensor from the system and give it back when it is freed.

    By itself it learns to keep tensors of up to 32 MB on its heap, where the holes that one tile leaves do not fit the
    next one: peaks were 1.4 times what lives at once. The price is fresh pages for each of them, so it is done where a
    budget has to be kept. Holds for the process from then on.
    """
    global _budget_promised
    _budget_promised = True
    set_malloc(mmap_threshold=LARGE_TENSOR_BYTES, trim_threshold=2 * LARGE_TENSOR_BYTES)


def keep_large_tensors_on_the_heap() -> None:
    """Have glibc give the memory of a freed tensor to the next one, however large, instead of fresh pages.

    The system clears each fresh page, which took as long as the convolutions of a small network. The price is that freed
    memory stays with the process until `give_back_free_memory`, so nothing is done where a budget was promised to anyone
    in this process.
    """
    if not _budget_promised:
        set_malloc(mmap_threshold=_MALLOC_MOST, trim_threshold=_MALLOC_MOST)


def set_malloc(*, mmap_threshold: int, trim_threshold: int) -> None:
    """Bytes from which glibc takes an allocation from the system, and of free memory at the heap's end that it gives back."""
    if sys.platform == "linux":
        set_option = getattr(ctypes.CDLL(None), "mallopt", None)
        if set_option is not None:
            if not set_option(_M_MMAP_THRESHOLD, mmap_threshold):
                set_option(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_OLD)
            set_option(_M_TRIM_THRESHOLD, trim_threshold)


class _LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]  # its __init_subclass__ has no types
    """Counts the bytes of all storages that operations make, for as long as they live."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # nor has its __init__
        self._sizes: dict[int, int] = {}
        self._bytes = 0
        self.peak_bytes = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep PyTorch from importing its compiler for this class: three seconds and 70 MB, and nothing is compiled."""
        return False

    # `Any`: the signature is PyTorch's, for every operation there is
    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_iter(result):
            if isinstance(value, torch.Tensor):
                self._watch(value.untyped_storage())
        return result

    def _watch(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self._bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self._bytes)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._bytes -= self._sizes.pop(key)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _read_cache(path: Path) -> MemoryModel | None:
    try:
        points = json.loads(path.read_text(encoding="utf-8"))["points"]
        model = MemoryModel(points=tuple((int(pixels), int(num_bytes)) for pixels, num_bytes in points))
    except (OSError, ValueError, OverflowError, KeyError, TypeError):  # absent or damaged: measured again
        return None
    sizes = [0, *(pixels for pixels, _ in model.points)]
    grows = len(sizes) > 1 and all(small < large for small, large in itertools.pairwise(sizes))
    return model if grows and all(num_bytes >= 0 for _, num_bytes in model.points) else None


def _write_cache(path: Path, model: MemoryModel) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            Path(temporary).write_text(json.dumps({"points": model.points}), encoding="utf-8")
    except (OSError, DeblurError) as error:
        _log.debug("memory figures are not kept: %s", error)


def _meminfo_available() -> int | None:
    try:
        match = re.search(
            r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE
        )
    except OSError:
        return None
    return int(match[1]) * 1024 if match else None


def _cgroup_available() -> int | None:
    """What the control group of a container leaves, if it sets a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        # files cached by the kernel count as used, but are given up on demand
        match = re.search(
            r"^inactive_file (\d+)", (folder / "memory.stat").read_text(encoding="ascii"), re.MULTILINE
        )
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - used + (int(match[1]) if match else 0))
