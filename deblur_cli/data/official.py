"""GoPro and REDS, in the layouts of their authors and in folders of splits."""

from collections.abc import Sequence
from pathlib import Path

from deblur_cli.data import GOPRO_GAMMA_LAYOUT, GOPRO_LAYOUT, REDS_JPEG_LAYOUT, REDS_LAYOUT, REDS_X4_LAYOUT
from deblur_cli.data.layouts import bases, named_by_split, no_pairs
from deblur_cli.data.pairs import FOLDER_NAMES, FilePair, Pair, pairs_below

_COMPRESSED = ("blur_jpeg", "blur_comp")
"""REDS' folders of blurred pictures that were compressed too: by JPEG, or as a video."""


def gopro(root: Path, split: str) -> Sequence[Pair]:
    """GoPro, blurred pictures of the folder `blur`."""
    return _gopro(root, split, blurry="blur", layout=GOPRO_LAYOUT)


def gopro_gamma(root: Path, split: str) -> Sequence[Pair]:
    """GoPro, blurred pictures of the folder `blur_gamma`."""
    return _gopro(root, split, blurry="blur_gamma", layout=GOPRO_GAMMA_LAYOUT)


def reds(root: Path, split: str) -> Sequence[Pair]:
    """REDS at full size."""
    return _reds(root, split, official=(("{}_blur", "{}_sharp"),), plain=FOLDER_NAMES, layout=REDS_LAYOUT)


def reds_jpeg(root: Path, split: str) -> Sequence[Pair]:
    """REDS at full size, the blurred pictures compressed."""
    return _reds(
        root,
        split,
        official=[(f"{{}}_{blurry}", "{}_sharp") for blurry in _COMPRESSED],
        plain=[(blurry, "sharp") for blurry in _COMPRESSED],
        layout=REDS_JPEG_LAYOUT,
    )


def reds_x4(root: Path, split: str) -> Sequence[Pair]:
    """REDS reduced four times."""
    official = (("{}_blur_bicubic/X4", "{}_sharp_bicubic/X4"),)
    return _reds(root, split, official=official, plain=FOLDER_NAMES, layout=REDS_X4_LAYOUT)


def reds_in(base: Path, split: str) -> list[FilePair]:
    """Pairs of a folder that holds any of REDS' official folders; none where it does not."""
    return named_by_split(base, split, "{}_blur", "{}_sharp") or named_by_split(
        base, split, "{}_blur_bicubic/X4", "{}_sharp_bicubic/X4"
    )


def _gopro(root: Path, split: str, *, blurry: str, layout: str) -> Sequence[Pair]:
    looked = bases(root, split)
    for base in looked:
        pairs = pairs_below(base, names=((blurry, "sharp"),))
        if pairs:
            return pairs
    raise no_pairs("GoPro", split, layout=f"{root}/{layout}", looked=looked)


def _reds(
    root: Path,
    split: str,
    *,
    official: Sequence[tuple[str, str]],
    plain: Sequence[tuple[str, str]],
    layout: str,
) -> Sequence[Pair]:
    looked = bases(root, split)
    for base in looked:
        pairs = pairs_below(base, names=plain)
        for blurry, sharp in official:
            pairs = pairs or named_by_split(base, split, blurry, sharp)
        if pairs:
            return pairs
    raise no_pairs("REDS", split, layout=f"{root}/{layout}", looked=looked)
