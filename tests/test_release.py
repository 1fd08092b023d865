"""A release: one weights file and its card, with scores that `deblur eval` finds again."""

import csv
import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from deblur_cli.host.inspection import released_path
from deblur_cli.host.manager import Host
from deblur_cli.weights import read_header, read_tensors, write_weights

METRICS = ("psnr", "ssim", "mse", "mae", "logcosh")
SMALL = ("model.depth=2", "model.width=8", "batch_size=2", "patch=24")


def _of_no_time(record: dict) -> dict:
    """What of a record is the same whenever and however fast it is made, whatever the weights are called."""
    times = (
        "model",
        "tag",
        "created",
        "seconds_per_picture",
        "seconds_end_to_end",
        "metric_seconds",
        "peak_memory_bytes",
    )
    return {name: value for name, value in record.items() if name not in times}


@pytest.fixture
def pairs_folder(tmp_path: Path, photo: np.ndarray) -> Path:
    """Two pairs: a photograph and its mirror image, blurred."""
    folder = tmp_path / "my-pairs"
    for name, sharp in (("a", photo), ("b", photo[:, ::-1])):
        blurry = np.rint(gaussian_filter(sharp.astype(float), (1.2, 1.2, 0))).astype(np.uint8)
        for kind, pixels in (("sharp", sharp), ("blur", blurry)):
            path = folder / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return folder


def test_a_release_holds_the_scores_that_eval_measures(
    pairs_folder: Path, rednet_weights: Path, run, tmp_path: Path
) -> None:
    words = ("--tag", "mine", "--licence", "CC0", "--credit", "me", "--limits", "two pictures", "-o", "out")
    done = run("release", rednet_weights, "--data", pairs_folder, *words, "--json")
    assert done.code == 0, done.err
    weights = tmp_path / "out" / "rednet30.mine.safetensors"
    header = read_header(weights)
    (score,) = header.scores
    assert run("eval", "--data", pairs_folder, "-m", weights, "--csv", "eval.csv").code == 0
    (row,) = csv.DictReader((tmp_path / "eval.csv").read_text().splitlines())
    assert score["pictures"] == 2
    assert score["protocol"] == row["protocol_hash"]
    for key, name in (("psnr_restored", "psnr"), ("ssim_restored", "ssim")):
        assert float(row[key]) == pytest.approx(score["restored"][name], abs=2e-4)
    assert (header.licence, header.credits, header.limits) == ("CC0", ("me",), "two pictures")


def test_a_release_is_measured_under_protocols(
    rednet_weights: Path, photo: np.ndarray, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "kodak").mkdir(parents=True)
    Image.fromarray(photo).save(tmp_path / "data" / "kodak" / "kodim07.png")
    monkeypatch.setenv("DEBLUR_DATA", str(tmp_path / "data"))
    names = ("kodak-gaussian", "kodak-identity")
    words = ("--tag", "mine", "--licence", "CC0", "-o", "out")
    done = run("release", rednet_weights, "--protocol", *names, "--record", "records", *words)
    assert done.code == 0, done.err
    weights = tmp_path / "out" / "rednet30.mine.safetensors"
    ran = run(
        "eval", "--protocol", *names, "-m", weights, "--json", "--dtype", "float32", "--metrics", *METRICS
    )
    scores = read_header(weights).scores
    assert [score["data"] for score in scores] == list(names)
    for score, found in zip(scores, ran.json(), strict=True):
        assert score["protocol"] == found["protocol"]["hash"]
        assert score["pairs_sha256"] == found["pairs_sha256"]
        assert score["restored"]["psnr"] == pytest.approx(found["restored"]["psnr"], abs=1e-6)
    kept = [json.loads(path.read_text()) for path in sorted((tmp_path / "records").iterdir())]
    assert [(record["model"], record["tag"]) for record in kept] == [("rednet30.mine", "mine")] * 2
    assert list(map(_of_no_time, kept)) == list(map(_of_no_time, ran.json()))
    card = weights.with_suffix(".md").read_text()
    assert f"| kodak-identity | test | 1 | identical → {scores[1]['restored']['psnr']:.2f} |" in card
    assert run("release", rednet_weights, "--protocol", "kodak-gausian", *words).code == 2


def test_the_card_says_what_the_header_says_and_no_path(
    pairs_folder: Path, rednet_weights: Path, run, tmp_path: Path
) -> None:
    done = run(
        "release", rednet_weights, "--data", pairs_folder, "--tag", "mine", "--licence", "CC0", "-o", "out"
    )
    assert done.code == 0, done.err
    card = (tmp_path / "out" / "rednet30.mine.md").read_text()
    header = read_header(tmp_path / "out" / "rednet30.mine.safetensors")
    assert f"{header.scores[0]['restored']['psnr']:.2f}" in card
    assert "| my-pairs | val | 2 |" in card
    assert "| licence of the weights | CC0 |" in card
    assert str(tmp_path) not in card
    assert str(tmp_path) not in str(header)


