"""rednet30 and its tiles against its plain forward and against nothing but its convolutions."""

from collections.abc import Callable
from functools import partial

import torch
from measuring import Clock, Contest, Row, compare, timed
from torch import Tensor, nn

import deblur_rednet
from deblur_cli.restore.devices import has_fast_bfloat16
from deblur_cli.restore.restorer import Restorer
from deblur_rednet.network import REDNet

TILED_TARGET = 1.05
CONVOLUTIONS_TARGET = 1.25
MODEL = deblur_rednet.MODELS[0]


def run(*, dtype: torch.dtype, repeats: int, clock: Clock, height: int, width: int) -> list[Row]:
    """Both comparisons in one dtype; nothing in bfloat16 where the processor only emulates it."""
    if dtype == torch.bfloat16 and not has_fast_bfloat16(torch.device("cpu")):
        return []
    torch.manual_seed(0)
    network = REDNet().eval()
    network.requires_grad_(False)
    blurry = torch.rand(1, 3, height, width)
    image = (blurry[0].permute(1, 2, 0).numpy() * 255).astype("uint8")
    name = str(dtype).removeprefix("torch.")
    restorer = partial(Restorer, network, model=MODEL, device="cpu", dtype=name)
    automatic, four = restorer(), restorer(tile=((height + 1) // 2, (width + 1) // 2))
    plan = automatic.plan(height, width)
    fast = network.for_inference(dtype)
    # copies the weights: the restorer's network keeps its own layout
    plain = REDNet().eval().requires_grad_(False).to(memory_format=torch.channels_last)
    work: dict[str, Callable[[], object]] = {
        "convolutions": _convolutions(dtype, height=height, width=width),
        "plain": lambda: _plain(plain, blurry, dtype=dtype),
        "fast": lambda: fast(blurry),
        "automatic": lambda: automatic.restore_array(image),
        "four": lambda: four.restore_array(image),
    }
    where = f"rednet30, {width}x{height}, {name}"
    contests = [
        Contest(
            what=f"{where}: restorer, automatic tiles / plain forward", thing="automatic", bare="plain",
            target=TILED_TARGET, note=f"{plan.num_tiles} tile(s), from 8 bit to 8 bit",
        ),
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
    with torch.inference_mode():
        return compare({key: timed(run, clock=clock) for key, run in work.items()}, contests, repeats=repeats)


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


def _plain(network: REDNet, blurry: Tensor, *, dtype: torch.dtype) -> Tensor:
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        restored: Tensor = network(blurry)
    return restored
