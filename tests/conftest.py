"""What several test files share: the command run for real, a plugin with an identity network, a tiny rednet30."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings

# One profile for all laws: the same examples every time, and no verdict on a machine's speed. `make soak` looks at
# twenty times as many, and at others each time.
settings.register_profile("deblur", deadline=None, derandomize=True, max_examples=50, print_blob=True)
settings.register_profile("soak", settings.get_profile("deblur"), derandomize=False, max_examples=1000)
settings.load_profile("soak" if os.environ.get("DEBLUR_SOAK") else "deblur")

if TYPE_CHECKING:
    from learning import Learnt

    from deblur_rednet.network import REDNet

IDENTITY_PLUGIN = '''
"""A network that returns its input: whatever comes out changed was changed by something else."""
from deblur_cli import Facts, Geometry, Model, hookimpl

@hookimpl
def deblur_models():
    return [
        Model(
            name=name, summary="returns its input", source="this test", network=f"identity_plugin.network:{network}",
            geometry=Geometry(halo=0), facts=Facts(parameters=1, kmacs_per_pixel=0.001), licence="MIT",
        )
        for name, network in (("identity", "Identity"), ("tinted", "Tinted"), ("slow", "Slow"), ("failing", "Failing"))
    ]
'''
IDENTITY_NETWORK = '''
import os
import time
import torch
from torch import nn

class Identity(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
    def forward(self, x):
        return x * self.gain

class Tinted(Identity):
    """Paints everything red: what a guard must notice."""
    def forward(self, x):
        return torch.cat([torch.ones_like(x[:, :1]), x[:, 1:] * 0], dim=1) * self.gain

class Slow(Identity):
    """Says that it has started by making the file that SLOW_STARTED names."""
    def forward(self, x):
        if "SLOW_STARTED" in os.environ:
            open(os.environ["SLOW_STARTED"], "w").close()
        time.sleep(0.2)
        return x * self.gain

class Failing(Identity):
    def forward(self, x):
        raise RuntimeError("this network always fails")
'''


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str
    raw: bytes  # stdout, as it came

    def json(self) -> list[Any]:
        """Its stdout as JSON Lines."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The identity plugin. env : makes it known; weights : by model name (identity, tinted, slow, failing)."""

    env: Mapping[str, str]
    weights: Mapping[str, Path]

    def args(self, model: str = "identity") -> list[str]:
        """The options that choose this network."""
        return ["-m", model, "--weights", str(self.weights[model])]


REQUIRED_MARKS = frozenset(os.environ.get("DEBLUR_REQUIRE_MARKS", "").replace(",", " ").split())
"""Marks whose tests may not be skipped: `.ci/run` names realdata where the data is there."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a test with a required mark into a failure."""
    report = yield
    missing = sorted(name for name in REQUIRED_MARKS if item.get_closest_marker(name))
    if report.skipped and not hasattr(report, "wasxfail") and missing:
        report.outcome = "failed"
        report.longrepr = (
            f"skipped, but DEBLUR_REQUIRE_MARKS wants {', '.join(missing)} to run: {report.longrepr}"
        )
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long forms unless `make soak` asks for them; the last line counts them as deselected."""
    if os.environ.get("DEBLUR_SOAK"):
        return
    long = [item for item in items if item.get_closest_marker("soak")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs real pictures where there are none."""
    if item.get_closest_marker("realdata") and not os.environ.get("DEBLUR_DATA"):
        pytest.skip("needs real pictures below DEBLUR_DATA")


