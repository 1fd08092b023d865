"""rednet30 and rednet30wgan, encoder-decoders with symmetric skips, as a plugin. network.py names their report."""

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
    Staircase,
    Term,
    Values,
    WassersteinGP,
    Weights,
    hookimpl,
)

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

WGAN_ADAM = Optimizer(kind="adam", lr=2e-4, betas=(0.5, 0.9), eps=1e-7)
REPORT_WGAN = Recipe(
    summary="the report's recipe for CIFAR-10: LogCosh, and a critic five times a batch (WGAN-GP); Adam at 2e-4, flips",
    loss="logcosh",
    strategy=WassersteinGP(n_critic=5, gradient_penalty=10.0, adversarial=1e-4),
    optimizer=WGAN_ADAM,
    epochs=350,
    batch_size=32,
    drop_last=False,
    patch=32,
)
FAST_WGAN = replace(
    FAST,
    summary="quick good results: starts near the identity, batch norms frozen there, a critic once a batch (WGAN-GP), AdamW, "
    "cosine, averaged weights",
    loss=Term(loss="charbonnier", options={"eps": 0.03}),
    strategy=WassersteinGP(n_critic=1, optimizer=WGAN_ADAM),
    start="deblur_rednet.network:start_near_identity",
    optimizer=replace(FAST.optimizer, lr=1e-4),  # the norms are frozen, so nothing else reins deep layers in
    batch_size=32,
    patch=32,
    freeze_norm_after=0.0,
)

SOURCE = "Orlandi, Pinardi: Application of Deep Learning on Image Deblurring, Bologna 2020"
PAPER = "Mao, Shen, Yang: Image Restoration Using Very Deep Convolutional Encoder-Decoder Networks, NIPS 2016 (arXiv 1603.09056)"


def _geometry(options: Mapping[str, Any]) -> Geometry:
    return Geometry(halo=2 * options["depth"])


OPTIONS = {
    "depth": Option(
        type=int,
        default=15,
        choices=(2, 5, 10, 15),
        help="convolutions a side; 15 is the report's network",
    ),
    "width": Option(type=int, default=64, least=1, help="features of each convolution"),
}

BLURRY_LOGCOSH = "the LogCosh of the blurred pictures was computed in another way: it is above half their MSE"

REPORTED = (
    Reported(
        protocol="cifar10-s0",
        scores={"logcosh": 6.966e-4, "ssim": 0.9258, "psnr": 33.52, "mse": 1.398e-3, "mae": 2.165e-2},
        blurry={"logcosh": 34.48e-4, "ssim": 0.7135, "psnr": 24.67, "mse": 6.317e-3, "mae": 4.517e-2},
        where="Orlandi, Pinardi, table 3.1",
        note=f"{BLURRY_LOGCOSH}; pictures that are hardly blurred lift the mean PSNR",
    ),
    Reported(
        protocol="reds-s0-512",
        scores={"logcosh": 5.793e-4, "ssim": 0.8976, "psnr": 31.98, "mse": 1.163e-3, "mae": 1.884e-2},
        blurry={"logcosh": 19.54e-4, "ssim": 0.8237, "psnr": 28.80, "mse": 2.594e-3, "mae": 2.118e-2},
        where="Orlandi, Pinardi, table 3.2",
        note=f"{BLURRY_LOGCOSH}; their table 4.2 repeats these figures beside others of 256x144 px",
    ),
)
REPORTED_WGAN = (
    Reported(
        protocol="cifar10-s0",
        scores={"ssim": 0.9012, "psnr": 31.98, "mse": 1.900e-3, "mae": 2.482e-2},
        blurry={"ssim": 0.7135, "psnr": 24.67, "mse": 6.317e-3, "mae": 4.517e-2},
        where="Orlandi, Pinardi, table 4.1",
        note="pictures that are hardly blurred lift the mean PSNR",
    ),
)

MODELS = (
    Model(
        name="rednet30",
        summary="30 convolutions with symmetric skips and a global residual (ELU, batch norm)",
        source=SOURCE,
        paper=PAPER,
        network="deblur_rednet.network:REDNet",
        geometry=_geometry,
        facts=Facts(parameters=1_076_739, kmacs_per_pixel=1071.0, bytes_per_pixel=152),
        licence="MIT",
        options=OPTIONS,
        recipes={"fast": FAST, "report": REPORT, "report-finetune": REPORT_FINETUNE},
        reported=REPORTED,
        preference=1,
        weights=(
            Weights(
                tag="photo",
                file="rednet30.photo.safetensors",
                sha256="bf55239c6765b088c3d8b65d4a3be2ddf3026a370cbf182e94a7d1bde0428158",
            ),
            Weights(
                tag="cifar10",
                file="rednet30.cifar10.safetensors",
                sha256="b7ed75ba43ecc8dbc30f61319d07bc61b13417e30e2c016c1241a6618f0cfa3a",
            ),
        ),
        tiny={"depth": 2, "width": 8},
    ),
    Model(
        name="rednet30wgan",
        summary="rednet30 with a tanh at its end, trained against a critic (ELU, batch norm)",
        source=SOURCE,
        paper=PAPER,
        network="deblur_rednet.network:REDNetWGAN",
        geometry=_geometry,
        facts=Facts(parameters=1_076_739, kmacs_per_pixel=1071.0, bytes_per_pixel=152),
        licence="MIT",
        values=Values.SIGNED,
        options={
            **OPTIONS,
            "activation": Option(
                type=str,
                default="elu",
                choices=("elu", "relu"),
                help="of the inner layers: as the report says, or relu as its code has it by default",
            ),
        },
        recipes={"fast": FAST_WGAN, "report": REPORT_WGAN},
        reported=REPORTED_WGAN,
        weights=(
            Weights(
                tag="cifar10",
                file="rednet30wgan.cifar10.safetensors",
                sha256="faf3a37ba82e637746992b6ffe979747e5e9b140b4c539587ae7f2b49b6765b3",
            ),
        ),
        tiny={"depth": 2, "width": 24},
    ),
)


@hookimpl
def deblur_models() -> Iterable[Model]:
    """rednet30 and rednet30wgan; shorter and narrower ones by option."""
    return MODELS
