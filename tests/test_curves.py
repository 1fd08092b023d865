"""`deblur curves`: what is drawn is what metrics.csv says, and what cannot be drawn is said in one line."""

import csv
import json
import math
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur_cli.training.recording.metrics_file import read_metrics
from deblur_cli.training.showing import plots
from deblur_cli.training.showing.plots import LiveCurves, Run, draw_curves

BASE = ("step", "epoch", "seconds", "lr", "train_loss", "val_loss", "psnr", "ssim", "blurry_psnr", "blurry_ssim")  # fmt: skip
BLUE, VERMILION, GREEN = "#0072b2", "#d55e00", "#009e73"


def make_rows(count: int, *, seed: int = 0) -> list[dict[str, float]]:
    """A run of so many validations, every 50 steps and 12 s."""
    rng = np.random.default_rng(seed)
    columns = {
        "step": 50 * np.arange(1, count + 1),
        "epoch": np.arange(1, count + 1),
        "seconds": 12.0 * np.arange(1, count + 1),
        "lr": np.geomspace(1e-3, 5e-4, count),
        "train_loss": rng.uniform(0.02, 0.1, count),
        "val_loss": rng.uniform(0.02, 0.1, count),
        "psnr": rng.uniform(24, 30, count),
        "ssim": rng.uniform(0.7, 0.9, count),
        "blurry_psnr": np.full(count, 25.5),
        "blurry_ssim": np.full(count, 0.75),
    }
    return [{name: float(columns[name][at]) for name in BASE} for at in range(count)]


def make_run(
    folder: Path, rows: Sequence[Mapping[str, float]], *, record: Mapping[str, object] | None = None
) -> Path:
    """A run folder with these rows in its metrics.csv."""
    folder.mkdir(parents=True)
    names = list(dict.fromkeys(name for row in rows for name in row)) or list(BASE)
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    if record is not None:
        (folder / "run.json").write_text(json.dumps(record))
    return folder


def lines_of(svg: str, *, colour: str, count: int) -> list[np.ndarray]:
    """The curves of a colour with so many points, (count, 2) px from the top left corner, in the order drawn."""
    found = []
    for path, style in re.findall(r'<path d="([^"]*)"[^>]*style="([^"]*)"', svg):
        points = re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", path)
        if f"stroke: {colour}" in style and len(points) == count:
            found.append(np.array(points, float))
    return found


def assert_drawn(curve: np.ndarray, x: Sequence[float], y: Sequence[float]) -> None:
    """All points lie where these values belong, whatever the scale of the axes."""
    for drawn, values, direction in ((curve[:, 0], x, 1), (curve[:, 1], y, -1)):
        slope, offset = np.polyfit(values, drawn, 1)
        assert direction * slope > 0
        np.testing.assert_allclose(np.polyval((slope, offset), values), drawn, atol=0.01)


@pytest.mark.parametrize(("by", "unit"), [("epoch", 1), ("step", 1), ("seconds", 60)])
def test_the_curves_show_what_metrics_csv_says(run, tmp_path: Path, by: str, unit: int) -> None:
    rows = make_rows(8)
    make_run(tmp_path / "first", rows)
    done = run(
        "curves", "first", "-o", "out.svg", "--by", "minutes" if by == "seconds" else by, subprocess=False
    )
    assert done.code == 0, done.err
    svg = (tmp_path / "out.svg").read_text()
    x = [row[by] / unit for row in rows]
    drawn = lines_of(svg, colour=VERMILION, count=8)
    assert len(drawn) == 3
    for curve, name in zip(drawn, ("val_loss", "psnr", "ssim"), strict=True):
        assert_drawn(curve, x, [row[name] for row in rows])
    training, rate = lines_of(svg, colour=BLUE, count=8)
    assert_drawn(training, x, [row["train_loss"] for row in rows])
    assert_drawn(rate, x, [row["lr"] for row in rows])
    best = min(rows, key=lambda row: row["val_loss"])
    assert f"<!-- best: epoch {best['epoch']:g} -->" in svg
    marked = lines_of(svg, colour="#6a6a6a", count=2)  # grey: the best epoch, and the score of the blurred
    at = [line for line in marked if line[0, 0] == line[1, 0]]
    assert len(at) == 3
    index = rows.index(best)
    for line in at:
        assert any(abs(curve[index, 0] - line[0, 0]) < 0.01 for curve in drawn)


