"""The weights file: safetensors whose header says what the tensors are, how they came about and what they score."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from deblur_cli.errors import MissingError, UsageError
from deblur_cli.pictures.atomic import atomic_write

FORMAT_VERSION = 1
_KEY = "deblur"


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A training, as the weights that came of it say.

    licence : of these weights
    training_data, credits : names of the data sets, and whom to credit for them
    specs : by name the SHA-256 of the specs that made the training pairs of them
    recipe, run : the recipe as resolved, and the SHA-256 of the run record
    """

    licence: str = "unstated"
    training_data: tuple[str, ...] = ()
    credits: tuple[str, ...] = ()
    specs: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Header(Training):
    """What a weights file says about itself, and about the training that it comes from.

    options : the network's options, so that the file builds its own network
    earlier : the trainings whose weights this one went on from, the first first
    scores : one mapping per data set: data, split, pictures, scores of input and output, conditions
    limits : what the weights are for and where they fail, in plain words
    """

    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    values: str = "unit"
    dtype: str = "float32"
    earlier: tuple[Training, ...] = ()
    scores: tuple[Mapping[str, Any], ...] = ()
    limits: str = ""
    tool_version: str = ""
    format_version: int = FORMAT_VERSION

    def trainings(self) -> tuple[Training, ...]:
        """All that the weights come from, the first first."""
        own = Training(**{part.name: getattr(self, part.name) for part in fields(Training)})
        return (*self.earlier, own)


def write_weights(path: Path, tensors: Mapping[str, Tensor], header: Header) -> None:
    """Write tensors and header as one file, whole or not at all."""
    metadata = {_KEY: json.dumps(asdict(header), sort_keys=True)}
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata)
    with atomic_write(path) as part:
        part.write_bytes(data)


def read_header(path: Path) -> Header:
    """The header of a weights file.

    Raises
    ------
    MissingError : the file is not there
    UsageError : it is not a weights file, or of a newer format than this program knows
    """
    if path.suffix in {".pth", ".pt", ".ckpt"}:
        raise UsageError(
            f"{path} is a pickle, which can run code when it is read; weights are .safetensors files"
        )
    if not path.is_file():
        raise MissingError(f"weights file {path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} is not a readable safetensors file: {error}") from error
    if _KEY not in metadata:
        raise UsageError(
            f"{path} does not say which model it belongs to; weights made by deblur train or deblur release do"
        )
    return _parse(metadata[_KEY], path)


def _parse(text: str, path: Path) -> Header:
    """The header from its JSON, every field of the type that `Header` says."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is damaged: its header is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} is damaged: its header is no JSON object")
    version = content.get("format_version", 0)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise UsageError(
            f"{path} has format {version}, this program knows up to {FORMAT_VERSION}: upgrade deblur-cli"
        )
    try:
        values = _typed(content, Header(model="any")) | {
            "earlier": trainings_from(content.get("earlier", []))
        }
        if not values.get("model"):
            raise ValueError("no usable model")
    except ValueError as error:
        raise UsageError(f"{path} is damaged: its header has {error}; get the file anew") from error
    return Header(**values)


def trainings_from(content: Any) -> tuple[Training, ...]:
    """Trainings as JSON holds them. Raises ValueError where they are none."""
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise ValueError("no usable earlier")
    return tuple(Training(**_typed(item, Training())) for item in content)


def _typed(content: Mapping[str, Any], like: Training) -> dict[str, Any]:
    """The fields that `like` has, each of the type that it has there; what a newer version added is left out.

    Raises ValueError where one is of another.
    """
    types = {name: type(value) for name, value in asdict(like).items()}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in content.items()
        if name in types
    }
    wrong = [name for name, value in values.items() if type(value) is not types[name]]
    if wrong:
        raise ValueError(f"no usable {wrong[0]}")
    return values


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a weights file, floating ones as float32."""
    tensors = load_file(path)
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def load_strictly(network: torch.nn.Module, tensors: Mapping[str, Tensor], *, origin: str) -> None:
    """Put tensors into a network; every name and every shape must agree.

    Raises UsageError listing what is missing, unexpected or of another shape.
    """
    expected = network.state_dict()
    # num_batches_tracked only counts; released files leave it out
    missing = sorted(
        name for name in expected.keys() - tensors.keys() if not name.endswith("num_batches_tracked")
    )
    unexpected = sorted(tensors.keys() - expected.keys())
    shapes = [
        f"{name} is {tuple(tensors[name].shape)}, the network has {tuple(expected[name].shape)}"
        for name in expected.keys() & tensors.keys()
        if tensors[name].shape != expected[name].shape
    ]
    problems = [
        f"{title}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
        for title, names in (("missing", missing), ("unexpected", unexpected), ("shape", sorted(shapes)))
        if names
    ]
    if problems:
        raise UsageError(f"{origin} does not fit the network: {'; '.join(problems)}")
    network.load_state_dict(dict(tensors), strict=False)  # strictly checked above, but for the counters


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
