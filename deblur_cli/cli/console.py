"""What the commands say: results on stdout, everything else on stderr.

Rich is imported only by what draws tables and bars. Bars appear on a terminal alone; NO_COLOR is respected.
"""

import errno
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID


class Verbosity(IntEnum):
    """How much is said on stderr."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


# The state of one command line, not of the program: `errors.run` sets it afresh for each.
_verbosity: ContextVar[Verbosity] = ContextVar("verbosity", default=Verbosity.NORMAL)
_muted: ContextVar[bool] = ContextVar("muted", default=False)
_bars: ContextVar["Progress | None"] = ContextVar("bars", default=None)


def configure(verbosity: Verbosity) -> None:
    """Set how much is said from now on."""
    _verbosity.set(verbosity)
    logging.getLogger("deblur_cli").setLevel(
        logging.INFO if verbosity is Verbosity.VERBOSE else logging.WARNING
    )


def mute() -> None:
    """Say nothing any more, not even errors and results: another process of the same command speaks."""
    _muted.set(True)


def unmute() -> None:
    """Speak again."""
    _muted.set(False)


def is_verbose() -> bool:
    """Whether --verbose was given."""
    return _verbosity.get() is Verbosity.VERBOSE


def is_quiet() -> bool:
    """Whether --quiet was given, or another process speaks."""
    return _muted.get() or _verbosity.get() is Verbosity.QUIET


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a standard stream leads to a terminal; Python has None for one that is closed (`>&-`)."""
    return stream is not None and stream.isatty()


def result(text: str) -> None:
    """Print a result on stdout."""
    _print(text, sys.stdout)


def json_line(value: object) -> None:
    """Print one JSON object on one line of stdout. Paths become text, and numbers that are not finite null."""
    import json

    _print(json.dumps(_plain(value), allow_nan=False), sys.stdout)


def detail(text: str) -> None:
    """Say on stderr what only --verbose wants to know."""
    if is_verbose():
        _print(text, sys.stderr)


def note(text: str) -> None:
    """Say on stderr what is not a result; silent with --quiet."""
    if not is_quiet():
        _print(text, sys.stderr)


def warn(text: str) -> None:
    """Warn on stderr; silent with --quiet."""
    note(_coloured(f"warning: {text}", code=33))


def error(text: str) -> None:
    """Say on stderr what went wrong, whatever the verbosity."""
    _print(_coloured(f"deblur: {text}", code=31), sys.stderr)


def traceback(error: BaseException) -> None:
    """Show the traceback of an error on stderr, with --verbose only."""
    if is_verbose():
        from traceback import print_exception  # slow to import, and rarely needed

        print_exception(error, file=sys.stderr)


class _Handler(logging.Handler):
    """Shows what the library logs as warnings and, with --verbose, as details."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it on stderr."""
        text = record.getMessage()
        (warn if record.levelno >= logging.WARNING else detail)(text)


@contextmanager
def logging_shown() -> Iterator[None]:
    """Inside, what deblur and its plugins log is shown on stderr."""
    logger, handler = logging.getLogger(), _Handler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    title: str | None = None,
    *,
    numbers: Sequence[bool] | None = None,
    gives_way: str | None = None,
) -> None:
    """Print a table on stdout: ruled on a terminal, else aligned text that is never cut.

    Parameters
    ----------
    numbers : which columns are set to the right; None: those whose cells are all numbers
    gives_way : the column whose cells take more lines where the terminal is narrow; None: the widest
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    on_terminal = is_terminal(sys.stdout)
    drawn = Table(
        title=title, box=box.SIMPLE_HEAD if on_terminal else None, title_justify="left", pad_edge=on_terminal
    )
    for position, column in enumerate(columns):
        if numbers is None:
            to_the_right = bool(rows) and all(_is_number(row[position]) for row in rows)
        else:
            to_the_right = numbers[position]
        drawn.add_column(
            Text(column),
            justify="right" if to_the_right else "left",
            overflow="fold",
            no_wrap=not on_terminal or gives_way not in (None, column),
        )
    for row in rows:
        drawn.add_row(
            *(Text("" if cell is None else str(cell)) for cell in row)
        )  # Text: brackets are no markup
    console = Console(file=sys.stdout, width=None if on_terminal else 10_000)
    if on_terminal:
        console.print(drawn)
        return
    with console.capture() as captured:
        console.print(drawn)
    _print("\n".join(line.rstrip() for line in captured.get().splitlines()), sys.stdout)


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Callable[..., None]]:
    """A bar with the time left, on a terminal; nothing elsewhere. Bars inside bars are drawn below each other.

    Parameters
    ----------
    total : number of steps, or None where it is not known

    Yields
    ------
    advance(n=1), to be called after each `n` steps
    """
    outer = _bars.get()
    if is_quiet() or not is_terminal(sys.stderr):
        yield lambda n=1: None
    elif outer is not None:
        task = outer.add_task(description, total=total)
        try:
            yield lambda n=1: outer.advance(task, n)
        finally:
            outer.remove_task(task)
    else:
        with _new_bars() as bars:
            token = _bars.set(bars)
            try:
                task = bars.add_task(description, total=total)
                yield lambda n=1: bars.advance(task, n)
            finally:
                _bars.reset(token)


@contextmanager
def steps(description: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for work that reports (done, total) itself, drawn from its second step on: short work needs none.

    Yields
    ------
    report(done, total)
    """
    bars = _bars.get()
    if bars is None and not is_quiet() and is_terminal(sys.stderr):
        with _new_bars() as bars:
            yield _reporter(bars, description)
    elif bars is None:
        yield lambda done, total: None
    else:
        before = set(bars.task_ids)
        try:
            yield _reporter(bars, description)
        finally:
            for task in set(bars.task_ids) - before:
                bars.remove_task(task)


