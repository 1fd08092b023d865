"""Scores of the network on a fixed part of the validation pictures, cheap enough for every epoch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from deblur_cli.data import Pair
from deblur_cli.host.declarations import Model, Values
from deblur_cli.metrics.full_reference import psnr, ssim

CROP_PX = 256
MAX_PICTURES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Means over the centre crops of the validation pictures; `blurry_psnr` and `blurry_ssim` are the input's own."""

    val_loss: float
    psnr: float
    ssim: float
    blurry_psnr: float
    blurry_ssim: float


def validate(
    network: nn.Module,
    pairs: Sequence[Pair],
    *,
    model: Model,
    loss: Callable[[Tensor, Tensor], Tensor],
    device: torch.device,
    dtype: torch.dtype,
) -> Validation:
    """Restore the centre crops (at most 256 px a side) of at most 16 pairs, spread evenly, and score them.

    PSNR in dB, capped at 100 for equal pictures; SSIM as `deblur eval` measures it.
    """
    network.eval()
    chosen = [
        pairs[int(i)]
        for i in np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), MAX_PICTURES)).round())
    ]
    rows: list[tuple[float, ...]] = []
    signed = model.values is Values.SIGNED
    with torch.inference_mode():
        for pair in chosen:
            blurry, sharp = (
                _centre(picture, multiple_of=model.geometry_for({}).multiple_of) for picture in pair.load()
            )
            x, y = (
                torch.from_numpy(picture.transpose(2, 0, 1).copy())[None].to(device)
                for picture in (blurry, sharp)
            )
            x, y = (value * 2 - 1 if signed else value for value in (x, y))
            with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
                output = network(x).float()
            restored = ((output + 1) / 2 if signed else output).clamp(0, 1)[0].permute(1, 2, 0).cpu().numpy()
            rows.append(
                (
                    float(loss(output, y)),
                    min(100.0, psnr(restored, sharp)),
                    ssim(restored, sharp),
                    min(100.0, psnr(blurry, sharp)),
                    ssim(blurry, sharp),
                )
            )
    means = np.mean(rows, axis=0)
    return Validation(
        **dict(
            zip(("val_loss", "psnr", "ssim", "blurry_psnr", "blurry_ssim"), map(float, means), strict=True)
        )
    )


def _centre(picture: np.ndarray, *, multiple_of: int) -> np.ndarray:
    """The centre crop as float32 in [0, 1]; its sides are multiples of `multiple_of`."""
    height, width = (min(CROP_PX, side) // multiple_of * multiple_of for side in picture.shape[:2])
    row, column = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[row : row + height, column : column + width].astype(np.float32) / 255
