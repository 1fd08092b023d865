"""The checks of a whole plugin: quick to import, every import path leads somewhere, every model keeps the contract."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from deblur_cli.host.declarations import Dataset, Degradation, Loss, Metric, Model, import_object
from deblur_cli.host.manager import Declaration, Plugin
from deblur_cli.testing.declaration import Check, ConformanceError, require
from deblur_cli.testing.kit import Finding, findings, run_check

_HEAVY = ("torch", "numpy", "cv2", "PIL", "skimage")
_IMPORT = """
import sys
from deblur_cli.host.sources import Candidate
Candidate(name="plugin", value=sys.argv[1]).load()
print(*sorted(set(sys.argv[2:]) & set(sys.modules)))
"""


def plugin_findings(
    plugin: Plugin, checks: tuple[Check, ...], *, progress: Callable[[str], None] = lambda text: None
) -> Iterator[Finding]:
    """Check a plugin and all it declares; yields what is wrong.

    Parameters
    ----------
    progress : is told what is looked at next
    """
    progress("the import")
    yield from run_check(plugin.name, "importing is light", partial(importing_is_light, plugin))
    for item in plugin.declarations:
        progress(item.name)
        if isinstance(item, Model):
            yield from findings(item, checks)
        else:
            yield from run_check(
                item.name, "import paths lead somewhere", partial(import_paths_lead_somewhere, item)
            )


def importing_is_light(plugin: Plugin) -> None:
    """Importing the plugin in a fresh interpreter imports neither torch nor numpy; every command imports it."""
    module = (
        plugin.module
        if plugin.folder is None or "/" not in plugin.module
        else str(Path(plugin.module).absolute())
    )
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, module, *_HEAVY],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    require(done.returncode == 0, f"importing {module} alone fails: {done.stderr.strip().splitlines()[-1:]}")
    heavy = done.stdout.split()
    require(
        not heavy,
        f"importing {module} imports {', '.join(heavy)}; keep that in the module that `network` names",
    )


def import_paths_lead_somewhere(declaration: Declaration) -> None:
    """The functions that a metric, data set, degradation or loss names can be imported and called."""
    match declaration:
        case Metric() | Loss():
            paths = [declaration.function, declaration.build]
        case Dataset():
            paths = [declaration.pairs, declaration.sharp]
        case Degradation():
            paths = [declaration.params, declaration.apply, declaration.kernel, declaration.draw]
            paths += [declaration.bound] if isinstance(declaration.bound, str) else []
        case _:
            paths = []
    for path in filter(None, paths):
        try:
            found = import_object(path)
        except (ImportError, AttributeError) as error:
            raise ConformanceError(f"{path} does not exist: {error}") from error
        require(callable(found), f"{path} is {type(found).__name__}, which cannot be called")
