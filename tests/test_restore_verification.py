"""`deblur verify-tiling` and what it measures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

import deblur_rednet
from deblur_cli import Facts, Geometry, Model
from deblur_cli.errors import UsageError
from deblur_cli.restore.restorer import Restorer
from deblur_cli.restore.verification import check_tiling

REDNET = deblur_rednet.MODELS[0]


class Box(nn.Module):
    """Mean over a square of 2 * reach + 1 px."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2 * reach + 1, stride=1, padding=reach)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pool(x)
        return y


def box(reach: int, *, halo: int | None) -> Restorer:
    model = Model(
        name="box", summary="for this test", source="this test", network="nowhere:Nothing", geometry=Geometry(halo=halo),
        facts=Facts(parameters=0, kmacs_per_pixel=0), licence="MIT",
    )  # fmt: skip
    return Restorer(Box(reach), model=model, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).random((60, 80, 3), dtype=np.float32)


def test_an_honest_halo_is_confirmed_and_the_smallest_margin_is_the_networks_reach(image: np.ndarray) -> None:
    found = check_tiling(box(5, halo=8), image)
    assert found.exact
    assert found.kept_promise
    assert found.max_difference <= 1e-6
    assert found.smallest_margin == 5
    assert found.num_tiles == 9
    assert found.values_8bit == image.size
    assert found.different_8bit == found.ties_8bit


def test_a_halo_declared_too_small_is_found_out(image: np.ndarray) -> None:
    found = check_tiling(box(5, halo=4), image)
    assert found.exact
    assert not found.kept_promise
    assert found.different_8bit > found.ties_8bit


def test_a_network_of_global_context_has_no_margin_and_makes_no_promise(image: np.ndarray) -> None:
    found = check_tiling(box(5, halo=None), image, tile=20, overlap=2)
    assert not found.exact
    assert found.kept_promise
    assert found.smallest_margin is None
    assert found.max_difference > 1e-3


def test_a_single_tile_is_nothing_to_compare(image: np.ndarray) -> None:
    with pytest.raises(UsageError, match="smaller --tile"):
        check_tiling(box(5, halo=8), image, tile=500)


def test_the_command_shows_the_differences(
    run: Callable[..., Any], rednet_weights: Path, photo_file: Path
) -> None:
    ran = run("verify-tiling", photo_file, "-m", REDNET.name, "--weights", rednet_weights, "--device", "cpu")
    assert ran.code == 0, ran.err
    assert "max" in ran.out
    assert "mean" in ran.out
    assert "smallest margin" in ran.out


def test_the_command_says_as_json_what_an_overlap_below_the_halo_costs(
    run: Callable[..., Any], rednet_weights: Path
) -> None:
    words = ("verify-tiling", "--weights", rednet_weights, "--device", "cpu", "--json", "--tile", "64")
    (exact,) = run(*words).json()
    ran = run(*words, "--overlap", "1")
    (rough,) = ran.json()
    assert (exact["exact"], rough["exact"]) == (True, False)
    assert exact["max_difference"] <= 1e-5 < rough["max_difference"]
    assert 0 < exact["smallest_margin"] <= 4
    assert exact["trained"]
    assert "approximate" in ran.err
    assert run(*words, env={"DEBLUR_MODEL": "another"}).code == 0  # the file says which model it is for
