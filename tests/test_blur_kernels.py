"""Blur that is a kernel, against SciPy, OpenCV, scikit-image and closed forms; how it is convolved, its energy and its centre."""

import math

import cv2
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import scipy.stats
from skimage import data
from skimage.morphology import disk

from deblur_cli.blur import DEGRADATIONS, box, defocus, gaussian, gaussian_k, linear_motion
from deblur_cli.blur.borders import Window
from deblur_cli.blur.box import Box
from deblur_cli.blur.convolution import convolve
from deblur_cli.blur.defocus import Defocus
from deblur_cli.blur.gaussian import Engine, Form, Gaussian
from deblur_cli.blur.gaussian_k import GaussianK, sigma_of
from deblur_cli.blur.kernels import centroid, splat, variance
from deblur_cli.blur.linear_motion import LinearMotion
from deblur_cli.blur.operations import load_operation
from deblur_cli.blur.randomness import Role, generator
from deblur_cli.blur.spec import Step, step_bound
from deblur_cli.errors import PictureError, UsageError
from deblur_cli.pictures.scaling import from_integers, to_8_bit

SIGMAS = (0.3, 0.5, 1.0, 1.7, 2.5, 3.0)
WITH_KERNEL = [item for item in DEGRADATIONS if item.kernel]


def white_noise(*shape: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(1)).random(shape)


