"""docs/models.md and its drawings are what `make docs` would write now."""

import re
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from deblur_cli import Facts, Geometry, Model, Option
from deblur_cli.host.manager import Host

DOCS = Path(__file__).parents[1] / "docs"
MODELS = Host.discover(environ={}).models
MOST_BYTES = 100_000


@pytest.fixture(scope="module", autouse=True)
def docs_are_importable():
    """The scripts in docs/ import each other by name."""
    sys.path.insert(0, str(DOCS))
    yield
    sys.path.remove(str(DOCS))


@pytest.fixture
def generate() -> ModuleType:
    """docs/generate.py."""
    return import_module("generate")


@pytest.fixture
def drawing() -> ModuleType:
    """docs/drawing.py."""
    return import_module("drawing")


# The page


def test_the_page_is_what_make_docs_writes(generate) -> None:
    assert generate.PAGE.read_text(encoding="utf-8") == generate.page(), "docs/models.md is old: make docs"


def test_the_page_has_every_network_with_its_options_and_recipes(generate) -> None:
    text = generate.PAGE.read_text(encoding="utf-8")
    (head, *sections) = re.split(r"^### ", text, flags=re.MULTILINE)
    of = {section.splitlines()[0]: section for section in sections}
    assert set(of) == set(MODELS)
    for name, model in MODELS.items():
        assert (
            f"| [{name}](#{name}) | {model.facts.parameters:,} | {model.facts.kmacs_per_pixel:,.1f} |" in head
        )
        for said in (model.source, model.paper, *(option.help for option in model.options.values())):
            assert said in of[name]
        for key in (*model.options, *model.recipes):
            assert f"`{key}`" in of[name]
        assert f"](images/models/{name}.svg)" in of[name]


def test_links_of_the_page_lead_to_files(generate) -> None:
    links = re.findall(r"\]\(([^#)][^)]*)\)", generate.PAGE.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (DOCS / link).is_file()] == []


# The drawings


@pytest.mark.parametrize("name", MODELS)
def test_each_drawing_is_of_the_network_as_it_is(drawing, name: str) -> None:
    path = DOCS / "images" / "models" / f"{name}.svg"
    assert drawing.drawing_is_of(path, drawing.graph_text(MODELS[name])), f"{path.name} is old: make docs"
    assert path.stat().st_size < MOST_BYTES
    ElementTree.parse(path)


def test_no_drawing_is_left_over() -> None:
    assert {path.stem for path in (DOCS / "images" / "models").iterdir()} == set(MODELS)


class Skipping(nn.Module):
    """Two equal blocks at half the size between a strided and a transposed convolution, with a skip around them."""

    def __init__(self, *, blocks: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 5, stride=2, padding=2)
        self.blocks = nn.Sequential(*(Block() for _ in range(blocks)))
        self.up = nn.ConvTranspose2d(8, 3, 2, stride=2)

    def forward(self, x):
        y = torch.relu(self.down(x))
        return torch.sigmoid(self.up(y + self.blocks(y)).float())


class Block(nn.Module):
    """A 3x3 and a 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)

    def forward(self, x):
        return self.narrow(self.wide(x))


SKIPPING = Model(
    name="skipping", summary="a test", source="this test", network=f"{__name__}:Skipping", licence="MIT",
    geometry=Geometry(multiple_of=2, halo=5), facts=Facts(parameters=1, kmacs_per_pixel=1),
    options={"blocks": Option(type=int, default=2, help="")},
)  # fmt: skip


def test_a_drawing_shows_blocks_sizes_and_skips(drawing) -> None:
    text = drawing.graph_text(SKIPPING)
    labels = dict(re.findall(r'^ +(\d+) \[label="(.*?)"', text, re.MULTILINE))
    assert list(labels.values()) == [
        r"blurry\n3 × H × W",
        r"Conv2d 5×5, relu\n8 × H/2 × W/2",
        r"2 of Block 3×3, 1×1\n8 × H/2 × W/2",
        r"add\n8 × H/2 × W/2",
        r"ConvTranspose2d 2×2, sigmoid\n3 × H × W",
        r"restored\n3 × H × W",
    ]
    edges = {(int(a), int(b)) for a, b in re.findall(r"^ +(\d+) -> (\d+)$", text, re.MULTILINE)}
    assert edges == {(0, 1), (1, 2), (1, 3), (2, 3), (3, 4), (4, 5)}


def test_the_drawing_of_another_network_is_not_taken(drawing, tmp_path: Path) -> None:
    """One block more, and the drawing is old."""
    text = drawing.graph_text(SKIPPING)
    longer = drawing.graph_text(replace(SKIPPING, options={"blocks": Option(type=int, default=3, help="")}))
    assert "3 of Block" in longer
    path = tmp_path / "drawing.svg"
    assert not drawing.drawing_is_of(path, text)
    path.write_text("<svg/>\n" + drawing._signature(text))
    assert drawing.drawing_is_of(path, text)
    assert not drawing.drawing_is_of(path, longer)
