"""The scale-recurrent networks are those of their reports: counts, wiring, memory from scale to scale, what they refuse."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import deblur_cli
import deblur_srn
from deblur_cli import Model, Optimizer, PictureError, Recipe, testing
from deblur_cli.host.declarations import Values
from deblur_cli.host.manager import Host
from deblur_cli.networks import ConvLSTM
from deblur_cli.testing.behaviour import varied
from deblur_cli.training.objective import build_objective
from deblur_cli.training.request import Request
from deblur_cli.training.session import run_training
from deblur_cli.weights import Header, read_tensors, write_weights
from deblur_srn.network import start_near_identity

Array = np.ndarray
CIFAR, REDS, ORIGINAL = deblur_srn.MODELS

VARIANTS = [
    (CIFAR, {"lstm": "none"}, 13_747_026, 1096.2),
    (CIFAR, {"lstm": "dense"}, 15_404_370, 1097.8),
    (CIFAR, {"lstm": "conv"}, 17_024_338, 1352.2),
    (REDS, {"lstm": "conv"}, 5_019_894, 365.5),
    (REDS, {"lstm": "conv", "carry_state": True}, 5_019_894, 365.5),
    (REDS, {"lstm": "none"}, 5_019_894 - 2 * 819_456, 301.5),
    (ORIGINAL, {"lstm": "conv"}, 8_061_411, 1370.9),
    (ORIGINAL, {"lstm": "none"}, 6_881_251, 1274.2),
]
NARROW = {"width": 2, "blocks": 1}


def names(value: object) -> str:
    if isinstance(value, Model):
        return value.name
    return " ".join(map(str, value.values())) if isinstance(value, Mapping) else ""


# The reports once more, in float64 NumPy.


class Restated:
    """The layers of a network by the names of its state; pictures are (C, H, W)."""

    def __init__(self, network: nn.Module) -> None:
        self.state = {name: value.double().numpy() for name, value in network.state_dict().items()}

    def conv(self, x: Array, name: str, *, stride: int = 1) -> Array:
        """Shifted products over a frame of zeros."""
        weight = self.state[f"{name}.weight"]
        side = weight.shape[2]
        frame = side // 2
        padded = np.pad(x, ((0, 0), (frame, frame), (frame, frame)))
        y = 0.0
        for row, column in itertools.product(range(side), repeat=2):
            window = padded[:, row : row + x.shape[1] : stride, column : column + x.shape[2] : stride]
            y = y + np.einsum("oc,chw->ohw", weight[:, :, row, column], window)
        return y + self.bias(name)

    def deconv(self, x: Array, name: str, *, stride: int, cut: int) -> Array:
        """Each pixel is spread by the kernel, `stride` apart; `cut` off above and left, and what is beyond the size."""
        weight = self.state[f"{name}.weight"]
        side, (height, width) = weight.shape[2], x.shape[1:]
        y = np.zeros((weight.shape[1], stride * (height + side), stride * (width + side)))
        for row, column in itertools.product(range(side), repeat=2):
            y[:, row : row + stride * height : stride, column : column + stride * width : stride] += (
                np.einsum("co,chw->ohw", weight[:, :, row, column], x)
            )
        return y[:, cut : cut + stride * height, cut : cut + stride * width] + self.bias(name)

    def bias(self, name: str) -> Array | float:
        bias = self.state.get(f"{name}.bias")
        return 0.0 if bias is None else bias[:, None, None]

    def norm(self, x: Array, name: str) -> Array:
        mean, variance, gain, shift = (
            self.state[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * gain + shift

    def cell(
        self, x: Array, name: str, state: tuple[Array, Array] | None
    ) -> tuple[Array, tuple[Array, Array]]:
        """A ConvLSTM: gates i, f, o by the logistic function, the new content g by tanh."""
        h, c = (np.zeros_like(x), np.zeros_like(x)) if state is None else state
        i, f, g, o = np.split(self.conv(x, f"{name}.input") + self.conv(h, f"{name}.recurrent"), 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return h, (h, c)

    def dense(
        self, x: Array, name: str, state: tuple[Array, Array] | None
    ) -> tuple[Array, tuple[Array, Array]]:
        """An LSTM of 32 units over all the features, and a dense layer back."""
        h, c = (np.zeros(32), np.zeros(32)) if state is None else state
        given = self.state
        gates = given[f"{name}.cell.weight_ih"] @ x.ravel() + given[f"{name}.cell.bias_ih"]
        gates += given[f"{name}.cell.weight_hh"] @ h + given[f"{name}.cell.bias_hh"]
        i, f, g, o = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        y = given[f"{name}.dense.weight"] @ h + given[f"{name}.dense.bias"]
        return y.reshape(x.shape), (h, c)

    def scale(self, x: Array, name: str, layers: "Layers", recur: Callable[[Array], Array]) -> Array:
        """One block a part, as the narrow variants have."""
        encoder, decoder = f"{name}.encoder", f"{name}.decoder"
        fine = layers.residual(layers.enter(x, f"{encoder}.0.0"), f"{encoder}.0.1")
        middle = layers.residual(layers.down(fine, f"{encoder}.1.0"), f"{encoder}.1.1")
        coarse = layers.residual(layers.down(middle, f"{encoder}.2.0"), f"{encoder}.2.1")
        x = layers.up(layers.residual(recur(coarse), f"{decoder}.0.0"), f"{decoder}.0.1")
        x = layers.up(layers.residual(x + middle, f"{decoder}.1.0"), f"{decoder}.1.1")
        return layers.leave(layers.residual(x + fine, f"{decoder}.2.0"), f"{decoder}.2.1")


class Layers:
    """Of srn_deblurnet: biases everywhere, ReLU."""

    def __init__(self, said: Restated) -> None:
        self.said = said

    def enter(self, x: Array, name: str) -> Array:
        return relu(self.said.conv(x, f"{name}.0"))

    def down(self, x: Array, name: str) -> Array:
        return relu(self.said.conv(x, f"{name}.0", stride=2))

    def residual(self, x: Array, name: str) -> Array:
        return x + self.said.conv(relu(self.said.conv(x, f"{name}.0")), f"{name}.2")

    def up(self, x: Array, name: str) -> Array:
        return relu(self.said.deconv(x, f"{name}.0", stride=2, cut=1))

    def leave(self, x: Array, name: str) -> Array:
        return self.said.conv(x, name)


class RedsLayers(Layers):
    """A doubled entrance, transposed convolutions of 2x2 and at the end of 5x5."""

    def enter(self, x: Array, name: str) -> Array:
        a = relu(self.said.conv(x, f"{name}.first"))
        return np.concatenate([a, relu(self.said.conv(a, f"{name}.second"))])

    def up(self, x: Array, name: str) -> Array:
        return relu(self.said.deconv(x, f"{name}.0", stride=2, cut=0))

    def leave(self, x: Array, name: str) -> Array:
        return self.said.deconv(x, name, stride=1, cut=2)


class CifarLayers(Layers):
    """Batch norm and LeakyReLU after each convolution, transposed ones of 5x5, a sigmoid at the end."""

    def __init__(self, said: Restated, after_up: Callable[[Array], Array]) -> None:
        super().__init__(said)
        self.after_up = after_up

    def enter(self, x: Array, name: str, *, stride: int = 1) -> Array:
        return leaky(self.said.norm(self.said.conv(x, f"{name}.conv", stride=stride), f"{name}.norm"))

    def down(self, x: Array, name: str) -> Array:
        return self.enter(x, name, stride=2)

    def residual(self, x: Array, name: str) -> Array:
        return x + self.enter(self.enter(x, f"{name}.0"), f"{name}.1")

    def up(self, x: Array, name: str) -> Array:
        y = self.said.deconv(x, f"{name}.conv", stride=2, cut=2)
        return self.after_up(self.said.norm(y, f"{name}.norm"))

    def leave(self, x: Array, name: str) -> Array:
        return sigmoid(self.said.norm(self.said.deconv(x, f"{name}.conv", stride=1, cut=0), f"{name}.norm"))


def restated(model: Model, options: Mapping[str, object], network: nn.Module, blurry: Array) -> list[Array]:
    """The results of all scales, the finest first."""
    said = Restated(network)
    state: tuple[Array, Array] | None = None
    number = 0

    def recur(coarse: Array) -> Array:
        nonlocal state
        kind = options["lstm"]
        if kind == "none":
            return coarse
        if kind == "dense":
            y, state = said.dense(coarse, f"dense.{number}", state)
            return y
        carried = model is not REDS or options.get("carry_state", False)
        before = (doubled(state[0]), doubled(state[1])) if state is not None and carried else None
        y, state = said.cell(coarse, f"cells.{number}" if model is REDS else "cell", before)
        return y

    outputs: list[Array] = []
    if model is ORIGINAL:
        for factor in (4, 2, 1):
            x = reduced(blurry, factor)
            before = doubled(outputs[-1]) if outputs else x
            outputs.append(said.scale(np.concatenate([x, before]), "scale", Layers(said), recur))
        return outputs[::-1]
    after_up = sigmoid if options.get("deconv_act") == "sigmoid" else leaky
    layers = RedsLayers(said) if model is REDS else CifarLayers(said, after_up)
    small = said.scale(reduced(blurry, 2), "scales.0", layers, recur)
    number = 1
    return [said.scale(blurry + doubled(small), "scales.1", layers, recur), small]


def reduced(x: Array, factor: int) -> Array:
    """Bilinear without antialiasing: of each cell the mean of the four pixels around its centre."""
    if factor == 1:
        return x
    first = factor // 2 - 1
    rows = x[:, first::factor] + x[:, first + 1 :: factor]
    return (rows[:, :, first::factor] + rows[:, :, first + 1 :: factor]) / 4


def doubled(x: Array) -> Array:
    """Bilinear: the new pixels lie a quarter beside the old ones, and beyond the edge as at the edge."""
    for axis in (1, 2):
        near = np.pad(x, [(0, 0) if a != axis else (1, 1) for a in range(3)], mode="edge")
        before, after = (np.take(near, range(start, start + x.shape[axis]), axis) for start in (0, 2))
        x = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1).reshape(
            [2 * side if a == axis else side for a, side in enumerate(x.shape)]
        )
    return x


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def leaky(x: Array) -> Array:
    return np.where(x > 0, x, 0.3 * x)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("model", "options"),
    [(model, options) for model, options, *_ in VARIANTS]
    + [(CIFAR, {"lstm": "none", "deconv_act": "sigmoid"})],
    ids=names,
)
def test_the_network_equals_an_independent_statement_of_the_report(
    model: Model, options: dict[str, object]
) -> None:
    torch.manual_seed(1)
    network = varied(model.build({**options, **NARROW})).double()
    height, width = (32, 32) if options["lstm"] == "dense" else (32, 48)
    blurry = torch.rand(2, 3, height, width, dtype=torch.float64)
    expected = [restated(model, options, network, picture) for picture in blurry.numpy()]

    with torch.no_grad():
        alone = network.eval()(blurry)
        for layer in network.modules():  # the norms stay as they are, all else trains
            layer.training = not isinstance(layer, nn.BatchNorm2d)
        scales = network(blurry)

    for number, (finest, *_) in enumerate(expected):
        np.testing.assert_allclose(alone[number].numpy(), finest, atol=1e-10)
    assert [tuple(scale.shape[2:]) for scale in scales] == [
        (height >> n, width >> n) for n in range(3 if model is ORIGINAL else 2)
    ]
    for number, pictures in enumerate(expected):
        for scale, picture in zip(scales, pictures, strict=True):
            np.testing.assert_allclose(scale[number].numpy(), picture, atol=1e-10)


@pytest.mark.parametrize("kernel", [3, 5])
def test_a_convolutional_lstm_equals_its_equations_over_several_steps(kernel: int) -> None:
    torch.manual_seed(2)
    cell = ConvLSTM(3, kernel=kernel).double()
    pictures = torch.randn(3, 1, 3, 7, 6, dtype=torch.float64)
    module = nn.Module()
    module.cell = cell
    said, expected = Restated(module), None
    state = None

    for picture in pictures:
        with torch.no_grad():
            counted = cell(picture, state)
        with torch.inference_mode():
            state = cell(picture, state)
        h, expected = said.cell(picture[0].numpy(), "cell", expected)
        for found in (counted, state):
            np.testing.assert_allclose(found[0][0], h, atol=1e-12)
            np.testing.assert_allclose(found[1][0], expected[1], atol=1e-12)


def test_a_convolutional_lstm_starts_as_in_keras() -> None:
    torch.manual_seed(3)
    cell = ConvLSTM(8, kernel=5, forget_bias=0.7)
    recurrent = cell.recurrent.weight.detach().flatten(1)
    torch.testing.assert_close(recurrent @ recurrent.T, torch.eye(32), atol=1e-5, rtol=0)
    assert cell.input.bias.tolist() == pytest.approx([0.0] * 8 + [0.7] * 8 + [0.0] * 16)
    most = np.sqrt(6 / (25 * 8 + 25 * 32))  # Glorot: both fans of the kernel
    assert 0.99 * most < cell.input.weight.abs().max() <= most


# Figures.


def count(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())


def test_each_part_has_the_reports_number_of_parameters() -> None:
    with torch.device("meta"):
        cifar, conv, dense = (CIFAR.build({"lstm": kind}) for kind in ("none", "conv", "dense"))
        reds, original = REDS.build(), ORIGINAL.build()
    for network in (cifar, conv, dense):
        for scale in network.scales:
            assert [count(part) for part in scale.encoder] == [156_448, 666_496, 2_664_192]
            assert [count(part) for part in scale.decoder] == [2_664_128, 666_464, 55_785]
    assert [(count(part.cell), count(part.dense)) for part in dense.dense] == [
        (266_496, 67_584),
        (1_052_928, 270_336),
    ]
    assert count(conv.cell) == 17_024_338 - 13_747_026
    for scale, cell in zip(reds.scales, reds.cells, strict=True):
        assert [count(part) for part in scale.encoder] == [40_600, 166_400, 665_600]
        assert [count(part) for part in scale.decoder] == [622_624, 155_664, 39_603]
        assert count(cell) == 819_456
    assert [count(part) for part in original.scale.encoder] == [158_624, 666_048, 2_663_296]
    assert [count(part) for part in original.scale.decoder] == [2_589_504, 647_584, 156_195]
    assert count(original.cell) == 1_180_160


@pytest.mark.parametrize(("model", "options", "parameters", "kmacs"), VARIANTS, ids=names)
def test_each_variant_has_the_figures_of_the_report(
    model: Model, options: dict[str, object], parameters: int, kmacs: float
) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = model.build(options).eval()
    assert count(network) == parameters
    side = model.geometry_for(options).fixed_size or 256
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, side, side, device="meta"))
    assert counter.get_total_flops() / 2000 / side**2 == pytest.approx(kmacs, abs=0.06)


@pytest.mark.parametrize(
    ("model", "options", "halo", "multiple_of"),
    [
        (CIFAR, {"lstm": "none"}, 529, 8),
        (CIFAR, {"lstm": "conv"}, 553, 8),
        (REDS, {"lstm": "conv"}, 573, 8),
        (REDS, {"lstm": "none"}, 549, 8),
        (ORIGINAL, {"lstm": "conv"}, 1315, 16),
        (ORIGINAL, {"lstm": "none"}, 1287, 16),
    ],
    ids=names,
)
def test_the_half_extent_follows_from_the_options(
    model: Model, options: dict[str, object], halo: int, multiple_of: int
) -> None:
    geometry = model.geometry_for(options)
    assert (geometry.halo, geometry.multiple_of, geometry.fixed_size) == (halo, multiple_of, None)
    assert geometry.overlap is not None
    assert geometry.overlap < halo / 4
    short = {**options, **NARROW}
    assert testing.half_extent(model, short) == model.geometry_for(short).halo


CHECKS = (
    testing.any_size_works,
    testing.evaluation_is_deterministic,
    testing.bfloat16_stays_near_float32,
    testing.inference_form_gives_the_same,
    testing.any_tile_with_its_halo_gives_the_same_pixels,
    testing.one_training_step_lowers_the_loss,
    testing.recipes_can_start,
    testing.state_survives_a_file,
)


@pytest.mark.parametrize("check", CHECKS, ids=testing.name_of)
@pytest.mark.parametrize(
    ("model", "options"),
    [
        (CIFAR, {"lstm": "dense"}),
        (CIFAR, {"lstm": "conv"}),
        (CIFAR, {"deconv_act": "sigmoid"}),
        (REDS, {"lstm": "none"}),
        (REDS, {"carry_state": True}),
        (ORIGINAL, {"lstm": "none"}),
    ],
    ids=names,
)
def test_the_other_variants_keep_the_contract_too(
    model: Model, options: dict[str, object], check: testing.Check
) -> None:
    check(replace(model, tiny={**model.tiny, **options, "blocks": 1}))


# What is shared, and where gradients go.


def test_the_scales_of_the_reports_networks_share_nothing_and_those_of_the_original_all() -> None:
    for model in deblur_srn.MODELS:
        network = model.build({"width": 4, "blocks": 1}).train()
        outputs = network(torch.rand(2, 3, 32, 32))
        outputs[-1].sum().backward()
        reached = {name for name, item in network.named_parameters() if item.grad is not None}
        first = {name for name, _ in network.named_parameters() if name.split(".")[1] != "1"}
        assert reached == first
        assert (len(first) == len(list(network.parameters()))) is (model is ORIGINAL)


def test_the_scales_of_srndeblur_cifar_share_the_convolutional_lstm() -> None:
    network = CIFAR.build({"lstm": "conv", **NARROW}).eval()
    blurry = torch.rand(1, 3, 16, 16)
    used = []
    network.cell.register_forward_hook(lambda cell, given, new: used.append((given[1], new)))
    with torch.no_grad():
        network(blurry)
    (nothing, small), (given, _) = used
    assert nothing is None
    for enlarged, state in zip(given, small, strict=True):
        torch.testing.assert_close(enlarged, F.interpolate(state, scale_factor=2, mode="bilinear"))


@pytest.mark.parametrize("lstm", ["none", "conv"])
def test_srn_deblurnet_sends_no_gradient_through_the_picture_of_the_scale_before(lstm: str) -> None:
    torch.manual_seed(4)
    network = ORIGINAL.build({"lstm": lstm, **NARROW}).double().train()
    blurry = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    entering: list[Tensor] = []
    network.scale.encoder[0].register_forward_pre_hook(lambda layer, given: entering.append(given[0]))

    network(blurry)

    assert [tuple(x.shape[1:]) for x in entering] == [(6, 8, 8), (6, 16, 16), (6, 32, 32)]
    assert not any(x.requires_grad for x in entering)


def test_srndeblur_reds_sends_gradients_through_the_picture_of_the_scale_before() -> None:
    network = REDS.build(NARROW).train()
    network(torch.rand(1, 3, 16, 16))[0].sum().backward()
    assert all(item.grad is not None for item in network.scales[0].parameters())
    assert any(item.grad.any() for item in network.scales[0].parameters())


def test_the_reports_loss_compares_each_scale_with_the_sharp_picture_of_its_size() -> None:
    torch.manual_seed(5)
    sharp = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    for model in deblur_srn.MODELS:
        outputs = [torch.rand(2, 3, 32 >> n, 32 >> n).double() for n in range(3 if model is ORIGINAL else 2)]
        objective = build_objective(
            Host.discover(environ={}), model.recipes["report"],
            values=Values.UNIT, device=torch.device("cpu"), dtype=torch.float64,
        )  # fmt: skip
        expected = sum(
            np.mean([(reduced(s, 2**n) - o) ** 2 for s, o in zip(sharp.numpy(), output.numpy(), strict=True)])
            for n, output in enumerate(outputs)
        )
        assert objective(outputs, sharp)["mse"].item() == pytest.approx(expected, rel=1e-12)


# Starting, training, restoring.


@pytest.mark.parametrize(
    ("model", "options"), [(model, options) for model, options, *_ in VARIANTS], ids=names
)
def test_the_fast_recipe_starts_near_the_picture_and_every_part_learns(
    model: Model, options: dict[str, object]
) -> None:
    torch.manual_seed(6)
    network = model.build({**options, "width": 4, "blocks": 1}).train()
    start_near_identity(network)
    blurry = F.interpolate(torch.rand(4, 3, 8, 8), scale_factor=4, mode="bicubic").clamp(0, 1)

    with torch.no_grad():
        restored = network(blurry)[0]

    assert (
        F.mse_loss(restored, blurry)
        < {"srndeblur_cifar": 5e-3, "srndeblur_reds": 1e-3, "srn_deblurnet": 1e-5}[model.name]
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        torch.stack([output.square().mean() for output in network(blurry)]).sum().backward()
        optimizer.step()
    still = {name for name, item in network.named_parameters() if item.grad is None or not item.grad.any()}
    without_state = {"dense.0.cell.weight_hh"} if options["lstm"] == "dense" else set()
    if model is REDS and options["lstm"] == "conv":
        without_state = {"cells.0.recurrent.weight"}
        without_state |= set() if "carry_state" in options else {"cells.1.recurrent.weight"}
    assert still == without_state


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pairs of 32x32 noise."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for name, number in itertools.product(("blur", "sharp"), range(4)):
        (folder / name).mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("lstm", "kernels", "axis"),
    [
        ("dense", ["dense.0.cell.weight_ih", "dense.1.cell.weight_ih"], 1),
        ("conv", ["cell.input.weight"], 2),
    ],
)
def test_a_training_keeps_the_columns_of_the_lstms_kernels_below_a_norm_of_three(
    pairs: Path, tmp_path: Path, lstm: str, kernels: list[str], axis: int
) -> None:
    """With a step so wide that every column would leave it."""
    recipe = Recipe(loss="mse", optimizer=Optimizer(lr=5.0), batch_size=2, patch=32)
    request = Request(
        model="srndeblur_cifar", data=(str(pairs),), recipe=recipe, options={"lstm": lstm, **NARROW},
        device="cpu", dtype="float32", steps=1,
    )  # fmt: skip

    run_training(request, tmp_path / "run", host=Host.discover(), command=["test"])

    weights = read_tensors(tmp_path / "run" / "last" / "weights.safetensors")
    for name in kernels:
        assert weights[name].norm(dim=axis).max() == pytest.approx(3, rel=1e-5)
    assert weights["scales.1.encoder.1.1.0.conv.weight"].norm(dim=2).max() > 4


def test_srndeblur_reds_shortens_the_columns_of_its_cells_that_are_too_long_and_no_others() -> None:
    network = REDS.build(NARROW)
    kernel = network.cells[1].input.weight
    with torch.no_grad():
        kernel[0, 0, :, 0] = torch.tensor([0.0, 30.0, 0.0, 40.0, 0.0])
        before = kernel.clone()
        network.constrain()
    assert kernel[0, 0, :, 0].tolist() == pytest.approx([0, 1.8, 0, 2.4, 0])
    before[0, 0, :, 0] = kernel[0, 0, :, 0]
    assert torch.equal(kernel, before)


def test_the_dense_lstm_trains_on_larger_pictures_by_crops_of_its_size(tmp_path: Path, run: Callable) -> None:
    done = run(
        "train", "--data", "sample", "-m", "srndeblur_cifar", "--steps", 1, "-o", "run",
        "--set", "model.lstm=dense", "model.width=2", "model.blocks=1", "batch_size=2",
    )  # fmt: skip
    assert done.code == 0
    assert "validation PSNR" in done.err
    assert (tmp_path / "run" / "best" / "weights.safetensors").exists()


@pytest.fixture
def dense_file(tmp_path: Path) -> Path:
    return released(CIFAR, {"lstm": "dense", **NARROW}, tmp_path)


def released(model: Model, options: Mapping[str, object], folder: Path) -> Path:
    """A weights file of a network with these options."""
    torch.manual_seed(7)
    path = folder / "weights.safetensors"
    header = Header(model=model.name, options=dict(options), licence="MIT")
    write_weights(path, varied(model.build(options)).state_dict(), header)
    return path


@pytest.mark.parametrize(
    ("model", "options"), [(model, options) for model, options, *_ in VARIANTS], ids=names
)
def test_a_released_file_builds_the_network_of_its_options(
    model: Model, options: dict[str, object], tmp_path: Path
) -> None:
    path = released(model, {**options, **NARROW}, tmp_path)
    blurry = np.random.default_rng(8).random((32, 32, 3), dtype=np.float32)
    network = model.build({**options, **NARROW}).eval()
    network.load_state_dict(read_tensors(path))
    with torch.no_grad():
        expected = network(torch.from_numpy(blurry).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()

    restored = deblur_cli.load(str(path), device="cpu", dtype="float32")(blurry)

    np.testing.assert_allclose(restored, expected.clip(0, 1), atol=1e-5)


def test_the_dense_lstm_refuses_other_sizes_and_names_the_option_that_takes_them(
    dense_file: Path, tmp_path: Path, run: Callable
) -> None:
    network = CIFAR.build({"lstm": "dense", **NARROW}).eval()
    with pytest.raises(PictureError, match="32x32 px, not 40x24; with lstm=conv or lstm=none"):
        network(torch.rand(1, 3, 24, 40))
    Image.new("RGB", (40, 24), "gray").save(tmp_path / "a.png")
    done = run("a.png", "-m", str(dense_file))
    assert done.code == 1
    for word in ("32x32", "40x24", "lstm=conv"):
        assert word in done.err
    assert not list(tmp_path.glob("*deblurred*"))
