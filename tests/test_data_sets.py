"""Data sets are found in their official layouts, in ours and in plain folders; what is not found says where it looked."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur_cli import Dataset
from deblur_cli.data import DATASETS, FilePair, open_pairs
from deblur_cli.errors import MissingError, PictureError, UsageError
from deblur_cli.host.manager import Host


@pytest.fixture(scope="module")
def host() -> Host:
    return Host.discover(environ={})


def write(path: Path, *, value: int = 0, size: tuple[int, int] = (12, 8), **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(path, **options)


def write_pair(blurry: Path, sharp: Path, **options) -> None:
    write(blurry, value=10, **options)
    write(sharp, value=200, **options)


def names(host: Host, spec: str | Path, split: str, **environ: object) -> list[str]:
    pairs = open_pairs(host, spec, split=split, environ={key: str(value) for key, value in environ.items()})
    for pair in pairs:
        blurry, sharp = pair.load()
        assert blurry.dtype == sharp.dtype == np.uint8
        assert blurry.shape == sharp.shape == (*pair.size(), 3)
        assert blurry.mean() < sharp.mean()  # not exchanged
    return [pair.name for pair in pairs]


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "bmp", "TIFF"])
def test_gopro_is_read_in_its_official_layout_whatever_the_format(host, tmp_path, suffix):
    for split, scene, number in (
        ("train", "GOPR0372_07_00", 47),
        ("train", "GOPR0374_11_00", 1),
        ("test", "GOPR0384_11_00", 2),
    ):
        scene_folder = tmp_path / "gopro" / split / scene
        for kind in ("blur", "blur_gamma", "sharp"):
            write(
                scene_folder / kind / f"{number:06d}.{suffix}",
                value={"blur": 10, "blur_gamma": 20, "sharp": 90}[kind],
            )
    assert names(host, "gopro", "train", DEBLUR_DATA=tmp_path) == [
        "GOPR0372_07_00/000047",
        "GOPR0374_11_00/000001",
    ]
    assert names(host, "gopro", "test", DEBLUR_DATA=tmp_path) == ["GOPR0384_11_00/000002"]
    assert names(host, "gopro", "val", DEBLUR_DATA=tmp_path) == ["GOPR0384_11_00/000002"]
    assert names(host, tmp_path / "gopro", "train") == ["GOPR0372_07_00/000047", "GOPR0374_11_00/000001"]
    levels = [
        open_pairs(host, name, split="test", environ={"DEBLUR_DATA": str(tmp_path)})[0].load()[0].mean()
        for name in ("gopro", "gopro-gamma")
    ]
    assert levels == pytest.approx([10, 20], abs=3)


@pytest.mark.parametrize("below", ["", "{split}/"])
@pytest.mark.parametrize(("name", "end"), [("reds", ""), ("reds_x4", "_bicubic/X4")])
def test_reds_is_read_in_its_official_layouts(host, tmp_path, below, name, end):
    root = tmp_path / name.upper()  # the case of the folder's name does not matter
    for split, clip in (("train", "000"), ("train", "001"), ("val", "000")):
        base = root / below.format(split=split)
        for number in (8, 9):
            file = f"{clip}/{number:08d}.png"
            write_pair(base / f"{split}_blur{end}" / file, base / f"{split}_sharp{end}" / file)
    expected = ["000/00000008", "000/00000009", "001/00000008", "001/00000009"]
    assert names(host, name, "train", DEBLUR_DATA=tmp_path) == expected
    assert names(host, name, "val", DEBLUR_DATA=tmp_path) == expected[:2]
    assert names(host, name, "test", DEBLUR_DATA=tmp_path) == expected[:2]
    assert names(host, root, "val") == expected[:2]


def test_reds_is_read_from_folders_of_splits(host, tmp_path):
    for split in ("train", "val"):
        base = tmp_path / "reds" / split
        write_pair(base / "blur" / split / "1.webp", base / "sharp" / split / "1.webp", lossless=True)
    assert names(host, "reds", "val", DEBLUR_DATA=tmp_path) == ["val/1"]


@pytest.mark.parametrize(("blurry", "sharp"), [("blur", "sharp"), ("input", "target")])
def test_any_folder_of_pairs_is_read_for_every_split(host, tmp_path, blurry, sharp):
    write_pair(tmp_path / blurry / "b.png", tmp_path / sharp / "b.bmp")
    write_pair(tmp_path / blurry / "a" / "c.png", tmp_path / sharp / "a" / "c.png")
    write(tmp_path / sharp / "alone.png")
    (tmp_path / blurry / "notes.txt").write_text("no picture")
    write(tmp_path / blurry / ".hidden.png")
    for split in ("train", "val", "test"):
        assert names(host, str(tmp_path), split) == ["a/c", "b"]


def test_folders_of_splits_are_kept_apart(host, tmp_path):
    write_pair(tmp_path / "train" / "blur" / "1.png", tmp_path / "train" / "sharp" / "1.png")
    write_pair(tmp_path / "val" / "blur" / "2.png", tmp_path / "val" / "sharp" / "2.png")
    assert names(host, tmp_path, "train") == ["1"]
    assert names(host, tmp_path, "val") == ["2"]
    assert names(host, tmp_path, "test") == ["2"]


def test_a_training_folder_without_a_held_out_part_is_not_measured_on_itself(host, tmp_path):
    write_pair(tmp_path / "train" / "blur" / "1.png", tmp_path / "train" / "sharp" / "1.png")
    with pytest.raises(MissingError, match="no pairs for the split val"):
        open_pairs(host, tmp_path, split="val")


def test_no_pairs_shows_the_layout_and_where_it_looked(host, tmp_path):
    (tmp_path / "gopro" / "train").mkdir(parents=True)
    with pytest.raises(MissingError) as caught:
        open_pairs(host, "gopro", split="train", environ={"DEBLUR_DATA": str(tmp_path)})
    lines = str(caught.value).splitlines()
    assert lines[1] == f"  expected: {tmp_path}/gopro/{{train,test}}/SCENE/{{blur,sharp}}/000001.png"
    assert lines[2] == f"  looked in: {tmp_path}/gopro/train"
    with pytest.raises(MissingError, match=r"FOLDER/\{input,target\}/NAME\.png") as caught:
        open_pairs(host, tmp_path / "gopro" / "train", split="val")
    assert str(tmp_path / "gopro" / "train") in str(caught.value)


@pytest.mark.parametrize("name", [item.name for item in DATASETS if not item.generated])
def test_a_missing_data_set_names_the_variable_and_the_layout(host, tmp_path, name):
    with pytest.raises(MissingError, match=r"DEBLUR_DATA is not set(?s:.*)expected: DEBLUR_DATA/"):
        open_pairs(host, name, split="train", environ={})
    with pytest.raises(MissingError, match=r"there is no (?s:.*)expected: DEBLUR_DATA/") as caught:
        open_pairs(host, name, split="train", environ={"DEBLUR_DATA": str(tmp_path)})
    assert str(tmp_path) in str(caught.value)


def test_a_misspelt_data_set_is_answered_with_the_near_ones(host):
    with pytest.raises(MissingError, match=r"neither a data set nor a folder 'gopra'; did you mean gopro"):
        open_pairs(host, "gopra", split="val")
    with pytest.raises(MissingError, match="data sets: gopro, gopro-gamma, reds, reds_x4, sample"):
        open_pairs(host, "xyz", split="val")
    with pytest.raises(MissingError, match=r"no pairs in .*xyz: there is no such folder"):
        open_pairs(host, "somewhere/xyz", split="val")
    with pytest.raises(UsageError, match="the name of the data is empty"):
        open_pairs(host, "", split="val")
    with pytest.raises(UsageError, match="no split 'dev'; there are: train, val, test"):
        open_pairs(host, "gopro", split="dev")


def test_a_blurred_picture_without_its_original_is_refused(host, tmp_path):
    write_pair(tmp_path / "blur" / "1.png", tmp_path / "sharp" / "1.png")
    write(tmp_path / "blur" / "2.png")
    with pytest.raises(PictureError, match=r"blur/2.png has no sharp picture: there is no .*sharp/2 with"):
        open_pairs(host, tmp_path, split="val")


def test_two_files_for_one_name_are_refused(host, tmp_path):
    write_pair(tmp_path / "blur" / "1.png", tmp_path / "sharp" / "1.png")
    write(tmp_path / "sharp" / "1.bmp")
    with pytest.raises(PictureError, match=r"1.bmp and .*1.png have one name but for the extension"):
        open_pairs(host, tmp_path, split="val")


def test_a_pair_of_two_sizes_is_refused_with_both_files(host, tmp_path):
    write(tmp_path / "blur" / "1.png", size=(12, 8))
    write(tmp_path / "sharp" / "1.png", size=(12, 9))
    (pair,) = open_pairs(host, tmp_path, split="val")
    with pytest.raises(PictureError, match=r"blur/1.png is 12x8, .*sharp/1.png is 12x9"):
        pair.load()


def test_a_broken_file_is_an_error_of_its_pair_alone(host, tmp_path):
    write_pair(tmp_path / "blur" / "1.png", tmp_path / "sharp" / "1.png")
    (tmp_path / "blur" / "1.png").write_bytes(b"")
    (pair,) = open_pairs(host, tmp_path, split="val")
    with pytest.raises(PictureError, match=r"blur/1.png"):
        pair.load()
    (tmp_path / "sharp" / "1.png").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"sharp/1.png"):
        pair.size()


def test_grey_pictures_become_rgb_and_turned_ones_upright(tmp_path):
    Image.fromarray(np.full((8, 12), 77, np.uint8)).save(tmp_path / "blur.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.fromarray(np.full((12, 8, 3), 99, np.uint8)).save(tmp_path / "sharp.jpg", exif=exif)
    pair = FilePair(name="1", blurry=tmp_path / "blur.png", sharp=tmp_path / "sharp.jpg")
    assert pair.size() == (8, 12)
    blurry, sharp = pair.load()
    assert blurry.shape == sharp.shape == (8, 12, 3)
    assert (blurry == 77).all()


def test_every_declared_data_set_is_found_by_its_name(host):
    for item in DATASETS:
        assert isinstance(item, Dataset)
        assert host.datasets[item.name] == item


def test_declaring_data_sets_and_degradations_imports_no_numpy():
    code = (
        "import sys, deblur_cli.data, deblur_cli.blur\n"
        "list(deblur_cli.data.deblur_datasets()), list(deblur_cli.blur.deblur_degradations())\n"
        "sys.exit(bool({'numpy', 'torch', 'PIL', 'cv2', 'skimage'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_declared_degradation_can_be_drawn_and_applied():
    from deblur_cli.blur import DEGRADATIONS
    from deblur_cli.host.declarations import import_object

    image = np.random.Generator(np.random.Philox(1)).random((72, 80, 3)).astype(np.float32)
    for item in DEGRADATIONS:
        rng = np.random.default_rng(1)
        params = import_object(item.draw)(rng)
        assert isinstance(params, import_object(item.params))
        result = import_object(item.apply)(image, params, rng)
        assert (result.shape, result.dtype) == (image.shape, np.float32)
        assert np.isfinite(result).all()
        assert (item.name == "identity") == bool(np.array_equal(result, image))


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "counts", "shape"),
    [("gopro", (17, 5), (720, 1280)), ("reds", (14, 1), (720, 1280)), ("reds_x4", (18, 3), (180, 320))],
)
def test_real_pairs_are_complete_and_blurred(host, name, counts, shape):
    for split, count in zip(("train", "val"), counts, strict=True):
        pairs = open_pairs(host, name, split=split)
        assert len(pairs) == count
        for pair in pairs[:2]:
            blurry, sharp = (picture.astype(float) for picture in pair.load())
            assert pair.size() == sharp.shape[:2] == shape
            assert np.abs(np.diff(blurry, axis=1)).mean() < np.abs(np.diff(sharp, axis=1)).mean()
            assert 18 < 10 * np.log10(255**2 / np.mean((blurry - sharp) ** 2)) < 36