def impulse(side: int) -> np.ndarray:
    image = np.zeros((side, side, 1))
    image[side // 2, side // 2] = 1
    return image


def fixed(k: int, **changes) -> GaussianK:
    return GaussianK(**{"k": k, "sigma": sigma_of(k), **changes})


# Gaussian of any sigma


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
    theirs = cv2.GaussianBlur(image, (0, 0), sigma)
    assert np.array_equal(theirs, cv2.GaussianBlur(image, (side, side), sigma))
    assert len(gaussian.weights(Gaussian(sigma=sigma))) == side
    assert np.abs(gaussian.apply(image, Gaussian(sigma=sigma)) - theirs).max() <= 1e-6


@pytest.mark.parametrize("sigma", [0.283, 0.2835, *SIGMAS])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_8_bit_engine_is_opencv_on_8_bit_pixels(sigma, channels):
    pixels = np.random.Generator(np.random.Philox(1)).integers(0, 256, (32, 32, channels), np.uint8)
    params = Gaussian(sigma=sigma, engine=Engine.OPENCV_U8)
    blurred = gaussian.apply(from_integers(pixels), params)
    expected = cv2.GaussianBlur(pixels, (0, 0), sigma).reshape(pixels.shape)
    assert np.array_equal(blurred, from_integers(expected))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_8_bit_engine_stays_within_a_level_of_the_float_engine_on_a_photo(sigma, photo):
    image = from_integers(photo)
    exact = to_8_bit(gaussian.apply(image, Gaussian(sigma=sigma)))
    fixed_point = to_8_bit(gaussian.apply(image, Gaussian(sigma=sigma, engine=Engine.OPENCV_U8)))
    assert np.abs(fixed_point.astype(int) - exact).max() <= 1


def test_the_8_bit_engine_changes_nothing_below_its_smallest_sigma():
    image = from_integers(np.random.Generator(np.random.Philox(1)).integers(0, 256, (32, 32, 3), np.uint8))
    smallest = 1 / math.sqrt(2 * math.log(512))
    assert 0.283 < smallest < 0.2835
    assert np.array_equal(gaussian.apply(image, Gaussian(sigma=0.283, engine=Engine.OPENCV_U8)), image)
    assert not np.array_equal(gaussian.apply(image, Gaussian(sigma=0.2835, engine=Engine.OPENCV_U8)), image)


def test_the_8_bit_engine_knows_one_form_only():
    with pytest.raises(UsageError, match="opencv-u8 has the form sampled only, not integrated"):
        Gaussian(sigma=1, engine=Engine.OPENCV_U8, form=Form.INTEGRATED)


@pytest.mark.parametrize("sigma", [0.8, 1.5, 3.0])
def test_integrated_weights_have_the_variance_of_gaussian_and_pixel(sigma):
    kernel = gaussian.kernel(Gaussian(sigma=sigma, form=Form.INTEGRATED))
    assert variance(kernel) == pytest.approx((sigma**2 + 1 / 12,) * 2, rel=2e-3)
    assert variance(gaussian.kernel(Gaussian(sigma=sigma))) == pytest.approx((sigma**2,) * 2, rel=1e-3)


def test_integrated_weights_are_the_normal_distribution_over_each_pixel():
    weights = gaussian.weights(Gaussian(sigma=0.6, form=Form.INTEGRATED))
    edges = scipy.stats.norm.cdf((np.arange(len(weights) + 1) - len(weights) / 2) / 0.6)
    assert np.abs(weights - np.diff(edges)).max() <= 1e-12
    assert np.array_equal(weights, weights[::-1])


@pytest.mark.parametrize(("first", "second"), [(1, 1), (0.8, 1.5), (2, 1.5), (1.2, 2.7)])
def test_blurring_twice_is_blurring_once_with_the_sum_of_variances(first, second):
    image = white_noise(128, 128, 1)
    twice = gaussian.apply(gaussian.apply(image, Gaussian(sigma=first)), Gaussian(sigma=second))
    once = gaussian.apply(image, Gaussian(sigma=math.hypot(first, second)))
    assert np.abs(twice - once).max() <= 1e-4


def test_small_sampled_gaussians_do_not_add_up():
    image, half = white_noise(128, 128, 1), Gaussian(sigma=0.5)
    twice = gaussian.apply(gaussian.apply(image, half), half)
    assert np.abs(twice - gaussian.apply(image, Gaussian(sigma=math.sqrt(0.5)))).max() > 0.05


# Gaussian of a fixed size, and box


@pytest.mark.parametrize("k", [3, 5, 9, 13, 31])
def test_weights_of_a_fixed_size_are_scipys_window(k):
    window = scipy.signal.windows.gaussian(k, sigma_of(k))
    assert np.abs(gaussian_k.weights(fixed(k)) - window / window.sum()).max() <= 1e-12
    assert len(gaussian_k.weights(fixed(k, sigma=1.3))) == k


def test_the_sigma_of_a_size_is_opencvs():
    assert [sigma_of(k) for k in (5, 9, 13)] == pytest.approx([1.1, 1.7, 2.3], abs=1e-12)
    assert np.abs(gaussian_k.weights(fixed(13))[:, None] - cv2.getGaussianKernel(13, 0)).max() <= 1e-15


@pytest.mark.parametrize(("k", "spread"), [(5, 1.0), (9, 2.75)])
def test_the_tables_are_opencvs(k, spread):
    from_table = gaussian_k.weights(fixed(k, table=True))
    assert np.abs(from_table[:, None] - cv2.getGaussianKernel(k, 0)).max() <= 1e-15
    assert variance(np.outer(from_table, from_table)) == pytest.approx((spread, spread), abs=2e-2)
    assert np.abs(from_table - gaussian_k.weights(fixed(k))).max() > 1e-3


def test_a_table_with_another_sigma_is_refused():
    with pytest.raises(UsageError, match="sigma is 2, but the table for k = 5 has its own"):
        GaussianK(k=5, sigma=2.0, table=True)


@pytest.mark.parametrize("k", [3, 9])
def test_fixed_size_blurs_equal_convolution_with_their_kernels(k):
    image = white_noise(30, 40, 3)
    mean = scipy.ndimage.uniform_filter(image, (k, k, 1), mode="mirror")
    assert np.abs(box.apply(image, Box(k=k)) - mean).max() <= 1e-12
    assert np.abs(convolve(image, box.kernel(Box(k=k))) - mean).max() <= 1e-12
    assert variance(box.kernel(Box(k=k))) == pytest.approx(((k * k - 1) / 12,) * 2, abs=1e-12)
    by_axes = gaussian_k.apply(image, fixed(k))
    assert np.abs(by_axes - convolve(image, gaussian_k.kernel(fixed(k)))).max() <= 1e-12


# Linear motion


def exact_streak(length: float, radius: int) -> np.ndarray:
    """The streak along x: what a hat as wide as two pixels, moved along it, leaves on each."""
    u = np.abs(np.arange(-radius, radius + 1)[:, None] + np.array([length, -length]) / 2)
    signs = np.sign(np.arange(-radius, radius + 1)[:, None] + np.array([length, -length]) / 2)
    integral = 0.5 + signs * np.where(u >= 1, 0.5, u - u**2 / 2)
    return (integral[:, 0] - integral[:, 1]) / length


@pytest.mark.parametrize(
    ("length", "tolerance"), [(1, 1e-12), (5, 1e-12), (8, 1e-12), (2.5, 2e-4), (15.3, 2e-4)]
)
def test_a_streak_along_x_has_the_closed_form(length, tolerance):
    kernel = linear_motion.kernel(LinearMotion(length=length, angle=0))
    radius = len(kernel) // 2
    assert np.abs(kernel[radius] - exact_streak(length, radius)).max() <= tolerance
    assert np.abs(np.delete(kernel, radius, axis=0)).max() == 0


def test_a_streak_of_5_px_is_1_7_8_8_8_7_1():
    kernel = linear_motion.kernel(LinearMotion(length=5, angle=0))
    assert np.abs(kernel[4, 1:8] - np.array([1, 7, 8, 8, 8, 7, 1]) / 40).max() <= 1e-12


def test_a_streak_turns_with_its_angle():
    across = linear_motion.kernel(LinearMotion(length=7.3, angle=0))
    down = linear_motion.kernel(LinearMotion(length=7.3, angle=math.pi / 2))
    assert np.abs(across.T - down).max() <= 1e-12
    # down and to the right, as y points down
    slanted = linear_motion.kernel(LinearMotion(length=20, angle=math.pi / 4))
    assert slanted[18, 18] > 0
    assert slanted[4, 18] == 0
    assert sum(variance(slanted)) == pytest.approx(
        20**2 / 12 + 1 / 3, abs=5e-3
    )  # 1/6 an axis from drawing it


# Defocus


@pytest.mark.parametrize(("radius", "pixels", "spread"), [(3, 4, 0.015), (5, 8, 0.005), (12, 0, 0.001)])
def test_disk_is_that_of_scikit_image_with_soft_edges(radius, pixels, spread):
    covered = defocus.coverage(Defocus(radius=radius, blades=0))
    hard = np.pad(disk(radius), (len(covered) - 2 * radius - 1) // 2)
    assert np.count_nonzero((covered >= 0.5) != hard) <= pixels
    assert covered.sum() == pytest.approx(math.pi * radius**2, rel=1e-3)
    expected = radius**2 / 4 + 1 / 12
    assert variance(defocus.kernel(Defocus(radius=radius, blades=0))) == pytest.approx(
        (expected,) * 2, rel=spread
    )


@pytest.mark.parametrize("radius", [0.8, 1.3, 2, 2.9, 4.4, 6])
def test_disk_covers_its_area(radius):
    covered = defocus.coverage(Defocus(radius=radius, blades=0))
    assert covered.sum() == pytest.approx(math.pi * radius**2, rel=3e-3)
    assert covered.max() == 1 or radius < 1


@pytest.mark.parametrize("blades", [5, 6, 7, 8, 9])
@pytest.mark.parametrize("turn", [0, 0.3, 0.9])
def test_polygon_has_its_area_and_variance_and_stays_in_place(blades, turn):
    params = Defocus(radius=8, blades=blades, rotation=turn * 2 * math.pi / blades)
    corner = 2 * math.pi / blades
    assert defocus.coverage(params).sum() == pytest.approx(blades / 2 * 64 * math.sin(corner), rel=2e-4)
    expected = 64 * (2 + math.cos(corner)) / 12 + 1 / 12
    assert variance(defocus.kernel(params)) == pytest.approx((expected, expected), rel=5e-3)
    assert math.hypot(*centroid(defocus.kernel(params))) <= 0.01


def test_a_polygon_points_where_its_rotation_says():
    covered = defocus.coverage(Defocus(radius=8, blades=5, rotation=math.pi / 2))
    rows = np.flatnonzero(covered.sum(axis=1)) - len(covered) // 2
    assert rows.max() == 8  # a corner below, as y points down
    assert rows.min() == -6  # an edge above, 6.47 px from the centre
    assert np.abs(covered - covered[:, ::-1]).max() <= 1e-9


def test_only_the_apertures_that_exist_are_taken():
    with pytest.raises(UsageError, match="Defocus: blades is 3; it must be one of 0, 5, 6, 7, 8, 9"):
        Defocus(radius=3, blades=3)


# Convolution


@pytest.mark.parametrize("side", [3, 7, 9, 31, 33, 61])
def test_convolution_equals_scipy_at_every_size(side):
    image, kernel = white_noise(70, 80, 3), white_noise(side, side)
    kernel /= kernel.sum()
    padded = np.pad(image, ((side // 2, side // 2), (side // 2, side // 2), (0, 0)), "reflect")
    expected = np.stack([scipy.signal.fftconvolve(padded[..., c], kernel, "valid") for c in range(3)], axis=2)
    assert np.abs(convolve(image, kernel) - expected).max() <= 1e-12
    single = convolve(image.astype(np.float32), kernel)
    assert single.dtype == np.float32
    assert np.abs(single - expected).max() <= 1e-6


@pytest.mark.parametrize("side", [3, 9, 35])
def test_an_impulse_returns_the_kernel_the_right_way_round(side):
    kernel = white_noise(side, side)
    kernel /= kernel.sum()
    expected = np.pad(kernel, (81 - side) // 2)
    assert np.abs(convolve(impulse(81), kernel)[..., 0] - expected).max() <= 1e-12


def test_separate_axes_return_the_kernel_of_an_impulse():
    params = Gaussian(sigma=1.7)
    kernel = np.pad(gaussian.kernel(params), 20 - 7)
    assert np.abs(gaussian.apply(impulse(41), params)[..., 0] - kernel).max() <= 1e-12


def test_kernels_of_no_odd_square_are_refused():
    for shape in ((3, 5), (4, 4)):
        with pytest.raises(ValueError, match=f"not {shape[0]} x {shape[1]}"):
            convolve(white_noise(9, 9, 1), np.full(shape, 1 / math.prod(shape)))


@pytest.mark.parametrize(
    "blur",
    [
        lambda image: gaussian.apply(image, Gaussian(sigma=3)),
        lambda image: box.apply(image, Box(k=25)),
        lambda image: convolve(image, np.full((25, 25), 1 / 625)),
        lambda image: gaussian.apply(image, Gaussian(sigma=4, engine=Engine.OPENCV_U8)),
    ],
)
def test_a_picture_smaller_than_the_blur_is_refused_with_both_sizes(blur):
    with pytest.raises(PictureError, match=r"12x10 is too small for a blur that reaches 12 px"):
        blur(white_noise(10, 12, 3).astype(np.float32))


# Every kernel


def drawn(degradation, number: int) -> np.ndarray:
    operation = load_operation(degradation)
    params, field = (generator(3, index=number, draw=0, slot=1, role=role) for role in Role)
    place = {"window": Window(whole_height=480, whole_width=640)} if operation.places else {}
    return operation.kernel(operation.draw({}, params, number), field, **place)


@pytest.mark.parametrize("degradation", WITH_KERNEL, ids=lambda item: item.name)
def test_every_kernel_keeps_energy_place_and_bound(degradation):
    bound = step_bound(Step(slot=1, op=degradation.name), degradation)
    off_centre = {"defocus": 0.01, "camera_shake": 0.03}.get(degradation.name, 1e-9)
    for number in range(12):
        kernel = drawn(degradation, number)
        assert kernel.dtype == np.float64
        assert kernel.shape[0] == kernel.shape[1]
        assert len(kernel) % 2 == 1
        assert abs(kernel.sum() - 1) <= 1e-12
        assert abs(kernel.astype(np.float32).sum(dtype=np.float64) - 1) <= 1e-7
        assert kernel.min() >= 0
        assert math.hypot(*centroid(kernel)) <= off_centre
        rows, columns = np.nonzero(kernel)
        assert max(np.abs(rows - len(kernel) // 2).max(), np.abs(columns - len(kernel) // 2).max()) <= bound


@pytest.mark.parametrize("degradation", WITH_KERNEL, ids=lambda item: item.name)
def test_every_kernel_leaves_a_constant_and_the_mean_of_a_wrapped_photo(degradation):
    kernel = drawn(degradation, 1)
    radius = len(kernel) // 2
    constant = np.full((96, 96, 3), 0.37, np.float32)
    assert np.abs(convolve(constant, kernel) - np.float32(0.37)).max() <= 1e-6
    photo = data.astronaut()[:128, 128:300] / 255
    wrapped = convolve(np.pad(photo, ((radius, radius), (radius, radius), (0, 0)), "wrap"), kernel)
    inner = wrapped[radius : radius + 128, radius : radius + 172]
    assert abs(inner.mean() - photo.mean()) <= 1e-12


def test_splatting_keeps_sum_and_centroid_and_adds_the_variance_of_the_hat():
    rng = np.random.Generator(np.random.Philox(4))
    points, weights = rng.normal(0, 6, (500, 2)), rng.random(500)
    kernel = splat(points, weights)
    mean = weights @ points / weights.sum()
    assert kernel.sum() == pytest.approx(weights.sum(), rel=1e-13)
    assert centroid(kernel) == pytest.approx(tuple(mean), abs=1e-12)
    fraction = points - np.floor(points)
    expected = weights @ ((points - mean) ** 2 + fraction * (1 - fraction)) / weights.sum()
    assert variance(kernel) == pytest.approx(tuple(expected), abs=1e-9)


def test_splatting_draws_each_point_on_its_four_pixels():
    kernel = splat(np.array([[0.25, -1.5]]))
    assert kernel.shape == (7, 7)  # 2 px to the farthest, and one more
    expected = np.zeros((7, 7))
    expected[1:3, 3:5] = [[0.375, 0.125], [0.375, 0.125]]
    assert np.array_equal(kernel, expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gaussian(sigma=-1), "Gaussian: sigma is -1; it must be from 0 to 64 px"),
        (lambda: Gaussian(sigma=math.nan), "sigma is nan"),
        (lambda: Box(k=4), "Box: k is 4; it must be odd, from 1 to 255 px"),
        (lambda: GaussianK(k=5, sigma=0), "GaussianK: sigma is 0; it must be above 0 to 64 px"),
        (lambda: LinearMotion(length=-1, angle=0), "LinearMotion: length is -1"),
        (lambda: Defocus(radius=65, blades=0), "Defocus: radius is 65"),
    ],
)
def test_parameters_outside_their_range_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()
