"""`deblur datasets check`: a data set in order passes, and every defect that is planted in it is found."""

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Ran
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.signal import fftconvolve

from deblur_cli.blur.trajectory import Trajectory, kernel
from deblur_cli.data.alignment import estimate_shift

Run = Callable[..., Ran]
Pixels = NDArray[np.uint8]

SIDE = 192
SCENES = {"train/garden": "astronaut", "train/table": "coffee", "val/cat": "chelsea"}
"""Scene -> photograph of scikit-image."""

CORNERS = ((20, 60), (90, 30), (60, 110))
"""Row and column where the pairs of each scene are cut out."""


def photograph(name: str) -> Pixels:
    from skimage import data

    pixels: Pixels = getattr(data, name)()
    return pixels


def blurred(pixels: Pixels, sigma: float = 2.0) -> Pixels:
    return np.rint(ndimage.gaussian_filter(pixels.astype(float), (sigma, sigma, 0))).astype(np.uint8)


def load(path: Path) -> Pixels:
    return np.asarray(Image.open(path))


def save(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="session")
def in_order(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in_order")
    for scene, name in SCENES.items():
        sharp = photograph(name)
        blurry = blurred(sharp)
        for number, (row, column) in enumerate(CORNERS):
            for kind, pixels in (("sharp", sharp), ("blur", blurry)):
                piece = pixels[row : row + SIDE, column : column + SIDE]
                save(folder / scene / kind / f"{number:06d}.png", piece)
    return folder


@pytest.fixture
def pairs(in_order: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(in_order, tmp_path / "pairs"))


def findings(ran: Ran) -> dict[str, list[dict[str, object]]]:
    """By check, those that failed or warned."""
    (report,) = ran.json()
    found: dict[str, list[dict[str, object]]] = {}
    for item in report["findings"]:
        found.setdefault(item["check"], []).append(item)
    return found


def test_a_set_in_order_passes_every_check(run: Run, in_order: Path) -> None:
    ran = run("datasets", "check", in_order, "--json")
    (report,) = ran.json()
    assert ran.code == 0, ran.err
    assert report["findings"] == []
    assert report["ok"] is True
    assert report["splits"] == {"train": 6, "val": 3}
    assert report["checked"] == 9
    assert {row["level"] for row in report["checks"]} == {"ok"}
    assert report["shift_px"]["judged"] > 0
    assert report["shift_px"]["max"] < 0.5
    assert report["brightness_levels"]["max"] < 2


def test_the_table_names_every_check_its_level_and_the_distribution(run: Run, in_order: Path) -> None:
    ran = run("datasets", "check", in_order)
    assert ran.code == 0
    rows = {line.split()[0]: line.split()[1] for line in ran.out.splitlines() if len(line.split()) >= 2}
    for check in ("unreadable", "names", "size", "mode", "swapped", "identical", "brightness", "leakage"):
        assert rows[check] == "ok"
    assert "shift: median" in ran.out
    assert "brightness: median" in ran.out


@pytest.mark.parametrize(
    ("blurry", "sharp"),
    [
        ("{split}_blur/000/{name}", "{split}_sharp/000/{name}"),
        ("{split}_blur_bicubic/X4/000/{name}", "{split}_sharp_bicubic/X4/000/{name}"),
        ("{split}/{split}_blur/000/{name}", "{split}/{split}_sharp/000/{name}"),
        ("{split}/input/{name}", "{split}/target/{name}"),
        ("{split}/000/blur_gamma/{name}", "{split}/000/sharp/{name}"),
        ("{split}/blur_jpeg/000/{name}", "{split}/sharp/000/{name}"),
    ],
)
def test_every_layout_that_data_sets_come_in_is_checked(
    run: Run, in_order: Path, tmp_path: Path, blurry: str, sharp: str
) -> None:
    folder = tmp_path / "other"
    for split, scene in (("train", "train/garden"), ("val", "val/cat")):
        for kind, layout in (("blur", blurry), ("sharp", sharp)):
            path = folder / layout.format(split=split, name="0.png")
            path.parent.mkdir(parents=True)
            shutil.copy(in_order / scene / kind / "000000.png", path)
    ran = run("datasets", "check", folder, "--json")
    assert ran.code == 0, ran.err
    (report,) = ran.json()
    assert report["splits"] == {"train": 1, "val": 1}
    assert report["checked"] == 2


# Each plants one defect in a copy of the set and returns the file that the finding must name.


def lose_the_sharp_picture(pairs: Path) -> Path:
    (pairs / "train/garden/sharp/000001.png").unlink()
    return pairs / "train/garden/blur/000001.png"


def lose_the_blurred_picture(pairs: Path) -> Path:
    (pairs / "train/garden/blur/000001.png").unlink()
    return pairs / "train/garden/sharp/000001.png"


def lose_a_folder(pairs: Path) -> Path:
    shutil.rmtree(pairs / "train/table/blur")
    return pairs / "train/table/blur"


def have_a_name_twice(pairs: Path) -> Path:
    save(pairs / "val/cat/blur/000002.bmp", load(pairs / "val/cat/blur/000002.png"))
    return pairs / "val/cat/blur/000002.png"


def cut_a_file_short(pairs: Path) -> Path:
    path = pairs / "val/cat/sharp/000001.png"
    path.write_bytes(path.read_bytes()[:4000])
    return path


def empty_a_file(pairs: Path) -> Path:
    path = pairs / "val/cat/blur/000001.png"
    path.write_bytes(b"")
    return path


def crop_one_side(pairs: Path) -> Path:
    path = pairs / "train/table/sharp/000002.png"
    save(path, load(path)[:-1])
    return path


def make_one_side_grey(pairs: Path) -> Path:
    path = pairs / "train/table/blur/000000.png"
    Image.open(path).convert("L").save(path)
    return path


def give_one_side_16_bits(pairs: Path) -> Path:
    for kind in ("blur", "sharp"):
        path = pairs / f"train/table/{kind}/000000.png"
        Image.open(path).convert("L").save(path)
    save(path, load(path).astype(np.uint16) * 257)
    return path


def give_one_side_alpha(pairs: Path) -> Path:
    path = pairs / "train/table/blur/000000.png"
    Image.open(path).convert("RGBA").save(path)
    return path


def swap_one_pair(pairs: Path) -> Path:
    return swap(pairs / "train/garden", "000002.png")


def swap_a_scene(pairs: Path) -> Path:
    for number in range(len(CORNERS)):
        path = swap(pairs / "train/garden", f"{number:06d}.png")
    return path


def swap(scene: Path, name: str) -> Path:
    blurry, sharp, aside = scene / "blur" / name, scene / "sharp" / name, scene / "aside.png"
    for source, target in ((blurry, aside), (sharp, blurry), (aside, sharp)):
        source.rename(target)
    return blurry


def copy_sharp_over_blurred(pairs: Path) -> Path:
    for path in pairs.glob("*/*/sharp/*.png"):
        shutil.copy(path, path.parents[1] / "blur" / path.name)
    return pairs / "train/garden/blur/000000.png"


def shift_one_pair_far(pairs: Path) -> Path:
    path = pairs / "train/garden/blur/000001.png"
    row, column = CORNERS[1]
    save(path, blurred(photograph("astronaut"))[row + 5 : row + 5 + SIDE, column - 4 : column - 4 + SIDE])
    return path


def shift_every_pair_of_a_scene(pairs: Path) -> str:
    whole = blurred(photograph("astronaut"))
    for number, (row, column) in enumerate(CORNERS):
        piece = whole[row : row + SIDE, column + 2 : column + 2 + SIDE]
        save(pairs / f"train/garden/blur/{number:06d}.png", piece)
    return "train/garden"


def brighten_one_picture(pairs: Path) -> Path:
    path = pairs / "train/garden/blur/000001.png"
    save(path, np.clip(load(path).astype(int) + 24, 0, 255).astype(np.uint8))
    return path


@pytest.mark.parametrize(
    ("check", "plant"),
    [
        ("names", lose_the_sharp_picture),
        ("names", lose_the_blurred_picture),
        ("names", lose_a_folder),
        ("names", have_a_name_twice),
        ("unreadable", cut_a_file_short),
        ("unreadable", empty_a_file),
        ("size", crop_one_side),
        ("mode", make_one_side_grey),
        ("mode", give_one_side_16_bits),
        ("mode", give_one_side_alpha),
        ("swapped", swap_one_pair),
        ("swapped", swap_a_scene),
        ("identical", copy_sharp_over_blurred),
        ("shift", shift_one_pair_far),
        ("shift", shift_every_pair_of_a_scene),
        ("brightness", brighten_one_picture),
    ],
)
def test_a_planted_defect_is_found_named_and_fails(
    run: Run, pairs: Path, check: str, plant: Callable[[Path], Path | str]
) -> None:
    culprit = str(plant(pairs))
    ran = run("datasets", "check", pairs, "--json")
    assert ran.code == 3
    found = findings(ran)
    failed = {name for name, items in found.items() if any(item["level"] == "fail" for item in items)}
    assert failed == {check}
    assert any(culprit in item["files"] for item in found[check])
    assert check in ran.err


def as_it_is(sharp: Pixels) -> Pixels:
    return sharp


def compressed(sharp: Pixels) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(sharp).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


def resized(sharp: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(sharp).resize((130, 118), Image.Resampling.LANCZOS))


def brightened(sharp: Pixels) -> Pixels:
    return np.clip(sharp.astype(float) * 1.25 + 8, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("change", [as_it_is, compressed, resized, brightened])
def test_a_picture_that_is_in_two_splits_is_found(
    run: Run, pairs: Path, change: Callable[[Pixels], Pixels]
) -> None:
    sharp = change(load(pairs / "train/table/sharp/000001.png"))
    copy = pairs / "val/elsewhere/sharp/000009.png"
    save(copy, sharp)
    save(pairs / "val/elsewhere/blur/000009.png", blurred(sharp))
    ran = run("datasets", "check", pairs, "--json")
    assert ran.code == 3
    found = findings(ran)
    assert set(found) == {"leakage"}
    (leak,) = found["leakage"]
    assert set(leak["files"]) == {str(copy), str(pairs / "train/table/sharp/000001.png")}


def test_the_same_picture_twice_in_one_split_is_no_leak(run: Run, pairs: Path) -> None:
    for kind in ("sharp", "blur"):
        shutil.copy(pairs / f"train/table/{kind}/000001.png", pairs / f"train/garden/{kind}/000009.png")
    assert run("datasets", "check", pairs, "--json").code == 0


def test_a_scene_of_one_name_in_two_splits_is_a_warning(run: Run, pairs: Path) -> None:
    (pairs / "val/cat").rename(pairs / "val/table")
    ran = run("datasets", "check", pairs, "--json")
    assert ran.code == 0
    (finding,) = findings(ran)["scenes"]
    assert finding["level"] == "warn"
    assert "table" in str(finding["text"])


def test_a_few_identical_pairs_are_a_warning(run: Run, pairs: Path) -> None:
    shutil.copy(pairs / "val/cat/sharp/000000.png", pairs / "val/cat/blur/000000.png")
    ran = run("datasets", "check", pairs, "--json")
    assert ran.code == 0
    assert [item["level"] for item in findings(ran)["identical"]] == ["warn"]


def test_pictures_too_small_to_measure_a_shift_are_counted_and_not_blamed(run: Run, tmp_path: Path) -> None:
    whole = photograph("astronaut")
    soft = blurred(whole, 1.0)
    for number in range(6):
        place = np.s_[40 * number : 40 * number + 32, 200:232]
        save(tmp_path / f"small/sharp/{number}.png", whole[place])
        save(tmp_path / f"small/blur/{number}.png", soft[place])
    ran = run("datasets", "check", tmp_path / "small", "--json")
    (report,) = ran.json()
    assert ran.code == 0, ran.out
    assert report["shift_px"] == {"median": None, "p95": None, "max": None, "judged": 0, "unjudged": 6}


def test_a_limit_takes_pairs_of_every_split(run: Run, in_order: Path) -> None:
    (report,) = run("datasets", "check", in_order, "--limit", 3, "--json").json()
    assert (report["pairs"], report["checked"]) == (9, 6)


def test_processes_change_nothing(run: Run, pairs: Path) -> None:
    swap_one_pair(pairs)
    alone, apart = (
        run("datasets", "check", pairs, "--json", "--limit", 3, "--workers", n).json() for n in (0, 2)
    )
    assert alone == apart


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nowhere/pairs",), 4, "no such folder"),
        (("gopor",), 4, "did you mean gopro"),
        (("cifar10",), 2, "sharp pictures only"),
        ((".", "--limit", "0"), 2, "--limit"),
    ],
)
def test_what_cannot_be_checked_says_so(run: Run, words: tuple[str, ...], code: int, said: str) -> None:
    ran = run("datasets", "check", *words)
    assert ran.code == code
    assert said in ran.err


