"""Protocols: named sets of all the choices that a score depends on, and the short hash that stands beside it.

A choice is part of the hash, its name is not: whoever chooses alike may compare. The file list is part of it too, so that
scores over some of the pictures never pass for scores over all.
"""

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from deblur_cli.errors import PictureError, UsageError

if TYPE_CHECKING:
    from deblur_cli.blur.spec import Spec
    from deblur_cli.data import Pair
    from deblur_cli.evaluation.measures import FloatPicture

_NEARLY = np.float32(1e-4)  # of a step of 8 bit: float32 has k / 255 * 255 a little below k for some k

METRICS_VERSION = 1
"""Goes up when a metric changes by more than rounding, so that old scores are not compared with new ones."""


class Rounding(StrEnum):
    """What happens to restored values before they are measured."""

    NONE = "none"  # float32, not the 8-bit file
    NEAREST = "nearest"  # to 8 bit, as a file has it
    DOWN = "down"  # to 8 bit, cut off


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What a score depends on besides the model.

    data, split : the pairs; data "" = the user names sharp pictures
    preset : name of the spec that blurs or prepares them, "" = as they are
    keep : a regular expression that the names of pairs match, "" = all
    crop : (width, height) in px of the centre that is cut out of the pair before all else, None = the whole
    pieces : (width, height) in px: the network sees pieces of that size, and the picture that they make is measured. Pieces
        at the right and bottom edge are shifted in. None = the whole picture
    border_px : cut off each edge before measuring
    rounding : of restored and blurred values
    psnr_cap : what the PSNR is at most, in dB; None: it is infinite for identical pictures, which the mean leaves out
    expected : pairs that the published set has; None where there is no such number
    metrics : what is measured unless the user says
    """

    name: str = ""
    version: int = 1
    summary: str = ""
    data: str
    split: str
    preset: str = ""
    keep: str = ""
    crop: tuple[int, int] | None = None
    pieces: tuple[int, int] | None = None
    border_px: int = 0
    rounding: Rounding = Rounding.NONE
    psnr_cap: float | None = None
    expected: int | None = None
    metrics: tuple[str, ...] = ("psnr", "ssim", "mse", "mae")

    def choices(self) -> dict[str, Any]:
        """What decides a score, as plain values; name and explanations do not."""
        values = asdict(self)
        for name in ("name", "summary", "expected", "metrics"):
            del values[name]
        return values

    def chosen(self, pairs: "Sequence[Pair]") -> "Sequence[Pair]":
        """The pairs whose names match `keep`."""
        return [pair for pair in pairs if re.fullmatch(self.keep, pair.name)] if self.keep else pairs

    def cut(self, picture: "FloatPicture") -> "FloatPicture":
        """The centre of a picture where the protocol takes no more. Raises PictureError where it is smaller."""
        if self.crop is None:
            return picture
        (width, height), (tall, wide) = self.crop, picture.shape[:2]
        if tall < height or wide < width:
            raise PictureError(
                f"it is {wide}x{tall}, and {self.name} measures the {width}x{height} pixels at its centre"
            )
        top, left = (tall - height) // 2, (wide - width) // 2
        return np.ascontiguousarray(picture[top : top + height, left : left + width])

    def boxes(self, height: int, width: int) -> "list[tuple[slice, slice]]":
        """The parts of a picture that are restored one by one, row by row; they cover it, the last ones overlap."""
        wide, tall = self.pieces or (width, height)
        return [
            (slice(top, top + tall), slice(left, left + wide))
            for top in _starts(height, tall)
            for left in _starts(width, wide)
        ]

    def without_border(self, picture: "FloatPicture") -> "FloatPicture":
        """What of a picture is measured. Raises PictureError where nothing is left."""
        edge = self.border_px
        if not edge:
            return picture
        height, width = picture.shape[:2]
        if min(height, width) <= 2 * edge:
            raise PictureError(f"a border of {edge} px leaves nothing of a picture of {width}x{height}")
        return picture[edge : height - edge, edge : width - edge]

    def rounded(self, picture: "FloatPicture") -> "FloatPicture":
        """A picture in [0, 1] as the protocol measures it."""
        if self.rounding is Rounding.NONE:
            return picture
        steps = picture * np.float32(255)
        whole = np.rint(steps) if self.rounding is Rounding.NEAREST else np.floor(steps + _NEARLY)
        measured: FloatPicture = whole / np.float32(255)
        return measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """A protocol and the pairs that it found.

    spec_sha256 : of what the preset says, "" without one
    names_sha256 : of the names of the pairs that are measured, in their order
    pairs : how many these are; available : how many there are without a limit
    """

    protocol: Protocol
    spec_sha256: str = ""
    names_sha256: str
    pairs: int
    available: int

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits; scores of different ones do not compare."""
        decides = {
            **self.protocol.choices(),
            "preset": self.spec_sha256,
            "names": self.names_sha256,
            "metrics": METRICS_VERSION,
        }
        return _digest(decides)[:8]

    @property
    def title(self) -> str:
        """Name and hash, as they stand beside scores."""
        return f"{self.protocol.name or self.protocol.data}#{self.hash}"

    def about(self) -> str:
        """Which pictures, in one line."""
        prepared = f" prepared by {self.protocol.preset}" if self.protocol.preset else ""
        return f"{self.protocol.data}{prepared}, split {self.protocol.split}, {self._count()}"

    def text(self) -> str:
        """All choices, in one line."""
        protocol = self.protocol
        parts = [self.about()]
        if protocol.crop is not None:
            parts.append(f"the {_size(protocol.crop)} pixels at the centre")
        if protocol.pieces is not None:
            parts.append(f"restored in pieces of {_size(protocol.pieces)}, measured whole")
        parts += [
            "RGB as stored, every channel alike",
            f"border cut {protocol.border_px} px",
            "clipped to [0, 1]",
            _ROUNDINGS[protocol.rounding],
        ]
        if protocol.psnr_cap is not None:
            parts.append(f"PSNR at most {protocol.psnr_cap:g} dB")
        return "; ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.protocol.name,
            "hash": self.hash,
            **self.protocol.choices(),
            "spec_sha256": self.spec_sha256,
            "names_sha256": self.names_sha256,
            "metrics_version": METRICS_VERSION,
            "pairs": self.pairs,
            "available": self.available,
            "expected": self.protocol.expected,
            "text": self.text(),
        }

    def _count(self) -> str:
        taken = (
            f"all {self.pairs} pairs"
            if self.pairs == self.available
            else f"the first {self.pairs} of {self.available} pairs"
        )
        expected = self.protocol.expected
        return taken if expected in (None, self.pairs) else f"{taken} (the published set has {expected:,})"


