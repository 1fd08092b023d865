"""Scores of the network on a fixed part of the validation pictures, cheap enough for every epoch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deblur_cli.host.declarations import Values
from deblur_cli.metrics.full_reference import mse, psnr_from_mse, ssim

if TYPE_CHECKING:
    from deblur_cli.data import Pair

CROP_PX = 256
MAX_PICTURES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Scores over the centre crops of the validation pictures; the `blurry_` ones are the input's own.

    psnr : dB of the mean squared error over all crops: a mean of decibels would be ruled by pairs that are all but equal
    """

    val_loss: float
    psnr: float
    ssim: float
    blurry_psnr: float
    blurry_ssim: float


def validate(
    network: nn.Module,
    pairs: "Sequence[Pair]",
    *,
    values: Values,
    multiple_of: int,
    loss: Callable[[Tensor, Tensor], Tensor],
    device: torch.device,
    dtype: torch.dtype,
) -> Validation:
    """Restore the centre crops (at most 256 px a side) of at most 16 pairs, spread evenly, and score them."""
    network.eval()
    spread = np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), MAX_PICTURES)).round()).astype(int)
    signed = values is Values.SIGNED
    rows: list[tuple[float, ...]] = []
    with torch.inference_mode():
        for index in spread:
            blurry, sharp = (_centre(picture, multiple_of=multiple_of) for picture in pairs[index].load())
            x, y = (_tensor(picture, signed=signed).to(device) for picture in (blurry, sharp))
            with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
                output = network(x)
            output = output.float()
            unit = ((output + 1) / 2 if signed else output).clamp(0, 1)
            restored = unit[0].permute(1, 2, 0).cpu().numpy()
            rows.append(
                (
                    float(loss(output, y)),
                    mse(restored, sharp),
                    ssim(restored, sharp),
                    mse(blurry, sharp),
                    ssim(blurry, sharp),
                )
            )
    val_loss, error, similarity, blurry_error, blurry_similarity = map(float, np.mean(rows, axis=0))
    return Validation(
        val_loss=val_loss,
        psnr=psnr_from_mse(error),
        ssim=similarity,
        blurry_psnr=psnr_from_mse(blurry_error),
        blurry_ssim=blurry_similarity,
    )


def _tensor(picture: NDArray[np.float32], *, signed: bool) -> Tensor:
    """(H, W, C) in [0, 1] -> (1, C, H, W) in the network's range."""
    tensor = torch.from_numpy(picture.transpose(2, 0, 1).copy())[None]
    return tensor * 2 - 1 if signed else tensor


def _centre(picture: NDArray[np.uint8], *, multiple_of: int) -> NDArray[np.float32]:
    """The centre crop as float32 in [0, 1]; its sides are multiples of `multiple_of`."""
    height, width = (min(CROP_PX, side) // multiple_of * multiple_of for side in picture.shape[:2])
    row, column = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[row : row + height, column : column + width].astype(np.float32) / np.float32(255)
