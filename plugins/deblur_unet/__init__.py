"""unet16 and unet20, small U-Nets without normalisation, as a plugin. network.py names the reports they are taken from."""

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
    Plateau,
    Recipe,
    Reported,
    Term,
    Weights,
    hookimpl,
)

API = 1

KERAS_ADAM = Optimizer(kind="adam", lr=1e-3, eps=1e-7)

REPORT_UNET16 = Recipe(
    summary="the report's recipe for CIFAR-10: Adam at 1e-3, LogCosh, flips",
    loss="logcosh",
    optimizer=KERAS_ADAM,
    epochs=120,
    batch_size=256,  # 32 on each of 8 devices; without batch norms that is one batch
    drop_last=False,
)
REPORT_UNET20 = Recipe(
    summary="the report's recipe for CIFAR-10: Adam at 1e-3, a fifth on plateaus, mean absolute error, early stopping",
    loss="mae",
    optimizer=KERAS_ADAM,
    schedule=Plateau(rate=0.2, patience=4, min_delta=1e-4),
    epochs=500,
    early_stopping=EarlyStopping(patience=10),
    batch_size=32,
    drop_last=False,
    patch=32,
    flips="none",
)
FAST = Recipe(
    summary="quick good results: starts as the identity, AdamW, cosine, averaged weights",
    loss=Term(loss="charbonnier", options={"eps": 0.03}),
    start="deblur_unet.network:start_at_identity",
    optimizer=Optimizer(kind="adamw", lr=2e-3, weight_decay=1e-4),
    schedule=Cosine(warmup_steps=200),
    epochs=40,
    batch_size=128,
    patch=32,
    clip_norm=1.0,
    ema_decay=0.999,
)


def _geometry(options: Mapping[str, Any]) -> Geometry:
    """One level reaches 2 px by its two convolutions; each level more doubles that and adds its own 5 px."""
    scale = 1 << (options["levels"] - 1)
    return Geometry(multiple_of=scale, halo=7 * scale - 5)


def _model(
    name: str,
    *,
    levels: int,
    report: str,
    facts: Facts,
    recipe: Recipe,
    reported: tuple[Reported, ...],
    sha256: str,
    note: str = "",
) -> Model:
    return Model(
        name=name,
        summary=f"U-Net of {levels} levels from 16 features on, without normalisation{note}",
        source=report,
        paper="Ronneberger, Fischer, Brox: U-Net, MICCAI 2015 (arXiv 1505.04597)",
        network="deblur_unet.network:UNet",
        geometry=_geometry,
        facts=facts,
        licence="MIT",
        options={
            "levels": Option(
                type=int,
                default=levels,
                choices=(1, 2, 3, 4, 5),
                help="resolutions, each half of the one above",
            ),
            "width": Option(
                type=int, default=16, least=3, help="features at full resolution; they double with each level"
            ),
            "output": Option(
                type=str, default="relu", choices=("relu", "linear"), help="what follows the last convolution"
            ),
        },
        recipes={"fast": FAST, "report": recipe},
        reported=reported,
        weights=(Weights(tag="cifar10", file=f"{name}.cifar10.safetensors", sha256=sha256),),
        tiny={"levels": 2, "width": 8},
    )


BLURRY_LOGCOSH = "the LogCosh of the blurred pictures was computed in another way: it is above half their MSE"

REPORTED_UNET16 = (
    Reported(
        protocol="cifar10-s0",
        scores={"logcosh": 10.44e-4, "ssim": 0.9001, "psnr": 29.32, "mse": 2.095e-3, "mae": 2.898e-2},
        blurry={"logcosh": 34.48e-4, "ssim": 0.7135, "psnr": 24.67, "mse": 6.317e-3, "mae": 4.517e-2},
        where="Orlandi, Pinardi, table 3.1",
        note=BLURRY_LOGCOSH,
    ),
    Reported(
        protocol="reds-s0-512",
        scores={"logcosh": 8.763e-4, "ssim": 0.8646, "psnr": 30.41, "mse": 1.761e-3, "mae": 2.312e-2},
        blurry={"logcosh": 19.54e-4, "ssim": 0.8237, "psnr": 28.80, "mse": 2.594e-3, "mae": 2.118e-2},
        where="Orlandi, Pinardi, table 3.2",
        note=BLURRY_LOGCOSH,
    ),
)
REPORTED_UNET20 = (
    Reported(
        protocol="cifar10-s3",
        scores={"ssim": 0.874477, "psnr": 27.181793, "mse": 2.962e-3},
        where="Agosto, Malizia, its scores on the test pictures",
        note="the blurred pictures' scores are not printed; lower than those of the smaller unet16 in another report",
    ),
)

MODELS = (
    _model(
        "unet16",
        levels=4,
        report="Orlandi, Pinardi: Application of Deep Learning on Image Deblurring, Bologna 2020",
        facts=Facts(parameters=482_067, kmacs_per_pixel=35.4, bytes_per_pixel=420),
        recipe=REPORT_UNET16,
        reported=REPORTED_UNET16,
        sha256="2f0acc7b5d8c4bf5f3d7bf5467749ae7a225bd29bf09c58e1498b1d508b0fef0",
    ),
    _model(
        "unet20",
        levels=5,
        note="; the report has a figure alone",
        report="Agosto, Malizia: Machine Vision Practical Project, Nankai 2021",
        facts=Facts(parameters=1_941_139, kmacs_per_pixel=46.3, bytes_per_pixel=424),
        recipe=REPORT_UNET20,
        reported=REPORTED_UNET20,
        sha256="92092c8bf9459252fb70cb10d55a01932e4deaff8cd3d492b368de64b46c848f",
    ),
)


@hookimpl
def deblur_models() -> Iterable[Model]:
    """unet16 and unet20."""
    return MODELS
