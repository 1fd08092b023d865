"""`deblur models` and `deblur models show`: all that a model declares, legible in 80 columns, from plain files."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from deblur_cli import Facts, Geometry, Model, Option, testing
from deblur_cli.host.manager import Host
from deblur_cli.testing.declaration import bytes_per_pixel

COLUMNS = 80
ROOT = Path(__file__).parents[1]
MODELS = Host.discover(environ={}).models


def lines_of(text: str) -> list[str]:
    """Its lines, none too long and none shortened."""
    lines = text.splitlines()
    assert [line for line in lines if len(line) > COLUMNS or "…" in line] == []
    return lines


def words(text: str) -> str:
    """The text without its line ends."""
    return " ".join(text.replace("\\\n", " ").split())


# Our own networks


@pytest.mark.parametrize("name", MODELS)
def test_the_page_of_each_network_says_everything_in_80_columns(run, name: str) -> None:
    model = MODELS[name]
    shown = run("models", "show", name)
    lines_of(shown.out)
    page = words(shown.out)
    for text in (name, model.summary, model.source, model.paper, f"{model.licence} (code)"):
        assert text
        assert text in page
    facts, geometry = model.facts, model.geometry_for({})
    assert f"parameters {facts.parameters:,} " in page
    assert f"cost {facts.kmacs_per_pixel:,.1f} thousand multiply-accumulates a pixel" in page
    assert f"memory {facts.bytes_per_pixel:,} MB a megapixel" in page
    assert ("the whole picture" if geometry.halo is None else f"up to {geometry.halo} px away") in page
    if geometry.frozen_halo is not None:
        assert f"tiling exact, by {geometry.frozen_halo} px around each tile, which is told" in page
    elif geometry.halo is None:
        assert "tiling approximate;" in page
    elif geometry.overlap is None:
        assert f"tiling exact, by {geometry.halo} px around each tile" in page
    else:
        assert f"tiling approximate, by {geometry.overlap} px around each tile; deblur verify-tiling" in page
    for key, option in model.options.items():
        shown = str(option.default).lower() if option.type is bool else option.default
        assert f"option {key} = {shown}" in page
        assert option.help in page
    for key, recipe in model.recipes.items():
        assert f"recipe {key}: {recipe.summary}" in page
    if not model.weights:
        assert f"weights none; train some: deblur train --data NAME -m {name} " in page
    assert f"deblur models show {name} --recipe {next(iter(model.recipes))} > mine.toml" in page


def test_as_json_each_network_says_what_it_declares(run) -> None:
    listed = {item["name"]: item for item in run("models", "--json").json()}
    assert set(listed) == set(MODELS)
    for name, item in listed.items():
        model = MODELS[name]
        assert item["paper"] == model.paper != ""
        assert item["bytes_per_pixel"] == model.facts.bytes_per_pixel is not None
        geometry = model.geometry_for({})
        is_exact = geometry.reach is not None and geometry.overlap is None
        assert item["tiling"] == ("exact" if is_exact else "approximate")
        assert set(item) >= {
            "plugin", "parameters", "macs_per_pixel", "multiple_of", "halo", "weights", "license", "recipes", "options"
        }  # fmt: skip


def test_weights_come_with_their_scores(run) -> None:
    (facts,) = run("models", "show", "rednet30", "--json").json()
    page = words(run("models", "show", "rednet30").out)
    assert [weights["tag"] for weights in facts["weights"]] == ["photo", "cifar10"]
    for weights, licence in zip(
        facts["weights"], ("CC BY 4.0", "free for research; credit the report"), strict=True
    ):
        with safe_open(ROOT / "weights" / weights["file"], framework="pt") as file:
            header = json.loads(file.metadata()["deblur"])
        assert weights["scores"] == header["scores"] != []
        assert weights["licence"] == header["licence"] == licence
        for score in header["scores"]:
            before, after = score["blurry"], score["restored"]
            pictures = f"{score['pictures']:,} picture{'s' if score['pictures'] > 1 else ''}"
            figures = f"PSNR {before['psnr']:.2f} -> {after['psnr']:.2f} dB, SSIM {before['ssim']:.4f} -> {after['ssim']:.4f}"
            assert f"{score['data']} {score['split']}, {pictures}: {figures}" in page


# The list


def test_the_list_has_every_name_in_full(run) -> None:
    rows = [line.split()[0] for line in lines_of(run("models").out)[1:]]
    assert rows == list(MODELS)
    assert max(map(len, rows)) == 31  # caessc_d22_f128_half_no_sigmoid


LONG = """
from deblur_cli import Facts, Geometry, Model, Weights, hookimpl

