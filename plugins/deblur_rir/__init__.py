"""rir and rir_large, nested residual blocks with attention, as a plugin. network.py names the report."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from deblur_cli import (
    ConditionalGAN,
    Cosine,
    Facts,
    Geometry,
    Model,
    Optimizer,
    Option,
    Recipe,
    Reported,
    Term,
    Values,
    hookimpl,
)

API = 1

ADAM = Optimizer(kind="adam", lr=2e-4, betas=(0.5, 0.999), eps=1e-8)
CRITIC = "deblur_rir.critic:SpectralPatchCritic"

FAST = Recipe(
    summary="quick results without VGG: starts near the picture, Charbonnier and a conditional critic, cosine",
    loss=Term(loss="charbonnier", options={"eps": 0.03}),
    strategy=ConditionalGAN(critic=CRITIC, adversarial=0.01),
    start="deblur_rir.network:start_near_identity",
    optimizer=ADAM,
    schedule=Cosine(warmup_steps=200),
    epochs=20,
    batch_size=4,
    clip_norm=1.0,
)
REPORT_L1 = Recipe(
    summary="the report's recipe for GoPro: 100 L1 and a conditional critic, Adam at 2e-4, crops of 256 px one by one",
    loss=Term(loss="mae", weight=100.0),
    strategy=ConditionalGAN(critic=CRITIC, adversarial=1.0),
    optimizer=ADAM,
    epochs=300,
    batch_size=1,
    patch=256,
    crops_per_pair=1,
    flips="horizontal",
)
REPORT_VGG = replace(
    REPORT_L1,
    summary="the report's recipe for GoPro: 100 times the error of VGG19's features (--vgg-weights) and a conditional critic, "
    "Adam at 2e-4, crops of 256 px one by one",
    loss=Term(loss="perceptual", weight=100.0),
)


def _geometry(options: Mapping[str, Any]) -> Geometry:
    return Geometry(multiple_of=1 << options["levels"], halo=None)


def _model(
    name: str, *, levels: int, facts: Facts, report: Recipe, reported: Reported, note: str = ""
) -> Model:
    return Model(
        name=name,
        summary=f"{levels} sizes of nested residual blocks with channel and self-attention (instance and spectral norms){note}",
        source="Lenka, Mittal, Pandey: Blind Deblurring using GANs, 2019 (arXiv 1907.11880)",
        paper="Zhang et al.: Image Super-Resolution Using Very Deep Residual Channel Attention Networks, ECCV 2018 "
        "(arXiv 1807.02758)",
        network="deblur_rir.network:RiR",
        geometry=_geometry,
        facts=facts,
        licence="MIT",
        values=Values.SIGNED,
        options={
            "levels": Option(
                type=int, default=levels, choices=(2, 3, 4, 5), help="sizes, each half of the one above"
            ),
            "width": Option(
                type=int, default=64, least=4, help="features at half the size; they double with each level"
            ),
            "residual": Option(
                type=str,
                default="average",
                choices=("average", "sum", "none"),
                help="what is returned: the mean of the last layer's tanh and the picture, as in the report; their sum, "
                "which can get nearer; or the tanh",
            ),
            "spectral_norm": Option(
                type=bool, default=True, help="divide each kernel by its largest singular value"
            ),
        },
        recipes={"fast": FAST, "report": report},
        reported=(reported,),
        tiny={"levels": 2, "width": 24},
    )


MODELS = (
    _model(
        "rir",
        levels=4,
        note="; a reconstruction: rir_large with a size less",
        facts=Facts(parameters=56_873_514, kmacs_per_pixel=922.7, bytes_per_pixel=334),
        report=REPORT_VGG,
        reported=Reported(
            protocol="gopro-full",
            scores={"psnr": 22.70, "ssim": 0.640},
            where="Lenka, Mittal, Pandey, its results on GoPro",
            note="300 epochs; compares with rows of the same report",
        ),
    ),
    _model(
        "rir_large",
        levels=5,
        facts=Facts(parameters=232_734_378, kmacs_per_pixel=1299.1, bytes_per_pixel=334),
        report=REPORT_L1,
        reported=Reported(
            protocol="gopro-full",
            scores={"psnr": 23.46, "ssim": 0.671},
            where="Lenka, Mittal, Pandey, its results on GoPro",
            note="300 epochs; compares with rows of the same report; frames of 1280x768 px, probably resized",
        ),
    ),
)


@hookimpl
def deblur_models() -> Iterable[Model]:
    """rir and rir_large."""
    return MODELS
