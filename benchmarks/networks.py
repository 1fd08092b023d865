"""Every network, restored from 8 bit to 8 bit, against its plain forward; rednet30 against its bare convolutions too."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from measuring import Clock, Contest, Row, compare, timed
from torch import Tensor, nn

import deblur_rednet
from deblur_cli.host.declarations import Model
from deblur_cli.host.manager import Host
from deblur_cli.restore.arrays import Array
from deblur_cli.restore.calling import Autocast
from deblur_cli.restore.devices import dtype_name, has_fast_bfloat16
from deblur_cli.restore.memory import (
    format_size,
    give_back_free_memory,
    keep_large_tensors_on_the_heap,
    measure_peak,
    set_malloc,
)
from deblur_cli.restore.restorer import Restorer
from deblur_cli.restore.tiling import round_up
from deblur_rednet.network import REDNet

TARGET = 1.0
TILED_TARGET = 1.05
CONVOLUTIONS_TARGET = 1.25
REDNET = deblur_rednet.MODELS[0]
ENOUGH_S = 6.0
"""The rounds of a large network end after about so long; one there is always."""
LARGEST_ON_HEAP = 32 << 20
"""Bytes: what glibc's own threshold grows to in a process that frees large tensors."""
FORMATS = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How the networks run."""

    dtype: torch.dtype
    repeats: int
    clock: Clock
    image: Array  # (H, W, 3) uint8

    def title(self, name: str) -> str:
        """What begins a row."""
        height, width = self.image.shape[:2]
        return f"{name}, {width}x{height}, {dtype_name(self.dtype)}"


def run(*, dtype: torch.dtype, repeats: int, clock: Clock, height: int, width: int) -> list[Row]:
    """All networks in one dtype; nothing in bfloat16 where float32 is faster."""
    if dtype == torch.bfloat16 and not has_fast_bfloat16(torch.device("cpu")):
        return []
    image = np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8)
    how = How(dtype=dtype, repeats=repeats, clock=clock, image=image)
    models = sorted(Host.discover().models.values(), key=lambda model: model.facts.kmacs_per_pixel)
    with torch.inference_mode():
        return [*(row for model in models for row in _race(model, how)), *_rednet(how)]


def _race(model: Model, how: How) -> list[Row]:
    """The restorer as it runs by itself against the plain forward of the whole picture, from float to float.

    The plain one lies in the memory format that is faster on a ninth of the picture, where both warm up as well. It gets
    its memory as it would without the restorer, which keeps what is freed for the next tensor; quick networks are also
    compared with a plain forward that profits from that.
    """
    torch.manual_seed(0)
    network = model.build({}).eval().requires_grad_(False)
    restorer = Restorer(network, model=model, device="cpu", dtype=dtype_name(how.dtype))
    step = restorer.geometry.multiple_of
    sides = [round_up(side, step) for side in how.image.shape[:2]]
    part = [round_up(side // 3, step) for side in sides]
    tries = {
        name: min(timed(_plain(network, how.dtype, format, part), clock=how.clock)() for _ in range(2))
        for name, format in FORMATS.items()
    }
    best = min(tries, key=lambda name: tries[name])
    restorer.restore_array(how.image[: part[0], : part[1]])
    rounds = int(ENOUGH_S / (9 * tries[best]))
    plan = restorer.plan(*how.image.shape[:2])
    tiles = f"{plan.num_tiles} tile(s), {'exact' if plan.exact else 'approximate'}"
    note = f"{tiles}; {format_size(_peak(network, how.dtype, *plan.tile_shape))}; plain is {best}"
    title = how.title(model.name)
    contests = [
        Contest(
            what=f"{title}: restorer / plain forward", thing="ours", bare="plain", target=TARGET, note=note
        )
    ]
    plain = timed(_plain(network, how.dtype, FORMATS[best], sides), clock=how.clock)
    work = {
        "ours": timed(partial(restorer.restore_array, how.image), clock=how.clock),
        "plain": partial(_by_default, plain),
    }
    if rounds > how.repeats:
        work["kept"] = plain
        contests.append(
            Contest(
                what=f"{title}: restorer / plain forward in memory that is kept, as the restorer keeps it",
                thing="ours", bare="kept", target=None,
            )
        )  # fmt: skip
    found = compare(work, contests, repeats=max(1, min(rounds, how.repeats)), warm=rounds < 2)
    give_back_free_memory()
    return found


def _by_default(run: Callable[[], float]) -> float:
    """The seconds of a run for which glibc treats large tensors as it does by itself, not as the restorer has it."""
    give_back_free_memory()
    set_malloc(mmap_threshold=LARGEST_ON_HEAP, trim_threshold=2 * LARGEST_ON_HEAP)
    seconds = run()
    keep_large_tensors_on_the_heap()
    return seconds


def _plain(
    network: nn.Module, dtype: torch.dtype, format: torch.memory_format, sides: list[int]
) -> Callable[[], Tensor]:
    """The network's own forward, under autocast, on a picture of noise."""
    forward = Autocast(deepcopy(network).to(memory_format=format), dtype)
    return partial(forward, torch.rand(1, 3, *sides).contiguous(memory_format=format))


