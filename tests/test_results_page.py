"""`deblur results --page`: ours beside what reports print, the commands, and the page of this project, which must not go stale."""

import hashlib
import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evaluation_records import record
from PIL import Image

from deblur_cli.evaluation.protocols import PROTOCOLS
from deblur_cli.host.manager import Host
from deblur_cli.weights import read_header

ROOT = Path(__file__).parents[1]
MODELS = Host.discover(environ={}).models
REPORTED = {
    "scores": {"psnr": 29.32, "mse": 2.095e-3},
    "blurry": {"psnr": 24.67},
    "where": "A report, table 3",
    "note": "a remark",
}


def tables(page: str) -> dict[str, dict[str, list[str]]]:
    """By heading the rows of the table below it, by their first cell."""
    found: dict[str, dict[str, list[str]]] = {}
    heading = ""
    for line in page.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("| ") and not line.startswith("| ---"):
            first, *others = (cell.strip().replace("*", "") for cell in line.strip("|").split("|"))
            found.setdefault(heading, {})[first] = others
    return found


def commands(page: str) -> list[list[str]]:
    return [
        shlex.split(line)
        for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
        for line in block.splitlines()
    ]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a record of unet16 in `records` and its run, which went on from another one, in `runs`."""
    monkeypatch.chdir(tmp_path)
    options = dict(MODELS["unet16"].resolve_options({}))
    made = record(
        "unet16.cifar10", data="cifar10", protocol="cifar10-s0", options=options, steps=1500, reported=REPORTED,
        restored={"psnr": 31.5, "mse": 1.885e-3}, blurry={"psnr": 24.85, "mse": 6.3e-3},
    )  # fmt: skip
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "a.json").write_text(json.dumps(made))
    for place, seconds, init in (
        ("runs/unet16.cifar10", 90 * 60, "./first"),
        ("runs/unet16.cifar10/begun", 30 * 60, "unet16.photo"),
    ):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        environment = {"device": "cuda", "dtype": "bfloat16", "threads": 1, "processes": 2}
        command = ["deblur", "train", "-m", "unet16", "-o", f"{seconds} s"]
        about = {"command": command, "environment": environment, "run_is_of": {"init": init}}
        (folder / "run.json").write_text(json.dumps(about))
        (folder / "metrics.csv").write_text(f"step,seconds\n100,5\n1500,{seconds}\n")
    return tmp_path


def test_ours_stand_beside_the_report_and_what_is_not_measured_says_how(
    run: Callable[..., Any], kept: Path
) -> None:
    done = run("results", "records", "--runs", "runs", "--page", "page.md")
    assert done.code == 0, done.err
    page = (kept / "page.md").read_text()
    assert page.startswith("# Results")
    found = tables(page)
    measured = found["cifar10-s0#0a1b2c3d"]
    assert measured["network"] == ["PSNR dB", "pooled dB", "SSIM", "MSE", "MAE", "LOGCOSH", "steps", "minutes", "trained on"]  # fmt: skip
    assert measured["blurred input"][:2] == ["24.85 (24.67, +0.18)", "24.50"]
    assert measured["unet16.cifar10"] == [
        "31.50 (29.32, +2.18)", "26.75", "-", "0.001885 (0.002095, -0.000210)", "-", "-", "3,000", "120",
        "cuda, bfloat16, 2 threads; begun from unet16.photo",
    ]  # fmt: skip
    assert "unet16" not in measured, "what is measured is not open"
    assert measured["rednet30"][0] == "- (33.52)"
    assert "unet16.cifar10: A report, table 3; a remark" in page
    words = commands(page)
    assert words[:3] == [
        ["deblur", "train", "-m", "unet16", "-o", "1800 s"],
        ["deblur", "train", "-m", "unet16", "-o", "5400 s"],
        ["deblur", "eval", "--protocol", "cifar10-s0", "-m", "unet16.cifar10", "--dtype", "float32"],
    ]


def test_every_network_that_a_report_measured_is_on_the_page(run: Callable[..., Any], kept: Path) -> None:
    assert run("results", "records", "--page", "page.md").code == 0
    page = (kept / "page.md").read_text()
    found = tables(page)
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    reported = {item.protocol for model in MODELS.values() for item in model.reported}
    assert headings == [name for name in PROTOCOLS if name in reported]
    rows = {name for table in found.values() for name in table}
    assert {name for name, model in MODELS.items() if model.reported} - {"unet16"} <= rows
    assert "srndeblur_cifar (lstm dense)" in rows
    trained = [words for words in commands(page) if words[:2] == ["deblur", "train"]]
    measured = [words for words in commands(page) if words[:2] == ["deblur", "eval"]]
    for words in trained:
        model = MODELS[words[words.index("-m") + 1]]
        assert words[words.index("--recipe") + 1] in model.recipes
        changed = words[words.index("--set") + 1 :] if "--set" in words else []
        model.resolve_options(dict(word.removeprefix("model.").split("=") for word in changed))
    runs = [words[words.index("-o") + 1] for words in trained]
    assert {words[words.index("-m") + 1] for words in measured} == {*runs, "unet16.cifar10"}
    for name in runs:
        protocols = [words[words.index("--protocol") + 1] for words in measured if name in words]
        assert len(protocols) == len(set(protocols)), f"two networks would be trained into {name}"


def test_words_of_ones_own_are_kept(run: Callable[..., Any], kept: Path) -> None:
    page = kept / "page.md"
    page.write_text("# Mine\n\nBefore.\n")
    assert run("results", "records", "--page", page).code == 0
    first = page.read_text()
    assert first.startswith("# Mine\n\nBefore.\n\n<!--")
    page.write_text(first.replace("31.50", "99.99") + "\nAfter.\n")
    assert run("results", "records", "--page", page).code == 0
    assert page.read_text() == first + "\nAfter.\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--runs", "runs"), 2, "--runs is for --page"),
        (("--page", "page.md", "--runs", "nowhere"), 2, "nowhere"),
        (("--page", "records/a.json"), 2, "is one of the records"),
        (("--page", "page.md", "--markdown", "page.md"), 2, "two outputs"),
        (("--page", "broken.md"), 1, "broken.md"),
        (("--page", "cut.md"), 2, "--page cut.md: its mark"),
        (("--page", "-"), 2, "--page needs the name of a file"),
        (("--page", "page.md", "--runs", "bad"), 1, "bad/unet16.cifar10 are not those of a training"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    run: Callable[..., Any], kept: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    (kept / "broken.md").write_bytes(b"\xff\xfe\x00")
    (kept / "cut.md").write_text("<!-- deblur results -->\nMine.\n")
    shutil.copytree(kept / "runs", kept / "bad")
    (kept / "bad" / "unet16.cifar10" / "run.json").write_text("{}")
    done = run("results", "records", *words)
    assert done.code == code
    assert said in done.err
    assert not (kept / "page.md").exists()
    assert (kept / "cut.md").read_text().endswith("Mine.\n")


def test_the_page_of_this_project_is_what_its_records_say(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("weights/records/reports", "weights/runs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    text = (ROOT / "docs" / "results.md").read_text()
    (tmp_path / "docs").mkdir()
    stale = tmp_path / "docs" / "results.md"
    written = re.search(r"<!-- deblur results -->.*<!-- end of deblur results -->", text, re.DOTALL)
    assert written is not None
    stale.write_text(text.replace(written[0], re.sub(r"\d\d\.\d\d", "0.00", written[0])))
    assert stale.read_text() != text
    monkeypatch.chdir(tmp_path)
    words = re.search(r"Written by `deblur (.+?)`", text)
    assert words is not None
    done = run(*shlex.split(words[1]))
    assert done.code == 0, done.err
    assert stale.read_text() == text


def test_records_of_released_weights_are_of_the_weights_here() -> None:
    """And the runs on the page are those that the weights were made by, with those that they went on from."""
    kept = [
        json.loads(path.read_text()) for path in (ROOT / "weights" / "records" / "reports").glob("*.json")
    ]
    assert kept
    released = {f"{name}.{item.tag}": item.sha256 for name, model in MODELS.items() for item in model.weights}
    for item in kept:
        assert item["failed"] == 0
        assert item["weights_sha256"] == released[item["model"]]
        header = read_header(ROOT / "weights" / f"{item['model']}.safetensors")
        folder = ROOT / "weights" / "runs" / item["model"]
        for training in reversed(header.trainings()):
            assert training.run == hashlib.sha256((folder / "run.json").read_bytes()).hexdigest()
            folder /= "begun"


def test_each_network_has_its_picture_which_is_of_the_weights_here() -> None:
    text = (ROOT / "docs" / "results.md").read_text()
    for path in (ROOT / "weights" / "records" / "reports").glob("*.json"):
        item = json.loads(path.read_text())
        assert f"(images/results/{item['model']}.png)" in text
        with Image.open(ROOT / "docs" / "images" / "results" / f"{item['model']}.png") as picture:
            assert picture.info["weights"] == item["weights_sha256"]
