"""What weights for photographs are validated on: Kodak under each blur and sharp, and ready pairs with noise or JPEG.

Blurs are measured in the pictures that come out, not in the kernels that made them.
"""

import io
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from evaluation_records import record
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage import data

from deblur_cli.blur.jpeg import Jpeg, compress
from deblur_cli.blur.spec_file import preset, preset_text
from deblur_cli.data import Pair
from deblur_cli.data.contact_sheet import kernels_of
from deblur_cli.data.sets import open_pairs
from deblur_cli.errors import MissingError
from deblur_cli.evaluation.score_tables import cross_table
from deblur_cli.evaluation.typeset import as_markdown
from deblur_cli.host.manager import Host
from deblur_cli.training.feeding.material import Preparation, open_material

HOST = Host.discover(environ={})
MARGINS = {"shake": 17, "trajectory": 31, "defocus": 5, "gaussian": 6, "identity": 0}
DOT_PX = 3  # side of the white squares that show a blur

ANNEX_K = np.array([
    [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99],
])  # fmt: skip
"""The JPEG standard's example of a table for luminance, which libjpeg scales by the quality."""


def kodak_below(root: Path, pictures: dict[str, np.ndarray]) -> Path:
    """A data root with these files in kodak/."""
    (root / "kodak").mkdir(parents=True)
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(root / "kodak" / name, lossless=True)
    return root


