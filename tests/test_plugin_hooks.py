"""One plugin that implements every hook; each thing it brings is then used by the real command under its name."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deblur_cli.host import hookspecs

PLUGIN = '''
"""Brings one of everything."""
from deblur_cli import Dataset, Degradation, Facts, Geometry, Loss, Metric, Model, Recipe, hookimpl

@hookimpl
def deblur_models():
    recipe = Recipe(loss="halved", batch_size=1, patch=16, epochs=1)
    return [
        Model(
            name="gain", summary="multiplies by one number", source="this test", network="everything.code:Gain",
            geometry=Geometry(halo=0), facts=Facts(parameters=1, kmacs_per_pixel=0.003), licence="MIT",
            recipes={"plain": recipe},
        )
    ]

@hookimpl
def deblur_metrics():
    return [Metric(name="brightness", summary="mean of the restored", function="everything.code:brightness", higher_is_better=True)]

@hookimpl
def deblur_datasets():
    return [Dataset(name="flat", summary="two flat pairs", pairs="everything.code:pairs", layout="none", generated=True)]

@hookimpl
def deblur_degradations():
    return [
        Degradation(
            name="darken", summary="halves the light", apply="everything.code:darken", params="everything.code:Darken",
            bound=0,
        )
    ]

@hookimpl
def deblur_losses():
    return [Loss(name="halved", summary="half the mean squared error", function="everything.code:halved")]
'''
CODE = """
from dataclasses import dataclass
import numpy as np
import torch

class Gain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(1))
    def forward(self, x):
        return x * self.gain

def brightness(restored, sharp):
    return float(restored.mean())

class Flat:
    def __init__(self, value):
        self.name, self.value = f"flat{value}", value
    def size(self):
        return 24, 32
    def load(self):
        return np.full((24, 32, 3), self.value, np.uint8), np.full((24, 32, 3), 2 * self.value, np.uint8)

def pairs(root, split):
    return [Flat(51), Flat(102)]

@dataclass(frozen=True)
class Darken:
    pass

def darken(image, params, rng):
    return image * np.float32(0.5)

def halved(restored, sharp):
    return ((restored - sharp) ** 2).mean() / 2
"""


@pytest.fixture
def everything(tmp_path: Path) -> Mapping[str, str]:
    """The environment in which the plugin is known."""
    package = tmp_path / "site/everything"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PLUGIN)
    (package / "code.py").write_text(CODE)
    paths = os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")])
    return {"PYTHONPATH": paths, "DEBLUR_PLUGINS": "everything", "DEBLUR_STRICT": "1"}


def test_the_plugin_here_implements_every_hook() -> None:
    hooks = {name for name in vars(hookspecs) if name.startswith("deblur_")}
    assert all(f"def {hook}(" in PLUGIN for hook in hooks)


def test_what_a_plugin_brings_works_under_its_name_in_every_command(
    run: Callable[..., Any], everything: Mapping[str, str], tmp_path: Path, photo_file: Path
) -> None:
    trained = run(
        "train",
        "--data",
        "flat",
        "-m",
        "gain",
        "-o",
        tmp_path / "run",
        "--steps",
        "2",
        "--device",
        "cpu",
        env=everything,
    )
    assert trained.code == 0, trained.err

    measured = run(
        "eval",
        "-m",
        tmp_path / "run",
        "--data",
        "flat",
        "--metrics",
        "brightness",
        "--device",
        "cpu",
        "--json",
        env=everything,
    )
    assert measured.code == 0, measured.err
    assert "brightness" in measured.out

    sharp = tmp_path / "sharp"
    sharp.mkdir()
    photo_file.rename(sharp / "photo.png")
    spec = tmp_path / "dark.toml"
    spec.write_text('schema = 1\nname = "dark"\nseed = 0\n[[step]]\nop = "darken"\n')
    made = run("make-dataset", sharp, tmp_path / "pairs", "--spec", spec, env=everything)
    assert made.code == 0, made.err
    from PIL import Image

    (blurry,) = (tmp_path / "pairs").rglob("blur/*.png")
    with Image.open(blurry) as dark, Image.open(sharp / "photo.png") as light:
        assert np.mean(np.asarray(dark)) < np.mean(np.asarray(light))