def test_a_folder_without_pairs_says_what_is_expected(run: Run, tmp_path: Path) -> None:
    save(tmp_path / "photos/one.png", photograph("chelsea"))
    ran = run("datasets", "check", tmp_path / "photos")
    assert ran.code == 4
    assert "expected" in ran.err


@pytest.fixture
def made(run: Run, tmp_path: Path) -> Path:
    """What make-dataset writes: patches of two photographs, blurred in linear light."""
    for name in ("astronaut", "coffee"):
        save(tmp_path / f"photos/{name}.png", photograph(name))
    words = ("--preset", "trajectory", "--set", "light=linear", "--pairs", "3", "--patch", "192x192")
    ran = run("make-dataset", tmp_path / "photos", tmp_path / "made", *words)
    assert ran.code == 0, ran.err
    return tmp_path / "made"


def test_what_make_dataset_wrote_passes(run: Run, made: Path) -> None:
    ran = run("datasets", "check", made, "--json")
    assert ran.code == 0, ran.out
    assert findings(ran) == {}


def test_a_made_picture_that_was_changed_differs_from_its_record(run: Run, made: Path) -> None:
    path = sorted((made / "blur").glob("*.png"))[2]
    pixels = load(path).copy()
    pixels[7, 9] ^= 1
    save(path, pixels)
    ran = run("datasets", "check", made, "--json")
    assert ran.code == 3
    assert [item["files"] for item in findings(ran)["record"]] == [[str(path)]]


