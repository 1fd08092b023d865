"""docs/plugins.md does what it says, and leaves out no hook, field, variable or check."""

import csv
import dataclasses
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur_cli import (
    Dataset,
    Degradation,
    EarlyStopping,
    Loss,
    Model,
    Optimizer,
    Recipe,
    Schedule,
    Strategy,
    Term,
    testing,
)
from deblur_cli.host import manager, sources
from deblur_cli.host.schedules import SCHEDULES
from deblur_cli.host.strategies import STRATEGIES

PAGE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def files() -> dict[str, str]:
    """The Python blocks by the path in their first line."""
    return {block.splitlines()[0].removeprefix("# "): block for block in blocks("python")}


def test_the_page_names_every_hook_field_variable_and_check() -> None:
    names = {
        *manager.KINDS,
        *(field.name for kind in (Model, Dataset, Degradation) for field in dataclasses.fields(kind)),
        *(check.__name__ for check in testing.CHECKS),
        *re.findall(
            r"DEBLUR_PLUGINS\w*|DEBLUR_STRICT",
            Path(manager.__file__).read_text() + Path(sources.__file__).read_text(),
        ),
    }
    assert {name for name in names if f"`{name}`" not in PAGE} == set()


@pytest.mark.parametrize(
    "kind",
    [Recipe, Term, Optimizer, EarlyStopping, *SCHEDULES, *STRATEGIES, Loss],
    ids=lambda kind: kind.__name__,
)
def test_the_page_names_every_field_of_a_recipe_with_its_default(kind: type) -> None:
    """`name` alone where there is no default, else `name=default`."""
    assert f"`{kind.__name__}`" in PAGE or kind in (EarlyStopping, Loss)
    if issubclass(kind, Schedule | Strategy):
        assert f"`{kind.kind}`" in PAGE
    for field in dataclasses.fields(kind):
        default = field.default if callable(field.default_factory) is False else field.default_factory()
        if kind is EarlyStopping:
            assert field.name in re.findall(r"`EarlyStopping\((.*?)\)`", PAGE)[0]
        elif default is dataclasses.MISSING:
            assert f"`{field.name}`" in PAGE
        else:
            assert f"`{field.name}={_shown(default)}`" in PAGE


def _shown(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}()"
    return "none" if value is None else repr(value)


@pytest.mark.slow
def test_a_model_in_ten_minutes_works_as_written(tmp_path: Path, photo: np.ndarray) -> None:
    (tmp_path / "sharp").mkdir()
    for i, side in enumerate((64, 80)):
        Image.fromarray(photo[:side, :side]).save(tmp_path / "sharp" / f"{i}.png")
    Image.fromarray(photo[:48, :64]).save(tmp_path / "photo.png")
    start, rest, adversarial = blocks("sh")
    network, declaration, metric, *strategy, loss = files()
    failing, passing = blocks("text")

    env = dict(os.environ)
    for line in start.splitlines():
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            env[name] = value
        else:
            listed = _deblur(line, cwd=tmp_path, env=env)
    assert "motion" in listed.stdout

    project = tmp_path / "deblur-motion"
    (project / network).write_text(files()[network])
    checked = _deblur("deblur plugins check deblur_motion", cwd=tmp_path, env=env, code=3)
    for said, promised in zip(checked.stdout.splitlines(), failing.splitlines(), strict=True):
        assert said.startswith(promised.removesuffix("..."))
    (project / declaration).write_text(files()[declaration])
    assert _deblur("deblur plugins check deblur_motion", cwd=tmp_path, env=env).stdout == passing

    for line in rest.splitlines():
        _deblur(line, cwd=tmp_path, env=env)
    assert (tmp_path / "photo.deblurred.png").is_file()

    for name in strategy:
        (project / name).write_text(files()[name])
    (recipe,) = blocks("toml")
    (tmp_path / recipe.splitlines()[0].removeprefix("# ")).write_text(recipe)
    _deblur(adversarial.strip(), cwd=tmp_path, env=env)
    logged = (tmp_path / "runs" / "adversarial" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train_charbonnier", "train_adversarial", "train_critic_sharp", "train_critic_restored"} <= set(
        logged
    )

    (tmp_path / metric).write_text(files()[metric])
    measured = _deblur(
        "deblur eval -m runs/motion --data pairs --metrics worst psnr",
        cwd=tmp_path,
        env={**env, "DEBLUR_PLUGINS": f"{env['DEBLUR_PLUGINS']},{metric}"},
    )
    assert "worst" in measured.stdout.lower()

    (tmp_path / loss).write_text(files()[loss])
    (line,) = re.findall(r"^    (deblur train .*loss\..*)$", PAGE, re.MULTILINE)
    _deblur(
        f"{line} patch=32 batch_size=2 --steps 2 -o runs/edges",
        cwd=tmp_path,
        env={**env, "DEBLUR_PLUGINS": f"{env['DEBLUR_PLUGINS']},{loss}"},
    )
    (row,) = csv.DictReader((tmp_path / "runs/edges/metrics.csv").read_text().splitlines())
    assert {"train_logcosh", "train_edges"} <= row.keys()


def _deblur(line: str, *, cwd: Path, env: dict[str, str], code: int = 0) -> subprocess.CompletedProcess[str]:
    words = shlex.split(line)
    assert words[0] == "deblur"
    done = subprocess.run(
        [sys.executable, "-m", "deblur_cli", *words[1:]],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done
