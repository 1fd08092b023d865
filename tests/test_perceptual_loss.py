"""The perceptual loss against its formula, and everything that can be wrong with the file it needs.

The features are random but seeded, in files as torchvision publishes them: what ImageNet's would be worth is not asked.
"""

import csv
import hashlib
import json
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from deblur_cli.errors import CheckFailed, DeblurError, MissingError, UsageError
from deblur_cli.host.declarations import Values
from deblur_cli.host.manager import Host
from deblur_cli.host.recipes import Recipe, Term
from deblur_cli.losses.vgg import shapes
from deblur_cli.training.objective import build_objective
from deblur_cli.weights import read_header

# Numbers of the convolutions in torchvision's files and their (outputs, inputs), written down from the paper's table.
_HEAD = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256)}
CONVOLUTIONS: Mapping[str, Mapping[int, tuple[int, int]]] = {
    "vgg16": _HEAD | {17: (512, 256)} | dict.fromkeys((19, 21, 24, 26, 28), (512, 512)),
    "vgg19": _HEAD
    | {16: (256, 256), 19: (512, 256)}
    | dict.fromkeys((21, 23, 25, 28, 30, 32, 34), (512, 512)),
}
COLOURS = (1, 3, 1, 1)
MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).view(COLOURS)
STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).view(COLOURS)


@cache
def random_vgg(network: str) -> "OrderedDict[str, Tensor]":
    """Names and shapes of torchvision's file; random up to conv3_3, beyond it one stored number a tensor."""
    generator = torch.Generator().manual_seed(19)
    tensors: OrderedDict[str, Tensor] = OrderedDict()
    for number, (outputs, inputs) in CONVOLUTIONS[network].items():
        weight, bias = torch.zeros(1).expand(outputs, inputs, 3, 3), torch.zeros(1).expand(outputs)
        if number <= 14:
            weight = torch.randn(outputs, inputs, 3, 3, generator=generator) * (2 / (9 * inputs)) ** 0.5
            bias = torch.randn(outputs, generator=generator) * 0.1
        tensors[f"features.{number}.weight"], tensors[f"features.{number}.bias"] = weight, bias
    for number, (outputs, inputs) in {0: (4096, 25088), 3: (4096, 4096), 6: (1000, 4096)}.items():
        tensors[f"classifier.{number}.weight"] = torch.zeros(1).expand(outputs, inputs)
        tensors[f"classifier.{number}.bias"] = torch.zeros(1).expand(outputs)
    return tensors


@pytest.fixture(scope="session")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """vgg19 -> a small .pth file."""
    folder = tmp_path_factory.mktemp("vgg")
    for network in CONVOLUTIONS:
        torch.save(random_vgg(network), folder / f"{network}.pth")
    return lambda network: folder / f"{network}.pth"


def features(tensors: Mapping[str, Tensor], pictures: Tensor, *, before_relu: bool = False) -> Tensor:
    """conv3_3 in float64, layer by layer."""
    x = pictures.double()
    for number in _HEAD:
        x = F.conv2d(
            x,
            tensors[f"features.{number}.weight"].double(),
            tensors[f"features.{number}.bias"].double(),
            padding=1,
        )
        if number == 14 and before_relu:
            return x
        x = x.clamp(min=0)
        if number in (2, 7):  # the last of blocks 1 and 2
            height, width = (side // 2 * 2 for side in x.shape[-2:])
            x = x[..., :height, :width].unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2)).amax(dim=(-3, -1))
    return x


def perceptual(path: Path | str, *, values: str = "unit", **options: object) -> torch.nn.Module:
    """The loss as a recipe builds it."""
    recipe = Recipe(loss=Term(loss="perceptual", options={"weights": str(path), **options}))
    objective = build_objective(
        Host.discover(), recipe, values=Values(values), device=torch.device("cpu"), dtype=torch.float32
    )
    loss = objective.terms[0][1]
    assert isinstance(loss, torch.nn.Module)
    return loss


