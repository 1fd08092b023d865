"""The files that a recipe's losses need, such as the weights of a perceptual one: which they are, and what is in them.

A run notes where they lie and their SHA-256; only the content decides whether it may go on. Weights tell their names alone.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deblur_cli.errors import MissingError, UsageError
from deblur_cli.host.manager import Host
from deblur_cli.host.recipes import Recipe, Term
from deblur_cli.weights import file_sha256

VGG_LOSS = "perceptual"
"""The loss that --vgg-weights is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossFile:
    """A file of the recipe. path : absolute; sha256 : of its content"""

    path: str
    sha256: str


def absolute_files(host: Host, recipe: Recipe) -> Recipe:
    """The recipe with the full path of each file."""
    return _with_files(host, recipe, lambda path: str(Path(path).expanduser().resolve()))


def named_files(host: Host, recipe: Recipe) -> Recipe:
    """The recipe as others may see it: with the names of files, but not the folders of this machine."""
    return _with_files(host, recipe, lambda path: Path(path).name)


def known_files(host: Host, recipe: Recipe, files: Mapping[str, LossFile]) -> Recipe:
    """The recipe with what is in each file instead of where it lies, so that it may be moved. files : as of `read_files`"""
    content = {file.path: f"SHA-256 {file.sha256}" for file in files.values()}
    return _with_files(host, recipe, lambda path: content[path])


def with_vgg_weights(recipe: Recipe, path: Path) -> Recipe:
    """The recipe whose perceptual loss takes this file.

    Raises UsageError where it has no such loss.
    """
    if all(term.loss != VGG_LOSS for term in recipe.terms):
        raise UsageError(
            f"--vgg-weights is for the loss {VGG_LOSS}, which the recipe lacks; add it with --set loss.{VGG_LOSS}.weight=1"
        )
    return replace(
        recipe,
        loss=tuple(
            replace(term, options={**term.options, "weights": str(path)}) if term.loss == VGG_LOSS else term
            for term in recipe.terms
        ),
    )


def read_files(host: Host, recipe: Recipe) -> dict[str, LossFile]:
    """By option ("loss.perceptual.weights") each file of a recipe with full paths.

    Raises
    ------
    MissingError : it is not there
    UsageError : it cannot be read
    """
    return {option: _read(option, path) for option, path in _files(host, recipe)}


def _read(option: str, path: str) -> LossFile:
    try:
        return LossFile(path=path, sha256=file_sha256(Path(path)))
    except FileNotFoundError as error:
        raise MissingError(f"there is no {path}, which {option} names") from error
    except OSError as error:
        raise UsageError(f"{path}, which {option} names, cannot be read: {error.strerror}") from error


def _files(host: Host, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Option and path of each file."""
    for term in recipe.terms:
        for name in host.loss(term.loss).files:
            path = term.options.get(name)
            if path and isinstance(path, str):  # what else it may be is refused where the loss is built
                yield f"loss.{term.loss}.{name}", path


def _with_files(host: Host, recipe: Recipe, change: Callable[[str], str]) -> Recipe:
    """The recipe with another text for each path."""
    if not any(_files(host, recipe)):
        return recipe
    return replace(recipe, loss=tuple(_with_term_files(host, term, change) for term in recipe.terms))


def _with_term_files(host: Host, term: Term, change: Callable[[str], str]) -> Term:
    files = host.loss(term.loss).files
    options = {
        name: change(value) if name in files and value and isinstance(value, str) else value
        for name, value in term.options.items()
    }
    return replace(term, options=options)
