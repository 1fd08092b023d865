"""The sample pairs are made once, without the network, the same each time, and never half."""

import json
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from skimage import data

from deblur_cli.data import open_pairs
from deblur_cli.data.sample import photograph, sample
from deblur_cli.errors import MissingError
from deblur_cli.host.manager import Host


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    sample(folder, "val")
    return folder


def test_the_sample_pairs_are_small_blurred_and_from_different_photographs_for_training(cache):
    host = Host.discover(environ={})
    seen = {}
    for split in ("train", "val", "test"):
        pairs = open_pairs(host, "sample", split=split, environ={"DEBLUR_CACHE": str(cache)})
        assert len(pairs) == 6
        for pair in pairs:
            blurry, sharp = (picture.astype(float) for picture in pair.load())
            assert sharp.shape == (256, 256, 3)
            assert 18 < 10 * np.log10(255**2 / np.mean((blurry - sharp) ** 2)) < 36
        seen[split] = {pair.name.partition("_")[2] for pair in pairs}
    assert seen["val"] == seen["test"]
    assert not seen["train"] & seen["val"]


def test_the_sample_pairs_are_the_same_when_made_again(cache, tmp_path):
    first, second = sample(cache, "val"), sample(tmp_path, "val")
    for one, other in zip(first, second, strict=True):
        assert one.name == other.name
        assert all(np.array_equal(a, b) for a, b in zip(one.load(), other.load(), strict=True))


def test_the_record_tells_what_was_drawn(cache):
    (folder,) = cache.glob("sample-*")
    records = [json.loads(line) for line in (folder / "val" / "meta.jsonl").read_text().splitlines()]
    assert [record["steps"][0]["op"] for record in records].count("camera_shake") == 4
    assert [record["steps"][0]["op"] for record in records].count("gaussian") == 2
    for record in records:
        assert record["sharp_sha256"] != record["blur_sha256"]


def test_made_pairs_are_used_again_and_made_by_two_at_once_only_kept_once(tmp_path, monkeypatch):
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(lambda split: sample(tmp_path, split), ("train", "val")))
    assert [len(pairs) for pairs in both] == [6, 6]
    (folder,) = tmp_path.iterdir()  # nothing half-made is left beside it
    before = (folder / "val" / "meta.jsonl").stat().st_mtime_ns
    monkeypatch.setattr(socket, "socket", None)  # nothing may ask the network
    assert len(sample(tmp_path, "val")) == 6
    assert (folder / "val" / "meta.jsonl").stat().st_mtime_ns == before


@pytest.mark.parametrize("harm", ["removed", "emptied", "no sums"])
def test_a_damaged_cache_is_made_anew(cache, tmp_path, harm):
    shutil.copytree(cache, tmp_path / "cache")
    (folder,) = (tmp_path / "cache").iterdir()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    victim = folder / ("sha256.json" if harm == "no sums" else "val/sharp/0_astronaut.png")
    if harm == "emptied":
        victim.write_bytes(b"")
    else:
        victim.unlink()
    assert len(sample(tmp_path / "cache", "val")) == 6
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert list((tmp_path / "cache").iterdir()) == [folder]


def test_a_cache_that_cannot_be_written_is_one_clear_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(MissingError, match=r"cannot write the sample pairs to .*set DEBLUR_CACHE"):
        sample(blocked, "val")


def test_photographs_are_those_within_scikit_image():
    assert np.array_equal(photograph("astronaut.png"), data.astronaut())
    with pytest.raises(MissingError, match=r"the photograph nothing.png is not in scikit-image"):
        photograph("nothing.png")
