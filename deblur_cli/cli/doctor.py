"""`deblur doctor`: what is installed, what works, and what to do about the rest."""

import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from deblur_cli import __version__
from deblur_cli.cli import console
from deblur_cli.cli.defaults import SETTINGS, read_defaults, settings_path, variable
from deblur_cli.cli.errors import diagnose
from deblur_cli.cli.options import Json, Quiet, Verbose
from deblur_cli.errors import CheckFailed, DeblurError

if TYPE_CHECKING:
    from deblur_cli.host.manager import Host

_LIBRARIES = (
    "torch", "numpy", "typer", "rich", "pillow", "opencv-python", "opencv-python-headless", "scikit-image", "tifffile",
    "safetensors", "pluggy", "platformdirs", "pooch", "pillow-heif", "av", "matplotlib", "tensorboard",
)  # fmt: skip
_VARIABLES = (
    "DEBLUR_DATA",
    "DEBLUR_PLUGINS",
    "DEBLUR_PLUGINS_DISABLE",
    "DEBLUR_STRICT",
    "DEBLUR_CONFIG",
    "DEBLUR_CACHE",
    "NO_COLOR",
)

Section = dict[str, object]
"""What one part of the report found, by name."""


def doctor(json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Show versions, devices, plugins, weights and settings, and restore a small picture as a test.

    The text can be pasted into a bug report as it is. The exit code is 3 where something is wrong.

    Examples:

        deblur doctor

        deblur doctor --json > doctor.json
    """
    from deblur_cli.host.manager import Host

    host = Host.discover()
    problems: list[str] = []
    parts: dict[str, Callable[[list[str]], Section]] = {
        "program": _program,
        "libraries": _libraries,
        "devices": _devices,
        "plugins": lambda found: _plugins(host, found),
        "weights": lambda found: _weights(host, found),
        "settings": _settings,
        "folders": _folders,
        "self-test": lambda found: _self_test(host, found),
    }
    report = {name: _guarded(part, problems) for name, part in parts.items()}
    if json:
        console.json_line({**report, "problems": problems})
    else:
        _print_report(report, problems)
    if problems:
        raise CheckFailed(f"doctor found {len(problems)} problem{'s' if len(problems) > 1 else ''}")


def _guarded(part: Callable[[list[str]], Section], problems: list[str]) -> Section:
    """One part of the report. Whatever breaks in it is a finding: this command must answer when nothing else does."""
    try:
        return part(problems)
    except Exception as error:
        text = diagnose(error).text
        problems.append(text.splitlines()[0])
        return {"error": text}


def _program(problems: list[str]) -> Section:
    return {
        "deblur": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "installed in": str(Path(__file__).parents[2]),
    }


def _libraries(problems: list[str]) -> Section:
    found: Section = {name: version for name in _LIBRARIES if (version := _version(name)) is not None}
    if {"opencv-python", "opencv-python-headless"} <= found.keys():
        problems.append(
            "opencv-python and opencv-python-headless are both installed and overwrite each other's files; "
            "pip uninstall both, then install one"
        )
    try:
        import cv2  # noqa: F401  only whether it loads
    except ImportError as error:
        found["cv2"] = f"does not load: {error}"
        problems.append(
            f"OpenCV does not load ({error}); apt-get install libgl1, or pip install opencv-python-headless"
        )
    return found


def _version(distribution: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _devices(problems: list[str]) -> Section:
    import torch

    from deblur_cli.restore.devices import pick_device, pick_precision
    from deblur_cli.restore.memory import format_size, free_memory

    chosen = pick_device("auto")
    found: Section = {
        "auto": f"{chosen} in {pick_precision('auto', device=chosen).name}",
        "memory": f"{format_size(free_memory(torch.device('cpu')))} free",
        "cpu": f"{_cpu_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads used",
    }
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        found[f"cuda:{index}"] = (
            f"{torch.cuda.get_device_name(index)}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        )
    if torch.backends.mps.is_available():
        found["mps"] = "available"
    return found


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _plugins(host: "Host", problems: list[str]) -> Section:
    found: Section = {
        plugin.name: f"{plugin.distribution or plugin.module} {plugin.version}".strip()
        for plugin in host.plugins
    }
    for failure in host.failures:
        found[failure.plugin] = f"set aside at {failure.stage}: {failure.error}"
        problems.append(
            f"plugin {failure.plugin} is set aside ({failure.stage}): {failure.error}; see: deblur plugins check {failure.plugin}"
        )
    found.update(dict.fromkeys(host.disabled, "left out by DEBLUR_PLUGINS_DISABLE"))
    return found


def _weights(host: "Host", problems: list[str]) -> Section:
    from deblur_cli.host.inspection import released_path
    from deblur_cli.weights import file_sha256

    found: Section = {}
    for name, model in host.models.items():
        for item in model.weights:
            path = released_path(model, item)
            if path is None:
                found[f"{name}.{item.tag}"] = f"not installed ({item.file})"
                problems.append(
                    f"weights {name}.{item.tag} are not installed; reinstall the package that brings {name}"
                )
                continue
            measured = file_sha256(path)
            damaged = item.sha256 is not None and measured != item.sha256
            found[f"{name}.{item.tag}"] = (
                f"{path}, {path.stat().st_size:,} bytes, sha256 {measured}{', DAMAGED' if damaged else ''}"
            )
            if damaged:
                problems.append(
                    f"{path} is damaged: its SHA-256 is not the declared one; reinstall the package that brings {name}"
                )
        if not model.weights:
            found[name] = "none released"
    return found


def _settings(problems: list[str]) -> Section:
    path = settings_path(os.environ)
    found: Section = {"file": f"{path}{'' if path.exists() else ' (does not exist)'}"}
    for name, default in read_defaults(os.environ).items():
        found[name] = f"{default.value} (from {default.source})"
    found.update({name: os.environ[name] for name in _VARIABLES if name in os.environ})
    known = {variable(name) for name in SETTINGS} | set(_VARIABLES)
    for name in sorted(set(os.environ) - known):
        if name.startswith("DEBLUR_"):
            found[name] = f"{os.environ[name]} (means nothing to deblur)"
    root = os.environ.get("DEBLUR_DATA")
    if root and not Path(root).is_dir():
        problems.append(f"DEBLUR_DATA names {root}, which is no folder")
    return found


def _folders(problems: list[str]) -> Section:
    from deblur_cli.host.folders import cache_folder, log_folder

    return {"cache": str(cache_folder(os.environ)), "bug reports": str(log_folder())}


def _self_test(host: "Host", problems: list[str]) -> Section:
    """Restore a crop of a photograph with the default model, as a user would."""
    import numpy as np
    from skimage import data

    import deblur_cli

    photograph = data.astronaut()  # type: ignore[no-untyped-call]  # scikit-image is not annotated
    picture = np.ascontiguousarray(photograph[:64, 128:192])
    start = time.perf_counter()
    chosen = read_defaults(os.environ).get("model")
    try:
        restorer = deblur_cli.load(str(chosen.value) if chosen else None, host=host)
        restored = restorer.restore_array(picture)
    except DeblurError as error:
        problems.append(f"self-test: {error}")
        return {"result": f"failed: {error}"}
    change = float(np.abs(restored.astype(float) - picture).mean())
    return {
        "result": "restored a photograph of 64x64 px",
        "model": restorer.label,
        "device": str(restorer.device),
        "dtype": restorer.dtype,
        "seconds": round(time.perf_counter() - start, 3),
        "mean change, grey levels": round(change, 3),
    }


def _print_report(report: Mapping[str, Section], problems: list[str]) -> None:
    for title, section in report.items():
        console.result(title)
        width = max((len(name) for name in section), default=0)
        for name, value in section.items():
            console.result(f"  {name:<{width}}  {value}")
    console.result("problems" if problems else "no problems found")
    for problem in problems:
        console.result(f"  {problem}")
