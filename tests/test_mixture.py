"""What a recipe's mixture makes of the data: shares of the sets, smaller pictures, noise and JPEG on ready pairs."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deblur_cli import Mixture
from deblur_cli.blur.distributions import Constant
from deblur_cli.blur.spec import Output, Redraw, Spec, Step
from deblur_cli.host.checks import DeclarationError
from deblur_cli.host.manager import Host
from deblur_cli.host.recipes import Flips
from deblur_cli.training.feeding.crops import Crops, Item
from deblur_cli.training.feeding.material import open_material
from deblur_cli.training.feeding.mixing import Mixing

PATCH = 16
NOISE = Step(slot=2, op="noise", node={"kind": Constant("gaussian"), "sigma": Constant(0.02)})
SPEC = Spec(
    name="test", seed=7, redraw=Redraw.EPOCH, steps=(Step(slot=1, op="identity", node={}), NOISE),
    output=Output(splits={"train": 1.0, "val": 0.0, "test": 0.0}),
)  # fmt: skip


def ramp(height: int, width: int, *, top: int = 0) -> NDArray[np.uint8]:
    """Red rises by 1 a column, green by 2 a row; blue is constant."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, 2 * rows + top, np.full_like(rows, 90)], axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets of pairs, near/ and far/, 1 and 3 of 64x120 px, and two sharp pictures in photos/."""
    root = tmp_path_factory.mktemp("mixture")
    for name, count in (("near", 1), ("far", 3)):
        for number in range(count):
            for part in ("train/blur", "train/sharp", "val/blur", "val/sharp"):
                file = root / name / part / f"{part[:3]}{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(ramp(64, 120, top=10 * number)).save(file)
    (root / "photos").mkdir()
    for number in range(2):
        Image.fromarray(ramp(64, 120, top=5 * number)).save(root / "photos" / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def host() -> Host:
    return Host.discover()


def crops_of(
    data: Path, host: Host, *names: str, mixture: Mixture | None, flips: Flips = Flips.NONE
) -> Crops:
    blur = SPEC if "photos" in names else None
    material = open_material(host, [str(data / name) for name in names], spec=blur, only_sharp=True)
    mixing = mixture and Mixing(
        mixture=mixture, sizes=material.sizes, spec=SPEC, operations=host.degradations
    )
    return Crops(material.train, patch=PATCH, flips=flips, seed=3, mixing=mixing or None)


def all_of(crops: Crops, epochs: int = 1) -> list[tuple[int, NDArray[np.float64], NDArray[np.float64]]]:
    """Owner, blurred and sharp crop, (3, H, W) each."""
    items = [Item(epoch, index) for epoch in range(epochs) for index in range(len(crops))]
    return [(crops.owner(item), *(part.numpy().astype(float) for part in crops[item])) for item in items]


def slope(crop: NDArray[np.float64]) -> float:
    """By how much a crop of the ramp was reduced: the rise of red a column, where the plain one rises by 1."""
    return float(np.diff(crop[0].mean(axis=0)).mean())


def counts(crops: Crops) -> list[int]:
    """Crops of near, far and photos."""
    owners = [crops.owner(Item(0, index)) for index in range(len(crops))]
    return np.histogram(owners, bins=[0, 1, 4, 6])[0].tolist()


def test_named_sets_divide_their_crops_by_their_shares_and_the_others_keep_theirs(
    data: Path, host: Host
) -> None:
    plain = counts(crops_of(data, host, "near", "far", "photos", mixture=None))
    shared = counts(
        crops_of(data, host, "near", "far", "photos", mixture=Mixture(shares={"near": 3, "far": 1}))
    )
    assert 3 * plain[0] == plain[1]  # by their pixels
    assert sum(shared[:2]) == sum(plain[:2])
    assert shared[0] == pytest.approx(3 * shared[1], abs=3)
    assert shared[2] == plain[2]


def test_pairs_are_reduced_by_factors_from_one_to_the_greatest(data: Path, host: Host) -> None:
    found = [
        (slope(blurry), slope(sharp))
        for _, blurry, sharp in all_of(crops_of(data, host, "far", mixture=Mixture(reduce=3.0)), epochs=3)
    ]
    factors = np.array([sharp for _, sharp in found])
    assert factors.min() == pytest.approx(1.0, abs=0.05)
    assert factors.max() == pytest.approx(3.0, abs=0.15)
    # log-uniform: as many below the root of the greatest as above
    assert np.mean(factors < 3**0.5) == pytest.approx(0.5, abs=0.1)
    assert all(blurry == sharp for blurry, sharp in found)


def test_a_picture_is_reduced_no_further_than_it_holds_a_crop(data: Path, host: Host) -> None:
    factors = [slope(sharp) for *_, sharp in all_of(crops_of(data, host, "far", mixture=Mixture(reduce=16)))]
    assert max(factors) <= 64 / PATCH + 0.1
    assert max(factors) > 3


def test_photographs_are_reduced_before_they_are_blurred(data: Path, host: Host) -> None:
    """Noise is white whatever the factor: reduced after it, it would be weaker."""
    crops = crops_of(data, host, "photos", mixture=Mixture(reduce=3.0))
    found = all_of(crops, epochs=4)
    factors = np.array([slope(sharp) for *_, sharp in found])
    assert factors.max() > 2.4
    assert factors.min() < 1.15
    strong = [np.std(blurry - sharp) for _, blurry, sharp in found if slope(sharp) > 2]
    assert np.mean(strong) == pytest.approx(0.02 * 255, rel=0.05)


def test_a_share_of_ready_pairs_gets_the_noise_of_the_spec_and_sharp_ones_stay(
    data: Path, host: Host
) -> None:
    plain = all_of(crops_of(data, host, "far", "photos", mixture=None), epochs=3)
    mixed = all_of(crops_of(data, host, "far", "photos", mixture=Mixture(degrade=0.4)), epochs=3)
    pairs = [(one, other) for one, other in zip(plain, mixed, strict=True) if one[0] < 3]
    assert all(np.array_equal(one[2], other[2]) for one, other in pairs)
    noise = np.array([np.std(other[1] - one[1]) for one, other in pairs])
    touched = noise > 0
    assert touched.mean() == pytest.approx(0.4, abs=0.08)
    assert noise[touched].mean() == pytest.approx(0.02 * 255, rel=0.05)
    fields = [(other[1] - one[1]).tobytes() for one, other in pairs if np.any(other[1] != one[1])]
    assert len(set(fields)) == len(fields)  # each has noise of its own


def test_an_item_is_the_same_whenever_it_is_asked_for(data: Path, host: Host) -> None:
    def fresh() -> Crops:
        return crops_of(
            data, host, "near", "photos", mixture=Mixture(reduce=2, degrade=0.5), flips=Flips.BOTH
        )

    first, second = fresh(), fresh()
    items = [Item(epoch, index) for epoch in (0, 5) for index in range(len(first))]
    backwards = {item: second[item] for item in reversed(items)}
    for item in items:
        for one, other in zip(first[item], backwards[item], strict=True):
            assert one.equal(other)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reduce": 0.5}, "mixture.reduce"),
        ({"degrade": 1.5}, "mixture.degrade"),
        ({"shares": {"a": 0}}, "mixture.shares.a"),
        ({"shares": [1]}, "mixture.shares"),
    ],
)
def test_a_mixture_that_makes_no_sense_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        Mixture(**changes)


