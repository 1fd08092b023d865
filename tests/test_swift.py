"""swift is the network that its docstring describes: wiring, start, geometry, recipes."""

import numpy as np
import pytest
import torch

from deblur_swift import MODELS
from deblur_swift.network import Swift

Array = np.ndarray
(SWIFT,) = MODELS


def conv(x: Array, weight: Array, bias: Array) -> Array:
    """Shifted products over a frame of zeros, for kernels of odd side: (C, H, W) -> (O, H, W)."""
    side, (height, width) = weight.shape[2], x.shape[1:]
    padded = np.pad(x, ((0, 0), (side // 2, side // 2), (side // 2, side // 2)))
    y = sum(
        np.einsum("oi,ihw->ohw", weight[:, :, row, column], padded[:, row : row + height, column : column + width])
        for row in range(side)
        for column in range(side)
    )  # fmt: skip
    return y + bias[:, None, None]


def fold(x: Array, side: int) -> Array:
    """Squares to channels: colour by colour, within one row by row."""
    return np.stack(
        [plane[row::side, column::side] for plane in x for row in range(side) for column in range(side)]
    )


def unfold(x: Array, side: int) -> Array:
    y = np.empty((len(x) // side**2, x.shape[1] * side, x.shape[2] * side))
    for number, plane in enumerate(x):
        colour, place = divmod(number, side**2)
        y[colour, place // side :: side, place % side :: side] = plane
    return y


def restated(
    network: Swift, blurry: Array, *, fold_side: int, levels: int, blocks: int, middle: int
) -> Array:
    """The network once more, in float64 NumPy: (3, H, W) -> (3, H, W)."""
    state = {name: value.double().numpy() for name, value in network.state_dict().items()}

    def layer(x: Array, name: str) -> Array:
        return conv(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def unit(x: Array, name: str, count: int) -> Array:
        for number in range(count):
            x = x + layer(np.maximum(layer(x, f"{name}.{number}.first"), 0), f"{name}.{number}.second")
        return x

    def down(
        x: Array, name: str
    ) -> Array:  # a 2x2 kernel with a stride of 2 is a 1x1 kernel on folded squares
        weight = state[f"{name}.weight"].reshape(2 * len(x), -1, 1, 1)
        return conv(fold(x, 2), weight, state[f"{name}.bias"])

    x = layer(fold(blurry - 0.5, fold_side), "input")
    skips = []
    for level in range(levels - 1):
        skips.append(unit(x, f"encoder.{level}", blocks))
        x = down(skips[-1], f"down.{level}")
    x = unit(x, "middle", middle)
    for level, skip in enumerate(reversed(skips)):
        x = unit(unfold(layer(x, f"up.{level}.0"), 2) + skip, f"decoder.{level}", blocks)
    return blurry + unfold(layer(x, "output"), fold_side)


def scrambled(network: Swift) -> Swift:
    """With all weights at random, so that no part is silent."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in network.parameters():
            value.copy_(torch.randn(value.shape, generator=generator) / value[0].numel() ** 0.5)
    return network.eval()


@pytest.mark.parametrize(
    ("fold_side", "levels", "blocks", "middle"), [(2, 3, 2, 1), (1, 2, 1, 2), (4, 1, 0, 1), (2, 2, 0, 0)]
)
def test_the_network_is_what_its_docstring_says(
    fold_side: int, levels: int, blocks: int, middle: int
) -> None:
    network = scrambled(Swift(width=4, fold=fold_side, levels=levels, blocks=blocks, middle=middle))
    side = 2 * fold_side * 2 ** (levels - 1)
    blurry = np.random.default_rng(1).random((3, side, 2 * side))
    with torch.no_grad():
        found = network.double()(torch.from_numpy(blurry)[None])[0].numpy()
    wanted = restated(network, blurry, fold_side=fold_side, levels=levels, blocks=blocks, middle=middle)
    # the residual is added in float32
    assert np.abs(found - wanted).max() < 1e-6 * np.abs(wanted).max()
    assert np.abs(wanted - blurry).max() > 0.1


def test_a_fresh_network_returns_its_input_and_learns_everywhere() -> None:
    torch.manual_seed(0)
    network = Swift()
    blurry = torch.rand(2, 3, 64, 48)
    assert torch.equal(network(blurry), blurry)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):  # the first step moves the output alone
        optimizer.zero_grad()
        (network(blurry) - torch.rand(2, 3, 64, 48)).square().mean().backward()
        optimizer.step()
    assert all(value.grad is not None and value.grad.abs().max() > 0 for value in network.parameters())


def test_a_convolution_costs_the_same_at_every_level() -> None:
    """Twice the features at half the resolution: 2304 multiply-accumulates a pixel of the picture, at a width of 32."""
    network = Swift()
    costs = {
        name: network.get_parameter(f"{name}.0.first.weight").numel() / stride**2
        for name, stride in (
            ("encoder.0", 2),
            ("encoder.1", 4),
            ("middle", 8),
            ("decoder.0", 4),
            ("decoder.1", 2),
        )
    }
    assert set(costs.values()) == {2304.0}


def test_the_recipe_for_photographs_names_all_its_data() -> None:
    mixture = SWIFT.recipes["photo"].mixture
    assert mixture is not None
    assert set(mixture.shares) == {"gopro", "reds", "reds_x4", "photos"}
    assert SWIFT.recipes["photo"].patch % SWIFT.geometry_for({}).multiple_of == 0
