"""Protocols: what they prepare, checked against Pillow, OpenCV and NumPy on real files, and when their hash changes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from deblur_cli.blur.spec_file import preset
from deblur_cli.data.sets import open_pairs
from deblur_cli.errors import MissingError, UsageError
from deblur_cli.evaluation.opening import open_protocol
from deblur_cli.evaluation.protocols import PROTOCOLS, Protocol, Rounding, bind, protocol_named
from deblur_cli.host.manager import Host

HOST = Host.discover(environ={})


@pytest.fixture
def root(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DEBLUR_DATA with two GoPro pairs of 320x180, and REDS pairs of 640x360 in its official layout."""
    rng = np.random.default_rng(0)
    picture = np.asarray(Image.fromarray(photo).resize((640, 360), Image.Resampling.BICUBIC))
    files = {
        f"gopro/test/GOPR01/{kind}/00000{number}.png": picture[number::2, ::2]
        for number in (0, 1)
        for kind in ("blur", "sharp")
    }
    for part, scene, frames in (
        ("val", "000", (7,)),
        ("train", "005", (49, 50)),
        ("train", "023", (99,)),
        ("train", "024", (60,)),
    ):
        for kind in ("blur", "sharp"):
            files |= {f"reds/{part}_{kind}/{scene}/{frame:08d}.png": picture for frame in frames}
    for name, pixels in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noisy = pixels + rng.normal(0, 6, pixels.shape) * ("blur" in name)
        Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8)).save(path)
    monkeypatch.setenv("DEBLUR_DATA", str(tmp_path))
    return tmp_path


def names(pairs: Sequence) -> list[str]:
    return [pair.name for pair in pairs]


def test_every_protocol_finds_its_data_set_preset_and_metrics() -> None:
    assert {"cifar10-s0", "reds-s0-512", "gopro-full"} <= set(PROTOCOLS)
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name
        assert protocol.data in (*HOST.datasets, "")
        assert set(protocol.metrics) <= set(HOST.metrics)
        if protocol.preset:
            assert preset(protocol.preset, HOST.degradations).name == protocol.preset


def test_figures_of_reports_name_protocols_and_metrics_that_there_are() -> None:
    reported = [item for model in HOST.models.values() for item in model.reported]
    assert {item.protocol for item in reported} <= set(PROTOCOLS)
    assert {metric for item in reported for metric in (*item.scores, *item.blurry)} <= set(HOST.metrics)


