"""Random camera paths: the published recursion, its closed forms and statistics, and kernels that stay in place."""

import cmath
import math
from dataclasses import replace

import numpy as np
import pytest
from skimage import data
from skimage.color import rgb2gray

from deblur_cli.blur import trajectory
from deblur_cli.blur.convolution import convolve
from deblur_cli.blur.distributions import Constant
from deblur_cli.blur.kernels import centroid, splat, variance
from deblur_cli.blur.params import draw_params
from deblur_cli.blur.randomness import Role, generator
from deblur_cli.blur.trajectory import Trajectory
from deblur_cli.data.alignment import estimate_shift

STRAIGHT = Trajectory(
    anxiety=0, length=60, fraction=1, shake_rate=0.1, tremor=5, pull=0.3, angle=0, samples=2000
)


def field(number: int = 0) -> np.random.Generator:
    return generator(7, index=number, draw=0, slot=1, role=Role.FIELD)


def drawn(number: int, **fixed: float) -> Trajectory:
    rng = generator(7, index=number, draw=0, slot=1, role=Role.PARAMETERS)
    return draw_params(Trajectory, {name: Constant(value) for name, value in fixed.items()}, rng, 0)


def rms_radius(kernel: np.ndarray) -> float:
    return math.sqrt(sum(variance(kernel)))


def as_published(params: Trajectory, rng: np.random.Generator) -> list[complex]:
    """The recursion step by step, with each term as it is written down."""
    steps = params.samples - 1
    uniform, normal = rng.random((steps, 2)), rng.standard_normal((steps, 2))
    h, a = 1999 / steps, params.anxiety
    direction, places = cmath.exp(1j * params.angle), [0j]
    for (u0, u1), (g0, g1) in zip(uniform, normal, strict=True):
        jerk = 0j
        if u0 < min(1, h * params.shake_rate * a):
            jerk = 2 * direction * cmath.exp(1j * (math.pi + u1 - 0.5))
        tremor = math.sqrt(h) * params.tremor * complex(g0, g1)
        pull = h * params.pull * places[-1] * 60 / params.length
        direction = direction + jerk + a * (tremor - pull)
        direction = direction / abs(direction)
        places.append(places[-1] + params.length / steps * direction)
    return places


@pytest.mark.parametrize("changes", [{}, {"samples": 500, "length": 20}, {"anxiety": 0.1, "shake_rate": 1}])
def test_the_path_is_the_published_recursion(changes):
    params = replace(drawn(3, anxiety=0.05), **changes)
    path = trajectory.path(params, field())
    assert len(path) == params.samples
    assert np.abs(path - as_published(params, field())).max() <= 1e-9


@pytest.mark.parametrize("number", range(5))
def test_the_path_is_as_long_as_it_should_be(number):
    params = drawn(number, length=43)
    steps = np.abs(np.diff(trajectory.path(params, field(number))))
    assert steps.sum() == pytest.approx(43, abs=1e-9)
    assert np.ptp(steps) <= 1e-12  # at constant speed


def test_a_calm_hand_draws_a_straight_line_of_known_variance():
    kernel = trajectory.kernel(STRAIGHT, field())
    fraction = np.arange(2000) * 60 / 1999 - 30
    fraction -= np.floor(fraction)
    expected = (60 / 1999) ** 2 * (2000**2 - 1) / 12 + (fraction * (1 - fraction)).mean()
    assert expected == pytest.approx(300.4667, abs=1e-4)
    assert variance(kernel) == pytest.approx((expected, 0), abs=1e-9)
    assert len(kernel) == 63
    tilted = trajectory.kernel(replace(STRAIGHT, angle=math.pi / 2), field())
    assert np.abs(tilted - kernel.T).max() <= 1e-12


@pytest.mark.parametrize("number", range(8))
def test_a_kernel_has_the_variance_of_its_points_and_of_drawing_them(number):
    params = drawn(number, anxiety=0.005, fraction=1)
    path = trajectory.path(params, field(number))
    path -= path.mean()
    points = np.stack([path.real, path.imag], axis=1)
    share = points - np.floor(points)
    expected = (points**2 + share * (1 - share)).mean(axis=0)
    assert variance(trajectory.kernel(params, field(number))) == pytest.approx(tuple(expected), abs=1e-9)


def test_the_shape_does_not_depend_on_the_length():
    params = drawn(2, anxiety=0.01)
    shapes = [trajectory.path(replace(params, length=px), field()) / px for px in (15.0, 30.0, 60.0, 120.0)]
    for shape in shapes[1:]:
        assert np.abs(shape - shapes[0]).max() <= 1e-12


