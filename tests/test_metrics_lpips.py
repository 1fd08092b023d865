"""LPIPS against its definition in NumPy, and everything that can be wrong with the file it needs.

The weights are random but seeded: what those of the authors would say is not asked.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from deblur_cli.errors import DeblurError, MissingError, PictureError, UsageError
from deblur_cli.evaluation.measures import build_measures
from deblur_cli.metrics import METRICS

LPIPS = next(metric for metric in METRICS if metric.name == "lpips")
DOCS = Path(__file__).parents[1] / "docs/metrics.md"

# Number in torchvision's file: outputs, inputs, kernel, stride, padding, whether a pooling comes before.
LAYERS = {
    0: (64, 3, 11, 4, 2, False),
    3: (192, 64, 5, 1, 2, True),
    6: (384, 192, 3, 1, 1, True),
    8: (256, 384, 3, 1, 1, False),
    10: (256, 256, 3, 1, 1, False),
}


def random_alexnet() -> dict[str, Tensor]:
    """What torchvision's file holds; beyond the features one stored number a tensor."""
    generator = torch.Generator().manual_seed(18)
    tensors: dict[str, Tensor] = {}
    for number, (outputs, inputs, kernel, *_) in LAYERS.items():
        spread = (2 / (inputs * kernel**2)) ** 0.5
        tensors[f"features.{number}.weight"] = spread * torch.randn(outputs, inputs, kernel, kernel, generator=generator)  # fmt: skip
        tensors[f"features.{number}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
    tensors["classifier.6.weight"] = torch.zeros(1).expand(1000, 4096)
    return tensors


def random_lins() -> dict[str, Tensor]:
    """What the authors' small file holds."""
    generator = torch.Generator().manual_seed(19)
    return {
        f"lin{layer}.model.1.weight": torch.rand(1, outputs, 1, 1, generator=generator)
        for layer, (outputs, *_) in enumerate(LAYERS.values())
    }


ALEXNET, LINS = random_alexnet(), random_lins()


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lpips") / "lpips.pth"
    torch.save({**ALEXNET, **LINS}, path)
    return path


def lpips(path: Path | str) -> Callable[[NDArray, NDArray], float]:
    """The metric as an evaluation builds it."""
    (measure,) = build_measures([LPIPS], {"lpips": {"weights": str(path)}})
    return measure.of


def pair(height: int, width: int, channels: int = 3) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(3)
    sharp = rng.random((height, width, channels), dtype=np.float32)
    noisy = sharp + rng.normal(0, 0.2, sharp.shape).astype(np.float32)
    return noisy.clip(0, 1), sharp


def by_definition(restored: NDArray, sharp: NDArray) -> float:
    """Zhang et al. 2018, eq. (1), in float64 without PyTorch."""
    total = 0.0
    x, y = (_scaled(picture) for picture in (restored, sharp))
    for (number, (_, _, kernel, stride, padding, pooled)), lin in zip(LAYERS.items(), LINS.values(), strict=True):  # fmt: skip
        weight, bias = (ALEXNET[f"features.{number}.{kind}"].double().numpy() for kind in ("weight", "bias"))
        if pooled:
            x, y = (_windows(z, 3, 2).max(axis=(-2, -1)) for z in (x, y))
        x, y = (
            np.maximum(
                np.einsum("ihwkl,oikl->ohw", _windows(np.pad(z, ((0, 0), (padding,) * 2, (padding,) * 2)), kernel, stride), weight, optimize=True)
                + bias[:, None, None],
                0,
            )
            for z in (x, y)
        )  # fmt: skip
        unit_x, unit_y = (z / (np.sqrt((z**2).sum(axis=0)) + 1e-10) for z in (x, y))
        total += float(np.einsum("chw,c->hw", (unit_x - unit_y) ** 2, lin.double().numpy().ravel()).mean())
    return total


def _windows(z: NDArray, side: int, stride: int) -> NDArray:
    return sliding_window_view(z, (side, side), axis=(1, 2))[:, ::stride, ::stride]


def _scaled(picture: NDArray) -> NDArray:
    coloured = np.repeat(picture, 3 // picture.shape[2], axis=2).astype(np.float64)
    shift, scale = [-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]
    return ((2 * coloured - 1 - shift) / scale).transpose(2, 0, 1)


@pytest.mark.parametrize("shape", [(31, 31, 3), (35, 50, 3), (64, 47, 1), (71, 93, 3)])
def test_lpips_agrees_with_its_definition(weights: Path, shape: tuple[int, int, int]) -> None:
    restored, sharp = pair(*shape)
    expected = by_definition(restored, sharp)
    assert expected > 0.1
    assert lpips(weights)(restored, sharp) == pytest.approx(expected, rel=1e-5)


def test_identical_pictures_are_at_no_distance_and_better_ones_nearer(weights: Path) -> None:
    measure = lpips(weights)
    restored, sharp = pair(50, 60)
    assert measure(sharp, sharp) == 0.0
    black = np.zeros_like(sharp)
    assert measure(black, black) == 0.0
    assert 0 < measure((restored + 3 * sharp) / 4, sharp) < measure(restored, sharp)
    assert not LPIPS.higher_is_better


def test_lpips_is_repeatable_in_threads_and_leaves_pictures_and_settings_alone(weights: Path) -> None:
    measure = lpips(weights)
    restored, sharp = pair(60, 70)
    before = restored.copy()
    with torch.enable_grad():
        alone = measure(restored, sharp)
        assert torch.is_grad_enabled()
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(lambda _: measure(restored, sharp), range(6))) == {alone}
    assert measure(restored.astype(np.float64), np.asfortranarray(sharp)) == alone
    assert np.array_equal(restored, before)


def test_small_and_unequal_pictures_are_refused(weights: Path) -> None:
    measure = lpips(weights)
    for shape in ((30, 40, 3), (40, 30, 3)):
        picture = np.zeros(shape, dtype=np.float32)
        with pytest.raises(PictureError, match=rf"at least 31x31 pixels, this one is {shape[1]}x{shape[0]};"):
            measure(picture, picture)
    with pytest.raises(PictureError, match="both must be of one size"):
        measure(np.zeros((40, 40, 3)), np.zeros((40, 41, 3)))


def as_module(path: Path) -> None:
    """What LPIPS(net="alex") of the package saves: the same tensors by other names, and each lin twice."""
    slices = dict(zip(LAYERS, range(1, 6), strict=True))
    features = {
        re.sub(r"features\.(\d+)", lambda match: f"net.slice{slices[int(match[1])]}.{match[1]}", name): tensor
        for name, tensor in ALEXNET.items()
        if name.startswith("features.")
    }
    lins = {name.replace("lin", "lins.", 1): tensor for name, tensor in LINS.items()}
    torch.save({"scaling_layer.shift": torch.zeros(1, 3, 1, 1), **features, **LINS, **lins}, path)


def as_module_without_the_short_names(path: Path) -> None:
    torch.save({**ALEXNET, **{name.replace("lin", "lins.", 1): tensor for name, tensor in LINS.items()}}, path)  # fmt: skip


def as_safetensors(path: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in {**ALEXNET, **LINS}.items()}, path)


