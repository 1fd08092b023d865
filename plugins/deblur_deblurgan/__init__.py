"""DeblurGAN and its variants as a plugin. network.py names the reports that they are taken from."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from deblur_cli import (
    Cosine,
    Facts,
    Flips,
    Geometry,
    LinearToZero,
    Model,
    Optimizer,
    Option,
    Recipe,
    Reported,
    Term,
    Values,
    WassersteinGP,
    Weights,
    hookimpl,
)

API = 1

_CRITICS = "deblur_deblurgan.critic"
_ADAM = Optimizer(kind="adam", lr=1e-4, betas=(0.5, 0.999))

_WGAN = WassersteinGP(
    critic=f"{_CRITICS}:StridedCritic",
    n_critic=5,
    gradient_penalty=10.0,
    adversarial=1.0,
    dropout_for_critic=False,
)
REPORT = Recipe(
    summary="the first report's recipe: VGG19's features (--vgg-weights), a critic five times a batch (WGAN-GP), Adam at 1e-4",
    loss=Term(loss="perceptual", weight=100),  # of the report's 100000 for the features that Keras gives
    strategy=_WGAN,
    optimizer=_ADAM,
    epochs=20,
    batch_size=2,
    patch=256,
    crops_per_pair=1,
    flips=Flips.NONE,
)
REPORT_VGG16 = replace(
    REPORT,
    summary="the first report's second run: VGG16's features (--vgg-weights), 10 epochs without the critic and 12 with it",
    loss=Term(loss="perceptual", weight=100, options={"network": "vgg16"}),
    strategy=replace(_WGAN, pretrain_epochs=10),
    epochs=22,
)
ORIGINAL = replace(
    REPORT,
    summary="the authors' recipe: VGG19's features (--vgg-weights), a critic five times a picture (WGAN-GP), 300 epochs",
    loss=Term(loss="perceptual", weight=100, options={"before_relu": True, "normalisation": "none"}),
    strategy=WassersteinGP(
        critic=f"{_CRITICS}:DeepCritic", n_critic=5, gradient_penalty=10.0, adversarial=1.0
    ),
    schedule=LinearToZero(start=0.5),
    epochs=300,
    batch_size=1,
)
REPORT_VARIANTS = replace(
    ORIGINAL,
    summary="the second report's recipe, on frames of half the size: VGG19's features (--vgg-weights), a critic five times a "
    "picture (WGAN-GP), 300 epochs",
    loss=Term(loss="perceptual", weight=100 * 256),  # the report sums over the 256 features
    optimizer=replace(_ADAM, betas=(0.9, 0.999)),
)
FAST = Recipe(
    summary="quick good results without VGG: Charbonnier, a critic (WGAN-GP) in the last fifth, AdamW, cosine, averaged weights",
    loss=Term(loss="charbonnier", options={"eps": 0.03}),
    strategy=replace(
        _WGAN,
        critic_options={"norm": "instance"},
        n_critic=1,
        adversarial=1e-3,
        pretrain_epochs=16,
        optimizer=_ADAM,
    ),
    start="deblur_deblurgan.network:start_at_identity",
    optimizer=Optimizer(kind="adamw", lr=5e-4, weight_decay=1e-4),
    schedule=Cosine(warmup_steps=100),
    epochs=20,
    batch_size=4,
    patch=128,
    clip_norm=1.0,
    ema_decay=0.999,
)


def _geometry(options: Mapping[str, Any]) -> Geometry:
    """3 px of each 7x7 kernel, 6 of what changes the size, 8 of each block and 4 of each pass through the memory.

    Whether something faint is an edge may depend on pixels at any distance along it.
    """
    reach = 12 + 8 * options["blocks"] + 4 * options["iterations"]
    if options["norm"] == "batch" and not options["edge"]:
        return Geometry(multiple_of=4, halo=reach)
    return Geometry(multiple_of=4, halo=None, frozen_halo=reach)


def _model(
    name: str,
    summary: str,
    *,
    facts: Facts,
    recipes: Mapping[str, Recipe],
    source: str,
    reported: tuple[Reported, ...] = (),
    weights: tuple[Weights, ...] = (),
    **defaults: Any,
) -> Model:
    options = {
        "width": Option(type=int, default=64, least=1, help="features at full resolution"),
        "blocks": Option(type=int, default=9, least=1, help="residual blocks at a quarter of the resolution"),
        "norm": Option(
            type=str,
            default="instance",
            choices=("instance", "batch"),
            help="batch is what the first report's code has",
        ),
        "dropout": Option(type=float, default=0.0, least=0, help="chance within residual blocks"),
        "output": Option(
            type=str,
            default="average",
            choices=("average", "sum", "clip"),
            help="of the network and the blurred picture; clip is the sum, clipped; with sum or clip the recipe fast starts at "
            "the blurred picture",
        ),
        "iterations": Option(type=int, default=0, least=0, help="passes through a ConvLSTM"),
        "edge": Option(type=bool, default=False, help="Canny's edges are a fourth colour"),
    }
    return Model(
        name=name,
        summary=summary,
        source=source,
        paper="Kupyn, Budzan, Mykhailych, Mishkin, Matas: DeblurGAN: Blind Motion Deblurring Using Conditional Adversarial "
        "Networks, CVPR 2018 (arXiv 1711.07064)",
        network="deblur_deblurgan.network:Generator",
        geometry=_geometry,
        facts=facts,
        licence="MIT",
        values=Values.SIGNED,
        options={
            key: replace(option, default=defaults.get(key, option.default)) for key, option in options.items()
        },
        recipes=recipes,
        reported=reported,
        weights=weights,
        tiny={"width": 8, "blocks": 1},
    )


_S1 = "Lin, Chou, Lyu: Deblur GAN: Blind Motion Deblurring Using Conditional Adversarial Networks, Columbia 2018"
_S4 = "Lenka: Blind Deblurring using GANs, 2019 (arXiv 1907.11880)"

_S1_NOTE = "over frames squeezed to 256x256 px, as 8-bit values, where an identical pair counts as 100 dB"

REPORTED = (
    Reported(
        protocol="gopro-256-nearest",
        scores={"psnr": 26.77},
        where="Lin, Chou, Lyu, its results on GoPro",
        note=f"trained with VGG19's features; {_S1_NOTE}",
    ),
    Reported(
        protocol="gopro-256-nearest",
        scores={"psnr": 25.06},
        where="Lin, Chou, Lyu, its results on GoPro",
        note=f"trained with VGG16's features (recipe report-vgg16); {_S1_NOTE}",
    ),
    Reported(
        protocol="gopro-full",
        scores={"psnr": 28.70, "ssim": 0.958},
        where="Kupyn et al., as quoted by Lenka",
        note="not comparable: with the authors' weights others measure 25.2 dB over whole frames and 27.9 to 28.3 dB with SSIM "
        "0.856 to 0.858 over crops; a complex-wavelet SSIM gives 0.956. Lin, Chou, Lyu quote 28.72 dB",
        options={"output": "clip"},
    ),
)


def _reported_s4(scores: Mapping[str, float], *, note: str) -> Reported:
    return Reported(
        protocol="gopro-full",
        scores=scores,
        where="Lenka, its results on GoPro",
        note=f"300 epochs; compares with rows of the same report; {note}",
    )


MODELS = (
    _model(
        "deblurgan",
        "nine residual blocks at a quarter of the size and a global skip (instance norm)",
        source=_S1,
        facts=Facts(parameters=11_378_179, kmacs_per_pixel=756.1, bytes_per_pixel=776),
        recipes={"fast": FAST, "report": REPORT, "report-vgg16": REPORT_VGG16, "original": ORIGINAL},
        reported=REPORTED,
        dropout=0.5,
    ),
    _model(
        "verysimple_deblurgan",
        "a reconstruction: the report names it without a description; deblurgan with half the width, three blocks and a sum as "
        "output",
        source=_S1,
        facts=Facts(parameters=1_079_555, kmacs_per_pixel=83.1, bytes_per_pixel=392),
        recipes={"fast": FAST, "report": REPORT},
        weights=(
            Weights(
                tag="photo",
                file="verysimple_deblurgan.photo.safetensors",
                sha256="36d20a862e11e45736873437aa9c068ab762139449e6c1b547fa9f0d2709838f",
            ),
        ),
        width=32,
        blocks=3,
        output="sum",  # training starts at the blurred picture; an average starts at half its contrast
    ),
    _model(
        "deblurgan_edge",
        "deblurgan that sees the edges of the blurred picture too",
        source=_S4,
        facts=Facts(parameters=11_381_315, kmacs_per_pixel=759.2, bytes_per_pixel=780),
        recipes={"fast": FAST, "report": REPORT_VARIANTS},
        reported=(
            _reported_s4(
                {"psnr": 25.27, "ssim": 0.773},
                note="its test code gave the network the picture itself as edges",
            ),
        ),
        output="clip",
        edge=True,
    ),
    _model(
        "deblurgan_feedback",
        "a reconstruction: deblurgan with four passes through a ConvLSTM between encoder and blocks",
        source=_S4,
        facts=Facts(parameters=16_097_795, kmacs_per_pixel=1935.7, bytes_per_pixel=972),
        recipes={"fast": FAST, "report": REPORT_VARIANTS},
        reported=(_reported_s4({"psnr": 27.20, "ssim": 0.827}, note="with four passes"),),
        output="clip",
        iterations=4,
    ),
)


@hookimpl
def deblur_models() -> Iterable[Model]:
    """deblurgan, a smaller one, and two variants of the second report."""
    return MODELS
