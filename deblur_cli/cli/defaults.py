"""The user's own defaults: flag > environment variable DEBLUR_* > settings file > built-in default.

The settings file is TOML, `deblur doctor` shows where it lies; DEBLUR_CONFIG names another one:

    model = "rednet30"
    max-memory = "2GB"
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deblur_cli.errors import UsageError
from deblur_cli.host.folders import config_folder

SETTINGS = (
    "model", "device", "dtype", "tile", "overlap", "statistics", "max-memory", "max-pixels", "strength", "self-ensemble", "suffix", "format", "quality",
)  # fmt: skip
"""Options that may be given a default, by their long name. DEBLUR_DATA is not one: it is the root of the data sets."""

Value = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    """One default and where it was found: the variable's name or the file's path."""

    name: str
    value: Value
    source: str


def settings_path(environ: Mapping[str, str]) -> Path:
    """Where the user's settings file lies, whether it exists or not."""
    if environ.get("DEBLUR_CONFIG"):
        return Path(environ["DEBLUR_CONFIG"])
    return config_folder() / "settings.toml"


def variable(name: str) -> str:
    """The environment variable of a setting: max-memory -> DEBLUR_MAX_MEMORY."""
    return "DEBLUR_" + name.upper().replace("-", "_")


def read_defaults(environ: Mapping[str, str]) -> dict[str, Default]:
    """All defaults that the user has set, by setting, the strongest source only.

    Raises UsageError for a settings file that cannot be read or names something unknown.
    """
    path = settings_path(environ)
    found = {
        name: Default(name=name, value=value, source=str(path)) for name, value in _read_file(path).items()
    }
    for name in SETTINGS:
        value = environ.get(variable(name))
        if value:
            found[name] = Default(name=name, value=value, source=variable(name))
    return found


def defaults_for(options: Mapping[str, str], *, environ: Mapping[str, str]) -> dict[str, Value]:
    """Defaults for a command's parameters.

    Parameters
    ----------
    options : long option name without dashes -> name of the parameter
    """
    known = {name: parameter for name, parameter in options.items() if name in SETTINGS}
    if not known:
        return {}
    found = read_defaults(environ)
    return {parameter: found[name].value for name, parameter in known.items() if name in found}


def _read_file(path: Path) -> dict[str, Value]:
    import tomllib

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):  # HOME=/dev/null is common for services
        return {}
    except (OSError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise UsageError(f"cannot read your settings file {path}: {error}") from error
    for name, value in content.items():
        if name.replace("_", "-") not in SETTINGS:
            near = difflib.get_close_matches(name, SETTINGS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it may set: {', '.join(SETTINGS)}"
            raise UsageError(f"your settings file {path} sets {name!r}, which is unknown; {hint}")
        if not isinstance(value, (str, int, float, bool)):
            raise UsageError(
                f"your settings file {path} sets {name} to {value!r}; it must be one text or number"
            )
    return {name.replace("_", "-"): value for name, value in content.items()}