def as_the_page_says(path: Path) -> None:
    """Run the lines of docs/metrics.md where the two published files lie."""
    torch.save(ALEXNET, path.parent / "alexnet-owt-7be5be79.pth")
    torch.save(LINS, path.parent / "alex.pth")
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        exec(code, {})
    finally:
        os.chdir(before)
    (path.parent / "lpips.pth").rename(path)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (as_module, "module.pth"),
        (as_module_without_the_short_names, "lins.pth"),
        (as_safetensors, "lpips.safetensors"),
        (as_the_page_says, "page.pth"),
    ],
)
def test_every_form_of_the_file_gives_the_same_distance(
    weights: Path, tmp_path: Path, write: Callable[[Path], None], name: str
) -> None:
    write(tmp_path / name)
    measure = lpips(tmp_path / name)
    (tmp_path / name).unlink()
    assert measure(*pair(40, 41)) == lpips(weights)(*pair(40, 41))


def refused(path: Path | str, kind: type[DeblurError], *said: str) -> None:
    with pytest.raises(kind) as caught:
        lpips(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    for text in (str(path), *said):
        assert text in message


HOW = "--lpips-weights FILE", "docs/metrics.md"


def test_without_a_file_nothing_is_made_up(tmp_path: Path) -> None:
    refused("", MissingError, "the metric lpips needs the weights of AlexNet and LPIPS", *HOW)
    for name in ("none.pth", "none.safetensors", "folder.pth"):
        (tmp_path / "folder.pth").mkdir(exist_ok=True)
        refused(tmp_path / name, MissingError, "do not exist", *HOW)


class Code:
    """What a pickle can hold: reading it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def changed(name: str, tensor: Tensor) -> Mapping[str, Tensor]:
    return {**ALEXNET, **LINS, name: tensor}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (ALEXNET, ("lin0.model.1.weight is missing, it must be (1, 64, 1, 1)", *HOW)),
        (LINS, ("features.0.weight is missing, it must be (64, 3, 11, 11)", *HOW)),
        (changed("features.0.weight", torch.zeros(64, 3, 3, 3)), ("features.0.weight is (64, 3, 3, 3)", *HOW)),
        (changed("lin4.model.1.weight", torch.full((1, 256, 1, 1), torch.nan)), ("lin4.model.1.weight holds values that are no numbers",)),
        ([1, 2], ("holds no tensors by name", *HOW)),
    ],
    ids=["without lins", "without AlexNet", "another network", "not a number", "a list"],
)  # fmt: skip
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: object, said: tuple[str, ...]) -> None:
    torch.save(content, tmp_path / "lpips.pth")
    refused(tmp_path / "lpips.pth", UsageError, *said)


def test_code_in_a_file_is_not_run_and_damage_is_said(tmp_path: Path, weights: Path) -> None:
    torch.save({"features.0.weight": Code(tmp_path / "made")}, tmp_path / "code.pth")
    refused(tmp_path / "code.pth", UsageError, "could run code", *HOW)
    assert not (tmp_path / "made").exists()
    (tmp_path / "torn.pth").write_bytes(weights.read_bytes()[:5000])
    refused(tmp_path / "torn.pth", UsageError, *HOW)


def test_the_command_measures_it_and_records_which_weights(
    run: Callable, identity, weights: Path, tmp_path: Path, photo: NDArray
) -> None:
    for kind, picture in (("blur", np.roll(photo, 2, axis=1)), ("sharp", photo)):
        (tmp_path / "pairs" / kind).mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / "pairs" / kind / "a.png")
    words = ("eval", "-m", identity.weights["identity"], "--data", "pairs", "--metrics", "lpips", "--json")
    ran = run(*words, "--lpips-weights", weights, env=identity.env)
    assert ran.code == 0, ran.err
    (found,) = ran.json()
    restored, sharp = (picture.astype(np.float32) / 255 for picture in (np.roll(photo, 2, axis=1), photo))
    assert found["restored"]["lpips"] == pytest.approx(lpips(weights)(restored, sharp))
    assert found["metric_files"] == {"lpips": {"weights": hashlib.sha256(weights.read_bytes()).hexdigest()}}
