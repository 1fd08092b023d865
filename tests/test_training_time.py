"""What a network without weights says: how to train it, and about how long that takes here."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import deblur_cli
from deblur_cli import ConditionalGAN, Facts, Geometry, Model, Recipe, Strategy, WassersteinGP
from deblur_cli.errors import MissingError
from deblur_cli.weights import Source, load_network
from deblur_cli.weights.training_time import in_words, macs_per_second, training_macs, training_time

PLUGIN = """
from deblur_cli import Facts, Geometry, Model, Recipe, hookimpl

@hookimpl
def deblur_models():
    return [
        Model(
            name="blank", summary="returns its input", source="this test", network="torch.nn:Identity",
            geometry=Geometry(halo=0), facts=Facts(parameters=0, kmacs_per_pixel=5.0), licence="MIT",
            recipes={"quick": Recipe(epochs=3), "report": Recipe(epochs=100)},
        )
    ]
"""
TIME = (
    r"\(recipe quick, 3 epochs: about \d[\d,]* (min|h|days) on this [CG]PU for 100 pictures of 1280x720 px\)"
)
COMMAND = r"train it with: deblur train --data NAME -m blank " + TIME + ", or give --weights FILE"


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which there is a network without weights."""
    file = tmp_path_factory.mktemp("plugin") / "blank_plugin.py"
    file.write_text(PLUGIN)
    return {"DEBLUR_PLUGINS": str(file)}