def opened(root: Path, blur: str, *, split: str = "test") -> Sequence[Pair]:
    how = preset(blur, HOST.degradations)
    return open_pairs(HOST, "kodak", split=split, preset=how, environ={"DEBLUR_DATA": str(root)})


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A data root with the first two and the nineteenth picture, one of them upright, and what is none of them."""
    large = data.astronaut()[:128, 100:292]
    pictures = {"kodim01.png": large, "KODIM02.webp": large[::-1], "kodim19.png": large.transpose(1, 0, 2)}
    others = {"kodim25.png": large, "kodim1.png": large, "cover.png": large}
    return kodak_below(tmp_path, pictures | others)


@pytest.fixture
def gopro(tmp_path: Path) -> Path:
    """A data root with three GoPro pairs of 96x64 px, none of whose values is near black or white."""
    for part, name in (("train", "A/{}/1"), ("test", "B/{}/1"), ("test", "B/{}/2")):
        sharp = data.astronaut()[40 : 40 + 64, 160 : 160 + 96] // 2 + 64
        for kind, pixels in (("sharp", sharp), ("blur", np.roll(sharp, 3, axis=1))):
            path = tmp_path / "gopro" / part / f"{name.format(kind)}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return tmp_path


def pairs_of(root: Path, how: str, *, split: str = "test") -> list[Pair]:
    return list(
        open_pairs(
            HOST,
            "gopro",
            split=split,
            preset=preset(how, HOST.degradations),
            environ={"DEBLUR_DATA": str(root)},
        )
    )


def test_kodak_is_found_by_its_numbers_whatever_the_format(three: Path) -> None:
    pairs = opened(three, "kodak-shake")
    assert [pair.name for pair in pairs] == ["kodim01", "kodim02", "kodim19"]
    assert [pair.size() for pair in pairs] == [(94, 158), (94, 158), (158, 94)]
    assert [pair.name for pair in opened(three, "kodak-shake", split="val")] == [pair.name for pair in pairs]
    blurry = pairs[2].load()[0]
    for name in ("kodim01.png", "KODIM02.webp"):
        (three / "kodak" / name).unlink()
    (alone,) = opened(three, "kodak-shake")
    assert np.array_equal(alone.load()[0], blurry), "how a picture is blurred does not depend on the others"


@pytest.mark.parametrize("blur", ["kodak-shake", "photo-mix"])
def test_nobody_trains_on_kodak(three: Path, blur: str) -> None:
    with pytest.raises(MissingError, match="no pictures for the split train in kodak: all of it is for test"):
        opened(three, blur, split="train")


def test_a_folder_without_its_pictures_says_how_they_are_called(tmp_path: Path) -> None:
    (tmp_path / "kodak").mkdir()
    with pytest.raises(MissingError, match=r"expected: .*kodak/kodim01\.png to kodim24\.png"):
        opened(tmp_path, "kodak-gaussian")


@pytest.mark.parametrize("blur", MARGINS)
def test_pictures_stay_whole_but_for_a_margin_and_the_sharp_one_untouched(three: Path, blur: str) -> None:
    cut = MARGINS[blur]
    for pair, name in zip(opened(three, f"kodak-{blur}"), ("kodim01.png", "KODIM02.webp"), strict=False):
        picture = np.asarray(Image.open(three / "kodak" / name))
        blurry, sharp = pair.load()
        assert np.array_equal(sharp, picture[cut : 128 - cut, cut : 192 - cut])
        assert np.array_equal(blurry, sharp) == (blur == "identity")
        if cut:
            assert f"{cut} px at each edge" in preset_text(f"kodak-{blur}").replace("\n# ", " ")


def test_the_gaussian_has_sigma_1_5_on_stored_values_and_sees_only_real_pixels(three: Path) -> None:
    picture = np.asarray(Image.open(three / "kodak" / "kodim01.png")).astype(np.float64)
    blurry, _ = opened(three, "kodak-gaussian")[0].load()
    for beyond in (0, 255):  # what is thought to lie outside of the picture does not matter
        known = gaussian_filter(picture, (1.5, 1.5, 0), mode="constant", cval=beyond)[6:-6, 6:-6]
        assert np.abs(blurry - known).max() <= 1.01


@pytest.mark.parametrize("blur", ["shake", "trajectory", "defocus"])
def test_the_radius_of_the_blur_is_as_the_preset_says(tmp_path: Path, blur: str) -> None:
    """From the spread of a white square on black, in linear light, over 24 pictures."""
    side, cut = 129, MARGINS[blur]
    picture = np.zeros((side, side, 3), np.uint8)
    middle = slice((side - DOT_PX) // 2, (side + DOT_PX) // 2)
    picture[middle, middle] = 255
    root = kodak_below(tmp_path, {f"kodim{number:02d}.png": picture for number in range(1, 25)})
    radii = []
    for pair in opened(root, f"kodak-{blur}"):
        code = pair.load()[0][..., 0] / 255
        light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
        assert light.sum() == pytest.approx(DOT_PX**2, rel=0.02), "light is spread, not lost"
        position = np.arange(side - 2 * cut)
        spread = sum(
            (profile * position**2).sum() / profile.sum() - ((profile * position).sum() / profile.sum()) ** 2
            for profile in (light.sum(axis=0), light.sum(axis=1))
        )
        radii.append(np.sqrt(spread - (DOT_PX**2 - 1) / 6))  # less the square's own
    said = re.search(r"(\d\.\d) to (\d\.\d) px, median (\d\.\d)", preset_text(f"kodak-{blur}"))
    assert said is not None
    found = (min(radii), max(radii), np.median(radii))
    assert found == pytest.approx([float(number) for number in said.groups()], abs=0.15)
    if blur == "shake":
        assert 2 <= min(radii) < max(radii) <= 4


@pytest.mark.parametrize("what", ["jpeg75", "noise5"])
def test_degraded_shakes_are_those_of_kodak_shake(three: Path, what: str) -> None:
    for plain, pair in zip(opened(three, "kodak-shake"), opened(three, f"kodak-shake-{what}"), strict=True):
        (blurry, sharp), (degraded, same) = plain.load(), pair.load()
        assert np.array_equal(sharp, same)
        if what == "jpeg75":
            assert np.array_equal(degraded, through_pillow(blurry))
        else:
            inside = (blurry > 25) & (blurry < 230)  # else it is cut off
            assert (degraded.astype(float) - blurry)[inside].std() == pytest.approx(5, rel=0.03)


def through_pillow(pixels: np.ndarray) -> np.ndarray:
    """A picture as Pillow writes it with quality 75 and reads it back, all else being its own choice."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


