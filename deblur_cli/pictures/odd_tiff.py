"""TIFF files that Pillow cannot read right: 16-bit grey with alpha, 16-bit colours in separate planes. tifffile can."""

from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin

from deblur_cli.pictures import decoding, metadata
from deblur_cli.pictures.opening import RefusedError
from deblur_cli.pictures.picture import Pixels

_WIDTH, _HEIGHT, _BITS_PER_SAMPLE, _PLANAR, _XMP, _ICC = 256, 257, 258, 284, 700, 34675
_SEPARATE = 2
_ASSOCIATED, _UNASSOCIATED = 1, 2  # kinds of alpha in the tag ExtraSamples
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_CENTIMETRE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """What stands beside the pixels of a TIFF file."""

    width: int
    height: int
    orientation: int
    icc: bytes | None
    exif: bytes | None
    xmp: bytes | None
    dpi: tuple[float, float] | None


def is_tiff(head: bytes) -> bool:
    """Whether a file begins like a TIFF or BigTIFF file."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def has_deep_planes(image: Image.Image) -> bool:
    """Whether an opened picture is a TIFF file with 16-bit colours in separate planes."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    bits = image.tag_v2.get(_BITS_PER_SAMPLE, (1,))
    return image.tag_v2.get(_PLANAR) == _SEPARATE and len(bits) > 1 and max(bits) == 16


def read_tags(stream: BinaryIO) -> Tags:
    """The tags of the first page."""
    stream.seek(0)
    header = stream.read(8)
    if header[2:3] == b"+" or header[3:4] == b"+":
        header += stream.read(8)
    tags: TiffImagePlugin.ImageFileDirectory_v2 = TiffImagePlugin.ImageFileDirectory_v2(header)
    stream.seek(tags.next)
    tags.load(stream)
    exif = Image.Exif()
    stream.seek(0)
    exif.load_from_fp(stream)
    xmp, icc = tags.get(_XMP), tags.get(_ICC)
    return Tags(
        width=int(tags[_WIDTH]),
        height=int(tags[_HEIGHT]),
        orientation=metadata.valid_orientation(tags.get(metadata.ORIENTATION)),
        icc=icc if isinstance(icc, bytes) else None,
        exif=metadata.descriptive_exif(exif),
        xmp=xmp if isinstance(xmp, bytes) else None,
        dpi=_resolution(tags),
    )


def read_pixels(stream: BinaryIO, *, orientation: int) -> tuple[Pixels, Pixels | None]:
    """Pixels and alpha, upright.

    Raises RefusedError for pages beyond the first, kinds of pixels that would lose too much, and compressions that
    tifffile does not know without a further package.
    """
    import tifffile

    stream.seek(0)
    with tifffile.TiffFile(stream, name="picture") as file:
        if len(file.pages) > 1:
            raise RefusedError(f"it has {len(file.pages)} pages; save each as a file of its own")
        page: Any = file.pages[0]  # tifffile shows its types only in part
        channels = {"MINISBLACK": 1, "MINISWHITE": 1, "RGB": 3}.get(page.photometric.name)
        if (
            channels is None
            or page.dtype not in (np.uint8, np.uint16)
            or page.axes not in ("YX", "YXS", "SYX")
        ):
            raise RefusedError(
                f"its pixels are of an unusual kind ({page.photometric.name}, {page.dtype}); convert it to PNG first"
            )
        samples = _decoded(page)
    if page.axes == "SYX":
        samples = np.moveaxis(samples, 0, 2)
    samples = samples.reshape(*samples.shape[:2], -1)
    if page.photometric.name == "MINISWHITE":
        samples[..., :1] = np.iinfo(samples.dtype).max - samples[..., :1]
    kind = page.extrasamples[0] if page.extrasamples else 0
    pixels = decoding.upright(samples[..., :channels], orientation)
    if kind not in (_ASSOCIATED, _UNASSOCIATED):
        return pixels, None
    alpha = decoding.upright(samples[..., channels], orientation)
    if kind == _ASSOCIATED:
        decoding.divide_by_alpha(pixels, alpha)
    return pixels, alpha


def _decoded(page: Any) -> np.ndarray[Any, Any]:  # `Any`: as above, and shapes differ from file to file
    try:
        return np.array(page.asarray())
    except ValueError as error:
        if "imagecodecs" in str(error):
            name = page.compression.name
            raise RefusedError(
                f"its compression {name} is not read for this kind of pixels; save it without"
            ) from error
        raise


def _resolution(tags: TiffImagePlugin.ImageFileDirectory_v2) -> tuple[float, float] | None:
    scale = 2.54 if tags.get(_RESOLUTION_UNIT) == _CENTIMETRE else 1.0
    horizontal, vertical = tags.get(_X_RESOLUTION), tags.get(_Y_RESOLUTION)
    if horizontal is None or vertical is None:
        return None
    return metadata.resolution({"dpi": (float(horizontal) * scale, float(vertical) * scale)})
