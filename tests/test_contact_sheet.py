"""Sheets of pairs with their kernels, and strips of growing blur: what is drawn is what was made."""

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from deblur_cli.blur import DEGRADATIONS
from deblur_cli.blur.distributions import Constant
from deblur_cli.blur.pipeline import draw_steps
from deblur_cli.blur.randomness import generator
from deblur_cli.blur.spec import Spec, Step
from deblur_cli.data.contact_sheet import contact_sheet, draw_contact_sheet
from deblur_cli.data.kernel_panel import GROUND, enlarged
from deblur_cli.data.step_words import words_of
from deblur_cli.data.strip import draw_strip
from deblur_cli.data.synthesis import MadePair, Opened, make_pairs
from deblur_cli.errors import MissingError, PictureError, UsageError

OPERATIONS = {item.name: item for item in DEGRADATIONS}
FRAME = (230, 57, 70)


def photograph(height: int, width: int, *, top: int = 0, left: int = 0) -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[top : top + height, left : left + width])


def pair_of(
    sharp: np.ndarray, *steps: Step, flips: bool = False, index: int = 0, source: str = ""
) -> MadePair:
    spec = Spec(name="test", seed=11, steps=steps, flips=flips)
    opened = Opened(sharp=sharp, record={"source": source} if source else {})
    (pair,) = make_pairs(opened, spec, OPERATIONS, index=index, draw=0)
    return pair


def step(op: str, slot: int = 1, **node: float) -> Step:
    return Step(slot=slot, op=op, node={name: Constant(value) for name, value in node.items()})


def draw(tmp_path: Path, *pairs: MadePair, **texts: str) -> np.ndarray:
    contact_sheet(pairs, OPERATIONS, target=tmp_path / "sheet.png", **texts)
    return read(tmp_path / "sheet.png")


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def places(sheet: np.ndarray, picture: np.ndarray) -> Iterator[tuple[int, int]]:
    """Row and column at which a picture lies in the sheet, but for frames drawn over it."""
    height, width = picture.shape[:2]
    if height > sheet.shape[0] or width > sheet.shape[1]:
        return
    inside = sheet[: len(sheet) - height + 1, : sheet.shape[1] - width + 1]
    corners = np.argwhere((inside == picture[0, 0]).all(axis=2))
    for y, x in np.random.default_rng(0).integers(0, (height, width), (32, 2)):
        there = sheet[corners[:, 0] + y, corners[:, 1] + x]
        corners = corners[(there == picture[y, x]).all(axis=1) | (there == FRAME).all(axis=1)]
    for y, x in corners:
        there = sheet[y : y + height, x : x + width]
        if ((there == picture) | (there == FRAME).all(axis=2, keepdims=True)).all():
            yield int(y), int(x)


def panel_of(sheet: np.ndarray) -> np.ndarray:
    """The kernel's part of a sheet of one pair, (256, 256) of brightness."""
    rows, columns = np.nonzero((sheet == GROUND).all(axis=2))
    panel = sheet[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].sum(axis=2)
    assert panel.shape == (256, 256)
    return panel