def test_several_runs_have_a_colour_and_a_name_each(run, tmp_path: Path) -> None:
    for seed, name in enumerate(("here/fast", "there/fast", "_plain$x$")):
        make_run(tmp_path / name, make_rows(5 + seed, seed=seed))
    done = run("curves", "here/fast", "there/fast", "_plain$x$", "here/fast/../fast/", "-o", "c.svg")
    assert done.code == 0, done.err
    svg = (tmp_path / "c.svg").read_text()
    for count, colour in ((5, BLUE), (6, VERMILION), (7, GREEN)):
        assert len(lines_of(svg, colour=colour, count=count)) == 5  # two losses, PSNR, SSIM, rate
    for name in ("here/fast", "there/fast", "_plain$x$"):
        assert f"<!--  {name} -->" in svg
    assert [line.split()[0] for line in done.out.splitlines()[1:4]] == [
        "here/fast",
        "there/fast",
        "_plain$x$",
    ]


def test_components_of_a_loss_may_begin_later(tmp_path: Path) -> None:
    rows = make_rows(6)
    for row in rows[2:]:
        row |= {"train_mse": 0.01 * row["step"], "train_critic": -30.0 * row["psnr"]}
    folder = make_run(tmp_path / "gan", rows)
    read = read_metrics(folder)
    assert read == rows  # an empty cell is no value
    draw_curves([Run(name="gan", rows=read)], tmp_path / "c.svg", format="svg")
    svg = (tmp_path / "c.svg").read_text()
    assert "<!-- mse -->" in svg
    assert "<!-- critic -->" in svg
    assert len(lines_of(svg, colour=BLUE, count=4)) == 1


