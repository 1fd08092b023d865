"""How the reports' networks begin."""

from torch import nn

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def glorot_uniform(network: nn.Module) -> None:
    """Keras' defaults, in place: kernels of convolutions and transposed ones Glorot uniform, biases zero."""
    for module in network.modules():
        if isinstance(module, _CONVOLUTIONS):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
