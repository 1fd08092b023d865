"""REDNet30, an encoder-decoder with symmetric skips, as a plugin. network.py names the report that it is taken from."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from deblur_cli import Cosine, Facts, Geometry, Model, Optimizer, Option, Recipe, Staircase, Weights, hookimpl

API = 1

KERAS_ADAM = Optimizer(kind="adam", lr=1e-3, betas=(0.9, 0.999), eps=1e-7)

REPORT = Recipe(
    summary="the report's recipe for CIFAR-10: Adam at 1e-3, LogCosh, flips",
    loss="logcosh",
    optimizer=KERAS_ADAM,
    epochs=120,
    batch_size=32,  # on each of 8 devices, whose batch norms saw those alone
    drop_last=False,
)
REPORT_FINETUNE = replace(
    REPORT,
    summary="80 more epochs on the weights of --init: Adam at 1e-4, times 0.7 every 5 epochs",
    optimizer=replace(KERAS_ADAM, lr=1e-4),
    schedule=Staircase(rate=0.7, every=5),
    epochs=80,
)
FAST = Recipe(
    summary="quick good results: starts as the identity, AdamW, cosine, averaged weights, frozen batch norm at the end",
    loss="charbonnier",
    start="deblur_rednet.network:start_at_identity",
    optimizer=Optimizer(kind="adamw", lr=1e-3, weight_decay=1e-4),
    schedule=Cosine(warmup_steps=50),
    epochs=20,
    batch_size=8,
    patch=96,
    clip_norm=1.0,
    ema_decay=0.999,
    freeze_norm_after=2 / 3,
)


def _geometry(options: Mapping[str, Any]) -> Geometry:
    return Geometry(halo=2 * options["depth"])


MODELS = (
    Model(
        name="rednet30",
        summary="30 convolutions with symmetric skips and a global residual (ELU, batch norm)",
        source="Orlandi, Pinardi: Application of Deep Learning on Image Deblurring, Bologna 2020",
        paper="Mao, Shen, Yang: Image Restoration Using Very Deep Convolutional Encoder-Decoder Networks, NIPS 2016 (arXiv 1603.09056)",
        network="deblur_rednet.network:REDNet",
        geometry=_geometry,
        facts=Facts(parameters=1_076_739, kmacs_per_pixel=1071.0, bytes_per_pixel=152),
        licence="MIT",
        options={
            "depth": Option(
                type=int,
                default=15,
                choices=(2, 5, 10, 15),
                help="convolutions a side; 15 is the report's network",
            ),
            "width": Option(type=int, default=64, least=1, help="features of each convolution"),
        },
        recipes={"fast": FAST, "report": REPORT, "report-finetune": REPORT_FINETUNE},
        preference=1,
        weights=(
            Weights(
                tag="photo",
                file="rednet30.photo.safetensors",
                sha256="bf55239c6765b088c3d8b65d4a3be2ddf3026a370cbf182e94a7d1bde0428158",
            ),
        ),
        tiny={"depth": 2, "width": 8},
    ),
)


@hookimpl
def deblur_models() -> Iterable[Model]:
    """rednet30 and its shorter and narrower variants by option."""
    return MODELS
