"""Training and measuring on pairs that are made on the fly from sharp pictures."""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter

import deblur_rednet
from deblur_cli.blur.borders import Border
from deblur_cli.blur.distributions import Constant, Uniform
from deblur_cli.blur.light import Light
from deblur_cli.blur.spec import Redraw, Resize, Spec, Step
from deblur_cli.data import Pair, open_pairs
from deblur_cli.data.drawn import Draw, DrawnPair, Latent
from deblur_cli.host.manager import Host
from deblur_cli.host.recipes import Flips
from deblur_cli.host.schedules import Cosine
from deblur_cli.training.engine import Ended
from deblur_cli.training.feeding.batches import Division, batches
from deblur_cli.training.feeding.crops import Crops, Item
from deblur_cli.training.feeding.material import Preparation, open_material
from deblur_cli.training.processes import Processes
from deblur_cli.training.request import Request
from deblur_cli.training.session import run_training

TINY = {"depth": 2, "width": 8}
DIVISION = Division(batch_size=4, parts=1, drop_last=True, processes=Processes())
SMALL = ("-m", "rednet30", "--set", "model.depth=2", "model.width=8", "batch_size=4", "--device", "cpu")

NOISY = Step(slot=2, op="noise", node={"kind": Constant("gaussian"), "sigma": Constant(0.02)})
BLURRY = Step(slot=1, op="gaussian", node={"sigma": Uniform(0.5, 2.0)})


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six sharp photographs, 64 to 84 px high and 96 px wide."""
    from skimage import data

    folder = tmp_path_factory.mktemp("photos")
    pictures = [data.astronaut(), data.coffee(), data.chelsea()]
    for i in range(6):
        sharp = pictures[i % 3][40 + 20 * i : 104 + 24 * i, 150:246]
        Image.fromarray(sharp).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def host() -> Host:
    return Host.discover()


def spec(*steps: Step, **changes: object) -> Spec:
    return replace(Spec(name="test", seed=11, steps=steps or (BLURRY, NOISY)), **changes)


def drawn(photos: Path, host: Host, how: Spec | None = None) -> Sequence[Pair]:
    shares = {"train": 1.0, "val": 0.0, "test": 0.0}
    how = how or spec()
    how = replace(how, output=replace(how.output, splits=shares))
    return open_pairs(host, photos, split="train", preset=how)


def epochs(crops: Crops, *, number: int = 3, workers: int = 0, first: int = 0) -> torch.Tensor:
    """All crops of some epochs, blurred and sharp, in their order."""
    seen = [
        torch.cat(batch[1:])
        for epoch in range(first, first + number)
        for batch in batches(crops, DIVISION, epoch=epoch, start=0, workers=workers)
    ]
    return torch.cat(seen)


def request(*data: Path, **changes: object) -> Request:
    base = Request(
        model="rednet30",
        data=tuple(map(str, data)),
        preparation=Preparation(blur="gaussian"),
        recipe=replace(deblur_rednet.FAST, batch_size=4, patch=24, schedule=Cosine(warmup_steps=2)),
        options=TINY,
        device="cpu",
        dtype="float32",
        seed=3,
    )
    return replace(base, **changes)


def train(
    wanted: Request,
    folder: Path,
    *,
    resume: bool = False,
    stop_at: int | None = None,
    warn: Callable[[str], None] = lambda message: None,
) -> Ended:
    steps: list[int] = []
    return run_training(
        wanted,
        folder,
        host=Host.discover(),
        command=["test"],
        resume=resume,
        should_stop=lambda: stop_at is not None and len(steps) >= stop_at,
        report=lambda progress: steps.append(progress.step),
        warn=warn,
    )


def same_state(first: Path, second: Path) -> bool:
    a, b = (load_file(folder / "last" / "state.safetensors") for folder in (first, second))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("reuse", [1, 3])
def test_crops_are_the_same_bit_for_bit_whatever_the_number_of_workers_and_the_size_of_the_pool(
    photos: Path, host: Host, tmp_path: Path, reuse: int
) -> None:
    def crops() -> Crops:
        return Crops(drawn(photos, host), patch=24, flips=Flips.BOTH, seed=5, reuse=reuse)

    plain = epochs(crops())
    assert len(plain) >= 3 * 2 * 4 * 8
    for workers, max_bytes in ((0, 2**30), (1, 2**30), (2, 2**30), (2, 60_000), (0, 0)):
        made = crops()
        with made.keeping_patches(tmp_path / "pool", max_bytes=max_bytes):
            assert torch.equal(epochs(made, workers=workers), plain), (workers, max_bytes)
            kept = (tmp_path / "pool").exists()
            assert kept == (reuse > 1 and max_bytes > 0)
            if kept:
                assert (tmp_path / "pool").stat().st_size <= max_bytes
        assert not (tmp_path / "pool").exists()


def test_a_pool_that_is_damaged_or_cannot_be_written_changes_nothing(
    photos: Path, host: Host, tmp_path: Path
) -> None:
    def crops() -> Crops:
        return Crops(drawn(photos, host), patch=24, flips=Flips.BOTH, seed=5, reuse=4)

    plain = epochs(crops(), number=2)
    made = crops()
    with made.keeping_patches(tmp_path / "pool", max_bytes=2**30):
        first = epochs(made, number=1)
        content = bytearray((tmp_path / "pool").read_bytes())
        content[1000::5000] = bytes(255 - value for value in content[1000::5000])
        (tmp_path / "pool").write_bytes(content[:-3000])
        assert torch.equal(torch.cat([first, epochs(made, number=1, first=1)]), plain)
    made = crops()
    with made.keeping_patches(tmp_path / "none" / "pool", max_bytes=2**30):
        assert torch.equal(epochs(made, number=2), plain)


def test_each_epoch_draws_anew_and_so_does_another_seed_of_the_run_or_of_the_spec(
    photos: Path, host: Host
) -> None:
    def seen(*, epoch: int = 0, seed: int = 5, spec_seed: int = 11) -> torch.Tensor:
        pairs = drawn(photos, host, spec(BLURRY, seed=spec_seed))
        crops = Crops(pairs, patch=24, flips=Flips.NONE, seed=seed)
        return torch.stack([torch.stack(crops[Item(epoch, index)]) for index in range(len(crops))])

    first = seen()
    assert torch.equal(seen(), first)
    for other in (seen(epoch=1), seen(seed=6), seen(spec_seed=12)):
        assert all(not torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_a_crop_is_blurred_as_it_would_be_within_the_whole_picture(photos: Path, host: Host) -> None:
    sharp = np.array(Image.open(photos / "1.png"))
    constant = Step(slot=1, op="gaussian", node={"sigma": Constant(1.5)})
    modes = {Border.REFLECT101: "mirror", Border.REPLICATE: "nearest", Border.CROP_VALID: "mirror"}
    for border in Border:
        whole = gaussian_filter(sharp / 255.0, (1.5, 1.5, 0), mode=modes[border], radius=6)
        pair = drawn(photos, host, spec(constant, border=border))[1]
        assert isinstance(pair, DrawnPair)
        corners = set()
        for number in range(4):
            made = pair.crop(pair.open(), Draw(seed=3, index=0, number=number), side=30)
            row, column = _corner(sharp, made[1])
            piece = whole[row : row + 30, column : column + 30] * 255
            assert np.abs(made[0] - piece).max() <= 0.5 + 1e-3
            corners.add((row, column))
            if border is Border.CROP_VALID:
                assert 6 <= row <= sharp.shape[0] - 36
                assert 6 <= column <= 96 - 36
        assert len(corners) == 4


def _corner(picture: np.ndarray, piece: np.ndarray) -> tuple[int, int]:
    """Where a piece was cut from a picture."""
    windows = np.lib.stride_tricks.sliding_window_view(picture, piece.shape)[:, :, 0]
    found = np.argwhere((windows == piece).all(axis=(2, 3, 4)))
    assert len(found) == 1
    return int(found[0][0]), int(found[0][1])


def test_a_patch_that_is_kept_differs_from_one_made_at_once_by_a_level_at_most(
    photos: Path, host: Host
) -> None:
    glow = Step(slot=3, op="highlights", node={"boost": Constant(4.0)})
    for steps in ((BLURRY,), (glow, BLURRY), (glow,)):
        pair = drawn(photos, host, spec(*steps, light=Light.LINEAR))[0]
        assert isinstance(pair, DrawnPair)
        draw = Draw(seed=3, index=0, number=7)
        at_once = pair.crop(pair.open(), draw, side=40)
        kept = pair.latent(pair.open(), draw, side=40)
        later = pair.taken(kept, draw)
        assert np.array_equal(later[1], at_once[1])
        difference = np.abs(later[0].astype(int) - at_once[0])
        assert difference.max() <= 1
        assert np.count_nonzero(difference) < difference.size / 20
        piece = Latent(blurry=kept.blurry[5:25, 8:28], sharp=kept.sharp[5:25, 8:28])
        assert np.array_equal(pair.taken(piece, draw)[0], later[0][5:25, 8:28])


def test_reused_patches_are_renewed_one_of_so_many_an_epoch_with_fresh_noise_each_time(
    photos: Path, host: Host
) -> None:
    side = 64  # as high as the lowest picture: its crops are cut at one height
    reuse = 4

    def over_epochs(*steps: Step) -> np.ndarray:
        crops = Crops(drawn(photos, host, spec(*steps)), patch=side, flips=Flips.NONE, seed=5, reuse=reuse)
        items = range(len(crops))
        seen = [[crops[Item(epoch, index)][0].numpy() for index in items] for epoch in range(9)]
        return np.array(seen).astype(float)

    steady = Step(slot=1, op="gaussian", node={"sigma": Constant(0.0)})
    noise = np.std(over_epochs(steady, NOISY) - over_epochs(steady), axis=(2, 3, 4)) / 255
    assert np.abs(noise - 0.02).max() < 0.002
    squares = spec(BLURRY, resize=Resize(size=(side, side)))  # no room to cut elsewhere
    crops = Crops(drawn(photos, host, squares), patch=side, flips=Flips.NONE, seed=5, reuse=reuse)
    assert len(crops) == 6
    seen = [[crops[Item(epoch, index)][0] for index in range(6)] for epoch in range(9)]
    renewed = np.array(
        [
            [not torch.equal(before, after) for before, after in zip(*two, strict=True)]
            for two in pairwise(seen)
        ]
    )
    assert set(renewed.sum(axis=0)) == {2}  # in eight epochs
    assert set(renewed.sum(axis=1)) <= {1, 2}  # of six
    for index in range(6):
        first, second = np.flatnonzero(renewed[:, index])
        assert second - first == reuse


def test_a_run_that_blurs_resumes_bit_for_bit_without_its_spec_file_and_leaves_no_pool(
    photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    shutil.copy(_preset_file("photo-mix"), file)
    text = file.read_text().replace("max_extent_px = 24", "max_extent_px = 4")
    text = text.replace("length = { uniform = [10.0, 60.0] }", "length = 6.0")
    text = text.replace("max_extent_px = 12", "max_extent_px = 2").replace("[0.7, 6.0]", "[0.7, 2.0]")
    text = text.replace("[0.4, 3.0]", "[0.4, 1.0]")
    file.write_text(text)
    wanted = request(photos, steps=14, preparation=Preparation(blur=str(file)))
    wanted = replace(wanted, recipe=replace(wanted.recipe, reuse=2))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(wanted, whole) is Ended.DONE
    assert train(wanted, parts, stop_at=5) is Ended.STOPPED
    saved = json.loads((parts / "run.json").read_text())
    assert saved["request"]["preparation"] == {"preset": None, "blur": str(file), "text": text}
    assert saved["specs_sha256"] == {"photo-mix": hashlib.sha256(text.encode()).hexdigest()}
    file.unlink()
    assert train(wanted_of(parts), parts, resume=True, stop_at=7) is Ended.STOPPED  # in the second epoch
    assert train(wanted_of(parts), parts, resume=True) is Ended.DONE
    assert json.loads((parts / "last" / "state.json").read_text())["epoch"] >= 1
    assert same_state(whole, parts)
    for folder in (whole, parts):
        assert not (folder / "pool").exists()


def _preset_file(name: str) -> Path:
    import deblur_cli.blur

    return Path(deblur_cli.blur.__file__).parent / "presets" / f"{name}.toml"


def wanted_of(run: Path) -> Request:
    """The request that a run folder holds, as the command reads it."""
    return Request.from_values(json.loads((run / "run.json").read_text())["request"], run=run)


def test_workers_and_pool_leave_a_training_as_it_was(photos: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        wanted = request(photos, steps=12, workers=workers)
        train(replace(wanted, recipe=replace(wanted.recipe, reuse=3)), tmp_path / str(workers))
    assert same_state(tmp_path / "0", tmp_path / "2")


def test_all_runs_are_validated_on_the_same_pictures(photos: Path, tmp_path: Path) -> None:
    blurred = set()
    for seed in (3, 4):
        wanted = request(
            photos, epochs=2, seed=seed, recipe=replace(deblur_rednet.FAST, batch_size=4, patch=64)
        )
        train(wanted, tmp_path / str(seed))
        rows = list(csv.DictReader((tmp_path / str(seed) / "metrics.csv").read_text().splitlines()))
        assert len(rows) == 2
        blurred |= {(row["blurry_psnr"], row["blurry_ssim"]) for row in rows}
    assert len(blurred) == 1


@pytest.mark.parametrize(
    ("sizes", "held_out"),
    [({"": 41}, 3), ({"a": 41}, 3), ({"a": 30, "b": 2, "c": 9}, 2), ({f"{n:02}": 2 for n in range(41)}, 6)],
)
def test_scenes_are_held_out_whole_where_there_is_no_part_to_validate_on(
    tmp_path: Path, sizes: dict[str, int], held_out: int
) -> None:
    for scene, count in sizes.items():
        for kind in ("blur", "sharp"):
            folder = tmp_path / scene / kind
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number:06d}.png").touch()
    material = open_material(Host.discover(), [str(tmp_path)], spec=None, only_sharp=False)
    train_names, val_names = ({pair.name for pair in pairs} for pairs in (material.train, material.val))
    assert (len(train_names & val_names), len(train_names | val_names)) == (0, sum(sizes.values()))
    assert len(val_names) == held_out
    if len(sizes) > 1:
        assert not {name.split("/")[0] for name in train_names} & {name.split("/")[0] for name in val_names}


@pytest.mark.parametrize("pictures", [2, 8, 30])
def test_pieces_of_one_picture_are_not_both_trained_on_and_held_out(tmp_path: Path, pictures: int) -> None:
    """As make-dataset names them, where a small set has nothing in its part to validate on."""
    names = [f"{number:06d}_00_{piece}" for number in range(pictures) for piece in range(4)]
    for kind in ("blur", "sharp"):
        (tmp_path / kind).mkdir()
        for name in names:
            (tmp_path / kind / f"{name}.png").touch()
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "train.txt").write_text("\n".join(names))
    material = open_material(Host.discover(), [str(tmp_path)], spec=None, only_sharp=False)
    trained_on, held_out = (
        {pair.name.partition("_")[0] for pair in pairs} for pairs in (material.train, material.val)
    )
    assert held_out
    assert not trained_on & held_out
    assert len(material.train) + len(material.val) == len(names)


def test_ready_pairs_stay_as_they_are_beside_pictures_that_are_blurred(
    photos: Path, run, tmp_path: Path
) -> None:
    for name in ("blur", "sharp"):
        shutil.copytree(photos, tmp_path / "pairs" / name)
    train(request(tmp_path / "pairs", photos, steps=2), tmp_path / "run")
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    assert saved["specs_sha256"].keys() == {"gaussian"}
    material = open_material(
        Host.discover(),
        (str(tmp_path / "pairs"), str(photos)),
        spec=Preparation(blur="gaussian").read(Host.discover()),
        only_sharp=True,
    )
    kinds = [type(pair).__name__ for pair in material.train]
    assert kinds == ["FilePair"] * 5 + ["DrawnPair"] * (len(kinds) - 5)
    assert len(kinds) > 8
    assert all(pair.is_redrawn for pair in material.train if isinstance(pair, DrawnPair))
    alone = run("train", "--data", tmp_path / "pairs", "--blur", "gaussian", *SMALL)
    assert alone.code == 2
    assert "there is nothing to blur by gaussian" in alone.err
    missing = run("train", "--data", tmp_path / "nowhere", "--blur", "gaussian", *SMALL)
    assert (missing.code, "nowhere" in missing.err) == (4, True)


def test_crops_of_a_single_pixel_can_be_mirrored(photos):
    material = open_material(
        Host.discover(),
        (str(photos),),
        spec=Preparation(blur="gaussian").read(Host.discover()),
        only_sharp=True,
    )
    crops = Crops(material.train, patch=1, flips=Flips.BOTH, seed=0)
    seen = [crops[Item(epoch=epoch, index=0)] for epoch in range(8)]
    assert all(blurry.shape == sharp.shape == (3, 1, 1) for blurry, sharp in seen)


def test_pictures_too_small_for_a_crop_and_its_margin_are_left_out_and_counted(
    photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(photos, folder)
    for name, size in (("small", (40, 200)), ("tiny", (9, 5)), ("tall", (200, 40))):
        Image.new("RGB", size).save(folder / f"{name}.png")
    with (tmp_path / "mine.toml").open("w") as file:
        file.write(
            'schema = 1\nname = "mine"\nseed = 1\nborder = "crop-valid"\n'
            "[output]\nsplits = { train = 1.0, val = 0.0, test = 0.0 }\n"
            '[[step]]\nop = "gaussian"\nsigma = { uniform = [0.5, 2.0] }\n'  # 8 px at each edge
        )
    wanted = request(folder, epochs=1, preparation=Preparation(blur=str(tmp_path / "mine.toml")))
    said: list[str] = []
    train(replace(wanted, recipe=replace(wanted.recipe, patch=32)), tmp_path / "run", warn=said.append)
    assert said[0].startswith(
        "3 of 8 pairs are smaller, without the margin of the blur, than a crop of 32 px"
    )
    assert json.loads((tmp_path / "run" / "run.json").read_text())["train_pairs"] == 5


def test_where_no_picture_is_large_enough_nothing_is_trained(run, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    for i in range(3):
        Image.new("RGB", (50, 60)).save(tmp_path / "tiny" / f"{i}.png")
    done = run("train", "--data", tmp_path / "tiny", "--blur", "camera-shake", *SMALL)
    assert done.code == 4
    assert "none of the " in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="session")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An official folder with 60 pictures to train on and 12 to test."""
    from skimage import data

    folder = tmp_path_factory.mktemp("cifar") / "cifar-10-batches-bin"
    folder.mkdir()
    pixels = np.concatenate([data.astronaut(), data.coffee()[:400, :512]])
    tiles = [pixels[r : r + 32, c : c + 32] for r in range(0, 864, 96) for c in range(0, 480, 60)]
    records = [b"\0" + tile.transpose(2, 0, 1).tobytes() for tile in tiles]
    assert len(records) >= 72
    (folder / "data_batch_1.bin").write_bytes(b"".join(records[:60]))
    (folder / "test_batch.bin").write_bytes(b"".join(records[60:72]))
    return folder.parent


