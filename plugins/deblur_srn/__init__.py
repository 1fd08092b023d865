"""srndeblur_cifar, srndeblur_reds and srn_deblurnet, scale-recurrent networks, as a plugin. network.py names the reports."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from deblur_cli import (
    Cosine,
    EarlyStopping,
    Facts,
    Geometry,
    Model,
    Optimizer,
    Option,
    Polynomial,
    Recipe,
    Reported,
    Term,
    hookimpl,
)

API = 1

SOURCE = "Dicosola: Deep Deblurring project, Bologna 2020"
PAPER = "Tao, Gao, Shen, Wang, Jia: Scale-Recurrent Network for Deep Image Deblurring, CVPR 2018 (arXiv 1802.01770)"

ALL_SCALES = Term(loss="mse", scales="sum")
# The report stops by the loss of all scales on the pictures held out, the trainer by that of the finest.
REPORT_CIFAR = Recipe(
    summary="the report's recipe for CIFAR-10: Adam at 1e-3, squared error of both scales, early stopping",
    loss=ALL_SCALES,
    optimizer=Optimizer(kind="adam", lr=1e-3, eps=1e-7),
    epochs=70,
    early_stopping=EarlyStopping(patience=15),
    batch_size=150,
    drop_last=False,
    patch=32,
    flips="none",
)
REPORT_REDS = Recipe(
    summary="the report's recipe for REDS: Adam at 1e-4, squared error of both scales, 2 crops a picture",
    loss=ALL_SCALES,
    optimizer=Optimizer(kind="adam", lr=1e-4, eps=1e-8),
    epochs=150,
    early_stopping=EarlyStopping(patience=10),
    batch_size=10,
    drop_last=False,
    patch=256,
    crops_per_pair=2,
    flips="none",
)
ORIGINAL = Recipe(
    summary="the authors' recipe: Adam at 1e-4, polynomial decay, squared error of three scales",
    loss=ALL_SCALES,
    optimizer=Optimizer(kind="adam", lr=1e-4, eps=1e-8),
    schedule=Polynomial(power=0.3),
    epochs=4000,
    batch_size=16,
    patch=256,
    crops_per_pair=1,
    flips="none",
)


def _fast(*, patch: int, batch_size: int, epochs: int, lr: float) -> Recipe:
    return Recipe(
        summary="quick good results: starts near the identity, AdamW, cosine, averaged weights",
        loss=Term(loss="charbonnier", scales="sum", options={"eps": 0.03}),
        start="deblur_srn.network:start_near_identity",
        optimizer=Optimizer(kind="adamw", lr=lr, weight_decay=1e-4),
        schedule=Cosine(warmup_steps=200),
        epochs=epochs,
        batch_size=batch_size,
        patch=patch,
        clip_norm=1.0,
        ema_decay=0.999,
    )


FAST_CIFAR = replace(
    _fast(patch=32, batch_size=128, epochs=40, lr=1e-3),
    summary="quick good results: starts near the identity, batch norms frozen there, AdamW, cosine, averaged weights",
    freeze_norm_after=0.0,
)


# px that tiles read around what they keep instead of the halo. Beyond them a picture's change moves a result by less than
# half a level of 8 bit with the weights that `fast` starts from (measured: 118, 18 and 12 px); with those that the reports
# start from 200, 80 and 170 px can be needed, so the difference is small but no promise.
OVERLAP_CIFAR, OVERLAP_REDS, OVERLAP_ORIGINAL = 128, 96, 128


def _cifar(options: Mapping[str, Any]) -> Geometry:
    if options["lstm"] == "dense":
        return Geometry(
            multiple_of=8, halo=None, fixed_size=32, hint="networks with lstm=conv or lstm=none take any size"
        )
    remembered = 24 if options["lstm"] == "conv" else 0  # a 5x5 kernel on a quarter and an eighth of the size
    return Geometry(multiple_of=8, halo=43 + 162 * options["blocks"] + remembered, overlap=OVERLAP_CIFAR)


def _reds(options: Mapping[str, Any]) -> Geometry:
    remembered = 24 if options["lstm"] == "conv" else 0
    return Geometry(multiple_of=8, halo=45 + 168 * options["blocks"] + remembered, overlap=OVERLAP_REDS)


def _original(options: Mapping[str, Any]) -> Geometry:
    # a 3x3 kernel on a quarter, an eighth and a sixteenth
    remembered = 28 if options["lstm"] == "conv" else 0
    return Geometry(multiple_of=16, halo=111 + 392 * options["blocks"] + remembered, overlap=OVERLAP_ORIGINAL)


def _options(width: int, **own: Option) -> dict[str, Option]:
    return {
        **own,
        "width": Option(
            type=int,
            default=width,
            least=1,
            help="features of the first convolution; they double with each level",
        ),
        "blocks": Option(
            type=int,
            default=3,
            choices=(1, 2, 3, 4, 5),
            help="residual blocks of each of a scale's six parts",
        ),
    }


def _reported_cifar(*, half: tuple[float, float], scores: Mapping[str, float], **options: Any) -> Reported:
    """half : PSNR in dB and SSIM of its result at half the size"""
    return Reported(
        protocol="cifar10-s2",
        scores=scores,
        where="Dicosola, its results on CIFAR-10, with the digits of its project's evaluation files",
        note=f"each evaluation draws its blur anew: the third digit is noise; its result at half the size has PSNR {half[0]} dB "
        f"and SSIM {half[1]}",
        options=options,
    )


MODELS = (
    Model(
        name="srndeblur_cifar",
        summary="scale-recurrent, two scales of their own weights, batch norm; for small pictures",
        source=SOURCE,
        paper=PAPER,
        network="deblur_srn.network:SRNDeblurCIFAR",
        geometry=_cifar,
        facts=Facts(parameters=13_747_026, kmacs_per_pixel=1096.2, bytes_per_pixel=539),
        licence="MIT",
        options=_options(
            32,
            lstm=Option(
                type=str,
                default="none",
                choices=("none", "dense", "conv"),
                help="memory from scale to scale; dense is the report's, for 32x32 px alone, conv takes any size",
            ),
            deconv_act=Option(
                type=str,
                default="leaky_relu",
                choices=("leaky_relu", "sigmoid"),
                help="after inner transposed convolutions: as the report says, or sigmoid as its code ran",
            ),
        ),
        recipes={"fast": FAST_CIFAR, "report": REPORT_CIFAR},
        reported=(
            _reported_cifar(half=(32.90, 0.9795), scores={"mse": 0.001758, "psnr": 29.2339, "ssim": 0.92252}),
            _reported_cifar(
                half=(32.38, 0.9769),
                scores={"mse": 0.001746, "psnr": 29.3845, "ssim": 0.91881},
                lstm="dense",
            ),
        ),
        tiny={"width": 4},
    ),
    Model(
        name="srndeblur_reds",
        summary="scale-recurrent, two scales of their own weights, few features, ConvLSTM",
        source=SOURCE,
        paper=PAPER,
        network="deblur_srn.network:SRNDeblurREDS",
        geometry=_reds,
        facts=Facts(parameters=5_019_894, kmacs_per_pixel=365.5, bytes_per_pixel=355),
        licence="MIT",
        options=_options(
            8,
            lstm=Option(
                type=str,
                default="conv",
                choices=("conv", "none"),
                help="a ConvLSTM between encoder and decoder",
            ),
            carry_state=Option(
                type=bool, default=False, help="pass the LSTM's state to the next scale; the report could not"
            ),
        ),
        recipes={"fast": _fast(patch=128, batch_size=8, epochs=20, lr=1e-3), "report": REPORT_REDS},
        reported=(
            Reported(
                protocol="reds-s2",
                scores={"mse": 0.0022524, "psnr": 27.2331, "ssim": 0.81051},
                where="Dicosola, its results on REDS, with the digits of its project's evaluation files",
                note="over 500 pictures drawn from the scenes held out",
            ),
        ),
        tiny={"width": 4},
    ),
    Model(
        name="srn_deblurnet",
        summary="scale-recurrent, three scales of the same weights, ConvLSTM; the original",
        source=PAPER,
        paper=PAPER,
        network="deblur_srn.network:SRNDeblurNet",
        geometry=_original,
        facts=Facts(parameters=8_061_411, kmacs_per_pixel=1370.9, bytes_per_pixel=716),
        licence="MIT",
        options=_options(
            32,
            lstm=Option(
                type=str,
                default="conv",
                choices=("conv", "none"),
                help="a ConvLSTM whose state goes from scale to scale; none is the authors' color model",
            ),
        ),
        recipes={"fast": _fast(patch=128, batch_size=8, epochs=20, lr=5e-4), "report": ORIGINAL},
        reported=(
            Reported(
                protocol="gopro-full",
                scores={"psnr": 30.26, "ssim": 0.9342},
                where="Tao et al., as quoted by Dicosola",
                note="its SSIM is one that takes the picture for a volume (ssim-matlab3d); per channel others find 0.901 at the "
                "same PSNR",
            ),
        ),
        tiny={"width": 4},
    ),
)


@hookimpl
def deblur_models() -> Iterable[Model]:
    """srndeblur_cifar, srndeblur_reds and srn_deblurnet."""
    return MODELS