def test_a_release_of_nothing_is_refused(run, tmp_path: Path) -> None:
    done = run("release", "nothing", "--tag", "mine", "--data", "sample", "--licence", "CC0")
    assert done.code == 4, done.err
    assert "nothing" in done.err


@pytest.mark.parametrize("tag", ["../../x", "/", "", "a\nb"])
def test_a_tag_that_is_no_name_is_refused(pairs_folder: Path, rednet_weights: Path, run, tag: str) -> None:
    words = ("--data", pairs_folder, "--licence", "CC0", "-o", "out", "--tag", tag)
    done = run("release", rednet_weights, *words)
    assert done.code == 2, done.err
    assert "the tag is" in done.err
    assert not Path("out").exists()


def test_a_release_replaces_an_earlier_one_only_when_told_to(
    pairs_folder: Path, rednet_weights: Path, run, tmp_path: Path
) -> None:
    words = (
        "release",
        rednet_weights,
        "--data",
        pairs_folder,
        "--licence",
        "CC0",
        "-o",
        "out",
        "--tag",
        "v1.2",
    )
    assert run(*words).code == 0
    card = tmp_path / "out" / "rednet30.v1.2.md"
    card.write_text("mine")
    done = run(*words)
    assert done.code == 2
    assert "--overwrite" in done.err
    assert card.read_text() == "mine"
    assert run(*words, "--overwrite").code == 0
    assert "CC0" in card.read_text()


def test_weights_that_give_no_numbers_are_not_released(
    pairs_folder: Path, rednet_weights: Path, run, tmp_path: Path
) -> None:
    tensors = {name: value * float("nan") for name, value in read_tensors(rednet_weights).items()}
    write_weights(tmp_path / "broken.safetensors", tensors, read_header(rednet_weights))
    words = ("--data", pairs_folder, "--tag", "mine", "--licence", "CC0", "-o", "out")
    done = run("release", "broken.safetensors", *words)
    assert done.code == 1, done.err
    assert "weights may be broken" in done.err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def trained(pairs_folder: Path, run, tmp_path: Path) -> Path:
    """A run of one step with a loss of two parts, on one of the pairs; the other is held out."""
    words = ("-m", "rednet30", "--recipe", "report", "--steps", "1", "--device", "cpu", "-o", "mine")
    done = run("train", "--data", pairs_folder, *words, "--set", *SMALL, "loss.mae=0.5")
    assert done.code == 0, done.err
    return tmp_path / "mine"


def test_a_run_is_measured_on_what_it_held_out(trained: Path, run, tmp_path: Path) -> None:
    done = run("release", "mine", "--licence", "CC0", "-o", "out")
    assert done.code == 0, done.err
    header = read_header(tmp_path / "out" / "rednet30.my-pairs.safetensors")
    (score,) = header.scores
    assert (score["data"], score["split"], score["pictures"]) == ("my-pairs", "held out", 1)
    (row,) = csv.DictReader((trained / "metrics.csv").read_text().splitlines())
    assert score["restored"]["psnr"] == pytest.approx(float(row["psnr"]), abs=0.02)  # stored as float16
    assert score["blurry"]["psnr"] == pytest.approx(float(row["blurry_psnr"]), abs=1e-4)
    assert header.run == hashlib.sha256((trained / "run.json").read_bytes()).hexdigest()
    assert header.recipe == json.loads((trained / "run.json").read_text())["request"]["recipe"]