TAGS = ("photo", "cifar10", "gopro", "reds-jpeg")

@hookimpl
def deblur_models():
    return [
        Model(
            name="a" * 31, summary="a test", source="this test", network="long:Network", licence="MIT",
            geometry=Geometry(halo=None), facts=Facts(parameters=999_999_999, kmacs_per_pixel=12345.6),
            weights=tuple(Weights(tag=tag, file=f"{tag}.safetensors") for tag in TAGS),
        )
    ]

class Network:
    pass
"""


@pytest.fixture
def long_plugin(tmp_path: Path) -> dict[str, str]:
    """The environment that makes a model known whose row of the list is wider than any of ours."""
    (tmp_path / "long.py").write_text(LONG)
    for tag in ("photo", "cifar10", "gopro", "reds-jpeg"):
        (tmp_path / f"{tag}.safetensors").write_bytes(b"")
    return {"DEBLUR_PLUGINS": str(tmp_path / "long.py")}


def test_many_weights_of_a_long_name_take_more_lines(run, long_plugin: dict[str, str]) -> None:
    listed = lines_of(run("models", env=long_plugin).out)
    (start,) = (i for i, line in enumerate(listed) if line.startswith("a" * 31))
    row = " ".join(listed[start : start + 2])
    assert row.split() == ["a" * 31, "1000M", "12345.6", "1", "global", "photo,", "cifar10,", "gopro,", "reds-jpeg"]  # fmt: skip


def test_a_terminal_of_80_columns_shows_every_name_in_full() -> None:
    ours, theirs = pty.openpty()
    environ = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm"}
    with subprocess.Popen([sys.executable, "-m", "deblur_cli", "models"], stdout=theirs, env=environ):
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
    os.close(ours)
    lines = lines_of(re.sub(r"\x1b\[[\d;]*m|\r", "", shown.decode()))
    assert set(MODELS) <= {line.split()[0] for line in lines if line.split()}


# Other people's


STRANGE = """
from deblur_cli import Facts, Geometry, Model, Weights, hookimpl

GEOMETRIES = {
    "global-model": Geometry(halo=None, hint="make it smaller by depth=1"),
    "fixed-model": Geometry(halo=None, fixed_size=32, multiple_of=8),
    "wide-model": Geometry(halo=500, overlap=0, multiple_of=4),
}

@hookimpl
def deblur_models():
    for name, geometry in GEOMETRIES.items():
        yield Model(
            name=name, summary="a test", source="this test", network="strange:Network", licence="MIT", values="signed",
            geometry=geometry, facts=Facts(parameters=1, kmacs_per_pixel=1),
            weights=(Weights(tag="odd", file="odd.safetensors"),),
        )

class Network:
    pass
"""


@pytest.fixture(scope="module")
def strange_plugin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment that makes models of all geometries known, whose weights are `write_odd`'s."""
    path = tmp_path_factory.mktemp("strange") / "strange.py"
    path.write_text(STRANGE)
    return {"DEBLUR_PLUGINS": str(path)}


def write_odd(plugin: dict[str, str], stated: object) -> None:
    """A weights file that states this of itself."""
    path = Path(plugin["DEBLUR_PLUGINS"]).with_name("odd.safetensors")
    save_file({"x": torch.zeros(1)}, path, metadata={"deblur": json.dumps(stated)})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("global-model", "size any field the whole picture tiling approximate; deblur verify-tiling measures it; make it smaller by depth=1 values signed, [-1, 1]"),
        ("fixed-model", "size 32 x 32 px alone field the whole picture tiling approximate; deblur"),
        ("wide-model", "size any; filled up to multiples of 4 px field a result depends on pixels up to 500 px away tiling approximate, by 0 px around each tile; deblur"),
    ],
)  # fmt: skip
def test_the_page_tells_the_geometry(run, strange_plugin, name: str, says: str) -> None:
    write_odd(strange_plugin, {})
    page = run("models", "show", name, env=strange_plugin).out
    lines_of(page)
    assert says in words(page)
    assert "memory" not in page  # not stated
    assert "paper" not in page


