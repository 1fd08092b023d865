"""What `deblur plugins new NAME` writes: a small package that installs, passes its own tests and can be trained."""

import re
import shutil
import tempfile
from pathlib import Path
from string import Template

from deblur_cli.errors import UsageError
from deblur_cli.host.declarations import API

_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")

_PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[project]
name = "$distribution"
version = "0.1.0"
description = "The network $model for deblur-cli"
readme = "README.md"
requires-python = ">=3.11"
license = "MIT"
dependencies = ["deblur-cli", "torch>=2.6"]

[project.optional-dependencies]
dev = ["pytest>=8.3"]

[project.entry-points.deblur_cli]
$package = "$package"

[tool.hatch.build.targets.wheel]
packages = ["$package"]
"""

_INIT = '''\
"""$model: declared here, built in network.py. Importing this module must stay quick, so it imports no torch."""

from collections.abc import Iterable

from deblur_cli import Cosine, Facts, Geometry, Model, Option, Recipe, hookimpl

API = $api  # version of the plugin contract that this was written for

MODELS = (
    Model(
        name="$model",
        summary="three convolutions and a global residual",  # one line for `deblur models`
        source="written from scratch",  # paper, repository
        licence="MIT",
        network="$package.network:$network",
        geometry=Geometry(halo=3),  # one pixel for each convolution of 3x3
        facts=Facts(parameters=11_011, kmacs_per_pixel=10.9),
        options={"width": Option(type=int, default=32, help="features of each convolution")},
        recipes={"fast": Recipe(summary="Adam and a cosine", schedule=Cosine(), epochs=20, batch_size=8, patch=96)},
        tiny={"width": 4},  # for tests
    ),
)


@hookimpl
def deblur_models() -> Iterable[Model]:
    """Called when the program looks for models."""
    return MODELS
'''

_NETWORK = '''\
"""The network of $model. State the paper, the original repository, its licence and your deviations here."""

from torch import Tensor, nn


class $network(nn.Module):
    """R = B + f(B), f three convolutions: (B, 3, H, W) in [0, 1] to the same shape."""

    def __init__(self, *, width: int = 32) -> None:
        super().__init__()
        last = nn.Conv2d(width, 3, 3, padding=1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)  # training starts from the blurry picture itself
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), last
        )

    def forward(self, blurry: Tensor) -> Tensor:
        """Blurry -> restored. The residual is added in float32, whatever the precision of the convolutions."""
        residual: Tensor = self.body(blurry)
        return blurry.float() + residual.float()
'''

_TEST = '''\
"""The contract that every network must keep, and that the installed package is found."""

import pytest
from deblur_cli import models, testing

from $package import MODELS


@pytest.mark.parametrize("check", testing.CHECKS, ids=testing.name_of)
@pytest.mark.parametrize("model", MODELS, ids=testing.name_of)
def test_the_model_keeps_the_contract(model, check):
    check(model)


def test_the_installed_model_is_listed():
    assert "$model" in models()
'''

_README = """\
# $distribution

The network `$model`, a plugin for deblur-cli.

    pip install -e .                                     # next to deblur-cli
    deblur models                                        # $model is listed
    deblur plugins check $package{pad}# does the network keep the contract?
    pytest                                               # the same, as tests
    deblur train --data FOLDER -m $model -o runs/$model
    deblur photo.jpg -m runs/$model

`$package/__init__.py` declares the model, `$package/network.py` builds it. After changing the network run the check:
it says which declared figure (parameters, multiply-accumulates, halo) no longer holds, and what it is now.
"""

_IGNORE = "__pycache__/\n*.egg-info/\n.venv/\ndist/\nruns/\n"


def write_plugin(name: str, folder: Path) -> Path:
    """Write a plugin package with one small network.

    Parameters
    ----------
    name : of the model; the package is called deblur_NAME, the distribution deblur-NAME
    folder : where the new folder deblur-NAME goes; made if needed

    Returns
    -------
    the new folder

    Raises
    ------
    UsageError : the name is none, or the folder is there already
    """
    model = re.sub(r"^deblur[-_]", "", name)
    if not _NAME.fullmatch(model) or model == "cli":
        raise UsageError(
            f"{name!r} cannot name a plugin; take a-z and 0-9 in words joined by '-' or '_', such as motion or fast-blur"
        )
    distribution = "deblur-" + model.replace("_", "-")
    target = folder / distribution
    if target.exists():
        raise UsageError(f"{target} is there already; choose another name, or another folder with -o")
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{distribution}-", dir=folder))
    try:
        for path, text in _files(model, distribution).items():
            file = temporary / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        temporary.chmod(0o755)  # mkdtemp keeps others out
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return target


def _files(model: str, distribution: str) -> dict[str, str]:
    package = distribution.replace("-", "_")
    words = {
        "model": model,
        "distribution": distribution,
        "package": package,
        "network": "".join(word.capitalize() for word in re.split("[-_]", model)),
        "api": str(API),
    }
    texts = {
        "pyproject.toml": _PYPROJECT,
        "README.md": _README.replace("{pad}", " " * max(1, 32 - len(package))),
        ".gitignore": _IGNORE,
        f"{package}/__init__.py": _INIT,
        f"{package}/network.py": _NETWORK,
        f"{package}/py.typed": "",
        f"tests/test_{package}.py": _TEST,
    }
    return {path: Template(text).substitute(words) for path, text in texts.items()}
