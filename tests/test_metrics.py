"""The metrics against closed forms, hand-made numbers and independent implementations."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d
from skimage.data import chelsea
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

from deblur_cli.errors import PictureError
from deblur_cli.host.declarations import Metric, import_object
from deblur_cli.metrics import METRICS
from deblur_cli.metrics.full_reference import logcosh, mae, mse, psnr, psnr_from_mse
from deblur_cli.metrics.no_reference import blur
from deblur_cli.metrics.structural import ssim


@pytest.fixture
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """A smooth scene and a noisy copy, (37, 53, 3) float32 in [0, 1]."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[0:37, 0:53]
    sharp = np.stack(
        [0.5 + 0.4 * np.sin(rows / (3 + c)) * np.cos(columns / (4 + c)) for c in range(3)], axis=-1
    )
    noisy = np.clip(sharp + rng.normal(0, 0.07, sharp.shape), 0, 1)
    return noisy.astype(np.float32), sharp.astype(np.float32)


def test_a_constant_error_of_a_tenth_is_20_db() -> None:
    sharp = np.full((16, 20, 3), 0.25)
    assert psnr(sharp + 0.1, sharp) == pytest.approx(20.0, abs=1e-9)
    assert mse(sharp + 0.1, sharp) == pytest.approx(0.01)
    assert mae(sharp - 0.1, sharp) == pytest.approx(0.1)


def test_hand_made_numbers() -> None:
    sharp = np.zeros((1, 2, 1), dtype=np.float32)
    restored = np.array([[[0.5], [1.0]]], dtype=np.float32)
    assert mse(restored, sharp) == 0.625  # (0.25 + 1) / 2
    assert mae(restored, sharp) == 0.75
    assert psnr(restored, sharp) == pytest.approx(2.0411998)  # -10 log10 0.625


