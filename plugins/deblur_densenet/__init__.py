"""eddensenet, a dense encoder-decoder, as a plugin. network.py names the report that it is taken from."""

from collections.abc import Iterable, Mapping
from typing import Any

from deblur_cli import (
    Cosine,
    EarlyStopping,
    Facts,
    Geometry,
    Model,
    Optimizer,
    Option,
    Recipe,
    Reported,
    Term,
    Weights,
    hookimpl,
)

API = 1

REPORT = Recipe(
    summary="the report's recipe for CIFAR-10: Adam at 1e-3, squared error, flips, early stopping",
    loss="mse",
    optimizer=Optimizer(kind="adam", lr=1e-3, eps=1e-7),
    epochs=50,
    early_stopping=EarlyStopping(patience=5),
    batch_size=65,
    drop_last=False,
    patch=32,
)
FAST = Recipe(
    summary="quick good results: starts at half resolution with frozen batch norms, AdamW, cosine, averaged weights",
    loss=Term(loss="charbonnier", options={"eps": 0.03}),
    start="deblur_densenet.network:start_at_half_resolution",
    optimizer=Optimizer(kind="adamw", lr=1e-3, weight_decay=1e-4),
    schedule=Cosine(warmup_steps=50),
    epochs=40,
    batch_size=32,
    patch=32,
    clip_norm=1.0,
    ema_decay=0.999,
    freeze_norm_after=0,
)


def _geometry(options: Mapping[str, Any]) -> Geometry:
    """A dense layer reaches 1 px of its level: 1 + 2 of `layers` down, 1 up; 4 + 2 of half as many. Other layers 4 px."""
    layers = options["layers"]
    return Geometry(multiple_of=4, halo=4 + 4 * layers + 6 * (layers // 2))


MODELS = (
    Model(
        name="eddensenet",
        summary="densely connected encoder and decoder without skips, batch norm and a sigmoid",
        source="Dicosola: Deep Deblurring project, Bologna 2020",
        paper="Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks, CVPR 2017 (arXiv 1608.06993)",
        network="deblur_densenet.network:EDDenseNet",
        geometry=_geometry,
        facts=Facts(parameters=424_927, kmacs_per_pixel=225.3, bytes_per_pixel=2159),
        licence="MIT",
        options={
            "growth": Option(type=int, default=16, least=1, help="features that each dense layer adds"),
            "layers": Option(
                type=int,
                default=6,
                choices=(2, 4, 6),
                help="dense layers at full and half resolution; half as many in the middle",
            ),
        },
        recipes={"fast": FAST, "report": REPORT},
        reported=(
            Reported(
                protocol="cifar10-s2",
                scores={"mse": 0.002102, "psnr": 27.6209, "ssim": 0.90904},
                where="Dicosola, its results on CIFAR-10, with the digits of its project's evaluation files",
                note="each evaluation draws its blur anew: the third digit is noise",
            ),
        ),
        weights=(
            Weights(
                tag="cifar10",
                file="eddensenet.cifar10.safetensors",
                sha256="e04a138a6f6620c04703f7ff1a6a409867c5fd557c2711d3aa3e314e0811145a",
            ),
        ),
        tiny={"growth": 12, "layers": 2},
    ),
)


@hookimpl
def deblur_models() -> Iterable[Model]:
    """eddensenet and its narrower and shorter variants by option."""
    return MODELS
