"""Gaussian blur, light, noise and JPEG against SciPy, OpenCV, Pillow and closed forms."""

import io
import math

import cv2
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image
from skimage import data

from deblur_cli.blur import gaussian, identity, jpeg, noise
from deblur_cli.blur.gaussian import Form, Gaussian
from deblur_cli.blur.jpeg import Jpeg, Subsampling
from deblur_cli.blur.light import Light, decode, encode
from deblur_cli.blur.noise import Kind, Noise
from deblur_cli.blur.randomness import Role, choice, generator, integer, log_uniform, normal, uniform
from deblur_cli.errors import PictureError, UsageError
from deblur_cli.pictures.scaling import from_integers, to_8_bit

SIGMAS = (0.3, 0.5, 1.0, 1.7, 2.5, 3.0)


def white_noise(*shape: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(1)).random(shape)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_gaussian_blur_equals_scipy_and_leaves_channels_apart(sigma):
    image = white_noise(48, 40, 3)
    radius = math.ceil(4 * sigma)
    expected = scipy.ndimage.gaussian_filter(
        image, (sigma, sigma, 0), mode="mirror", radius=(radius, radius, 0)
    )
    assert np.abs(gaussian.apply(image, Gaussian(sigma=sigma)) - expected).max() <= 1e-12
    single = gaussian.apply(image.astype(np.float32), Gaussian(sigma=sigma))
    assert single.dtype == np.float32
    assert np.abs(single - expected).max() <= 1e-6


@pytest.mark.parametrize(("sigma", "side"), [(1, 9), (2, 17), (3, 25)])
def test_gaussian_blur_equals_opencv_on_floats_with_its_own_size(sigma, side):
    image = white_noise(40, 50, 3).astype(np.float32)
    ours = gaussian.apply(image, Gaussian(sigma=sigma))
    assert len(gaussian.weights(Gaussian(sigma=sigma))) == side
    assert np.abs(ours - cv2.GaussianBlur(image, (0, 0), sigma)).max() <= 1e-6


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("form", list(Form))
def test_gaussian_weights_sum_to_one_and_are_not_negative(sigma, form):
    weights = gaussian.weights(Gaussian(sigma=sigma, form=form))
    assert abs(weights.sum() - 1) <= 1e-12
    assert weights.min() >= 0
    assert np.array_equal(weights, weights[::-1])


@pytest.mark.parametrize("sigma", [0.8, 1.5, 3.0])
def test_integrated_weights_have_the_variance_of_gaussian_and_pixel(sigma):
    weights = gaussian.weights(Gaussian(sigma=sigma, form=Form.INTEGRATED))
    position = np.arange(len(weights)) - len(weights) // 2
    assert (weights * position**2).sum() == pytest.approx(sigma**2 + 1 / 12, rel=2e-3)


@pytest.mark.parametrize(("first", "second"), [(1, 1), (0.8, 1.5), (2, 1.5), (1.2, 2.7)])
def test_blurring_twice_is_blurring_once_with_the_sum_of_variances(first, second):
    image = white_noise(128, 128, 1)
    twice = gaussian.apply(gaussian.apply(image, Gaussian(sigma=first)), Gaussian(sigma=second))
    once = gaussian.apply(image, Gaussian(sigma=math.hypot(first, second)))
    assert np.abs(twice - once)[32:-32, 32:-32].max() <= 1e-4


def test_small_sampled_gaussians_do_not_add_up():
    image = white_noise(128, 128, 1)
    half = Gaussian(sigma=0.5)
    difference = gaussian.apply(gaussian.apply(image, half), half) - gaussian.apply(
        image, Gaussian(sigma=math.sqrt(0.5))
    )
    assert np.abs(difference).max() > 0.05


def test_a_constant_stays_and_an_impulse_returns_the_kernel():
    assert np.abs(gaussian.apply(np.full((40, 40, 3), 0.37), Gaussian(sigma=2.5)) - 0.37).max() <= 1e-6
    impulse = np.zeros((41, 41, 1))
    impulse[20, 20] = 1
    weights = gaussian.weights(Gaussian(sigma=1.7))
    kernel = np.zeros((41, 41))
    kernel[13:28, 13:28] = np.outer(weights, weights)
    assert np.abs(gaussian.apply(impulse, Gaussian(sigma=1.7))[..., 0] - kernel).max() <= 1e-12


def test_nothing_changes_bit_for_bit_where_there_is_nothing_to_do():
    image = white_noise(9, 9, 3).astype(np.float32)
    rng = np.random.default_rng(0)
    assert gaussian.apply(image, Gaussian(sigma=0)) is image
    assert noise.apply(image, Noise(gain=0, read_var=0), rng) is image
    assert identity.apply(image, identity.draw(rng), rng) is image
    codes = np.arange(256, dtype=np.uint8)
    for light in Light:
        assert np.array_equal(to_8_bit(encode(decode(from_integers(codes), light), light)), codes)


def test_light_follows_the_srgb_curve():
    half = np.array([0.5], np.float32)
    assert float(decode(half, Light.LINEAR)[0]) == pytest.approx(0.2140411, abs=1e-6)
    assert float(encode(half, Light.LINEAR)[0]) == pytest.approx(0.7353570, abs=1e-6)
    assert float(decode(half, Light.GAMMA22)[0]) == pytest.approx(0.5**2.2, abs=1e-6)
    assert float(encode(np.array([-0.1], np.float32), Light.LINEAR)[0]) == 0


