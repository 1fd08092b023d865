"""resnet16, a residual encoder-decoder, as a plugin. network.py names the report that it is taken from."""

from collections.abc import Iterable

from deblur_cli import (
    Cosine,
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
    summary="the report's recipe for CIFAR-10: Adam at 1e-3, LogCosh, flips",
    loss="logcosh",
    optimizer=Optimizer(kind="adam", lr=1e-3, eps=1e-7),
    epochs=120,
    batch_size=32,  # on each of 8 devices, whose batch norms saw those alone
    drop_last=False,
)
FAST = Recipe(
    summary="quick good results: starts near the identity with frozen batch norms, AdamW, cosine, averaged weights",
    loss=Term(loss="charbonnier", options={"eps": 0.03}),
    start="deblur_resnet.network:start_near_identity",
    optimizer=Optimizer(kind="adamw", lr=5e-4, weight_decay=1e-4),
    schedule=Cosine(warmup_steps=50),
    epochs=40,
    batch_size=32,
    patch=32,
    clip_norm=1.0,
    ema_decay=0.999,
    freeze_norm_after=0,
)

BLURRY_LOGCOSH = "the LogCosh of the blurred pictures was computed in another way: it is above half their MSE"

REPORTED = (
    Reported(
        protocol="cifar10-s0",
        scores={"logcosh": 9.794e-4, "ssim": 0.9034, "psnr": 29.09, "mse": 1.965e-3, "mae": 2.888e-2},
        blurry={"logcosh": 34.48e-4, "ssim": 0.7135, "psnr": 24.67, "mse": 6.317e-3, "mae": 4.517e-2},
        where="Orlandi, Pinardi, table 3.1",
        note=BLURRY_LOGCOSH,
    ),
    Reported(
        protocol="reds-s0-512",
        scores={"logcosh": 8.669e-4, "ssim": 0.8554, "psnr": 29.49, "mse": 1.742e-3, "mae": 2.536e-2},
        blurry={"logcosh": 19.54e-4, "ssim": 0.8237, "psnr": 28.80, "mse": 2.594e-3, "mae": 2.118e-2},
        where="Orlandi, Pinardi, table 3.2",
        note=BLURRY_LOGCOSH,
    ),
)

MODELS = (
    Model(
        name="resnet16",
        summary="seven residual blocks down to an eighth and up again, and one for the output (batch norm)",
        source="Orlandi, Pinardi: Application of Deep Learning on Image Deblurring, Bologna 2020",
        paper="He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016 (arXiv 1512.03385)",
        network="deblur_resnet.network:ResNet",
        geometry=Geometry(multiple_of=8, halo=44),
        facts=Facts(parameters=7_360_396, kmacs_per_pixel=300.3, bytes_per_pixel=940),
        licence="MIT",
        options={
            "width": Option(
                type=int,
                default=64,
                least=1,
                help="features at full resolution; they double with each halving",
            )
        },
        recipes={"fast": FAST, "report": REPORT},
        reported=REPORTED,
        weights=(
            Weights(
                tag="cifar10",
                file="resnet16.cifar10.safetensors",
                sha256="e012ce6373fa73ec18cf5ea34f4dc829aebfdd3da6806f9ad6375040082ad0b9",
            ),
        ),
        tiny={"width": 48},
    ),
)


@hookimpl
def deblur_models() -> Iterable[Model]:
    """resnet16, narrower ones by option."""
    return MODELS
