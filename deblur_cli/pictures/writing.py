"""From arrays to a picture file."""

from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from deblur_cli.pictures.atomic import atomic_write, refuse_input_as_output
from deblur_cli.pictures.formats import format_by_name, format_of_path
from deblur_cli.pictures.picture import Kept, Picture


def write_picture(
    picture: Picture,
    target: Path | BinaryIO,
    *,
    format: str | None = None,
    quality: int | None = None,
    overwrite: bool = False,
) -> Kept:
    """Write a picture file."""
    if format is None:
        by_path = format_of_path(target) if isinstance(target, Path) else None
        chosen = by_path or format_by_name(picture.origin.format or "png")
    else:
        chosen = format_by_name(format)
    if isinstance(target, Path) and picture.origin.path is not None:
        refuse_input_as_output(picture.origin.path, target)
    pixels = picture.pixels if picture.bits == 8 else (picture.pixels // 257).astype("uint8")
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    options = {"quality": quality or 95} if chosen.name == "jpeg" else {}
    with (
        atomic_write(target, overwrite=overwrite) if isinstance(target, Path) else nullcontext(target) as file
    ):
        image.save(file, format=chosen.pillow, **options)
    return Kept(
        format=chosen.name, width=picture.width, height=picture.height, bits=8, channels=pixels.shape[2]
    )
