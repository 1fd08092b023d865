"""What generators and critics of one report have in common: how they attend, how their kernels start and are bounded."""

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from deblur_cli.networks.attention import SelfAttention
from deblur_cli.networks.whole_picture import ChannelAttention, InstanceNorm

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def attend(features: int, kind: str) -> list[nn.Module]:
    """Self-attention (sa), with channel attention after it (sa+ca), or nothing (none); layers of that many features."""
    layers: list[nn.Module] = [] if kind == "none" else [SelfAttention(features)]
    return [*layers, channel_attention(features)] if kind == "sa+ca" else layers


def channel_attention(features: int) -> ChannelAttention:
    """That of pix2pix: a sixteenth of the features between its two dense layers, LeakyReLU, no bias."""
    return ChannelAttention(features, reduction=16, bias=False, activation=nn.LeakyReLU(0.2))


def start_normal(network: nn.Module) -> None:
    """As Isola et al. (2017) do, in place: kernels N(0, 0.02), biases zero, factors of norms N(1, 0.02)."""
    for module in network.modules():
        if isinstance(module, _CONVOLUTIONS):
            nn.init.normal_(module.weight, 0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d | InstanceNorm) and module.weight is not None:
            nn.init.normal_(module.weight, 1, 0.02)


def bound_kernels(network: nn.Module, *, channel_attention: bool = False) -> None:
    """Divide each kernel by its largest singular value, in place (Miyato et al., ICLR 2018, arXiv 1802.05957).

    A kernel counts as a matrix of outputs by all else. One power iteration each time that the network is called in training
    mode; outside of it the last estimate stays. Kernels on the meta device, which has no values, stay as they are.

    channel_attention : whether its dense layers, which are 1x1 convolutions here, count as kernels
    """
    free = {
        layer
        for module in network.modules()
        if isinstance(module, ChannelAttention) and not channel_attention
        for layer in module.modules()
    }
    for module in list(network.modules()):
        if isinstance(module, _CONVOLUTIONS) and module not in free and not module.weight.is_meta:
            spectral_norm(module)
