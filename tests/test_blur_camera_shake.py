"""Camera shake: exact at rest, centred everywhere, never further than allowed, right against SciPy's warp."""

import dataclasses

import numpy as np
import pytest
import scipy.ndimage

from deblur_cli.blur import camera_shake
from deblur_cli.blur.borders import Window
from deblur_cli.blur.camera_shake import CameraShake, Poses
from deblur_cli.blur.randomness import Role, generator
from deblur_cli.errors import PictureError

AT_REST = CameraShake(
    focal_mm=35, exposure_s=0.1, rate_dps=0, tremor_hz=(8, 8, 8), tremor_deg=(0, 0, 0), tremor_phase=(0, 0, 0),
    move_mm_s=0, depth_m=2, max_extent_px=24,
)  # fmt: skip


def rng(number: int, role: Role = Role.FIELD) -> np.random.Generator:
    return generator(7, index=number, draw=0, slot=1, role=role)


def drawn_poses(number: int, *, height: int, width: int, **ranges) -> Poses:
    params = camera_shake.draw(rng(number, Role.PARAMETERS), **ranges)
    poses = camera_shake.draw_poses(params, rng(number), height=height, width=width)
    assert poses is not None
    return poses


def project(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    mapped = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ homography.T
    return mapped[:, :2] / mapped[:, 2:]


def texture(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.Generator(np.random.Philox(1)).random((height, width, channels)).astype(np.float32)


def one_pose(homography: np.ndarray) -> Poses:
    return Poses(homographies=homography[None], extent_px=4.0, rms_px=0.0)


def test_a_camera_at_rest_returns_the_picture_itself():
    image = texture(40, 50)
    assert camera_shake.apply(image, AT_REST, rng(0)) is image
    allowed_nothing = dataclasses.replace(AT_REST, rate_dps=5, max_extent_px=0)
    assert camera_shake.apply(image, allowed_nothing, rng(0)) is image


def test_the_identity_pose_changes_no_bit():
    image = texture(40, 50)
    window = Window(whole_height=40, whole_width=50)
    assert np.array_equal(camera_shake.average_poses(image, one_pose(np.eye(3)), window=window), image)


def test_one_pose_equals_scipys_warp():
    image = texture(60, 80)
    homography = drawn_poses(3, height=60, width=80).homographies[0]
    y, x = np.mgrid[:60, :80]
    back = project(np.linalg.inv(homography), np.stack([x.ravel(), y.ravel()], axis=1).astype(float))
    coordinates = back[:, ::-1].T.reshape(2, 60, 80)
    expected = np.stack(
        [
            scipy.ndimage.map_coordinates(image[..., c].astype(float), coordinates, order=1, mode="mirror")
            for c in range(3)
        ],
        axis=2,
    )
    assert not np.allclose(homography, np.eye(3))
    ours = camera_shake.average_poses(
        image, one_pose(homography), window=Window(whole_height=60, whole_width=80)
    )
    assert np.abs(ours - expected).max() <= 2e-4


def test_a_drawn_shake_is_the_mean_of_its_frames():
    image = texture(48, 64)
    params = camera_shake.draw(rng(5, Role.PARAMETERS), max_extent_px=6)
    poses = camera_shake.draw_poses(params, rng(5), height=48, width=64)
    assert poses is not None
    window = Window(whole_height=48, whole_width=64)
    frames = [camera_shake.average_poses(image, one_pose(item), window=window) for item in poses.homographies]
    assert np.abs(camera_shake.apply(image, params, rng(5)) - np.mean(frames, axis=0)).max() <= 1e-6


@pytest.mark.parametrize("size", [(720, 1280), (1200, 800)])
def test_no_corner_moves_further_than_allowed_and_nothing_is_shifted(size):
    height, width = size
    corners = np.array([(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)], float)
    x, y = np.meshgrid(np.linspace(0, width - 1, 11), np.linspace(0, height - 1, 9))
    grid = np.stack([x.ravel(), y.ravel()], axis=1)
    farthest = []
    for number in range(100):
        poses = drawn_poses(number, height=height, width=width, rate_dps=(1, 10), exposure_s=(1 / 30, 1 / 3))
        moved = [np.abs(np.hypot(*(project(item, corners) - corners).T)).max() for item in poses.homographies]
        farthest.append(max(moved))
        assert max(moved) <= 24 + 1e-9
        assert poses.extent_px == pytest.approx(max(moved))
        mean = np.mean([project(item, grid) for item in poses.homographies], axis=0)
        assert np.hypot(*(mean - grid).T).max() <= 0.03
        assert len(poses.homographies) % 2 == 1
        assert 9 <= len(poses.homographies) <= 193
    assert max(farthest) > 20  # the limit was reached, and not by shrinking everything


def test_dots_keep_their_energy_and_their_place():
    dots = np.zeros((161, 221, 1), np.float32)
    places = [(40, 50), (40, 170), (80, 110), (120, 50), (120, 170)]
    for row, column in places:
        dots[row, column] = 1
    poses = drawn_poses(11, height=161, width=221, max_extent_px=12, rate_dps=(8, 8), exposure_s=(0.25, 0.25))
    assert poses.rms_px > 1
    blurred = camera_shake.average_poses(dots, poses, window=Window(whole_height=161, whole_width=221))
    y, x = np.mgrid[-20:21, -20:21]
    for row, column in places:
        piece = blurred[row - 20 : row + 21, column - 20 : column + 21, 0].astype(float)
        assert piece.sum() == pytest.approx(1, abs=2e-4)
        assert abs((piece * x).sum()) <= 0.02
        assert abs((piece * y).sum()) <= 0.02


def test_a_patch_is_blurred_as_the_same_place_of_the_whole_picture():
    whole = texture(200, 300)
    params = camera_shake.draw(
        rng(9, Role.PARAMETERS), max_extent_px=10, rate_dps=(6, 6), exposure_s=(0.2, 0.2)
    )
    margin = camera_shake.bound(max_extent_px=10)
    top, left, side = 110, 190, 40 + 2 * margin
    window = Window(whole_height=200, whole_width=300, top=top, left=left)
    inner = slice(margin, -margin)
    piece = camera_shake.apply(whole[top : top + side, left : left + side], params, rng(9), window=window)
    reference = camera_shake.apply(whole, params, rng(9))[top : top + side, left : left + side]
    assert (
        np.abs(piece[inner, inner] - reference[inner, inner]).max() <= 1e-3
    )  # OpenCV computes places in float32
    at_centre = camera_shake.apply(whole[top : top + side, left : left + side], params, rng(9))
    assert (
        np.abs(at_centre[inner, inner] - reference[inner, inner]).max() > 0.05
    )  # without its place it differs


def test_no_border_pixel_is_seen_inside_the_margin():
    margin = camera_shake.bound(max_extent_px=10)
    side = 32 + 2 * margin
    poses = drawn_poses(
        2, height=side, width=side, max_extent_px=10, rate_dps=(10, 10), exposure_s=(0.3, 0.3)
    )
    outside = np.ones((side + 200, side + 200, 1), np.float32)
    outside[100:-100, 100:-100] = texture(side, side, 1)
    within = outside[100:-100, 100:-100].copy()
    inner = slice(margin, -margin)
    alone = camera_shake.average_poses(within, poses, window=Window(whole_height=side, whole_width=side))
    framed = camera_shake.average_poses(
        outside, poses, window=Window(whole_height=side, whole_width=side, top=-100, left=-100)
    )[100:-100, 100:-100]
    assert np.abs(alone[inner, inner] - framed[inner, inner]).max() <= 1e-3
    assert np.abs(alone - framed).max() > 0.1


def test_grey_pictures_keep_their_shape():
    assert camera_shake.apply(texture(60, 60, 1), dataclasses.replace(AT_REST, rate_dps=4), rng(1)).shape == (
        60,
        60,
        1,
    )


def test_a_picture_smaller_than_the_movement_is_refused():
    poses = Poses(homographies=np.eye(3)[None], extent_px=24.0, rms_px=1.0)
    with pytest.raises(PictureError, match=r"20x20 is too small for a blur that reaches 25 px"):
        camera_shake.average_poses(texture(20, 20), poses, window=Window(whole_height=20, whole_width=20))


def test_equal_generators_give_equal_pictures_and_others_do_not():
    image = texture(50, 60)
    params = camera_shake.draw(rng(4, Role.PARAMETERS))
    assert np.array_equal(
        camera_shake.apply(image, params, rng(4)), camera_shake.apply(image, params, rng(4))
    )
    assert not np.array_equal(
        camera_shake.apply(image, params, rng(4)), camera_shake.apply(image, params, rng(5))
    )


def test_more_poses_than_the_rule_asks_for_hardly_change_the_picture():
    image = scipy.ndimage.gaussian_filter(texture(90, 120), (1, 1, 0))
    params = camera_shake.draw(
        rng(6, Role.PARAMETERS), rate_dps=(8, 8), exposure_s=(0.25, 0.25), max_extent_px=12
    )
    by_rule = camera_shake.draw_poses(params, rng(6), height=90, width=120)
    # The same path over a picture ten times as large has ten times as many poses and the same shape.
    large = camera_shake.draw_poses(
        dataclasses.replace(params, max_extent_px=120), rng(6), height=900, width=1200
    )
    assert by_rule is not None
    assert large is not None
    shrink = np.diag([0.1, 0.1, 1.0])
    fine = Poses(
        homographies=shrink @ large.homographies @ np.linalg.inv(shrink),
        extent_px=by_rule.extent_px,
        rms_px=0.0,
    )
    window = Window(whole_height=90, whole_width=120)
    assert len(fine.homographies) > 2 * len(by_rule.homographies)
    assert (
        np.abs(
            camera_shake.average_poses(image, by_rule, window=window)
            - camera_shake.average_poses(image, fine, window=window)
        ).max()
        <= 0.02
    )
