"""The forms of SSIM against scikit-image, SciPy and closed forms, all in float64."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2ycbcr
from skimage.metrics import structural_similarity

from deblur_cli.errors import PictureError
from deblur_cli.metrics.structural import MS_SSIM_SMALLEST, ms_ssim, ssim, ssim_matlab3d, ssim_y

Metric = Callable[[NDArray, NDArray], float]
FORMS: tuple[Metric, ...] = (ssim, ssim_y, ssim_matlab3d, ms_ssim)
SIZES = [(11, 11, 3), (12, 31, 1), (27, 11, 3), (37, 53, 3), (45, 64, 1), (71, 30, 3)]
LINE = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
LINE /= LINE.sum()
C1, C2 = 0.01**2, 0.03**2


def pair(shape: tuple[int, int, int], *, noise: float = 0.1) -> tuple[NDArray, NDArray]:
    """A smooth scene whose channels differ, and a noisy copy that is also darker at one side; float32 in [0, 1]."""
    rng = np.random.default_rng(5)
    height, width, channels = shape
    rows, columns = np.mgrid[0:height, 0:width]
    sharp = np.stack(
        [0.5 + 0.4 * np.sin(rows / (3 + c)) * np.cos(columns / (4 + 2 * c)) for c in range(channels)], axis=-1
    )
    restored = sharp * np.linspace(0.8, 1, width)[:, np.newaxis] + rng.normal(0, noise, shape)
    return restored.clip(0, 1).astype(np.float32), sharp.astype(np.float32)


def by_scikit_image(restored: NDArray, sharp: NDArray) -> float:
    return float(
        structural_similarity(
            restored.astype(np.float64),
            sharp.astype(np.float64),
            data_range=1.0,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def luma_by_scikit_image(restored: NDArray, sharp: NDArray) -> float:
    def y(picture: NDArray) -> NDArray:
        return rgb2ycbcr(np.broadcast_to(picture, (*picture.shape[:2], 3)).astype(np.float64))[..., :1] / 255

    return by_scikit_image(y(restored), y(sharp))


def factors(x: NDArray, y: NDArray, window: NDArray, *, mode: str) -> tuple[NDArray, NDArray]:
    """SSIM and its second factor at every position, with the whole window as it stands in the formula."""

    def mean(z: NDArray) -> NDArray:
        return ndimage.correlate(z, window, mode=mode)

    x, y = x.astype(np.float64), y.astype(np.float64)
    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = mean(x**2) - mean_x**2, mean(y**2) - mean_y**2
    structure = (2 * (mean(x * y) - mean_x * mean_y) + C2) / (var_x + var_y + C2)
    return (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1) * structure, structure


def as_volume(restored: NDArray, sharp: NDArray) -> float:
    window = np.einsum("i,j,k->ijk", LINE, LINE, LINE)
    return float(factors(restored, sharp, window, mode="nearest")[0].mean())


def at_five_scales(restored: NDArray, sharp: NDArray) -> float:
    return float(np.mean([_channel_at_five_scales(restored[..., c], sharp[..., c]) for c in range(restored.shape[2])]))  # fmt: skip


def _channel_at_five_scales(x: NDArray, y: NDArray) -> float:
    product = 1.0
    for number, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if number:
            # a filter of 2x2 whose borders are mirrored, then every second value, as the authors write it
            x, y = (
                ndimage.correlate(z.astype(np.float64), np.full((2, 2), 0.25), mode="reflect", origin=-1)[::2, ::2]
                for z in (x, y)
            )  # fmt: skip
        both = factors(x, y, np.outer(LINE, LINE), mode="constant")
        inside, structure = (values[5:-5, 5:-5].mean() for values in both)
        product *= (inside if number == 4 else structure) ** weight
    return product


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize(
    ("metric", "expected"), [(ssim, by_scikit_image), (ssim_y, luma_by_scikit_image), (ssim_matlab3d, as_volume)]
)  # fmt: skip
def test_ssim_of_every_kind_agrees_with_an_independent_one(
    metric: Metric, expected: Metric, shape: tuple[int, int, int]
) -> None:
    restored, sharp = pair(shape)
    wanted = expected(restored, sharp)
    assert 0.05 < wanted < 0.95  # a comparison of ones would show nothing
    assert metric(restored, sharp) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("shape", [(161, 161, 3), (163, 186, 3), (176, 171, 1)])
def test_ms_ssim_agrees_with_its_formula_written_out(shape: tuple[int, int, int]) -> None:
    restored, sharp = pair(shape, noise=0.2)
    wanted = at_five_scales(restored, sharp)
    assert 0.3 < wanted < 0.95
    assert ms_ssim(restored, sharp) == pytest.approx(wanted, abs=1e-12)


def test_the_kinds_of_ssim_differ_as_much_as_published_figures_do() -> None:
    restored, sharp = pair((64, 64, 3))
    each, luma, volume = (metric(restored, sharp) for metric in (ssim, ssim_y, ssim_matlab3d))
    assert min(abs(each - luma), abs(each - volume), abs(luma - volume)) > 0.01


@pytest.mark.parametrize("metric", FORMS)
def test_identical_pictures_score_exactly_one(metric: Metric) -> None:
    _, sharp = pair((165, 170, 3))
    assert metric(sharp, sharp) == 1.0
    black = np.zeros_like(sharp)
    assert metric(black, black) == 1.0


@pytest.mark.parametrize("metric", FORMS)
def test_flat_pictures_leave_the_first_factor(metric: Metric) -> None:
    a, b = 0.2, 0.6
    if metric is ssim_y:
        expected_a, expected_b = (16 / 255 + 219 / 255 * value for value in (a, b))
    else:
        expected_a, expected_b = a, b
    power = 0.1333 if metric is ms_ssim else 1  # only the coarsest scale looks at means
    expected = ((2 * expected_a * expected_b + C1) / (expected_a**2 + expected_b**2 + C1)) ** power
    found = metric(np.full((161, 165, 3), a), np.full((161, 165, 3), b))
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", FORMS)
def test_a_grey_picture_scores_as_its_three_equal_channels(metric: Metric) -> None:
    restored, sharp = pair((162, 163, 1))
    coloured = (np.repeat(picture, 3, axis=2) for picture in (restored, sharp))
    assert metric(*coloured) == pytest.approx(metric(restored, sharp), abs=1e-12)


def test_a_negative_picture_has_ms_ssim_0_and_not_a_complex_number() -> None:
    _, sharp = pair((161, 161, 3))
    assert ssim(1 - sharp, sharp) < 0
    assert ms_ssim(1 - sharp, sharp) == 0.0


@pytest.mark.parametrize("metric", FORMS)
def test_threads_beside_each_other_find_the_same_digits(metric: Metric) -> None:
    pairs = [pair((161, 170 + number, 3)) for number in range(4)]
    alone = [metric(*each) for each in pairs]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda each: metric(*each), pairs * 3)) == alone * 3


@pytest.mark.parametrize("metric", FORMS)
def test_views_and_layouts_change_nothing_and_stay_unchanged(metric: Metric) -> None:
    restored, sharp = pair((163, 164, 3))
    before = restored.copy(), sharp.copy()
    expected = metric(restored, sharp)
    assert metric(np.asfortranarray(restored), sharp[::-1].copy()[::-1]) == expected
    assert metric(restored.astype(np.float64), sharp) == expected
    restored.flags.writeable = sharp.flags.writeable = False
    assert metric(restored, sharp) == expected
    assert np.array_equal(restored, before[0])
    assert np.array_equal(sharp, before[1])


@pytest.mark.parametrize(
    ("metric", "name", "smallest"),
    [(ssim, "ssim", 11), (ssim_y, "ssim-y", 11), (ssim_matlab3d, "ssim-matlab3d", 11), (ms_ssim, "ms-ssim", 161)],
)  # fmt: skip
def test_what_is_too_small_is_refused_with_the_smallest_that_works(
    metric: Metric, name: str, smallest: int
) -> None:
    enough = np.zeros((smallest, smallest, 3), dtype=np.float32)
    assert metric(enough, enough) == 1.0
    for small in (enough[:-1], enough[:, :-1], enough[:1, :1]):
        with pytest.raises(PictureError) as caught:
            metric(small, small)
        height, width, _ = small.shape
        message = str(caught.value)
        assert message.startswith(
            f"{name} needs pictures of at least {smallest}x{smallest} pixels, this one is {width}x{height};"
        )
        assert len(message.splitlines()) == 1
    assert MS_SSIM_SMALLEST == 161
    with pytest.raises(PictureError, match="both must be of one size"):
        metric(enough, np.zeros((smallest, smallest + 1, 3)))
