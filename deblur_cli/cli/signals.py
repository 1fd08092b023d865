"""Ctrl-C, SIGTERM and the end of the terminal for jobs that finish a step and save before they stop."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from deblur_cli.cli import console
from deblur_cli.cli.errors import Terminated


class Stop:
    """Whether a signal asked to stop. The first only makes it `wanted`; a second one stops at once.

    launcher : process that passes the user's first signal on as SIGINT and says so, and stops at once by SIGTERM; when it
        is gone, stopping is wanted. None = there is none
    """

    def __init__(self, *, launcher: int | None) -> None:
        self._was_asked = False
        self._number = signal.SIGINT
        self._owner = os.getpid()
        self._launcher = launcher

    @property
    def wanted(self) -> bool:
        """Whether to stop after this step."""
        return self._was_asked or self._launcher not in (None, os.getppid())

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if os.getpid() != self._owner:  # a process that reads pictures; its owner ends it
            if number != signal.SIGINT:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        at_once = self._was_asked or (self._launcher is not None and number == signal.SIGTERM)
        self._was_asked, self._number = True, signal.Signals(number)
        if at_once:
            raise self.as_exception()
        if self._launcher is None:
            console.note("stopping after this step; once more stops at once")

    def as_exception(self) -> BaseException:
        """What the command ends with, so that its exit code is 130 or 143."""
        return KeyboardInterrupt() if self._number is signal.SIGINT else Terminated()


def stopping_signals() -> list[signal.Signals]:
    """Those that ask to stop: Ctrl-C, SIGTERM, and the end of the terminal unless `nohup` said to outlive it."""
    always = [signal.SIGINT, signal.SIGTERM]
    if sys.platform == "win32" or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return always
    return [*always, signal.SIGHUP]


@contextmanager
def stop_on_signals(*, launcher: int | None = None) -> Iterator[Stop]:
    """Inside, `stopping_signals` make stopping `wanted` by the value yielded."""
    stop = Stop(launcher=launcher)
    before = {number: signal.signal(number, stop) for number in stopping_signals()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
