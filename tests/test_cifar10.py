"""CIFAR-10 is read from its binary files and from class folders, whole or in part, and blurred as the reports did."""

import logging
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur_cli.blur.spec_file import preset
from deblur_cli.data import open_pairs
from deblur_cli.data.cifar10 import pictures, read_batch
from deblur_cli.errors import MissingError, PictureError
from deblur_cli.host.manager import Host
from deblur_cli.metrics.full_reference import mse
from deblur_cli.metrics.structural import ssim
from deblur_cli.pictures.scaling import from_integers

TRAIN = [f"data_batch_{number}" for number in range(1, 6)]


@pytest.fixture(scope="module")
def host() -> Host:
    return Host.discover(environ={})


def write_batch(folder: Path, name: str, *, count: int, seed: int) -> np.ndarray:
    """Write a batch byte by byte as its authors describe it; returns its pictures."""
    images = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.bin").open("wb") as file:
        for number, image in enumerate(images):
            file.write(bytes([number % 10]))
            for channel in range(3):
                file.write(image[:, :, channel].tobytes())
    return images


def write_all(root: Path, *, count: int = 12) -> dict[str, np.ndarray]:
    folder = root / "cifar-10-batches-bin"
    return {
        name: write_batch(folder, name, count=count, seed=seed)
        for seed, name in enumerate([*TRAIN, "test_batch"])
    }


def test_the_binary_files_give_every_picture_with_its_place_among_all(tmp_path):
    written = write_all(tmp_path)
    train, test = pictures(tmp_path, "train"), pictures(tmp_path, "test")
    assert (len(train), len(test)) == (60, 12)
    for number, picture in enumerate(train):
        batch, record = divmod(number, 12)
        assert picture.name == f"data_batch_{batch + 1}/{record:05d}"
        assert (picture.index, picture.part, picture.size()) == (10_000 * batch + record, "train", (32, 32))
        np.testing.assert_array_equal(picture.load(), written[TRAIN[batch]][record])
    assert [picture.index for picture in test] == list(range(50_000, 50_012))
    assert {picture.part for picture in test} == {"test"}
    np.testing.assert_array_equal(test[-1].load(), written["test_batch"][11])


@pytest.mark.parametrize("given", ["cifar-10-batches-bin", "."])
def test_the_folder_itself_and_the_one_above_it_will_do(host, tmp_path, given):
    write_all(tmp_path / "cifar10")
    by_path = open_pairs(host, tmp_path / "cifar10" / given, split="test")
    by_name = open_pairs(host, "cifar10", split="test", environ={"DEBLUR_DATA": str(tmp_path)})
    assert [pair.name for pair in by_path] == [f"test_batch/{number:05d}" for number in range(12)]
    for mine, its in zip(by_path, by_name, strict=True):
        np.testing.assert_array_equal(mine.load(), its.load())


def test_batches_that_are_missing_are_named_and_shift_no_other(tmp_path, caplog):
    whole = write_all(tmp_path)
    folder = tmp_path / "cifar-10-batches-bin"
    for name in ("data_batch_1", "data_batch_4"):
        (folder / f"{name}.bin").unlink()
    with caplog.at_level(logging.WARNING):
        train = pictures(tmp_path, "train")
    assert "incomplete: 3 of 5 batches for train" in caplog.text
    assert "data_batch_2.bin holds 12 of 10000 pictures" in caplog.text
    assert [picture.index for picture in train[::12]] == [10_000, 20_000, 40_000]
    np.testing.assert_array_equal(train[13].load(), whole["data_batch_3"][1])
    (folder / "test_batch.bin").unlink()
    with pytest.raises(
        MissingError, match=r"holds no test_batch.bin; get it again: deblur datasets get cifar10"
    ):
        pictures(tmp_path, "test")


@pytest.mark.parametrize("size", [0, 3072, 3073 * 12 - 1, 3073 * 10_001])
def test_a_batch_of_the_wrong_size_is_refused_in_one_line(tmp_path, size):
    write_all(tmp_path)
    file = tmp_path / "cifar-10-batches-bin" / "data_batch_2.bin"
    with file.open("r+b") as batch:
        batch.truncate(size)
    message = (
        f"data_batch_2.bin: it holds {size} bytes, not the 30730000 of a batch of CIFAR-10; get it again"
    )
    for read in (lambda: pictures(tmp_path, "train"), lambda: read_batch(file)):
        with pytest.raises(PictureError, match=message) as caught:
            read()
        assert "\n" not in str(caught.value)


def test_a_batch_that_is_replaced_is_read_anew(tmp_path):
    write_all(tmp_path)
    picture = pictures(tmp_path, "test")[3]
    before = picture.load()
    folder = tmp_path / "cifar-10-batches-bin"
    after = write_batch(folder.with_name("new"), "test_batch", count=12, seed=99)
    (folder.with_name("new") / "test_batch.bin").replace(folder / "test_batch.bin")
    np.testing.assert_array_equal(picture.load(), after[3])
    assert (before != after[3]).any()
    (folder / "test_batch.bin").unlink()
    with pytest.raises(PictureError, match="cannot read test_batch/00003 in"):
        picture.load()