def test_part_of_an_exposure_is_the_beginning_of_the_whole():
    whole = drawn(4, fraction=1)
    path = trajectory.path(whole, field())[:1000]
    path -= path.mean()
    half = trajectory.kernel(replace(whole, fraction=0.5), field())
    assert np.array_equal(half, splat(np.stack([path.real, path.imag], axis=1)))


@pytest.mark.parametrize(
    ("anxiety", "fraction", "median", "tolerance"),
    [(0.0, 1, 17.3, 0.05), (0.001, 1, 9.8, 1.2), (0.005, 1, 5.6, 0.6), (0.01, 1, 3.8, 0.5), (0.05, 1, 1.6, 0.3),
     (0.005, 1 / 16, 1.2, 0.2), (0.005, 0.25, 3.5, 0.5), (0.005, 0.5, 4.6, 0.6)],
)  # fmt: skip
def test_typical_sizes_are_those_of_the_anxiety_and_the_exposure(anxiety, fraction, median, tolerance):
    sizes = [
        rms_radius(trajectory.kernel(drawn(number, anxiety=anxiety, fraction=fraction), field(number)))
        for number in range(120)
    ]
    assert np.median(sizes) == pytest.approx(median, abs=tolerance)


def test_the_number_of_samples_does_not_change_the_law():
    medians = [
        np.median(
            [
                rms_radius(trajectory.kernel(drawn(i, anxiety=0.005, fraction=1, samples=samples), field(i)))
                for i in range(150)
            ]
        )
        for samples in (500, 1000, 2000)
    ]
    assert medians == pytest.approx([5.7] * 3, abs=0.8)


def test_the_camera_jerks_back_as_often_as_its_rate_says():
    params = replace(STRAIGHT, anxiety=0.01, tremor=0, pull=0)  # 1999 steps with 0.01 * 0.1 each
    turns = []
    for number in range(300):
        heading = np.diff(trajectory.path(params, field(number)))
        turned = np.abs(np.angle(heading[1:] / heading[:-1]))
        assert np.all(
            (turned < 1e-9) | (turned > 2.2)
        )  # straight on, or back by pi, give or take what 0.5 rad leave
        turns.append(np.count_nonzero(turned > 1))
    assert np.mean(turns) == pytest.approx(1999 * 0.001, abs=4 * math.sqrt(2 / 300))


@pytest.fixture(scope="module")
def sixty_paths() -> list[tuple[Trajectory, np.ndarray]]:
    """(parameters, kernel), of 60 trajectories with three fractions each."""
    return [
        (params, trajectory.kernel(params, field(number)))
        for number in range(60)
        for params in (drawn(number, fraction=fraction) for fraction in (0.1, 0.5, 1.0))
    ]


def test_kernels_stay_in_place_within_their_bound_and_keep_their_energy(sixty_paths):
    for params, kernel in sixty_paths:
        assert math.hypot(*centroid(kernel)) <= 1e-9
        assert math.hypot(*centroid(kernel.astype(np.float32).astype(np.float64))) <= 1e-6
        assert abs(kernel.sum() - 1) <= 1e-12
        node = {name: Constant(getattr(params, name)) for name in ("fraction", "length")}
        assert trajectory.bound(node) == math.ceil(params.fraction * 30) + 1
        assert len(kernel) <= 2 * trajectory.bound(node) + 1


def test_centring_by_the_bounding_box_would_shift_many_pictures(sixty_paths):
    off = []
    for _, kernel in sixty_paths:
        rows, columns = (np.flatnonzero(kernel.sum(axis=axis)) - len(kernel) // 2 for axis in (1, 0))
        off.append(math.hypot((rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2))
    assert np.mean(np.array(off) > 0.5) >= 1 / 3


def test_a_path_of_no_length_is_a_single_point():
    still = replace(STRAIGHT, length=0, anxiety=0.01)
    assert np.array_equal(trajectory.kernel(still, field()), [[1.0]])
    assert not trajectory.path(still, field()).any()


@pytest.mark.parametrize("shift", [(0, 0), (3, -2)])
def test_pictures_stay_in_place_by_their_own_look_and_a_shift_is_found(sixty_paths, shift):
    photo = rgb2gray(data.astronaut()).astype(np.float32)[..., None] * 255
    right, down = shift
    errors = []
    for _, kernel in sixty_paths[::16]:
        blurry = convolve(photo, kernel)[10 - down : 502 - down, 10 - right : 502 - right, 0]
        found = estimate_shift(photo[10:502, 10:502, 0], blurry, rms_px=rms_radius(kernel))
        assert found is not None
        if found.detail >= 1:  # else the longest streaks leave nothing to measure by
            errors.append(math.hypot(found.right - right, found.down - down))
    assert len(errors) >= 8
    assert max(errors) <= 0.5