def pictures(height: int = 13, width: int = 10) -> tuple[Tensor, Tensor]:
    """Restored and sharp ones in [0, 1]."""
    generator = torch.Generator().manual_seed(1)
    restored, sharp = torch.rand(2, 2, 3, height, width, generator=generator)
    return restored, sharp


@pytest.mark.parametrize(("network", "parameters"), [("vgg16", 14_714_688), ("vgg19", 20_024_384)])
def test_the_table_of_layers_is_the_papers(network: str, parameters: int) -> None:
    published = {name: tuple(tensor.shape) for name, tensor in random_vgg(network).items()}
    wanted = {name: shape for name, shape in published.items() if name.startswith("features.")}
    assert shapes(network) == wanted
    assert sum(torch.Size(shape).numel() for shape in shapes(network).values()) == parameters


@pytest.mark.parametrize(
    ("network", "values", "options"),
    [
        ("vgg19", "unit", {}),
        ("vgg16", "signed", {}),
        ("vgg19", "signed", {"norm": "l1"}),
        ("vgg19", "unit", {"before_relu": True}),
        ("vgg19", "unit", {"normalisation": "none"}),
        ("vgg16", "signed", {"norm": "l1", "before_relu": True, "normalisation": "none"}),
    ],
)
def test_the_loss_is_the_difference_of_conv3_3(
    vgg: Callable[[str], Path], network: str, values: str, options: Mapping[str, object]
) -> None:
    tensors = random_vgg(network)
    seen = []
    for unit in pictures():
        as_seen = (unit.double() - MEAN) / STD if "normalisation" not in options else 2 * unit.double() - 1
        seen.append(features(tensors, as_seen, before_relu=bool(options.get("before_relu"))))
    assert seen[0].shape == (2, 256, 3, 2)
    difference = seen[0] - seen[1]
    expected = difference.abs().mean() if options.get("norm") == "l1" else difference.square().mean()
    given = [2 * picture - 1 if values == "signed" else picture for picture in pictures()]
    found = perceptual(vgg(network), values=values, network=network, **options)(*given)
    assert found.shape == ()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_what_learns_is_the_restored_picture_alone(vgg: Callable[[str], Path]) -> None:
    loss = perceptual(vgg("vgg19"))
    restored, sharp = (picture.requires_grad_() for picture in pictures())
    before = [tensor.clone() for tensor in loss.state_dict().values()]
    loss(restored, sharp).backward()
    assert restored.grad is not None
    assert restored.grad.abs().max() > 0
    assert sharp.grad is None
    assert sum(item.numel() for item in loss.parameters()) == 1_735_488  # 7 convolutions
    assert all(item.grad is None and not item.requires_grad for item in loss.parameters())
    assert not any(module.training for module in loss.modules())
    assert all(torch.equal(*both) for both in zip(before, loss.state_dict().values(), strict=True))


def test_the_slope_is_that_of_the_formula(vgg: Callable[[str], Path]) -> None:
    tensors = random_vgg("vgg19")
    restored, sharp = (picture.requires_grad_() for picture in pictures(8, 8))
    exact = restored.detach().double().requires_grad_()
    difference = features(tensors, (exact - MEAN) / STD) - features(tensors, (sharp.double() - MEAN) / STD)
    (expected,) = torch.autograd.grad(difference.square().mean(), exact)
    (found,) = torch.autograd.grad(perceptual(vgg("vgg19"))(restored, sharp), restored)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))


