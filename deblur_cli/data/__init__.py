"""Pairs of blurred and sharp pictures: reading data sets, the sample set made on the spot, making new ones."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from deblur_cli.host.declarations import Archive, Dataset
from deblur_cli.host.hookspecs import hookimpl

if TYPE_CHECKING:
    from deblur_cli.data.pairs import FilePair, Pair, SharpPicture
    from deblur_cli.data.sets import open_pairs

__all__ = ["FilePair", "Pair", "SharpPicture", "open_pairs"]

API = 1

CIFAR10_LAYOUT = "cifar-10-batches-bin/{data_batch_1,...,test_batch}.bin, or {train,test}/CLASS/00000.png"
GOPRO_LAYOUT = "{train,test}/SCENE/{blur,sharp}/000001.png"
GOPRO_GAMMA_LAYOUT = "{train,test}/SCENE/{blur_gamma,sharp}/000001.png"
_OR_SPLIT = "(these also within train/ and val/), or {train,val}/{blur,sharp}/000/00000000.png"
REDS_LAYOUT = f"{{train,val}}_{{blur,sharp}}/000/00000000.png {_OR_SPLIT}"
REDS_JPEG_LAYOUT = (
    f"{{train,val}}_{{blur_jpeg,sharp}}/000/00000000.jpg {_OR_SPLIT.replace('{blur,', '{blur_jpeg,')}; "
    "blur_comp in place of blur_jpeg does too"
)
KODAK_LAYOUT = "kodim01.png to kodim24.png, in any picture format"
REDS_X4_LAYOUT = f"{{train,val}}_{{blur,sharp}}_bicubic/X4/000/00000000.png {_OR_SPLIT}"

_GOPRO_CREDIT = "S. Nah, T. H. Kim, K. M. Lee: Deep Multi-scale Convolutional Neural Network for Dynamic Scene Deblurring, CVPR 2017"
_GOPRO_STEPS = """\
open https://seungjunnah.github.io/Datasets/gopro and download GOPRO_Large.zip from one of the hosts listed there
unpack it, so that DEBLUR_DATA/gopro/train/GOPR0372_07_00/blur/000047.png exists, and test/ beside train/"""
_KODAK_STEPS = """\
open https://r0k.us/graphics/kodak/ and save the 24 pictures, so that DEBLUR_DATA/kodak/kodim01.png exists
or, in that folder: for n in $(seq -w 24); do curl -LO https://r0k.us/graphics/kodak/kodak/kodim$n.png; done"""
_REDS_CREDIT = "S. Nah et al.: NTIRE 2019 Challenge on Video Deblurring and Super-Resolution: Dataset and Study, CVPR Workshops 2019"


def _reds_steps(*archives: str, example: str) -> str:
    return (
        "open https://seungjunnah.github.io/Datasets/reds and download from one of the hosts listed there:\n"
        f"{', '.join(f'{split}_{name}.zip' for split in ('train', 'val') for name in archives)}\n"
        f"unpack them into one folder, so that DEBLUR_DATA/{example} exists"
    )


DATASETS = (
    Dataset(
        name="cifar10",
        summary="CIFAR-10, 60,000 pictures of 32x32 px, blurred here",
        sharp="deblur_cli.data.cifar10:pictures",
        preset="cifar10-s0",
        layout=CIFAR10_LAYOUT,
        splits=("train", "test"),
        folder="cifar10",
        licence="free for research; credit the report",
        credit="A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009",
        obtain="deblur datasets get cifar10",
        archive=Archive(
            url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            checksum="md5:c32a1d4ab5d03f1284b67883e8d87530",
            size=170_052_171,
        ),
    ),
    Dataset(
        name="gopro",
        summary="GoPro, blurred pictures of the folder blur",
        pairs="deblur_cli.data.official:gopro",
        layout=GOPRO_LAYOUT,
        splits=("train", "test"),
        folder="gopro",
        licence="CC BY 4.0",
        credit=_GOPRO_CREDIT,
        obtain=_GOPRO_STEPS,
    ),
    Dataset(
        name="gopro-gamma",
        summary="GoPro, blurred pictures of the folder blur_gamma (averaged in light)",
        pairs="deblur_cli.data.official:gopro_gamma",
        layout=GOPRO_GAMMA_LAYOUT,
        splits=("train", "test"),
        folder="gopro",
        licence="CC BY 4.0",
        credit=_GOPRO_CREDIT,
        obtain=_GOPRO_STEPS,
    ),
    Dataset(
        name="kodak",
        summary="Kodak's 24 pictures of 768x512 px, blurred here, to measure on",
        sharp="deblur_cli.data.kodak:pictures",
        preset="kodak-shake",
        layout=KODAK_LAYOUT,
        splits=("test",),
        folder="kodak",
        licence="released by Eastman Kodak for unrestricted use",
        credit="Eastman Kodak Company: Kodak Lossless True Color Image Suite (PhotoCD PCD0992)",
        obtain=_KODAK_STEPS,
    ),
    Dataset(
        name="reds",
        summary="REDS, motion blur at full size",
        pairs="deblur_cli.data.official:reds",
        layout=REDS_LAYOUT,
        folder="reds",
        licence="CC BY 4.0",
        credit=_REDS_CREDIT,
        obtain=_reds_steps("blur", "sharp", example="reds/train/train_blur/000/00000000.png"),
    ),
    Dataset(
        name="reds-jpeg",
        summary="REDS, motion blur and compression",
        pairs="deblur_cli.data.official:reds_jpeg",
        layout=REDS_JPEG_LAYOUT,
        folder="reds",
        licence="CC BY 4.0",
        credit=_REDS_CREDIT,
        obtain=_reds_steps("blur_jpeg", "sharp", example="reds/train/train_blur_jpeg/000/00000000.jpg"),
    ),
    Dataset(
        name="reds_x4",
        summary="REDS reduced four times",
        pairs="deblur_cli.data.official:reds_x4",
        layout=REDS_X4_LAYOUT,
        folder="reds_x4",
        licence="CC BY 4.0",
        credit=_REDS_CREDIT,
        obtain=_reds_steps(
            "blur_bicubic", "sharp_bicubic", example="reds_x4/train/train_blur_bicubic/X4/000/00000000.png"
        ),
    ),
    Dataset(
        name="sample",
        summary="a few small pairs made here from photographs that come with scikit-image",
        pairs="deblur_cli.data.sample:sample",
        layout="made on the spot",
        generated=True,
        licence="no known restrictions; see scikit-image's data/README.txt",
        credit="the photographers that scikit-image names",
        obtain="nothing to do: it is made when it is first asked for",
    ),
)


@hookimpl
def deblur_datasets() -> Iterable[Dataset]:
    """The data sets that the host can read or make."""
    return DATASETS


def __getattr__(name: str) -> Any:
    """Import what needs numpy only when it is asked for. `Any`: whatever the name stands for."""
    from importlib import import_module

    homes = {
        "FilePair": "deblur_cli.data.pairs",
        "Pair": "deblur_cli.data.pairs",
        "SharpPicture": "deblur_cli.data.pairs",
        "open_pairs": "deblur_cli.data.sets",
    }
    if name in homes:
        return getattr(import_module(homes[name]), name)
    raise AttributeError(f"module 'deblur_cli.data' has no attribute {name!r}")
