"""What is kept of pictures changes how fast a training is, and not a bit of what it learns."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter

import deblur_rednet
from deblur_cli.blur.distributions import Uniform
from deblur_cli.blur.spec import Redraw, Spec, Step
from deblur_cli.data import Pair, open_pairs
from deblur_cli.errors import NotEnoughRoomError, UsageError
from deblur_cli.host.manager import Host
from deblur_cli.host.recipes import Flips
from deblur_cli.training.engine import Ended
from deblur_cli.training.feeding.batches import Division, batches
from deblur_cli.training.feeding.crops import Crops, Item
from deblur_cli.training.feeding.device_cache import hold_on_device
from deblur_cli.training.processes import Processes
from deblur_cli.training.request import Request
from deblur_cli.training.session import run_training

CPU = torch.device("cpu")
SIZES = ((48, 72), (41, 53), (64, 40), (20, 90))
"""Of the pairs, px; the last one is too small for a crop."""
PATCH = 24


@pytest.fixture(scope="module")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of several sizes, pieces of photographs and their Gaussian blur; two of them held out."""
    from skimage import data

    folder = tmp_path_factory.mktemp("pairs")
    pictures = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    for split, sizes in (("train", SIZES), ("val", SIZES[:2])):
        for name in ("blur", "sharp"):
            (folder / split / name).mkdir(parents=True)
        for i, (height, width) in enumerate(sizes):
            sharp = pictures[i][60 : 60 + height, 150 : 150 + width]
            blurry = np.rint(gaussian_filter(sharp.astype(float), (1.5, 1.5, 0))).astype(np.uint8)
            Image.fromarray(sharp).save(folder / split / "sharp" / f"{i}.png")
            Image.fromarray(blurry).save(folder / split / "blur" / f"{i}.png")
    return folder


def pairs_of(folder: Path) -> Sequence[Pair]:
    return open_pairs(Host.discover(), folder, split="train")


def train(
    pairs: Path, run: Path, *, resume: bool = False, stop_at: int | None = None, **changes: object
) -> Ended:
    recipe = replace(deblur_rednet.FAST, batch_size=4, patch=PATCH, accumulate=2, drop_last=False)
    request = Request(
        model="rednet30",
        data=(str(pairs),),
        recipe=recipe,
        options={"depth": 2, "width": 8},
        steps=6,  # more than an epoch
        device="cpu",
        dtype="float32",
        seed=3,
    )
    steps: list[int] = []
    told: list[str] = []
    ended = run_training(
        replace(request, **changes),
        run,
        host=Host.discover(),
        command=["test"],
        resume=resume,
        should_stop=lambda: stop_at is not None and len(steps) >= stop_at,
        report=lambda progress: steps.append(progress.step),
        tell=told.append,
    )
    assert bool(told) == (changes.get("cache") == "device")
    return ended


@pytest.mark.slow
def test_a_run_is_the_same_to_the_bit_whatever_is_kept(pairs_folder: Path, tmp_path: Path) -> None:
    train(pairs_folder, tmp_path / "memory")
    train(pairs_folder, tmp_path / "device", cache="device", workers=2)
    assert train(pairs_folder, tmp_path / "parts", cache="none", stop_at=3) is Ended.STOPPED
    assert train(pairs_folder, tmp_path / "parts", cache="device", resume=True) is Ended.DONE
    expected = load_file(tmp_path / "memory" / "last" / "state.safetensors")
    for name in ("device", "parts"):
        found = load_file(tmp_path / name / "last" / "state.safetensors")
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected), name


@pytest.mark.parametrize("flips", list(Flips))
@pytest.mark.parametrize("count", [1, 3])
def test_batches_from_the_device_are_those_of_the_loader(
    pairs_folder: Path, flips: Flips, count: int
) -> None:
    crops = Crops(pairs_of(pairs_folder), patch=PATCH, flips=flips, seed=5)
    assert crops.num_left_out == 1
    held = hold_on_device(crops, CPU, processes=Processes(), workers=0)
    for rank in range(count):
        division = Division(
            batch_size=4, parts=2, drop_last=False, processes=Processes(rank=rank, count=count)
        )
        for epoch, start in ((0, 0), (1, 2)):
            loaded = list(batches(crops, division, epoch=epoch, start=start, workers=0))
            cut = list(held.batches(division, epoch=epoch, start=start))
            assert [size for size, _, _ in cut] == [size for size, _, _ in loaded]
            assert loaded[-1][0] < 4  # an uneven last batch
            for one, other in zip(loaded, cut, strict=True):
                assert torch.equal(one[1], other[1])
                assert torch.equal(one[2], other[2])


def test_a_crop_is_the_place_it_says_in_both_pictures(pairs_folder: Path) -> None:
    pairs = pairs_of(pairs_folder)
    crops = Crops(pairs, patch=PATCH, flips=Flips.BOTH, seed=5)
    seen = set()
    for index in range(len(crops)):
        item = Item(2, index)
        pictures = pairs[crops.owner(item)].load()
        cut = crops.cut(item, *pictures[0].shape[:2])
        seen.add(cut.mirrored)
        for crop, picture in zip(crops[item], pictures, strict=True):
            place = torch.from_numpy(picture.copy()).permute(2, 0, 1)[:, cut.rows, cut.columns]
            down, across = cut.mirrored
            place = place.flip(1) if down else place
            assert torch.equal(crop, place.flip(2) if across else place)
    assert len(seen) == 4  # each mirroring was among them


