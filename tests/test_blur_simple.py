"""Light, median, highlights, noise, JPEG and doing nothing, against OpenCV, SciPy, Pillow and closed forms."""

import io
import math

import cv2
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image
from skimage import data

from deblur_cli.blur import (
    DEGRADATIONS,
    box,
    defocus,
    gaussian,
    gaussian_k,
    highlights,
    identity,
    jpeg,
    linear_motion,
    median,
    noise,
)
from deblur_cli.blur.box import Box
from deblur_cli.blur.convolution import convolve
from deblur_cli.blur.defocus import Defocus
from deblur_cli.blur.gaussian import Engine, Gaussian
from deblur_cli.blur.gaussian_k import GaussianK, sigma_of
from deblur_cli.blur.highlights import Highlights
from deblur_cli.blur.identity import Identity
from deblur_cli.blur.jpeg import Jpeg, Subsampling
from deblur_cli.blur.light import Light, Response, decode, encode, parse_light
from deblur_cli.blur.linear_motion import LinearMotion
from deblur_cli.blur.median import Median
from deblur_cli.blur.noise import Kind, Noise
from deblur_cli.blur.operations import load_operation
from deblur_cli.blur.spec import Step, step_bound
from deblur_cli.errors import PictureError, UsageError
from deblur_cli.pictures.scaling import from_integers, to_8_bit

CODES = from_integers(np.arange(256, dtype=np.uint8))


def rng(number: int = 1) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(number))


def noise_8_bit(*shape: int) -> np.ndarray:
    return rng().integers(0, 256, shape, np.uint8)


# Light


def test_light_follows_the_srgb_curve():
    half = np.array([0.5], np.float32)
    assert float(decode(half, Light.LINEAR)[0]) == pytest.approx(0.2140411, abs=1e-6)
    assert float(encode(half, Light.LINEAR)[0]) == pytest.approx(0.7353570, abs=1e-6)
    assert float(decode(half, Light.GAMMA22)[0]) == pytest.approx(0.5**2.2, abs=1e-6)
    assert float(encode(np.array([-0.1], np.float32), Light.LINEAR)[0]) == 0
    assert float(encode(np.array([4.0], np.float32), Light.GAMMA22)[0]) == pytest.approx(4 ** (1 / 2.2))


def test_the_two_decoding_curves_differ_by_what_is_known():
    value = np.linspace(0, 1, 10001, dtype=np.float32)
    apart = np.abs(decode(value, Light.LINEAR) - decode(value, Light.GAMMA22))
    assert apart.max() == pytest.approx(0.0085, abs=1e-4)
    assert value[apart.argmax()] == pytest.approx(0.749, abs=5e-3)


def curve_file(folder, numbers) -> None:
    (folder / "camera.csv").write_text("\n".join(map(str, numbers)) + "\n")


def test_a_cameras_own_curve_goes_there_and_back(tmp_path):
    table = (np.arange(256) / 255) ** 1.7 * 0.98 + 0.01
    curve_file(tmp_path, table)
    camera = parse_light("crf:camera.csv", folder=tmp_path)
    assert isinstance(camera, Response)
    assert parse_light(camera.value, folder=tmp_path) == camera  # a record's name for it finds it again
    assert decode(CODES, camera) == pytest.approx(table, abs=1e-6)
    between = np.array([100.5 / 255], np.float32)
    assert float(decode(between, camera)[0]) == pytest.approx((table[100] + table[101]) / 2, abs=1e-6)
    assert np.array_equal(to_8_bit(encode(decode(CODES, camera), camera)), np.arange(256))
    assert encode(np.array([0, 2], np.float32), camera).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (range(256), "must rise from 0 to 1 at most"),
        ([0.5] * 256, "must rise"),
        (np.linspace(0, 1, 255), "holds 255 numbers"),
        (["dark"] * 256, "must hold 256 numbers"),
    ],
)
def test_a_file_that_holds_no_curve_is_refused(tmp_path, numbers, message):
    curve_file(tmp_path, numbers)
    with pytest.raises(UsageError, match=message):
        parse_light("crf:camera.csv", folder=tmp_path)


def test_light_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read the curve .*missing.csv: no such file"):
        parse_light("crf:missing.csv", folder=tmp_path)
    with pytest.raises(UsageError, match=r'"lin" is not one of srgb, linear, gamma2.2, crf:FILE'):
        parse_light("lin", folder=tmp_path)


@pytest.mark.parametrize("light", list(Light))
def test_all_256_codes_survive_the_way_through_light(light):
    assert np.array_equal(to_8_bit(encode(decode(CODES, light), light)), np.arange(256))