GOOD = {"data": "set", "split": "val", "pictures": 1, "blurry": {"psnr": 20, "mse": None}, "restored": {"psnr": 30.0, "mse": 0.001}}  # fmt: skip


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ({"licence": "CC0", "scores": [GOOD]}, "odd.safetensors, CC0 scores, of the blurred -> of the restored pictures: set val, 1 picture: PSNR 20.00 -> 30.00 dB recipe"),
        ({"licence": "CC0", "scores": [7, {}, {**GOOD, "pictures": "many"}, {**GOOD, "blurry": 3}, {**GOOD, "restored": {"psnr": "x"}}, {**GOOD, "data": None}]}, "odd.safetensors, CC0 recipe"),
        ({"licence": 7, "scores": "none"}, "odd.safetensors, license not stated recipe"),
        ("no object", "odd.safetensors, license not stated recipe"),
    ],
    ids=["whole", "no score is complete", "wrong types", "no header"],
)  # fmt: skip
def test_what_a_header_does_not_say_is_not_shown(run, strange_plugin, stated, says) -> None:
    write_odd(strange_plugin, stated)
    shown = run("models", "show", "wide-model", env=strange_plugin)
    assert shown.code == 0
    assert says.removesuffix(" recipe") in words(shown.out) + " "
    assert ("scores" in shown.out) == ("scores" in says)


# Memory


class Two(nn.Module):
    """Convolutions 3 -> 8 -> 3, and what is alive at once: 4 (3 + 8 + 3) bytes a pixel."""

    def __init__(self, *, how: str) -> None:
        super().__init__()
        self.how = how
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        if self.how == "looks" and x.mean() > 2:  # what a tensor without values cannot answer
            return x
        return self.last(self.first(x))


class Half(Two):
    """Restores by 2 instead of 8 features where it is asked for its inference form."""

    def for_inference(self, dtype):
        return nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(2, 3, 3, padding=1)).to(dtype)


def model_of(network: type[nn.Module], *, declared: int | None, how: str = "plain", **geometry) -> Model:
    """A declaration that is true but for the memory, perhaps."""
    return Model(
        name="two", summary="a test", source="this test", network=f"{__name__}:{network.__name__}", licence="MIT",
        geometry=Geometry(halo=2, **geometry),
        facts=Facts(parameters=443, kmacs_per_pixel=0.432, bytes_per_pixel=declared),
        options={"how": Option(type=str, default=how, help="")},
    )  # fmt: skip


def test_memory_is_what_is_alive_at_once() -> None:
    assert bytes_per_pixel(model_of(Two, declared=None)) == 4 * (3 + 8 + 3)
    assert bytes_per_pixel(model_of(Two, declared=None, fixed_size=16)) == 4 * (3 + 8 + 3)


def test_memory_is_that_of_the_form_that_restores() -> None:
    assert bytes_per_pixel(model_of(Half, declared=None)) == 4 * (3 + 2 + 3)


def test_a_network_that_looks_at_values_is_measured_as_well() -> None:
    assert bytes_per_pixel(model_of(Two, declared=None, how="looks", fixed_size=64)) == 4 * (3 + 8 + 3)


@pytest.mark.parametrize("declared", [None, 54, 56, 58])
def test_the_kit_takes_memory_within_5_percent(declared: int | None) -> None:
    testing.facts_match_the_network(model_of(Two, declared=declared))


@pytest.mark.parametrize("declared", [0, 52, 60])
def test_the_kit_finds_a_wrong_memory(declared: int) -> None:
    with pytest.raises(testing.ConformanceError, match=f"bytes_per_pixel is {declared}, measured are 56"):
        testing.facts_match_the_network(model_of(Two, declared=declared))


def test_memory_without_values_is_that_of_real_tensors() -> None:
    """rednet30 runs in bands on a CPU; what is counted without values must do the same."""
    from deblur_cli.restore.memory import measure_peak

    network = MODELS["rednet30"].build({"depth": 2, "width": 8}).eval().for_inference(torch.float32)
    peaks = {
        device: measure_peak(
            lambda height, width, device=device: network.to(device)(
                torch.zeros(1, 3, height, width, device=device)
            ),
            512,
            512,
            device=torch.device(device),
        )
        for device in ("cpu", "meta")
    }
    assert peaks["meta"] == pytest.approx(peaks["cpu"], rel=0.02)