def test_integers_of_16_bit_are_read_at_their_own_scale_and_ties_go_to_even():
    assert from_integers(np.array([0, 65535], np.uint16)).tolist() == [0, 1]
    assert to_8_bit(np.array([-1, 0.5 / 255, 1.5 / 255, 2.5 / 255, 9], np.float32)).tolist() == [
        0,
        0,
        2,
        2,
        255,
    ]


def test_a_picture_smaller_than_the_blur_is_refused_with_both_sizes():
    with pytest.raises(PictureError, match=r"12x10 is too small for a blur that reaches 12 px"):
        gaussian.apply(white_noise(10, 12, 3), Gaussian(sigma=3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gaussian(sigma=-1), "Gaussian: sigma is -1; it must be from 0 to 64 px"),
        (lambda: Gaussian(sigma=math.nan), "sigma is nan"),
        (lambda: Jpeg(quality=101), "Jpeg: quality is 101; it must be from 1 to 100"),
        (lambda: Noise(gain=0.5, read_var=0), "Noise: gain is 0.5"),
    ],
)
def test_parameters_outside_their_range_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


@pytest.mark.parametrize("level", [0.05, 0.2, 0.5, 0.9])
def test_noise_has_the_mean_and_variance_of_its_formula(level):
    gain, read_sd, count = 3e-3, 5e-3, 512 * 512
    image = np.full((512, 512, 1), level, np.float32)
    noisy = noise.apply(
        image, Noise(gain=gain, read_var=read_sd**2), np.random.Generator(np.random.Philox(1))
    )
    variance = gain * level + read_sd**2
    assert abs(noisy.mean(dtype=np.float64) - level) <= 4 * math.sqrt(variance / count)
    assert abs(noisy.var(dtype=np.float64) / variance - 1) <= 4 * math.sqrt(2 / count)


def test_gaussian_noise_does_not_depend_on_the_light():
    image = np.concatenate([np.zeros((200, 200, 1)), np.ones((200, 200, 1))], axis=2).astype(np.float32)
    params = Noise(gain=0.01, read_var=1e-4, kind=Kind.GAUSSIAN)
    added = noise.apply(image, params, np.random.Generator(np.random.Philox(2))) - image
    assert added.var(axis=(0, 1)) == pytest.approx(1e-4, rel=0.03)


@pytest.mark.parametrize("subsampling", list(Subsampling))
def test_jpeg_bytes_and_pixels_are_those_of_pillow(subsampling):
    photo = data.astronaut()[:200, :200]
    buffer = io.BytesIO()
    Image.fromarray(photo).save(
        buffer, "JPEG", quality=80, subsampling={"444": 0, "422": 1, "420": 2}[subsampling]
    )
    params = Jpeg(quality=80, subsampling=subsampling)
    assert jpeg.compress(photo, params) == buffer.getvalue()
    assert np.array_equal(jpeg.through_jpeg(photo, params), np.asarray(Image.open(buffer)))


def test_best_jpeg_stays_within_two_levels_on_ramps():
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8), (64, 256))
    ramps = np.stack([ramp, ramp[:, ::-1], ramp // 2 + 60], axis=2)
    result = jpeg.through_jpeg(ramps, Jpeg(quality=100, subsampling=Subsampling.NONE))
    assert np.abs(result.astype(int) - ramps).max() <= 2
    assert jpeg.through_jpeg(ramps[..., :1], Jpeg(quality=90)).shape == (64, 256, 1)


def test_draws_stay_in_their_ranges_and_come_from_uniforms_alone():
    rng = generator(3, index=4, draw=5, slot=6, role=Role.PARAMETERS)
    raw = np.random.Generator(np.random.Philox(np.random.SeedSequence(3, spawn_key=(4, 5, 6, 0))))
    assert uniform(rng, (2, 6)) == 2 + 4 * raw.random()
    assert log_uniform(rng, (1, 100)) == pytest.approx(100 ** raw.random())
    assert {integer(rng, (60, 62)) for _ in range(200)} == {60, 61, 62}
    assert {choice(rng, "abc") for _ in range(200)} == set("abc")
    values = [normal(rng, mean=1, sd=0.5) for _ in range(4000)]
    assert np.mean(values) == pytest.approx(1, abs=0.04)
    assert np.std(values) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda rng: uniform(rng, (3, 1)), "3 to 1 is empty"),
        (lambda rng: log_uniform(rng, (0, 1)), "lower end must be above 0"),
    ],
)
def test_impossible_ranges_are_refused(draw, message):
    with pytest.raises(UsageError, match=message):
        draw(np.random.default_rng(0))


def test_read_noise_follows_the_gain():
    rng = generator(0, index=0, draw=0, slot=1, role=Role.PARAMETERS)
    drawn = [noise.draw(rng, gain=(1e-4, 0.012)) for _ in range(3000)]
    residual = [math.log(item.read_var) - 2.18 * math.log(item.gain) - 1.20 for item in drawn]
    assert np.mean(residual) == pytest.approx(0, abs=0.02)
    assert np.std(residual) == pytest.approx(0.26, rel=0.05)
    assert min(item.gain for item in drawn) >= 1e-4
    assert max(item.gain for item in drawn) <= 0.012