def test_made_pictures_that_were_exchanged_are_called_swapped(run: Run, made: Path) -> None:
    name = sorted((made / "blur").glob("*.png"))[1].name
    swap(made, name)
    ran = run("datasets", "check", made, "--json")
    assert ran.code == 3
    assert set(findings(ran)) == {"swapped"}


def test_a_shift_of_one_pixel_is_found_where_the_kernels_are_known(run: Run, made: Path) -> None:
    for path in (made / "blur").glob("*.png"):
        save(path, np.roll(load(path), 1, axis=1))
    ran = run("datasets", "check", made, "--json")
    assert ran.code == 3
    assert any(item["level"] == "fail" for item in findings(ran)["shift"])


def test_a_source_whose_pairs_are_in_two_splits_fails(run: Run, made: Path) -> None:
    lists = {path.stem: path.read_text().splitlines() for path in (made / "splits").glob("*.txt")}
    names = sorted(name for part in lists.values() for name in part)
    (made / "splits/train.txt").write_text("".join(f"{name}\n" for name in names[1:]))
    (made / "splits/val.txt").write_text(f"{names[0]}\n")
    (made / "splits/test.txt").write_text("")
    ran = run("datasets", "check", made, "--json")
    assert ran.code == 3
    assert any(item["level"] == "fail" for item in findings(ran)["scenes"])


