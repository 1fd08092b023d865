"""The promise of --max-memory, measured on the real command: resident memory at its highest, for large pictures."""

import math
from pathlib import Path

import torch
from files import QUALITY, photograph
from measuring import Row
from PIL import Image
from processes import DEBLUR, own_home, use

import deblur_rednet
from deblur_cli.weights import Header, write_weights

BUDGET = 1_000_000_000
FLAT_TARGET = 1.1
ARRAY_BYTES_PER_PIXEL = 6  # input and output, 8-bit RGB


def run(*, megapixels: tuple[int, ...]) -> list[Row]:
    """One row a size against budget and interpreter, and one for the growth of what is neither input nor output."""
    with own_home() as (home, environ):
        weights = _tiny_weights(home)

        def peak(picture: Path) -> int:
            command = (*DEBLUR, picture, "--weights", weights, "-o", home / "out.jpg")
            options = ("--overwrite", "--force", "--max-memory", str(BUDGET))
            return use([*command, *options], environ=environ).peak_bytes

        base = peak(_picture(home, width=64, height=64))
        rows, others = [], {}
        for size in megapixels:
            height, width = _four_to_three(size * 1_000_000)
            reached = peak(_picture(home, width=width, height=height))
            others[size] = reached - base - ARRAY_BYTES_PER_PIXEL * height * width
            rows.append(
                Row(
                    what=f"{size} MP jpg, --max-memory 1GB: peak / budget and interpreter",
                    ratios=(reached / (BUDGET + base),),
                    target=1.0,
                    note=f"peak {_mb(reached)}, interpreter with a 64 px picture {_mb(base)}, "
                    f"beside it and the arrays {_mb(others[size])}",
                )
            )
    if len(megapixels) > 1:
        small, large = megapixels[-2:]
        rows.append(
            Row(
                what=f"peak less picture arrays: {large} MP / {small} MP",
                ratios=((others[large] + base) / (others[small] + base),),
                target=FLAT_TARGET,
                note=f"interpreter counted; without it {_mb(others[small])} and {_mb(others[large])}",
            )
        )
    return rows


def _four_to_three(pixels: int) -> tuple[int, int]:
    width = round(math.sqrt(pixels * 4 / 3))
    return round(pixels / width), width


def _tiny_weights(folder: Path) -> Path:
    """rednet30's tiny variant, changing the picture faintly: what is measured is the frame around the network."""
    model = deblur_rednet.MODELS[0]
    torch.manual_seed(0)
    network = model.build(model.tiny)
    with torch.no_grad():
        network.output.weight.mul_(0.02)
    path = folder / "tiny.safetensors"
    write_weights(
        path, network.state_dict(), Header(model=model.name, options=dict(model.tiny), licence="MIT")
    )
    return path


def _picture(folder: Path, *, width: int, height: int) -> Path:
    path = folder / "picture.jpg"
    Image.fromarray(photograph(height, width)).save(path, quality=QUALITY)
    return path


def _mb(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.0f} MB"
