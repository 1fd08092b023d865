"""REDNet30: 30 convolutions with activation before normalisation and symmetric skips.

From the report "Application of Deep Learning on Image Deblurring" (Orlandi, Pinardi; Bologna, 2020), whose authors' code
is nihil21/cnn-deblur; written anew from its facts and figures, under our own licence. The report follows X. Mao, C. Shen,
Y. Yang, "Image Restoration Using Very Deep Convolutional Encoder-Decoder Networks with Symmetric Skip Connections", NIPS
2016; differences to RED30 there: 64 instead of 128 features, ELU and batch norm instead of ReLU. rednet30wgan is the
report's generator for a Wasserstein GAN: the same but for a tanh at the end.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deblur_cli.networks import calibrate_norms, glorot_uniform, keras_norm, let_pass, undo_tanh

COLOURS = 3
MOST_BENDS = 2
"""For each colour and sign. Three come nearer to undoing the tanh, but with weights up to 9, five with 49: these lift whatever
the first steps of training disturb, and thirty layers whose norms are frozen burst."""
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"elu": F.elu, "relu": F.relu, "tanh": torch.tanh}


class Block(nn.Module):
    """conv3 (+ skip) -> activation -> batch norm."""

    def __init__(self, in_channels: int, out_channels: int, *, activation: str = "elu") -> None:
        super().__init__()
        self.activate = ACTIVATIONS[activation]
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = keras_norm(out_channels)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W); `skip` joins the raw convolution output."""
        y: Tensor = self.conv(x)
        if skip is not None:
            y = y + skip
        normed: Tensor = self.norm(self.activate(y))
        return normed


class REDNet(nn.Module):
    """R = ELU(conv1(D) + B): (B, 3, H, W) in [0, 1] to the same shape, in (-1, inf).

    Parameters
    ----------
    depth : convolutions a side; 15 gives REDNet30 with 1,076,739 parameters
    width : features of each convolution
    activation : of the inner layers, a name in `ACTIVATIONS`
    """

    last = "elu"
    """What follows the addition of the picture."""

    def __init__(self, *, depth: int = 15, width: int = 64, activation: str = "elu") -> None:
        super().__init__()
        self.activation = activation
        self.encoder = nn.ModuleList(
            Block(3 if i == 0 else width, width, activation=activation) for i in range(depth)
        )
        self.decoder = nn.ModuleList(Block(width, width, activation=activation) for _ in range(depth))
        self.output = nn.Conv2d(width, 3, 1)
        glorot_uniform(self)

    def forward(self, blurry: Tensor) -> Tensor:
        """(B, 3, H, W) float32 -> restored, float32. The global residual is added in float32 in every dtype."""
        x = blurry
        encoded: list[Tensor] = []
        for block in self.encoder:
            x = block(x)
            encoded.append(x)
        last = len(encoded) - 1
        for i, block in enumerate(self.decoder):
            x = block(x, encoded[last - i] if i % 2 else None)  # d_i of odd i takes E(n-1-i)
        return ACTIVATIONS[self.last](self.output(x).float() + blurry.float())

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        """An equivalent, faster module that takes and returns float32 and computes in `dtype`."""
        from deblur_rednet.inference import StreamedREDNet

        return StreamedREDNet(self, dtype=dtype)


class REDNetWGAN(REDNet):
    """R = tanh(conv1(D) + B): (B, 3, H, W) in [-1, 1] to the same shape, in (-1, 1).

    Parameters
    ----------
    depth, width : as REDNet's; 15 and 64 give rednet30wgan with 1,076,739 parameters
    activation : of the inner layers; "elu" as the report says, "relu" as its code has it by default
    """

    last = "tanh"


def start_at_identity(network: REDNet) -> None:
    """Zero the output convolution: ELU(0 + B) = B for B >= 0, so that training starts from the blurred picture."""
    with torch.no_grad():
        network.output.weight.zero_()
        _bias(network.output).zero_()


def start_near_identity(network: REDNetWGAN) -> None:
    """Lead what undoes the tanh past all that is deep, so that training starts near the blurred picture.

    Each colour is taken in both signs by activations that set in at several values, as many as half the features are enough
    for. They go along the outermost skip, and the output takes them alone: tanh(output + B) = B, nearly. The other
    features start at random as ever; norms know their input.
    """
    encoder, decoder = (
        [block for block in part if isinstance(block, Block)] for part in (network.encoder, network.decoder)
    )
    calibrate_norms(network, signed=True)
    start_at_identity(network)
    count = min(MOST_BENDS, network.output.in_channels // (2 * 2 * COLOURS))
    if not count:
        return
    joined = (
        len(decoder) - 1 - len(decoder) % 2
    )  # the last layer with a skip, from the first encoder layer or the second
    path = [*encoder[: len(decoder) - joined], *decoder[joined:]]
    signs = torch.tensor([1.0, -1.0]).repeat_interleave(count)
    onsets = torch.tanh(torch.linspace(0, 2, count + 1)[:-1]).repeat(2)
    activate = ACTIVATIONS[network.activation]
    weights = undo_tanh(lambda colours: activate(signs * colours[:, None] - onsets))
    bent = COLOURS * len(signs)
    with torch.no_grad():
        for number, block in enumerate(path):
            let_pass(block.norm, slice(0, bent))
            block.conv.weight[:bent] = 0
            if number and block is not decoder[joined]:
                block.conv.weight[range(bent), range(bent), 1, 1] = 1
            _bias(block.conv)[:bent] = (
                1 if number == 1 else 0
            )  # nothing is below -1: no activation changes it again
        for colour in range(COLOURS):
            own = slice(colour * len(signs), (colour + 1) * len(signs))
            path[0].conv.weight[own, colour, 1, 1] = signs
            _bias(path[0].conv)[own] = -onsets
            network.output.weight[colour, own, 0, 0] = weights
            _bias(network.output)[colour] = -weights.sum()  # of the 1 that was added


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