def test_identical_pictures_have_infinite_psnr_and_ssim_one(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    _, sharp = pictures
    assert psnr(sharp, sharp) == math.inf
    assert psnr_from_mse(0.0) == math.inf
    assert ssim(sharp, sharp) == pytest.approx(1.0, abs=1e-12)


def test_psnr_and_mse_agree_with_scikit_image(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    noisy, sharp = pictures
    assert psnr(noisy, sharp) == pytest.approx(peak_signal_noise_ratio(sharp, noisy, data_range=1), abs=1e-6)
    assert mse(noisy, sharp) == pytest.approx(mean_squared_error(sharp, noisy), rel=1e-6)


def test_ssim_agrees_with_its_formula_written_out(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    noisy, sharp = (picture.astype(np.float64) for picture in pictures)
    expected = np.mean([_ssim_by_formula(noisy[..., c], sharp[..., c]) for c in range(3)])
    assert ssim(noisy, sharp) == pytest.approx(expected, abs=1e-12)
    assert 0.1 < expected < 0.95  # a comparison of ones would show nothing


def test_ssim_is_the_mean_of_its_channels_alone(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    noisy, sharp = pictures
    alone = [ssim(noisy[..., c : c + 1], sharp[..., c : c + 1]) for c in range(3)]
    assert ssim(noisy, sharp) == pytest.approx(np.mean(alone), abs=1e-12)


def test_ssim_of_two_flat_pictures_is_the_luminance_term() -> None:
    a, b = 0.2, 0.6
    expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)  # contrast and structure are 1
    assert ssim(np.full((11, 11, 1), a), np.full((11, 11, 1), b)) == pytest.approx(expected, abs=1e-9)


def test_sums_do_not_lose_digits_in_large_float32_pictures() -> None:
    sharp = np.zeros((2000, 2000, 3), dtype=np.float32)
    restored = np.full_like(sharp, 0.1)
    assert mse(restored, sharp) == pytest.approx(float(np.float32(0.1)) ** 2, rel=1e-12)


def test_metrics_leave_their_arguments_alone(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    noisy, sharp = pictures
    before = noisy.copy(), sharp.copy()
    for function in (mse, mae, logcosh, psnr, ssim):
        function(noisy, sharp)
    assert np.array_equal(noisy, before[0])
    assert np.array_equal(sharp, before[1])


@pytest.mark.parametrize("function", [mse, mae, logcosh, psnr, ssim])
def test_pictures_of_different_shapes_are_refused(function) -> None:
    with pytest.raises(PictureError, match=r"\(12, 12, 3\).*\(12, 13, 3\)"):
        function(np.zeros((12, 12, 3)), np.zeros((12, 13, 3)))


def test_ssim_refuses_pictures_smaller_than_its_window() -> None:
    with pytest.raises(PictureError, match=r"11x11.*20x10"):
        ssim(np.zeros((10, 20, 3)), np.zeros((10, 20, 3)))


def test_log_cosh_agrees_with_two_closed_forms(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    noisy, sharp = (picture.astype(np.float64) for picture in pictures)
    each = [math.log(math.cosh(error)) for error in (noisy - sharp).ravel()]
    assert logcosh(*pictures) == pytest.approx(math.fsum(each) / len(each), rel=1e-9)
    assert logcosh(noisy, sharp) == logcosh(sharp, noisy)
    for error in (1e-3, 1e-6, 1e-9):  # a sum with log 2 in it would have no digit left of the last ones
        zeros = np.zeros((4, 5, 3))
        assert logcosh(zeros + error, zeros) == pytest.approx(error**2 / 2 - error**4 / 12, rel=1e-12, abs=0)
    assert logcosh(sharp, sharp) == 0.0


def test_blur_agrees_with_its_formula_written_out() -> None:
    for picture in (_photo(sigma=0), _photo(sigma=2), _photo(sigma=1)[:31, :47, :1]):
        assert blur(picture) == pytest.approx(_blur_by_formula(picture), abs=1e-9)


def test_blur_grows_with_the_blur_and_is_one_without_any_edge() -> None:
    scores = [blur(_photo(sigma=sigma)) for sigma in (0, 0.5, 1, 2, 4)]
    assert scores == sorted(scores)
    assert scores[0] < 0.45
    assert scores[-1] > 0.8
    assert blur(np.full((40, 50, 3), 0.3, dtype=np.float32)) == pytest.approx(1)


def test_blur_of_one_axis_alone_is_noticed() -> None:
    photo = _photo(sigma=0)
    streaked = gaussian_filter(photo, (0, 3, 0))
    assert blur(streaked) == pytest.approx(blur(streaked.transpose(1, 0, 2)), abs=1e-9)
    assert blur(streaked) > blur(photo) + 0.3


def test_blur_refuses_pictures_smaller_than_its_window() -> None:
    with pytest.raises(
        PictureError, match=r"blur needs pictures of at least 11x11 pixels, this one is 20x10"
    ):
        blur(np.zeros((10, 20, 3)))
    assert blur(np.zeros((11, 11, 3))) == pytest.approx(1)


DECLARED = [metric.name for metric in METRICS]


def test_metrics_are_declared_in_the_order_in_which_they_are_read() -> None:
    assert DECLARED == ["psnr", "ssim", "ssim-y", "ssim-matlab3d", "ms-ssim", "mse", "mae", "logcosh", "lpips", "blur"]  # fmt: skip
    assert [metric.name for metric in METRICS if not metric.reference] == ["blur"]


def test_the_page_of_metrics_has_a_row_for_each_with_its_summary() -> None:
    page = (Path(__file__).parents[1] / "docs/metrics.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == DECLARED
    for metric, row in zip(METRICS, rows, strict=True):
        assert metric.summary in row
        assert ("higher" if metric.higher_is_better else "lower") in row


@pytest.mark.parametrize(
    "metric", [metric for metric in METRICS if metric.function], ids=lambda metric: metric.name
)
def test_every_declared_metric_prefers_the_better_picture(metric: Metric) -> None:
    function = import_object(metric.function)
    sharp = _photo(sigma=0)
    worse, better = (
        function(*((_photo(sigma=sigma), sharp) if metric.reference else (_photo(sigma=sigma),)))
        for sigma in (2, 0.8)
    )
    assert isinstance(better, float)
    assert (better > worse) is metric.higher_is_better


def _photo(*, sigma: float) -> np.ndarray:
    """A cat, (170, 200, 3) float32 in [0, 1], blurred."""
    sharp = chelsea()[60:230, 100:300].astype(np.float32) / 255
    return gaussian_filter(sharp, (sigma, sigma, 0)) if sigma else sharp


def _blur_by_formula(picture: np.ndarray) -> float:
    """Crete et al. 2007, with the Sobel slope; borders mirrored, two pixels of the slopes left out at the front, one at the end."""
    grey = picture[..., 0] if picture.shape[2] == 1 else picture.astype(np.float64) @ [0.2125, 0.7154, 0.0721]
    grey = grey.astype(np.float64)

    def slopes(z: np.ndarray) -> np.ndarray:  # along the first axis; scaled to sum |weights| = 2
        padded = np.pad(z, 1, mode="symmetric")
        across = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
        return np.abs(across[2:] - across[:-2])[2:-1, 2:-1] / 2

    def along(z: np.ndarray) -> float:
        averaged = np.mean(np.lib.stride_tricks.sliding_window_view(np.pad(z, ((5, 5), (0, 0)), mode="symmetric"), 11, axis=0), axis=-1)  # fmt: skip
        lost = np.maximum(slopes(z) - slopes(averaged), 0)
        return float(1 - lost.sum() / slopes(z).sum())

    return max(along(grey), along(grey.T))


def _ssim_by_formula(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2004, eq. (13), one channel, by plain two-dimensional convolution at the valid positions."""
    offsets = np.arange(-5, 6)
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2

    def local(z: np.ndarray) -> np.ndarray:
        return convolve2d(z, window, mode="valid")

    mean_x, mean_y = local(x), local(y)
    var_x, var_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(numerator / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))
