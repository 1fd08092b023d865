"""Camera shake: exact at rest, centred everywhere, never further than allowed, right against SciPy's warp."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.ndimage
import skimage.data

from deblur_cli.blur import camera_shake
from deblur_cli.blur.borders import Window
from deblur_cli.blur.camera_shake import CameraShake
from deblur_cli.blur.distributions import Constant, Distribution, LogUniform, Uniform
from deblur_cli.blur.params import as_record, complete, draw_params, from_record
from deblur_cli.blur.poses import Camera, Poses, focal_px
from deblur_cli.blur.randomness import Role, generator
from deblur_cli.errors import PictureError, UsageError

AT_REST = CameraShake(
    focal_mm=35, exposure_s=0.1, rate_dps=0, tremor_hz=(8, 8, 8), tremor_deg=(0, 0, 0), tremor_phase=(0, 0, 0),
    move_mm_s=0, depth_m=2,
)  # fmt: skip
STRONG = {"rate_dps": 8.0, "exposure_s": 0.25}


def rng(number: int, role: Role = Role.FIELD) -> np.random.Generator:
    return generator(7, index=number, draw=0, slot=1, role=role)


def drawn(number: int, **node: Distribution | float) -> CameraShake:
    """Parameters from the defaults but for `node`, where a number is a constant."""
    distributions = {k: Constant(v) if isinstance(v, (int, float)) else v for k, v in node.items()}
    return draw_params(CameraShake, distributions, rng(number, Role.PARAMETERS), 0)


def drawn_poses(number: int, *, height: int, width: int, **node: Distribution | float) -> Poses:
    poses = camera_shake.draw_poses(drawn(number, **node), rng(number), height=height, width=width)
    assert poses is not None
    return poses


def project(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    mapped = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ homography.T
    return mapped[:, :2] / mapped[:, 2:]


def texture(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.Generator(np.random.Philox(1)).random((height, width, channels)).astype(np.float32)


def whole(height: int, width: int) -> Window:
    return Window(whole_height=height, whole_width=width)


def one_pose(homography: np.ndarray) -> Poses:
    return Poses(homographies=homography[None], extent_px=4.0, rms_px=0.0)


def centroid_and_rms(kernel: np.ndarray) -> tuple[float, float, float]:
    radius = len(kernel) // 2
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    cx, cy = (kernel * x).sum() / kernel.sum(), (kernel * y).sum() / kernel.sum()
    return cx, cy, math.sqrt((kernel * ((x - cx) ** 2 + (y - cy) ** 2)).sum() / kernel.sum())


def test_parameters_are_drawn_one_after_the_other_in_a_fixed_order():
    u = rng(3, Role.PARAMETERS).random(14)

    def logarithmic(low: float, high: float, share: float) -> float:
        return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))

    expected = {
        "focal_mm": 26 + 24 * u[0], "exposure_s": logarithmic(1 / 60, 1 / 4, u[1]),
        "rate_dps": logarithmic(1, 8, u[2]), "tremor_hz": 8 + 4 * u[3:6], "tremor_deg": 0.02 * u[6:9],
        "tremor_phase": 2 * math.pi * u[9:12], "move_mm_s": logarithmic(1, 10, u[12]),
        "depth_m": logarithmic(0.5, 10, u[13]), "max_extent_px": 24, "stretch_px": 0,
    }  # fmt: skip
    params = drawn(3)
    assert set(as_record(params)) == set(expected)
    for name, value in expected.items():
        assert getattr(params, name) == pytest.approx(value, rel=1e-12), name
    assert from_record(CameraShake, as_record(params)) == params


def test_records_from_before_there_was_a_stretch_are_still_read():
    record = as_record(drawn(3))
    del record["stretch_px"]
    assert from_record(CameraShake, record) == drawn(3)


def test_the_reach_follows_from_the_largest_extent_that_can_be_drawn():
    assert camera_shake.bound(complete(CameraShake, {})) == 25
    assert camera_shake.bound(complete(CameraShake, {"max_extent_px": Uniform(3, 11.5)})) == 13


@pytest.mark.parametrize(
    ("name", "value"),
    [("exposure_s", -0.1), ("focal_mm", 0), ("depth_m", 0), ("stretch_px", -1), ("tremor_deg", (0, 0, 9))],
)
def test_impossible_cameras_are_refused(name, value):
    with pytest.raises(UsageError, match=name):
        dataclasses.replace(AT_REST, **{name: value})


def test_a_camera_at_rest_returns_the_picture_itself():
    image = texture(40, 50)
    for still in (
        AT_REST,
        dataclasses.replace(AT_REST, stretch_px=3),
        dataclasses.replace(AT_REST, rate_dps=5, max_extent_px=0),
        dataclasses.replace(AT_REST, rate_dps=5, exposure_s=0),
    ):
        assert camera_shake.apply(image, still, rng(0)) is image
        assert np.array_equal(camera_shake.kernel(still, rng(0), window=whole(40, 50)), [[1.0]])


def test_no_rotation_and_no_translation_are_exactly_the_identity():
    camera = Camera(focal_px=1234.5, depth_m=0.7, height=333, width=777)
    assert np.array_equal(camera.homographies(np.zeros((5, 4))), np.stack([np.eye(3)] * 4))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("height", [40, 700])  # 700 rows are worked off in strips
def test_the_identity_pose_changes_no_bit(kind, height):
    image = texture(height, 50).astype(kind)
    result = camera_shake.average_poses(image, one_pose(np.eye(3)), window=whole(height, 50))
    assert result.dtype == kind
    assert np.array_equal(result, image)


def test_translation_shifts_by_focal_length_over_depth_and_roll_turns_about_the_centre():
    camera = Camera(focal_px=1000, depth_m=2, height=601, width=801)
    points = np.array([(0.0, 0.0), (400.0, 300.0), (700.0, 50.0)])
    moved = camera.homographies(np.array([[0, 0, 0, 0.004, -0.002]]).T)[0]
    assert np.allclose(project(moved, points), points + np.array((2, -1)), atol=1e-9)
    angle = 0.01
    rolled = project(camera.homographies(np.array([[0, 0, angle, 0, 0]]).T)[0], points)
    turned = (points - (400, 300)) @ [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    assert np.allclose(rolled, turned + np.array((400, 300)), atol=1e-9)
    yawed = project(camera.homographies(np.array([[0, angle, 0, 0, 0]]).T)[0], points[1:2])
    assert np.allclose(yawed, [[400 + 1000 * math.tan(angle), 300]], atol=1e-9)


@pytest.mark.parametrize(("kind", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-4)])
@pytest.mark.parametrize("size", [(60, 80), (400, 300)])
def test_one_pose_equals_scipys_warp(kind, tolerance, size):
    height, width = size
    image = texture(height, width).astype(kind)
    homography = drawn_poses(3, height=height, width=width).homographies[0]
    y, x = np.mgrid[:height, :width]
    back = project(np.linalg.inv(homography), np.stack([x.ravel(), y.ravel()], axis=1).astype(float))
    coordinates = back[:, ::-1].T.reshape(2, height, width)
    expected = np.stack(
        [
            scipy.ndimage.map_coordinates(image[..., c].astype(float), coordinates, order=1, mode="mirror")
            for c in range(3)
        ],
        axis=2,
    )
    assert not np.allclose(homography, np.eye(3))
    ours = camera_shake.average_poses(image, one_pose(homography), window=whole(height, width))
    assert np.abs(ours - expected).max() <= tolerance


def test_a_drawn_shake_is_the_mean_of_its_frames():
    image = texture(48, 64)
    params = drawn(5, max_extent_px=6)
    poses = camera_shake.draw_poses(params, rng(5), height=48, width=64)
    assert poses is not None
    frames = [
        camera_shake.average_poses(image, one_pose(item), window=whole(48, 64)) for item in poses.homographies
    ]
    assert np.abs(camera_shake.apply(image, params, rng(5)) - np.mean(frames, axis=0)).max() <= 1e-6


def test_float32_differs_from_float64_by_the_rounding_of_places_only():
    image = texture(300, 400)
    params = drawn(8, **STRONG)
    exact = camera_shake.apply(image.astype(np.float64), params, rng(8))
    assert exact.dtype == np.float64
    assert np.abs(camera_shake.apply(image, params, rng(8)) - exact).max() <= 2e-4


@pytest.mark.parametrize("size", [(720, 1280), (1200, 800)])
def test_no_corner_moves_further_than_allowed_and_nothing_is_shifted(size):
    height, width = size
    corners = np.array([(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)], float)
    x, y = np.meshgrid(np.linspace(0, width - 1, 11), np.linspace(0, height - 1, 9))
    grid = np.stack([x.ravel(), y.ravel()], axis=1)
    farthest = []
    for number in range(100):
        poses = drawn_poses(
            number,
            height=height,
            width=width,
            rate_dps=LogUniform(1, 10),
            exposure_s=LogUniform(1 / 30, 1 / 3),
        )
        moved = [np.abs(np.hypot(*(project(item, corners) - corners).T)).max() for item in poses.homographies]
        farthest.append(max(moved))
        assert max(moved) <= 24 + 1e-9
        assert poses.extent_px == pytest.approx(max(moved))
        mean = np.mean([project(item, grid) for item in poses.homographies], axis=0)
        assert np.hypot(*(mean - grid).T).max() <= 0.03
        assert len(poses.homographies) % 2 == 1
        assert 9 <= len(poses.homographies) <= 193
    assert max(farthest) > 20  # the limit was reached, and not by shrinking everything


def test_drawn_shakes_are_as_strong_as_published_for_these_ranges():
    strengths = [drawn_poses(number, height=720, width=1280).rms_px for number in range(200)]
    low, median, high = np.percentile(strengths, (5, 50, 95))
    assert low == pytest.approx(0.19, rel=0.4)
    assert median == pytest.approx(1.2, rel=0.25)
    assert high == pytest.approx(6.5, rel=0.3)


def test_the_drift_has_the_asked_rate_and_forgets_it_in_80_milliseconds():
    params = dataclasses.replace(AT_REST, rate_dps=5, move_mm_s=4, exposure_s=0.25)
    paths = np.stack([camera_shake.draw_path(params, rng(number)) for number in range(400)])
    dt = 0.25 / 256
    speed = np.diff(paths, axis=2) / dt
    expected = [math.radians(5), math.radians(5), 0.7 * math.radians(5), 0.004, 0.004]
    assert np.sqrt((speed**2).mean(axis=(0, 2))) == pytest.approx(expected, rel=0.05)
    later = round(0.08 / dt)
    correlation = (speed[..., later:] * speed[..., :-later]).mean() / (speed**2)[..., later:].mean()
    assert correlation == pytest.approx(math.exp(-1), abs=0.06)


def test_the_tremor_is_a_sine_on_each_angle_and_moves_nothing_else():
    params = dataclasses.replace(
        AT_REST, tremor_hz=(8, 9, 12), tremor_deg=(0.01, 0.02, 0.005), tremor_phase=(0, 1, 2)
    )
    t = np.linspace(0, 0.1, 257)
    path = camera_shake.draw_path(params, rng(0))
    for axis, (hz, deg, phase) in enumerate([(8, 0.01, 0), (9, 0.02, 1), (12, 0.005, 2)]):
        assert np.allclose(path[axis], math.radians(deg) * np.sin(2 * math.pi * hz * t + phase), atol=1e-15)
    assert not path[3:].any()


@pytest.mark.parametrize("asked", [0.4, 2.0, 6.0])
def test_a_stretch_gives_the_centre_the_asked_root_mean_square(asked):
    height, width = 481, 641
    centre = np.array([[320.0, 240.0]])
    for number in range(25):
        poses = drawn_poses(number, height=height, width=width, stretch_px=asked, max_extent_px=200)
        moved = np.array([project(item, centre)[0] for item in poses.homographies]) - centre
        assert math.sqrt((moved**2).sum(axis=1).mean()) == pytest.approx(asked, rel=0.01)
        assert poses.rms_px == pytest.approx(asked, rel=0.01)
        steps = np.hypot(*np.diff(moved, axis=0).T)
        assert steps.mean() <= 0.6  # more movement means more poses


def test_a_stretch_stops_at_the_largest_extent():
    for number in range(25):
        poses = drawn_poses(number, height=480, width=640, stretch_px=30, max_extent_px=10)
        assert 9.9 <= poses.extent_px <= 10
    only_roll = dataclasses.replace(AT_REST, tremor_deg=(0, 0, 0.5), stretch_px=3)  # the centre hardly moves
    poses = camera_shake.draw_poses(only_roll, rng(0), height=480, width=640)
    assert poses is not None
    assert 23.5 <= poses.extent_px <= 24


def energy_and_moments(poses: Poses, *, row: int, column: int, kind: type) -> tuple[float, float, float]:
    """Sum, and sums of x and of y times value, of what a dot in a picture of 1281x721 becomes."""
    dot = np.zeros((101, 101, 1), kind)
    dot[50, 50] = 1
    window = Window(whole_height=721, whole_width=1281, top=row - 50, left=column - 50)
    piece = camera_shake.average_poses(dot, poses, window=window)[20:81, 20:81, 0].astype(float)
    y, x = np.mgrid[-30:31, -30:31]
    assert piece.max() < 0.2
    return piece.sum(), (piece * x).sum(), (piece * y).sum()


DOTS = [(60, 60), (60, 1220), (360, 640), (660, 60), (660, 1220)]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_dots_keep_their_energy_and_their_place(kind):
    poses = drawn_poses(12, height=721, width=1281, stretch_px=4)
    assert 60 <= len(poses.homographies) <= 70
    for row, column in DOTS:
        energy, x, y = energy_and_moments(poses, row=row, column=column, kind=kind)
        assert energy == pytest.approx(1, abs=5e-5)
        assert abs(x) <= 0.02
        assert abs(y) <= 0.02


def test_a_pose_that_magnifies_a_place_gives_it_that_much_more_weight():
    poses = drawn_poses(312, height=721, width=1281)
    farthest = 0.0
    for row, column in DOTS:
        found = energy_and_moments(poses, row=row, column=column, kind=np.float64)
        depth = poses.homographies[:, 2] @ (column, row, 1)
        areas = np.linalg.det(poses.homographies) / depth**3
        moved = np.array([project(item, np.array([(column, row)]))[0] for item in poses.homographies])
        x, y = (areas[:, None] * (moved - (column, row))).mean(axis=0)
        assert found == pytest.approx((areas.mean(), x, y), abs=1e-3)
        farthest = max(farthest, abs(x), abs(y))
    assert farthest > 0.04  # though the mean displacement is below 0.003 px


def test_the_kernel_is_what_a_point_in_the_middle_becomes():
    height, width = 201, 301
    point = np.zeros((height, width, 1), np.float32)
    point[100, 150] = 1
    for number in range(12):
        params = drawn(number, stretch_px=Uniform(0.3, 5), max_extent_px=20)
        kernel = camera_shake.kernel(params, rng(number), window=whole(height, width))
        radius = len(kernel) // 2
        assert kernel.shape == (2 * radius + 1, 2 * radius + 1)
        assert kernel.dtype == np.float64
        assert kernel.min() >= 0
        assert kernel.sum() == pytest.approx(1, abs=1e-12)
        blurred = camera_shake.apply(point, params, rng(number))[..., 0].astype(float)
        outside = blurred.sum()
        blurred = blurred[100 - radius : 101 + radius, 150 - radius : 151 + radius]
        assert outside - blurred.sum() == pytest.approx(0, abs=1e-3)
        assert centroid_and_rms(kernel) == pytest.approx(centroid_and_rms(blurred), abs=0.02)
        assert np.abs(kernel - blurred).max() <= 2e-3


def test_a_kernel_grows_with_the_picture_but_not_with_the_place_of_the_piece():
    params = drawn(4, max_extent_px=500, **STRONG)
    small = camera_shake.kernel(params, rng(4), window=whole(300, 400))
    piece = Window(whole_height=300, whole_width=400, top=11, left=200)
    assert np.array_equal(camera_shake.kernel(params, rng(4), window=piece), small)
    large = camera_shake.kernel(params, rng(4), window=whole(1200, 1600))
    assert centroid_and_rms(large)[2] == pytest.approx(4 * centroid_and_rms(small)[2], rel=0.1)


def test_a_patch_is_blurred_as_the_same_place_of_the_whole_picture():
    image = texture(200, 300)
    params = drawn(9, max_extent_px=10, rate_dps=6.0, exposure_s=0.2)
    margin = 11
    top, left, side = 110, 190, 40 + 2 * margin
    window = Window(whole_height=200, whole_width=300, top=top, left=left)
    inner = slice(margin, -margin)
    for kind, tolerance in ((np.float32, 1e-3), (np.float64, 1e-11)):  # OpenCV computes places in float32
        pixels = image.astype(kind)
        piece = pixels[top : top + side, left : left + side]
        blurred = camera_shake.apply(piece, params, rng(9), window=window)[inner, inner]
        reference = camera_shake.apply(pixels, params, rng(9))[top : top + side, left : left + side][
            inner, inner
        ]
        assert np.abs(blurred - reference).max() <= tolerance
        without_its_place = camera_shake.apply(piece, params, rng(9))[inner, inner]
        assert np.abs(without_its_place - reference).max() > 0.05


def test_no_border_pixel_is_seen_inside_the_margin():
    margin = camera_shake.bound(complete(CameraShake, {"max_extent_px": Constant(10)}))
    side = 32 + 2 * margin
    poses = drawn_poses(2, height=side, width=side, max_extent_px=10, rate_dps=10.0, exposure_s=0.3)
    outside = np.ones((side + 200, side + 200, 1))
    outside[100:-100, 100:-100] = texture(side, side, 1)
    within = outside[100:-100, 100:-100].copy()
    inner = slice(margin, -margin)
    alone = camera_shake.average_poses(within, poses, window=whole(side, side))
    framed = camera_shake.average_poses(
        outside, poses, window=Window(whole_height=side, whole_width=side, top=-100, left=-100)
    )[100:-100, 100:-100]
    assert np.abs(alone[inner, inner] - framed[inner, inner]).max() <= 1e-11
    assert np.abs(alone - framed).max() > 0.1


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_grey_pictures_keep_their_shape(kind):
    shaken = camera_shake.apply(
        texture(60, 60, 1).astype(kind), dataclasses.replace(AT_REST, rate_dps=4), rng(1)
    )
    assert shaken.shape == (60, 60, 1)


def test_a_mirrored_picture_is_blurred_as_its_copy():
    image = texture(60, 70)
    params = drawn(1, max_extent_px=8)
    flipped = image[:, ::-1]
    assert np.array_equal(
        camera_shake.apply(flipped, params, rng(1)), camera_shake.apply(flipped.copy(), params, rng(1))
    )


def test_a_picture_smaller_than_the_movement_is_refused():
    poses = Poses(homographies=np.eye(3)[None], extent_px=24.0, rms_px=1.0)
    with pytest.raises(PictureError, match=r"20x20 is too small for a blur that reaches 25 px"):
        camera_shake.average_poses(texture(20, 20), poses, window=whole(20, 20))


def test_equal_generators_give_equal_pictures_and_others_do_not():
    image = texture(50, 60)
    params = drawn(4)
    assert np.array_equal(
        camera_shake.apply(image, params, rng(4)), camera_shake.apply(image, params, rng(4))
    )
    assert not np.array_equal(
        camera_shake.apply(image, params, rng(4)), camera_shake.apply(image, params, rng(5))
    )


def test_more_poses_than_the_rule_asks_for_hardly_change_a_photograph():
    photograph = (skimage.data.astronaut()[:360, :480] / np.float32(255)) ** np.float32(2.2)
    for number in (6, 7):
        params = drawn(number, **STRONG)
        by_rule = camera_shake.draw_poses(params, rng(number), height=360, width=480)
        assert by_rule is not None
        camera = Camera(
            focal_px=focal_px(params.focal_mm, height=360, width=480),
            depth_m=params.depth_m,
            height=360,
            width=480,
        )
        path = camera_shake.draw_path(params, rng(number))
        fine = camera.centred(camera.homographies(camera_shake.samples(path, 385)))
        assert by_rule.extent_px < 24  # not scaled down, so both follow the same path
        assert len(by_rule.homographies) < 100
        coarse = camera_shake.average_poses(photograph, by_rule, window=whole(360, 480))
        difference = np.abs(coarse - camera_shake.average_poses(photograph, fine, window=whole(360, 480)))
        assert difference.max() <= 0.01
