"""eddensenet: an encoder-decoder of densely connected layers without skips from one to the other.

From the "Deep Deblurring project" (Dicosola; Bologna, 2020). It follows G. Huang, Z. Liu, L. van der Maaten, K. Weinberger,
"Densely Connected Convolutional Networks", CVPR 2017 (arXiv 1608.06993); differences there: a layer passes on its input
normalised and rectified, not raw, the way down is a strided convolution instead of average pooling, and a decoder follows.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deblur_cli.networks import (
    PHOTO_MEAN,
    PHOTO_STD,
    ConvNormAct,
    InferenceForm,
    calibrate_norms,
    glorot_uniform,
    keras_norm,
)

COLOURS = 3
_STEEPNESS = 4.6  # of the sigmoid that is nearest to the identity on [0, 1]
_SQUARE = ((0, 0), (0, 1), (1, 0), (1, 1))


class DenseLayer(nn.Module):
    """y = ReLU(batch norm(x)); z = conv3(ReLU(batch norm(conv1(y)))); both y and z are passed on."""

    def __init__(self, before: int, growth: int) -> None:
        super().__init__()
        self.norm = keras_norm(before)
        self.narrow = ConvNormAct(nn.Conv2d(before, 4 * growth, 1, bias=False), nn.ReLU(inplace=True))
        self.grow = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C + growth, H, W)."""
        y = F.relu(self.norm(x), inplace=True)
        return torch.cat([y, self.grow(self.narrow(y))], dim=1)


class Down(nn.Module):
    """Batch norm -> ReLU -> conv1 to half the features -> conv2 with stride 2."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = keras_norm(features)
        self.halve = nn.Conv2d(features, features // 2, 1, bias=False)
        self.reduce = nn.Conv2d(features // 2, features // 2, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C / 2, H / 2, W / 2)."""
        y: Tensor = self.reduce(self.halve(F.relu(self.norm(x), inplace=True)))
        return y


class EDDenseNet(nn.Module):
    """(B, 3, H, W) in [0, 1] to the same shape, in (0, 1). H and W are multiples of 4.

    Parameters
    ----------
    growth : features that each dense layer adds, and that the first convolution and the bottleneck give
    layers : dense layers at full and at half resolution of the encoder and at full resolution of the decoder; half as many
        elsewhere. 6 with a growth of 16 gives eddensenet with 424,927 parameters
    """

    def __init__(self, *, growth: int = 16, layers: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(COLOURS, growth, 3, padding=1)
        features = growth
        encoder: list[nn.Module] = []
        for num_layers in (layers, layers):
            encoder.append(_dense(features, growth, num_layers))
            features += num_layers * growth
            encoder.append(Down(features))
            features //= 2
        encoder.append(_dense(features, growth, layers // 2))
        features += layers // 2 * growth
        self.encoder = nn.Sequential(*encoder)
        self.bottleneck = ConvNormAct(nn.Conv2d(features, growth, 1), nn.ReLU(inplace=True))
        features = growth
        decoder: list[nn.Module] = []
        for num_layers in (layers // 2, layers):
            up = nn.ConvTranspose2d(features, features, 2, stride=2)
            decoder += [ConvNormAct(up, nn.ReLU(inplace=True)), _dense(features, growth, num_layers)]
            features += num_layers * growth
        self.decoder = nn.Sequential(*decoder)
        self.output = nn.ConvTranspose2d(features, COLOURS, 1)
        glorot_uniform(self)

    def forward(self, blurry: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> restored, float32."""
        x = self.encoder(F.relu(self.stem(blurry), inplace=True))
        return torch.sigmoid(self.output(self.decoder(self.bottleneck(x))).float())

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        """An equivalent, faster module that takes and returns float32 and computes in `dtype`."""
        return InferenceForm(self, dtype)


def _dense(before: int, growth: int, num_layers: int) -> nn.Sequential:
    return nn.Sequential(*(DenseLayer(before + i * growth, growth) for i in range(num_layers)))


def start_at_half_resolution(network: EDDenseNet) -> None:
    """Lead the picture through, reduced to its half, so that training starts from that; norms know their input.

    More does not fit through the bottleneck: at a quarter of the resolution these are 12 features, the colours of four pixels
    of the reduced picture. Networks of less growth start at random, as all features do that carry no colour.
    """
    if network.stem.out_channels >= len(_SQUARE) * COLOURS:
        with torch.no_grad():
            _lead_through(network)
    calibrate_norms(network)


def _lead_through(network: EDDenseNet) -> None:
    shrink, deal = network.encoder[1], network.encoder[3]
    gather, enlarge = network.decoder[0], network.decoder[2]
    assert isinstance(shrink, Down)
    assert isinstance(deal, Down)
    assert isinstance(gather, ConvNormAct)
    assert isinstance(enlarge, ConvNormAct)
    carried = len(_SQUARE) * COLOURS
    for module in network.modules():
        if isinstance(module, DenseLayer | Down) or module in (network.bottleneck, gather, enlarge):
            module.norm.weight[:carried] = (PHOTO_STD**2 + module.norm.eps) ** 0.5
            module.norm.bias[:carried] = PHOTO_MEAN
    reading = ((network.stem, COLOURS), (shrink.halve, COLOURS), (deal.halve, COLOURS))
    for conv, features in (*reading, (network.bottleneck.conv, carried)):
        conv.weight[:features] = 0
        middle = conv.kernel_size[0] // 2
        for feature in range(features):
            conv.weight[feature, feature, middle, middle] = 1
    shrink.reduce.weight[:COLOURS] = deal.reduce.weight[:carried] = 0
    gather.conv.weight[:, :COLOURS] = enlarge.conv.weight[:, :COLOURS] = 0
    network.output.weight.zero_()
    for colour in range(COLOURS):
        shrink.reduce.weight[colour, colour] = 1 / len(_SQUARE)
        for number, place in enumerate(_SQUARE):
            dealt = number * COLOURS + colour
            deal.reduce.weight[(dealt, colour, *place)] = 1
            gather.conv.weight[(dealt, colour, *place)] = 1
        enlarge.conv.weight[colour, colour] = 1
        network.output.weight[colour, colour] = _STEEPNESS
    assert network.output.bias is not None
    network.output.bias.fill_(-_STEEPNESS / 2)