def test_no_light_below_zero_reaches_a_power():
    dark = np.array([-0.2, 0.5], np.float32)
    for light in (Light.LINEAR, Light.GAMMA22):
        assert float(decode(dark, light)[0]) == 0


def test_integers_of_16_bit_are_read_at_their_own_scale_and_ties_go_to_even():
    assert from_integers(np.array([0, 65535], np.uint16)).tolist() == [0, 1]
    ties = np.array([-1, 0.5 / 255, 1.5 / 255, 2.5 / 255, 9], np.float32)
    assert to_8_bit(ties).tolist() == [0, 0, 2, 2, 255]


# Nothing to do


@pytest.mark.parametrize(
    "nothing",
    [
        lambda image: identity.apply(image, Identity()),
        lambda image: gaussian.apply(image, Gaussian(sigma=0)),
        lambda image: gaussian.apply(image, Gaussian(sigma=0, engine=Engine.OPENCV_U8)),
        lambda image: gaussian_k.apply(image, GaussianK(k=1, sigma=sigma_of(1))),
        lambda image: median.apply(image, Median(k=1)),
        lambda image: box.apply(image, Box(k=1)),
        lambda image: convolve(image, linear_motion.kernel(LinearMotion(length=0, angle=1))),
        lambda image: convolve(image, defocus.kernel(Defocus(radius=0, blades=0))),
        lambda image: convolve(image, defocus.kernel(Defocus(radius=0.5, blades=6))),
        lambda image: highlights.apply(image, Highlights(boost=1)),
        lambda image: noise.apply(image, Noise(gain=0, read_var=0), rng()),
        lambda image: noise.apply(image, Noise(kind=Kind.GAUSSIAN, sigma=0, gain=0.1), rng()),
    ],
)
def test_nothing_changes_bit_for_bit_where_there_is_nothing_to_do(nothing):
    image = rng().random((9, 9, 3)).astype(np.float32)
    assert nothing(image) is image


def test_no_degradation_writes_into_the_picture_it_is_given():
    image = rng().random((64, 64, 3)).astype(np.float32)
    before = image.copy()
    for blur in (
        lambda: gaussian.apply(image, Gaussian(sigma=1)),
        lambda: gaussian.apply(image, Gaussian(sigma=1, engine=Engine.OPENCV_U8)),
        lambda: median.apply(image, Median(k=3)),
        lambda: convolve(image, box.kernel(Box(k=3))),
        lambda: highlights.apply(image, Highlights(boost=4)),
        lambda: noise.apply(image, Noise(gain=0.01, read_var=0.01), rng()),
        lambda: jpeg.apply(image, Jpeg(quality=50)),
    ):
        assert not np.array_equal(blur(), image)
        assert np.array_equal(image, before)


# Median


@pytest.mark.parametrize("k", [3, 5, 9, 13])
def test_the_median_is_opencvs_on_8_bit_and_scipys_on_floats(k):
    pixels = noise_8_bit(40, 50, 3)
    assert np.array_equal(
        to_8_bit(median.apply(from_integers(pixels), Median(k=k))), cv2.medianBlur(pixels, k)
    )
    image = rng().random((40, 50, 3)).astype(np.float32)
    expected = scipy.ndimage.median_filter(image, size=(k, k, 1), mode="nearest")
    assert np.array_equal(median.apply(image, Median(k=k)), expected)
    assert median.apply(image[..., :1], Median(k=k)).shape == (40, 50, 1)


def test_the_median_is_the_same_in_any_light():
    stored = from_integers(noise_8_bit(40, 50, 3))
    linear = median.apply(decode(stored, Light.LINEAR), Median(k=9))
    assert np.array_equal(to_8_bit(encode(linear, Light.LINEAR)), to_8_bit(median.apply(stored, Median(k=9))))


def test_a_picture_smaller_than_the_median_is_refused():
    with pytest.raises(PictureError, match="12x10 is too small for a blur that reaches 10 px"):
        median.apply(from_integers(noise_8_bit(10, 12, 3)), Median(k=21))


# Highlights


def test_highlights_grow_where_the_brightest_channel_is_nearly_white():
    image = np.array([[[0.9, 0.9, 0.2], [0.95, 0.1, 0.1], [0.3, 0.5, 1.0]]], np.float32)
    boosted = highlights.apply(image, Highlights(boost=3))
    assert boosted.dtype == np.float32
    # (1, 2 = half of the way from 0.9 to 1, 3) times
    assert boosted == pytest.approx(image * np.array([1, 2, 3])[:, None], abs=1e-5)


# Noise