def test_no_graph_is_kept_for_the_sharp_picture(vgg: Callable[[str], Path]) -> None:
    loss = perceptual(vgg("vgg19"))
    saved: list[int] = []

    def count(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        restored, sharp = pictures()
        loss(restored.requires_grad_(), sharp)
        once, saved[:] = sum(saved), []
        loss(restored, sharp.requires_grad_())
    assert sum(saved) == once


def test_equal_pictures_have_no_distance(vgg: Callable[[str], Path]) -> None:
    restored, _ = pictures()
    assert perceptual(vgg("vgg16"), network="vgg16")(restored, restored).item() == 0


def test_building_it_draws_no_random_numbers(vgg: Callable[[str], Path]) -> None:
    """So that what is drawn for the network does not depend on its loss."""
    before = torch.get_rng_state()
    perceptual(vgg("vgg19"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_pictures_of_another_precision_are_taken(vgg: Callable[[str], Path], dtype: torch.dtype) -> None:
    loss = perceptual(vgg("vgg19"))
    restored, sharp = (picture.bfloat16().to(dtype).requires_grad_() for picture in pictures())
    expected = loss(restored.float(), sharp.float())
    found = loss(restored, sharp)
    assert found.item() == expected.item()
    (slope,) = torch.autograd.grad(found, restored)
    assert slope.dtype == dtype


def test_a_picture_without_features_is_refused(vgg: Callable[[str], Path]) -> None:
    loss = perceptual(vgg("vgg19"))
    assert loss(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)) > 0
    with pytest.raises(CheckFailed, match="4 px a side and more; one is 3x9"):
        loss(torch.zeros(1, 3, 3, 9), torch.ones(1, 3, 3, 9))


def as_published(path: Path) -> None:
    """The format before zip files, with parameters instead of tensors, as the public files are."""
    parameters = {name: torch.nn.Parameter(tensor) for name, tensor in only_features().items()}
    torch.save(OrderedDict(parameters), path, _use_new_zipfile_serialization=False)


def only_features() -> dict[str, Tensor]:
    return {name: tensor for name, tensor in random_vgg("vgg19").items() if name.startswith("features.")}


def as_safetensors(path: Path) -> None:
    """What no loss uses as bytes, for the sake of a small file."""
    used = {name: int(name.split(".")[1]) <= 14 for name in only_features()}
    save_file(
        {
            name: (tensor if used[name] else tensor.byte()).contiguous()
            for name, tensor in only_features().items()
        },
        path,
    )


def in_half_precision(path: Path) -> None:
    torch.save({name: tensor.half() for name, tensor in only_features().items()}, path)


@pytest.mark.parametrize(
    ("write", "name", "tolerance"),
    [
        (as_published, "vgg19-dcbb9e9d.pth", 0.0),
        (as_safetensors, "vgg19.safetensors", 0.0),
        (in_half_precision, "vgg19.pth", 0.01),
    ],
)
def test_every_format_of_the_file_gives_the_same_loss(
    vgg: Callable[[str], Path], tmp_path: Path, write: Callable[[Path], None], name: str, tolerance: float
) -> None:
    write(tmp_path / name)
    expected = perceptual(vgg("vgg19"))(*pictures()).item()
    found = perceptual(tmp_path / name)
    (tmp_path / name).write_bytes(b"")  # nothing is left of the file but what was read
    assert found(*pictures()).item() == pytest.approx(expected, rel=tolerance)
    (tmp_path / name).unlink()


class Code:
    """What a pickle can hold: reading it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


WANTED = r"--vgg-weights FILE: torchvision's vgg19 with its IMAGENET1K_V1 weights, \.pth or \.safetensors"


def refused(path: Path | str, kind: type[DeblurError], *said: str, network: str = "vgg19") -> None:
    with pytest.raises(kind) as caught:
        perceptual(path, network=network)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    for text in (str(path), *said):
        assert text in message


def test_without_a_file_nothing_is_made_up(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=f"needs the weights of vgg19.*{WANTED}"):
        perceptual("")
    with pytest.raises(MissingError, match=r"needs the weights of vgg16.*torchvision's vgg16"):
        perceptual("", network="vgg16")
    for name in ("none.pth", "none.safetensors", "folder.pth"):
        (tmp_path / "folder.pth").mkdir(exist_ok=True)
        refused(tmp_path / name, MissingError, "--vgg-weights FILE")


def test_no_recipe_of_any_network_trains_by_features_that_nobody_gave() -> None:
    """Those that say so need the file, and no other one is made up."""
    host = Host.discover(environ={})
    recipes = [recipe for model in host.models.values() for recipe in model.recipes.values()]
    perceptual_ones = [recipe for recipe in recipes if "perceptual" in [term.loss for term in recipe.terms]]
    assert len(perceptual_ones) > 4
    for recipe in perceptual_ones:
        assert "--vgg-weights" in recipe.summary
        with pytest.raises(MissingError, match="--vgg-weights FILE"):
            build_objective(
                host, recipe, values=Values.SIGNED, device=torch.device("cpu"), dtype=torch.float32
            )


def test_the_file_of_the_other_network_is_refused(vgg: Callable[[str], Path]) -> None:
    refused(vgg("vgg16"), UsageError, "holds vgg16, not vgg19", "--set loss.perceptual.network=vgg16")
    refused(vgg("vgg19"), UsageError, "holds vgg19, not vgg16", network="vgg16")


def test_a_file_that_may_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    path, made = tmp_path / "vgg19.pth", tmp_path / "made"
    for write in (
        lambda: torch.save({"features.0.weight": Code(made)}, path),
        lambda: path.write_bytes(pickle.dumps(Code(made))),
    ):
        write()
        refused(path, UsageError, "could run code", "--vgg-weights FILE")
        assert not made.exists()
    pickle.loads(path.read_bytes())
    assert made.exists()  # it would have


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"text", b"PK\3\4 no zip", b"{}", b"\x80\x02."])
def test_a_file_of_nonsense_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"vgg19{suffix}").write_bytes(content)
    refused(tmp_path / f"vgg19{suffix}", UsageError, "--vgg-weights FILE")


def test_a_file_that_was_cut_off_or_changed_is_refused(tmp_path: Path) -> None:
    whole, legacy, safe = tmp_path / "vgg19.pth", tmp_path / "old.pth", tmp_path / "vgg19.safetensors"
    torch.save(only_features(), whole)
    as_published(legacy)
    as_safetensors(safe)
    for path in (whole, legacy, safe):
        content = path.read_bytes()
        for size in (1, 100, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:size])
            refused(path, UsageError, "--vgg-weights FILE")
        path.unlink()


def changed(tensors: dict[str, Tensor], changes: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in {**tensors, **changes}.items() if tensor is not None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features.7.bias": None}, "features.7.bias is missing, it must be (128,)"),
        ({"features.34.weight": None}, "features.34.weight is missing, it must be (512, 512, 3, 3)"),
        (
            {"features.0.weight": torch.zeros(64, 1, 3, 3)},
            "features.0.weight is (64, 1, 3, 3), it must be (64, 3, 3, 3)",
        ),
        ({"features.1.running_mean": torch.zeros(64)}, "features.1.running_mean is (64,), it must be absent"),
        ({"features.x.y": torch.zeros(1)}, "features.x.y is (1,), it must be absent"),
    ],
)
def test_a_file_that_is_almost_right_is_refused(
    tmp_path: Path, changes: Mapping[str, Tensor | None], said: str
) -> None:
    torch.save(changed(only_features(), changes), tmp_path / "vgg19.pth")
    refused(tmp_path / "vgg19.pth", UsageError, said)


@pytest.mark.parametrize(
    "content", [{"state_dict": {"features.0.weight": torch.zeros(1)}}, [torch.zeros(1)], {}, 7]
)
def test_a_file_of_other_things_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "vgg19.pth")
    refused(tmp_path / "vgg19.pth", UsageError, "--vgg-weights FILE")


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    broken = only_features()["features.5.weight"].clone()
    broken[3, 2, 1, 0] = float("nan")
    torch.save(changed(only_features(), {"features.5.weight": broken}), tmp_path / "vgg19.pth")
    refused(tmp_path / "vgg19.pth", UsageError, "features.5.weight holds values that are no numbers")


TRAIN = ("train", "-m", "rednet30", "-o", "mine", "--steps", "2", "--device", "cpu", "--dtype", "float32")
SMALL = ("--set", "model.depth=2", "model.width=8", "batch_size=2", "patch=16")
MIXED = ("--set", "loss=mae", "loss.perceptual.weight=0.01")


@pytest.fixture(scope="session")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs of 24x32 noise and its half."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for name in ("blur", "sharp"):
        (folder / name).mkdir()
    for i in range(2):
        sharp = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(sharp).save(folder / "sharp" / f"{i}.png")
        Image.fromarray(sharp // 2).save(folder / "blur" / f"{i}.png")
    return folder


def test_a_mixed_loss_trains_by_the_command_and_leaves_no_vgg_behind(
    run: Callable[..., Any], vgg: Callable[[str], Path], pairs_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    file = tmp_path / "files/vgg.pth"
    file.write_bytes(vgg("vgg19").read_bytes())
    data = ("--data", pairs_folder)
    done = run(*TRAIN, *data, *SMALL, *MIXED, "--vgg-weights", "files/vgg.pth")
    assert done.code == 0, done.err
    *_, row = csv.DictReader((tmp_path / "mine/metrics.csv").read_text().splitlines())
    parts = [float(row[f"train_{name}"]) for name in ("mae", "perceptual")]
    assert all(part > 0 for part in parts)
    assert float(row["train_loss"]) == pytest.approx(sum(parts))

    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    record = json.loads((tmp_path / "mine/run.json").read_text())
    assert record["files"] == {"loss.perceptual.weights": {"path": str(file), "sha256": sha256}}
    assert record["request"]["recipe"]["loss"]["perceptual"]["weights"] == str(file)
    best, last = (tmp_path / "mine" / name / "weights.safetensors" for name in ("best", "last"))
    assert read_header(best).recipe["loss"]["perceptual"]["weights"] == "vgg.pth"
    network = {name for name in load_file(best) if not name.endswith("num_batches_tracked")}
    assert not any(name.startswith(("features", "scale", "shift")) for name in network)
    state = load_file(last.with_name("state.safetensors"))
    assert all(name.startswith(("network.", "average.", "optimizer.network.")) for name in state)
    assert sum(value.numel() for value in state.values()) < 50_000  # VGG's part alone has 1.7 million

    resume = ("train", "--resume", "-o", "mine", "--steps", "3")
    moved = file.rename(tmp_path / "moved.pth")
    gone = run(*resume)
    assert gone.code == 4
    assert f"vgg19 weights {file}" in gone.err
    assert "--vgg-weights FILE" in gone.err
    other = dict(random_vgg("vgg19"), **{"features.0.bias": torch.ones(64)})
    torch.save(other, file)
    changed = run(*resume)
    assert changed.code == 2
    assert f'loss.perceptual.weights was "SHA-256 {sha256}", is "SHA-256 ' in changed.err
    here = run(*resume, *MIXED, "--vgg-weights", "moved.pth")
    assert here.code == 0, here.err
    assert moved.is_file()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--vgg-weights", "none.pth"), 2, "add it with --set loss.perceptual.weight=1"),
        (
            MIXED,
            4,
            "needs the weights of vgg19, which do not come with this program; give --vgg-weights FILE",
        ),
        ((*MIXED, "--vgg-weights", "none.pth"), 4, "none.pth"),
        ((*MIXED, "--vgg-weights", "VGG16"), 2, "holds vgg16, not vgg19"),
        ((*MIXED, "loss.perceptual.network=vgg11"), 2, "vgg19, vgg16"),
        ((*MIXED, "loss.perceptual.norm=l3"), 2, "l2, l1"),
    ],
)
def test_without_the_right_file_no_run_begins(
    run: Callable[..., Any],
    vgg: Callable[[str], Path],
    pairs_folder: Path,
    tmp_path: Path,
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    given = [str(vgg("vgg16")) if word == "VGG16" else word for word in words]
    done = run(*TRAIN, "--data", pairs_folder, *SMALL, *given)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "mine").exists()
