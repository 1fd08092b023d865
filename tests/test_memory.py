"""Memory: budgets are read, kept, and refused with the figure that works; long runs stay flat."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import deblur_rednet
from deblur_cli.errors import NotEnoughRoomError, UsageError
from deblur_cli.restore.memory import MemoryModel, format_size, free_memory, measure_peak, parse_size
from deblur_cli.restore.restorer import Restorer

REDNET = deblur_rednet.MODELS[0]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("2GB", 2 * 10**9),
        ("512MiB", 2**29),
        ("1.5g", 1_500_000_000),
        (" 800 mb ", 8 * 10**8),
        ("4096", 4096),
        (10**6, 10**6),
    ],
)
def test_sizes_are_read_with_their_units(text: str | int, num_bytes: int) -> None:
    assert parse_size(text) == num_bytes


@pytest.mark.parametrize("text", ["", "much", "0", "-1GB", "2XB", "GB", "1,5GB", 0])
def test_nonsense_sizes_are_refused(text: str | int) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


@given(num_bytes=st.integers(1, 10**13))
def test_a_size_that_is_shown_suffices_when_it_is_given_back(num_bytes: int) -> None:
    assert num_bytes <= parse_size(format_size(num_bytes)) <= num_bytes * 1.1 + 10**6


@given(
    sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=4, unique=True),
    bytes_per_pixel=st.integers(1, 5000),
    budget=st.integers(0, 10**11),
)
def test_the_largest_window_within_a_budget_fits_and_the_next_does_not(
    sizes: list[int], bytes_per_pixel: int, budget: int
) -> None:
    model = MemoryModel(points=tuple((size, size * bytes_per_pixel) for size in sorted(sizes)))
    pixels = model.pixels_within(budget)
    assert pixels == 0 or model.bytes_for(pixels) <= budget
    assert model.bytes_for(pixels + 1) > budget


def test_memory_that_grows_with_the_square_is_not_underestimated_beyond_what_was_measured() -> None:
    attention = MemoryModel(points=tuple((n * n, (n * n) ** 2) for n in (64, 128, 256)))
    assert attention.bytes_for(512**2) >= (512**2) ** 2


def test_what_is_counted_is_the_peak_of_live_tensors() -> None:
    def run(height: int, width: int) -> None:
        first = torch.zeros(height, width)  # 4 bytes a pixel
        second = first + 1  # 8
        del first
        torch.cat([second, second])  # 4 + 8

    assert measure_peak(run, 100, 50, device=torch.device("cpu")) == 12 * 5000


def test_free_memory_is_a_plausible_figure() -> None:
    assert 10**7 < free_memory(torch.device("cpu")) < 10**14


def tiny(**settings: object) -> Restorer:
    return Restorer(
        REDNET.build(REDNET.tiny),
        model=REDNET,
        options=REDNET.tiny,
        device="cpu",
        **{"dtype": "float32", **settings},
    )


def test_a_smaller_budget_gives_smaller_tiles_and_a_large_one_no_more_than_the_picture() -> None:
    tiles = [
        tiny(max_memory=size).plan(1500, 2000).tile_pixels for size in ("60MB", "120MB", "240MB", "100GB")
    ]
    assert tiles == sorted(tiles)
    assert tiles[0] < tiles[1]
    assert tiny(max_memory="100GB").plan(300, 200).tile_shape == (300, 200)


def test_a_budget_too_small_is_refused_with_the_smallest_that_works() -> None:
    with pytest.raises(NotEnoughRoomError, match="--max-memory") as refused:
        tiny(max_memory="1MB").plan(1500, 2000)
    assert refused.value.exit_code == 5
    found = re.search(r"--max-memory (\S+)", str(refused.value))
    assert found is not None
    assert tiny(max_memory=found[1]).plan(1500, 2000).num_tiles > 1
    with pytest.raises(NotEnoughRoomError):
        tiny(max_memory=int(parse_size(found[1]) * 0.9)).plan(1500, 2000)


def test_a_tile_size_that_the_user_sets_is_held_against_the_budget() -> None:
    with pytest.raises(NotEnoughRoomError, match="auto"):
        tiny(max_memory="60MB", tile="none").plan(1500, 2000)
    assert tiny(max_memory="60MB", tile=64).plan(1500, 2000).tile_shape <= (72, 72)


def test_a_whole_picture_beyond_the_memory_of_the_machine_is_refused_before_it_starts() -> None:
    with pytest.raises(NotEnoughRoomError, match="or a picture of fewer pixels"):
        tiny(tile="none").plan(
            2_000_000, 2_000_000
        )  # not even tiles would do: input and result alone are too large
    side = int((free_memory(torch.device("cpu")) / 40) ** 0.5)  # 6 bytes a pixel for those, much more at once
    with pytest.raises(NotEnoughRoomError, match="or --tile auto"):
        tiny(tile="none").plan(side, side)


def test_the_measured_figure_is_kept_and_a_damaged_one_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path))
    first = tiny(max_memory="100MB").plan(1500, 2000)
    (kept,) = (tmp_path / "memory").iterdir()
    content = kept.read_text()
    for damaged in ("{", "[]", '{"points": []}', '{"points": [[0, 0]]}', '{"points": [[9, 1], [4, 2]]}'):
        kept.write_text(damaged)
        assert tiny(max_memory="100MB").plan(1500, 2000) == first
        assert kept.read_text() == content
    kept.write_text('{"points": [[4096, 1000000000]]}')
    with pytest.raises(NotEnoughRoomError):
        tiny(max_memory="100MB").plan(1500, 2000)
    assert tiny(max_memory="100MB", dtype="bfloat16").plan(1500, 2000).num_tiles > 0  # another figure
    assert len(list((tmp_path / "memory").iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path / "file"))
    assert tiny(max_memory="100MB").plan(1500, 2000).num_tiles > 1


RESIDENT = """
import numpy as np, torch, deblur_rednet
from torch import nn
from deblur_cli.restore.restorer import Restorer

def resident(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))

class Plain(nn.Module):  # the forward as written, without a faster one of its own
    def __init__(self):
        super().__init__()
        self.network = deblur_rednet.MODELS[0].build(deblur_rednet.MODELS[0].tiny)
    def forward(self, x):
        return self.network(x)

def restorer(**settings):
    model = deblur_rednet.MODELS[0]
    return Restorer(Plain(), model=model, options=model.tiny, device="cpu", dtype="float32", **settings)

rng = np.random.default_rng(0)
"""
BUDGET = """
restorer().restore_array(np.zeros((64, 64, 3), np.uint8))
base = resident("VmHWM")
r = restorer(max_memory="100MB")
image = rng.integers(0, 256, (1200, 2000, 3), dtype=np.uint8)
r.restore_array(image)
print(r.plan(1200, 2000).num_tiles, resident("VmHWM") - base)
"""
LONG_RUN = """
r = restorer()
sizes = rng.integers(16, 80, (300, 2))
seen = []
for height, width in sizes:
    r.restore_array(np.zeros((height, width, 3), np.uint8))
    seen.append(resident("VmRSS"))
print(max(seen[:100]), max(seen))
"""


def run_alone(code: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT + code], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


@LINUX
def test_a_picture_stays_within_its_budget_pictures_counted() -> None:
    num_tiles, taken = run_alone(BUDGET)
    assert num_tiles > 1
    assert 40e6 < taken < 100e6


@LINUX
@pytest.mark.slow
def test_300_small_pictures_of_changing_size_leave_memory_flat() -> None:
    early, late = run_alone(LONG_RUN)
    assert late - early < 15e6
