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
ARRAY_BYTES_PER_PIXEL = 6  # input and output while tiles run, 8-bit RGB
CODEC_BYTES_PER_PIXEL = 7  # while a file is read or written: one of them, and four that Pillow holds


def run(*, megapixels: tuple[int, ...]) -> list[Row]:
    """One row a size against budget and interpreter, and one for the growth of what is neither input nor output."""
    with own_home() as (home, environ):
        weights = _tiny_weights(home)

        def peak(picture: Path) -> int:
            command = (*DEBLUR, picture, "--weights", weights, "-o", home / "out.jpg")
            options = ("--overwrite", "--force", "--max-memory", str(BUDGET))
            return use([*command, *options], environ=environ).peak_bytes

        base = peak(_picture(home, width=64, height=64))
        rows, reached = [], {}
        for size in megapixels:
            height, width = _four_to_three(size * 1_000_000)
            reached[size] = peak(_picture(home, width=width, height=height))
            rows.append(
                Row(
                    what=f"{size} MP jpg, --max-memory 1GB: peak / budget and interpreter",
                    ratios=(reached[size] / (BUDGET + base),),
                    target=1.0,
                    note=f"peak {_mb(reached[size])}, interpreter with a 64 px picture {_mb(base)}",
                )
            )
    if len(megapixels) > 1:
        rows += _growth(reached, *megapixels[-2:])
    return rows


def _growth(reached: dict[int, int], small: int, large: int) -> list[Row]:
    """The peak without picture arrays, which should not depend on the picture; interpreter counted."""
    rows = []
    for arrays, num_bytes, target in (
        ("an array and Pillow's copy", CODEC_BYTES_PER_PIXEL, FLAT_TARGET),
        ("input and output", ARRAY_BYTES_PER_PIXEL, None),
    ):
        rest = {size: reached[size] - num_bytes * size * 1_000_000 for size in (small, large)}
        rows.append(
            Row(
                what=f"peak less {arrays} ({num_bytes} bytes a pixel): {large} MP / {small} MP",
                ratios=(rest[large] / rest[small],),
                target=target,
                note=f"{_mb(rest[large])} / {_mb(rest[small])}",
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
