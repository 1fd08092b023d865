"""From what `-m` and `--weights` say to a model, its options and a weights file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deblur_cli.errors import MissingError, UsageError
from deblur_cli.host.checks import DeclarationError
from deblur_cli.host.declarations import Model, Weights
from deblur_cli.host.inspection import released_path, winners
from deblur_cli.host.manager import Host
from deblur_cli.weights.header import Header, file_sha256, load_strictly, read_header, read_tensors
from deblur_cli.weights.training_time import training_time

CHECKPOINT = "weights.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A model with the options its weights were trained for. `path` and `tag` are None without weights."""

    model: Model
    options: Mapping[str, Any]
    path: Path | None = None
    tag: str | None = None

    @property
    def label(self) -> str:
        """How tables and messages name it: name.tag, or name with the file or run it comes from."""
        if self.tag:
            return f"{self.model.name}.{self.tag}"
        if self.path is None:
            return self.model.name
        return f"{self.model.name} ({self.path.parent if self.path.name == CHECKPOINT else self.path.name})"


def resolve(host: Host, spec: str, *, weights: Path | None = None) -> Source:
    """Find what `spec` names: a model, name.tag, "fast" or "best", a weights file or a run folder.

    Parameters
    ----------
    spec : what follows -m
    weights : a weights file (or run folder) that replaces the model's own

    Raises
    ------
    MissingError : there is no such model, tag or file
    UsageError : the file is not a weights file, or belongs to another model
    """
    if weights is not None:
        source = _from_file(host, _checkpoint(weights))
        named = host.model(spec) if spec else source.model
        if named.name != source.model.name:
            raise UsageError(
                f"{weights} holds weights of {source.model.name}, not of {named.name}; leave out -m or give the right file"
            )
        return source
    if not spec:
        raise UsageError("the name of the model is empty; leave out -m or name one")
    spec = winners().get(spec, spec)
    path = Path(spec)
    if path.suffix in {".safetensors", ".pth", ".pt", ".ckpt"} or (path.is_dir() and spec not in host.models):
        return _from_file(host, _checkpoint(path))
    name = next((name for name in host.models if spec.startswith(f"{name}.")), None)
    if name is not None:  # a tag may hold dots, such as v1.2
        return _released(host.model(name), spec.removeprefix(f"{name}."))
    if len(path.parts) > 1 and spec not in host.models:  # no name holds a slash
        raise MissingError(f"there is no run folder or weights file {spec}; look for a mistype in its path")
    model = host.model(spec)
    present = [item for item in model.weights if released_path(model, item) is not None]
    if not present:
        return Source(model=model, options=model.resolve_options({}))
    return _released(model, present[0].tag)


def load_network(source: Source) -> torch.nn.Module:
    """The network with its weights: float32, on the CPU, in evaluation mode.

    Raises
    ------
    MissingError : the model has no weights
    UsageError : the weights do not fit the network
    """
    if source.path is None:
        name = source.model.name
        if source.model.weights:
            raise _not_installed(source.model, source.model.weights[0])
        raise MissingError(f"model {name} has no weights yet; {_train(source.model)}")
    network: torch.nn.Module = source.model.build(source.options)
    load_strictly(network, read_tensors(source.path), origin=str(source.path))
    return network.float().eval()


def _released(model: Model, tag: str) -> Source:
    found = {item.tag: item for item in model.weights}
    if tag not in found:
        raise MissingError(
            f"model {model.name} has no weights {tag!r}; "
            + (f"it has: {', '.join(found)}" if found else _train(model))
        )
    item = found[tag]
    path = released_path(model, item)
    if path is None:
        raise _not_installed(model, item)
    if item.sha256 is not None and file_sha256(path) != item.sha256:
        raise UsageError(
            f"{path} is damaged: its SHA-256 is not the one that {model.name} declares; reinstall the package"
        )
    return Source(model=model, options=_options(model, read_header(path), path), path=path, tag=tag)


def _train(model: Model) -> str:
    """How to get weights, and about how long that takes here."""
    command = f"deblur train --data NAME -m {model.name}" + ("" if model.recipes else " --recipe FILE.toml")
    time = training_time(model)
    return f"train it with: {command}{f' ({time})' if time else ''}, or give --weights FILE"


def _not_installed(model: Model, item: Weights) -> MissingError:
    remedy = f"reinstall the package that brings {model.name}"
    if item.url is not None:
        remedy = f"fetch it from {item.url} and name it with --weights FILE"
    return MissingError(f"weights file {item.file} of {model.name}.{item.tag} is not installed; {remedy}")


def _from_file(host: Host, path: Path) -> Source:
    header = read_header(path)
    model = host.model(header.model)
    return Source(model=model, options=_options(model, header, path), path=path)


def _options(model: Model, header: Header, path: Path) -> dict[str, Any]:
    """The options that a file names, if its model takes them: it may be damaged, or of another version."""
    try:
        return model.resolve_options(header.options)
    except DeclarationError as error:
        raise UsageError(f"{path} does not fit the installed model: {error}") from error


def _checkpoint(path: Path) -> Path:
    """The weights file of a run folder (best before last), of a checkpoint folder, or the file itself."""
    if not path.is_dir():
        return path
    # last.old: a run that was killed, or is just now, between putting it aside and putting the next in its place
    for name in ("best", "last", "last.old", "last", "."):
        if (path / name / CHECKPOINT).is_file():
            return path / name / CHECKPOINT
    if (path / "run.json").is_file():
        raise MissingError(
            f"{path} has no checkpoint yet: a training saves the first after an epoch, or after --save-every MINUTES"
        )
    raise MissingError(f"{path} is no run folder: it holds neither best/{CHECKPOINT} nor last/{CHECKPOINT}")
