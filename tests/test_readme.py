"""What the README and the other documents say can be typed, can be typed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from deblur_cli.cli.app import build
from deblur_cli.host.manager import Host

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/data.md", "docs/plugins.md"]
COMMANDS = set(build().list_commands(None))  # type: ignore[arg-type]  # the group looks at no context for this


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language; "" are those that name none."""
    fences = re.findall(r"^```([a-z]*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for name, text in fences if name == language]


def shell_lines() -> list[str]:
    """Every line of the shell blocks that calls deblur, without its comment."""
    lines = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("deblur ")]


# What takes a long time, or a trained run, is only parsed.
LONG = [line for line in shell_lines() if line.startswith("deblur train") or "runs/" in line]
SHORT = [line for line in shell_lines() if line not in LONG]
MAKES_PAIRS = next(line for line in SHORT if "make-dataset sharp pairs" in line)


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray) -> Path:
    """A folder with what the README's examples name."""
    Image.fromarray(photo).save(tmp_path / "photo.jpg")
    picture = Image.fromarray(photo[:48, :64])
    for name in ("image.png", "scan.tif", "holiday/a.jpg", "holiday/deeper/b.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / name)
    (tmp_path / "sharp").mkdir()
    Image.fromarray(data.astronaut()).save(tmp_path / "sharp/one.png")  # large enough for a patch
    return tmp_path


def environment() -> dict[str, str]:
    """This environment with the installed command first."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": programs}


@pytest.mark.slow
@pytest.mark.parametrize("line", SHORT)
def test_a_command_of_the_readme_works_as_typed(line: str, folder: Path) -> None:
    made_before = [] if "make-dataset sharp" in line or " pairs" not in line else [MAKES_PAIRS]
    for command in [*made_before, line]:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("line", LONG)
def test_a_long_command_of_the_readme_is_understood_as_typed(line: str) -> None:
    group = build()
    words = line.split()[1:]
    name = words.pop(0) if words[0] in COMMANDS else "deblur"
    with group.make_context("deblur", [name], resilient_parsing=True) as context:
        command = group.get_command(context, name)
        assert command is not None
        command.make_context(name, words, parent=context).close()


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("python"))
def test_a_python_example_of_the_readme_runs(code: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_and_file_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for line in re.findall(r"`deblur ([a-z][a-z-]+)(?=[ `])", text):
        assert line in COMMANDS, f"{document} names deblur {line}"
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / document).parent / target).exists(), f"{document} links to {target}"


def test_every_command_is_in_the_readme() -> None:
    named = set(re.findall(r"deblur ([a-z][a-z-]+)\b", README)) | {"deblur"}
    assert named >= COMMANDS, f"not in the README: {sorted(COMMANDS - named)}"


def test_the_tree_in_the_readme_is_the_tree() -> None:
    (tree,) = [block for block in blocks("") if block.startswith("deblur_cli/")]
    shown, folder = set(), ROOT
    for line in tree.splitlines():
        parent = folder if line.startswith("  ") else ROOT
        for name in re.split(r"\s{2,}", line.strip())[0].split():
            path = parent / name
            if parent == ROOT:
                folder = path
            assert path.exists(), f"the README's tree shows {name}"
            shown.add(path)
    present = {
        path for path in (ROOT / "deblur_cli").iterdir() if path.is_dir() and not path.name.startswith("_")
    }
    present |= set((ROOT / "plugins").glob("deblur_*"))
    assert present <= shown, f"not in the README's tree: {sorted(path.name for path in present - shown)}"


def test_the_exit_codes_in_the_readme_are_those_of_the_errors() -> None:
    from deblur_cli import errors

    table = {
        int(code) for row in re.findall(r"^\| ([\d, ]+) \|", README, re.MULTILINE) for code in row.split(",")
    }
    kinds = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.DeblurError)
    }
    assert kinds | {0, 70, 130, 143} == table


def test_the_data_sets_in_the_readme_are_those_that_can_be_named() -> None:
    (section,) = re.findall(r"^## Data\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"^\| `([a-z0-9_-]+)` \|", section, re.MULTILINE))
    assert named == set(Host.discover().datasets) - {name for name in Host.discover().datasets if ":" in name}
