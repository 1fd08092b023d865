"""docs/evaluation.md does what it says, and names every protocol."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from evaluation_records import record
from PIL import Image

from deblur_cli.evaluation.protocols import PROTOCOLS

PAGE = (Path(__file__).parents[1] / "docs" / "evaluation.md").read_text(encoding="utf-8")
COMMANDS, RESULTS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(CODE,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def root(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with a pair of GoPro and one of REDS, and photos/ beside it."""
    for name in ("gopro/test/A/{}/000001", "reds/val_{}/000/00000000"):
        for kind in ("blur", "sharp"):
            path = tmp_path / f"{name.format(kind)}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo if kind == "sharp" else np.roll(photo, 1, axis=1)).save(path)
    (tmp_path / "photos").mkdir()
    large = np.asarray(Image.fromarray(photo).resize((512, 384), Image.Resampling.BICUBIC))
    Image.fromarray(large).save(tmp_path / "photos" / "one.png")
    monkeypatch.setenv("DEBLUR_DATA", str(tmp_path))
    return tmp_path


def test_the_page_names_every_protocol_and_no_other() -> None:
    section = PAGE.split("## Protocols")[1].split("## ")[0]
    table = [line for line in section.splitlines() if line.startswith("| `")]
    assert {name for line in table for name in re.findall(r"`(.*?)`", line.split("|")[1])} == set(PROTOCOLS)


def test_the_page_is_short() -> None:
    assert len(PAGE.splitlines()) <= 115


@pytest.mark.parametrize("line", COMMANDS.splitlines())
def test_every_command_works_as_written(run: Callable, identity, root: Path, line: str) -> None:
    """But with networks that return their input, and a limit."""
    _, *words = shlex.split(line.partition(" #")[0])
    model = str(identity.weights["identity"])
    known = {"rednet30": model, "runs/first": model, "verysimple_deblurgan": str(identity.weights["slow"])}
    words = [known.get(word, word) for word in words]
    if "-m" not in words:
        words += ["-m", model]
    if "ms-ssim" in words:
        words[words.index("ms-ssim")] = "mae"  # these pictures are too small for it
    ran = run(*words, "--limit", 1, env=identity.env)
    assert ran.code == 0, ran.err
    assert "blurred input" in ran.out


@pytest.mark.parametrize("line", RESULTS.splitlines())
def test_every_command_over_records_works_as_written(run: Callable, tmp_path: Path, line: str) -> None:
    for name in ("one", "two"):
        made = record(name, restored={"psnr": 26.0, "ssim": 0.75})
        (tmp_path / "records").mkdir(exist_ok=True)
        (tmp_path / "records" / f"{name}.json").write_text(json.dumps(made))
    _, *words = shlex.split(line.partition(" #")[0])
    ran = run(*words)
    assert ran.code == 0, ran.err
    assert "blurred input" in ran.out
    assert all((tmp_path / word).exists() for word in words if "." in word or word.endswith("/"))


@pytest.mark.slow
def test_the_python_runs_as_written(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(CODE, "docs/evaluation.md", "exec"), {})
    assert "psnr" in capsys.readouterr().out
