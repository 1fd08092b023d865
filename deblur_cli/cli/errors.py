"""From an exception to one line on stderr and an exit code.

0 done · 1 some inputs failed · 2 usage · 3 a check found something · 4 something needed is missing ·
5 out of memory or disk · 70 a bug (report written) · 130 Ctrl-C · 143 SIGTERM
"""

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import typer
from typer.exceptions import TyperException

from deblur_cli import __version__
from deblur_cli.cli import console
from deblur_cli.errors import DeblurError, MissingError, memory_ran_out

USAGE, NO_ROOM, BUG, INTERRUPTED, TERMINATED = 2, 5, 70, 130, 143
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EFBIG}


# The command line that runs, for the report of a bug found deep inside.
_words: ContextVar[tuple[str, ...]] = ContextVar("words", default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What to tell the user about an error, and the exit code that goes with it."""

    text: str
    code: int


class Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that only clean-up code sees it on its way out."""


def run(command: Callable[[], object], *, words: Sequence[str]) -> int:
    """Run `command`, say what went wrong in one line, and return the exit code.

    Parameters
    ----------
    command : returns None, or an exit code, or raises
    words : the command line, for the bug report
    """
    console.configure(console.Verbosity.NORMAL)
    console.unmute()
    _words.set(tuple(words))
    try:
        with _sigterm_raises(), console.logging_shown():
            _occupy_standard_streams()
            _require_folder()
            code = command()
    except Terminated:
        console.error("stopped by SIGTERM; nothing half-written is left")
        return TERMINATED
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except Exception as error:  # everything that is not ours ends here: as one line, or as a bug report
        return report(error)
    if code == INTERRUPTED:
        console.error("interrupted; nothing half-written is left")
    return code if isinstance(code, int) else 0


def report(error: Exception) -> int:
    """Say what went wrong, with its traceback under --verbose, and return the exit code."""
    if isinstance(error, TyperException):
        return _report_usage(error)
    console.traceback(error)
    diagnosis = diagnose(error)
    console.error(diagnosis.text)
    return diagnosis.code


def diagnose(error: Exception) -> Diagnosis:
    """What to say of an error, and its exit code. A bug's report is written on the way."""
    if isinstance(error, DeblurError):
        return Diagnosis(text=str(error), code=error.exit_code)
    explained = explain(error)
    if explained is not None:
        return explained
    path = _write_report(error)
    return Diagnosis(
        text=f"this is a bug in deblur or a plugin: {type(error).__name__}: {_first_line(error)}\n"
        f"a report is in {path}; please send it to the author, with the picture if you may",
        code=BUG,
    )


def explain(error: Exception) -> Diagnosis | None:
    """What to say of an error of the machine rather than of the program; None for a bug."""
    if memory_ran_out(error):
        return Diagnosis(
            text="out of memory; give --max-memory or a smaller --tile, to train --set batch_size=N",
            code=NO_ROOM,
        )
    if isinstance(error, OSError) and error.errno in _FULL:
        text = f"no room left{_at(error)}: {error.strerror}; free some and run again with --skip-existing"
        return Diagnosis(text=text, code=NO_ROOM)
    if isinstance(error, OSError) and error.filename is not None and error.errno is not None:
        text = f"cannot use {os.fsdecode(error.filename)}: {str(error.strerror).lower()}"
        return Diagnosis(text=text, code=DeblurError.exit_code)
    return None


def current_words() -> tuple[str, ...]:
    """The command line that runs, without the program's name."""
    return _words.get()


def _report_usage(error: TyperException) -> int:
    ctx = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # the help page has been printed
        return USAGE
    text = error.format_message().rstrip(".")
    console.error(text[:1].lower() + text[1:])
    if ctx is not None:
        console.note(f"see {ctx.command_path} --help")
    return USAGE


def _write_report(error: Exception) -> Path:
    """Write what a maintainer needs; into the temporary folder where the user's own cannot be written."""
    import platform
    import shlex
    import tempfile
    import traceback

    from deblur_cli.host.folders import log_folder

    text = "\n".join([
        f"deblur {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"command: deblur {shlex.join(_words.get())}",
        f"folder: {_folder() or 'gone'}",
        "",
        *traceback.format_exception(error),
    ])  # fmt: skip
    for folder in (log_folder(), Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix="bug-", suffix=".txt", dir=folder)
            with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except OSError:
            continue
        return Path(name)
    traceback.print_exception(error, file=sys.stderr)
    return Path("-")


def _occupy_standard_streams() -> None:
    """Open /dev/null where stdin, stdout or stderr is closed, lest a picture get its number and what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _require_folder() -> None:
    """Relative names lead nowhere from a folder that is gone, and PyTorch's libraries end the process there."""
    if _folder() is None:
        raise MissingError("the current folder does not exist any more; go to another one with cd")


def _folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """While inside, SIGTERM unwinds the stack, so that temporary files are removed."""
    if threading.current_thread() is not threading.main_thread():  # only it may set handlers
        yield
        return
    owner = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked loader worker: die as it would have without us
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is stop:  # else somebody wants to end in peace
            signal.signal(signal.SIGTERM, before)


def _at(error: OSError) -> str:
    return "" if error.filename is None else f" at {os.fsdecode(error.filename)}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no message"])[0]
