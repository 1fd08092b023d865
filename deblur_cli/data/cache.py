"""Where things are kept that can be made again."""

from collections.abc import Mapping
from pathlib import Path


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The folder that DEBLUR_CACHE names, else the user's cache folder; it may not exist yet."""
    named = environ.get("DEBLUR_CACHE")
    if named:
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("deblur-cli", appauthor=False)
