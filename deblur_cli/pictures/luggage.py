"""What of a picture's origin goes into a new file, and what the format cannot hold."""

from dataclasses import dataclass, replace

from deblur_cli.pictures.formats import Format
from deblur_cli.pictures.metadata import icc_channels, upright_exif, upright_xmp
from deblur_cli.pictures.picture import Origin, Picture

_JPEG_SEGMENT = 65_533
_JPEG_EXIF = _JPEG_SEGMENT - 6  # behind its prefix
_JPEG_XMP = _JPEG_SEGMENT - 29


@dataclass(frozen=True, slots=True, kw_only=True)
class Luggage:
    """The descriptions that a new file gets; names of those it gets and of those that stay behind.

    icc, exif, xmp, dpi, iptc, comment, text, chunks : as in `Origin`
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    iptc: bytes | None = None
    comment: bytes | None = None
    text: tuple[tuple[str, str], ...] = ()
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    kept: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def pack(picture: Picture, *, format: Format, channels: int) -> Luggage:
    """Choose what a file of `format` with `channels` colour channels takes along from the picture's origin."""
    origin, notes = _upright(picture)
    there: dict[str, object] = {
        "icc": origin.icc, "exif": origin.exif, "xmp": origin.xmp, "dpi": origin.dpi,
        "iptc": origin.iptc, "comment": origin.comment, "text": origin.text, "chunks": origin.chunks,
    }  # fmt: skip
    held = format.metadata | {"jpeg": {"iptc", "comment"}, "png": {"text", "chunks"}}.get(format.name, set())
    if origin.icc is not None and icc_channels(origin.icc) != channels:
        held -= {"icc"}
        notes.append("the colour profile is left out, as it is for another kind of colours")
    if format.name == "jpeg":
        for name, data, most in (("EXIF", origin.exif, _JPEG_EXIF), ("XMP", origin.xmp, _JPEG_XMP)):
            if data is not None and len(data) > most:
                held -= {name.lower()}
                notes.append(f"{name} is left out, as it is too long for JPEG ({len(data)} bytes)")
    present = [name for name, value in there.items() if value]
    return Luggage(
        icc=origin.icc if "icc" in held else None,
        exif=origin.exif if "exif" in held else None,
        xmp=origin.xmp if "xmp" in held else None,
        dpi=origin.dpi if "dpi" in held else None,
        iptc=origin.iptc if "iptc" in held else None,
        comment=origin.comment if "comment" in held else None,
        text=origin.text if "text" in held else (),
        chunks=origin.chunks if "chunks" in held else (),
        kept=tuple(name for name in present if name in held),
        lost=tuple(name for name in present if name not in held),
        notes=tuple(notes),
    )


def _upright(picture: Picture) -> tuple[Origin, list[str]]:
    """The origin as it must stand beside upright pixels, whoever made it."""
    origin = picture.origin
    if origin.xmp is not None:
        origin = replace(origin, xmp=upright_xmp(origin.xmp))
    if origin.exif is not None:
        try:
            return replace(
                origin, exif=upright_exif(origin.exif, width=picture.width, height=picture.height)
            ), []
        except ValueError:
            return replace(origin, exif=None), ["EXIF is left out, as it is damaged"]
    return origin, []