def test_a_preset_that_blurs_once_is_blurred_once_and_crops_shrink_to_the_pictures(
    cifar: Path, host: Host
) -> None:
    how = Preparation(preset="cifar10-s0").read(host)
    material = open_material(host, [str(cifar)], spec=how, only_sharp=False)
    assert len(material.train) + len(material.val) == 60
    crops = Crops(material.train, patch=96, flips=Flips.NONE, seed=1)
    assert (crops.patch, crops.num_left_out, len(crops)) == (32, 0, len(material.train))
    seen = [[crops[Item(epoch, index)] for index in range(20)] for epoch in (0, 1)]
    assert all(
        torch.equal(one[0], two[0]) and torch.equal(one[1], two[1]) for one, two in zip(*seen, strict=True)
    )
    again = open_material(host, [str(cifar)], spec=how, only_sharp=False).train
    for index in range(20):
        blurry, sharp = again[index].load()
        assert np.array_equal(seen[0][index][0], blurry.transpose(2, 0, 1))
        assert np.array_equal(seen[0][index][1], sharp.transpose(2, 0, 1))
    redrawn = Preparation(blur="cifar10-s0").read(host)
    assert redrawn is not None
    assert redrawn.redraw is Redraw.EPOCH


def test_the_command_trains_and_measures_with_a_preset(cifar: Path, run) -> None:
    data = ("--data", cifar, "--preset", "cifar10-s0")
    done = run("train", *data, "-o", "mine", "--steps", "3", *SMALL)
    assert done.code == 0, done.err
    longer = run("train", "--resume", "-o", "mine", "--steps", "4", "--json")
    assert longer.code == 0, longer.err
    assert longer.json()[0]["step"] == 4
    refused = run("train", "--resume", "-o", "mine", "--preset", "cifar10-s2")
    assert refused.code == 2
    assert "keeps its --preset" in refused.err
    measured = run("eval", "-m", "mine", *data, "--split", "test", "--json")
    assert measured.code == 0, measured.err
    (found,) = measured.json()
    protocol = found["protocol"]
    assert (protocol["preset"], protocol["pairs"], protocol["split"]) == ("cifar10-s0", 12, "test")
    other = run("eval", "-m", "mine", "--data", cifar, "--preset", "cifar10-s2", "--split", "test", "--json")
    assert other.json()[0]["pairs_sha256"] != found["pairs_sha256"]
    assert other.json()[0]["protocol"]["hash"] != protocol["hash"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--blur", "photo-mx"), 2, "did you mean photo-mix or photo-train?"),
        (("--preset", "gausian"), 2, "did you mean gaussian or kodak-gaussian?"),
        (("--preset", "gaussian", "--blur", "gaussian"), 2, "--preset and --blur both say"),
        (("--blur", "none/mine.toml"), 2, "cannot read the spec none/mine.toml"),
        (("--blur", "gopro-256"), 2, "it does not blur sharp pictures, its source is pairs"),
        (("--blur", "gopro_7_13"), 2, "it does not blur sharp pictures, its source is frames"),
        ((), 4, "say with --preset NAME how they are blurred, or to train with --blur NAME"),
        (("--blur", "gaussian", "--set", "reuse=0"), 2, "reuse is 0; it must be a whole number"),
    ],
)
def test_what_cannot_be_blurred_is_said_and_begins_no_run(
    photos: Path, run, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    done = run("train", "--data", photos, *SMALL, *words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.realdata
def test_real_photographs_are_blurred_by_photo_mix_in_every_crop(host: Host) -> None:
    how = Preparation(blur="photo-mix").read(host)
    folder = Path(os.environ["DEBLUR_DATA"], "photos")
    material = open_material(host, [str(folder)], spec=how, only_sharp=True)
    crops = Crops(material.train[:2], patch=128, flips=Flips.BOTH, seed=0, reuse=2)
    changed = []
    for index in range(0, len(crops), max(1, len(crops) // 24)):
        blurry, sharp = crops[Item(3, index)]
        assert blurry.shape == sharp.shape == (3, 128, 128)
        changed.append(float((blurry.float() - sharp.float()).abs().mean()) > 0.5)
    assert (
        0.6 < np.mean(changed) <= 1
    )  # identity shows in about one of twelve, if JPEG and noise are left out too