def test_a_pair_that_a_list_lacks_and_one_that_it_has_too_many_are_found(run: Run, made: Path) -> None:
    path = next(path for path in (made / "splits").glob("*.txt") if path.read_text())
    first, *rest = path.read_text().splitlines()
    path.write_text("".join(f"{name}\n" for name in [*rest, "999999_00_0"]))
    ran = run("datasets", "check", made, "--json")
    assert ran.code == 3
    texts = " ".join(str(item["text"]) for item in findings(ran)["names"])
    assert first in texts
    assert "999999_00_0" in texts


def test_a_damaged_file_of_records_is_named_with_its_line(run: Run, made: Path) -> None:
    lines = (made / "meta.jsonl").read_text().splitlines()
    (made / "meta.jsonl").write_text("\n".join([lines[0], '{"name": 3', *lines[2:]]))
    ran = run("datasets", "check", made)
    assert ran.code == 2
    assert "meta.jsonl:2" in ran.err


GREY = np.array([0.299, 0.587, 0.114])


@pytest.mark.parametrize("shift", [(0, 0), (3, -2)])
def test_the_shift_of_pictures_blurred_along_trajectories_is_found_within_half_a_pixel(
    shift: tuple[int, int],
) -> None:
    sharp = photograph("astronaut").astype(float) @ GREY
    margin = 40
    inner = np.s_[margin:-margin, margin:-margin]
    right, down = shift
    for number in range(24):
        rng = np.random.Generator(np.random.Philox(number))
        params = Trajectory(
            anxiety=(0.003, 0.005, 0.007, 0.008, 0.009, 0.01)[number % 6], length=60.0,
            fraction=(0.1, 0.5, 1.0)[number // 6 % 3], shake_rate=0.2 * rng.random(),
            tremor=10 * rng.random(), pull=0.7 * rng.random(), angle=2 * np.pi * rng.random(), samples=2000,
        )  # fmt: skip
        array = kernel(params, rng)
        distance = np.arange(len(array)) - len(array) // 2
        rms = float(np.sqrt(array.sum(0) @ distance**2 + array.sum(1) @ distance**2))
        blurry = np.roll(fftconvolve(sharp, array, mode="same"), (down, right), axis=(0, 1))
        found = estimate_shift(sharp[inner].astype(np.float32), blurry[inner].astype(np.float32), rms_px=rms)
        assert found is not None
        assert np.hypot(found.right - right, found.down - down) <= 0.5


@pytest.mark.parametrize(("right", "down"), [(0.5, -0.3), (-2.25, 1.0), (7.4, 5.2)])
def test_a_shift_by_parts_of_a_pixel_is_found(right: float, down: float) -> None:
    sharp = (photograph("coffee").astype(float) @ GREY).astype(np.float32)
    moved = ndimage.shift(sharp, (down, right), order=3, mode="mirror").astype(np.float32)
    found = estimate_shift(sharp, moved)
    assert found is not None
    assert (found.right, found.down) == pytest.approx((right, down), abs=0.05)
    assert found.detail > 1


def test_a_plain_picture_gives_no_detail_to_measure_a_shift_by() -> None:
    rng = np.random.Generator(np.random.Philox(1))
    sky = np.linspace(100, 140, 300)[:, None] + np.zeros(300) + rng.normal(0, 1, (300, 300))
    found = estimate_shift(sky.astype(np.float32), sky.astype(np.float32))
    assert found is not None
    assert found.detail < 0.3


@pytest.mark.realdata
def test_real_pairs_fail_nothing_and_eighteen_of_them_lie_more_than_half_a_pixel_off(run: Run) -> None:
    shifted = checked = 0
    for name in ("gopro", "reds", "reds_x4"):
        ran = run("datasets", "check", name, "--json")
        assert ran.code == 0, ran.out
        (report,) = ran.json()
        checked += report["checked"]
        assert {item["check"] for item in report["findings"]} <= {"shift"}
        shifted += len(report["findings"])
        assert report["brightness_levels"]["max"] < 11
        assert report["shift_px"]["max"] < 2.7
    assert (shifted, checked) == (18, 58)


@pytest.mark.realdata
def test_frames_of_one_clip_in_two_splits_are_found(run: Run, tmp_path: Path) -> None:
    """Every third frame, in turn to one split and the other, under different names."""
    frames = sorted(Path(os.environ["DEBLUR_DATA"], "clips").rglob("*.webp"))
    assert len(frames) == 24
    for number, frame in enumerate(frames[::3]):
        split, clip = ("train", "a") if number % 2 else ("val", "b")
        sharp = np.asarray(Image.open(frame).convert("RGB"))
        for kind, pixels in (("sharp", sharp), ("blur", blurred(sharp))):
            save(tmp_path / "clips" / split / kind / clip / frame.name, pixels)
    ran = run("datasets", "check", tmp_path / "clips", "--json")
    assert ran.code == 3
    assert {item["level"] for item in findings(ran)["leakage"]} == {"fail"}


@pytest.mark.realdata
def test_frames_of_gopro_divided_between_the_splits_are_found(run: Run, tmp_path: Path) -> None:
    scene = Path(os.environ["DEBLUR_DATA"], "gopro/train/GOPR0372_07_00")
    for number, sharp in enumerate(sorted((scene / "sharp").iterdir())[:6]):
        folder = tmp_path / "gopro" / ("train/one" if number % 2 else "val/two")
        for kind in ("sharp", "blur"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(scene / kind / sharp.name, folder / kind)
    ran = run("datasets", "check", tmp_path / "gopro", "--json")
    assert ran.code == 3
    assert {item["level"] for item in findings(ran)["leakage"]} == {"fail"}


@pytest.mark.realdata
def test_different_photographs_are_no_leak(run: Run, tmp_path: Path) -> None:
    data = Path(os.environ["DEBLUR_DATA"])
    for split, folder in (("train", "photos"), ("val", "kodak")):
        for path in sorted((data / folder).glob("*.webp"))[::2]:
            with Image.open(path) as picture:
                small = np.asarray(picture.convert("RGB").resize((240, 160), Image.Resampling.BOX))
            save(tmp_path / f"set/{split}/sharp/{path.stem}.png", small)
            save(tmp_path / f"set/{split}/blur/{path.stem}.png", blurred(small))
    ran = run("datasets", "check", tmp_path / "set", "--json")
    assert ran.code == 0
    assert "leakage" not in findings(ran)