def _peak(network: nn.Module, dtype: torch.dtype, height: int, width: int) -> int:
    """Most bytes of tensors alive at once while a window is restored, input counted and weights not."""
    form = deepcopy(network).to("meta").for_inference(dtype)

    def restore(height: int, width: int) -> Tensor:
        restored: Tensor = form(torch.empty(1, 3, height, width, device="meta"))
        return restored

    return measure_peak(restore, height, width, device=torch.device("cpu"))


def _rednet(how: How) -> list[Row]:
    """rednet30 and its tiles against its plain forward and against nothing but its convolutions."""
    torch.manual_seed(0)
    network = REDNet().eval().requires_grad_(False)
    height, width = how.image.shape[:2]
    blurry = torch.rand(1, 3, height, width)
    four = Restorer(
        network, model=REDNET, device="cpu", dtype=dtype_name(how.dtype),
        tile=((height + 1) // 2, (width + 1) // 2),
    )  # fmt: skip
    fast = network.for_inference(how.dtype)
    work: dict[str, Callable[[], object]] = {
        "convolutions": _convolutions(how.dtype, height=height, width=width),
        "plain": _plain(network, how.dtype, torch.channels_last, [height, width]),
        "fast": lambda: fast(blurry),
        "four": lambda: four.restore_array(how.image),
    }
    where = how.title("rednet30")
    contests = [
        Contest(
            what=f"{where}: restorer, four tiles / plain forward", thing="four", bare="plain",
            target=TILED_TARGET, note="each reads 30 px beyond its own",
        ),
        Contest(
            what=f"{where}: restorer, four tiles / its own network, whole", thing="four", bare="fast", target=None,
        ),
        Contest(
            what=f"{where}: network as restored with / 30 bare convolutions", thing="fast", bare="convolutions",
            target=CONVOLUTIONS_TARGET,
        ),
        Contest(
            what=f"{where}: plain forward / 30 bare convolutions", thing="plain", bare="convolutions", target=None,
        ),
    ]  # fmt: skip
    return compare(
        {name: timed(one, clock=how.clock) for name, one in work.items()},
        contests,
        repeats=min(2, how.repeats),
    )


def _convolutions(dtype: torch.dtype, *, height: int, width: int) -> Callable[[], None]:
    """30 convolutions of 64 to 64 features, 3x3, each of its own weights, of one input."""
    layers = [
        nn.Conv2d(64, 64, 3, padding=1).requires_grad_(False).to(dtype, memory_format=torch.channels_last)
        for _ in range(30)
    ]
    features = torch.randn(1, 64, height, width).to(dtype, memory_format=torch.channels_last)

    def run() -> None:
        for layer in layers:
            layer(features)

    return run
