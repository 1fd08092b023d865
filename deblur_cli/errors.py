"""Errors that are the user's to mend. Each message says what happened, where, and what to do.

    DeblurError
    ├── UsageError           the request itself makes no sense                    exit code 2
    ├── PictureError         one input could not be read, restored or written     exit code 1
    ├── CheckFailed          a check ran and found something                      exit code 3
    ├── MissingError         a model, weights, data or device is not there        exit code 4
    └── NotEnoughRoomError   memory or disk does not suffice                      exit code 5

Anything else that is raised is a bug and keeps its traceback (exit code 70).
"""

import re

_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|out of memory|std::bad_alloc|cannot allocate memory|could not create a (memory|primitive)"
    r"|Storage size calculation overflowed",
    re.IGNORECASE,
)


class DeblurError(Exception):
    """Base of all errors with a message meant for the user."""

    exit_code = 1


class UsageError(DeblurError):
    """The request itself makes no sense."""

    exit_code = 2


class PictureError(DeblurError):
    """One input could not be read, restored or written."""

    exit_code = 1


class CheckFailed(DeblurError):
    """A check ran to its end and found something wrong."""

    exit_code = 3


class MissingError(DeblurError):
    """Something that is needed is not there: a model, weights, data, a device."""

    exit_code = 4


class NotEnoughRoomError(DeblurError):
    """Memory or disk does not suffice."""

    exit_code = 5


def memory_ran_out(error: Exception) -> bool:
    """Whether this is how Python, or the allocators of PyTorch, the C++ library, oneDNN or MPS (RuntimeError) fail."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None
    )