@pytest.fixture(scope="session")
def session_dirs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Folders for caches, settings and reports, so that tests neither read nor leave anything at home."""
    home = tmp_path_factory.mktemp("home")
    return {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "STATE", "DATA")}


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, session_dirs: Mapping[str, str]) -> None:
    """No DEBLUR_* variable of the caller but the data root; no settings, cache or reports of the caller."""
    for name in [
        name
        for name in os.environ
        if name.startswith("DEBLUR_") and name not in ("DEBLUR_DATA", "DEBLUR_SOAK")
    ]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in session_dirs.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Ran]:
    """Run `deblur` with these words, in this process or, with subprocess=True, in one of its own."""

    def run(
        *words: object,
        stdin: bytes = b"",
        cwd: Path = tmp_path,
        env: Mapping[str, str] | None = None,
        subprocess: bool = False,
    ) -> Ran:
        words_ = [os.fspath(word) if isinstance(word, Path) else str(word) for word in words]
        runner = _run_apart if subprocess else _run_here
        with monkeypatch.context() as patch:
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            return runner(words_, stdin=stdin, cwd=cwd, patch=patch)

    return run


def _run_apart(words: list[str], *, stdin: bytes, cwd: Path, patch: pytest.MonkeyPatch) -> Ran:
    done = subprocess.run(
        [sys.executable, "-m", "deblur_cli", *words], input=stdin, cwd=cwd, capture_output=True, timeout=120
    )
    return Ran(
        code=done.returncode,
        out=done.stdout.decode(errors="replace"),
        err=done.stderr.decode(),
        raw=done.stdout,
    )


def _run_here(words: list[str], *, stdin: bytes, cwd: Path, patch: pytest.MonkeyPatch) -> Ran:
    from deblur_cli.cli.app import main

    streams = {
        name: io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
        for name, data in (("stdin", stdin), ("stdout", b""), ("stderr", b""))
    }
    for name, stream in streams.items():
        patch.setattr(sys, name, stream)
    patch.chdir(cwd)
    for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        if folder:
            patch.syspath_prepend(folder)
    code = main(words)
    raw, err = (_content(streams[name]) for name in ("stdout", "stderr"))
    return Ran(code=code, out=raw.decode(errors="replace"), err=err.decode(), raw=raw)


def _content(stream: io.TextIOWrapper) -> bytes:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue()


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A plugin whose networks return their input (identity), tint it, take their time (slow) or fail."""
    import torch

    from deblur_cli.weights import Header, write_weights

    folder = tmp_path_factory.mktemp("identity")
    package = folder / "identity_plugin"
    package.mkdir()
    (package / "__init__.py").write_text(IDENTITY_PLUGIN)
    (package / "network.py").write_text(IDENTITY_NETWORK)
    weights = {}
    for name in ("identity", "tinted", "slow", "failing"):
        weights[name] = folder / f"{name}.safetensors"
        write_weights(weights[name], {"gain": torch.ones(1)}, Header(model=name, licence="MIT"))
    return Identity(env={"PYTHONPATH": str(folder), "DEBLUR_PLUGINS": "identity_plugin"}, weights=weights)


@pytest.fixture(scope="session")
def rednet_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of rednet30's tiny variant (depth 2, width 8), random but for a faint output convolution."""
    import torch

    import deblur_rednet
    from deblur_cli.weights import Header, write_weights

    model = deblur_rednet.MODELS[0]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = model.build(model.tiny)
    with torch.no_grad():
        network.output.weight.mul_(0.02)  # a small change of the picture, as of a trained network
    path = tmp_path_factory.mktemp("rednet") / "tiny.safetensors"
    write_weights(
        path, network.state_dict(), Header(model=model.name, options=dict(model.tiny), licence="MIT")
    )
    return path


@pytest.fixture(scope="session")
def trained_like() -> "Callable[..., REDNet]":
    """Makes a REDNet, or one of `kind`, in eval mode: biases, scales of both signs, statistics of its own activations."""
    import torch
    from torch import nn

    from deblur_rednet.network import REDNet

    def trained_like(
        *,
        seed: int = 0,
        depth: int = 15,
        width: int = 64,
        kind: type[REDNet] = REDNet,
        activation: str = "elu",
    ) -> REDNet:
        rng = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = kind(depth=depth, width=width, activation=activation)
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, nn.Conv2d):
                    module.bias.normal_(0, 0.1, generator=rng)
                if isinstance(module, nn.BatchNorm2d):
                    module.weight.uniform_(0.5, 1.5, generator=rng)
                    module.weight[::7] *= -1
                    module.bias.normal_(0, 0.3, generator=rng)
                    module.momentum = None  # one pass sets the statistics to those of its batch
            network.output.weight.mul_(0.05)  # a small change of the picture, as of a trained network
            network.train()
            network(torch.rand(2, 3, 32, 32, generator=rng))
        return network.eval()

    return trained_like


@pytest.fixture(scope="session")
def some_of_cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with 2,000 pictures of CIFAR-10."""
    from learning import take_some_of_cifar10

    root = tmp_path_factory.mktemp("data")
    take_some_of_cifar10(root)
    return root


@pytest.fixture
def learn(some_of_cifar10: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Callable[..., Learnt]":
    """Train a network shortly on a part of CIFAR-10; tests/learning.py says how it is called."""
    from learning import train_shortly

    monkeypatch.setenv("DEBLUR_DATA", str(some_of_cifar10))
    return partial(train_shortly, folder=tmp_path)


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A photograph, (96, 128, 3) uint8."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[40:136, 160:288])


@pytest.fixture
def photo_file(tmp_path: Path, photo: np.ndarray) -> Path:
    """The photograph as photo.png in the test's folder."""
    from PIL import Image

    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    return path