def test_a_batch_is_read_whole_for_those_who_want_all_of_it(tmp_path):
    written = write_all(tmp_path)
    images = read_batch(tmp_path / "cifar-10-batches-bin" / "data_batch_5.bin")
    assert images.flags.c_contiguous
    np.testing.assert_array_equal(images, written["data_batch_5"])
    with pytest.raises(PictureError, match=r"cannot read .*nothing.bin: no such file"):
        read_batch(tmp_path / "nothing.bin")


def test_pictures_cost_no_memory_until_they_are_opened(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in [*TRAIN, "test_batch"]:
        with (folder / f"{name}.bin").open("wb") as file:
            file.truncate(30_730_000)
    tracemalloc.start()
    try:
        train = pictures(tmp_path, "train")
        for picture in train[::5000]:
            assert not picture.load().any()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(train) == 50_000
    assert peak < 500_000


def test_class_folders_give_the_same_pixels_and_places_by_their_sorted_names(tmp_path):
    rng = np.random.default_rng(5)
    written = {}
    for part, label, number in (
        ("train", "ship", 7),
        ("train", "cat", 3),
        ("test", "ship", 1),
        ("train", "cat", 20),
    ):
        name = f"{part}/{label}/{number:05d}.png"
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        written[name] = rng.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(written[name]).save(tmp_path / name)
    found = [*pictures(tmp_path, "train"), *pictures(tmp_path, "test")]
    assert [(picture.name, picture.index, picture.part) for picture in found] == [
        ("train/cat/00003.png", 1, "train"),
        ("train/cat/00020.png", 2, "train"),
        ("train/ship/00007.png", 3, "train"),
        ("test/ship/00001.png", 0, "test"),
    ]
    for picture in found:
        assert picture.size() == (32, 32)
        np.testing.assert_array_equal(picture.load(), written[picture.name])


def test_an_empty_folder_says_what_is_expected(host, tmp_path):
    (tmp_path / "cifar10").mkdir()
    with pytest.raises(MissingError) as caught:
        open_pairs(host, "cifar10", split="train", environ={"DEBLUR_DATA": str(tmp_path)})
    assert "cifar-10-batches-bin/{data_batch_1,...,test_batch}.bin" in str(caught.value)
    assert f"looked in: {tmp_path}/cifar10, {tmp_path}/cifar10/cifar-10-batches-bin" in str(caught.value)


def test_pairs_are_blurred_by_opencv_with_a_sigma_that_hangs_on_seed_and_index_alone(host, tmp_path):
    import cv2

    written = write_all(tmp_path)
    pairs = open_pairs(host, tmp_path, split="test")
    for number, pair in enumerate(pairs):
        seeds = np.random.SeedSequence(42, spawn_key=(50_000 + number, 0, 1, 0))
        sigma = 3 * np.random.Generator(np.random.Philox(seeds)).random()
        blurry, sharp = pair.load()
        np.testing.assert_array_equal(sharp, written["test_batch"][number])
        np.testing.assert_array_equal(blurry, cv2.GaussianBlur(sharp, (0, 0), sigma))


@pytest.mark.parametrize(
    ("name", "share"), [("cifar10-s0", 0.125), ("cifar10-s2", 0.15), ("cifar10-s3", 0.2)]
)
def test_a_preset_takes_its_share_of_the_training_part_to_validate_on(host, tmp_path, name, share):
    write_all(tmp_path, count=400)
    train, val, test = (
        {
            pair.name
            for pair in open_pairs(host, tmp_path, split=split, preset=preset(name, host.degradations))
        }
        for split in ("train", "val", "test")
    )
    assert not train & val
    assert train | val == {f"{batch}/{record:05d}" for batch in TRAIN for record in range(400)}
    assert len(val) / 2000 == pytest.approx(share, abs=0.025)
    assert len(test) == 400


@pytest.mark.realdata
@pytest.mark.slow
def test_the_real_test_pictures_come_out_as_blurred_as_the_report_says(host):
    """S. Orlandi and L. Pinardi, Bologna 2020: 24.67 dB as a mean over the pictures, MSE 6.317e-3, SSIM 0.7135."""
    try:
        pairs = open_pairs(host, "cifar10", split="test")
    except MissingError as error:
        pytest.skip(str(error))
    assert len(pairs) == 10_000
    loaded = ([from_integers(picture) for picture in pair.load()] for pair in pairs)
    scores = np.array([(mse(blurry, sharp), ssim(blurry, sharp)) for blurry, sharp in loaded])
    errors = scores[:, 0]
    assert scores[:, 1].mean() == pytest.approx(0.7135, abs=0.01)
    finite = errors[errors > 0]
    assert -10 * np.log10(finite).mean() == pytest.approx(24.67, abs=0.3)
    assert errors.mean() == pytest.approx(6.317e-3, rel=0.03)
    assert 1 - len(finite) / 10_000 == pytest.approx(0.0944, abs=0.01)  # sigma below 1 / sqrt(2 ln 512), of 3
