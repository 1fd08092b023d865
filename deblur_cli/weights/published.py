"""Files of tensors as others publish them: safetensors, or a .pth that holds nothing but tensors."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from deblur_cli.errors import MissingError, UsageError


def read_published(path: Path | None, *, user: str, weights: str, wanted: str) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU. No code that a file may hold is run.

    Parameters
    ----------
    path : None where the user named no file
    user, weights : what needs which weights, for messages: "the loss perceptual", "vgg19"
    wanted : how the right file is given, the end of every message

    Raises
    ------
    MissingError : there is no such file
    UsageError : it cannot be read
    """
    if path is None:
        raise MissingError(
            f"{user} needs the weights of {weights}, which do not come with this program; {wanted}"
        )
    if not path.is_file():
        raise MissingError(f"the {weights} weights {path} of {user} do not exist; {wanted}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is no file of torch's; that is said below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} cannot be read ({error}); {wanted}") from error
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{path} is damaged, or holds more than tensors, which could run code when it is read; {wanted}"
        ) from error
    except Exception as error:  # the reader of a damaged pickle may stumble over anything
        raise UsageError(
            f"{path} is no file of tensors, or damaged ({type(error).__name__}); {wanted}"
        ) from error
    if not isinstance(content, Mapping):
        raise UsageError(f"{path} holds no tensors by name; {wanted}")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def require_numbers(path: Path | None, tensors: Mapping[str, Tensor]) -> None:
    """Raise UsageError where a tensor holds NaN or infinity."""
    broken = next((name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())), None)
    if broken is not None:
        raise UsageError(f"{path} is damaged: {broken} holds values that are no numbers; get it anew")
