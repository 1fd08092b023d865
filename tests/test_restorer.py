"""The restorer: kinds and depths in and out, devices, precision, strength, the guard, the Python API."""

import doctest
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import deblur_cli
import deblur_rednet
from deblur_cli import Facts, Geometry, Model
from deblur_cli.errors import MissingError, NotEnoughRoomError, PictureError, UsageError
from deblur_cli.pictures.picture import Origin, Picture
from deblur_cli.restore.devices import has_fast_bfloat16, pick_device, pick_precision
from deblur_cli.restore.restorer import Restorer

REDNET = deblur_rednet.MODELS[0]
CPU = torch.device("cpu")


def local(*, values: str = "unit") -> Model:
    return Model(
        name="local", summary="for this test", source="this test", network="nowhere:Nothing", geometry=Geometry(halo=0),
        facts=Facts(parameters=0, kmacs_per_pixel=0), licence="MIT", values=values,
    )  # fmt: skip


class PointWise(nn.Module):
    """Applies a function to each value."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def identity(**settings: object) -> Restorer:
    return Restorer(nn.Identity(), model=local(), device="cpu", **settings)


def ramp(dtype: type, channels: int = 3) -> np.ndarray:
    """Every value of the dtype, (256, W, channels)."""
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(256, -1, 1)
    return np.ascontiguousarray(
        np.concatenate([np.roll(values, 7 * i, axis=0) for i in range(channels)], axis=2)
    )


@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16"])
@pytest.mark.parametrize("values", ["unit", "signed"])
@pytest.mark.parametrize("pixels", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_identity_network_gives_every_value_back_bit_by_bit(
    dtype: str, values: str, pixels: type, channels: int
) -> None:
    image = ramp(pixels, channels)
    restored = Restorer(nn.Identity(), model=local(values=values), device="cpu", dtype=dtype).restore_array(
        image
    )
    assert restored.dtype == image.dtype
    np.testing.assert_array_equal(restored, image)


def test_a_network_of_signed_range_gets_that_range() -> None:
    seen = []
    network = PointWise(lambda x: (seen.append((float(x.min()), float(x.max()))), x * 0.5)[1])
    image = np.array([[[0, 128, 255]]], np.uint8)
    restored = Restorer(network, model=local(values="signed"), device="cpu").restore_array(image)
    assert seen == [(-1, 1)]
    assert restored.tolist() == [[[64, 128, 191]]]  # (x / 255 * 2 - 1) / 2 mapped back: 63.75, 127.75, 191.25


def test_float32_comes_back_unrounded_and_clipped() -> None:
    image = np.array([[[0.0, 0.3, 0.9]]], np.float32)
    restored = Restorer(PointWise(lambda x: 1.5 * x - 0.1), model=local(), device="cpu").restore_array(image)
    np.testing.assert_allclose(restored, [[[0.0, 0.35, 1.0]]], atol=1e-6)


def test_the_input_array_is_left_alone() -> None:
    image = ramp(np.uint8)
    before = image.copy()
    Restorer(PointWise(lambda x: x.mul_(0.5)), model=local(), device="cpu", strength=0.5).restore_array(image)
    np.testing.assert_array_equal(image, before)


def test_grey_pictures_reach_the_network_as_three_equal_channels_and_come_back_averaged() -> None:
    network = PointWise(lambda x: x * torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1))
    image = np.full((5, 6, 1), 100, np.uint8)
    assert Restorer(network, model=local(), device="cpu").restore_array(image).tolist() == [[[40]] * 6] * 5


@pytest.mark.parametrize(("strength", "expected"), [(0, 200), (0.25, 175), (1, 100)])
def test_strength_blends_input_and_result(strength: float, expected: int) -> None:
    halved = Restorer(PointWise(lambda x: x / 2), model=local(), device="cpu", strength=strength)
    assert halved.restore_array(np.full((4, 4, 3), 200, np.uint8)).tolist() == [[[expected] * 3] * 4] * 4


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_outside_0_and_1_is_refused(strength: float) -> None:
    with pytest.raises(UsageError, match="strength"):
        identity(strength=strength)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"shape \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), "1 or 3"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros((4, 4, 3), np.float64), "float64"),
        (np.full((4, 4, 3), 255, np.float32), r"\[0, 1\]"),
        (np.full((4, 4, 3), np.nan, np.float32), r"\[0, 1\]"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(image: np.ndarray, message: str) -> None:
    with pytest.raises(PictureError, match=message):
        identity().restore_array(image)


def test_progress_counts_the_tiles_from_none_to_all() -> None:
    seen: list[tuple[int, int]] = []
    picture = Picture(pixels=np.zeros((50, 30, 3), np.uint8))
    identity(tile=20).restore_picture(picture, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 6) for i in range(7)]


def test_a_picture_keeps_its_alpha_and_origin_and_a_region_is_cut_from_both() -> None:
    alpha = np.arange(12 * 10, dtype=np.uint8).reshape(12, 10)
    origin = Origin(format="png", dpi=(72, 72))
    picture = Picture(pixels=ramp(np.uint8)[:12, :1].repeat(10, axis=1), alpha=alpha, origin=origin)
    whole = identity().restore_picture(picture)
    assert whole.origin == origin
    np.testing.assert_array_equal(whole.alpha, alpha)
    part = identity().restore_picture(picture, region=(2, 3, 4, 5))
    np.testing.assert_array_equal(part.pixels, picture.pixels[3:8, 2:6])
    np.testing.assert_array_equal(part.alpha, alpha[3:8, 2:6])


def test_a_result_that_looks_broken_is_refused_unless_it_is_forced(photo: np.ndarray) -> None:
    tinted = Restorer(PointWise(lambda x: x * 0 + 1), model=local(), device="cpu")
    with pytest.raises(PictureError, match=r"looks broken: .*saturated.*--force"):
        tinted.restore_picture(Picture(pixels=photo))
    with pytest.raises(PictureError, match="looks broken"):
        tinted(photo)
    assert tinted.restore_picture(Picture(pixels=photo), force=True).pixels.min() == 255


def test_values_that_are_not_numbers_never_become_pixels_unnoticed(photo: np.ndarray) -> None:
    broken = Restorer(PointWise(lambda x: torch.where(x > 0.9, torch.nan, x)), model=local(), device="cpu")
    with pytest.raises(PictureError, match="not numbers"):
        broken.restore_array(photo)
    with pytest.raises(PictureError, match="not numbers"):
        broken.restore_picture(Picture(pixels=photo))
    forced = broken.restore_picture(Picture(pixels=photo), force=True).pixels
    np.testing.assert_array_equal(forced[photo < 229], photo[photo < 229])
    assert np.isnan(broken.restore_array(photo.astype(np.float32) / 255)).any()  # a score must show it


def test_a_network_of_another_output_size_is_named() -> None:
    halving = Restorer(PointWise(lambda x: x[:, :, ::2]), model=local(), device="cpu")
    with pytest.raises(PictureError, match=r"\(1, 3, 2, 4\) of \(1, 3, 4, 4\)"):
        halving.restore_array(np.zeros((4, 4, 3), np.uint8))


def test_16_bit_runs_in_float32_whatever_is_asked_for() -> None:
    seen = []

    class Convolution(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            seen.append(self.inner(x).dtype)
            return x

    restorer = Restorer(Convolution(), model=local(), device="cpu", dtype="bfloat16")
    restorer.restore_array(np.zeros((4, 4, 3), np.uint8))
    restorer.restore_array(np.zeros((4, 4, 3), np.uint16))
    assert seen == [torch.bfloat16, torch.float32]
    assert (restorer.dtype_for(np.uint8), restorer.dtype_for(np.uint16)) == ("bfloat16", "float32")


def test_a_faster_module_of_the_networks_own_is_used_with_the_dtype() -> None:
    asked = []

    class Quick(nn.Identity):
        def for_inference(self, dtype: torch.dtype) -> nn.Module:
            asked.append(dtype)
            return PointWise(lambda x: x / 2)

    restorer = Restorer(Quick(), model=local(), device="cpu", dtype="bfloat16")
    for _ in range(2):
        assert restorer.restore_array(np.full((2, 2, 3), 100, np.uint8)).max() == 50
    assert asked == [torch.bfloat16]


def test_a_network_in_training_is_run_in_evaluation_mode_and_gets_its_mode_back() -> None:
    network = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(3))
    network[1].eval()
    image = np.full((8, 8, 3), 100, np.uint8)
    restored = Restorer(network, model=local(), device="cpu").restore_array(image)
    np.testing.assert_array_equal(restored, image)
    assert (network.training, network[0].training, network[1].training) == (True, True, False)


def test_bfloat16_stays_near_float32_on_rednet() -> None:
    torch.manual_seed(0)
    network = REDNET.build(REDNET.tiny)
    with torch.no_grad():
        network.output.weight.mul_(0.1)
    image = np.random.default_rng(0).random((40, 50, 3), dtype=np.float32)
    exact, reduced = (
        Restorer(network, model=REDNET, options=REDNET.tiny, device="cpu", dtype=dtype).restore_array(image)
        for dtype in ("float32", "bfloat16")
    )
    assert 0 < np.abs(exact - reduced).max() < 0.02


def test_memory_that_runs_out_is_said_in_one_line() -> None:
    def hungry(x: Tensor) -> Tensor:
        return x + torch.zeros(10**15).sum()

    with pytest.raises(NotEnoughRoomError, match="--max-memory"):
        Restorer(PointWise(hungry), model=local(), device="cpu").restore_array(np.zeros((4, 4, 3), np.uint8))


def test_tiles_are_halved_when_the_device_runs_out_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def small_only(x: Tensor) -> Tensor:
        if x.shape[2] * x.shape[3] > 5000:
            raise torch.OutOfMemoryError("as an accelerator says it")
        return x

    restorer = Restorer(PointWise(small_only), model=local(), device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (150, 120, 3), dtype=np.uint8)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            np.testing.assert_array_equal(restorer.restore_array(image), image)
    assert len(caplog.records) == 1
    assert "half" in caplog.text


def test_devices_are_picked_by_name_and_never_replaced_by_a_slower_one() -> None:
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("gpu", "cuda:x", "cpu:0", "tpu", ""):
        with pytest.raises(UsageError, match="auto, cpu, cuda"):
            pick_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_cuda_is_refused_where_there_is_none(name: str) -> None:
    with pytest.raises(MissingError, match="use --device cpu or auto") as refused:
        pick_device(name)
    assert refused.value.exit_code == 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_what_the_cpu_gives(photo: np.ndarray) -> None:
    torch.manual_seed(0)
    network = REDNET.build(REDNET.tiny)
    on_cpu, on_cuda = (
        Restorer(network, model=REDNET, options=REDNET.tiny, device=device, dtype="float32").restore_array(
            photo
        )
        for device in ("cpu", "cuda")
    )
    assert np.abs(on_cpu.astype(int) - on_cuda).max() <= 1


def test_the_automatic_precision_is_bfloat16_only_where_it_is_faster() -> None:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if "flags" in flags:  # x86 Linux: the kernel's list is the oracle
        assert has_fast_bfloat16(CPU) == ("amx_bf16" in flags.split())
    expected = torch.bfloat16 if has_fast_bfloat16(CPU) else torch.float32
    assert pick_precision("auto", device=CPU).dtype == expected
    assert identity().dtype == str(expected).removeprefix("torch.")
    with pytest.raises(UsageError, match="bfloat16"):
        pick_precision("half", device=CPU)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16", "CMYK", "1", "P"])
def test_a_pil_image_comes_back_as_one(mode: str, photo: np.ndarray) -> None:
    colour = Image.fromarray(photo)
    if mode == "I;16":
        image = Image.fromarray(photo[..., 0].astype(np.uint16) * 257)
    else:
        image = colour.convert("L").convert("LA") if mode == "LA" else colour.convert(mode)
    image.info["dpi"] = (300, 300)
    restored = identity()(image)
    assert restored.size == image.size
    assert restored.info["dpi"] == (300, 300)
    assert restored.mode == {"1": "L", "P": "RGB"}.get(mode, mode)
    if mode != "CMYK":  # which Pillow converts to RGB and back with a rounding of its own
        np.testing.assert_array_equal(np.asarray(restored), np.asarray(image.convert(restored.mode)))


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 2), (20, 30, 3), (20, 30, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_an_array_comes_back_in_its_shape_and_dtype_with_alpha_untouched(
    shape: tuple[int, ...], dtype: type
) -> None:
    values = np.random.default_rng(0).random(shape)
    array = (values if dtype is np.float32 else values * np.iinfo(dtype).max).astype(dtype)
    restored = Restorer(PointWise(lambda x: x * 0.95), model=local(), device="cpu")(array)
    assert restored.shape == shape
    assert restored.dtype == dtype
    if len(shape) == 3 and shape[2] in (2, 4):
        np.testing.assert_array_equal(restored[..., -1], array[..., -1])


def test_a_path_is_restored_beside_itself_and_never_over_an_existing_file(photo_file: Path) -> None:
    written = identity()(photo_file)
    assert written == photo_file.with_name("photo.deblurred.png")
    np.testing.assert_array_equal(np.asarray(Image.open(written)), np.asarray(Image.open(photo_file)))
    with pytest.raises(UsageError, match=r"photo\.deblurred\.png"):
        identity()(str(photo_file))


def test_something_that_is_no_picture_is_refused() -> None:
    with pytest.raises(PictureError, match="list"):
        identity()([1, 2, 3])


def test_load_finds_a_weights_file_and_restores(rednet_weights: Path, photo: np.ndarray) -> None:
    restorer = deblur_cli.load(str(rednet_weights), device="cpu", dtype="float32")
    restored = restorer(photo)
    assert restored.shape == photo.shape
    assert not np.array_equal(restored, photo)
    by_name = deblur_cli.load(REDNET.name, weights=rednet_weights, device="cpu", dtype="float32")
    np.testing.assert_array_equal(by_name(photo), restored)


def test_the_documented_example_works() -> None:
    from deblur_cli.restore import restorer

    example = doctest.DocTestFinder().find(restorer.load, "load", globs={})
    try:
        deblur_cli.load(REDNET.name)
    except MissingError as error:
        pytest.skip(str(error))
    assert [doctest.DocTestRunner().run(test) for test in example] == [doctest.TestResults(0, 3)]


def test_load_answers_a_misspelt_model_with_the_near_one() -> None:
    with pytest.raises(MissingError, match=REDNET.name):
        deblur_cli.load("rednet3")


def test_restoring_needs_no_opencv_rich_or_typer(rednet_weights: Path) -> None:
    code = (
        "import sys, numpy, deblur_cli;"
        f"deblur_cli.load({str(rednet_weights)!r}, device='cpu')(numpy.zeros((8, 8, 3), numpy.uint8));"
        "print([name for name in ('cv2', 'rich', 'typer', 'skimage') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "[]", done.stderr
