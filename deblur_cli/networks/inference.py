"""Networks in the form that restores pictures: the same function with fewer passes over the activations."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval

from deblur_cli.networks.blocks import ConvNormAct

_REDUCED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class InferenceForm(nn.Module):
    """The function of a network in eval mode: (B, 3, H, W) float32 to the same shape, in float32.

    Against the network under autocast

    * the batch norm of each `ConvNormAct` is folded into its convolution, in float64, and spectral norms into kernels;
    * kernels are cast once, and lie channels last, as convolutions on a CPU like both them and the picture best.

    Everything else runs as the network's own `forward` has it: what is in float32 there, such as the sum with the
    picture, stays so. In float32 the results differ by rounding alone.

    Parameters
    ----------
    network : is copied, not kept; its running statistics count, whatever its mode
    dtype : that convolutions and dense layers compute in
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = deepcopy(network).eval().requires_grad_(False)
        _fold_parametrizations(self.network)
        _fold_norms(self.network)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch leaves it out
        for module in self.network.modules():
            if isinstance(module, _REDUCED):
                module.to(dtype).register_forward_pre_hook(_to(dtype))
            elif isinstance(module, nn.RNNBase | nn.RNNCellBase):
                module.register_forward_pre_hook(_to(torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) float32 -> restored, float32."""
        restored: Tensor = self.network(x)
        return restored.float()


def _fold_parametrizations(network: nn.Module) -> None:
    """Keep what a kernel is made of its parameters, such as one divided by its spectral norm, instead of making it.

    Not by PyTorch's remove_parametrizations: that changes the module's class, which copies share with what they are of.
    """
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            names = [name for name, _ in module.get_submodule("parametrizations").named_children()]
            made = {name: getattr(module, name).detach() for name in names}
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
            for name, value in made.items():
                module.register_parameter(name, nn.Parameter(value, requires_grad=False))


def _fold_norms(network: nn.Module) -> None:
    """Replace each ConvNormAct below a network by one convolution and the activation."""
    for module in list(network.modules()):
        for name, layer in module.named_children():
            if isinstance(layer, ConvNormAct):
                conv = fuse_conv_bn_eval(
                    layer.conv.double(),
                    layer.norm.double(),
                    transpose=isinstance(layer.conv, nn.ConvTranspose2d),
                )
                setattr(module, name, nn.Sequential(conv.float(), layer.activation))


def _to(dtype: torch.dtype) -> Callable[[nn.Module, tuple[object, ...]], tuple[object, ...]]:
    """A hook that casts what a module is called with."""

    def cast(module: nn.Module, inputs: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(value.to(dtype) if isinstance(value, Tensor) else value for value in inputs)

    return cast
