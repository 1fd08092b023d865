"""Scores of the network on a fixed part of the validation pictures, cheap enough for every epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deblur_cli.data.drawn import DrawnPair
from deblur_cli.errors import MissingError
from deblur_cli.host.declarations import Values
from deblur_cli.metrics.full_reference import mse, psnr_from_mse, ssim
from deblur_cli.pictures.scaling import from_integers, to_8_bit
from deblur_cli.training.learning import Placement
from deblur_cli.training.objective import Objective

if TYPE_CHECKING:
    from deblur_cli.data import Pair

CROP_PX = 256
MAX_PICTURES = 16
SSIM_PX = 11  # side of its window; smaller crops have no SSIM

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What every validation looks at.

    crops : (blurry, sharp), (H, W, 3) each; names : of their pairs
    sizes : height and width in px of every pair held out; num_left_out : those too small
    """

    crops: Sequence[tuple[Pixels, Pixels]]
    names: Sequence[str] = ()
    sizes: Sequence[tuple[int, int]] = ()
    num_left_out: int = 0


def held_crops(pairs: "Sequence[Pair]", *, multiple_of: int) -> Held:
    """The centre crops (at most 256 px a side, divisible by `multiple_of`) of at most 16 pairs, spread evenly.

    Read once: a pair that is blurred on the fly is the first draw, in every epoch and every run.

    Raises
    ------
    MissingError : no pair is large enough
    PictureError : one of them cannot be read
    """
    sizes = [_fitting(pair).size() for pair in pairs]
    least = -(-SSIM_PX // multiple_of) * multiple_of
    usable = [number for number, size in enumerate(sizes) if min(size) >= least]
    if not usable:
        raise MissingError(
            f"none of the {len(pairs)} pairs held out for validation is large enough; it takes {least} px a side "
            "without the margin of the blur"
        )
    spread = np.linspace(0, len(usable) - 1, min(len(usable), MAX_PICTURES)).round().astype(int)
    chosen = [pairs[usable[at]] for at in np.unique(spread)]
    crops = []
    for pair in chosen:
        blurry, sharp = _fitting(pair).load()
        crops.append((_centre(blurry, multiple_of=multiple_of), _centre(sharp, multiple_of=multiple_of)))
    names = [pair.name for pair in chosen]
    return Held(crops=crops, names=names, sizes=sizes, num_left_out=len(pairs) - len(usable))


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
    held: Held,
    *,
    values: Values,
    objective: Objective,
    placement: Placement,
) -> tuple[Validation, list[Pixels]]:
    """Restore the crops held out, and score them.

    Returns
    -------
    the scores, and the restored crops, (H, W, 3) each
    """
    network.eval()
    signed = values is Values.SIGNED
    rows: list[tuple[float, ...]] = []
    pictures: list[Pixels] = []
    with torch.inference_mode():
        for crops in held.crops:
            blurry, sharp = (from_integers(crop) for crop in crops)
            x, y = (
                _tensor(picture, signed=signed).to(placement.device, placement.parameters)
                for picture in (blurry, sharp)
            )
            with placement.autocast():
                output = network(x)
            output = output.to(placement.parameters)
            unit = ((output + 1) / 2 if signed else output).clamp(0, 1)
            restored = unit[0].permute(1, 2, 0).float().cpu().numpy()
            pictures.append(to_8_bit(np.nan_to_num(restored)))
            rows.append(
                (
                    float(torch.stack(list(objective((output,), y).values())).sum()),
                    mse(restored, sharp),
                    ssim(restored, sharp),
                    mse(blurry, sharp),
                    ssim(blurry, sharp),
                )
            )
    val_loss, error, similarity, blurry_error, blurry_similarity = map(float, np.mean(rows, axis=0))
    scores = Validation(
        val_loss=val_loss,
        psnr=psnr_from_mse(error),
        ssim=similarity,
        blurry_psnr=psnr_from_mse(blurry_error),
        blurry_ssim=blurry_similarity,
    )
    return scores, pictures


def _fitting(pair: "Pair") -> "Pair":
    """The pair; where the patches of its preset are larger than the picture, all of that."""
    return pair.whole() if isinstance(pair, DrawnPair) and min(pair.size()) < 1 else pair


def _tensor(picture: NDArray[np.float32], *, signed: bool) -> Tensor:
    """(H, W, C) in [0, 1] -> (1, C, H, W) in the network's range."""
    tensor = torch.from_numpy(picture.transpose(2, 0, 1).copy())[None]
    return tensor * 2 - 1 if signed else tensor


def _centre(picture: Pixels, *, multiple_of: int) -> Pixels:
    """The centre crop; its sides are multiples of `multiple_of`. A copy, so that the picture can go."""
    height, width = (min(CROP_PX, side) // multiple_of * multiple_of for side in picture.shape[:2])
    row, column = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[row : row + height, column : column + width].copy()
