"""Data sets are found in their official layouts, in ours and in plain folders; what is not found says where it looked."""

import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur_cli import Dataset
from deblur_cli.blur.spec import Spec
from deblur_cli.blur.spec_file import parse_spec, preset
from deblur_cli.data import DATASETS, FilePair, Pair, open_pairs
from deblur_cli.data.listing import list_names
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
@pytest.mark.parametrize(
    ("name", "blurry", "end"),
    [
        ("reds", "blur", ""), ("reds_x4", "blur", "_bicubic/X4"),
        ("reds-jpeg", "blur_jpeg", ""), ("reds-jpeg", "blur_comp", ""),
    ],
)  # fmt: skip
def test_reds_is_read_in_its_official_layouts(host, tmp_path, below, name, blurry, end):
    root = tmp_path / name.removesuffix("-jpeg").upper()  # the case of the folder's name does not matter
    for split, clip in (("train", "000"), ("train", "001"), ("val", "000")):
        base = root / below.format(split=split)
        for number in (8, 9):
            file = f"{clip}/{number:08d}.png"
            write_pair(base / f"{split}_{blurry}{end}" / file, base / f"{split}_sharp{end}" / file)
    expected = ["000/00000008", "000/00000009", "001/00000008", "001/00000009"]
    assert names(host, name, "train", DEBLUR_DATA=tmp_path) == expected
    assert names(host, name, "val", DEBLUR_DATA=tmp_path) == expected[:2]
    assert names(host, name, "test", DEBLUR_DATA=tmp_path) == expected[:2]
    if name != "reds-jpeg":  # a folder without a name is looked through for the plain blur only
        assert names(host, root, "val") == expected[:2]


def test_reds_is_read_from_folders_of_splits(host, tmp_path):
    for split in ("train", "val"):
        base = tmp_path / "reds" / split
        write_pair(base / "blur" / split / "1.webp", base / "sharp" / split / "1.webp", lossless=True)
    assert names(host, "reds", "val", DEBLUR_DATA=tmp_path) == ["val/1"]


def test_compressed_reds_is_read_from_folders_of_splits_beside_the_plain_one(host, tmp_path):
    for split in ("train", "val"):
        base = tmp_path / "reds" / split
        for blurry in ("blur", "blur_jpeg"):
            write(base / blurry / "000" / "1.jpg", value={"blur": 10, "blur_jpeg": 30}[blurry])
        write(base / "sharp" / "000" / "1.png", value=200)
    environ = {"DEBLUR_DATA": str(tmp_path)}
    for name, level in (("reds", 10), ("reds-jpeg", 30)):
        (pair,) = open_pairs(host, name, split="val", environ=environ)
        assert pair.load()[0].mean() == pytest.approx(level, abs=2)


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
    with pytest.raises(
        MissingError, match="data sets: cifar10, gopro, gopro-gamma, kodak, reds, reds-jpeg, reds_x4, sample"
    ):
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


TILED = """
schema = 1
name = "tiled"
seed = 7
source = "pairs"
resize = { size = [32, 24], filter = "bilinear" }
grid = [3, 4]
[output]
splits = { train = 0.6, val = 0.4 }
group = "folder"
"""

PATCHED = """
schema = 1
name = "patched"
seed = 7
source = "pairs"
patch = [16, 20]
patches = 2
[output]
splits = { train = 1.0 }
"""

PLAIN = """
schema = 1
name = "plain"
seed = 3
[[step]]
op = "gaussian"
sigma = 1.0
[output]
splits = { train = 0.6, val = 0.2, test = 0.2 }
group = "%s"
"""


def spec(host: Host, text: str) -> Spec:
    return parse_spec(text, host.degradations, file="spec.toml", folder=Path())


