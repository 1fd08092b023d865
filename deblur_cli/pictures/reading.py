"""From a picture file to a `Picture`: what is refused, what is converted, what comes along."""

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from deblur_cli.errors import NotEnoughRoomError, PictureError
from deblur_cli.pictures import decoding, metadata, modes, odd_tiff, opening
from deblur_cli.pictures.formats import RAW_EXTENSIONS, our_name
from deblur_cli.pictures.picture import Origin, Picture, shown

MAX_PIXELS = 500_000_000
"""Greatest picture read unless the caller says otherwise."""


def read_picture(source: Path | str | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture of any supported format, upright and with all that came with it.

    Parameters
    ----------
    source : a file, or a stream such as `sys.stdin.buffer`, which is read to its end
    max_pixels : greater pictures are refused before memory is taken for them

    Returns
    -------
    Picture : 8 bits a sample stay 8 bits, 16 stay 16, grey stays grey; conversions stand in `origin.notes`

    Raises
    ------
    PictureError : no such file, not a picture, damaged, too large, animated, of an unusual kind; one line says which
    NotEnoughRoomError : memory does not suffice
    """
    path = Path(source) if isinstance(source, str | Path) else None
    name = shown(path) if path is not None else "standard input"
    try:
        with _opened(source) as stream, opening.quiet_pillow(max_pixels=max_pixels):
            if path is not None and path.suffix.lower() in RAW_EXTENSIONS:
                raise opening.RefusedError("it is a camera's raw file; develop it to TIFF or PNG first")
            return _read(stream, path=path, max_pixels=max_pixels)
    except opening.RefusedError as error:
        raise PictureError(f"cannot read {name}: {error}") from error
    except MemoryError as error:
        raise NotEnoughRoomError(f"cannot read {name}: memory does not suffice to decode it") from error
    except opening.DECODER_ERRORS as error:
        raise PictureError(f"cannot read {name}: it is damaged or cut off ({_first_line(error)})") from error


@contextmanager
def _opened(source: Path | str | BinaryIO) -> Iterator[BinaryIO]:
    """The source as a file or as bytes in memory."""
    if not isinstance(source, str | Path):
        yield io.BytesIO(source.read())
        return
    with ExitStack() as stack:
        try:
            mode = os.stat(source).st_mode
            if stat.S_ISDIR(mode):
                raise opening.RefusedError("it is a folder; name the pictures in it")
            if not stat.S_ISREG(mode):  # opening a named pipe would wait for ever
                raise opening.RefusedError("it is not a regular file; use - to read a stream")
            stream = stack.enter_context(Path(source).open("rb"))
        except FileNotFoundError as error:
            raise opening.RefusedError("no such file") from error
        except (OSError, ValueError) as error:  # ValueError: a null character in the name
            raise opening.RefusedError((getattr(error, "strerror", None) or str(error)).lower()) from error
        yield stream


def _read(stream: BinaryIO, *, path: Path | None, max_pixels: int) -> Picture:
    head = stream.read(opening.HEAD_BYTES)
    try:
        image = opening.open_image(stream, head=head)
    except UnidentifiedImageError as error:
        if not odd_tiff.is_tiff(head):
            raise opening.RefusedError(opening.why_unknown(head)) from error
        return _read_odd_tiff(stream, path=path, max_pixels=max_pixels)
    with closing(image):
        opening.refuse_size(*image.size, max_pixels=max_pixels)
        notes = opening.refuse_several(image)
        if odd_tiff.has_deep_planes(image):
            return _read_odd_tiff(stream, path=path, max_pixels=max_pixels)
        return _decode(
            image, lambda: opening.open_image(stream, head=head), head=head, path=path, notes=notes
        )


def _decode(
    image: Image.Image,
    reopen: Callable[[], Image.Image],
    *,
    head: bytes,
    path: Path | None,
    notes: tuple[str, ...],
) -> Picture:
    """Pixels first, because some files hold their descriptions behind them."""
    stored = decoding.stored_samples(image)
    if stored.deep:
        decoding.keep_samples(image)
    opening.load(image)
    origin, orientation = _origin(image, head=head, path=path)
    recipe = modes.recipe_for(image, stored=stored)
    if stored.deep and not stored.one_pass:
        pixels, alpha = decoding.read_twice(image, reopen=reopen, recipe=recipe, orientation=orientation)
    else:
        pixels, alpha = decoding.read_once(image, recipe=recipe, orientation=orientation)
    if stored.premultiplied and alpha is not None:
        decoding.divide_by_alpha(pixels, alpha)
    if recipe.key is not None:
        alpha = decoding.key_alpha(pixels, recipe.key)
    if recipe.mode == "cmyk":
        origin = replace(origin, icc=None)  # the pixels are sRGB now
    origin = _turned(origin, width=pixels.shape[1], height=pixels.shape[0])
    all_notes = (*notes, *opening.notes_on_depth(head), *recipe.notes, *origin.notes)
    return Picture(pixels=pixels, alpha=alpha, origin=replace(origin, mode=recipe.mode, notes=all_notes))


def _read_odd_tiff(stream: BinaryIO, *, path: Path | None, max_pixels: int) -> Picture:
    """The TIFF files that Pillow cannot read."""
    tags = odd_tiff.read_tags(stream)
    opening.refuse_size(tags.width, tags.height, max_pixels=max_pixels)
    pixels, alpha = odd_tiff.read_pixels(stream, orientation=tags.orientation)
    origin = Origin(
        path=path, format="tiff", mode=f"{pixels.dtype.itemsize * 8}-bit", icc=tags.icc, exif=tags.exif, xmp=tags.xmp,
        dpi=tags.dpi,
    )  # fmt: skip
    return Picture(
        pixels=pixels, alpha=alpha, origin=_turned(origin, width=pixels.shape[1], height=pixels.shape[0])
    )


def _origin(image: Image.Image, *, head: bytes, path: Path | None) -> tuple[Origin, int]:
    """What came with a loaded picture, as the file has it, and the orientation that is still to be applied."""
    info, name = image.info, our_name(image.format or "")
    exif = info.get("exif")
    xmp = info.get("xmp")
    if name == "tiff":
        exif = metadata.descriptive_exif(image.getexif())
        orientation = 1  # Pillow turns TIFF files itself while loading them
    else:
        orientation = metadata.orientation_of(image)
        if not exif and len(image.getexif()):  # from an older way to store it in PNG
            exif = image.getexif().tobytes()
    origin = Origin(
        path=path,
        format=name,
        icc=info.get("icc_profile") or None,
        exif=metadata.without_prefix(exif) if isinstance(exif, bytes) else None,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp or None,
        dpi=metadata.resolution(info),
        jpeg=metadata.jpeg_style(image),
        lossless=metadata.is_lossless_webp(head) if name == "webp" else None,
        compression=info.get("compression") if name == "tiff" else None,
        text=metadata.png_text(image) if name == "png" else (),
        chunks=metadata.png_chunks(info) if name == "png" else (),
        iptc=metadata.iptc_of_jpeg(image),
        comment=info.get("comment") if name == "jpeg" else None,
    )
    return origin, orientation


def _turned(origin: Origin, *, width: int, height: int) -> Origin:
    """The descriptions of a picture that has been turned upright."""
    notes, exif = origin.notes, origin.exif
    if exif is not None:
        try:
            if metadata.has_thumbnail(exif):
                notes = (
                    *notes,
                    "the thumbnail inside EXIF is left out, as it shows the picture before restoring",
                )
            exif = metadata.upright_exif(exif, width=width, height=height)
        except ValueError:
            exif, notes = None, (*notes, "EXIF is left out, as it is damaged")
    xmp = None if origin.xmp is None else metadata.upright_xmp(origin.xmp)
    return replace(origin, exif=exif, xmp=xmp, notes=notes)


def _first_line(error: BaseException) -> str:
    """A decoder's own words, on one line."""
    return " ".join(str(error).split())[:120] or type(error).__name__
