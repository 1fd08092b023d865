"""Where a run was made: versions, device, threads. Under others it does not repeat bit for bit."""

import platform
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from deblur_cli import __version__
from deblur_cli.host.declarations import Model
from deblur_cli.host.manager import Host
from deblur_cli.restore.devices import dtype_name
from deblur_cli.training.learning import Placement
from deblur_cli.training.processes import Processes


def environment_of(placement: Placement, processes: Processes, *, host: Host, model: Model) -> dict[str, Any]:
    """What a result depends on besides the request."""
    return {
        "deblur_cli": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": str(placement.device),
        "dtype": dtype_name(placement.compute),
        "threads": torch.get_num_threads(),
        "processes": processes.count,
    } | _versions(host, model)


def _versions(host: Host, model: Model) -> dict[str, str]:
    """Of what makes pictures and networks, besides PyTorch; what a processor can do decides on last digits."""
    plugin = host.plugin_of(model)
    found = {"plugin": " ".join(filter(None, (plugin.distribution or plugin.name, plugin.version)))}
    for name in ("pillow", "opencv-python", "opencv-python-headless"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found | {"cpu": torch.backends.cpu.get_cpu_capability()}


def environment_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is not as it was, in words."""
    return [
        f"{name} was {before.get(name)}, is {value}"
        for name, value in now.items()
        if before.get(name) != value
    ]
