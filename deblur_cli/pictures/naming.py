"""Names of pictures: where a restored one goes, and how a name is shown."""

from pathlib import Path

from deblur_cli.pictures.formats import READ_ONLY, WRITABLE, can_write, format_by_name


def default_output(
    path: Path, *, suffix: str = ".deblurred", format: str | None = None, folder: Path | None = None
) -> Path:
    """The output's path for the input `path`: photo.jpg becomes photo.deblurred.jpg beside it.

    Parameters
    ----------
    path : the input
    suffix : put between stem and extension
    format : changes the extension; without it, an input format that cannot be written (GIF, HEIC without its extra)
        becomes .png
    folder : replaces the input's folder; the suffix stays

    Raises
    ------
    UsageError : `format` is not a format that can be written
    """
    extension = path.suffix if format is None else format_by_name(format).extensions[0]
    if format is None and not _can_be_written(extension.lower()):
        extension = ".png"
    return (path.parent if folder is None else folder) / f"{path.stem}{suffix}{extension}"


def _can_be_written(extension: str) -> bool:
    """Whether a file with this extension can be written; an extension that is unknown says nothing and may stay."""
    for known in WRITABLE:
        if extension in known.extensions:
            return can_write(known.name)
    return not any(extension in extensions for extensions in READ_ONLY.values())
