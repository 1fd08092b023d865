"""docs/training.md does what it says, and its tables are those of the program."""

import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from deblur_cli.host.manager import Host
from deblur_cli.host.recipe_values import from_values
from deblur_cli.host.schedules import SCHEDULES
from deblur_cli.host.strategies import STRATEGIES

PAGE = (Path(__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
TINY = ("--set", "model.depth=2", "model.width=8", "batch_size=2", "patch=24")
FULL = ("--set", "batch_size=1", "patch=16")  # for released weights, which are of the full network


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def rows_below(title: str) -> set[str]:
    """What the first cells of the table below a heading name."""
    section = re.split(r"^#+ ", PAGE, flags=re.MULTILINE)
    (table,) = (part for part in section if part.startswith(f"{title}\n"))
    return {
        name
        for line in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(.*?)`", line)
    }


def test_the_tables_name_every_loss_schedule_and_strategy() -> None:
    assert rows_below("Losses") == {name for name in Host.discover(environ={}).losses if ":" not in name}
    assert rows_below("Schedules") == {kind.kind for kind in SCHEDULES}
    assert rows_below("Strategies") == {kind.kind for kind in STRATEGIES}


def test_the_page_is_short() -> None:
    assert len(PAGE.splitlines()) <= 200


@pytest.mark.slow
def test_every_command_works_as_written(run: Callable, tmp_path: Path, photo: np.ndarray) -> None:
    """But for tiny networks, crops and lengths."""
    (tmp_path / "photos").mkdir()
    for number in range(6):  # large enough for the margin of photo-mix
        sharp = data.coffee()[40 * number : 40 * number + 180, 60 * number : 60 * number + 180]
        Image.fromarray(sharp).save(tmp_path / "photos" / f"{number}.png")
    Image.fromarray(photo[:48, :64]).save(tmp_path / "photo.png")
    for block in blocks("sh"):
        for line in block.splitlines():
            words, _, target = line.partition(" > ")
            ran = run(*_made_small(shlex.split(words)[1:]), subprocess="--processes" in words)
            assert ran.code == 0, f"{line}\n{ran.err}"
            if target:
                (tmp_path / target).write_text(ran.out)
    assert (tmp_path / "photo.deblurred.png").is_file()
    assert (tmp_path / "weights/rednet30.mine.safetensors").is_file()
    left = {path.name for path in (tmp_path / "runs/first").iterdir()}
    named = {name.removesuffix("/") for name in rows_below("What a run folder holds")}
    assert left <= named
    assert named - left <= {"events", "curves.png"}  # these need extras

    (text,) = blocks("toml")
    recipe = from_values(tomllib.loads(text))
    (tmp_path / "wgan.toml").write_text(text)
    words = ("train", "--data", "pairs", "-m", "rednet30", "--recipe", "wgan.toml", "-o", "runs/wgan")
    ran = run(*words, "--steps", "1", "--device", "cpu", *TINY, "strategy.n_critic=1")
    assert ran.code == 0, ran.err
    assert recipe.strategy.kind == "wgan-gp"


def _made_small(words: list[str]) -> list[str]:
    """The words of a command, for a few steps of a tiny network."""
    if words[0] == "make-dataset":
        return [*words, "--pairs", "1", "--patch", "48"]
    if words[0] != "train":
        return words
    at = words.index("--minutes") if "--minutes" in words else len(words)
    lasts = words[at + 1 : at + 2]
    kept = [*words[:at], *words[at + 2 :]]
    if "--resume" in words:
        return [*kept, *(("--steps", "4") if lasts else ())]
    return [*kept, "--steps", "2", "--device", "cpu", *(FULL if "rednet30.photo" in words else TINY)]
