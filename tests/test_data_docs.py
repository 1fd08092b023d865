"""docs/data.md does what it says, and its tables are those of the program."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from deblur_cli.blur import DEGRADATIONS
from deblur_cli.blur.describe import describe_operation
from deblur_cli.blur.spec_file import parse_spec, preset_names, preset_summary, preset_text

PAGE = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
OPERATIONS = {item.name: item for item in DEGRADATIONS}


def test_the_tables_of_presets_and_operations_are_those_of_the_program() -> None:
    for name in preset_names():
        source = parse_spec(preset_text(name), OPERATIONS, file=name, folder=Path()).source
        assert f"| `{name}` | {source} | {preset_summary(name)} |" in PAGE
    for item in DEGRADATIONS:
        keys = ", ".join(f"`{row.key}`" for row in describe_operation(item)) or "–"
        assert f"| `{item.name}` | {keys} | {item.summary} |" in PAGE


def test_every_distribution_and_mixture_of_the_page_can_be_read() -> None:
    forms = [
        form
        for form in re.findall(r"`(\{ [^`]*\})`", PAGE)
        if "= [" in form and "size" not in form and "train" not in form
    ]
    assert len(forms) == 6
    for form in forms:
        text = f'schema = 1\nname = "a"\nseed = 1\nstep = [{{ op = "linear_motion", length = {form} }}]'
        assert parse_spec(text, OPERATIONS, file="page", folder=Path()).steps


def test_the_blur_of_ones_own_works_as_written(run, tmp_path: Path, photo: np.ndarray) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "sidestep.py").write_text(block)
    (tmp_path / "sharp").mkdir()
    Image.fromarray(photo).save(tmp_path / "sharp/one.png")
    spec = (
        'schema = 1\nname = "own"\nseed = 1\nborder = "crop-valid"\nstep = [{ op = "sidestep", step = 2 }]\n'
    )
    (tmp_path / "own.toml").write_text(spec)
    env = {"DEBLUR_PLUGINS": str(tmp_path / "sidestep.py"), "PYTHONPATH": str(tmp_path)}
    ran = run("make-dataset", "sharp", "out", "--spec", "own.toml", env=env, subprocess=True)
    assert ran.code == 0, ran.err
    assert run("make-dataset", "--verify", "out", env=env, subprocess=True).code == 0
    assert "from 0 to 64" in run("make-dataset", "--describe", "sidestep", env=env, subprocess=True).out
    blurry = np.asarray(Image.open(tmp_path / "out/blur/000000_00_0.png"))
    assert np.array_equal(blurry, np.roll(photo, 2, axis=1)[2:-2, 2:-2])
