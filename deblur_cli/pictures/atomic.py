"""Files that appear whole or not at all, and never in place of an input."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from deblur_cli.errors import DeblurError, NotEnoughRoomError, PictureError, UsageError

TEMPORARY = ".deblur-*.part"
"""Pattern of the temporary files; those of a process that was killed stay behind."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


@contextmanager
def atomic_write(path: Path | str, *, overwrite: bool = True) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; what is written there becomes `path` at the end.

    The temporary file exists already and is empty. When the block ends well the file is synced to disk and renamed;
    when it ends in any exception, Ctrl-C included, the temporary file is removed and `path` is as it was. A symbolic
    link is followed, an existing file keeps its permissions.

    Parameters
    ----------
    path : where the file shall stand in the end
    overwrite : replace an existing file; otherwise it is refused, even if it appears while the block runs

    Raises
    ------
    UsageError : `path` exists and `overwrite` is False, or it is a folder or a device
    NotEnoughRoomError : the disk is full, within the block too
    PictureError : the folder is missing, read-only, or the name is too long
    """
    asked = Path(path)
    target = Path(os.path.realpath(asked))  # write what a link points to, keep the link
    # short: the name asked for may be as long as can be
    temporary = target.with_name(TEMPORARY.replace("*", token_hex(6)))
    try:
        try:
            mode = _mode_of_existing(target, asked=asked, overwrite=overwrite)
            os.close(
                os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666 if mode is None else mode)
            )
        except OSError as error:
            raise write_error(error, asked) from error
        yield temporary
        try:
            _finish(temporary, target, overwrite=overwrite)
        except FileExistsError as error:
            raise _exists(asked) from error
        except OSError as error:
            raise write_error(error, asked) from error
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise write_error(error, asked) from error
        raise


def require_writable(path: Path | str) -> None:
    """Raise now what `atomic_write` would raise later, after much work; what stands there stays as it is."""

    class Enough(Exception):
        """That it can be written is known."""

    with contextlib.suppress(Enough), atomic_write(path):
        raise Enough


def require_folder(path: Path | str) -> None:
    """Make the folder where it is missing.

    Raises PictureError where that cannot be, as a file is in the way or writing is not allowed.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise PictureError(f"{path} is a file, where a folder is needed; choose another name") from error
    except NotADirectoryError as error:
        raise PictureError(f"cannot make the folder {path}: part of it is a file") from error
    except OSError as error:
        raise PictureError(f"cannot make the folder {path}: {str(error.strerror).lower()}") from error


def refuse_input_as_output(input: Path | str, output: Path | str) -> None:
    """Raise UsageError where writing `output` would replace `input`.

    Two names are one file when they lead to the same place on disk: through hard or symbolic links, or letters that
    the file system takes for equal.
    """
    try:
        same = os.path.samefile(input, output)
    except OSError:  # one of them does not exist (yet) or cannot be reached, so nothing can be replaced
        return
    if same:
        raise UsageError(f"cannot write {output}: it is the input {input} itself; choose another name")


def is_full(error: OSError) -> bool:
    """Whether the disk, or what the user may take of it, is full."""
    return error.errno in _NO_ROOM


def write_error(error: OSError, path: Path | str) -> DeblurError:
    """The error for the user that says why `path` could not be written."""
    if error.errno in _NO_ROOM:
        return NotEnoughRoomError(
            f"cannot write {path}: the disk is full; free some space or write elsewhere"
        )
    reasons = {
        errno.ENOENT: "its folder does not exist; create it first",
        errno.ENOTDIR: "its folder is not a folder",
        errno.EACCES: "permission denied; write elsewhere",
        errno.EPERM: "permission denied; write elsewhere",
        errno.EROFS: "the disk is read-only; write elsewhere",
        errno.ENAMETOOLONG: "the name is too long for the file system; choose a shorter one",
    }
    reason = reasons.get(error.errno or 0, (error.strerror or str(error)).lower())
    return PictureError(f"cannot write {path}: {reason}")


def _exists(path: Path) -> UsageError:
    return UsageError(f"{path} exists already; replace it with --overwrite, or choose another name")


def _mode_of_existing(target: Path, *, asked: Path, overwrite: bool) -> int | None:
    """Permissions of the file to be replaced, None if there is none; refuses what must not be replaced."""
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(f"cannot write {asked}: it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"cannot write {asked}: it is not a regular file; use - to write to a stream")
    if not overwrite:
        raise _exists(asked)
    if not os.access(target, os.W_OK):
        raise PermissionError(
            errno.EACCES, "permission denied"
        )  # a rename would go over the owner's write protection
    return stat.S_IMODE(status.st_mode)


def _finish(temporary: Path, target: Path, *, overwrite: bool) -> None:
    """Bring the bytes to the disk, then give the file its name."""
    _sync(temporary)
    if overwrite:
        os.replace(temporary, target)
    else:
        _rename_without_replacing(temporary, target)
    sync_folder(target.parent)


def _rename_without_replacing(temporary: Path, target: Path) -> None:
    """Rename, but raise FileExistsError where `target` has appeared in the meantime."""
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if target.exists():
            raise FileExistsError(errno.EEXIST, "exists", str(target)) from error
        os.replace(temporary, target)
    else:
        temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where that can be asked for (not on Windows and some network disks)."""
    with contextlib.suppress(OSError):
        _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
