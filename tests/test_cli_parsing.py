"""The lines that are promised work as typed: pictures without a command, several values an option, help everywhere."""

import os
import subprocess
import sys
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from deblur_cli.cli.app import Deblur, build
from deblur_cli.cli.parsing import Command, spread_values

HEAVY = {"torch", "numpy", "cv2", "PIL", "skimage", "scipy"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--metrics", "psnr", "ssim"], ["--metrics", "psnr", "--metrics", "ssim"]),
        (["--metrics", "psnr,ssim", "mse"], ["--metrics", "psnr", "--metrics", "ssim", "--metrics", "mse"]),
        (["--metrics=psnr,ssim", "mse"], ["--metrics", "psnr", "--metrics", "ssim", "--metrics", "mse"]),
        (["--metrics", "a", "--metrics", "b"], ["--metrics", "a", "--metrics", "b"]),
        (["-m", "a", "b", "--limit", "3", "x"], ["-m", "a", "-m", "b", "--limit", "3", "x"]),
        (["-m", "a", "--", "b", "-m", "c"], ["-m", "a", "--", "b", "-m", "c"]),
        (["--metrics", "-1", "-2.5"], ["--metrics", "-1", "--metrics", "-2.5"]),
        (["x", "--limit", "3"], ["x", "--limit", "3"]),
        (["--metrics"], ["--metrics"]),
        (["--metrics", "--limit", "3"], ["--metrics", "--limit", "3"]),
    ],
)
def test_an_option_declared_as_a_list_takes_all_values_up_to_the_next_option(words, expected):
    assert spread_values(words, {"--metrics", "-m"}) == expected


def test_a_file_name_with_a_comma_stays_one_value(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b.safetensors").touch()
    assert spread_values(["-m", "a,b.safetensors", "c,d"], {"-m"}) == [
        "-m",
        "a,b.safetensors",
        "-m",
        "c",
        "-m",
        "d",
    ]


def test_a_text_with_commas_and_blanks_stays_one_value() -> None:
    credit = "S. Nah, T. H. Kim, K. M. Lee, CVPR 2017"
    assert spread_values(["--credit", credit, "me"], {"--credit"}) == ["--credit", credit, "--credit", "me"]


def _command_line(function):
    app = typer.Typer()
    app.command(cls=Command)(function)
    return lambda *words: CliRunner().invoke(app, list(words))


def test_values_reach_the_function_as_a_list():
    def measure(
        pictures: Annotated[list[str] | None, typer.Argument()] = None,
        metrics: Annotated[list[str] | None, typer.Option()] = None,
        limit: Annotated[int, typer.Option("-n")] = 0,
    ):
        print(pictures, metrics, limit)

    invoke = _command_line(measure)
    assert (
        invoke("a.png", "--metrics", "psnr", "ssim", "-n", "2").stdout.strip()
        == "['a.png'] ['psnr', 'ssim'] 2"
    )
    assert invoke("--metrics", "psnr", "ssim", "--", "a.png").stdout.strip() == "['a.png'] ['psnr', 'ssim'] 0"
    assert invoke().stdout.strip() == "None None 0"
    assert invoke("--metrics").exit_code == 2


def test_a_picture_needs_no_command(run, photo_file, identity):
    short = run("photo.png", *identity.args(), "--dry-run", env=identity.env)
    options_first = run(*identity.args(), "--dry-run", "photo.png", env=identity.env)
    full = run("deblur", "photo.png", *identity.args(), "--dry-run", env=identity.env)
    assert short.code == 0
    assert "photo.png -> photo.deblurred.png" in short.out
    assert short.out == options_first.out == full.out


def test_a_file_named_like_a_command_is_reached_with_its_folder(run, photo_file, identity):
    photo_file.rename(photo_file.with_name("train"))
    assert "train -> " in run("./train", *identity.args(), "--dry-run", env=identity.env).out
    assert "Usage: deblur train" in run("train", "--help").out


def test_a_file_close_to_a_command_is_a_picture(run, photo_file, identity):
    photo_file.rename(photo_file.with_name("trian"))
    assert "trian -> " in run("trian", *identity.args(), "--dry-run", env=identity.env).out


@pytest.mark.parametrize(
    ("word", "hint"),
    [("trian", "did you mean train?"), ("evl", "did you mean eval?"), ("model", "models"), ("frobnicate", "commands: deblur,"), ("--verison", "did you mean --version?")],
)  # fmt: skip
def test_a_first_word_that_is_neither_file_nor_command_is_a_usage_error(run, word, hint):
    ran = run(word)
    assert ran.code == 2
    assert hint in ran.err
    assert ran.out == ""


def test_misspelt_options_get_suggestions(run, photo_file):
    ran = run("photo.png", "--overwrit")
    assert ran.code == 2
    assert "--overwrite" in ran.err


@pytest.mark.parametrize("command", ["", *Deblur.entries])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_everywhere(run, command, flag):
    ran = run(*command.split(), flag)
    assert ran.code == 0
    assert "Usage: deblur" in ran.out
    assert ran.err == ""


@pytest.mark.parametrize("name", Deblur.entries)
def test_every_command_shows_two_examples_and_explains_every_option(name):
    group = build()
    command = group.get_command(typer.Context(group), name)
    lines = [line.strip() for line in (command.help or "").splitlines()]
    assert sum(line.startswith(f"deblur {'' if name == 'deblur' else name}") for line in lines) >= 2
    assert [param.name for param in command.params if not param.help] == []


def test_the_version_is_one_line(run):
    ran = run("--version")
    assert ran.code == 0
    assert ran.out.split()[0] == "deblur"
    assert len(ran.out.splitlines()) == 1


def _run_python(code, **env):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **env}, timeout=60
    )


@pytest.mark.parametrize(
    "words", [["--help"], ["deblur", "--help"], ["eval", "-h"], ["--version"], ["trian"]]
)
def test_help_imports_nothing_heavy(words):
    done = _run_python(
        f"import sys; from deblur_cli.cli.app import main; main({words!r}); print(*sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    assert done.stderr.splitlines()[-1] == ""


def test_model_names_complete_without_torch():
    code = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print(*sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr))\n"
        "from deblur_cli.cli.app import main\n"
        "main([])"
    )
    for line in ("deblur -m red", "deblur photo.png --model red", "deblur eval -m red"):
        words = line.split()
        done = _run_python(
            code, _DEBLUR_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1)
        )
        assert "rednet30" in done.stdout.split(), line
        assert done.stderr.strip() == "", line


def test_commands_complete():
    done = _run_python(
        "from deblur_cli.cli.app import main; main([])",
        _DEBLUR_COMPLETE="complete_bash",
        COMP_WORDS="deblur ver",
        COMP_CWORD="1",
    )
    assert done.stdout.split() == ["verify-tiling"]


def test_completion_installs(run, tmp_path, monkeypatch):
    ran = run(
        "--install-completion",
        "bash",
        subprocess=True,
        env={"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert ran.code == 0, ran.err
    assert "_DEBLUR_COMPLETE" in (tmp_path / ".bash_completions" / "deblur.sh").read_text()
