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

_KINDS: tuple[tuple[str, str, dict[str, object], int | None], ...] = (
    ("PNG", "PNG", {"optimize": True}, 500_000),
    ("lossless WebP", "WEBP", {"lossless": True, "method": 2}, 4_000_000),
    ("WebP of quality 95", "WEBP", {"quality": 95, "method": 4}, None),
)
"""Words, Pillow's name, options, and up to how many bytes a picture it is taken: the first that fits."""


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
        size = sum(map(len, self.uris)) * 3 / 4 / 1e6
        copies = f"Embedded as {self.kind}, {size:.1f} MB in all"
        if (self.width, self.height) == (self.full_width, self.full_height):
            return f"{copies}, every pixel of {self.width}x{self.height}."
        return f"{copies}: reduced copies of {self.width}x{self.height} px, the pictures have {self.full_width}x{self.full_height}."


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
    for kind, format, options, most in _KINDS:
        encoded = [
            _encode(image, format, options | ({"icc_profile": icc} if icc and image.mode == "RGB" else {}))
            for image in images
        ]
        if most is None or max(map(len, encoded)) <= most:
            return kind, f"image/{format.lower()}", encoded
    raise AssertionError("the last kind takes pictures of any size")


def _image(pixels: Pixels8, size: tuple[int, int]) -> Image.Image:
    grey = pixels.shape[2] == 1
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if grey else pixels))
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _encode(image: Image.Image, format: str, options: dict[str, object]) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()
