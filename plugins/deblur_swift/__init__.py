"""swift, a residual U-Net made to be quick, as a plugin. network.py says what it takes from whom."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from deblur_cli import (
    Cosine,
    Facts,
    Geometry,
    Mixture,
    Model,
    Optimizer,
    Option,
    Recipe,
    Term,
    Weights,
    hookimpl,
)

API = 1

FAST = Recipe(
    summary="starts as the identity; Charbonnier, AdamW, cosine, averaged weights",
    loss=Term(loss="charbonnier", options={"eps": 0.03}),
    optimizer=Optimizer(kind="adamw", lr=1e-3, weight_decay=1e-4),
    schedule=Cosine(warmup_steps=100),
    epochs=20,
    batch_size=16,
    patch=128,
    clip_norm=1.0,
    ema_decay=0.999,
)

PHOTO = replace(
    FAST,
    summary="for photographs, with --data gopro reds reds_x4 photos --blur photo-train: most of the blur is synthetic",
    loss=Term(loss="psnr", weight=0.01),  # by which gradients are of the size that clip_norm expects
    mixture=Mixture(
        shares={"gopro": 0.14, "reds": 0.1, "reds_x4": 0.06, "photos": 0.7}, reduce=2.0, degrade=0.5
    ),
    reuse=8,
)


def _geometry(options: Mapping[str, Any]) -> Geometry:
    """A convolution reaches one position of its level; where levels and squares begin depends on the pixel."""
    fold, levels = options["fold"], options["levels"]
    strides = [fold << level for level in range(levels)]
    sides = 4 * options["blocks"] * sum(strides[:-1]) + 2 * options["middle"] * strides[-1]
    return Geometry(multiple_of=strides[-1], halo=sides + 2 * fold + strides[-1] - 1)


OPTIONS = {
    "width": Option(
        type=int, default=32, least=1, help="features of the highest level; they double with each level"
    ),
    "levels": Option(type=int, default=3, choices=(1, 2, 3, 4, 5), help="of the U"),
    "fold": Option(
        type=int, default=2, choices=(1, 2, 4), help="side in px of the squares that become channels"
    ),
    "blocks": Option(type=int, default=2, least=0, help="residual blocks of each level on each side"),
    "middle": Option(type=int, default=4, least=0, help="residual blocks of the lowest level"),
}

MODELS = (
    Model(
        name="swift",
        summary="residual U-Net of plain convolutions on a picture folded into channels, made to be quick",
        source="this project",
        paper="Nah, Kim, Lee: Deep Multi-scale Convolutional Neural Network for Dynamic Scene Deblurring, CVPR 2017 "
        "(arXiv 1612.02177), for blocks without normalisation",
        network="deblur_swift.network:Swift",
        geometry=_geometry,
        facts=Facts(parameters=1_639_532, kmacs_per_pixel=59.07, bytes_per_pixel=204),
        licence="MIT",
        options=OPTIONS,
        recipes={"fast": FAST, "photo": PHOTO},
        preference=2,
        weights=(
            Weights(
                tag="photo",
                file="swift.photo.safetensors",
                sha256="b212cc3377273f49a49e6b6064ff0b4d23149bbed2fe223800bb128edb56608a",
            ),
        ),
        tiny={"width": 8, "levels": 2, "blocks": 1, "middle": 1},
    ),
)


@hookimpl
def deblur_models() -> Iterable[Model]:
    """swift."""
    return MODELS
