"""`make demo` in a fast form: the same script with a tiny network's weights."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def demo() -> SimpleNamespace:
    """The script as a module."""
    return SimpleNamespace(**runpy.run_path(str(ROOT / "examples/demo.py"), run_name="demo"))


def test_the_demo_blurs_restores_measures_and_shows(
    demo: SimpleNamespace, tmp_path: Path, rednet_weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "images/before-after.png"
    demo.main(["--out", str(tmp_path / "demo"), "--weights", str(rednet_weights), "--picture", str(picture)])
    shown = capfd.readouterr().out
    for name in (
        "astronaut.restored.png",
        "astronaut.side-by-side.png",
        "clock.restored.png",
        "clock.side-by-side.png",
    ):
        assert str(tmp_path / "demo" / name) in shown
        assert (tmp_path / "demo" / name).is_file()
    assert picture.is_file()

    sharp = data.astronaut()
    with Image.open(tmp_path / "demo/astronaut.blurry.jpg") as blurry:
        before = peak_signal_noise_ratio(sharp, np.asarray(blurry))
    assert f"blurry    PSNR {before:6.3f} dB" in shown
    assert shown.count("PSNR") == 2, "clock_motion has no sharp picture, so no score"
    with Image.open(tmp_path / "demo/clock.restored.png") as clock:
        assert clock.size == data.clock().shape[::-1]


def test_the_demo_blurs_alike_every_time_and_truly(demo: SimpleNamespace) -> None:
    sharp = data.astronaut()
    once = demo.blurred_jpeg(sharp)
    assert once == demo.blurred_jpeg(sharp)
    assert once.startswith(b"\xff\xd8")


def test_the_demo_stops_when_the_command_fails(
    demo: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        demo.main(["--out", str(tmp_path), "--weights", str(tmp_path / "nowhere.safetensors")])
    assert stop.value.code == 4
    assert "nowhere.safetensors" in capfd.readouterr().err