class Counted:
    """A pair that counts how often it is read."""

    name = "counted"

    def __init__(self) -> None:
        self.loads = 0

    def size(self) -> tuple[int, int]:
        return 64, 64

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        self.loads += 1
        return np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)


def test_pictures_are_decoded_once_or_each_time() -> None:
    for room, loads in ((1 << 20, 1), (0, 16)):
        pair = Counted()
        crops = Crops([pair], patch=16, flips=Flips.NONE, seed=0, cache_bytes=room)
        for index in range(16):
            crops[Item(0, index)]
        assert pair.loads == loads
    pair = Counted()
    crops = Crops([pair], patch=16, flips=Flips.NONE, seed=0, cache_bytes=0)
    held = hold_on_device(crops, CPU, processes=Processes(), workers=0)
    division = Division(batch_size=4, parts=1, drop_last=True, processes=Processes())
    for epoch in range(3):
        assert len(list(held.batches(division, epoch=epoch, start=0))) == 4
    assert pair.loads == 1


def test_more_than_fits_is_refused_before_it_is_read_and_the_size_is_named() -> None:
    pair = Counted()
    crops = Crops([pair] * 100, patch=16, flips=Flips.NONE, seed=0)
    needed = 100 * 2 * 64 * 64 * 3
    with pytest.raises(NotEnoughRoomError, match=r"100 pairs take 3 MB, and cpu has 3 MB .* --cache memory"):
        hold_on_device(crops, CPU, processes=Processes(), workers=0, max_bytes=needed - 1)
    assert pair.loads == 0
    told: list[str] = []
    hold_on_device(crops, CPU, processes=Processes(), workers=0, max_bytes=needed, tell=told.append)
    assert told == ["100 pairs are on cpu, 3 MB"]


BLURRY = Step(slot=1, op="gaussian", node={"sigma": Uniform(0.5, 1.0)})


def drawn(photos: Path, *, redraw: Redraw) -> Crops:
    """Crops of sharp pictures that are blurred on the fly."""
    how = Spec(name="test", seed=11, steps=(BLURRY,), redraw=redraw)
    how = replace(how, output=replace(how.output, splits={"train": 1.0, "val": 0.0, "test": 0.0}))
    pairs = open_pairs(Host.discover(), photos, split="train", preset=how)
    return Crops(pairs, patch=16, flips=Flips.BOTH, seed=1)


@pytest.fixture
def photos(pairs_folder: Path) -> Path:
    """A folder of sharp pictures."""
    return pairs_folder / "train" / "sharp"


def test_pictures_blurred_anew_are_refused_and_begin_no_run(
    photos: Path, run: Callable, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(
        'schema = 1\nname = "mine"\nseed = 1\n[[step]]\nop = "gaussian"\nsigma = { uniform = [0.5, 1.0] }\n'
    )
    words = (
        "--blur",
        "mine.toml",
        "-m",
        "rednet30",
        "-o",
        "mine",
        "--device",
        "cpu",
        "--cache",
        "device",
        "-q",
    )
    done = run("train", "--data", photos, *words, "--set", "patch=8", "model.depth=2")
    assert done.code == 2, done.err
    assert len(done.err.splitlines()) == 1
    assert "which the processor does; use --cache memory" in done.err
    assert not (tmp_path / "mine").exists()
    with pytest.raises(UsageError, match="make-dataset"):
        hold_on_device(drawn(photos, redraw=Redraw.EPOCH), CPU, processes=Processes(), workers=0)


def test_pictures_blurred_once_are_held_as_they_are(photos: Path) -> None:
    division = Division(batch_size=2, parts=1, drop_last=True, processes=Processes())
    crops = drawn(photos, redraw=Redraw.NEVER)
    loaded = list(batches(crops, division, epoch=0, start=0, workers=0))
    for workers in (0, 1):
        held = hold_on_device(crops, CPU, processes=Processes(), workers=workers)
        for one, two in zip(loaded, held.batches(division, epoch=0, start=0), strict=True):
            assert torch.equal(one[1], two[1])
            assert torch.equal(one[2], two[2])
            assert not torch.equal(one[1], one[2])


def test_what_is_kept_may_change_when_a_run_goes_on_and_is_recorded(
    pairs_folder: Path, run: Callable, tmp_path: Path
) -> None:
    words = (
        "train",
        "--data",
        pairs_folder,
        "-m",
        "rednet30",
        "-o",
        "mine",
        "--steps",
        "1",
        "--device",
        "cpu",
    )
    done = run(
        *words, "--set", "model.depth=2", "model.width=8", "batch_size=4", "patch=24", "--cache", "device"
    )
    assert done.code == 0, done.err
    assert "3 pairs are on cpu" in done.err
    assert json.loads((tmp_path / "mine" / "run.json").read_text())["request"]["cache"] == "device"
    again = run("train", "--resume", "-o", "mine", "--steps", "2", "--cache", "none")
    assert again.code == 0, again.err
    refused = run(*words[:-3], "1", "-o", "other", "--cache", "disk")
    assert refused.code == 2
    assert "there is no cache 'disk'; give none, memory, device" in refused.err
