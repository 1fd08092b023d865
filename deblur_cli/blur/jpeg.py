"""JPEG compression as a degradation: written and read back by Pillow."""

from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.distributions import Integers
from deblur_cli.blur.params import check_ranges, number
from deblur_cli.pictures.scaling import Codes, Image, from_integers, to_8_bit


class Subsampling(StrEnum):
    """How colour is thinned out."""

    NONE = "444"
    HORIZONTAL = "422"
    BOTH = "420"


@dataclass(frozen=True, slots=True, kw_only=True)
class Jpeg:
    """quality : libjpeg's, 1 to 100."""

    quality: int = number(ge=1, le=100, drawn=Integers(60, 98))
    subsampling: Subsampling = Subsampling.BOTH

    def __post_init__(self) -> None:
        check_ranges(self)


def compress(pixels: NDArray[np.uint8], params: Jpeg) -> bytes:
    """The JPEG file of (H, W, C) 8-bit pixels, without EXIF."""
    from PIL import Image

    buffer = BytesIO()
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    picture.save(
        buffer, "JPEG", quality=params.quality, subsampling=tuple(Subsampling).index(params.subsampling),
        optimize=False, progressive=False,
    )  # fmt: skip
    return buffer.getvalue()


def through_jpeg(pixels: NDArray[np.uint8], params: Jpeg) -> NDArray[np.uint8]:
    """What remains of (H, W, C) 8-bit pixels after compression."""
    from PIL import Image

    with Image.open(BytesIO(compress(pixels, params))) as picture:
        return np.array(picture).reshape(pixels.shape)


def apply(image: Image | Codes, params: Jpeg, rng: np.random.Generator | None = None) -> Image | Codes:
    """`through_jpeg`; float code values in [0, 1] are rounded to 8 bit first and returned as floats. `rng` is not used."""
    compressed = through_jpeg(to_8_bit(image), params)
    return compressed if image.dtype == np.uint8 else from_integers(compressed)
