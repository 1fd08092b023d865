"""docs/compare.md does what it says."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import deblur_cli
from deblur_cli.evaluation.page.embedding import LONGEST_PX

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")
LINES = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("line", LINES)
def test_every_command_works_as_written(run, tmp_path: Path, photo: np.ndarray, line: str) -> None:
    small = Image.fromarray(photo[:48, :64])
    names = ["photo.jpg", "blurred.png", "sharp.png", "one.png", "other.png", "a.png", "b.png"]
    names += ["sharp/a.png", "sharp/b.png", "pairs/blur/1.png", "pairs/sharp/1.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        small.save(tmp_path / name)
    program, *words = shlex.split(line)
    assert program == "deblur"
    ran = run(*words)
    assert ran.code == 0, ran.err
    written = ran.out.splitlines()[-1]
    assert (tmp_path / written).is_file()
    assert written == (words[words.index("-o") + 1] if "-o" in words else "blurred.compare.png")


def test_the_table_of_keys_is_that_of_the_page() -> None:
    template = (Path(deblur_cli.__file__).parent / "evaluation/page/page.html").read_text(encoding="utf-8")
    keys = [re.findall(r"<kbd>(.*?)</kbd>", term) for term in re.findall(r"<dt>(.*?)</dt>", template)]
    keys = [[re.sub(r"&#(\d+);", lambda code: chr(int(code[1])), key) for key in row] for row in keys]
    table = [re.findall(r"`(.*?)`", cell) for cell in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)]
    assert table == keys


def test_the_limit_that_it_names_is_the_one_that_holds() -> None:
    assert f"more than {LONGEST_PX} px" in PAGE
