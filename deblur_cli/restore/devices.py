"""Where a network runs and in which precision."""

import os
import platform
from dataclasses import dataclass

import torch

from deblur_cli.errors import MissingError, UsageError

KERNEL_CACHE = 64
"""Kernels that oneDNN keeps on a CPU. Each shape of picture needs its own, of up to 0.7 MB; with its default of 1024
memory grew by 240 MB over 300 pictures of changing size. 64 still hold those of one network for one shape."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Which dtype the convolutions run in.

    dtype : for pictures of 8 bit
    chosen : whether the program chose it, not the user
    """

    dtype: torch.dtype
    chosen: bool

    @property
    def name(self) -> str:
        """Such as "bfloat16"."""
        return dtype_name(self.dtype)


def dtype_name(dtype: torch.dtype) -> str:
    """The name without "torch."."""
    return str(dtype).removeprefix("torch.")


def pick_device(name: str) -> torch.device:
    """The device that `--device` names: auto, cpu, cuda, cuda:N or mps.

    "auto" takes CUDA where there is one, else MPS, else the CPU. Nothing else is ever replaced by something slower.

    Raises
    ------
    MissingError : this machine has no such device
    UsageError : there is no device of that name anywhere
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and (kind != "cuda" or not number.isdecimal())):
        raise UsageError(f"there is no device {name!r}; give auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda":
        _require_cuda(name, number=int(number or 0))
    if kind == "mps" and not torch.backends.mps.is_available():
        raise MissingError(
            "device mps is not there: this PyTorch sees no Apple GPU; use --device cpu or auto"
        )
    return torch.device(name)


def pick_precision(name: str, *, device: torch.device) -> Precision:
    """The precision that `--dtype` names: auto, float32, bfloat16 or float16.

    "auto" takes bfloat16 where it is the faster one (AMX or SVE on a CPU, Ampere or newer of CUDA), else float32. Raises
    UsageError for another name.
    """
    if name == "auto":
        return Precision(dtype=torch.bfloat16 if has_fast_bfloat16(device) else torch.float32, chosen=True)
    if name not in DTYPES:
        raise UsageError(f"there is no dtype {name!r}; give auto, {', '.join(DTYPES)}")
    return Precision(dtype=DTYPES[name], chosen=False)


def limit_kernel_cache() -> None:
    """Keep memory flat over pictures of changing size. Both are read once, before the first convolution.

    The second is PyTorch's own cache in front of oneDNN's; limited alone, either still lets memory grow.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, str(KERNEL_CACHE))


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 faster than float32.

    Of x86 processors those with AMX do. With AVX512-BF16 alone swift and rednet30 took 1.5 and 1.6 times as long as in float32,
    unet20 0.8 times (1280x720, two threads).
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    if platform.machine().lower() in ("arm64", "aarch64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # from oneDNN's own look at the processor
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def _require_cuda(name: str, *, number: int) -> None:
    if not torch.cuda.is_available():
        reason = (
            "this PyTorch was built without CUDA"
            if torch.version.cuda is None
            else "no NVIDIA GPU or driver is found"
        )
        raise MissingError(f"device {name} is not there: {reason}; use --device cpu or auto")
    if number >= torch.cuda.device_count():
        raise MissingError(
            f"device {name} is not there: this machine has {torch.cuda.device_count()}, counted from cuda:0"
        )
