"""Downloading the archive of a data set: goes on where it broke off, is checked by its checksum, appears whole."""

import contextlib
import errno
import http.client
import logging
import os
import shutil
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from secrets import token_hex
from typing import Any

from deblur_cli import __version__
from deblur_cli.errors import DeblurError, MissingError, NotEnoughRoomError, UsageError
from deblur_cli.host.declarations import Archive

Report = Callable[[float, str], None]
"""Takes the share that is done, in [0, 1], and what it is of."""

ATTEMPTS = 5
"""How often in a row a connection that breaks off is opened again, as long as each brings something."""

_TIMEOUT_S = 30
_CHUNK = 1 << 18
_UNPACKED = 1.25
"""Room for the unpacked files, in sizes of the archive: pictures hardly shrink."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)


def download(
    archive: Archive, folder: Path, *, name: str, url: str | None = None, report: Report | None = None
) -> None:
    """Download an archive and unpack it into a folder, in which files of the same names are replaced.

    What has come is kept in FOLDER/ARCHIVE.part whatever happens, and the next call goes on from there. Unpacked files
    get their names only when all are there.

    Parameters
    ----------
    name : of the data set, for messages
    url : of a mirror, instead of the archive's own; http or https

    Raises
    ------
    MissingError : the server cannot be reached, broke off, or holds another file
    NotEnoughRoomError : the disk is full
    UsageError : the URL is none
    """
    url = url or archive.url
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"cannot download {url}: it begins with neither http:// nor https://")
    target = folder / Path(archive.url).name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _require_room(folder, archive, target)
        _retrieve(archive, target, url=url, name=name, report=report)
        _unpack(target, folder)
        target.unlink()
    except OSError as error:
        raise _as_ours(error, folder, name) from error


def _retrieve(archive: Archive, target: Path, *, url: str, name: str, report: Report | None) -> None:
    """Have the archive in its place, with the checksum it must have."""
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    part = target.with_name(f"{target.name}.part")

    def fetch(url: str, temporary: str, _: Any) -> None:
        """A downloader for pooch, which has made an empty `temporary` file. `Any`: pooch's own object, always None."""
        _fetch_all(url, part, size=archive.size, name=name, report=report)
        os.unlink(temporary)
        try:
            os.link(part, temporary)  # the part stays until the checksum is known to be right
        except OSError:  # a file system without links
            os.replace(part, temporary)

    try:
        pooch.retrieve(url, archive.checksum, fname=target.name, path=target.parent, downloader=fetch)
    except ValueError as error:
        part.unlink(missing_ok=True)
        raise MissingError(
            f"what came from {url} is not the archive of {name}: its {archive.checksum.partition(':')[0]} checksum "
            "differs; it was removed, so download it again or take another --url"
        ) from error
    part.unlink(missing_ok=True)


def _fetch_all(url: str, part: Path, *, size: int, name: str, report: Report | None) -> None:
    """Bring a part to its full size."""
    if _size(part) > size:
        part.unlink()
    reason = ""
    for _ in range(ATTEMPTS):
        before = _size(part)
        if before == size:
            return
        try:
            _go_on(url, part, start=before, size=size, name=name, report=report)
            reason = "the connection broke off"
        except _NETWORK_ERRORS as error:
            reason = _reason(error)
            if getattr(error, "code", None) == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink()  # the file there is shorter than what we have: another one
        if _size(part) <= before:
            break
    if _size(part) == size:
        return
    raise MissingError(
        f"cannot download {url}: {reason} after {_megabytes(_size(part))} of {_megabytes(size)} MB; "
        "what came is kept, and the same command goes on from there"
    )


def _go_on(url: str, part: Path, *, start: int, size: int, name: str, report: Report | None) -> None:
    """Ask for the rest of a file and append what comes; from the beginning where the server cannot give a rest."""
    headers = {"User-Agent": f"deblur-cli/{__version__}", **({"Range": f"bytes={start}-"} if start else {})}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S) as response:
        start = start if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        length = response.headers.get("Content-Length")
        if length is not None and start + int(length) != size:
            raise MissingError(
                f"{url} is not the archive of {name}: it has {start + int(length)} bytes instead of {size}"
            )
        with part.open("ab" if start else "wb", buffering=0) as file:
            while chunk := response.read1(min(_CHUNK, size - start)):
                start += _write(file, chunk)
                if report is not None:
                    report(start / size, f"{name}: {_megabytes(start)} of {_megabytes(size)} MB")


def _write(file: FileIO, chunk: bytes) -> int:
    """Write all of a chunk without a buffer, so that what is on the disk is what came."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]
    return len(chunk)


def _unpack(target: Path, folder: Path) -> None:
    """Unpack beside the place where the files belong, then give them their names."""
    if not hasattr(tarfile, "data_filter"):
        raise MissingError(
            "this Python cannot unpack archives safely; 3.11.4 or newer can (tarfile.data_filter)"
        )
    temporary = folder / f".unpacking-{token_hex(6)}"
    try:
        with tarfile.open(target) as archive:
            archive.extractall(temporary, filter="data")
        _move_into(temporary, folder)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise MissingError(f"cannot unpack {target}: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move_into(source: Path, folder: Path) -> None:
    for path in sorted(source.iterdir()):
        target = folder / path.name
        if path.is_dir() and target.is_dir():
            _move_into(path, target)
        else:
            path.replace(target)


def _require_room(folder: Path, archive: Archive, target: Path) -> None:
    have = _size(target) or _size(target.with_name(f"{target.name}.part"))
    needed = archive.size * (1 + _UNPACKED) - have
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NotEnoughRoomError(
            f"not enough room in {folder}: {_megabytes(needed)} MB are needed and {_megabytes(free)} MB are free; "
            "free some, or name another folder with --to"
        )


def _as_ours(error: OSError, folder: Path, name: str) -> DeblurError:
    where = os.fsdecode(error.filename) if error.filename is not None else str(folder)
    if error.errno in _FULL:
        return NotEnoughRoomError(
            f"no room left in {folder} for {name}; what came is kept: free some, and the same command goes on"
        )
    return MissingError(
        f"cannot write {where}: {(error.strerror or str(error)).lower()}; name another folder with --to"
    )


def _reason(error: Exception) -> str:
    with contextlib.ExitStack() as stack:
        if isinstance(error, urllib.error.HTTPError):
            stack.callback(error.close)  # it holds the connection
            return f"the server answers {error.code} {error.reason}"
    reason = getattr(error, "reason", None) or error
    return (getattr(reason, "strerror", None) or str(reason) or type(reason).__name__).lower()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f}" if size < 1e7 else f"{size / 1e6:.0f}"
