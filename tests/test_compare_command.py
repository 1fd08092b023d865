"""`deblur compare` as users type it."""

import base64
import io
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from skimage.metrics import peak_signal_noise_ratio

from deblur_cli.weights import read_header, read_tensors, write_weights


@pytest.fixture
def blurred_file(tmp_path: Path, photo: np.ndarray) -> Path:
    """The photograph, blurred, as blurred.png."""
    path = tmp_path / "blurred.png"
    Image.fromarray(photo).filter(ImageFilter.GaussianBlur(2)).save(path)
    return path


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_the_grid_is_written_beside_the_picture_with_scores_against_the_reference(
    run, identity, rednet_weights, blurred_file, photo_file
) -> None:
    words = (
        "compare",
        blurred_file,
        "-m",
        identity.weights["identity"],
        rednet_weights,
        "--reference",
        photo_file,
    )
    ran = run(*words, "--json", env=identity.env)
    assert ran.code == 0, ran.err
    (found,) = ran.json()
    expected = peak_signal_noise_ratio(read(photo_file) / 255, read(blurred_file) / 255, data_range=1)
    assert found["blurry"]["psnr"] == pytest.approx(expected, abs=1e-4)
    first, second = found["restored"]
    assert first["model"] == "identity (identity.safetensors)"
    assert first["scores"] == found["blurry"]
    assert second["scores"]["psnr"] != pytest.approx(expected, abs=1e-6)
    assert Path(found["output"]) == blurred_file.with_name("blurred.compare.png")
    assert len(found["regions"]) == 2
    grid = read(blurred_file.with_name("blurred.compare.png"))
    assert grid.shape[1] > 4 * 3 * 128  # four cells, the picture enlarged three times
    assert f"{expected:.2f}" in run(*words, "--overwrite", env=identity.env).out


def test_regions_given_are_those_shown(run, identity, blurred_file, tmp_path) -> None:
    ran = run(
        "compare", blurred_file, "-m", identity.weights["identity"], "--roi", "10,20,30,40", "50,8,16,16",
        "-o", tmp_path / "grid.png", "--json", env=identity.env,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    (found,) = ran.json()
    assert found["regions"] == [[10, 20, 30, 40], [50, 8, 16, 16]]
    assert found["blurry"] == {}
    grid = read(tmp_path / "grid.png")
    enlarged = read(blurred_file)[8:24, 50:66].repeat(11, axis=0).repeat(11, axis=1)  # (384 - 10) // 2 // 16
    inner = enlarged[2:-2, 2:-2]
    corners = np.argwhere((grid[: -inner.shape[0], : -inner.shape[1]] == inner[0, 0]).all(axis=-1))
    height, width = inner.shape[:2]
    assert (
        sum(np.array_equal(grid[y : y + height, x : x + width], inner) for y, x in corners) == 2
    )  # both cells


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--roi", "10,20,30"), "X,Y,W,H"),
        (("--roi", "10,20,a,9"), "X,Y,W,H"),
        (("--roi", "10,20,0,9"), "at least 1 pixel"),
        (("--roi", "120,0,64,64"), "does not lie inside the picture of 128x96"),
        (("-o", "blurred.png"), "blurred.png"),
        (("-o", "photo.png", "--reference", "photo.png"), "photo.png"),
    ],
)
def test_requests_that_make_no_sense_are_refused_and_no_input_is_touched(
    run, identity, blurred_file, photo_file, words, says
) -> None:
    before = blurred_file.read_bytes(), photo_file.read_bytes()
    ran = run(
        "compare", blurred_file, "-m", identity.weights["identity"], *words, "--overwrite", env=identity.env
    )
    assert ran.code == 2, ran.err
    assert says in ran.err
    assert (blurred_file.read_bytes(), photo_file.read_bytes()) == before


def test_an_existing_grid_is_kept_unless_told_otherwise(run, identity, blurred_file, tmp_path) -> None:
    grid = tmp_path / "grid.png"
    grid.write_bytes(b"mine")
    words = ("compare", blurred_file, "-m", identity.weights["identity"], "-o", grid)
    ran = run(*words, env=identity.env)
    assert ran.code == 2
    assert "--overwrite" in ran.err
    assert grid.read_bytes() == b"mine"
    assert run(*words, "--overwrite", env=identity.env).code == 0
    assert read(grid).shape[2] == 3


