"""The form that restores pictures is the network that was trained, but for rounding; and it takes fewer fresh pages."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deblur_cli.host.declarations import Model, Values
from deblur_cli.host.manager import Host
from deblur_cli.networks import ConvNormAct, InferenceForm, bound_kernels
from deblur_cli.restore.restorer import Restorer
from deblur_cli.testing import name_of
from deblur_cli.testing.behaviour import varied

MODELS = Host.discover().models
BY_DEFAULT = list(MODELS.values())
FIXED_PX = 32  # what the dense LSTM takes
LSTMS = [(name, lstm) for name in ("srndeblur_cifar", "srn_deblurnet") for lstm in ("none", "conv")]


def small(model: Model, **options: object) -> nn.Module:
    torch.manual_seed(2)
    return varied(model.build({**model.tiny, **options})).eval()


def noise(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def under_autocast(network: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        restored: Tensor = network(x).float()
    return restored


def error(restored: Tensor, exact: Tensor) -> float:
    """Root of the mean squared difference."""
    return float((restored - exact).square().mean().sqrt())


def rounding(exact: Tensor) -> float:
    """What float32 may lose of these values; networks that nobody trained give some beyond 1."""
    return 1e-5 * max(1.0, float(exact.abs().max()))


def plain(network: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        restored: Tensor = network(x)
    return restored


@pytest.mark.parametrize("model", BY_DEFAULT, ids=name_of)
def test_what_the_restorer_gives_is_the_network_in_eval_mode(model: Model) -> None:
    network = small(model)
    step = model.geometry_for(model.tiny).multiple_of
    pixels = noise(3 * step + 16 // step * step, 2 * step + 16 // step * step)
    image = np.ascontiguousarray(pixels[0].permute(1, 2, 0).numpy())
    signed = model.values is Values.SIGNED
    x = 2 * pixels - 1 if signed else pixels

    restored = Restorer(
        network, model=model, options=model.tiny, device="cpu", dtype="float32"
    ).restore_array(image)

    expected = plain(network, x)
    expected = (expected + 1) / 2 if signed else expected
    clipped = expected[0].permute(1, 2, 0).clamp(0, 1).numpy()
    assert np.abs(restored - clipped).max() <= rounding(expected)


@pytest.mark.parametrize(("name", "lstm"), LSTMS)
def test_recurrent_networks_too(name: str, lstm: str) -> None:
    network = small(MODELS[name], lstm=lstm)
    x = noise(48, 64)

    with torch.inference_mode():
        restored = InferenceForm(network, torch.float32)(x)

    expected = plain(network, x)
    assert (restored - expected).abs().max() <= rounding(expected)


def test_a_dense_lstm_keeps_its_own_precision() -> None:
    network = small(MODELS["srndeblur_cifar"], lstm="dense")
    x = noise(FIXED_PX, FIXED_PX)

    assert (InferenceForm(network, torch.float32)(x) - plain(network, x)).abs().max() <= 1e-5
    assert error(InferenceForm(network, torch.bfloat16)(x), plain(network, x)) <= 0.02


@pytest.mark.parametrize("model", BY_DEFAULT, ids=name_of)
def test_bfloat16_is_about_as_near_to_float32_as_autocast(model: Model) -> None:
    network = small(model)
    x = noise(64, 96)
    exact = plain(network, x)

    with torch.inference_mode():
        restored = network.for_inference(torch.bfloat16)(x)

    assert restored.dtype == torch.float32
    assert 0 < error(restored, exact) <= 1.5 * error(under_autocast(network, x), exact)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_norm_folds_into_its_convolution(transposed: bool, bias: bool) -> None:
    """Against the formula in float64, for kernels that do not overlap."""
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = ConvNormAct(kind(3, 5, 2, stride=2, bias=bias), nn.LeakyReLU(0.3, inplace=True))
    network = varied(nn.Sequential(layer)).eval()
    x = noise(6, 8)

    restored = InferenceForm(network, torch.float32)(x)[0].numpy()

    state = {name: value.double().numpy() for name, value in layer.state_dict().items()}
    pixels = x[0].double().numpy()
    if transposed:
        z = np.einsum("ihw,iokl->ohkwl", pixels, state["conv.weight"]).reshape(5, 12, 16)
    else:
        z = np.einsum("ihkwl,oikl->ohw", pixels.reshape(3, 3, 2, 4, 2), state["conv.weight"])
    z += state.get("conv.bias", np.zeros(5))[:, None, None]
    scale = state["norm.weight"] / np.sqrt(state["norm.running_var"] + 1e-3)
    y = (z - state["norm.running_mean"][:, None, None]) * scale[:, None, None]
    y += state["norm.bias"][:, None, None]
    assert np.abs(restored - np.where(y > 0, y, 0.3 * y)).max() <= 1e-6


class Residual(nn.Module):
    """The picture and what two layers make of it: nothing, in this one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = ConvNormAct(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True))
        self.last = nn.Conv2d(4, 3, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(self.layer(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_picture_is_added_in_float32(dtype: torch.dtype) -> None:
    x = noise(7, 9)

    assert torch.equal(InferenceForm(Residual(), dtype)(x), x)


def test_the_network_stays_as_it_was_and_in_training() -> None:
    network = Residual().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = noise(7, 9).to(memory_format=torch.channels_last)
    copied = x.clone()

    InferenceForm(network, torch.bfloat16)(x)

    assert all(module.training for module in network.modules())
    assert network.state_dict().keys() == before.keys()
    assert all(
        value.dtype == torch.float32 and torch.equal(value, before[name])
        for name, value in network.state_dict().items()
        if "num_batches" not in name
    )
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert torch.equal(x, copied)


FRESH_PAGES = """
import resource, sys
import numpy as np
from deblur_cli.host.manager import Host
from deblur_cli.restore.restorer import Restorer

model = Host.discover().models["unet16"]
def restorer_with(**budget):
    return Restorer(model.build({}).eval(), model=model, device="cpu", dtype="float32", **budget)

restorers = {
    "free": lambda: restorer_with(),
    "budget": lambda: restorer_with(max_memory="4GB"),
    "free after budget": lambda: [restorer_with(max_memory="4GB"), restorer_with()][1],
}
restorer = restorers[sys.argv[1]]()
image = np.zeros((240, 320, 3), np.uint8)
taken = []
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    restorer.restore_array(image)
    taken.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(taken[1:]))  # whatever else goes on only adds to it
"""


def fresh_pages(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", FRESH_PAGES, how], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="what the C library does")
def test_without_a_budget_a_picture_takes_the_memory_of_the_one_before() -> None:
    kept, given_back = fresh_pages("free"), fresh_pages("budget")

    assert given_back > 5_000  # 4 KB each: 16 features of 240x320 alone are 1,200
    assert kept < given_back / 10


@pytest.mark.skipif(sys.platform != "linux", reason="what the C library does")
def test_a_budget_that_was_promised_holds_for_the_process() -> None:
    assert fresh_pages("free after budget") > 5_000


def test_spectral_norms_are_folded_and_the_network_keeps_its_own() -> None:
    """Twice: a copy must leave nothing behind that the next one misses."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.ConvTranspose2d(4, 3, 1))
    bound_kernels(network)
    network = varied(network).eval()
    x = noise(5, 7)
    with torch.no_grad():
        expected = network(x)
        for _ in range(2):
            form = InferenceForm(network, torch.float32)
            assert not any("parametrizations" in name for name, _ in form.named_modules())
            torch.testing.assert_close(form(x), expected)
    assert sum(name.endswith("weight.original") for name, _ in network.named_parameters()) == 2
    assert torch.equal(network(x), expected)