@pytest.mark.parametrize("count", [1, 300])
def test_short_and_long_runs_and_infinite_scores_are_drawn(tmp_path: Path, count: int) -> None:
    rows = make_rows(count)
    rows[0] |= {"psnr": math.inf, "blurry_psnr": math.inf, "val_loss": math.nan}
    draw_curves([Run(name="x" * 300, rows=rows, about="字 " * 300)] * 9, tmp_path / "many.png")
    draw_curves([Run(name="x" * 300, rows=rows, about="字 " * 300)], tmp_path / "one.png")
    for name in ("many", "one"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.width == 1200
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50


def boxes_of(svg: str, group: str) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of the frame of each group whose id begins so, px."""
    found = []
    for path in re.findall(rf'<g id="{group}_\d+">\s*<g id="patch_\d+">\s*<path d="([^"]*)"', svg):
        points = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", path), float)
        found.append((*points.min(0), *points.max(0)))
    return found


@pytest.mark.parametrize(("count", "components"), [(1, False), (1, True), (3, False), (9, False)])
def test_no_legend_hides_a_curve(tmp_path: Path, count: int, components: bool) -> None:
    rows = make_rows(9)
    if components:
        rows = [row | {"train_mse": 0.01, "train_critic": -3.0} for row in rows]
    names = [f"run {number}" + " of a name that is too long" * (number % 3) for number in range(count)]
    runs = [Run(name=name, rows=rows) for name in names]
    draw_curves(runs, tmp_path / "c.svg", format="svg")
    svg = (tmp_path / "c.svg").read_text()
    panels, legends = boxes_of(svg, "axes"), boxes_of(svg, "legend")
    assert len(panels) == (5 if components else 4)
    assert len(legends) == {(1, False): 1, (1, True): 2}.get((count, components), 3)
    width, height = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0])
    for left, top, right, bottom in legends:
        assert left >= 0
        assert top >= 0
        assert right <= width
        assert bottom <= height
        for panel in panels:
            apart = right < panel[0] + 1 or left > panel[2] - 1 or bottom < panel[1] + 1 or top > panel[3] - 1
            assert apart, (left, top, right, bottom, panel)


def test_a_picture_depends_on_the_values_alone(tmp_path: Path) -> None:
    for format in ("svg", "pdf"):
        for name in ("a", "b"):
            draw_curves([Run(name="run", rows=make_rows(4))], tmp_path / name, format=format)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_curves_import_neither_torch_nor_pyplot(tmp_path: Path) -> None:
    make_run(tmp_path / "first", make_rows(3))
    code = (
        "import sys\nfrom deblur_cli.cli.app import main\nassert main(['curves', 'first']) == 0\n"
        "heavy = {'torch', 'matplotlib.pyplot', 'cv2', 'skimage'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (tmp_path / "curves.png").is_file()


def test_the_users_own_settings_of_matplotlib_do_not_matter(tmp_path: Path) -> None:
    make_run(tmp_path / "first", make_rows(3))
    (tmp_path / "matplotlibrc").write_text("savefig.dpi: 10\nlines.linewidth: 9\naxes.facecolor: red\n")
    words = [sys.executable, "-m", "deblur_cli", "curves", "first", "-o", "theirs.png"]
    assert subprocess.run(words, cwd=tmp_path).returncode == 0  # it reads the file of the folder it runs in
    draw_curves([Run(name="first", rows=make_rows(3))], tmp_path / "ours.png")
    assert (tmp_path / "theirs.png").read_bytes() == (tmp_path / "ours.png").read_bytes()


def test_json_tells_the_last_and_the_best_validation(run, tmp_path: Path) -> None:
    rows = make_rows(5)
    rows[-1]["psnr"] = math.inf
    make_run(tmp_path / "first", rows)
    done = run("curves", "first", "--json")
    (told,) = done.json()
    assert told["output"] == "curves.png"
    (described,) = told["runs"]
    assert described["validations"] == 5
    assert described["last"] == rows[-1] | {"psnr": None}
    assert described["best"] == min(rows, key=lambda row: row["val_loss"])


def test_the_caption_says_what_was_trained_on_what(tmp_path: Path, run) -> None:
    request = {"model": "tiny", "data": ["/far/away/set"], "preparation": {"blur": "mix"}, "recipe_name": "fast"}  # fmt: skip
    make_run(tmp_path / "first", make_rows(2), record={"request": request, "val_pairs": 7})
    assert run("curves", "first", "-o", "c.svg").code == 0
    caption = "tiny on set by mix, recipe fast, 7 validation pictures (centre crops); 100 steps, 0.4 min; best: epoch"  # fmt: skip
    assert caption in (tmp_path / "c.svg").read_text()


def test_a_long_caption_stays_within_the_picture(tmp_path: Path, run) -> None:
    data = [f"/far/SET{number}" for number in range(80)]
    request = {"model": "tiny", "data": data, "preparation": {}, "recipe_name": "fast"}
    make_run(tmp_path / "first", make_rows(2), record={"request": request, "val_pairs": 7})
    assert run("curves", "first", "-o", "c.png").code == 0
    with Image.open(tmp_path / "c.png") as picture:
        foot = np.asarray(picture.convert("L"))[-60:]
    assert (foot[:, 20:-20] < 200).any()
    assert (foot[:, -6:] == 255).all()


HEADER = ",".join(BASE)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere"], 4, "nowhere holds no run"),
        (["begun"], 4, "begun was not validated yet"),
        (["empty"], 4, "empty was not validated yet"),
        (["short"], 2, "line 3"),
        (["words"], 2, "line 2: could not convert string to float: 'many'"),
        (["other"], 2, "no column"),
        (["gaps"], 2, "line 2 has no val_loss"),
        (["bytes"], 2, "metrics.csv is damaged"),
        (["good", "nowhere"], 4, "nowhere"),
        (["good", "--by", "weeks"], 2, "epoch, step, minutes"),
        (["good", "-o", "c.gif"], 2, ".png or .svg or .pdf"),
        (["good", "-o", "there.png"], 2, "--overwrite"),
        (["good", "-o", "no/where.png"], 1, "its folder does not exist"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(
    run, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    contents = {
        "empty": HEADER + "\n",
        "short": HEADER + "\n" + ",".join("1" * 10) + "\n1,2\n",
        "words": HEADER + "\n" + ",".join(["many", *"1" * 9]) + "\n",
        "other": "a,b\n1,2\n",
        "gaps": HEADER + "\n1,1,1,1,1,,1,1,1,1\n",
        "good": HEADER + "\n" + ",".join("1" * 10) + "\n",
    }
    for name, text in contents.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.csv").write_text(text)
    (tmp_path / "bytes").mkdir()
    (tmp_path / "bytes" / "metrics.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "run.json").write_text("{}")
    (tmp_path / "there.png").write_text("mine")
    done = run("curves", *words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 1, done.err
    assert (tmp_path / "there.png").read_text() == "mine"
    assert not (tmp_path / "curves.png").exists()


def test_overwrite_replaces(run, tmp_path: Path) -> None:
    make_run(tmp_path / "first", make_rows(2))
    (tmp_path / "c.png").write_text("old")
    assert run("curves", "first", "-o", "c.png", "--overwrite").code == 0
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_extra_is_named(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    make_run(tmp_path / "first", make_rows(2))
    done = run("curves", "first")
    assert done.code == 4
    assert done.err == "deblur: drawing curves needs the extra 'plots': pip install 'deblur-cli[plots]'\n"


class Drawing:
    """Curves of a run that grows, with a clock that is set by hand."""

    def __init__(self, target: Path) -> None:
        self.now = 0.0
        self.rows: list[dict[str, float]] = []
        self.warned: list[str] = []
        self.live = LiveCurves(
            target, about="", rows=self.rows, warn=self.warned.append, clock=lambda: self.now
        )

    def validate(self) -> None:
        self.rows[:] = make_rows(len(self.rows) + 1)
        self.live.update()


def test_a_training_draws_again_at_most_every_half_minute_and_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "curves.png"
    drawing = Drawing(target)
    seen = []
    for drawing.now in (1.0, 29.0, 31.0, 60.0, 62.0):
        drawing.validate()
        seen.append(target.read_bytes() if target.exists() else b"")
    assert seen[0] == seen[1] == b""
    assert seen[2] == seen[3] != seen[1]
    assert seen[4] != seen[3]
    drawing.now = 63.0
    drawing.validate()
    drawing.live.finish()
    assert target.read_bytes() != seen[4]
    assert not drawing.warned


def test_a_plot_that_fails_is_warned_of_once(tmp_path: Path) -> None:
    drawing = Drawing(tmp_path / "gone" / "curves.png")
    for drawing.now in (100.0, 200.0):
        drawing.validate()
    drawing.live.finish()
    assert len(drawing.warned) == 1
    assert "its folder does not exist" in drawing.warned[0]


def test_a_training_without_matplotlib_says_so_once_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    drawing = Drawing(tmp_path / "curves.png")
    for drawing.now in (100.0, 200.0):
        drawing.validate()
    assert not drawing.warned
    drawing.live.finish()
    assert drawing.warned == [f"{tmp_path / 'curves.png'} was not drawn: {plots.MISSING}"]


def test_a_broken_library_is_no_reason_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **options: object) -> None:
        raise RuntimeError("no\nfont")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", broken)
    drawing = Drawing(tmp_path / "curves.png")
    drawing.now = 100.0
    drawing.validate()
    assert drawing.warned == [f"{tmp_path / 'curves.png'} was not drawn: no font"]
    assert list(tmp_path.iterdir()) == []