def test_a_reference_of_another_size_and_a_missing_picture_are_named(
    run, identity, blurred_file, tmp_path, photo
) -> None:
    small = tmp_path / "small.png"
    Image.fromarray(photo[:50]).save(small)
    words = ("-m", identity.weights["identity"])
    ran = run("compare", blurred_file, *words, "--reference", small, env=identity.env)
    assert ran.code == 1
    assert "128x96" in ran.err
    assert "128x50" in ran.err
    ran = run("compare", tmp_path / "absent.png", *words, env=identity.env)
    assert ran.code == 1
    assert "absent.png" in ran.err
    ran = run("compare", ".", *words, env=identity.env)
    assert ran.code == 1
    assert "cannot read .: " in ran.err
    assert not list(tmp_path.glob("*.compare.png"))


@pytest.mark.parametrize("words", [("compare", "photo.png"), ("verify-tiling", "photo.png"), ("eval",)])
def test_a_network_that_gives_no_numbers_is_said_to_be_broken(run, rednet_weights, photo_file, words) -> None:
    broken = photo_file.parent / "broken.safetensors"
    tensors = {name: value * float("nan") for name, value in read_tensors(rednet_weights).items()}
    write_weights(broken, tensors, read_header(rednet_weights))
    ran = run(*words, "-m", broken)
    assert ran.code == 1
    assert "that are not numbers" in ran.err
    assert "weights may be broken" in ran.err
    assert not list(photo_file.parent.glob("*.compare.png"))


