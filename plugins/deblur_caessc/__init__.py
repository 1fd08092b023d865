"""caessc, auto-encoders with symmetric skips, as a plugin. network.py names the report that it is taken from."""

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
    hookimpl,
)

API = 1

FAST = Recipe(
    summary="quick good results: starts near the identity with frozen batch norms, AdamW, cosine, averaged weights",
    loss=Term(loss="charbonnier", options={"eps": 0.03}),
    start="deblur_caessc.network:start_near_identity",
    optimizer=Optimizer(kind="adamw", lr=1e-3, weight_decay=1e-4),
    schedule=Cosine(warmup_steps=50),
    epochs=40,
    batch_size=32,
    patch=32,
    clip_norm=1.0,
    ema_decay=0.999,
    freeze_norm_after=0,
)


def _report(batch_size: int) -> Recipe:
    return Recipe(
        summary="the report's recipe for CIFAR-10: Adam at 1e-4, squared error, flips, early stopping",
        loss="mse",
        optimizer=Optimizer(kind="adam", lr=1e-4, eps=1e-7),
        epochs=80,
        early_stopping=EarlyStopping(patience=7),
        batch_size=batch_size,
        drop_last=False,
    )


def _geometry(options: Mapping[str, Any]) -> Geometry:
    """Each layer reaches 2 px; at half the resolution that is 4 px for all but the first and the last."""
    if options["half"]:
        return Geometry(multiple_of=2, halo=4 * options["depth"] - 4)
    return Geometry(halo=2 * options["depth"])


def _model(
    name: str,
    *,
    depth: int,
    width: int,
    half: bool,
    output: str,
    facts: Facts,
    batch_size: int,
    scores: Mapping[str, float],
) -> Model:
    where = "at half the resolution" if half else "at full resolution"
    return Model(
        name=name,
        summary=f"{depth} layers of 5x5 kernels with symmetric skips, {where}, last a {output} (batch norm)",
        source="Dicosola: Deep Deblurring project, Bologna 2020",
        paper="Mao, Shen, Yang: Image Restoration Using Very Deep Convolutional Encoder-Decoder Networks, NIPS 2016 (arXiv 1603.09056)",
        network="deblur_caessc.network:Caessc",
        geometry=_geometry,
        facts=facts,
        licence="MIT",
        options={
            "depth": Option(
                type=int, default=depth, choices=(6, 10, 22, 30), help="layers, half of them transposed"
            ),
            "width": Option(type=int, default=width, least=1, help="features of each layer"),
            "half": Option(type=bool, default=half, help="work at half the resolution"),
            "output": Option(
                type=str,
                default=output,
                choices=("sigmoid", "relu"),
                help="what follows the last batch norm",
            ),
        },
        recipes={"fast": FAST, "report": _report(batch_size)},
        reported=(
            Reported(
                protocol="cifar10-s2",
                scores=scores,
                where="Dicosola, its results on CIFAR-10, with the digits of its project's evaluation files",
                note="each evaluation draws its blur anew: the third digit is noise",
            ),
        ),
        tiny={"depth": 6, "width": 8},
    )


_D22_F128 = Facts(parameters=8_217_868, kmacs_per_pixel=2052.8, bytes_per_pixel=1036)

MODELS = (
    _model(
        "caessc_d22_f128_half",
        depth=22,
        width=128,
        half=True,
        output="sigmoid",
        facts=_D22_F128,
        batch_size=300,
        scores={"mse": 0.002023, "psnr": 28.1233, "ssim": 0.91640},
    ),
    _model(
        "caessc_d22_f128_half_no_sigmoid",
        depth=22,
        width=128,
        half=True,
        output="relu",
        facts=_D22_F128,
        batch_size=300,
        scores={"mse": 0.003897, "psnr": 24.8568, "ssim": 0.83910},
    ),
    _model(
        "caessc_d30_f64",
        depth=30,
        width=64,
        half=False,
        output="sigmoid",
        facts=Facts(parameters=2_881_420, kmacs_per_pixel=2876.8, bytes_per_pixel=2572),
        batch_size=250,
        scores={"mse": 0.001823, "psnr": 28.9560, "ssim": 0.91930},
    ),
)


@hookimpl
def deblur_models() -> Iterable[Model]:
    """Three networks, others by option."""
    return MODELS
