"""Pairs of blurred and sharp pictures: reading data sets, the sample set made on the spot, making new ones."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from deblur_cli.host.declarations import Dataset
from deblur_cli.host.hookspecs import hookimpl

if TYPE_CHECKING:
    from deblur_cli.data.pairs import FilePair, Pair
    from deblur_cli.data.sets import open_pairs

__all__ = ["FilePair", "Pair", "open_pairs"]

API = 1

GOPRO_LAYOUT = "{train,test}/SCENE/{blur,sharp}/000001.png"
GOPRO_GAMMA_LAYOUT = "{train,test}/SCENE/{blur_gamma,sharp}/000001.png"
_OR_SPLIT = "(these also within train/ and val/), or {train,val}/{blur,sharp}/000/00000000.png"
REDS_LAYOUT = f"{{train,val}}_{{blur,sharp}}/000/00000000.png {_OR_SPLIT}"
REDS_X4_LAYOUT = f"{{train,val}}_{{blur,sharp}}_bicubic/X4/000/00000000.png {_OR_SPLIT}"

DATASETS = (
    Dataset(
        name="gopro",
        summary="GoPro (Nah et al., CVPR 2017), blurred pictures of the folder blur",
        pairs="deblur_cli.data.sets:gopro",
        layout=GOPRO_LAYOUT,
        splits=("train", "val", "test"),
        folder="gopro",
    ),
    Dataset(
        name="gopro-gamma",
        summary="GoPro, blurred pictures of the folder blur_gamma (averaged in light)",
        pairs="deblur_cli.data.sets:gopro_gamma",
        layout=GOPRO_GAMMA_LAYOUT,
        splits=("train", "val", "test"),
        folder="gopro",
    ),
    Dataset(
        name="reds",
        summary="REDS (Nah et al., CVPR Workshops 2019), motion blur at full size",
        pairs="deblur_cli.data.sets:reds",
        layout=REDS_LAYOUT,
        folder="reds",
    ),
    Dataset(
        name="reds_x4",
        summary="REDS reduced four times",
        pairs="deblur_cli.data.sets:reds_x4",
        layout=REDS_X4_LAYOUT,
        folder="reds_x4",
    ),
    Dataset(
        name="sample",
        summary="a few small pairs made here from photographs that come with scikit-image",
        pairs="deblur_cli.data.sample:sample",
        layout="made on the spot",
        generated=True,
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
        "open_pairs": "deblur_cli.data.sets",
    }
    if name in homes:
        return getattr(import_module(homes[name]), name)
    raise AttributeError(f"module 'deblur_cli.data' has no attribute {name!r}")
