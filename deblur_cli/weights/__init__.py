"""Weights files: what they say about themselves, where they lie, how they are loaded."""

from deblur_cli.weights.header import (
    Header,
    Training,
    file_sha256,
    load_strictly,
    read_header,
    read_tensors,
    trainings_from,
    write_weights,
)
from deblur_cli.weights.lookup import CHECKPOINT, Source, load_network, resolve

__all__ = [
    "CHECKPOINT",
    "Header",
    "Source",
    "Training",
    "file_sha256",
    "load_network",
    "load_strictly",
    "read_header",
    "read_tensors",
    "resolve",
    "trainings_from",
    "write_weights",
]
