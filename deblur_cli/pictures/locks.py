"""Folders that one process at a time works in."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deblur_cli.errors import UsageError


@contextmanager
def locked(folder: Path, *, busy: str) -> Iterator[None]:
    """Keep others out of a folder while inside. A killed process holds nothing.

    Parameters
    ----------
    busy : what to say where another process is inside

    Raises
    ------
    UsageError : another process is inside
    """
    if sys.platform == "win32":  # folders cannot be locked there
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(busy) from error
        except OSError:  # some network disks know no locks
            pass
        yield
    finally:
        os.close(handle)
