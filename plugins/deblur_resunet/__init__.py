"""resunet1 and resunet3, U-Nets of residual blocks, as a plugin. network.py names the report that they are taken from."""

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
    early_stopping=EarlyStopping(patience=7),
    batch_size=250,
    drop_last=False,
    patch=32,
)
FAST = Recipe(
    summary="quick good results: starts near the identity with frozen batch norms, AdamW, cosine, averaged weights",
    loss=Term(loss="charbonnier", options={"eps": 0.03}),
    start="deblur_resunet.network:start_near_identity",
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
    """A block reaches 2 px of its level: 2 + 4 + 8 on the way down, 4 + 2 on the way up. All other layers together 22 px."""
    return Geometry(multiple_of=4, halo=22 + 20 * options["blocks"])


def _model(name: str, *, blocks: int, facts: Facts, scores: Mapping[str, float], sha256: str) -> Model:
    return Model(
        name=name,
        summary=f"U-Net of 3 levels with {blocks} residual block{'s' * (blocks > 1)} each, batch norm and a sigmoid",
        source="Dicosola: Deep Deblurring project, Bologna 2020",
        paper="Zhang, Liu, Wang: Road Extraction by Deep Residual U-Net, IEEE GRSL 2018 (arXiv 1711.10684)",
        network="deblur_resunet.network:ResUNet",
        geometry=_geometry,
        facts=facts,
        licence="MIT",
        options={
            "blocks": Option(
                type=int, default=blocks, choices=(1, 2, 3), help="residual blocks in each level on each side"
            ),
            "width": Option(
                type=int, default=32, least=3, help="features at full resolution; they double with each level"
            ),
        },
        recipes={"fast": FAST, "report": REPORT},
        reported=(
            Reported(
                protocol="cifar10-s2",
                scores=scores,
                where="Dicosola, its results on CIFAR-10, with the digits of its project's evaluation files",
                note="each evaluation draws its blur anew: the third digit is noise",
            ),
        ),
        weights=(Weights(tag="cifar10", file=f"{name}.cifar10.safetensors", sha256=sha256),),
        tiny={"blocks": 1, "width": 8},
    )


MODELS = (
    _model(
        "resunet1",
        blocks=1,
        facts=Facts(parameters=1_008_963, kmacs_per_pixel=204.5, bytes_per_pixel=940),
        scores={"mse": 0.001846, "psnr": 28.4919, "ssim": 0.93011},
        sha256="f203f8066137f87b3e1661ef39c0e97b24ed8679784cfe8c7d2e255c19cb6728",
    ),
    _model(
        "resunet3",
        blocks=3,
        facts=Facts(parameters=1_969_987, kmacs_per_pixel=388.8, bytes_per_pixel=940),
        scores={"mse": 0.001612, "psnr": 29.0320, "ssim": 0.93553},
        sha256="66426ca79b730c7096717f7cfdc15f5a2535de98d0af7adb8e4831b8f6e69591",
    ),
)


@hookimpl
def deblur_models() -> Iterable[Model]:
    """resunet1 and resunet3."""
    return MODELS
