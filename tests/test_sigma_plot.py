"""PSNR by the sigma of the blur, as `deblur results --plot FILE --against sigma` draws it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from evaluation_records import record
from PIL import Image

# from, to, pictures, blurred
RANGES = ((0.0, 0.5, 40, None), (0.5, 1.0, 30, 34.0), (1.0, 3.0, 1200, 26.0), (3.0, None, 7, 22.0))


def by_sigma(*restored: float | None) -> list[dict[str, Any]]:
    return [
        {"from": low, "to": high, "pictures": pictures, "psnr_blurry": blurred, "psnr_restored": score}
        for (low, high, pictures, blurred), score in zip(RANGES, restored, strict=True)
    ]


def keep(folder: Path, model: str, **others: Any) -> None:
    folder.mkdir(exist_ok=True)
    others = {"data": "cifar10", "protocol": "cifar10-s0", "hash": "12345678", "pictures": 1277} | others
    (folder / f"{model}{others['hash']}.json").write_text(
        json.dumps(record(model, restored={"psnr": 30.0}, **others))
    )


def points_of(svg: str, *, colour: str) -> list[tuple[float, float]]:
    """Where markers of a colour stand within the panels, px from the top left corner."""
    uses = re.findall(r'<use [^>]*?x="([\d.]+)" y="([\d.]+)"[^>]*style="[^"]*fill: (#[0-9a-f]{6})', svg)
    drawn = svg[: svg.index('<g id="legend_1">')]
    return [(float(x), float(y)) for x, y, found in uses if found == colour and f'x="{x}" y="{y}"' in drawn]


def test_each_range_has_a_point_for_the_blurred_input_and_for_each_model(run, tmp_path: Path) -> None:
    keep(tmp_path / "records", "rednet30.photo", by_sigma=by_sigma(50.0, 38.0, 29.0, 22.0))
    keep(tmp_path / "records", "unet16.photo", by_sigma=by_sigma(41.0, 36.0, 28.0, 23.0))
    keep(tmp_path / "records", "other", hash="99999999", by_sigma=[], data="gopro")  # no sigma is known
    done = run("results", tmp_path / "records", "--plot", tmp_path / "p.svg", "--against", "sigma")
    assert done.code == 0, done.err
    svg = (tmp_path / "p.svg").read_text()
    blurred, rednet, unet = (points_of(svg, colour=name) for name in ("#6a6a6a", "#0072b2", "#d55e00"))
    assert len(blurred) == 3  # where every picture is identical there is nothing finite
    assert [len(rednet), len(unet)] == [4, 4]
    assert [x for x, _ in rednet] == [x for x, _ in unet]
    across = [(x - rednet[0][0]) / (rednet[3][0] - rednet[0][0]) for x, _ in rednet]
    assert across == pytest.approx([0, 0.5 / 2.75, 1.75 / 2.75, 1], abs=1e-3)  # the middles 0.25, 0.75, 2, 3
    px_per_db = (rednet[2][1] - rednet[0][1]) / (50 - 29)
    for points, scores in ((blurred, (34, 26, 22)), (rednet, (50, 38, 29, 22)), (unet, (41, 36, 28, 23))):
        assert [(y - rednet[0][1]) / px_per_db for _, y in points] == pytest.approx(
            [50 - score for score in scores], abs=0.01
        )
    for text in ("cifar10-s0#12345678: 1,277 pictures", "1,200", "mean PSNR in dB", "sigma of the blur in px",
                 "blurred input", "rednet30.photo", "unet16.photo", "weights, by SHA-256",
                 "no point where"):  # fmt: skip
        assert text in " ".join(re.findall(r"<!-- (.*?) -->", svg, re.DOTALL)), text
    assert "other" not in svg


def test_a_panel_for_each_protocol(run, tmp_path: Path) -> None:
    keep(tmp_path / "records", "rednet30.photo", by_sigma=by_sigma(50.0, 38.0, 29.0, 22.0))
    keep(tmp_path / "records", "rednet30.photo", hash="22222222", by_sigma=by_sigma(None, 35.0, 29.0, 20.0))
    target = tmp_path / "p.png"
    assert run("results", tmp_path / "records", "--plot", target, "--against", "sigma").code == 0
    with Image.open(target) as image:
        assert image.height > image.width


def test_records_without_a_sigma_have_nothing_to_draw(run, tmp_path: Path) -> None:
    keep(tmp_path / "records", "rednet30.photo")
    done = run("results", tmp_path / "records", "--plot", tmp_path / "p.png", "--against", "sigma")
    assert done.code == 2
    assert "nothing to draw: no record has PSNR by the sigma of the blur" in done.err
    assert not (tmp_path / "p.png").exists()


def test_many_models_can_be_told_apart_and_leave_the_panel_its_size(run, tmp_path: Path) -> None:
    for number in range(20):
        name = f"a model of a rather long name of its own, number {number}"
        keep(tmp_path / "records", name, by_sigma=by_sigma(41.0, 36.0, 28.0, 23.0 + number))
    done = run("results", tmp_path / "records", "--plot", tmp_path / "p.svg", "--against", "sigma")
    assert done.code == 0, done.err
    svg = (tmp_path / "p.svg").read_text()
    edges = {}
    for name, path in re.findall(r'<g id="(axes|legend)_1">\s*<g id="patch_\d+">\s*<path d="([^"]*)"', svg):
        edges[name] = [tuple(map(float, corner)) for corner in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)]
    rows = [y for _, y in edges["axes"]]
    assert max(rows) - min(rows) > 2.2 * 72
    assert max(y for _, y in edges["legend"]) < min(rows)
    assert max(x for x, _ in edges["legend"]) <= 6.5 * 72
    looks = re.findall(r'<use xlink:href="(#\w+)"[^>]*style="[^"]*fill: (#[0-9a-f]{6})', svg)
    assert len(set(looks)) == 20 + 1 - 2  # the blurred input, too; black, which two have, is not written
