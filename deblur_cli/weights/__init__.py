"""Weights files: what they say about themselves, where they lie, how they are loaded."""

from deblur_cli.weights.header import (
    Header,
    file_sha256,
    load_strictly,
    read_header,
    read_tensors,
    write_weights,
)
from deblur_cli.weights.lookup import CHECKPOINT, Source, load_network, resolve

__all__ = [
    "CHECKPOINT",
    "Header",
    "Source",
    "file_sha256",
    "load_network",
    "load_strictly",
    "read_header",
    "read_tensors",
    "resolve",
    "write_weights",
]
