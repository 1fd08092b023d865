"""resnet16 is the network that its report describes: count by part, wiring, statistics, recipe; its start is the identity."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deblur_cli import ConstantRate
from deblur_cli.networks import PHOTO_MEAN, PHOTO_STD, calibrate_norms
from deblur_resnet import MODELS
from deblur_resnet.network import ResNet, start_near_identity

Array = np.ndarray


def restated(network: ResNet, blurry: Array) -> Array:
    """The report's network once more, in float64 NumPy: (3, H, W) -> (3, H, W)."""
    state = {name: value.double().numpy() for name, value in network.state_dict().items()}

    def linear(x: Array, name: str, *, stride: int, transposed: bool) -> Array:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        y = scatter(x, weight, stride=stride) if transposed else gather(x, weight)[:, ::stride, ::stride]
        return y + bias[:, None, None]

    def block(x: Array, name: str, *strides: int, transposed: bool) -> Array:
        main = x
        for number, stride in enumerate(strides):
            main = linear(main, f"{name}.main.{number}.conv", stride=stride, transposed=transposed)
            mean, var, gain, shift = (
                state[f"{name}.main.{number}.norm.{part}"][:, None, None]
                for part in ("running_mean", "running_var", "weight", "bias")
            )
            main = np.maximum((main - mean) / np.sqrt(var + 1e-3) * gain + shift, 0)
        return main + linear(x, f"{name}.skip", stride=max(strides), transposed=transposed)

    x = block(blurry, "encoder.0", 1, 1, transposed=False)
    for number in (1, 2, 3):
        x = block(x, f"encoder.{number}", 2, 1, transposed=False)
    for number in (0, 1, 2):
        x = block(x, f"decoder.{number}", 1, 2, transposed=True)
    return block(x, "output", 1, transposed=True)


def gather(x: Array, weight: Array) -> Array:
    """A convolution: shifted products over a frame of zeros."""
    height, width = x.shape[1:]
    side = weight.shape[2]
    padded = np.pad(x, ((0, 0), (side // 2, side // 2), (side // 2, side // 2)))
    return sum(
        np.einsum("oi,ihw->ohw", weight[:, :, row, column], padded[:, row : row + height, column : column + width])
        for row in range(side)
        for column in range(side)
    )  # fmt: skip


def scatter(x: Array, weight: Array, *, stride: int) -> Array:
    """A transposed convolution by its definition: each pixel adds its kernel, centred on `stride` times its place."""
    _, height, width = x.shape
    side = weight.shape[2]
    y = np.zeros((weight.shape[1], stride * height + side - 1, stride * width + side - 1))
    for row in range(height):
        for column in range(width):
            top, left = stride * row, stride * column
            y[:, top : top + side, left : left + side] += np.einsum("i,iokl->okl", x[:, row, column], weight)
    frame = side // 2
    return y[:, frame : frame + stride * height, frame : frame + stride * width]


def trained(width: int) -> ResNet:
    """A network whose biases, scales and statistics have left their start, in eval mode and float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ResNet(width=width)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                nn.init.normal_(module.running_mean, 0, 0.2)
                nn.init.uniform_(module.running_var, 0.2, 1.5)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.3)
            elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                assert module.bias is not None
                nn.init.normal_(module.bias, 0, 0.3)
    return network.double().eval()


def noise(height: int, width: int, *, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, 3, height, width, dtype=torch.float64, generator=generator)


def counted(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_every_block_has_the_reports_number_of_parameters() -> None:
    """Two 3x3 convolutions with their norms, and a skip; all with biases."""
    network = ResNet()
    wide = {3: 64, 64: 128, 128: 256, 256: 512}
    blocks = [9 * a * b + 9 * b * b + 2 * b + 4 * b + a * b + b for a, b in wide.items()]
    assert [counted(block) for block in network.encoder] == blocks
    narrow = {512: 256, 256: 128, 128: 64}
    blocks = [9 * a * b + 9 * b * b + 2 * b + 4 * b + a * b + b for a, b in narrow.items()]
    assert [counted(block) for block in network.decoder] == blocks
    assert counted(network.output) == (64 * 3 + 3) + 6 + (64 * 3 + 3)
    assert counted(network) == 7_360_396


@pytest.mark.parametrize(("height", "width"), [(16, 24), (8, 8)])
def test_the_network_equals_an_independent_statement_of_the_report(height: int, width: int) -> None:
    network = trained(2)
    blurry = noise(height, width)
    restored = network(blurry).detach()
    np.testing.assert_allclose(restored[0].numpy(), restated(network, blurry[0].numpy()), atol=1e-10)
    assert restored.min() < 0  # nothing follows the last addition


def test_the_skip_of_a_doubling_writes_one_pixel_in_four_and_its_bias_into_the_others() -> None:
    skip = trained(2).decoder[0].skip
    written = skip(torch.ones(1, 16, 3, 4, dtype=torch.float64)).detach()
    assert written.shape == (1, 8, 6, 8)
    bias = skip.bias.detach()[:, None, None]
    assert torch.equal(written[0, :, 1::2], bias.expand(8, 3, 8))
    assert torch.equal(written[0, :, :, 1::2], bias.expand(8, 6, 4))
    assert (written[0, :, ::2, ::2] != bias).any()


def test_training_starts_from_the_picture_wherever_the_bottleneck_can_hold_it() -> None:
    network = ResNet(width=48)
    start_near_identity(network)
    blurry = noise(16, 24, batch=2).float()
    restored = network.eval()(blurry)
    assert (restored - blurry).abs().max() < 2e-3
    (restored - blurry.flip(-1)).square().mean().backward()
    for convolution in (network.encoder[3].main[1].conv, network.decoder[0].skip, network.output.skip):
        assert convolution.weight.grad is not None
        assert convolution.weight.grad.abs().max() > 0


def test_a_narrower_network_starts_at_random_but_with_calibrated_norms() -> None:
    network = ResNet(width=8)
    start_near_identity(network)
    restored = network.eval()(noise(16, 16).float())
    assert restored.isfinite().all()
    assert 0.1 < restored.std() < 10


def test_calibrated_norms_have_the_statistics_of_photographs() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1, groups=3), nn.BatchNorm2d(3, momentum=0.01))
    conv, norm = network
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    calibrate_norms(network)
    assert conv.bias is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = conv.weight.detach().flatten()
    torch.testing.assert_close(norm.running_mean, gain * PHOTO_MEAN + conv.bias.detach())
    torch.testing.assert_close(norm.running_var, (gain * PHOTO_STD) ** 2, rtol=2e-3, atol=1e-7)
    assert norm.momentum == 0.01


def test_the_reports_recipe_is_the_literal_one() -> None:
    recipe = MODELS[0].recipes["report"]
    assert (recipe.loss, recipe.optimizer.lr, recipe.optimizer.eps) == ("logcosh", 1e-3, 1e-7)
    assert (recipe.batch_size, recipe.epochs, recipe.flips) == (32, 120, "both")
    assert recipe.schedule == ConstantRate()
    assert recipe.early_stopping is None