@contextmanager
def share(description: str) -> Iterator[Callable[[float, str], None] | None]:
    """A bar over one long job that knows which share of it is done; None where no bar is drawn.

    Yields
    ------
    report(share in [0, 1], description)
    """
    if is_quiet() or not is_terminal(sys.stderr):
        yield None
        return
    from rich.progress import TextColumn

    with _new_bars(TextColumn("{task.percentage:.0f} %")) as bars:
        task = bars.add_task(description, total=1.0)
        yield lambda done, text: bars.update(task, completed=done, description=text)


@contextmanager
def status(description: str) -> Iterator[Callable[[float, str], None] | None]:
    """A bar over one long job, and beside it what the job tells of itself; None where no bar is drawn.

    The text is cut where the terminal ends. It tells the time left itself: the job knows better than the bar.

    Yields
    ------
    report(share in [0, 1], text)
    """
    if is_quiet() or not is_terminal(sys.stderr):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        BarColumn(bar_width=16),
        TextColumn("{task.percentage:.0f} %"),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(
        *columns, console=Console(file=sys.stderr), transient=True, redirect_stdout=is_terminal(sys.stdout)
    ) as bars:
        task = bars.add_task(description, total=1.0)
        yield lambda done, text: bars.update(task, completed=done, description=text)


def _reporter(bars: "Progress", description: str) -> Callable[[int, int], None]:
    """A function that draws (done, total) as a task of its own, made at the first step of several."""
    tasks: list[TaskID] = []

    def report(done: int, total: int) -> None:
        if total > 1 and not tasks:
            tasks.append(bars.add_task(description, total=total))
        for task in tasks:
            bars.update(task, completed=done, total=total)

    return report


def _new_bars(amount: "ProgressColumn | None" = None) -> "Progress":
    """Bars with the time left. amount : how far they are, by default as "done/total"."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), amount or MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
        console=Console(file=sys.stderr), transient=True,
        redirect_stdout=is_terminal(sys.stdout),  # a piped stdout must not end up on stderr
    )  # fmt: skip


def _print(text: str, stream: TextIO) -> None:
    if _muted.get():
        return
    try:
        print(text, file=stream, flush=True)
    except UnicodeEncodeError:  # a file name with bytes that are no text, or a terminal that is not UTF-8
        encoding = stream.encoding or "ascii"
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except OSError as error:  # nobody reads what is told any more: no reason to lose hours of work
        if stream is not sys.stderr:
            raise
        if error.errno in (errno.EPIPE, errno.EIO):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # bars and PyTorch write there, too


def _coloured(text: str, *, code: int) -> str:
    wanted = is_terminal(sys.stderr) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{code}m{text}\x1b[0m" if wanted else text


def _is_number(cell: object) -> bool:
    if isinstance(cell, str):
        try:
            float(cell.rstrip("%"))
        except ValueError:
            return cell in ("", "-", "–")
        return True
    return cell is None or isinstance(cell, (int, float))


def _plain(value: object) -> object:
    """`value` with everything that JSON lacks replaced."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