def noise(path: Path, seed: int, *, size: tuple[int, int] = (80, 60)) -> np.ndarray:
    """Write a picture of which no two places are alike, and return it."""
    pixels = np.random.default_rng(seed).integers(100, 256, (size[1], size[0], 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def write_clips(root: Path, *, clips: int, held_out: str = "val") -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pairs of `clips` training clips and one held-out clip, two frames each; the blurred one has half the light."""
    written = {}
    for split, count in (("train", clips), (held_out, 1)):
        for clip in range(count):
            for frame in range(2):
                name = f"{split}{clip}/{frame:08d}"
                sharp = noise(root / f"{split}_sharp" / f"{name}.png", hash_of(name))
                blurry = root / f"{split}_blur" / f"{name}.png"
                blurry.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(sharp // 2).save(blurry)
                written[name] = (sharp // 2, sharp)
    return written


def hash_of(name: str) -> int:
    return int.from_bytes(name.encode()[-6:], "big")


def clips_of(pairs: Sequence[Pair]) -> set[str]:
    return {pair.name.split("/")[0] for pair in pairs}


def test_a_preset_resizes_ready_pairs_and_cuts_them_into_tiles(host, tmp_path):
    import torch

    written = write_clips(tmp_path / "reds", clips=8)
    tiles = open_pairs(
        host, "reds", split="test", environ={"DEBLUR_DATA": str(tmp_path)}, preset=spec(host, TILED)
    )
    assert len(tiles) == 2 * 12
    for frame in range(2):
        originals = written[f"val0/{frame:08d}"]
        loaded = [tile.load() for tile in tiles[12 * frame : 12 * (frame + 1)]]
        assert {pixels.shape for pair in loaded for pixels in pair} == {(8, 8, 3)}
        assert {tile.size() for tile in tiles} == {(8, 8)}
        for side, original in enumerate(originals):
            rows = [np.hstack([pair[side] for pair in loaded[4 * row : 4 * row + 4]]) for row in range(3)]
            pasted = np.vstack(rows)
            planes = torch.from_numpy(original.astype(np.float32)).permute(2, 0, 1)[None]
            expected = torch.nn.functional.interpolate(planes, (24, 32), mode="bilinear", align_corners=False)
            np.testing.assert_allclose(pasted, expected[0].permute(1, 2, 0).numpy(), atol=0.501)


def test_tiles_have_names_of_their_own_and_one_value_in_any_order_and_process(host, tmp_path):
    write_clips(tmp_path, clips=8)
    tiles = open_pairs(host, tmp_path, split="test", preset=spec(host, TILED))
    assert len({tile.name for tile in tiles}) == len(tiles)
    forward = [tile.load() for tile in tiles]
    elsewhere = pickle.loads(pickle.dumps(list(reversed(tiles))))
    for mine, its in zip(reversed(forward), (tile.load() for tile in elsewhere), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_a_preset_divides_the_training_part_by_clip_and_tests_on_what_is_held_out(host, tmp_path):
    write_clips(tmp_path, clips=12)
    split = {
        name: open_pairs(host, tmp_path, split=name, preset=spec(host, TILED))
        for name in ("train", "val", "test")
    }
    train, val = clips_of(split["train"]), clips_of(split["val"])
    assert train
    assert val
    assert not train & val
    assert train | val == {f"train{clip}" for clip in range(12)}
    assert clips_of(split["test"]) == {"val0"}
    assert len(split["train"]) == 2 * len(train), "whole pictures: the trainer cuts its own crops"
    assert {pair.size() for pair in split["train"]} == {(24, 32)}
    assert len(split["val"]) == 2 * 12 * len(val)


def test_a_clip_is_not_torn_apart_to_have_something_to_validate_on(host, tmp_path):
    write_clips(tmp_path / "reds", clips=1)
    found = {}
    for name in ("train", "val"):
        try:
            found[name] = open_pairs(
                host, "reds", split=name, environ={"DEBLUR_DATA": str(tmp_path)}, preset=spec(host, TILED)
            )
        except MissingError as error:
            found[name] = str(error)
    (message,) = (item for item in found.values() if isinstance(item, str))
    assert "of its 4 pairs tiled puts none there; whole clips and scenes go to one split" in message


def test_a_patch_is_cut_from_the_same_place_of_both_and_always_from_the_same(host, tmp_path):
    written = write_clips(tmp_path, clips=2)
    patches = open_pairs(host, tmp_path, split="val", preset=spec(host, PATCHED))
    assert len(patches) == 4, "the preset has no share for val, so that the held-out part stands for it"
    places = set()
    for patch in patches:
        blurry, sharp = patch.load()
        assert sharp.shape == (*patch.size(), 3) == (16, 20, 3)
        np.testing.assert_array_equal(blurry, sharp // 2)
        whole = written[patch.name.rpartition("_")[0]][1]
        views = np.lib.stride_tricks.sliding_window_view(whole, (16, 20, 3))[..., 0, :, :, :]
        (place,) = np.argwhere((views == sharp).all(axis=(2, 3, 4)))
        places.add((patch.name, *place))
    assert len({place[1:] for place in places}) == 4
    again = open_pairs(host, tmp_path, split="val", preset=spec(host, PATCHED))
    for patch, same in zip(patches, again, strict=True):
        np.testing.assert_array_equal(patch.load(), same.load())


def test_a_pair_smaller_than_its_patch_is_an_error_of_its_own(host, tmp_path):
    write_pair(tmp_path / "blur" / "1.png", tmp_path / "sharp" / "1.png")
    text = PATCHED.replace("train = 1.0", "val = 1.0")
    pair, _ = open_pairs(host, tmp_path, split="val", preset=spec(host, text))
    with pytest.raises(PictureError, match="cannot use the pair 1: it is 12x8, and patched needs 20x16"):
        pair.load()


def test_a_preset_for_another_kind_of_data_is_refused_with_both_names(host, tmp_path):
    write_clips(tmp_path / "reds", clips=1)
    noise(tmp_path / "photos" / "1.png", 1)
    environ = {"DEBLUR_DATA": str(tmp_path)}
    kinds = {name: preset(name, host.degradations) for name in ("gaussian", "reds-s0-256", "gopro_7_13")}
    for data, name, message in (
        ("reds", "gaussian", "the preset gaussian blurs sharp pictures, and the data set reds has blurred ones"),
        ("cifar10", "reds-s0-256", "the preset reds-s0-256 cuts ready pairs, and the data set cifar10 holds sharp"),
        ("reds", "gopro_7_13", "the preset gopro_7_13 averages frames of videos, and the data set reds holds"),
        (tmp_path / "reds", "gaussian", r"gaussian blurs sharp pictures, and the folder .*reds holds blurred ones"),
        (tmp_path / "photos", "gopro_7_13", r"deblur make-dataset .*photos PAIRS --preset gopro_7_13"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            open_pairs(host, data, split="train", environ=environ, preset=kinds[name])
    with pytest.raises(MissingError, match=r"no pairs for the split train in the folder .*photos"):
        open_pairs(host, tmp_path / "photos", split="train", preset=kinds["reds-s0-256"])


def test_a_folder_of_sharp_pictures_is_blurred_and_divided_by_a_preset(host, tmp_path):
    from scipy import ndimage

    pixels = {f"{number:02d}.png": noise(tmp_path / f"{number:02d}.png", number) for number in range(40)}
    plain = spec(host, PLAIN % "file")
    found = {name: open_pairs(host, tmp_path, split=name, preset=plain) for name in ("train", "val", "test")}
    parts = {name: [pair.name for pair in pairs] for name, pairs in found.items()}
    assert sorted(name for listed in parts.values() for name in listed) == sorted(pixels)
    assert [len(parts[name]) / 40 for name in parts] == pytest.approx([0.6, 0.2, 0.2], abs=0.15)
    pair = found["test"][0]
    blurry, sharp = pair.load()
    np.testing.assert_array_equal(sharp, pixels[pair.name])
    expected = ndimage.gaussian_filter(sharp.astype(float), (1, 1, 0), mode="mirror", radius=(4, 4, 0))
    np.testing.assert_allclose(blurry, expected, atol=0.51)
    (tmp_path / "05b.png").write_bytes((tmp_path / "05.png").read_bytes())
    after = {name: open_pairs(host, tmp_path, split=name, preset=plain) for name in parts}
    for name, before in parts.items():
        assert set(before) <= {pair.name for pair in after[name]}, "a new picture moves no other"


def test_pictures_of_one_folder_stay_together_where_the_preset_says_so(host, tmp_path):
    for folder in range(12):
        for number in range(3):
            noise(tmp_path / f"clip{folder}" / f"{number}.png", 3 * folder + number)
    parts = [
        clips_of(open_pairs(host, tmp_path, split=name, preset=spec(host, PLAIN % "folder")))
        for name in ("train", "val", "test")
    ]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 12


def test_folders_of_splits_decide_over_the_shares_of_a_preset(host, tmp_path):
    for part, count in (("train", 6), ("val", 2), ("test", 3)):
        for number in range(count):
            noise(tmp_path / part / f"{number}.png", number)
    plain = spec(host, PLAIN % "file")
    for part, count in (("train", 6), ("val", 2), ("test", 3)):
        pairs = open_pairs(host, tmp_path, split=part, preset=plain)
        assert [pair.name for pair in pairs] == [f"{part}/{number}.png" for number in range(count)]


def test_sharp_pictures_alone_ask_how_to_blur_them(host, tmp_path):
    noise(tmp_path / "photo.png", 1)
    with pytest.raises(MissingError, match="it holds pictures: say with --preset NAME how they are blurred"):
        open_pairs(host, tmp_path, split="val")


def test_what_make_dataset_wrote_is_divided_by_its_own_lists(host, tmp_path):
    for number in range(6):
        write_pair(tmp_path / "blur" / f"{number}.png", tmp_path / "sharp" / f"{number}.png")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "train.txt").write_text("0\n2\n3\n5\n")
    (tmp_path / "splits" / "val.txt").write_text("1\n4\n")
    (tmp_path / "splits" / "test.txt").write_text("")
    assert names(host, tmp_path, "train") == ["0", "2", "3", "5"]
    assert names(host, tmp_path, "val") == ["1", "4"]
    assert names(host, tmp_path, "test") == ["1", "4"]
    (tmp_path / "blur" / "4.png").unlink()
    with pytest.raises(
        MissingError, match=r"splits/val.txt lists 4, which is not in .*blur; where pictures were lost"
    ):
        open_pairs(host, tmp_path, split="val")


def test_pictures_are_listed_by_the_bytes_of_their_paths(tmp_path):
    for name in ("b.png", "B.jpg", "a/2.png", "a/10.png", "a-b.png", "é.png", ".hidden.png", "a/.x/1.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "a" / "circle").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    assert list_names(tmp_path) == [
        b"B.jpg", b"a-b.png", b"a/10.png", b"a/2.png", b"b.png", b"linked/10.png", b"linked/2.png", "é.png".encode()
    ]  # fmt: skip


def test_an_unreadable_folder_is_not_passed_over_in_silence(tmp_path):
    with pytest.raises(MissingError, match=r"there is no folder .*nowhere"):
        list_names(tmp_path / "nowhere")
    (tmp_path / "file.png").touch()
    with pytest.raises(MissingError, match="it is a file"):
        list_names(tmp_path / "file.png")


def test_a_name_in_the_listing_costs_less_than_200_bytes(tmp_path):
    import tracemalloc

    for number in range(1000):
        (tmp_path / f"photograph_{number:08d}.jpeg").touch()
    tracemalloc.start()
    try:
        listed = list_names(tmp_path)
        current, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(listed) == 1000
    assert current / 1000 < 110
    assert peak / 1000 < 200


@pytest.mark.parametrize("last", [False, True], ids=["before the pixels", "after them"])
def test_the_size_of_a_turned_png_is_that_of_the_upright_picture(tmp_path: Path, *, last: bool) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # by a quarter
    path = tmp_path / "turned.png"
    write(path, exif=turned)
    if last:  # as others write it; Pillow puts it first
        content = path.read_bytes()
        start = content.index(b"eXIf") - 4
        chunk = content[start : start + 12 + int.from_bytes(content[start : start + 4])]
        end = content.index(b"IEND") - 4
        path.write_bytes(content[:start] + content[start + len(chunk) : end] + chunk + content[end:])
    pair = FilePair(name="turned", blurry=path, sharp=path)
    assert pair.size() == pair.load()[1].shape[:2] == (12, 8)


def test_the_size_of_a_png_is_told_without_its_pixels(tmp_path: Path) -> None:
    path = tmp_path / "plain.png"
    write(path, size=(64, 48))
    content = bytearray(path.read_bytes())
    pixels = content.index(b"IDAT") + 4
    content[pixels + 8 : pixels + 12] = b"\0\0\0\0"
    path.write_bytes(content)
    pair = FilePair(name="plain", blurry=path, sharp=path)
    assert pair.size() == (48, 64)
    with pytest.raises(PictureError, match=r"plain\.png"):
        pair.load()


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
