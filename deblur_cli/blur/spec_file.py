"""Specs read from TOML, and the presets, which are such files.

All errors of a file are reported at once, one a line: "mix.toml:17: step[0].boots: unknown key for highlights".
"""

import difflib
import logging
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import takewhile
from pathlib import Path

from deblur_cli.blur.overrides import Document, apply_overrides
from deblur_cli.blur.positions import KeyPath, Places, lines_of_keys
from deblur_cli.blur.spec import Spec
from deblur_cli.blur.spec_reader import build_spec, upgraded
from deblur_cli.blur.spec_steps import Operations
from deblur_cli.blur.spec_table import Findings, Table
from deblur_cli.blur.toml_writer import toml_document
from deblur_cli.errors import UsageError

_log = logging.getLogger(__name__)


def read_spec(path: Path, operations: Operations, *, overrides: Sequence[str] = ()) -> Spec:
    """The spec in a file.

    Parameters
    ----------
    operations : what a step may name
    overrides : single values to change, each "KEY.KEY=VALUE"; see `apply_overrides`

    Raises
    ------
    UsageError : the file cannot be read, or holds no valid spec; a line for each error
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read the spec {path}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{path}:{line}: TOML syntax: byte {error.object[error.start]:#04x} is not UTF-8"
        ) from error
    return parse_spec(text, operations, file=str(path), folder=path.parent, overrides=overrides)


def parse_spec(
    text: str, operations: Operations, *, file: str, folder: Path, overrides: Sequence[str] = ()
) -> Spec:
    """The spec that a text holds.

    Parameters
    ----------
    file : what messages call the text
    folder : where the files are looked for that a `light` names

    Returns
    -------
    a spec whose `text` gives this very spec again, from any folder and without overrides

    Raises
    ------
    UsageError : a line for each error
    """
    text = text.replace("\r\n", "\n")
    document, lines = _parse(text, file)
    changed = apply_overrides(document, overrides)
    findings = Findings(Places(file=file, lines=lines, overrides=changed))
    if _anchor_curves(document, folder) or changed:
        applied = "".join(f"# --set {override}\n" for override in overrides if override.isprintable())
        text = applied + toml_document(document)
    top = Table(upgraded(document, findings), (), findings)
    spec = build_spec(top, operations, folder=folder, text=text)
    findings.raise_errors()
    for warning in findings.warnings:
        _log.warning(warning)
    return spec


def preset_names() -> tuple[str, ...]:
    """The presets, sorted."""
    return tuple(
        sorted(item.name.removesuffix(".toml") for item in _presets() if item.name.endswith(".toml"))
    )


def preset_text(name: str) -> str:
    """The TOML of a preset.

    Raises
    ------
    UsageError : there is no such preset; names those that are near
    """
    for item in _presets():
        if item.name == f"{name}.toml":
            return item.read_text(encoding="utf-8")
    near = difflib.get_close_matches(name, preset_names(), n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"presets: {', '.join(preset_names())}"
    raise UsageError(f'there is no preset "{name}"; {hint}')


def preset_summary(name: str) -> str:
    """The first sentence of the comment that a preset begins with."""
    lines = preset_text(name).splitlines()
    comment = " ".join(
        line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines)
    )
    return re.split(r"(?<=[A-Za-z0-9)\]]{2})\. (?=[A-Z])|\.$", comment)[0]


def preset(name: str, operations: Operations, *, overrides: Sequence[str] = ()) -> Spec:
    """A preset as a spec. Raises UsageError as `parse_spec` and `preset_text` do."""
    text = preset_text(name)
    return parse_spec(text, operations, file=f"{name}.toml", folder=Path(), overrides=overrides)


def spec_named(text: str, operations: Operations, *, overrides: Sequence[str] = ()) -> Spec:
    """The spec that a user names: a preset, or a file ending in .toml or in another folder."""
    if text.endswith(".toml") or os.path.basename(text) != text:
        return read_spec(Path(text), operations, overrides=overrides)
    return preset(text, operations, overrides=overrides)


def _presets() -> list[Traversable]:
    return list((files("deblur_cli.blur") / "presets").iterdir())


def _parse(text: str, file: str) -> tuple[Document, dict[KeyPath, int]]:
    """The document, and the lines of its keys."""
    try:
        return tomllib.loads(text), lines_of_keys(text)
    except RecursionError as error:
        raise UsageError(f"{file}:1: TOML syntax: nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        rule, _, place = str(error).rpartition(" (at ")
        found = re.fullmatch(r"line (\d+), column (\d+)\)", place)
        line, column = found.groups() if found else _end(text)
        rule = (rule[:1].lower() + rule[1:]).removesuffix(" in a key/value pair").replace("'", '"')
        raise UsageError(f"{file}:{line}:{column}: TOML syntax: {rule}") from error


def _end(text: str) -> tuple[int, int]:
    """Line and column behind the last character."""
    return text.count("\n") + 1, len(text) - text.rfind("\n")


def _anchor_curves(document: Document, folder: Path) -> bool:
    """Make the files that a `light` names independent of the folder; returns whether there were any that were not."""
    anchored = False
    for table in _tables(document):
        light = table.get("light")
        if isinstance(light, str) and light.startswith("crf:"):
            table["light"] = f"crf:{(folder / light.removeprefix('crf:')).absolute()}"
            anchored = anchored or table["light"] != light
    return anchored


def _tables(value: object) -> Iterator[Document]:
    """All tables of a document, at whatever depth."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _tables(item)
