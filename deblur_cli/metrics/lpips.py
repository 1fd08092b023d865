"""LPIPS: how different two pictures look to AlexNet, weighted by what people said of pairs of distorted pictures.

    d = sum over layers l of mean over positions of sum over channels c of w_lc (f_lc(R) - f_lc(S))^2

f_l is what the l-th of AlexNet's five convolutions gives after its ReLU, divided at each position by its length over the
channels; w_l are the learned weights, one a channel.

Zhang, Isola, Efros, Shechtman, Wang: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018;
version 0.1 of its authors' weights. AlexNet as torchvision has it, which is what they used: Krizhevsky, One Weird Trick for
Parallelizing Convolutional Neural Networks, 2014. The definition fits on this page; their package would bring torchvision.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deblur_cli.errors import PictureError, UsageError
from deblur_cli.metrics.full_reference import Pixels, require_same_shape
from deblur_cli.weights.published import read_published, require_numbers

SMALLEST = 31
"""Pixels that a side must have so that both poolings find a window."""

WANTED = (
    "give --lpips-weights FILE: one .pth or .safetensors with torchvision's AlexNet (features.0.weight, ...) and the weights "
    "of LPIPS for it (lin0.model.1.weight, ...), or what LPIPS(net='alex') of the package lpips saves; "
    "docs/metrics.md shows how to make it"
)

# By torchvision's number: outputs, inputs, kernel, stride, padding.
_CONVOLUTIONS: Mapping[int, tuple[int, int, int, int, int]] = {
    0: (64, 3, 11, 4, 2),
    3: (192, 64, 5, 1, 2),
    6: (384, 192, 3, 1, 1),
    8: (256, 384, 3, 1, 1),
    10: (256, 256, 3, 1, 1),
}
_POOLED_BEFORE = (3, 6)  # 3x3 maximum, stride 2

# Of pictures in [-1, 1], by channel: the authors' constants, ImageNet's mean and spread in that range.
_SHIFT = np.array([-0.030, -0.088, -0.188], dtype=np.float32)
_SCALE = np.array([0.458, 0.448, 0.450], dtype=np.float32)
_EPSILON = 1e-10


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors that are used, as torchvision and the authors' small files name them."""
    found: dict[str, tuple[int, ...]] = {}
    for layer, (number, (outputs, inputs, kernel, *_)) in enumerate(_CONVOLUTIONS.items()):
        found[f"features.{number}.weight"] = (outputs, inputs, kernel, kernel)
        found[f"features.{number}.bias"] = (outputs,)
        found[f"lin{layer}.model.1.weight"] = (1, outputs, 1, 1)
    return found


def build(*, weights: str) -> Callable[[Pixels, Pixels], float]:
    """The metric with its weights read from a file; never with random ones.

    Parameters
    ----------
    weights : the file, "" = none

    Returns
    -------
    (restored, sharp) -> distance >= 0, 0 for identical pictures; of (H, W, 3) or (H, W, 1) floating point in [0, 1], H, W >=
    31, and PictureError where that does not hold

    Raises
    ------
    MissingError : no file is named, or it does not exist
    UsageError : the file cannot be read, or holds something else
    """
    path = Path(weights) if weights else None
    published = read_published(path, user="the metric lpips", weights="AlexNet and LPIPS", wanted=WANTED)
    tensors = _chosen(published, path)

    def lpips(restored: Pixels, sharp: Pixels) -> float:
        require_same_shape(restored, sharp)
        height, width = sharp.shape[:2]
        if min(height, width) < SMALLEST:
            raise PictureError(
                f"lpips needs pictures of at least {SMALLEST}x{SMALLEST} pixels, this one is {width}x{height}; "
                "use psnr, ssim or mae for it"
            )
        with torch.inference_mode():
            return float(_distance(tensors, _seen(restored), _seen(sharp)))

    return lpips


def _distance(tensors: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Sum over the layers; x, y : (1, 3, H, W), as AlexNet sees them."""
    total = torch.zeros(())
    for layer, (number, (*_, stride, padding)) in enumerate(_CONVOLUTIONS.items()):
        kernel, bias = (tensors[f"features.{number}.{kind}"] for kind in ("weight", "bias"))
        if number in _POOLED_BEFORE:
            x, y = (F.max_pool2d(features, 3, stride=2) for features in (x, y))
        x, y = (
            F.conv2d(features, kernel, bias, stride=stride, padding=padding).relu() for features in (x, y)
        )
        difference = (_of_length_one(x) - _of_length_one(y)).square()
        total = total + (difference * tensors[f"lin{layer}.model.1.weight"]).sum(dim=1).mean()
    return total


def _of_length_one(features: Tensor) -> Tensor:
    length: Tensor = features.square().sum(dim=1, keepdim=True).sqrt()
    return features / (length + _EPSILON)


def _seen(picture: Pixels) -> Tensor:
    """(H, W, C) in [0, 1] -> (1, 3, H, W) in [-1, 1], shifted and scaled."""
    coloured = np.broadcast_to(np.asarray(picture, dtype=np.float32), (*picture.shape[:2], 3))
    scaled = (2 * coloured - 1 - _SHIFT) / _SCALE
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1))).unsqueeze(0)


def _chosen(published: Mapping[str, Tensor], path: Path | None) -> dict[str, Tensor]:
    """What is used of a file, by the names of `shapes`. Raises UsageError where it does not hold all of it."""
    named = {_short(name): tensor for name, tensor in published.items()}
    for name, shape in shapes().items():
        found = tuple(named[name].shape) if name in named else "missing"
        if found != shape:
            raise UsageError(
                f"{path} does not hold LPIPS of AlexNet: {name} is {found}, it must be {shape}; {WANTED}"
            )
    chosen = {name: named[name].detach().to(torch.float32, copy=True) for name in shapes()}
    require_numbers(path, chosen)
    return chosen


def _short(name: str) -> str:
    """A name of the package's whole module (net.slice2.3.weight, lins.0.model.1.weight) as the separate files have it."""
    return re.sub(r"^net\.slice\d\.", "features.", re.sub(r"^lins\.(\d)", r"lin\1", name))
