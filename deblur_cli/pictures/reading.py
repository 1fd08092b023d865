"""From a picture file to arrays."""

import io
import os
import stat
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from deblur_cli.errors import PictureError
from deblur_cli.pictures.formats import PILLOW_FORMATS, our_name
from deblur_cli.pictures.picture import Origin, Picture

MAX_PIXELS = 500_000_000


def read_picture(source: Path | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Image.Image = Image.open(source, formats=PILLOW_FORMATS)
            name = our_name(image.format or "")
            image = ImageOps.exif_transpose(image)
            if image.mode not in ("L", "RGB"):
                image = image.convert("RGB")
            pixels = np.array(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise PictureError(f"cannot read {source}: {error}") from error
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return Picture(pixels=pixels, origin=Origin(path=source if isinstance(source, Path) else None, format=name))
