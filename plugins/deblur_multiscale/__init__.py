"""msdeblurwgan and msdeblurwgan_5, multi-scale generators of a WGAN, as a plugin. network.py names the report."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from deblur_cli import (
    Cosine,
    Facts,
    Geometry,
    Model,
    Optimizer,
    Option,
    Recipe,
    Reported,
    Scales,
    Term,
    Values,
    WassersteinGP,
    hookimpl,
)

API = 1

ADAM = Optimizer(kind="adam", lr=2e-4, betas=(0.5, 0.9), eps=1e-7)

REPORT_CIFAR = Recipe(
    summary="the report's recipe for CIFAR-10: LogCosh of all sizes, a critic five times a batch (WGAN-GP), Adam at 2e-4",
    loss=Term(loss="logcosh", scales=Scales.HALF_MEAN),
    strategy=WassersteinGP(n_critic=5, gradient_penalty=10.0, adversarial=1e-4),
    optimizer=ADAM,
    epochs=150,
    batch_size=32,
    drop_last=False,
    patch=32,
)
# Crops are squares: of the report's pieces of 64x48 px, which the preset reds-s0-256 makes, they take three quarters.
REPORT_REDS = replace(
    REPORT_CIFAR,
    summary="the report's recipe for REDS: LogCosh of all sizes, a critic five times a batch (WGAN-GP), Adam at 2e-4",
    epochs=100,  # not stated; the scores rise and fall after 60
    patch=48,
)
FAST_CIFAR = Recipe(
    summary="quick good results: starts near the identity, batch norms frozen there, a critic once a batch (WGAN-GP), AdamW, "
    "cosine, averaged weights",
    loss=Term(loss="charbonnier", scales=Scales.HALF_MEAN, options={"eps": 0.03}),
    strategy=WassersteinGP(n_critic=1, optimizer=ADAM),
    start="deblur_multiscale.network:start_near_identity",
    optimizer=Optimizer(kind="adamw", lr=5e-4, weight_decay=1e-4),
    schedule=Cosine(warmup_steps=200),
    epochs=40,
    batch_size=32,
    patch=32,
    clip_norm=1.0,
    ema_decay=0.999,
    freeze_norm_after=0.0,
)
FAST_REDS = replace(FAST_CIFAR, epochs=20, patch=48)

# px that tiles read around what they keep instead of a wide halo. Beyond them a picture's change moves a result by less than
# half a level of 8 bit with the weights that `report` starts from (measured with 19 blocks: 165 px); those that `fast` starts
# from return the pixel alone. Training may change that, so the difference is small but no promise.
OVERLAP = 168


def _geometry(options: Mapping[str, Any]) -> Geometry:
    """A branch reaches 4 px for each block and 4 more, at the size, its half and its quarter; resizing adds 8."""
    halo = 36 + 28 * options["blocks"]
    return Geometry(multiple_of=4, halo=halo, overlap=OVERLAP if halo > 2 * OVERLAP else None)


def _model(
    name: str, *, blocks: int, facts: Facts, recipes: Mapping[str, Recipe], reported: Reported
) -> Model:
    return Model(
        name=name,
        summary=f"a quarter, half and the whole of the size, {blocks} residual blocks each (batch norm)",
        source="Orlandi, Pinardi: Application of Deep Learning on Image Deblurring, Bologna 2020",
        paper="Nah, Kim, Lee: Deep Multi-Scale Convolutional Neural Network for Dynamic Scene Deblurring, CVPR 2017 "
        "(arXiv 1612.02177)",
        network="deblur_multiscale.network:MSDeblurWGAN",
        geometry=_geometry,
        facts=facts,
        licence="MIT",
        values=Values.SIGNED,
        options={
            "blocks": Option(type=int, default=blocks, least=1, help="residual blocks at each size"),
            "width": Option(type=int, default=64, least=1, help="features at each size"),
            "up_features": Option(
                type=int,
                default=61,
                least=1,
                help="of an enlarged result: 61 and three colours make 64, as in the report's code; the report says 64",
            ),
        },
        recipes=recipes,
        reported=(reported,),
        tiny={"blocks": 1, "width": 12, "up_features": 9},
    )


MODELS = (
    _model(
        "msdeblurwgan",
        blocks=19,
        facts=Facts(parameters=11_928_961, kmacs_per_pixel=5243.2, bytes_per_pixel=1296),
        recipes={"fast": FAST_CIFAR, "report": REPORT_CIFAR},
        reported=Reported(
            protocol="cifar10-s0",
            scores={"ssim": 0.9054, "psnr": 31.49, "mse": 1.734e-3, "mae": 2.471e-2},
            blurry={"ssim": 0.7135, "psnr": 24.67, "mse": 6.317e-3, "mae": 4.517e-2},
            where="Orlandi, Pinardi, table 4.1",
            note="pictures that are hardly blurred lift the mean PSNR",
        ),
    ),
    _model(
        "msdeblurwgan_5",
        blocks=5,
        facts=Facts(parameters=3_311_233, kmacs_per_pixel=1480.0, bytes_per_pixel=1296),
        recipes={"fast": FAST_REDS, "report": REPORT_REDS},
        reported=Reported(
            protocol="reds-s0-256",
            scores={"ssim": 0.8031, "psnr": 27.11, "mse": 1.729e-3, "mae": 2.495e-2},
            blurry={"ssim": 0.8359, "psnr": 27.68, "mse": 3.120e-3, "mae": 2.390e-2},
            where="Orlandi, Pinardi, table 4.2",
            note="its MSE does not belong to its PSNR: a mean of PSNR cannot lie below the PSNR of the mean error, 27.62 dB",
        ),
    ),
)


@hookimpl
def deblur_models() -> Iterable[Model]:
    """msdeblurwgan and msdeblurwgan_5."""
    return MODELS
