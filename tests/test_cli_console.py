"""Results on stdout, everything else on stderr, bars on a terminal alone."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from deblur_cli.cli import console
from deblur_cli.cli.console import Verbosity


@pytest.fixture(autouse=True)
def normal_verbosity():
    yield
    console.configure(Verbosity.NORMAL)


def on_terminal(code, *, stdout_too=False, **env):
    """Run Python code with stderr (and stdout) on a pseudo-terminal; return what came by pipe and by terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=theirs if stdout_too else subprocess.PIPE, stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", **env},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux answers so at the end
            break
        if not part:
            break
        seen += part
    piped = process.communicate(timeout=60)[0] or b""
    os.close(ours)
    assert process.returncode == 0, seen
    return piped.decode(), seen.decode()


def test_results_go_to_stdout_and_the_rest_to_stderr(capsys):
    console.result("a result")
    console.json_line({"a": 1})
    console.note("a note")
    console.warn("a warning")
    console.error("an error")
    console.detail("a detail")
    out, err = capsys.readouterr()
    assert out == 'a result\n{"a": 1}\n'
    assert err == "a note\nwarning: a warning\ndeblur: an error\n"


def test_quiet_leaves_results_and_errors(capsys):
    console.configure(Verbosity.QUIET)
    console.result("a result")
    console.note("a note")
    console.warn("a warning")
    console.error("an error")
    assert capsys.readouterr() == ("a result\n", "deblur: an error\n")


def test_verbose_shows_details(capsys):
    console.configure(Verbosity.VERBOSE)
    console.detail("a detail")
    assert capsys.readouterr().err == "a detail\n"


def test_json_has_no_numbers_that_json_lacks(capsys):
    console.json_line(
        {"psnr": float("inf"), "ssim": float("nan"), "path": Path("a/b"), "nested": [{"x": (1, 2.5)}]}
    )
    line = capsys.readouterr().out
    assert json.loads(line) == {"psnr": None, "ssim": None, "path": "a/b", "nested": [{"x": [1, 2.5]}]}
    assert line.count("\n") == 1


def test_a_table_in_a_pipe_is_aligned_and_never_cut(capsys):
    long = "x" * 300
    console.table(["name", "psnr"], [["[bold]a[/bold]", "9.50"], [long, "31.25"]])
    header, first, second = capsys.readouterr().out.splitlines()
    assert long in second
    assert "[bold]a[/bold]" in first
    assert header.endswith(" psnr")
    assert first.endswith("  9.50")
    assert second.endswith(" 31.25")


def test_a_name_that_is_no_text_can_be_printed():
    name = os.fsdecode(b"caf\xe9.png")
    code = (
        f"from deblur_cli.cli import console; console.result({name!r}); console.json_line({{'a': {name!r}}})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )
    assert done.returncode == 0, done.stderr
    plain, as_json = done.stdout.splitlines()
    assert plain == r"caf\udce9.png"
    assert json.loads(as_json) == {"a": name}


BARS = """
import time
from deblur_cli.cli import console
with console.progress("pictures", 3) as advance:
    for number in range(3):
        with console.steps("tiles") as report:
            for tile in range(4):
                report(tile + 1, 4)
                time.sleep(0.06)
        console.result(f"restored {number}")
        advance()
"""


def test_bars_with_the_time_left_are_drawn_on_a_terminal_and_results_stay_on_stdout():
    piped, seen = on_terminal(BARS)
    assert piped == "restored 0\nrestored 1\nrestored 2\n"
    assert "pictures" in seen
    assert "tiles" in seen
    assert "left" in seen
    assert "restored" not in seen


def test_results_stay_readable_among_bars():
    _, seen = on_terminal(BARS, stdout_too=True)
    assert "restored 2" in seen


def test_work_of_one_step_draws_no_bar_of_its_own():
    _, seen = on_terminal(
        "from deblur_cli.cli import console\nwith console.steps('tiles') as report: report(0, 1); report(1, 1)"
    )
    assert "tiles" not in seen


SHARE = """
from deblur_cli.cli import console
with console.share("training") as report:
    if report is not None:
        report(0.5, "step 7")
"""


def test_a_long_job_shows_its_share_and_the_time_left():
    _, seen = on_terminal(SHARE)
    assert "step 7" in seen
    assert "50 %" in seen
    assert "left" in seen
    assert subprocess.run([sys.executable, "-c", SHARE], capture_output=True, text=True).stderr == ""


def test_no_bars_without_a_terminal():
    done = subprocess.run([sys.executable, "-c", BARS], capture_output=True, text=True)
    assert done.stderr == ""


def test_colour_on_a_terminal_unless_no_color_is_set():
    code = "from deblur_cli.cli import console; console.error('oh')"
    assert "\x1b[31m" in on_terminal(code)[1]
    assert "\x1b" not in on_terminal(code, NO_COLOR="1")[1]
    assert "\x1b" not in on_terminal(code, TERM="dumb")[1]
