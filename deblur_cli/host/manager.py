"""Finds the plugins, asks each for its declarations in a guard of its own, and answers by name.

A plugin that cannot be imported, raises, declares nonsense, prints, exits or asks for a newer contract becomes a
`Failure`; all others go on. This is the only place that catches every exception.
"""

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import pluggy

from deblur_cli.errors import MissingError
from deblur_cli.host import hookspecs
from deblur_cli.host.declarations import API, Dataset, Degradation, Loss, Metric, Model
from deblur_cli.host.failures import Failure, PluginError, Stage, describe
from deblur_cli.host.sources import FIRST_PARTY, Candidate, candidates, split_list

Declaration: TypeAlias = Model | Metric | Dataset | Degradation | Loss
T = TypeVar("T", Model, Metric, Dataset, Degradation, Loss)

KINDS: Mapping[str, type[Declaration]] = {
    "deblur_models": Model,
    "deblur_metrics": Metric,
    "deblur_datasets": Dataset,
    "deblur_degradations": Degradation,
    "deblur_losses": Loss,
}
_MOST = 10_000  # declarations of one hook; a generator that never ends must not hang every command


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A plugin that works.

    name : as in "PLUGIN:NAME"; distribution, version : empty for what DEBLUR_PLUGINS names
    module : import path or file; folder : where its files lie, None if unknown
    """

    name: str
    distribution: str
    version: str
    module: str
    folder: Path | None
    declarations: tuple[Declaration, ...] = field(repr=False)

    @property
    def first_party(self) -> bool:
        """Whether it comes with deblur-cli itself."""
        return self.distribution == FIRST_PARTY

    def declared(self, kind: type[T]) -> tuple[T, ...]:
        """Its declarations of one kind, for instance Model."""
        return tuple(item for item in self.declarations if isinstance(item, kind))


class Declared(Mapping[str, T], Generic[T]):
    """Declarations of one kind by name; "PLUGIN:NAME" reaches every one.

    Iteration gives each declaration once: under its name, or as "PLUGIN:NAME" where another plugin holds the name.
    """

    def __init__(self, plugins: Iterable[Plugin], kind: type[T]) -> None:
        self._listed: dict[str, T] = {}
        self._qualified: dict[str, T] = {}
        self.taken: list[tuple[Plugin, str]] = []  # names that came too late
        for plugin in plugins:
            for item in plugin.declared(kind):
                full = f"{plugin.name}:{item.name}"
                self._qualified[full] = item
                if item.name in self._listed:
                    self.taken.append((plugin, item.name))
                self._listed[full if item.name in self._listed else item.name] = item

    def __getitem__(self, name: str) -> T:
        return self._listed[name] if name in self._listed else self._qualified[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._listed))

    def __len__(self) -> int:
        return len(self._listed)


class Host:
    """The plugins of this installation and what they declare. Built once and passed on; tests build their own.

    Attributes
    ----------
    plugins : those that work, ours first
    failures : what was set aside, and why
    disabled : names left out by DEBLUR_PLUGINS_DISABLE
    models, metrics, datasets, degradations, losses : declarations by name, or by "PLUGIN:NAME"
    """

    def __init__(
        self, plugins: Iterable[Plugin], failures: Iterable[Failure] = (), *,
        disabled: Iterable[str] = (), environ: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.plugins = tuple(plugins)
        self.disabled = tuple(disabled)
        self.models = Declared(self.plugins, Model)
        self.metrics = Declared(self.plugins, Metric)
        self.datasets = Declared(self.plugins, Dataset)
        self.degradations = Declared(self.plugins, Degradation)
        self.losses = Declared(self.plugins, Loss)
        self._environ = dict(environ or {})
        self.failures = (*failures, *self._clashes())

    @classmethod
    def discover(cls, *, environ: Mapping[str, str] | None = None) -> "Host":
        """Load every plugin; imports neither torch nor numpy unless a plugin does.

        Parameters
        ----------
        environ : in place of os.environ. Read are DEBLUR_PLUGINS (more plugins: modules, files, folders),
            DEBLUR_PLUGINS_DISABLE (plugins or distributions left out), DEBLUR_STRICT=1 (raise what a plugin raises)
            and DEBLUR_MODEL (the default model)
        """
        environ = os.environ if environ is None else environ
        strict = environ.get("DEBLUR_STRICT", "") not in ("", "0")
        unwanted = set(split_list(environ.get("DEBLUR_PLUGINS_DISABLE", "")))
        manager = pluggy.PluginManager("deblur_cli")
        manager.add_hookspecs(hookspecs)
        plugins: dict[str, Plugin] = {}
        failures: list[Failure] = []
        disabled: list[str] = []
        for candidate in candidates(environ):
            name = (
                candidate.name
                if candidate.name not in plugins
                else f"{candidate.distribution}:{candidate.name}"
            )
            if unwanted & {candidate.name, candidate.distribution, name}:
                disabled.append(name)
                continue
            outcome = _load(manager, candidate, name, strict=strict)
            if isinstance(outcome, Plugin):
                plugins[name] = outcome
            else:
                failures.append(outcome)
        host = cls(plugins.values(), failures, disabled=disabled, environ=environ)
        if strict and len(host.failures) > len(failures):
            raise PluginError(host.failures[-1].error)
        return host

    def model(self, name: str) -> Model:
        """The model of this name; MissingError with near names, or with the failure that explains its absence."""
        return self._find(self.models, name, "model")

    def metric(self, name: str) -> Metric:
        """The metric of this name; MissingError as for `model`."""
        return self._find(self.metrics, name, "metric")

    def dataset(self, name: str) -> Dataset:
        """The data set of this name; MissingError as for `model`."""
        return self._find(self.datasets, name, "data set")

    def degradation(self, name: str) -> Degradation:
        """The degradation of this name; MissingError as for `model`."""
        return self._find(self.degradations, name, "degradation")

    def loss(self, name: str) -> Loss:
        """The loss of this name; MissingError as for `model`."""
        return self._find(self.losses, name, "loss")

    def default_model(self) -> str:
        """Name of the model that is used where none is asked for.

        DEBLUR_MODEL, else the one with released weights that is declared with the greatest preference. Ours come
        before others, so that installing a plugin does not change what a command does.
        """
        if chosen := self._environ.get("DEBLUR_MODEL"):
            return chosen
        if not self.models:
            raise MissingError(
                "no plugin brings a model; `deblur plugins` shows what was found and what failed"
            )
        ours = {
            id(model) for plugin in self.plugins if plugin.first_party for model in plugin.declared(Model)
        }
        return min(
            self.models,
            key=lambda name: (
                not self.models[name].weights,
                id(self.models[name]) not in ours,
                -self.models[name].preference,
                name,
            ),
        )

    def plugin_of(self, declaration: Declaration) -> Plugin:
        """The plugin that brought this very declaration; KeyError if none did."""
        for plugin in self.plugins:
            if any(item is declaration for item in plugin.declarations):
                return plugin
        raise KeyError(declaration.name)

    def failure(self, plugin: str) -> Failure | None:
        """The failure that set this plugin aside, if there is one."""
        return next(
            (item for item in self.failures if item.plugin == plugin and item.stage != Stage.CLASH), None
        )

    def _find(self, declared: Declared[T], name: str, kind: str) -> T:
        if name in declared:
            return declared[name]
        set_aside = [failure for failure in self.failures if failure.stage != Stage.CLASH]
        guilty = [failure for failure in set_aside if failure.mentions(name.rpartition(":")[2])]
        if guilty:
            raise MissingError(
                f"{kind} {name!r} is missing because the plugin {guilty[0].plugin} was set aside "
                f"({guilty[0].stage}: {guilty[0].error}); `deblur plugins check {guilty[0].plugin}` shows more"
            )
        near = get_close_matches(name.lower(), list(declared), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(declared) or 'none'}"
        if set_aside:
            hint += f" ({len(set_aside)} plugins could not be loaded; `deblur plugins` says why)"
        raise MissingError(f"there is no {kind} {name!r}; {hint}")

    def _clashes(self) -> Iterator[Failure]:
        for declared in (self.models, self.metrics, self.datasets, self.degradations, self.losses):
            for plugin, name in declared.taken:
                holder = self.plugin_of(declared[name]).name
                yield Failure(
                    plugin=plugin.name, distribution=plugin.distribution, version=plugin.version, stage=Stage.CLASH,
                    error=f"the name {name!r} is held by {holder}; ask for {plugin.name}:{name}",
                )  # fmt: skip


def _load(
    manager: pluggy.PluginManager, candidate: Candidate, name: str, *, strict: bool
) -> Plugin | Failure:
    """Import, register and call one plugin; what it raises comes back as a Failure, or is raised if strict."""
    stage = Stage.IMPORT
    key = f"{candidate.distribution}:{candidate.name}"
    try:
        with _nothing_printed():
            loaded = candidate.load()
        stage = Stage.REGISTER
        _check_api(loaded)
        _register(manager, loaded, key)
        stage = Stage.CALL
        with _nothing_printed():
            declarations = tuple(_call_hooks(manager, loaded))
    except (Exception, SystemExit) as error:
        if manager.has_plugin(key):
            manager.unregister(name=key)
        if strict:
            error.add_note(f"raised by the plugin {name} ({candidate.value}); DEBLUR_STRICT is set")
            raise
        return _failure(candidate, name, stage, error)
    file = getattr(loaded, "__file__", None)
    return Plugin(
        name=name, distribution=candidate.distribution, version=candidate.version, module=candidate.value,
        folder=Path(file).parent if file else None, declarations=declarations,
    )  # fmt: skip


def _failure(candidate: Candidate, name: str, stage: Stage, error: BaseException) -> Failure:
    from traceback import format_exception  # slow to import, and rarely needed

    from deblur_cli.host.checks import DeclarationError

    return Failure(
        plugin=name, distribution=candidate.distribution, version=candidate.version,
        stage=Stage.DECLARE if isinstance(error, DeclarationError) else stage,
        error=describe(error), traceback="".join(format_exception(error)), source=candidate.source(),
    )  # fmt: skip


@contextmanager
def _nothing_printed() -> Iterator[None]:
    """Hold back what is printed to stdout, and object to it: results for other programs go there."""
    held = io.BytesIO()
    with redirect_stdout(io.TextIOWrapper(held, encoding="utf-8", write_through=True)):
        yield
        printed = held.getvalue().decode("utf-8", "replace").strip()
    if printed:
        raise PluginError(
            f"printed {printed[:60]!r} to stdout, where only results may go; log it or leave it out"
        )


def _check_api(loaded: object) -> None:
    wanted = getattr(loaded, "API", API)
    if not isinstance(wanted, int):
        raise PluginError(
            f"API is {wanted!r}; it must be the integer that deblur_cli.API had when it was written"
        )
    if wanted > API:
        raise PluginError(
            f"needs plugin API {wanted}, this deblur-cli has {API}; upgrade it: pip install --upgrade deblur-cli"
        )


def _register(manager: pluggy.PluginManager, loaded: object, key: str) -> None:
    """Register, and object to hooks that do not exist or lack their mark, which pluggy would pass over."""
    manager.register(loaded, name=key)
    callers = manager.get_hookcallers(loaded) or []
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        unknown = [caller.name for caller in callers if not caller.has_spec()]
        near = get_close_matches(unknown[0], KINDS, n=1) if unknown else []
        hint = f"did you mean {near[0]}?" if near else f"the hooks are {', '.join(KINDS)}"
        raise PluginError(f"there is no hook {' or '.join(unknown)}; {hint}") from error
    marked = {caller.name for caller in callers}
    for hook in KINDS:
        function = getattr(loaded, hook, None)
        if callable(function) and hook not in marked and not hasattr(function, "deblur_cli_spec"):
            raise PluginError(
                f"{hook} is not marked as a hook; write @hookimpl above it (from deblur_cli import hookimpl)"
            )


def _call_hooks(manager: pluggy.PluginManager, loaded: object) -> Iterator[Declaration]:
    """What the hooks of this plugin alone declare; a generator runs, and raises, here."""
    others = [plugin for plugin in manager.get_plugins() if plugin is not loaded]
    for caller in manager.get_hookcallers(loaded) or []:
        if caller.name in KINDS:
            answers = manager.subset_hook_caller(caller.name, others)()
            yield from _checked(caller.name, answers[0] if answers else None)  # pluggy leaves out None


def _checked(hook: str, answer: Any) -> list[Declaration]:
    """The answer of a hook as a list of the right kind (`Any`: it is what a stranger returned)."""
    kind = KINDS[hook]
    expected = f"{hook} must return an iterable of {kind.__name__}"
    if isinstance(answer, str | bytes) or not isinstance(answer, Iterable):
        raise PluginError(f"{expected}, not {'None' if answer is None else 'one ' + type(answer).__name__}")
    items = list(islice(answer, _MOST + 1))
    if len(items) > _MOST:
        raise PluginError(f"{expected} that ends; this one had more than {_MOST} items")
    for item in items:
        if not isinstance(item, kind):
            raise PluginError(f"{expected}; one item is {type(item).__name__} {str(item)[:60]!r}")
    names = [item.name for item in items]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise PluginError(f"{hook} declares {', '.join(repeated)} more than once")
    return items
