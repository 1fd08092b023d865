"""Where deblur keeps what it makes for itself. platformdirs is imported when asked: --help need not pay for it."""

from collections.abc import Mapping
from pathlib import Path

_PROGRAM = "deblur-cli"


def cache_folder(environ: Mapping[str, str]) -> Path:
    """For what can be made again: the folder that DEBLUR_CACHE names, else the user's; it may not exist yet."""
    named = environ.get("DEBLUR_CACHE")
    if named:
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path(_PROGRAM, appauthor=False)


def log_folder() -> Path:
    """For reports of bugs; it may not exist yet."""
    from platformdirs import user_log_path

    return user_log_path(_PROGRAM, appauthor=False)


def config_folder() -> Path:
    """For the user's settings; it may not exist yet."""
    from platformdirs import user_config_path

    return user_config_path(_PROGRAM, appauthor=False)
