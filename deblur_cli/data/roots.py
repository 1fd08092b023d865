"""Where a named data set lies on this machine, and what of it is there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deblur_cli.errors import DeblurError, MissingError
from deblur_cli.host.declarations import Dataset, import_object
from deblur_cli.host.folders import cache_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is there of a data set.

    root : its folder, None where there is none
    looked_in : where it was looked for
    counts : pairs or pictures in each official part that is there
    problem : why something is not, "" where all is well
    """

    root: Path | None
    looked_in: str
    counts: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""


def require_root(dataset: Dataset, environ: Mapping[str, str]) -> Path:
    """The folder of a data set below DEBLUR_DATA, or where it is made.

    Raises
    ------
    MissingError : there is none; says where it was looked for and which layout is expected
    """
    if dataset.generated:
        return cache_folder(environ)
    expected = (
        f"DEBLUR_DATA/{dataset.folder}/{dataset.layout}\n  to get it: deblur datasets get {dataset.name}"
    )
    data = environ.get("DEBLUR_DATA")
    if not data:
        raise MissingError(
            f"cannot find the data set {dataset.name}: DEBLUR_DATA is not set; set it to the folder that holds "
            f"{dataset.folder}/, or give the folder itself\n  expected: {expected}"
        )
    root = _folder_named(Path(data).expanduser(), dataset.folder)
    if root is None:
        raise MissingError(
            f"cannot find the data set {dataset.name}: there is no {Path(data) / dataset.folder}; "
            f"put it there, or give its folder\n  expected: {expected}"
        )
    return root


def survey(dataset: Dataset, *, environ: Mapping[str, str], root: Path | None = None) -> Survey:
    """Look for a data set and count what is there by names alone; nothing is made or decoded.

    Parameters
    ----------
    root : its folder; None looks below DEBLUR_DATA
    """
    looked_in = str(root or _expected_root(dataset, environ))
    if dataset.generated:
        return Survey(root=cache_folder(environ), looked_in=looked_in)
    try:
        root = root or require_root(dataset, environ)
    except MissingError as error:
        return Survey(root=None, looked_in=looked_in, problem=str(error).splitlines()[0])
    find: Callable[[Path, str], Sequence[object]] = import_object(dataset.sharp or dataset.pairs)
    counts: dict[str, int] = {}
    problem = ""
    for part in dataset.splits:
        try:
            counts[part] = len(find(root, part))
        except DeblurError as error:
            problem = problem or str(error).splitlines()[0]
    return Survey(root=root if counts else None, looked_in=looked_in, counts=counts, problem=problem)


def _expected_root(dataset: Dataset, environ: Mapping[str, str]) -> str:
    if dataset.generated:
        return str(cache_folder(environ))
    data = environ.get("DEBLUR_DATA")
    return str(Path(data).expanduser() / dataset.folder) if data else f"DEBLUR_DATA/{dataset.folder}"


def _folder_named(parent: Path, name: str) -> Path | None:
    """The folder of that name, whatever the case of its letters."""
    if (parent / name).is_dir():
        return parent / name
    if not parent.is_dir():
        return None
    return next(
        (path for path in sorted(parent.iterdir()) if path.name.lower() == name and path.is_dir()), None
    )