def test_the_recipe_of_a_card_trains_again(trained: Path, run, pairs_folder: Path, tmp_path: Path) -> None:
    assert run("release", "mine", "--licence", "CC0", "--tag", "a", "-o", "out").code == 0
    (recipe,) = re.findall(
        r"^```toml\n(.*?)^```$", (tmp_path / "out" / "rednet30.a.md").read_text(), re.MULTILINE | re.DOTALL
    )
    (tmp_path / "again.toml").write_text(recipe)
    words = ("train", "--data", pairs_folder, "-m", "rednet30", "--steps", "1", "--device", "cpu")
    done = run(*words, "--recipe", "again.toml", "-o", "again")
    assert done.code == 0, done.err
    first, second = (
        read_tensors(tmp_path / name / "last" / "weights.safetensors") for name in ("mine", "again")
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_card_names_the_spec_that_blurred(pairs_folder: Path, run, tmp_path: Path) -> None:
    sharp = tmp_path / "photos"
    shutil.copytree(pairs_folder / "sharp", sharp)
    words = ("--blur", "gaussian", "-m", "rednet30", "--steps", "1", "--device", "cpu", "-o", "mine")
    done = run("train", "--data", sharp, *words, "--set", *SMALL)
    assert done.code == 0, done.err
    assert run("release", "mine", "--licence", "CC0", "-o", "out").code == 0
    header = read_header(tmp_path / "out" / "rednet30.photos.safetensors")
    card = (tmp_path / "out" / "rednet30.photos.md").read_text()
    assert f"| pairs made by | gaussian `{header.specs['gaussian'][:12]}` |" in card
    assert "prepared by gaussian" in card
    assert header.specs == json.loads((tmp_path / "mine" / "run.json").read_text())["specs_sha256"]


def test_what_a_data_set_declares_need_not_be_typed(run, tmp_path: Path) -> None:
    words = ("train", "--data", "sample", "-m", "rednet30", "--steps", "1", "--device", "cpu", "-o", "mine")
    assert run(*words, "--set", *SMALL).code == 0
    done = run("release", "mine", "--limit", "1", "-o", "out")
    assert done.code == 0, done.err
    header = read_header(tmp_path / "out" / "rednet30.sample.safetensors")
    declared = Host.discover().datasets["sample"]
    assert (header.licence, header.credits) == (declared.licence, (declared.credit,))


def test_a_card_names_the_trainings_that_the_last_one_went_on_from(
    trained: Path, run, tmp_path: Path
) -> None:
    words = ("train", "--data", "sample", "-m", "rednet30", "--recipe", "report", "--device", "cpu")
    done = run(*words, "--init", "mine", "--steps", "2", "-o", "second", "--set", *SMALL, "batch_size=1")
    assert done.code == 0, done.err
    released = ("release", "second", "--data", "sample", "--limit", "1", "-o", "out")
    done = run(*released)
    assert done.code == 2  # the pairs of the first training have no licence that is known
    assert "common to what they were trained on, sample, my-pairs" in done.err
    assert run(*released, "--licence", "CC0").code == 0
    card = (tmp_path / "out" / "rednet30.sample.md").read_text()
    assert "| steps | 2, begun from weights of 1 |" in card
    run_sha256 = hashlib.sha256((trained / "run.json").read_bytes()).hexdigest()
    assert f"| my-pairs |  | 1 | `{run_sha256[:12]}` | `batch_size = 2`, `loss.mae = {{ " in card
    assert str(tmp_path) not in card
    assert str(tmp_path) not in str(read_header(tmp_path / "out" / "rednet30.sample.safetensors"))


def test_the_weights_that_a_training_began_from_pass_their_licence_and_credits_on(
    rednet_weights: Path, run, tmp_path: Path
) -> None:
    header = replace(read_header(rednet_weights), licence="Apache-2.0", credits=("A. Photographer",))
    write_weights(tmp_path / "theirs.safetensors", read_tensors(rednet_weights), header)
    words = ("train", "--data", "sample", "-m", "rednet30", "--steps", "1", "--device", "cpu", "-o", "mine")
    assert run(*words, "--init", "theirs.safetensors", "--set", *SMALL).code == 0
    done = run("release", "mine", "--limit", "1", "-o", "out")
    assert done.code == 2
    assert "trained on, sample, and what they began from" in done.err
    assert run("release", "mine", "--limit", "1", "--licence", "Apache-2.0", "-o", "out").code == 0
    declared = Host.discover().datasets["sample"]
    found = read_header(tmp_path / "out" / "rednet30.sample.safetensors")
    assert found.credits == ("A. Photographer", declared.credit)


def test_what_is_not_known_must_be_said(
    trained: Path, rednet_weights: Path, identity, run, tmp_path: Path
) -> None:
    for words, said in (
        (("mine",), "--licence"),
        ((rednet_weights, "--licence", "CC0"), "--tag"),
        ((rednet_weights, "--licence", "CC0", "--tag", "a"), "--data"),
        (("mine", "--licence", "CC0", "-m", "identity"), "of rednet30, not of identity"),
    ):
        done = run("release", *words, "-o", "out", env=identity.env)
        assert done.code == 2, done.err
        assert said in done.err
        assert not (tmp_path / "out").exists()


PHOTO_WEIGHTS = [
    (model, item)
    for model in Host.discover(environ={}).models.values()
    for item in model.weights
    if item.tag == "photo"
]


@pytest.mark.realdata
@pytest.mark.parametrize(("model", "item"), PHOTO_WEIGHTS, ids=lambda value: getattr(value, "name", ""))
def test_what_released_weights_for_photographs_say_of_themselves_is_measured_again(model, item, run) -> None:
    """And they are better than no restoration, on GoPro's frames and on these."""
    path = released_path(model, item)
    assert path is not None
    said = {(score["data"], score["split"]): score for score in read_header(path).scores}
    ran = run("eval", "-m", f"{model.name}.{item.tag}", "--data", "reds_x4", "--split", "val", "--json")
    assert ran.code == 0, ran.err
    (found,) = ran.json()
    for score in (found, said["gopro", "val"]):
        assert score["restored"]["psnr"] > score["blurry"]["psnr"] + 0.05
        assert score["restored"]["ssim"] > score["blurry"]["ssim"]
    if ("reds_x4", "val") in said:
        for name, value in found["restored"].items():
            assert value == pytest.approx(said["reds_x4", "val"]["restored"][name], abs=1e-4)
