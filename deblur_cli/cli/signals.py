"""Ctrl-C and SIGTERM for jobs that finish a step and save before they stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from deblur_cli.cli import console
from deblur_cli.cli.errors import Terminated


class Stop:
    """Whether a signal asked to stop. The first only sets `wanted`; a second one stops at once."""

    def __init__(self) -> None:
        self.wanted = False
        self._number = signal.SIGINT

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if self.wanted:
            raise self.as_exception()
        self.wanted, self._number = True, signal.Signals(number)
        console.note("stopping after this step; once more stops at once")

    def as_exception(self) -> BaseException:
        """What the command ends with, so that its exit code is 130 or 143."""
        return Terminated() if self._number is signal.SIGTERM else KeyboardInterrupt()


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Inside, Ctrl-C and SIGTERM set `wanted` on the value yielded."""
    stop = Stop()
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