@pytest.mark.parametrize("level", [0.05, 0.2, 0.5, 0.9])
def test_noise_has_the_mean_and_variance_of_its_formula(level):
    gain, read_sd, count = 3e-3, 5e-3, 512 * 512
    image = np.full((512, 512, 1), level, np.float32)
    noisy = noise.apply(image, Noise(gain=gain, read_var=read_sd**2), rng())
    variance = gain * level + read_sd**2
    assert noisy.dtype == np.float32
    assert abs(noisy.mean(dtype=np.float64) - level) <= 4 * math.sqrt(variance / count)
    assert abs(noisy.var(dtype=np.float64) / variance - 1) <= 4 * math.sqrt(2 / count)


def test_gaussian_noise_does_not_depend_on_the_light():
    image = np.concatenate([np.zeros((200, 200, 1)), np.ones((200, 200, 1))], axis=2).astype(np.float32)
    added = noise.apply(image, Noise(kind=Kind.GAUSSIAN, sigma=0.01), rng(2)) - image
    assert added.var(axis=(0, 1)) == pytest.approx(1e-4, rel=0.03)
    assert np.corrcoef(added[..., 0].ravel(), added[..., 1].ravel())[0, 1] == pytest.approx(0, abs=0.02)


def test_the_shot_noise_is_drawn_before_the_read_noise_in_the_order_of_the_array():
    image = rng(5).random((6, 7, 3)).astype(np.float32)
    fields = rng(3)
    shot = fields.poisson(image.astype(np.float64) / 0.01) * 0.01
    expected = shot + 0.1 * fields.standard_normal(image.shape)
    assert noise.apply(image, Noise(gain=0.01, read_var=0.01), rng(3)) == pytest.approx(expected, abs=1e-6)


# JPEG


@pytest.mark.parametrize("subsampling", list(Subsampling))
def test_jpeg_bytes_and_pixels_are_those_of_pillow(subsampling):
    photo = data.astronaut()[:200, :200]
    buffer = io.BytesIO()
    Image.fromarray(photo).save(
        buffer, "JPEG", quality=80, subsampling={"444": 0, "422": 1, "420": 2}[subsampling]
    )
    params = Jpeg(quality=80, subsampling=subsampling)
    assert jpeg.compress(photo, params) == buffer.getvalue()
    decoded = np.asarray(Image.open(buffer))
    assert np.array_equal(jpeg.through_jpeg(photo, params), decoded)
    assert np.array_equal(jpeg.apply(from_integers(photo), params), from_integers(decoded))


def test_best_jpeg_stays_within_two_levels_on_ramps():
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8), (64, 256))
    ramps = np.stack([ramp, ramp[:, ::-1], ramp // 2 + 60], axis=2)
    result = jpeg.through_jpeg(ramps, Jpeg(quality=100, subsampling=Subsampling.NONE))
    assert np.abs(result.astype(int) - ramps).max() <= 2
    assert jpeg.through_jpeg(ramps[..., :1], Jpeg(quality=90)).shape == (64, 256, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Median(k=33), "Median: k is 33; it must be odd, from 1 to 31 px"),
        (lambda: Highlights(boost=0.5), "Highlights: boost is 0.5; it must be from 1 to 100"),
        (lambda: Jpeg(quality=101), "Jpeg: quality is 101; it must be from 1 to 100"),
        (lambda: Noise(gain=0.5, read_var=0), "Noise: gain is 0.5"),
    ],
)
def test_parameters_outside_their_range_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


@pytest.mark.parametrize("degradation", DEGRADATIONS, ids=lambda item: item.name)
def test_every_declared_degradation_leads_somewhere(degradation):
    operation = load_operation(degradation)
    assert operation.apply or operation.kernel
    assert step_bound(Step(slot=1, op=degradation.name), degradation) >= 0


@pytest.mark.parametrize(
    "params",
    [Gaussian(sigma=1.3), Gaussian(sigma=1.3, engine=Engine.OPENCV_U8), Gaussian(sigma=0), Jpeg(quality=40)],
    ids=repr,
)
def test_what_takes_stored_pixels_makes_of_them_what_it_makes_of_floats(params, photo):
    taking = [load_operation(item) for item in DEGRADATIONS if item.codes]
    (operation,) = (item for item in taking if item.params is type(params))
    of_pixels, of_floats = (operation.apply(image, params, None) for image in (photo, from_integers(photo)))
    assert of_floats.dtype == np.float32
    assert np.array_equal(from_integers(of_pixels), of_floats)
    if params != Gaussian(sigma=1.3):  # our own weights take floats
        assert of_pixels.dtype == np.uint8


def test_all_kinds_of_blur_are_declared_once():
    assert sorted(item.name for item in DEGRADATIONS) == [
        "box", "camera_shake", "defocus", "frame_average", "gaussian", "gaussian_k", "highlights", "identity", "jpeg",
        "linear_motion", "median", "noise", "trajectory",
    ]  # fmt: skip
