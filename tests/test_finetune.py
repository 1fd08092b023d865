"""`deblur train --init`: training that starts from weights, be they released, a file or a run."""

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter

import deblur_rednet
from deblur_cli.host.manager import Host
from deblur_cli.weights import Header, load_network, read_header, resolve, write_weights

TINY = ("--set", "model.depth=2", "model.width=8", "batch_size=2", "patch=24")
STILL = ("optimizer.lr=1e-12", "freeze_norm_after=0")
"""A step that changes nothing that float32 can hold."""


@pytest.fixture(scope="session")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pieces of photographs and their Gaussian blur: two to train on, two to validate with."""
    from skimage import data

    folder = tmp_path_factory.mktemp("finetune") / "pairs"
    for number, picture in enumerate((data.astronaut(), data.coffee(), data.chelsea(), data.rocket())):
        sharp = picture[100:164, 150:230]
        blurry = np.rint(gaussian_filter(sharp.astype(float), (1.5, 1.5, 0))).astype(np.uint8)
        for kind, pixels in (("sharp", sharp), ("blur", blurry)):
            file = folder / ("train" if number < 2 else "val") / kind / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    return folder


@pytest.fixture
def train(run: Callable, pairs_folder: Path) -> Callable:
    """Run `deblur train` on the pairs, for one step unless told otherwise."""

    def train(*words: object, steps: int = 1):
        given = ("--data", pairs_folder, "--device", "cpu", "--dtype", "float32", "--steps", steps)
        return run("train", *given, "-m", "rednet30", *words)

    return train


def psnr_of(network: torch.nn.Module, folder: Path) -> float:
    """dB of the mean squared error over the pictures to validate with."""
    errors = []
    for file in sorted((folder / "val/blur").iterdir()):
        blurry, sharp = (
            np.asarray(Image.open(path), np.float32) / 255
            for path in (file, folder / "val/sharp" / file.name)
        )
        with torch.no_grad():
            restored = network(torch.from_numpy(blurry).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
        errors.append(np.mean((restored.clip(0, 1).astype(float) - sharp) ** 2))
    return float(10 * np.log10(1 / np.mean(errors)))


def psnr_after(folder: Path) -> float:
    """What the run's last validation found."""
    return float(list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))[-1]["psnr"])


@pytest.mark.slow
def test_fine_tuning_starts_where_the_released_weights_are(
    train: Callable, pairs_folder: Path, tmp_path: Path
) -> None:
    done = train("--init", "rednet30.photo", "-o", "mine", "--set", "batch_size=1", "patch=16", *STILL)
    assert done.code == 0, done.err
    released = load_network(resolve(Host.discover(), "rednet30.photo"))
    assert psnr_after(tmp_path / "mine") == pytest.approx(psnr_of(released, pairs_folder), abs=1e-3)


def test_a_run_and_a_file_can_be_started_from(train: Callable, tmp_path: Path) -> None:
    assert train("-o", "first", *TINY, steps=20).code == 0
    begun = load_file(tmp_path / "first/best/weights.safetensors")
    for number, init in enumerate(("first", "first/best/weights.safetensors")):
        done = train("--init", init, "-o", f"mine{number}", *TINY, *STILL)
        assert done.code == 0, done.err
        found = load_file(tmp_path / f"mine{number}/last/weights.safetensors")
        for name, value in begun.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-9)


def test_fine_tuning_goes_on_to_learn(train: Callable, tmp_path: Path) -> None:
    learning = (*TINY, "ema_decay=0", "schedule.warmup_steps=2")  # a cosine: both end where they are calm
    assert train("-o", "first", *learning, "optimizer.lr=3e-3", steps=30).code == 0
    done = train("--init", "first", "-o", "second", *learning, "optimizer.lr=3e-3", steps=90)
    assert done.code == 0, done.err
    assert psnr_after(tmp_path / "second") > psnr_after(tmp_path / "first")


def test_a_resumed_fine_tuning_does_not_begin_again(train: Callable, run: Callable, tmp_path: Path) -> None:
    even = ("schedule=constant", "freeze_norm_after=1")  # so that the end can move without another curve
    assert train("-o", "first", *TINY, steps=4).code == 0
    assert train("--init", "first", "-o", "whole", *TINY, *even, steps=9).code == 0
    assert train("--init", "first", "-o", "parts", *TINY, *even, steps=6).code == 0
    resumed = run("train", "--resume", "-o", "parts", "--steps", "9")
    assert resumed.code == 0, resumed.err
    whole, parts = (load_file(tmp_path / name / "last/state.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_weights_name_all_trainings_that_they_come_from(
    train: Callable, run: Callable, tmp_path: Path
) -> None:
    even = ("schedule=constant", "freeze_norm_after=1")
    assert train("-o", "first", *TINY, "loss.mae=1", steps=1).code == 0
    assert train("--init", "first", "-o", "second", *TINY, steps=2).code == 0
    assert train("--init", "second", "-o", "third", *TINY, *even, steps=3).code == 0
    first, second = (
        hashlib.sha256((tmp_path / name / "run.json").read_bytes()).hexdigest()
        for name in ("first", "second")
    )
    shutil.rmtree(tmp_path / "second")  # a resumed run begins from nothing but itself
    assert run("train", "--resume", "-o", "third", "--steps", "4").code == 0
    header = read_header(tmp_path / "third/last/weights.safetensors")
    assert [training.steps for training in header.trainings()] == [1, 2, 4]
    assert [training.run for training in header.earlier] == [first, second]
    assert ["mae" in training.recipe["loss"] for training in header.trainings()] == [True, False, False]
    record = json.loads((tmp_path / "third/run.json").read_text())
    (tmp_path / "third/run.json").write_text(json.dumps(record | {"earlier": [{"steps": "many"}]}))
    done = run("train", "--resume", "-o", "third", "--steps", "5")
    assert done.code == 2
    assert "run.json is damaged (it has no usable steps)" in done.err


@pytest.mark.parametrize(
    ("init", "code", "said"),
    [
        ("rednet30.photos", 4, "no weights 'photos'; it has: photo"),
        ("rednet31", 4, "did you mean rednet30"),
        ("nothing.safetensors", 4, "nothing.safetensors does not exist"),
        ("empty", 4, "empty is no run folder"),
        ("other.safetensors", 4, "there is no model 'unet'"),
        ("deeper.safetensors", 2, "which is said with --set model.depth=5 model.width=4"),
        ("old.pth", 2, "is a pickle"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_line_and_begin_no_run(
    train: Callable, tmp_path: Path, init: str, code: int, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "old.pth").write_bytes(b"")
    options = {"depth": 5, "width": 4}
    state = deblur_rednet.MODELS[0].build(options).state_dict()
    for name, model in (("other", "unet"), ("deeper", "rednet30")):
        header = Header(model=model, options=options, licence="MIT")
        write_weights(tmp_path / f"{name}.safetensors", state, header)
    done = train("--init", init, "-o", "mine", *TINY)
    assert done.code == code, done.err
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "mine").exists()


def test_weights_of_another_model_are_refused(identity, run: Callable, pairs_folder: Path) -> None:
    words = ("--data", pairs_folder, "-m", "rednet30", "--steps", "1", "--init", identity.weights["identity"])
    done = run("train", *words, env=identity.env)
    assert done.code == 2
    assert "holds weights of identity, not of rednet30" in done.err
