"""From a path to what pairs are made of: photographs, CIFAR-10, ready pairs, or frames of videos."""

import os
from collections.abc import Mapping
from pathlib import Path

from deblur_cli.blur.spec import SourceKind, Spec
from deblur_cli.data.cifar10 import batch_folder
from deblur_cli.data.cifar10 import pictures as cifar_pictures
from deblur_cli.data.items import Source
from deblur_cli.data.picture_sources import Cifar, Pairs, Pictures
from deblur_cli.data.roots import require_root
from deblur_cli.data.sets import pairs_of_set, refuse_pairs, require_pairs
from deblur_cli.data.video import VIDEO_EXTENSIONS, open_frames
from deblur_cli.data.window_source import Windows
from deblur_cli.errors import UsageError
from deblur_cli.host.manager import Host


def open_source(path: Path, spec: Spec, host: Host, *, environ: Mapping[str, str] = os.environ) -> Source:
    """What pairs are made of, by the kind that the spec asks for; CIFAR-10's batch files are known by themselves.

    Parameters
    ----------
    path : a folder, a picture, a video, or the name of a data set
    environ : where DEBLUR_DATA is looked up, below which named sets lie

    Raises
    ------
    MissingError : there is nothing of that kind
    UsageError : what is there is of another kind
    """
    dataset = None if path.exists() else host.datasets.get(str(path))
    if dataset is not None:
        path = require_root(dataset, environ)
        if dataset.pairs and spec.source is SourceKind.PAIRS:  # the set knows which of its folders are meant
            return Pairs(path, pairs_of_set(dataset, path))
    folder = batch_folder(path)
    if folder is not None and spec.source in (SourceKind.CIFAR10, SourceKind.IMAGES):
        return Cifar(path, folder)
    if spec.source is SourceKind.CIFAR10:
        cifar_pictures(
            path, "train" if (path / "train").is_dir() else "test"
        )  # says which layouts are expected
    if spec.source is SourceKind.FRAMES:
        return Windows(path, open_frames(path), spec, host.degradations)
    if path.suffix.lower() in VIDEO_EXTENSIONS and path.is_file():
        raise UsageError(
            f"{path} is a video, and {spec.name} takes {spec.source}; take a preset that averages frames, such as gopro_7_13"
        )
    if spec.source is SourceKind.PAIRS:
        return Pairs(path, require_pairs(path))
    if path.is_dir():
        refuse_pairs(path, spec)
    return Pictures(path)
