"""Where plugins come from: installed entry points, and what the variable DEBLUR_PLUGINS names."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from deblur_cli.host.failures import PluginError

GROUP = "deblur_cli"
FIRST_PARTY = "deblur-cli"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A plugin that is known by name and not imported yet.

    value : import path of a module, or of an object in one; or the path of a Python file or package folder
    distribution, version : of the installed package; empty for what DEBLUR_PLUGINS names
    """

    name: str
    value: str
    distribution: str = ""
    version: str = ""

    @property
    def first_party(self) -> bool:
        """Whether it comes with deblur-cli itself."""
        return self.distribution == FIRST_PARTY

    def load(self) -> Any:
        """Import the plugin (`Any`: whatever object its author chose). Raises what the import raises."""
        if _is_path(self.value):
            return _load_file(Path(self.value))
        module, _, attributes = self.value.partition(":")
        loaded: Any = import_module(module)
        for attribute in filter(None, attributes.split(".")):
            loaded = getattr(loaded, attribute)
        return loaded

    def source(self) -> Path | None:
        """The file that declares it, found without importing it."""
        if _is_path(self.value):
            return _file_of(Path(self.value))
        module = self.value.partition(":")[0]
        search: list[str] | None = None
        spec = None
        for part in module.split("."):
            spec = PathFinder.find_spec(part, search)
            if spec is None:
                return None
            search = list(spec.submodule_search_locations or ())
        return Path(spec.origin) if spec and spec.origin else None


def candidates(environ: Mapping[str, str]) -> list[Candidate]:
    """All plugins, ours first, then by distribution and name; the first to declare a name keeps it.

    A file or folder in DEBLUR_PLUGINS takes the place of the installed plugin whose module it is: the one being worked on.
    """
    installed = list(_installed())
    values = {candidate.value for candidate in installed}
    named = [
        Candidate(name=_name_of(value), value=value)
        for value in split_list(environ.get("DEBLUR_PLUGINS", ""))
        if value not in values
    ]
    replaced = {candidate.name for candidate in named if _is_path(candidate.value)}
    kept = [candidate for candidate in installed if candidate.value.partition(":")[0] not in replaced]
    return sorted(
        {(c.distribution, c.name, c.value): c for c in (*kept, *named)}.values(),
        key=lambda c: (not c.first_party, c.distribution.lower(), c.name),
    )


def split_list(text: str) -> list[str]:
    """The parts of a comma-separated variable, without blanks."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _installed() -> Iterator[Candidate]:
    known: dict[int, tuple[str, str]] = {}  # reading metadata is slow, and ours has many entry points
    for entry in entry_points(group=GROUP):
        if id(entry.dist) not in known:
            known[id(entry.dist)] = _identity(entry)
        distribution, version = known[id(entry.dist)]
        yield Candidate(name=entry.name, value=entry.value, distribution=distribution, version=version)


def _identity(entry: EntryPoint) -> tuple[str, str]:
    distribution: Distribution | None = entry.dist
    return (distribution.name, distribution.version) if distribution else ("unknown", "")


def _is_path(value: str) -> bool:
    return value.endswith(".py") or "/" in value or "\\" in value


def _name_of(value: str) -> str:
    if not _is_path(value):
        return value.partition(":")[0]
    path = Path(value)
    return path.parent.name if path.name == "__init__.py" else path.stem


def _file_of(path: Path) -> Path:
    path = path.expanduser().resolve()
    return path / "__init__.py" if path.is_dir() else path


def _load_file(path: Path) -> Any:
    """Import a file as a top-level module, a folder as a package, under its own name.

    Its networks are named by import path, so the module must be found again under that name.
    """
    file = _file_of(path)
    name = _name_of(str(file))
    if not file.is_file():
        raise PluginError(
            f"there is no file {file}; DEBLUR_PLUGINS names modules, Python files and package folders"
        )
    present = sys.modules.get(name)
    if present is not None:
        if getattr(present, "__file__", None) == str(file):
            return present
        raise PluginError(f"a module called {name} is already loaded; give {file.name} another name")
    package = [str(file.parent)] if file.name == "__init__.py" else None
    spec = spec_from_file_location(name, file, submodule_search_locations=package)
    if spec is None or spec.loader is None:
        raise PluginError(f"{file} is no Python file")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
