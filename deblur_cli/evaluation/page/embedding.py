"""Pictures as data: URIs, all those of one comparison in one format and size."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from deblur_cli.pictures.regions import Pixels8

LONGEST_PX = 1600
"""Longest side of an embedded picture unless told otherwise: what a large screen shows at once."""

_PNG_PX = 2**18
"""Up to this many pixels PNG, which everything reads; above, lossless WebP, a third smaller but slow to make."""

_LOSSLESS_BYTES = 4_000_000
"""Where a picture takes more than this without loss, all of its comparison are WebP of quality 95."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Pictures of one size, ready to stand in a page.

    uris : one a picture
    width, height : of the pictures as embedded, in px; full_width, full_height : as they were
    kind : format, in words
    """

    uris: tuple[str, ...]
    width: int
    height: int
    full_width: int
    full_height: int
    kind: str

    def text(self) -> str:
        """What stands in the page, in a sentence."""
        size = sum(map(len, self.uris)) * 3 / 4 / 1e3
        shown, full = f"{self.width}x{self.height} px", f"{self.full_width}x{self.full_height} px"
        copies = (
            f"Embedded as {self.kind}, {f'{size / 1e3:.1f} MB' if size > 100 else f'{size:.0f} kB'} in all"
        )
        if shown == full:
            return f"{copies}, in full size, {full}."
        return f"{copies}: reduced copies of {shown}, the pictures have {full}."


def embed(pictures: Sequence[Pixels8], *, longest_px: int = LONGEST_PX, icc: bytes | None = None) -> Embedded:
    """Encode pictures of one size, (H, W, 1 or 3) each; reduced where their longer side has more than `longest_px`.

    icc : colour profile of the three-channel ones
    """
    height, width = pictures[0].shape[:2]
    factor = min(1.0, longest_px / max(width, height))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    kind, mime, encoded = _encoded([_image(pixels, size) for pixels in pictures], icc)
    return Embedded(
        uris=tuple(f"data:{mime};base64,{base64.b64encode(data).decode()}" for data in encoded),
        width=size[0],
        height=size[1],
        full_width=width,
        full_height=height,
        kind=kind,
    )


def _encoded(images: Sequence[Image.Image], icc: bytes | None) -> tuple[str, str, list[bytes]]:
    """All in the first kind that holds each of them: its words, its MIME type, and the files."""
    width, height = images[0].size
    if width * height <= _PNG_PX:
        return "PNG", "image/png", [_encode(image, "PNG", icc) for image in images]
    encoded = [_encode(image, "WEBP", icc, lossless=True, method=2) for image in images]
    if max(map(len, encoded)) <= _LOSSLESS_BYTES:
        return "lossless WebP", "image/webp", encoded
    return (
        "WebP of quality 95, not quite what they are",
        "image/webp",
        [_encode(image, "WEBP", icc, quality=95) for image in images],
    )


def _image(pixels: Pixels8, size: tuple[int, int]) -> Image.Image:
    grey = pixels.shape[2] == 1
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if grey else pixels))
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _encode(image: Image.Image, format: str, icc: bytes | None, **options: object) -> bytes:
    file = io.BytesIO()
    profile = {"icc_profile": icc} if icc and image.mode == "RGB" else {}
    image.save(file, format, **profile, **options)
    return file.getvalue()