def test_grey_16_bit_and_transparent_pictures_are_compared(run, identity, tmp_path) -> None:
    ramp = np.linspace(0, 65535, 40 * 50).reshape(40, 50).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "grey16.png")
    rgba = np.dstack([np.full((40, 50, 3), 90, np.uint8), np.full((40, 50), 128, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    for name in ("grey16", "rgba"):
        ran = run("compare", tmp_path / f"{name}.png", "-m", identity.weights["identity"], env=identity.env)
        assert ran.code == 0, ran.err
        assert (tmp_path / f"{name}.compare.png").is_file()


@pytest.fixture
def three(tmp_path: Path, photo: np.ndarray) -> Path:
    """A folder of three blurred pictures, a.png to c.png, more blurred from one to the next, and sharp/ beside them."""
    (tmp_path / "sharp").mkdir()
    for name, radius in (("a", 1), ("b", 2), ("c", 3)):
        Image.fromarray(photo).filter(ImageFilter.GaussianBlur(radius)).save(tmp_path / f"{name}.png")
        Image.fromarray(photo).save(tmp_path / "sharp" / f"{name}.png")
    return tmp_path


def facts_of(page: Path) -> dict:
    """What a page shows, as its script reads it."""
    text = page.read_text(encoding="utf-8")
    return json.loads(text.split('id="facts">')[1].split("</script>")[0])


def embedded_in(page: Path, picture: int, pane: int) -> np.ndarray:
    """A picture out of a page."""
    text = page.read_text(encoding="utf-8")
    uri = text.split(f'id="pixels-{picture}-{pane}">')[1].split("</script>")[0]
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as found:
        return np.asarray(found)


def test_several_pictures_are_one_page_with_what_gained_least_first(
    run, identity, rednet_weights, three
) -> None:
    words = (
        "compare", "a.png", "b.png", "c.png", "-m", identity.weights["identity"], rednet_weights,
        "--reference", "sharp", "-o", "page.html",
    )  # fmt: skip
    ran = run(*words, "--json", env=identity.env)
    assert ran.code == 0, ran.err
    lines = ran.json()
    assert [line["image"] for line in lines] == ["a.png", "b.png", "c.png"]
    assert {line["output"] for line in lines} == {"page.html"}
    for line in lines:
        expected = peak_signal_noise_ratio(read(three / "sharp/a.png"), read(three / line["image"]))
        assert line["blurry"]["psnr"] == pytest.approx(expected, abs=1e-4)
        assert line["embedded"] == {"width": 128, "height": 96, "kind": "PNG"}
    gains = {line["image"]: line["restored"][1]["scores"]["psnr"] - line["blurry"]["psnr"] for line in lines}
    gains = {name: min(0, gain) for name, gain in gains.items()}  # identity gains nothing
    page = three / "page.html"
    shown = [picture["title"].split(" ")[0] for picture in facts_of(page)["pictures"]]
    assert shown == sorted(shown, key=lambda name: gains[name])
    first = shown.index("a.png")
    assert np.array_equal(embedded_in(page, first, 0), read(three / "a.png"))
    assert np.array_equal(embedded_in(page, first, 3), read(three / "sharp/a.png"))
    assert not list(three.glob("*.compare.png"))
    before = page.read_bytes()
    assert run(*words, "--overwrite", env=identity.env).code == 0
    assert page.read_bytes() == before


def test_a_page_says_what_it_embeds_and_when_that_is_a_reduced_copy(run, identity, three) -> None:
    words = ("compare", "a.png", "-m", identity.weights["identity"], "-o", "page.html", "--overwrite")
    assert run(*words, env=identity.env).code == 0
    (note,) = facts_of(three / "page.html")["pictures"][0]["notes"]
    assert "PNG" in note["text"]
    assert "in full size, 128x96 px" in note["text"]
    assert run(*words, "--page-px", "64", env=identity.env).code == 0
    (note,) = facts_of(three / "page.html")["pictures"][0]["notes"]
    assert "reduced copies of 64x48 px, the pictures have 128x96 px" in note["text"]
    assert embedded_in(three / "page.html", 0, 0).shape == (48, 64, 3)


def test_a_picture_that_fails_is_named_and_counted_and_the_others_are_shown(run, identity, three) -> None:
    (three / "b.png").write_bytes(b"no picture")
    (three / "sharp" / "c.png").unlink()
    ran = run(
        "compare", "a.png", "b.png", "c.png", "-m", identity.weights["identity"], "--reference", "sharp",
        "-o", "page.html", "--json", env=identity.env,
    )  # fmt: skip
    assert ran.code == 1
    assert "b.png" in ran.err
    assert "c.png has no reference: there is no sharp/c.png" in ran.err
    assert "2 of 3 pictures failed" in ran.err
    assert ["error" in line for line in ran.json()] == [False, True, True]
    assert [picture["title"].split(" ")[0] for picture in facts_of(three / "page.html")["pictures"]] == [
        "a.png"
    ]
    assert "2 of 3 pictures failed and are not here" in (three / "page.html").read_text()
    ran = run(
        "compare", "a.png", "b.png", "-m", identity.weights["identity"], "-o", "sheets/", env=identity.env
    )
    assert ran.code == 1
    assert [path.name for path in (three / "sheets").iterdir()] == ["a.compare.png"]


def test_a_model_that_fails_leaves_the_others_and_is_named(run, identity, rednet_weights, three) -> None:
    broken = three / "broken.safetensors"
    tensors = {name: value * float("nan") for name, value in read_tensors(rednet_weights).items()}
    write_weights(broken, tensors, read_header(rednet_weights))
    ran = run("compare", "a.png", "-m", broken, identity.weights["identity"], "--json", env=identity.env)
    assert ran.code == 1
    assert "broken.safetensors" in ran.err
    (line,) = ran.json()
    assert [item["model"] for item in line["restored"]] == ["identity (identity.safetensors)"]
    assert list(line["failures"]) == ["rednet30 (broken.safetensors)"]
    assert (three / "a.compare.png").is_file()


def test_without_a_model_the_pictures_are_finished_results(run, three) -> None:
    ran = run("compare", "a.png", "b.png", "--reference", "sharp/a.png", "--blurred", "c.png", "--json")
    assert ran.code == 0, ran.err
    (line,) = ran.json()
    assert line["image"] == ["a.png", "b.png"]
    assert line["output"] == "a.compare.png"
    sharp = read(three / "sharp/a.png")
    for shown in line["restored"]:
        assert shown["scores"]["psnr"] == pytest.approx(
            peak_signal_noise_ratio(sharp, read(three / shown["model"])), abs=1e-4
        )
    assert line["blurry"]["psnr"] == pytest.approx(
        peak_signal_noise_ratio(sharp, read(three / "c.png")), abs=1e-4
    )
    ran = run("compare", "a.png", "b.png", "-o", "page.html", env={"DEBLUR_MODEL": "rednet30"})
    assert ran.code == 0, ran.err
    panes = [pane["label"] for pane in facts_of(three / "page.html")["pictures"][0]["panes"]]
    assert panes == ["a.png", "b.png"]


def test_finished_results_of_other_sizes_or_alone_are_refused(run, three, photo) -> None:
    Image.fromarray(photo[:50]).save(three / "small.png")
    ran = run("compare", "a.png", "small.png")
    assert ran.code == 1
    assert "a.png is 128x96, small.png 128x50" in ran.err
    ran = run("compare", "a.png")
    assert ran.code == 2
    assert "nothing to compare a.png with" in ran.err
    ran = run("compare", "a.png", "absent.png", "b.png")
    assert ran.code == 1  # but what can be read is compared
    assert "absent.png" in ran.err
    assert (three / "a.compare.png").is_file()


def test_a_result_of_another_size_than_the_reference_leaves_the_others(run, three, photo) -> None:
    Image.fromarray(photo[:50]).save(three / "small.png")
    ran = run("compare", "small.png", "b.png", "--reference", "sharp/b.png", "--json")
    assert ran.code == 1
    assert "small.png): it is 128x50, not 128x96" in ran.err
    (line,) = ran.json()
    assert [shown["model"] for shown in line["restored"]] == ["b.png"]
    assert (three / line["output"]).is_file()


def test_a_picture_named_twice_is_shown_once(run, identity, three) -> None:
    ran = run(
        "compare", "a.png", "b.png", "a.png", "-m", identity.weights["identity"], "--json", env=identity.env
    )
    assert ran.code == 0, ran.err
    assert [line["image"] for line in ran.json()] == ["a.png", "b.png"]


def test_where_nothing_can_be_written_no_network_runs(run, identity, three) -> None:
    words = "b.png", "absent.png", "-m", identity.weights["identity"]
    for output, says in (
        ("a.png/page.html", "a.png is a file"),
        ("a.png/x/page.html", "part of it is a file"),
    ):
        ran = run("compare", *words, "-o", output, env=identity.env)
        assert ran.code == 1
        assert says in ran.err
        assert "absent" not in ran.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-m", "identity", "a.png"), "-m takes all words that follow, and got the picture a.png"),
        (
            ("a.png", "--metrics", "psnr", "b.PNG"),
            "--metrics takes all words that follow, and got the picture b.PNG",
        ),
        (
            ("a.png", "--roi", "1,2,3,4", "b.jpg"),
            "--roi takes all words that follow, and got the picture b.jpg",
        ),
        (("--reference", "sharp/a.png", "a.png"), "or after --"),
        (("a.png", "--reference", "sharp/a.png", "b.png", "-m", "identity"), "2 references for 1 picture:"),
        (("a.png", "b.png", "-m", "identity", "-o", "one.png"), "-o one.html"),
        (("a.png", "sharp/a.png", "-m", "identity", "-o", "out/"), "have one name"),
        (("a.png", "-m", "identity", "-o", "page.txt"), "no picture format ends so; name it .png"),
        (("a.png", "-m", "identity", "-o", "-"), "a comparison is a file"),
        (("a.png", "a.png"), "nothing to compare a.png with"),
        (("a.png", "sharp/../a.png", "-m", "identity"), "have one name"),
        (("a.png", "-m", "identity", "--metrics", "ssim"), "--reference"),
        (("a.png", "-m", "identity", "--blurred", "b.png"), "--blurred is for finished results"),
        (("a.png", "-m", "identity", "--data", "sample"), "--data"),
        (("--data", "sample", "-m", "identity"), "-o page.html"),
        (("-m", "identity"), "no picture is named"),
        (("-m", "identity", "--reference", "sharp/a.png", "a.png"), "such as --reference, or after --"),
        (("a.png", "-m", "identity", "--limit", "2"), "--data"),
        (
            ("a.png", "-m", "identity", "--reference", "sharp", "-o", "sharp/a.png", "--overwrite"),
            "sharp/a.png",
        ),
        (("a.png", "b.png", "--reference", "c.png", "-o", "c.png", "--overwrite"), "c.png"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_what_cannot_be_meant_is_refused_before_any_work(run, identity, three, words, says) -> None:
    given = [identity.weights["identity"] if word == "identity" else word for word in words]
    before = sorted(three.rglob("*"))
    ran = run("compare", *given, env=identity.env)
    assert ran.code == 2, ran.err
    assert says in ran.err
    assert sorted(three.rglob("*")) == before


def test_pictures_after_two_dashes_are_pictures(run, identity, three) -> None:
    ran = run("compare", "-m", identity.weights["identity"], "--", "a.png", env=identity.env)
    assert ran.code == 0, ran.err
    assert (three / "a.compare.png").is_file()


def test_the_pairs_of_a_data_set_are_compared(run, identity, tmp_path) -> None:
    ran = run(
        "compare", "--data", "sample", "--limit", "2", "-m", identity.weights["identity"], "-o", "page.html", "--json",
        env=identity.env,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert len(ran.json()) == 2
    assert all(line["restored"][0]["scores"] == line["blurry"] for line in ran.json())
    page = (tmp_path / "page.html").read_text()
    assert "sample, split val, the first 2 of" in page
    words = ("--data", "sample", "--limit", "2", "-m", identity.weights["identity"], "--json")
    (measured,) = run("eval", *words, env=identity.env).json()
    assert f"sample#{measured['protocol']['hash']}" in page  # the scores are those of this protocol


def test_a_metric_without_reference_is_measured_where_there_is_none(run, identity, three) -> None:
    ran = run(
        "compare",
        "a.png",
        "-m",
        identity.weights["identity"],
        "--metrics",
        "blur",
        "--json",
        env=identity.env,
    )
    assert ran.code == 0, ran.err
    (line,) = ran.json()
    assert line["restored"][0]["scores"]["blur"] == pytest.approx(line["blurry"]["blur"])


def test_weights_of_one_file_name_are_both_shown(run, identity, three) -> None:
    weights = [three / folder / "same.safetensors" for folder in ("one", "other")]
    for path in weights:
        path.parent.mkdir()
        path.write_bytes(identity.weights["identity"].read_bytes())
    ran = run("compare", "a.png", "-m", *weights, "--json", env=identity.env)
    assert ran.code == 0, ran.err
    first, second = (item["model"] for item in ran.json()[0]["restored"])
    assert first == "identity (same.safetensors)"
    assert second == f"identity ({weights[1]})"


@pytest.mark.skipif(sys.platform != "linux", reason="names of other bytes than text")
def test_names_that_are_no_text_are_shown_escaped(run, identity, three) -> None:
    name = os.fsdecode(b"\xff<b>.png")
    (three / "a.png").rename(three / name)
    ran = run(
        "compare", three / name, "-m", identity.weights["identity"], "-o", "page.html", env=identity.env
    )
    assert ran.code == 0, ran.err
    assert facts_of(three / "page.html")["pictures"][0]["title"] == r"\xff<b>.png"
    pairs = three / os.fsdecode(b"pairs-\xff")
    for part in ("blur", "sharp"):
        (pairs / part).mkdir(parents=True)
        shutil.copy(three / "b.png", pairs / part / "1.png")
    words = ("compare", "--data", pairs, "-m", identity.weights["identity"], "-o", "page.html", "--overwrite")
    ran = run(*words, env=identity.env)
    assert ran.code == 0, ran.err
    assert r"pairs-\udcff" in (three / "page.html").read_text(encoding="utf-8")


def test_a_network_that_raises_fails_its_picture_alone(run, identity, three) -> None:
    ran = run(
        "compare", "a.png", "-m", identity.weights["failing"], identity.weights["identity"], "-o", "page.html",
        env=identity.env,
    )  # fmt: skip
    assert ran.code == 1
    assert "always fails" in ran.err
    panes = [pane["label"] for pane in facts_of(three / "page.html")["pictures"][0]["panes"]]
    assert panes == ["blurred", "identity (identity.safetensors)"]


def test_where_every_network_fails_each_says_why(run, identity, rednet_weights, three) -> None:
    tensors = {name: value * float("nan") for name, value in read_tensors(rednet_weights).items()}
    write_weights(three / "broken.safetensors", tensors, read_header(rednet_weights))
    ran = run(
        "compare", "a.png", "-m", identity.weights["failing"], "broken.safetensors", "-o", "page.html", env=identity.env
    )  # fmt: skip
    assert ran.code == 1
    assert "always fails" in ran.err
    assert "that are not numbers" in ran.err
    assert not (three / "page.html").exists()