@pytest.mark.parametrize("name", ["reds-s0-512", "reds-s0-256"])
def test_pieces_are_the_tiles_of_the_preset(name: str) -> None:
    spec = preset(PROTOCOLS[name].preset, HOST.degradations)
    (width, height), (rows, columns) = spec.resize.size, spec.grid
    assert PROTOCOLS[name].pieces == (width // columns, height // rows)


def test_reds_is_reduced_whole_and_not_in_tiles(root: Path) -> None:
    pairs, conditions = open_protocol(HOST, PROTOCOLS["reds-s0-512"])
    assert names(pairs) == ["000/00000007"]
    blurry, sharp = pairs[0].load()
    for kind, found in (("blur", blurry), ("sharp", sharp)):
        picture = np.asarray(Image.open(root / f"reds/val_{kind}/000/00000007.png")).astype(np.float32)
        expected = cv2.resize(picture, (512, 288), interpolation=cv2.INTER_LINEAR)
        assert np.abs(found - expected).max() <= 0.5 + 1e-3
    assert "3,000" in conditions.text()
    assert "pieces of 128x96" in conditions.text()


def test_the_tiles_of_a_preset_of_ones_own_choice_are_pieces_too(root: Path) -> None:
    own = Protocol(data="", split="test", preset="reds-s0-256")
    pairs, conditions = open_protocol(HOST, own, data="reds")
    named = open_protocol(HOST, PROTOCOLS["reds-s0-256"])[1]
    assert len(pairs) == 1
    assert conditions.protocol.pieces == (64, 48)
    assert conditions.hash == named.hash  # whoever chooses alike may compare


def test_reds_s2_takes_the_second_half_of_the_first_24_scenes(root: Path) -> None:
    pairs, _ = open_protocol(HOST, PROTOCOLS["reds-s2"])
    assert names(pairs) == ["005/00000050", "023/00000099"]
    for path in (root / "reds").glob("train_*/0[02][35]*/*"):
        path.unlink()
    with pytest.raises(MissingError, match="none of the 1 pairs of reds is one that reds-s2 takes"):
        open_protocol(HOST, PROTOCOLS["reds-s2"])


@pytest.mark.parametrize(("name", "how"), [("gopro-256-resize", cv2.INTER_AREA), ("gopro-256-nearest", None)])
def test_gopro_is_squeezed_to_squares(root: Path, name: str, how: int | None) -> None:
    pairs, _ = open_protocol(HOST, PROTOCOLS[name])
    assert names(pairs) == ["GOPR01/000000", "GOPR01/000001"]
    for kind, found in zip(("blur", "sharp"), pairs[1].load(), strict=True):
        picture = Image.open(root / f"gopro/test/GOPR01/{kind}/000001.png")
        if how is None:
            assert np.array_equal(found, np.asarray(picture.resize((256, 256), Image.Resampling.NEAREST)))
        else:
            expected = cv2.resize(np.asarray(picture).astype(np.float32), (256, 256), interpolation=how)
            assert np.abs(found - expected).max() <= 0.5 + 1e-3


def test_the_kernel_study_measures_every_kernel_of_every_picture(tmp_path: Path, photo: np.ndarray) -> None:
    (tmp_path / "sharp").mkdir()
    for name in "ab":
        Image.fromarray(photo[:, :: -1 if name == "b" else 1]).save(tmp_path / "sharp" / f"{name}.png")
    pairs, conditions = open_protocol(HOST, PROTOCOLS["kernels-s1"], data=str(tmp_path / "sharp"))
    assert conditions.pairs == 12
    assert conditions.protocol.data == "sharp"
    first = pairs[:6]
    assert len(set(names(pairs))) == 12
    for pair, kernel in zip(first, (5, 9, 13), strict=False):
        sigma = 0.3 * ((kernel - 1) * 0.5 - 1) + 0.8  # as OpenCV has it by default
        assert (
            np.abs(pair.load()[0].astype(int) - cv2.GaussianBlur(photo, (kernel, kernel), sigma)).max() <= 1
        )
    for pair, kernel in zip(first[3:], (5, 9, 13), strict=True):
        assert np.array_equal(pair.load()[0], cv2.medianBlur(photo, kernel))
    with pytest.raises(UsageError, match="--data"):
        open_protocol(HOST, PROTOCOLS["kernels-s1"])


@dataclass(frozen=True)
class Named:
    name: str


def of(protocol: Protocol, *pairs: str, limit: int | None = None, spec: object = None) -> str:
    """The hash of a protocol over pairs of these names."""
    return bind(protocol, [Named(name) for name in pairs], spec=spec, limit=limit).hash


BASE = Protocol(data="gopro", split="test")


@pytest.mark.parametrize(
    "change",
    [
        {"data": "reds"}, {"split": "val"}, {"version": 2}, {"keep": "a.*"}, {"crop": (16, 16)}, {"pieces": (16, 16)},
        {"border_px": 4}, {"rounding": Rounding.NEAREST}, {"psnr_cap": 100.0},
    ],
)  # fmt: skip
def test_every_choice_changes_the_hash(change: dict) -> None:
    assert of(replace(BASE, **change), "a", "b") != of(BASE, "a", "b")


def test_names_and_explanations_do_not_change_the_hash_and_pairs_do() -> None:
    named = replace(BASE, name="mine", summary="words", expected=7, metrics=("mae",))
    assert of(named, "a", "b") == of(BASE, "a", "b")
    assert len(of(BASE, "a", "b")) == 8
    others = [
        of(BASE, "a"),
        of(BASE, "b", "a"),
        of(BASE, "a", "c"),
        of(BASE, "a\nb"),
        of(BASE, "a", "b", limit=1),
    ]
    assert of(BASE, "a", "b") not in others
    assert of(BASE, "a", "b", limit=1) == of(BASE, "a")  # the very same pairs


def test_what_a_preset_says_changes_the_hash_and_how_it_is_written_does_not() -> None:
    spec = preset("gaussian", HOST.degradations)
    noted = replace(spec, text="# a remark\n" + spec.text)
    seeded = replace(spec, text=spec.text.replace("seed = 7", "seed = 8"))
    assert seeded.text != spec.text
    assert of(BASE, "a", spec=noted) == of(BASE, "a", spec=spec)
    assert of(BASE, "a", spec=seeded) != of(BASE, "a", spec=spec)
    assert of(BASE, "a", spec=None) != of(BASE, "a", spec=spec)


def test_a_published_hash_stays() -> None:
    """Scores that were printed must stay comparable: where this fails, a version has to go up, and old scores are others."""
    whole = [f"GOPR0384_11_00/{number:06d}" for number in range(1, 1112)]
    assert of(PROTOCOLS["gopro-full"], *whole) == "41c21626"
    for name, digits in {"gopro-jpeg75": "13d004b8", "gopro-noise5": "ba6ba25e"}.items():
        assert of(PROTOCOLS[name], *whole, spec=preset(PROTOCOLS[name].preset, HOST.degradations)) == digits
    kodak = {name: protocol for name, protocol in PROTOCOLS.items() if protocol.data == "kodak"}
    pictures = [f"kodim{number:02d}" for number in range(1, 25)]
    assert {
        name: of(protocol, *pictures, spec=preset(protocol.preset, HOST.degradations))
        for name, protocol in kodak.items()
    } == {
        "kodak-shake": "80a57b47", "kodak-trajectory": "d32387d7", "kodak-defocus": "d895fa72", "kodak-gaussian": "4a672486",
        "kodak-identity": "fd6c13db", "kodak-shake-jpeg75": "882a53bb", "kodak-shake-noise5": "2ba1d77e",
    }  # fmt: skip


def test_an_unknown_protocol_is_answered_with_near_ones() -> None:
    with pytest.raises(UsageError, match="did you mean gopro-full"):
        protocol_named("gopro_full")
    with pytest.raises(UsageError, match="there are: cifar10-s0, "):
        protocol_named("x")


def test_sigmas_are_those_that_the_pictures_were_blurred_with(tmp_path: Path, photo: np.ndarray) -> None:
    (tmp_path / "sharp").mkdir()
    for number in range(4):
        Image.fromarray(photo[number:]).save(tmp_path / "sharp" / f"{number}.png")
    for pair in open_pairs(
        HOST, str(tmp_path / "sharp"), split="train", preset=preset("gaussian", HOST.degradations)
    ):
        (sigma,) = (value for name, value in pair.drawn().items() if name == "gaussian.sigma")
        blurry, sharp = pair.load()
        expected = cv2.GaussianBlur(sharp.astype(np.float64), (0, 0), sigma) if sigma else sharp
        assert np.abs(blurry - expected)[16:-16, 16:-16].max() <= 1.01


@pytest.mark.realdata
def test_cifar10_is_measured_in_its_official_order_with_one_sigma_each() -> None:
    pairs, conditions = open_protocol(HOST, PROTOCOLS["cifar10-s0"], limit=100)
    assert conditions.available == 10_000
    assert pairs[3].name == "test_batch/00003"
    assert 0 <= pairs[3].drawn()["gaussian.sigma"] <= 3
    assert os.environ["DEBLUR_DATA"] not in str(conditions.as_json())
