"""VGG16 and VGG19 up to the third convolution of their third block, with weights from torchvision's files.

Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015, table 1, columns D and
E. Names of tensors are those of torchvision, whose files users have: "features.0.weight" and so on, a convolution's
number counting ReLU and pooling layers as well. The layers that are used are the same in both, only their weights differ.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from deblur_cli.errors import UsageError
from deblur_cli.weights.published import read_published, require_numbers

BLOCKS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "vgg16": ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    "vgg19": ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}
"""Output channels of the 3x3 convolutions of each block. A ReLU follows each of them, 2x2 max pooling each block."""

CONV3_3 = 14
"""Number of the third convolution of the third block, in torchvision's count; its ReLU is the next."""

_WANTED = (
    "give --vgg-weights FILE: torchvision's {network} with its IMAGENET1K_V1 weights, .pth or .safetensors"
)


def shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors of the convolutional part, in torchvision's count."""
    found: dict[str, tuple[int, ...]] = {}
    number, inputs = 0, 3
    for block in BLOCKS[network]:
        for outputs in block:
            found[f"features.{number}.weight"] = (outputs, inputs, 3, 3)
            found[f"features.{number}.bias"] = (outputs,)
            number, inputs = number + 2, outputs  # over the ReLU
        number += 1  # over the pooling
    return found


def conv3_3(network: str, path: Path | None, *, before_relu: bool) -> nn.Sequential:
    """The layers up to conv3_3, with weights from a file.

    Parameters
    ----------
    network : "vgg19" or "vgg16"
    path : safetensors, or a .pth that holds nothing but tensors

    Returns
    -------
    (B, 3, H, W) -> (B, 256, H // 4, W // 4)

    Raises
    ------
    MissingError : there is no such file
    UsageError : it cannot be read, or belongs to another network
    """
    tensors = read_published(
        path, user="the loss perceptual", weights=network, wanted=_WANTED.format(network=network)
    )
    _check(network, tensors, path)
    layers: list[nn.Module] = []
    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced
        for number in range(CONV3_3 + (1 if before_relu else 2)):
            if (name := f"features.{number}.weight") in tensors:
                outputs, inputs, *_ = tensors[name].shape
                layers.append(nn.Conv2d(inputs, outputs, kernel_size=3, padding=1))
            elif f"features.{number - 1}.weight" in tensors:
                layers.append(nn.ReLU(inplace=True))
            else:
                layers.append(nn.MaxPool2d(2))
    features = nn.Sequential(*layers)
    own = {
        name: tensors[f"features.{name}"].detach().to(torch.float32, copy=True)
        for name in features.state_dict()
    }
    require_numbers(path, {f"features.{name}": tensor for name, tensor in own.items()})
    features.load_state_dict(own, assign=True)
    return features


def _check(network: str, tensors: Mapping[str, Tensor], path: Path | None) -> None:
    """All of the convolutional part must be there, so that no file of another network passes for this one."""
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items() if name.startswith("features.")}
    wanted = shapes(network)
    if found != wanted:
        other = next((name for name in BLOCKS if found == shapes(name)), None)
        if other is not None:
            raise UsageError(
                f"{path} holds {other}, not {network}; give another file with --vgg-weights, or use this one with "
                f"--set loss.perceptual.network={other}"
            )
        name = next(
            name for name in sorted({*found, *wanted}, key=_place) if found.get(name) != wanted.get(name)
        )
        raise UsageError(
            f"{path} does not hold {network}: {name} is {found.get(name, 'missing')}, it must be "
            f"{wanted.get(name, 'absent')}; {_WANTED.format(network=network)}"
        )


def _place(name: str) -> tuple[int, str]:
    """Sort by layer."""
    number = name.split(".")[1] if name.count(".") > 1 else ""
    return (int(number) if number.isdecimal() else -1), name
