"""resnet16, a residual encoder-decoder, as a plugin. network.py names the report that it is taken from."""

from collections.abc import Iterable

from deblur_cli import Cosine, Facts, Geometry, Model, Optimizer, Option, Recipe, Term, hookimpl

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
        tiny={"width": 48},
    ),
)


@hookimpl
def deblur_models() -> Iterable[Model]:
    """resnet16, narrower ones by option."""
    return MODELS