def test_jpeg_75_has_half_the_steps_of_the_standards_table() -> None:
    file = compress(data.astronaut()[:64, :64], Jpeg(quality=75))
    table = np.reshape(Image.open(io.BytesIO(file)).quantization[0], (8, 8))
    assert np.array_equal(table, (ANNEX_K * 50 + 50) // 100)  # libjpeg: 200 - 2 * quality per cent


def test_ready_pairs_get_jpeg_on_the_blurred_picture_alone(gopro: Path) -> None:
    pairs = pairs_of(gopro, "pairs-jpeg75")
    assert [pair.name for pair in pairs] == ["B/1", "B/2"]
    for pair in pairs:
        blurry, sharp = pair.load()
        folder, number = pair.name.split("/")
        files = {kind: gopro / "gopro/test" / folder / kind / f"{number}.png" for kind in ("blur", "sharp")}
        assert np.array_equal(sharp, np.asarray(Image.open(files["sharp"])))
        assert np.array_equal(blurry, through_pillow(np.asarray(Image.open(files["blur"]))))


def test_ready_pairs_get_noise_of_5_steps_another_for_each_and_the_same_each_time(gopro: Path) -> None:
    first, second = pairs_of(gopro, "pairs-noise5")
    clean = np.asarray(Image.open(gopro / "gopro/test/B/blur/1.png")).astype(float)  # of both
    noises = [pair.load()[0] - clean for pair in (first, second)]
    for noise in noises:
        assert noise.std() == pytest.approx(np.sqrt(25 + 1 / 12), rel=0.02)  # with that of rounding
        assert abs(noise.mean()) < 0.15
    assert abs(np.corrcoef(*[noise.ravel() for noise in noises])[0, 1]) < 0.03
    again = pairs_of(gopro, "pairs-noise5")[::-1]
    for pair, noise in zip(again, noises[::-1], strict=True):
        blurry, sharp = pair.load()
        assert np.array_equal(blurry - clean, noise)
        assert np.array_equal(sharp, np.asarray(Image.open(gopro / "gopro/test/B/sharp/1.png")))


def test_degraded_pairs_are_made_as_files_remade_bit_for_bit_and_those_that_are_measured(
    run: Callable, gopro: Path, tmp_path: Path
) -> None:
    env = {"DEBLUR_DATA": str(gopro)}
    ran = run("make-dataset", "gopro", "out", "--preset", "pairs-noise5", env=env)
    assert ran.code == 0, ran.err
    assert run("make-dataset", "--verify", "out", env=env).code == 0
    records = [json.loads(line) for line in (tmp_path / "out/meta.jsonl").read_text().splitlines()]
    made = {item["source"]: item for item in records}
    for pair in pairs_of(gopro, "pairs-noise5"):
        kept = made[f"test/{pair.name.replace('/', '/sharp/')}.png"]
        for kind, pixels in zip(("blur", "sharp"), pair.load(), strict=True):
            assert np.array_equal(
                pixels, np.asarray(Image.open(tmp_path / "out" / kind / f"{kept['name']}.png"))
            )
        (shown,) = kernels_of(kept, HOST.degradations)
        assert shown.name == "blurred in the source"
    kept["steps"][0]["params"]["sigma"] = 0.01
    (tmp_path / "out/meta.jsonl").write_text("".join(json.dumps(item) + "\n" for item in records))
    assert run("make-dataset", "--verify", "out", env=env).code == 3


def test_ready_pairs_can_be_drawn_several_times_with_other_noise(
    run: Callable, gopro: Path, tmp_path: Path
) -> None:
    words = ("make-dataset", gopro / "gopro/test", "out", "--preset", "pairs-noise5", "--set", "draws=2")
    assert run(*words).code == 0
    pictures = [np.asarray(Image.open(file)) for file in sorted((tmp_path / "out/blur").glob("000000_*"))]
    assert len(pictures) == 2
    assert not np.array_equal(*pictures)
    assert run("make-dataset", "--verify", "out").code == 0


def test_a_training_sees_the_degraded_pairs(run: Callable, gopro: Path, tmp_path: Path) -> None:
    how = Preparation(preset="pairs-jpeg75").read(HOST)
    material = open_material(HOST, [str(gopro / "gopro")], spec=how, only_sharp=False)
    (pair,) = material.train
    clean = np.asarray(Image.open(gopro / "gopro/train/A/blur/1.png"))
    assert np.array_equal(pair.load()[0], through_pillow(clean))
    small = ("-m", "rednet30", "--set", "model.depth=2", "model.width=8", "batch_size=2", "--device", "cpu")
    ran = run(
        "train", "--data", gopro / "gopro", "--preset", "pairs-jpeg75", "-o", "mine", "--steps", 1, *small
    )
    assert ran.code == 0, ran.err
    refused = run("train", "--data", gopro / "gopro", "--blur", "pairs-jpeg75", "-o", "other", *small)
    assert (refused.code, "it does not blur sharp pictures" in refused.err) == (2, True)


def test_what_blurs_comes_too_late_for_ready_pairs(run: Callable, gopro: Path, tmp_path: Path) -> None:
    (tmp_path / "late.toml").write_text(
        'schema = 1\nname = "late"\nseed = 1\nsource = "pairs"\n\n[[step]]\nop = "jpeg"\n\n[[step]]\nop = "box"\nk = 3\n'
    )
    ran = run("make-dataset", gopro / "gopro", "out", "--spec", "late.toml")
    assert ran.code == 2
    assert "late.toml:10: step[1].op: the pictures" in ran.err
    assert "so box comes too late; take jpeg or noise" in ran.err
    assert not (tmp_path / "out").exists()


def test_sharp_pictures_that_stay_sharp_are_called_identical_and_have_no_gain(
    run: Callable, identity, three: Path, tmp_path: Path
) -> None:
    env = {**identity.env, "DEBLUR_DATA": str(three)}
    models = ("-m", identity.weights["identity"], identity.weights["tinted"])
    ran = run("eval", "--protocol", "kodak-identity", *models, "--record", "records", "--json", env=env)
    assert ran.code == 0, ran.err
    same, red = ran.json()
    assert (same["identical_blurry"], same["identical_restored"], same["pictures"]) == (3, 3, 3)
    assert (red["identical_blurry"], red["identical_restored"]) == (3, 0)
    errors = []
    for pair in opened(three, "kodak-identity"):
        sharp = pair.load()[1] / 255
        errors.append(np.mean((sharp - (1, 0, 0)) ** 2))
    assert red["restored"]["psnr"] == pytest.approx(np.mean(-10 * np.log10(errors)), abs=1e-4)
    assert red["pooled_psnr_restored"] == pytest.approx(-10 * np.log10(np.mean(errors)), abs=1e-4)
    for found in (same, red):
        assert found["blurry"]["psnr"] is None
        assert found["gain"]["psnr"] is None
    assert red["gain"]["ssim"] == pytest.approx(red["restored"]["ssim"] - 1)
    assert "nan" not in ran.out.lower()
    for table in (run("eval", "--protocol", "kodak-identity", *models, env=env), run("results", "records")):
        assert table.code == 0, table.err
        rows = [re.split(r"  +", line) for line in table.out.splitlines()]
        scores = {row[0].split(" ")[0]: row[1:4] for row in rows if len(row) > 4}
        assert scores["blurred"] == scores["identity"] == ["identical", "identical", "3"]
        assert scores["tinted"][0].split(" ")[0] == f"{red['restored']['psnr']:.2f}"


def test_a_table_over_data_sets_says_identical_as_well() -> None:
    sharp = record("fast", restored={"psnr": 42.3}, blurry={"psnr": None}, data="kodak", identical_blurry=11)
    some = record("fast", restored={"psnr": 31.0}, data="reds", hash="1", identical_blurry=1)
    table = as_markdown(cross_table([sharp, some], "psnr", HOST.metrics))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if "|" in line]
    assert rows[2:] == [["blurred input", "identical", "25.00"], ["fast", "42.30", "31.00 (+6.00)"]]


def test_one_sigma_that_all_pictures_have_needs_no_table(run: Callable, identity, three: Path) -> None:
    words = ("eval", "--protocol", "kodak-gaussian", "-m", identity.weights["identity"])
    ran = run(*words, env={**identity.env, "DEBLUR_DATA": str(three)})
    assert ran.code == 0, ran.err
    assert "by the sigma of the blur" not in ran.out


@pytest.mark.realdata
def test_the_real_pictures_are_all_there_and_whole() -> None:
    pairs = open_pairs(HOST, "kodak", split="test", environ=os.environ)
    assert [pair.name for pair in pairs] == [f"kodim{number:02d}" for number in range(1, 25)]
    assert {pair.size() for pair in pairs} == {(478, 734), (734, 478)}
    blurry, sharp = pairs[0].load()
    assert 18 < 10 * np.log10(255**2 / np.mean((blurry.astype(float) - sharp) ** 2)) < 30