SMALL = (
    "--set",
    "model.width=8",
    "model.levels=1",
    "model.blocks=0",
    "model.middle=1",
    "patch=16",
    "batch_size=4",
)


def test_the_command_trains_by_a_mixture_and_keeps_it(
    run: Callable[..., object], data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = (
        "train", "--data", data / "near", data / "photos", "--blur", "gaussian", "-m", "swift", "-o", out,
        "--steps", "2", "--device", "cpu", *SMALL, "mixture.reduce=2", "mixture.shares.near=3", "mixture.shares.photos=1",
    )  # fmt: skip
    done = run(*words)
    assert done.code == 0, done.err
    recipe = tomllib.loads((out / "recipe.toml").read_text())
    assert recipe["mixture"] == {"reduce": 2.0, "degrade": 0.0, "shares": {"near": 3.0, "photos": 1.0}}
    assert json.loads((out / "run.json").read_text())["request"]["recipe"]["mixture"] == recipe["mixture"]
    resumed = run("train", "--resume", "-o", out, "--steps", "4", "--device", "cpu")
    assert resumed.code == 0, resumed.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("mixture.shares.nera=1",),
            "mixture.shares has 'nera', which is not trained on; did you mean near? (to leave",
        ),
        (("mixture.degrade=0.5",), "give --blur NAME"),
        (("mixture.reduce=2", "--cache", "device"), "--cache device"),
    ],
)
def test_a_mixture_that_does_not_fit_the_data_is_refused(
    run: Callable[..., object], data: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = run(
        "train",
        "--data",
        data / "near",
        "-m",
        "swift",
        "-o",
        tmp_path / "run",
        "--steps",
        "1",
        *SMALL,
        *words,
    )
    assert done.code == 2
    assert said in " ".join(done.err.split())
    assert not (tmp_path / "run").exists()
