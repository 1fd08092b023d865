"""Every registered network of finite halo, through the restorer: tiles with the halo around give the whole picture's result.

Those that look at the whole picture through its statistics are told of them.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deblur_cli import Model
from deblur_cli.host.manager import Host
from deblur_cli.restore.restorer import Restorer
from deblur_cli.testing.behaviour import varied

MODELS = [
    model
    for model in Host.discover(environ={}).models.values()
    if model.geometry_for({}).reach is not None and model.geometry_for({}).fixed_size is None
]


class Squeezed(nn.Module):
    """A network whose output is brought into (0, 1) pixel by pixel, so that no clipping hides what it gives."""

    def __init__(self, network: nn.Module, *, centre: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.network, self.centre, self.scale = network, centre, scale

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 + 0.4 * torch.tanh((self.network(x) - self.centre) / self.scale)

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        make = getattr(self.network, "for_inference", None)
        network = self.network if make is None else make(dtype)
        return Squeezed(network, centre=self.centre, scale=self.scale)


def narrow(model: Model) -> dict[str, Any]:
    """Those options of the tiny variant that leave the halo as it is: all layers, few features."""
    default = model.geometry_for({})
    return {name: value for name, value in model.tiny.items() if model.geometry_for({name: value}) == default}


def restorer(model: Model) -> Restorer:
    """One of random weights, whose picture is neither black nor white."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = varied(model.build(narrow(model)).eval())
    step = model.geometry_for({}).multiple_of
    side = -(-48 // step) * step
    with torch.no_grad():
        made = network(torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1)))
    squeezed = Squeezed(network, centre=made.mean(), scale=made.std())
    return Restorer(squeezed.eval(), model=model, options=narrow(model), device="cpu", dtype="float32")


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).random((height, width, 3), dtype=np.float32)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_tiles_with_the_declared_halo_give_the_whole_picture(model: Model) -> None:
    """Sizes off the grid and primes, tiles of awkward sizes; strips where a square would be large.

    But for rounding: 1e-5, or twice what becomes of the input's last bit where a deep network at random makes more of it.
    """
    whole = restorer(model).retiled("none")
    halo = model.geometry_for({}).reach
    assert halo is not None
    strips = halo > 60
    sizes = [(2 * halo + 67, 2 * halo + 83)] if not strips else [(17, 2 * halo + 131), (2 * halo + 97, 13)]
    for height, width in sizes:
        tile = (
            (23, 29) if whole.geometry.halo is not None else (61, 73)
        )  # tiles that are told are run many times
        tiled = whole.retiled(tile, overlap=halo, statistics="exact")
        plan = tiled.plan(height, width, pixels=np.float32)
        assert plan.exact
        assert plan.num_tiles > 1
        image = picture(height, width)
        expected = whole.restore_array(image)
        assert expected.std() > 0.02
        rounding = float(np.abs(whole.restore_array(np.nextafter(image, np.float32(1))) - expected).max())
        allowed = 1e-5 if rounding <= 1e-5 else 2 * rounding
        np.testing.assert_allclose(tiled.restore_array(image), expected, rtol=0, atol=allowed)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_smallest_pictures_are_restored_in_one_exact_tile(model: Model) -> None:
    found = restorer(model)
    for height, width in ((1, 1), (1, 7), (5, 3), (13, 1)):
        image = picture(height, width)
        assert found.plan(height, width, pixels=np.float32).exact
        restored = found.restore_array(image)
        assert restored.shape == image.shape
        np.testing.assert_array_equal(found.retiled(4, statistics="exact").restore_array(image), restored)


def test_a_tenth_of_the_halo_shows() -> None:
    """What the first test looks for is there to be seen."""
    (model,) = [model for model in MODELS if model.name == "unet16"]
    whole = restorer(model).retiled("none")
    image = picture(150, 150)
    difference = np.abs(whole.retiled(23, overlap=5).restore_array(image) - whole.restore_array(image))
    assert difference.max() > 1e-4
