"""Each exit code, one by one, with the real command: one line on stderr, nothing half-written left."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ALL_CODES = {0, 1, 2, 3, 4, 5, 70, 130, 143}


def leftovers(folder, *known):
    return sorted(path.name for path in folder.iterdir() if path.name not in known)


def test_0_when_everything_is_done(run, photo_file, identity):
    ran = run("photo.png", *identity.args(), env=identity.env, subprocess=True)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("photo.deblurred.png")
    assert leftovers(photo_file.parent, "photo.png") == ["photo.deblurred.png"]


def test_1_when_some_inputs_failed_and_the_rest_is_done(run, photo_file, identity):
    (photo_file.parent / "broken.png").write_bytes(photo_file.read_bytes()[:100])
    ran = run("broken.png", "nosuch.png", "photo.png", *identity.args(), env=identity.env)
    assert ran.code == 1
    assert "broken.png" in ran.err
    assert "nosuch.png" in ran.err
    assert "1 done, 2 failed" in ran.err
    assert leftovers(photo_file.parent, "photo.png", "broken.png") == ["photo.deblurred.png"]


def test_1_when_the_only_input_failed(run, identity):
    assert run("nosuch.png", *identity.args(), env=identity.env).code == 1


@pytest.mark.parametrize(
    "words",
    [
        ["photo.png", "--tile", "x"],
        ["photo.png", "--overlap", "-1"],
        ["photo.png", "--strength", "2"],
        ["photo.png", "--overwrite", "--skip-existing"],
        ["photo.png", "--shard", "3/2"],
        ["photo.png", "--region", "1,2,3"],
        ["photo.png", "--max-memory", "plenty"],
        ["photo.png", "--dtype", "float12"],
        ["photo.png", "--device", "toaster"],
        ["photo.png", "--format", "docx"],
        ["photo.png", "--suffix", ""],
        ["photo.png", "--suffix", "a/b"],
        ["photo.png", "-o", ""],
        ["photo.png", "-o", "x.png", "--format", "jpg"],
        ["photo.png", "--nosuchoption"],
        ["deblur"],
        ["trian"],
        [],
    ],
    ids=" ".join,
)
def test_2_when_the_request_makes_no_sense(run, photo_file, identity, words):
    ran = run(*words, *(identity.args() if words[1:] else []), env=identity.env)
    assert ran.code == 2, ran.err
    assert "Traceback" not in ran.err
    assert leftovers(photo_file.parent, "photo.png") == []


def test_3_when_a_check_found_something(run, tmp_path):
    (tmp_path / "broken.py").write_text("raise ValueError('oh no')\n")
    ran = run("doctor", env={"DEBLUR_PLUGINS": str(tmp_path / "broken.py")})
    assert ran.code == 3
    assert "oh no" in ran.out
    assert "doctor found" in ran.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["-m", "identiti"], "did you mean identity?"),
        (["-m", "identity"], "has no weights yet; train it with"),
        (["-m", "identity.nosuchtag"], "has no weights 'nosuchtag'; train it with"),
        (["-m", "runs/nosuch"], "there is no run folder or weights file runs/nosuch"),
        (["-m", "identity", "--weights", "nosuch.safetensors"], "nosuch.safetensors"),
        (["-m", "identity", "--weights", "{weights}", "--device", "cuda:99"], "cuda:99"),
    ],
)
def test_4_when_something_needed_is_missing(run, photo_file, identity, words, hint):
    words = [word.format(weights=identity.weights["identity"]) for word in words]
    ran = run("photo.png", *words, env=identity.env)
    assert ran.code == 4, ran.err
    assert hint in ran.err
    assert len(ran.err.splitlines()) == 1
    assert leftovers(photo_file.parent, "photo.png") == []


def test_5_when_the_memory_budget_is_too_small(run, photo_file, identity):
    ran = run("photo.png", *identity.args(), "--max-memory", "1KB", env=identity.env)
    assert ran.code == 5, ran.err
    assert leftovers(photo_file.parent, "photo.png") == []


def test_5_when_the_network_asked_for_is_too_large(run, photo_file):
    (photo_file.parent / "pairs" / "blur").mkdir(parents=True)
    (photo_file.parent / "pairs" / "sharp").mkdir()
    for part in ("blur", "sharp"):
        shutil.copy(photo_file, photo_file.parent / "pairs" / part / "1.png")
    for width in (10**6, 10**9):  # 36 TB, and more than can be counted
        ran = run(
            "train", "--data", "pairs", "-m", "rednet30", "--set", f"model.width={width}", "--steps", "1", "-o", "run"
        )  # fmt: skip
        assert ran.code == 5, ran.err
        assert f"width={width}" in ran.err
        assert len(ran.err.splitlines()) == 1


def test_5_when_the_disk_is_full(photo_file, identity, tmp_path):
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); from deblur_cli.cli.app import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", limited, "photo.png", *identity.args()], cwd=tmp_path, env={**os.environ, **identity.env, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert "photo.deblurred.png" in done.stderr
    assert leftovers(tmp_path, "photo.png") == []


def test_70_when_it_is_a_bug_and_the_report_says_which(run, photo_file, identity):
    ran = run("photo.png", *identity.args("failing"), env=identity.env)
    assert ran.code == 70
    assert "Traceback" not in ran.err
    [line] = [line for line in ran.err.splitlines() if line.startswith("a report is in ")]
    report = Path(line.removeprefix("a report is in ").split(";")[0]).read_text()
    assert "this network always fails" in report
    assert "command: deblur photo.png" in report
    assert "Traceback" in report
    assert leftovers(photo_file.parent, "photo.png") == []


def test_a_traceback_is_shown_with_verbose_only(run, photo_file, identity):
    assert "Traceback" in run("photo.png", *identity.args("failing"), "--verbose", env=identity.env).err
    assert "Traceback" not in run("nosuch.png", *identity.args(), env=identity.env).err
    assert "Traceback" in run("nosuch.png", *identity.args(), "--verbose", env=identity.env).err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_130_and_143_when_stopped_leave_no_half_file(photo_file, identity, tmp_path_factory, number, code):
    started = tmp_path_factory.mktemp("started") / "now"
    process = subprocess.Popen(
        [sys.executable, "-m", "deblur_cli", "photo.png", *identity.args("slow"), "--tile", "4"], cwd=photo_file.parent,
        env={**os.environ, **identity.env, "SLOW_STARTED": str(started)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not started.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=100)  # 768 tiles of 0.2 s would take longer
    assert process.returncode == code, err
    assert "nothing half-written is left" in err
    assert "Traceback" not in err
    assert out == ""
    assert leftovers(photo_file.parent, "photo.png") == []


def test_a_closed_pipe_is_no_bug(identity):
    done = subprocess.run(
        f"{sys.executable} -m deblur_cli --help | head -c 1",
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, **identity.env},
    )
    assert "bug" not in done.stderr
    assert "Traceback" not in done.stderr


def shell(command, folder, identity):
    """Run a line of the shell, in which `deblur` is the command under test."""
    script = f'deblur() {{ "{sys.executable}" -m deblur_cli "$@"; }}; {command}'
    env = {**os.environ, **identity.env}
    return subprocess.run(["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True)


def test_a_reader_that_stops_ends_the_command_without_a_bug(photo_file, identity):
    words = " ".join(identity.args())
    for command in (f"deblur photo.png {words} -o -", f"deblur photo.png {words} -o out/ --json"):
        done = shell(f"({command}; echo code $? >&2) | true", photo_file.parent, identity)
        assert done.stderr.splitlines() == ["code 1"]


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("deblur - -o out.png {words} <&-", 1, "deblur: -: cannot read standard input: it is closed\n"),
        ("deblur photo.png -o - {words} >&-", 2, "deblur: stdout is closed and cannot take a picture"),
        ("deblur photo.png {words} <&- >&- 2>&-", 0, ""),
        ("deblur models >&-", 0, ""),
        ("deblur nosuch.png 2>&-", 1, ""),
    ],
)
def test_closed_standard_streams_are_no_bug(photo_file, identity, command, code, said):
    before = photo_file.read_bytes()
    done = shell(command.format(words=" ".join(identity.args())), photo_file.parent, identity)
    assert (done.returncode, done.stderr[: len(said)]) == (code, said)
    assert photo_file.read_bytes() == before
    for path in photo_file.parent.glob("*.deblurred.png"):
        assert path.read_bytes()[:4] == b"\x89PNG"


def test_4_when_the_current_folder_is_gone(photo_file, identity):
    words = " ".join(identity.args())
    done = shell(f"mkdir x; cd x; rmdir ../x; deblur ../photo.png {words}", photo_file.parent, identity)
    assert done.returncode == 4
    assert done.stderr == "deblur: the current folder does not exist any more; go to another one with cd\n"


def test_every_code_is_in_the_documentation_of_the_module():
    from deblur_cli.cli import errors

    words = (errors.__doc__ or "").replace("·", " ").split()
    assert {int(word) for word in words if word.isdecimal()} == ALL_CODES
