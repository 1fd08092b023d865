"""The guard tells a broken result from an honest one."""

import numpy as np
import pytest
from skimage import data
from skimage.filters import gaussian, unsharp_mask

from deblur_cli.restore.guard import inspect


def kinds(before: np.ndarray, after: np.ndarray, **found: int) -> set[str]:
    return {alarm.kind for alarm in inspect(before, after, **found)}


def to_8bit(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def sharp() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[:200, :300])


@pytest.fixture(scope="module")
def blurry(sharp: np.ndarray) -> np.ndarray:
    return to_8bit(gaussian(sharp / 255, sigma=1.5, channel_axis=2))


def test_a_picture_unchanged_raises_no_alarm(sharp: np.ndarray) -> None:
    assert inspect(sharp, sharp) == ()


@pytest.mark.parametrize("photograph", ["astronaut", "coffee", "chelsea", "rocket", "hubble_deep_field"])
def test_a_perfect_restoration_raises_no_alarm(photograph: str) -> None:
    sharp = getattr(data, photograph)()[:300, :400]
    blurry = to_8bit(gaussian(sharp / 255, sigma=2, channel_axis=2))
    assert inspect(blurry, sharp) == ()


def test_a_strongly_sharpened_picture_raises_no_alarm(blurry: np.ndarray) -> None:
    assert inspect(blurry, to_8bit(unsharp_mask(blurry, radius=2, amount=1.5, channel_axis=2))) == ()


def test_black_on_white_text_restored_raises_no_alarm() -> None:
    page = data.page()[:, :, None]
    blurry = to_8bit(gaussian(page / 255, sigma=1, channel_axis=2))
    assert inspect(blurry, page) == ()


def test_values_that_are_not_numbers_raise_an_alarm(blurry: np.ndarray) -> None:
    assert kinds(blurry, blurry, non_finite=1) == {"not-a-number"}


def test_blobs_driven_to_full_brightness_raise_an_alarm(sharp: np.ndarray) -> None:
    broken = np.minimum(sharp, 150)
    after = broken.copy()
    after[50:80, 50:80, 0] = 255
    assert kinds(broken, after) == {"saturation"}


def test_a_colour_cast_raises_an_alarm_that_names_the_channel(sharp: np.ndarray) -> None:
    after = sharp.copy()
    after[..., 2] = np.minimum(after[..., 2].astype(int) + 40, 254)
    (alarm,) = inspect(sharp, after)
    assert alarm.kind == "colour-shift"
    assert "blue" in alarm.message


def test_swapped_channels_raise_an_alarm() -> None:
    picture = np.ascontiguousarray(data.coffee()[:200, :300])
    assert "channel-swap" in kinds(picture, picture[..., ::-1])


def test_a_grey_picture_in_colour_has_no_swapped_channels() -> None:
    grey = np.repeat(data.camera()[:200, :200, None], 3, axis=2)
    assert inspect(grey, grey[..., ::-1]) == ()


@pytest.mark.parametrize("pattern", [[[1, -1], [-1, 1]], [[1, -1], [1, -1]], [[1, 1], [-1, -1]]])
def test_a_chequer_pattern_raises_an_alarm(sharp: np.ndarray, pattern: list[list[int]]) -> None:
    height, width = sharp.shape[:2]
    added = np.tile(np.array(pattern), (height // 2, width // 2))[:, :, None] * 6
    before = np.clip(sharp, 10, 245)
    assert kinds(before, (before + added).astype(np.uint8)) == {"chequer"}


def test_noise_of_the_same_energy_is_no_chequer_pattern(sharp: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(scale=6, size=sharp.shape)
    assert inspect(sharp, np.rint(np.clip(sharp + noise, 0, 255)).astype(np.uint8)) == ()


def test_a_picture_of_16_bit_and_one_channel_is_looked_at_alike(sharp: np.ndarray) -> None:
    grey = (sharp[..., :1].astype(np.uint16)) * 257
    assert inspect(grey, grey) == ()
    assert "colour-shift" in kinds(grey, np.zeros_like(grey))


def test_tiny_pictures_are_looked_at_too() -> None:
    pixel = np.full((1, 1, 3), 128, np.uint8)
    assert inspect(pixel, pixel) == ()
    assert "saturation" in kinds(pixel, pixel * 0)