@pytest.fixture
def two_threads() -> Iterator[None]:
    """PyTorch computes on two threads, as it was told."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


@pytest.fixture
def pair(tmp_path: Path) -> None:
    """Something to restore: a/blur/1.png, and a/sharp/1.png."""
    for part in ("blur", "sharp"):
        (tmp_path / "a" / part).mkdir(parents=True)
        Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save(tmp_path / "a" / part / "1.png")


@pytest.mark.parametrize(
    "words",
    [
        ["a/blur/1.png", "-m", "blank"],
        ["a/blur", "-m", "blank.v1", "-o", "out"],
        ["compare", "a/blur/1.png", "-m", "blank", "-o", "out.png"],
        ["eval", "-m", "blank", "--data", "a"],
        ["verify-tiling", "a/blur/1.png", "-m", "blank.v1"],  # blank alone is checked with random weights
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("pair")
def test_every_command_says_how_to_train_it_and_how_long_that_takes(run, blank, tmp_path, words) -> None:
    before = sorted(tmp_path.rglob("*"))
    ran = run(*words, env=blank)
    assert ran.code == 4, ran.err
    why = "has no weights 'v1'" if "blank.v1" in words else "has no weights yet"
    assert re.fullmatch(rf"deblur: model blank {why}; {COMMAND}\n", ran.err), ran.err
    assert ran.out == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("two_threads")
def test_so_does_the_python_interface(blank, monkeypatch) -> None:
    monkeypatch.setenv("DEBLUR_PLUGINS", blank["DEBLUR_PLUGINS"])
    before = torch.random.get_rng_state()
    with torch.inference_mode(), pytest.raises(MissingError, match=COMMAND):
        deblur_cli.load("blank")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_lists_of_models_say_that_there_are_no_weights(run, blank) -> None:
    row = next(line for line in run("models", env=blank).out.splitlines() if line.startswith("blank"))
    assert row.split()[-1] == "-"
    page = " ".join(run("models", "show", "blank", env=blank).out.split())
    assert "weights none; train some: deblur train --data NAME -m blank " in page


def model(recipe: Recipe | None, *, kmacs: float = 100.0) -> Model:
    """A model of which nothing but its figures is used."""
    return Model(
        name="blank",
        summary="returns its input",
        source="this test",
        network="torch.nn:Identity",
        geometry=Geometry(halo=0),
        facts=Facts(parameters=0, kmacs_per_pixel=kmacs),
        licence="MIT",
        recipes={"only": recipe} if recipe else {},
    )


def test_without_a_recipe_a_file_is_asked_for_and_no_time_is_said() -> None:
    with pytest.raises(MissingError) as caught:
        load_network(Source(model=model(None), options={}))
    assert str(caught.value) == (
        "model blank has no weights yet; "
        "train it with: deblur train --data NAME -m blank --recipe FILE.toml, or give --weights FILE"
    )


@pytest.mark.usefixtures("two_threads")
def test_a_device_that_fails_leaves_the_message_without_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*args: object, **keywords: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.functional, "conv2d", out_of_memory)
    with pytest.raises(MissingError, match=r"-m blank, or give --weights FILE$"):
        load_network(Source(model=model(Recipe()), options={}))


MEGAPIXELS = 100 * 1280 * 720 / 1e6  # in what is said to be trained on: 92.16


@pytest.mark.parametrize(
    ("recipe", "kmacs"),
    [
        (Recipe(epochs=10), 10 * 3 * 100),
        (Recipe(epochs=10, reuse=4, patch=32), 10 * 3 * 100),  # an epoch sees each pixel once all the same
        (Recipe(epochs=10, patch=96, crops_per_pair=2), 10 * 3 * 100 * 2 * 96**2 / (1280 * 720)),
        # An update of a critic: forward of the network, 3 passes each for both pictures, 6 of the penalty; of the
        # network: 3 of its own, and 2 through the critic, which does not learn from it. A critic: 50 kMAC a pixel.
        (Recipe(epochs=10, strategy=WassersteinGP(n_critic=1)), 10 * (3 * 100 + 2 * 50 + 100 + 12 * 50)),
        (Recipe(epochs=10, strategy=WassersteinGP(n_critic=5)), 10 * (3 * 100 + 2 * 50 + 5 * (100 + 12 * 50))),
        (
            Recipe(epochs=10, strategy=WassersteinGP(n_critic=5, critic_batches="fresh")),
            10 * (3 * 100 + 2 * 50 + 5 * (100 + 12 * 50)) / 6,  # each step takes six batches of the epoch
        ),
        (
            Recipe(epochs=10, strategy=WassersteinGP(n_critic=1, pretrain_epochs=4)),
            4 * 3 * 100 + 6 * (3 * 100 + 2 * 50 + 100 + 12 * 50),
        ),
        (Recipe(epochs=10, strategy=ConditionalGAN()), 10 * (3 * 100 + 2 * 50 + 100 + 6 * 50)),
    ],
)  # fmt: skip
def test_the_work_of_a_training(recipe: Recipe, kmacs: float) -> None:
    assert training_macs(recipe, kmacs_per_pixel=100) == pytest.approx(MEGAPIXELS * 1e6 * 1000 * kmacs)


def test_the_time_is_the_work_by_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deblur_cli.weights.training_time.macs_per_second", lambda device: 2e9)
    # 92.16 Mpx x 100 kMAC x 3 passes x 20 epochs / 2 GMAC/s = 276,480 s
    assert "recipe only, 20 epochs: about 3 days on this" in training_time(model(Recipe(epochs=20)))
    assert ": about 8 h on this" in training_time(model(Recipe(epochs=20), kmacs=10))  # 27,648 s
    assert "1 epoch: about 2 min on this" in training_time(model(Recipe(epochs=1), kmacs=1))  # 138 s


class Unknown(Strategy):
    """Of a plugin: what it adds to the work of the network is not known."""

    steps = "nowhere:Steps"


def test_of_an_unknown_strategy_only_the_least_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deblur_cli.weights.training_time.macs_per_second", lambda device: 2e9)
    assert ": at least 3 days on this" in training_time(model(Recipe(epochs=20, strategy=Unknown())))


def test_the_speed_of_this_machine_is_one_that_a_processor_may_have() -> None:
    assert 1e6 < macs_per_second(torch.device("cpu")) < 1e14


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "1 min"),
        (100, "2 min"),
        (89 * 60, "89 min"),
        (90 * 60, "2 h"),
        (9.4 * 3600, "9 h"),
        (35.4 * 3600, "35 h"),
        (36 * 3600, "2 days"),
        (12.4 * 86400, "12 days"),
        (123 * 86400, "120 days"),
        (4321 * 86400, "4,300 days"),
    ],
)
def test_times_are_said_as_roughly_as_they_are_known(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