def bind(
    protocol: Protocol, pairs: "Sequence[Pair]", *, spec: "Spec | None", limit: int | None
) -> Conditions:
    """The protocol with the pairs that it is about.

    Parameters
    ----------
    pairs : all that the protocol takes; limit : how many of them are measured, from the front
    spec : by which they are made or prepared
    """
    count = len(pairs) if limit is None else min(limit, len(pairs))
    digest = hashlib.sha256()
    for index in range(count):
        digest.update(pairs[index].name.encode("utf-8", "surrogateescape") + b"\0")
    return Conditions(
        protocol=protocol,
        spec_sha256="" if spec is None else _digest(tomllib.loads(spec.text)),  # without comments and layout
        names_sha256=digest.hexdigest(),
        pairs=count,
        available=len(pairs),
    )


def protocol_named(name: str) -> Protocol:
    """The protocol of that name. Raises UsageError with near names."""
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    near = difflib.get_close_matches(name, PROTOCOLS, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(PROTOCOLS)}"
    raise UsageError(f"there is no protocol {name!r}; {hint}")


_ROUNDINGS = {
    Rounding.NONE: "rounding: none (float32, not the 8-bit file)",
    Rounding.NEAREST: "rounded to 8 bit",
    Rounding.DOWN: "cut off to 8 bit",
}


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def _starts(length: int, piece: int) -> list[int]:
    """Where pieces begin: one after the other, the last one where it just fits."""
    if piece >= length:
        return [0]
    return [*range(0, length - piece, piece), length - piece]


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="cifar10-s0",
            summary="CIFAR-10's 10,000 test pictures, Gaussian blur of sigma 0 to 3",
            data="cifar10",
            split="test",
            preset="cifar10-s0",
            expected=10_000,
        ),
        Protocol(
            name="cifar10-s2",
            summary="CIFAR-10's 10,000 test pictures, Gaussian blur of sigma 1, 2 or 3",
            data="cifar10",
            split="test",
            preset="cifar10-s2",
            expected=10_000,
        ),
        Protocol(
            name="cifar10-s3",
            summary="CIFAR-10's 10,000 test pictures, Gaussian blur of sigma 0 to 3, seeded anew",
            data="cifar10",
            split="test",
            preset="cifar10-s3",
            expected=10_000,
        ),
        Protocol(
            name="reds-s0-512",
            summary="REDS' official validation part at 512x288, restored in 12 pieces",
            data="reds",
            split="test",
            preset="reds-s0-512",
            pieces=(128, 96),
            expected=3_000,
        ),
        Protocol(
            name="reds-s0-256",
            summary="REDS' official validation part at 256x144, restored in 12 pieces",
            data="reds",
            split="test",
            preset="reds-s0-256",
            pieces=(64, 48),
            expected=3_000,
        ),
        Protocol(
            name="reds-s2",
            summary="frames 50 to 99 of REDS' training scenes 000 to 023, restored in pieces of 256x256",
            data="reds",
            split="train",
            keep=r"(?:.*/)?0(?:[01]\d|2[0-3])/0*[5-9]\d",
            pieces=(256, 256),
            expected=1_200,
        ),
        Protocol(
            name="reds-full",
            summary="REDS' official validation part as it is",
            data="reds",
            split="val",
            expected=3_000,
        ),
        Protocol(
            name="reds_x4-full",
            summary="REDS' official validation part reduced four times",
            data="reds_x4",
            split="val",
            expected=3_000,
        ),
        Protocol(
            name="gopro-full",
            summary="GoPro's 1,111 test pictures as they are",
            data="gopro",
            split="test",
            expected=1_111,
        ),
        Protocol(
            name="gopro-256-resize",
            summary="GoPro's test pictures squeezed to 256x256 by area",
            data="gopro",
            split="test",
            preset="gopro-256-resize",
            expected=1_111,
        ),
        Protocol(
            name="gopro-256-nearest",
            summary="GoPro's test pictures squeezed to 256x256, nearest pixel, cut off to 8 bit, at most 100 dB",
            data="gopro",
            split="test",
            preset="gopro-256-nearest",
            rounding=Rounding.DOWN,
            psnr_cap=100.0,
            expected=1_111,
        ),
        Protocol(
            name="gopro-256-crop",
            summary="the 256x256 pixels at the centre of GoPro's test pictures",
            data="gopro",
            split="test",
            crop=(256, 256),
            expected=1_111,
        ),
        Protocol(
            name="gopro-jpeg75",
            summary="GoPro's test pictures, the blurred ones after JPEG of quality 75",
            data="gopro",
            split="test",
            preset="pairs-jpeg75",
            expected=1_111,
        ),
        Protocol(
            name="gopro-noise5",
            summary="GoPro's test pictures, the blurred ones with Gaussian noise of sigma 5/255",
            data="gopro",
            split="test",
            preset="pairs-noise5",
            expected=1_111,
        ),
        *(
            Protocol(
                name=f"kodak-{blur}",
                summary=f"Kodak's 24 pictures {what}",
                data="kodak",
                split="test",
                preset=f"kodak-{blur}",
                expected=24,
            )
            for blur, what in (
                ("shake", "under mild camera shake, 2 to 4 px rms"),
                ("trajectory", "moved along random paths"),
                ("defocus", "out of focus by 1 to 4 px"),
                ("gaussian", "under a Gaussian of sigma 1.5 px"),
                ("identity", "not blurred at all: they should come back untouched"),
                ("shake-jpeg75", "of kodak-shake after JPEG of quality 75"),
                ("shake-noise5", "of kodak-shake with Gaussian noise of sigma 5/255"),
            )
        ),
        Protocol(
            name="kernels-s1",
            summary="sharp pictures under a Gaussian and a median of 5x5, 9x9 and 13x13 px; name them with --data",
            data="",
            split="test",
            preset="kernel-study-s1",
            metrics=("mae", "psnr", "ssim"),
        ),
    )
}
"""By name."""