def drawn_kernel(panel: np.ndarray) -> np.ndarray:
    """The kernel read back from its panel, one value a square, its centre in the middle; 0 = the ground."""
    light = panel[30:226, 30:226].astype(int) - sum(GROUND)  # without texts and marks
    edges = [np.flatnonzero(np.diff(light, axis=axis).any(axis=1 - axis)) for axis in (0, 1)]
    times = int(np.gcd.reduce(np.concatenate([np.diff(found) for found in edges])))
    first = [int(found[0]) + 1 for found in edges]
    last = [int(found[-1]) + 1 for found in edges]
    squares = light[first[0] + times // 2 : last[0] : times, first[1] + times // 2 : last[1] : times]
    radius = 20
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    top, left = (radius + round((start + 30 + times / 2 - 128) / times) for start in first)
    kernel[top : top + squares.shape[0], left : left + squares.shape[1]] = squares
    return kernel


def test_a_sheet_shows_the_reduced_pictures_and_a_detail_of_both_pixel_by_pixel(tmp_path: Path) -> None:
    pair = pair_of(photograph(400, 500), step("gaussian", sigma=2.0))
    sheet = draw(tmp_path, pair)
    for picture in (pair.sharp, pair.blurry):
        reduced = np.asarray(Image.fromarray(picture).resize((320, 256), Image.Resampling.LANCZOS))
        assert len(list(places(sheet, reduced))) == 1
    details = [sheet[y : y + 256 : 4, x : x + 256 : 4] for y, x in squares_of_four(sheet)]
    found = [(list(places(pair.sharp, detail)), list(places(pair.blurry, detail))) for detail in details]
    (sharp_place,), (blurry_place,) = found[0][0], found[1][1]
    assert sharp_place == blurry_place, "both show the same part"


def squares_of_four(sheet: np.ndarray) -> list[tuple[int, int]]:
    """Where the two details lie: the last two cells of 256 px, 10 px between them and 16 px to the edge."""
    right = sheet.shape[1] - 16
    ground = np.flatnonzero((sheet == GROUND).all(axis=2).any(axis=1))[0]
    return [(int(ground), right - 522), (int(ground), right - 256)]


@pytest.mark.parametrize("flips", [False, True])
def test_the_kernel_drawn_is_what_the_blur_makes_of_a_point(tmp_path: Path, flips: bool) -> None:
    point = np.zeros((101, 101, 1), np.uint8)
    point[50, 50] = 255
    shake = step("trajectory", anxiety=0.005, length=20.0, fraction=0.5, tremor=4.0, pull=0.3, angle=33.0)
    seen = 0
    for index in range(4):
        pair = pair_of(point, shake, flips=flips, index=index)
        seen += any(pair.record.get("flips", ()))
        kernel = drawn_kernel(panel_of(draw(tmp_path, pair)))
        expected = pair.blurry[30:71, 30:71, 0] / 255
        assert np.unravel_index(kernel.argmax(), kernel.shape) == np.unravel_index(
            expected.argmax(), expected.shape
        )
        agreement = np.corrcoef(kernel.ravel(), np.sqrt(expected).ravel())[0, 1]
        assert agreement > 0.99
        assert all(np.corrcoef(turned.ravel(), np.sqrt(expected).ravel())[0, 1] < agreement - 0.01
                   for turned in (kernel[::-1], kernel[:, ::-1], kernel[::-1, ::-1]))  # fmt: skip
    assert bool(seen) == flips


def test_tails_show_and_the_dark_around_a_kernel_is_cut_off() -> None:
    kernel = np.zeros((61, 61))
    kernel[30, 28:33] = 0.0025, 0.25, 0.495, 0.25, 0.0025
    light, times = enlarged(kernel, room=200)
    assert times == 16
    assert light.shape == (7 * 16, 7 * 16)
    row = light[3 * 16 + 8, 8::16]
    assert row.tolist() == [0, 18, 181, 255, 181, 18, 0]  # 255 sqrt(0.0025/0.495), 255 sqrt(0.25/0.495)


@pytest.mark.parametrize("side", [201, 401, 1001])
def test_a_kernel_larger_than_its_panel_keeps_its_fine_line(side: int) -> None:
    kernel = np.eye(side) / side
    light, times = enlarged(kernel, room=200)
    assert light.shape[0] <= 200
    assert light.shape[0] == pytest.approx(side * times, abs=1)
    assert (light.max(axis=0) == 255).sum() >= light.shape[0] - 1


def test_what_has_no_kernel_is_drawn_without_one_and_said_to_have_none(tmp_path: Path) -> None:
    photo = photograph(64, 64)
    panels = [
        panel_of(draw(tmp_path, pair_of(photo, *steps)))
        for steps in ((step("median", k=5),), (step("identity"),), (step("jpeg", quality=50),), ())
    ]
    for panel in panels:
        middle = panel[112:144] > sum(GROUND)
        assert middle.any(), "a text"
        assert not panel[30:112].max() > sum(GROUND), "nothing else"
    assert len({panel.tobytes() for panel in panels}) == 4, "each has its own words"


def test_several_kernels_share_a_panel(tmp_path: Path) -> None:
    steps = [step("gaussian", slot=1, sigma=1.0), step("defocus", slot=2, radius=4.0)]
    panel = panel_of(draw(tmp_path, pair_of(photograph(64, 64), *steps)))
    for half in (panel[:127], panel[129:]):
        bright = np.argwhere(half[:, 140:] == 3 * 255)
        assert np.abs(bright.mean(axis=0) - (63.5, 192 - 140)).max() < 2, "at the right, in its own half"


def test_small_pictures_are_enlarged_and_need_no_detail(tmp_path: Path) -> None:
    pairs = [pair_of(photograph(32, 32, left=40 * index), step("gaussian", sigma=1.0)) for index in range(3)]
    sheet = draw(tmp_path, *pairs)
    assert sheet.shape[1] == 2 * 16 + 3 * 256 + 2 * 10
    found = [list(places(sheet, pair.sharp.repeat(8, axis=0).repeat(8, axis=1))) for pair in pairs]
    rows, columns = zip(*(place for (place,) in found), strict=True)
    assert len(set(columns)) == 1
    assert rows[2] - rows[1] == rows[1] - rows[0] > 256


@pytest.mark.parametrize(("height", "width", "channels"), [(1, 1, 3), (5, 90, 1), (300, 40, 1), (65, 66, 3)])
def test_any_size_and_grey_can_be_drawn(tmp_path: Path, height: int, width: int, channels: int) -> None:
    photo = photograph(height, width)[:, :, :channels]
    sheet = draw(tmp_path, pair_of(photo, step("identity")), title="any", caption="size")
    factor = min(384 / width, 256 / height)
    if factor >= 1 and photo.size > 3:  # a single colour is found at many places
        shown = photo.repeat(int(factor), axis=0).repeat(int(factor), axis=1)
        assert list(places(sheet, np.broadcast_to(shown, (*shown.shape[:2], 3))))


def test_a_long_name_leaves_room_for_the_measure_and_widens_nothing(tmp_path: Path) -> None:
    photo = photograph(64, 64)
    short, long = (
        draw(tmp_path, pair_of(photo, step("gaussian", sigma=1.0), source=source), title="t " * times)
        for source, times in (("a.png", 1), ("very long " * 60 + "\n\x1b[31m.png", 200))
    )
    assert long.shape == short.shape
    top = int(np.flatnonzero((short == GROUND).all(axis=2).any(axis=1))[0])
    heads = [(sheet[top - 24 : top - 1] < 200).any(axis=(0, 2)) for sheet in (short, long)]
    measure = np.flatnonzero(heads[0])
    begins = measure[np.flatnonzero(np.diff(measure) > 40)[-1] + 1]
    assert np.array_equal(heads[0][begins:], heads[1][begins:])
    assert not heads[1][begins - 10 : begins].any()
    assert heads[1][begins - 40 : begins - 10].any(), "the end of the name comes right before it"


def test_steps_are_told_in_the_units_of_a_spec() -> None:
    told = {
        "camera_shake": "camera_shake: focal 31.2 mm, exposure 0.12 s, rate 3 deg/s, move 2 mm/s, depth 1.5 m",
        "linear_motion": "linear_motion: length 7.5 px, angle 45 deg",
        "noise": "noise: gain 0.001",
        "identity": "identity",
        "jpeg": "jpeg: quality 84",
        "median": "median: k 5 px",
    }
    nodes = {
        "camera_shake": {"focal_mm": 31.24, "exposure_s": 0.12, "rate_dps": 3.0, "move_mm_s": 2.0, "depth_m": 1.5},
        "linear_motion": {"length": 7.5, "angle": 45.0},
        "noise": {"gain": 0.001, "read_var": 0.0},
        "identity": {},
        "jpeg": {"quality": 84},
        "median": {"k": 5},
    }  # fmt: skip
    for op, node in nodes.items():
        spec = Spec(name="words", seed=1, steps=(step(op, **node),))
        (taken,) = draw_steps(
            spec,
            OPERATIONS,
            streams=lambda *, slot, role: generator(1, index=0, draw=0, slot=slot, role=role),
            number=0,
        )
        assert words_of(taken) == told[op]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight sharp pictures of 32x32, all different."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(8):
        Image.fromarray(photograph(32, 32, top=50 * number, left=40 * number)).save(folder / f"{number}.png")
    return folder


def test_make_dataset_shows_pairs_from_all_over_the_set_and_from_all_its_branches(
    run, photos, tmp_path
) -> None:
    out = tmp_path / "out"
    ran = run("make-dataset", photos, out, "--preset", "kernel-study-s1", "--show", "8")
    assert ran.code == 0, ran.err
    sheet = read(out / "contact-sheet.png")
    shown = [
        path.stem
        for path in sorted((out / "blur").iterdir())
        if any(places(sheet, read(path).repeat(8, axis=0).repeat(8, axis=1)))
    ]
    assert [name.split("_")[0] for name in shown] == [f"{index:06d}" for index in range(8)]
    assert len({name.split("_")[1] for name in shown}) >= 4, "not always the same of the six draws"
    assert draw_contact_sheet(out, count=99, target=tmp_path / "all.png", operations=OPERATIONS) == 48


def test_the_sheet_of_a_set_can_be_drawn_again_when_its_sources_have_gone(run, photos, tmp_path) -> None:
    out = tmp_path / "out"
    words = (
        "--set",
        "border='reflect101'",
        "--patch",
        "24x24",
        "--set",
        "step.1.branch.0.step.0.max_extent_px=6",
    )
    ran = run("make-dataset", photos, out, "--preset", "photo-mix", *words, "--show", "5")
    assert ran.code == 0, ran.err
    for path in photos.iterdir():
        path.unlink()
    draw_contact_sheet(out, count=5, target=tmp_path / "again.png", operations=OPERATIONS)
    assert (tmp_path / "again.png").read_bytes() == (out / "contact-sheet.png").read_bytes()


def test_what_cannot_be_drawn_is_said(run, photos, tmp_path) -> None:
    out, target = tmp_path / "out", tmp_path / "sheet.png"
    with pytest.raises(MissingError, match=r"meta\.jsonl"):
        draw_contact_sheet(photos, count=1, target=target, operations=OPERATIONS)
    assert run("make-dataset", photos, out, "--preset", "gaussian").code == 0
    with pytest.raises(UsageError, match="0 pairs"):
        draw_contact_sheet(out, count=0, target=target, operations=OPERATIONS)
    with pytest.raises(MissingError, match="gaussian"):
        draw_contact_sheet(out, count=1, target=target, operations={})
    with pytest.raises(UsageError, match="no pair"):
        contact_sheet([], OPERATIONS, target=target)
    lines = (out / "meta.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    del first["seed"]
    (out / "meta.jsonl").write_text(json.dumps(first) + "\n")
    with pytest.raises(UsageError, match=f"{first['name']}.*seed"):
        draw_contact_sheet(out, count=1, target=target, operations=OPERATIONS)
    for text in ("no JSON", "[1]", ""):
        (out / "meta.jsonl").write_text(text)
        with pytest.raises((UsageError, MissingError), match=r"meta\.jsonl"):
            draw_contact_sheet(out, count=1, target=target, operations=OPERATIONS)
    (out / "blur" / f"{first['name']}.png").unlink()
    (out / "meta.jsonl").write_text("\n".join(lines))
    with pytest.raises(PictureError, match=first["name"]):
        draw_contact_sheet(out, count=99, target=target, operations=OPERATIONS)
    assert not target.exists()


def test_a_strip_begins_with_the_sharp_picture_and_blurs_it_more_and_more(tmp_path: Path) -> None:
    photo = photograph(32, 32, left=200)
    draw_strip(photo, [0.5, 1.5, 3.0], tmp_path / "strip.png")
    strip = read(tmp_path / "strip.png")
    tiles = [photo, *(cv2.GaussianBlur(photo, (0, 0), sigma) for sigma in (0.5, 1.5, 3.0))]
    for position, tile in enumerate(tiles):
        left = 10 + 138 * position
        shown = strip[10:138, left : left + 128]
        assert np.array_equal(shown, tile.repeat(4, axis=0).repeat(4, axis=1))
    texts = [strip[138:, 10 + 138 * position :][:, :128] for position in range(4)]
    assert all((text < 128).any() for text in texts)
    assert len({text.tobytes() for text in texts}) == 4


def test_a_strip_draws_the_sharp_picture_once_and_large_ones_with_a_detail(tmp_path: Path) -> None:
    photo = photograph(400, 300)
    draw_strip(photo, [0.0, 2.0], tmp_path / "strip.png")
    strip = read(tmp_path / "strip.png")
    assert strip.shape[1] == 2 * (256 + 10) + 10
    for position, picture in enumerate((photo, cv2.GaussianBlur(photo, (0, 0), 2.0))):
        reduced = np.asarray(Image.fromarray(picture).resize((192, 256), Image.Resampling.LANCZOS))
        assert list(places(strip, reduced)) == [(10, 10 + 266 * position + 32)]
        detail = strip[276:532:4, 10 + 266 * position :][:, :256:4]
        assert len(list(places(picture, detail))) == 1


@pytest.mark.parametrize("sigmas", [(), (0.0,), (1.0, -1.0), (65.0,), (float("nan"),)])
def test_a_strip_without_a_usable_sigma_is_refused(tmp_path: Path, sigmas: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="sigma"):
        draw_strip(photograph(32, 32), sigmas, tmp_path / "strip.png")
    assert not (tmp_path / "strip.png").exists()
