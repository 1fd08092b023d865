"""pix2pix and its variants with attention, global residual and spectral norm, as a plugin. network.py names the report."""

from collections.abc import Iterable, Mapping
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


def _geometry(options: Mapping[str, Any]) -> Geometry:
    """Norms, and attention where there is any, see the whole picture."""
    return Geometry(
        multiple_of=1 << options["depth"], halo=None, hint="a smaller depth takes multiples of fewer pixels"
    )


def _recipes(*, attention: str, spectral_norm: bool, perceptual: bool) -> Mapping[str, Recipe]:
    """The critic attends and is bounded as the network is."""
    strategy = ConditionalGAN(
        critic_options={
            **({} if attention == "none" else {"attention": attention}),
            **({"spectral_norm": True} if spectral_norm else {}),
        }
    )
    return {
        "fast": Recipe(
            summary="quick results without VGG: starts near the identity, mean absolute error, a critic, Adam, cosine",
            loss=Term(loss="mae", weight=100.0),
            strategy=strategy,
            start="deblur_pix2pix.network:start_near_identity",
            optimizer=ADAM,
            schedule=Cosine(warmup_steps=200),
            epochs=50,
            batch_size=4,
            patch=256,
        ),
        "report": Recipe(
            summary="the report's recipe for GoPro: "
            + ("features of VGG19 (--vgg-weights)" if perceptual else "mean absolute error")
            + " and a critic, Adam at 2e-4, one crop of each frame",
            loss=Term(loss="perceptual" if perceptual else "mae", weight=100.0),
            strategy=strategy,
            optimizer=ADAM,
            epochs=50,
            batch_size=1,
            patch=256,
            crops_per_pair=1,
            flips="horizontal",
        ),
    }


def _reported(scores: Mapping[str, float]) -> tuple[Reported, ...]:
    """The report says 256 x 256 px and not how frames get there; resizing, an option of its script, is likelier."""
    return tuple(
        Reported(
            protocol=protocol,
            scores=scores,
            where="Lenka, its results on GoPro",
            note="50 epochs; compares with rows of the same report; whether frames were resized or cropped is not said",
        )
        for protocol in ("gopro-256-resize", "gopro-256-crop")
    )


def _model(
    name: str,
    *,
    summary: str,
    facts: Facts,
    attention: str = "sa",
    residual: str = "none",
    spectral_norm: bool = False,
    perceptual: bool = False,
    scores: Mapping[str, float],
) -> Model:
    return Model(
        name=name,
        summary=f"U-Net of strided convolutions, instance norm{summary}",
        source="Lenka: Blind Deblurring using GANs, 2019 (arXiv 1907.11880)",
        paper="Isola, Zhu, Zhou, Efros: Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017 "
        "(arXiv 1611.07004)",
        network="deblur_pix2pix.network:Pix2Pix",
        geometry=_geometry,
        facts=facts,
        licence="MIT",
        values=Values.SIGNED,
        options={
            "attention": Option(
                type=str,
                default=attention,
                choices=("none", "sa", "sa+ca"),
                help="sa: self-attention before up to five layers, channel attention innermost; sa+ca: both before all of them",
            ),
            "residual": Option(
                type=str,
                default=residual,
                choices=("none", "average"),
                help="average: what the layers make of the blurred picture is averaged with it",
            ),
            "spectral_norm": Option(
                type=bool, default=spectral_norm, help="divide each kernel by its largest singular value"
            ),
            "width": Option(
                type=int,
                default=64,
                least=2,
                help="features of the first level; they double with each of the next three",
            ),
            "depth": Option(
                type=int,
                default=8,
                choices=(2, 3, 4, 5, 6, 7, 8),
                help="levels, each half of the size above",
            ),
        },
        reported=_reported(scores),
        recipes=_recipes(attention=attention, spectral_norm=spectral_norm, perceptual=perceptual),
        tiny={"width": 48 if spectral_norm else 24, "depth": 3},
    )


MODELS = (
    _model(
        "pix2pix",
        summary="",
        facts=Facts(parameters=54_419_459, kmacs_per_pixel=92.3, bytes_per_pixel=300),
        attention="none",
        scores={"psnr": 25.41, "ssim": 0.810},
    ),
    _model(
        "pix2pix_sa",
        summary=", self-attention",
        facts=Facts(parameters=58_291_848, kmacs_per_pixel=184.7, bytes_per_pixel=508),
        scores={"psnr": 25.41, "ssim": 0.808},
    ),
    _model(
        "pix2pix_sa_gr",
        summary=", self-attention, global residual",
        facts=Facts(parameters=58_291_848, kmacs_per_pixel=184.7, bytes_per_pixel=508),
        residual="average",
        scores={"psnr": 27.29, "ssim": 0.858},
    ),
    _model(
        "pix2pix_sa_sn",
        summary=", self-attention, spectral norm",
        facts=Facts(parameters=58_291_848, kmacs_per_pixel=184.7, bytes_per_pixel=508),
        spectral_norm=True,
        scores={"psnr": 26.05, "ssim": 0.831},
    ),
    _model(
        "pix2pix_full",
        summary=", self- and channel attention, global residual, spectral norm",
        facts=Facts(parameters=58_504_840, kmacs_per_pixel=184.7, bytes_per_pixel=508),
        attention="sa+ca",
        residual="average",
        spectral_norm=True,
        perceptual=True,
        scores={"psnr": 27.05, "ssim": 0.831},
    ),
)


@hookimpl
def deblur_models() -> Iterable[Model]:
    """pix2pix and its four variants."""
    return MODELS
