"""Scores of the network on a fixed part of the validation pictures, cheap enough for every epoch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deblur_cli.data.drawn import DrawnPair
from deblur_cli.errors import MissingError
from deblur_cli.host.declarations import Values
from deblur_cli.metrics.full_reference import mse, psnr_from_mse
from deblur_cli.metrics.structural import ssim
from deblur_cli.pictures.scaling import from_integers, to_8_bit
from deblur_cli.training.learning import Placement
from deblur_cli.training.objective import Objective

if TYPE_CHECKING:
    from deblur_cli.data import Pair

CROP_PX = 256
FEWEST, MOST = 16, 256
"""Pictures: so many of 256 px and above; of small ones more, until they hold as many pixels."""
BATCH_PIXELS = CROP_PX * CROP_PX
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


def held_crops(pairs: "Sequence[Pair]", *, multiple_of: int, fixed_size: int | None = None) -> Held:
    """The centre crops of 16 to 256 pairs, spread evenly.

    They are at most 256 px a side and divisible by `multiple_of`, or squares of `fixed_size` where a network takes no others.

    Read once: a pair that is blurred on the fly is the first draw, in every epoch and every run.

    Raises
    ------
    MissingError : no pair is large enough
    PictureError : one of them cannot be read
    """
    most_px, multiple_of = fixed_size or CROP_PX, fixed_size or multiple_of
    sizes = [_fitting(pair).size() for pair in pairs]
    least = -(-SSIM_PX // multiple_of) * multiple_of
    usable = [number for number, size in enumerate(sizes) if min(size) >= least]
    if not usable:
        raise MissingError(
            f"none of the {len(pairs)} pairs held out for validation is large enough; it takes {least} px a side "
            "without the margin of the blur"
        )
    typical = np.median(
        [min(height, most_px) * min(width, most_px) for height, width in map(sizes.__getitem__, usable)]
    )
    wanted = int(np.clip(FEWEST * BATCH_PIXELS // typical, FEWEST, MOST))
    spread = np.linspace(0, len(usable) - 1, min(len(usable), wanted)).round().astype(int)
    chosen = [pairs[usable[at]] for at in np.unique(spread)]
    crops = []
    for pair in chosen:
        blurry, sharp = _fitting(pair).load()
        crops.append(
            (
                _centre(blurry, most_px=most_px, multiple_of=multiple_of),
                _centre(sharp, most_px=most_px, multiple_of=multiple_of),
            )
        )
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
        for batch in _batches(held.crops):
            blurry, sharp = (
                np.stack([from_integers(crop) for crop in crops]) for crops in zip(*batch, strict=True)
            )
            x, y = (
                _tensor(batch, signed=signed).to(placement.device, placement.parameters)
                for batch in (blurry, sharp)
            )
            with placement.autocast():
                output = network(x)
            output = output.to(placement.parameters)
            loss = float(torch.stack(list(objective((output,), y).values())).sum())
            unit = ((output + 1) / 2 if signed else output).clamp(0, 1)
            for before, after, target in zip(
                blurry, unit.permute(0, 2, 3, 1).float().cpu().numpy(), sharp, strict=True
            ):
                pictures.append(to_8_bit(np.nan_to_num(after)))
                rows.append(
                    (loss, mse(after, target), ssim(after, target), mse(before, target), ssim(before, target))
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


def _batches(crops: Sequence[tuple[Pixels, Pixels]]) -> Iterator[Sequence[tuple[Pixels, Pixels]]]:
    """Neighbours of one size, as many as make the pixels of one large crop."""
    for shape, group in groupby(crops, key=lambda crop: crop[0].shape):
        same, count = list(group), max(1, BATCH_PIXELS // (shape[0] * shape[1]))
        yield from (same[first : first + count] for first in range(0, len(same), count))


def _tensor(pictures: NDArray[np.float32], *, signed: bool) -> Tensor:
    """(B, H, W, C) in [0, 1] -> (B, C, H, W) in the network's range."""
    tensor = torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy())
    return tensor * 2 - 1 if signed else tensor


def _centre(picture: Pixels, *, most_px: int, multiple_of: int) -> Pixels:
    """The centre crop; its sides are multiples of `multiple_of`. A copy, so that the picture can go."""
    height, width = (min(most_px, side) // multiple_of * multiple_of for side in picture.shape[:2])
    row, column = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[row : row + height, column : column + width].copy()
