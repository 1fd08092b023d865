"""From what a user asks for to a training that runs: models, recipe, data, run folder."""

import hashlib
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deblur_cli import __version__
from deblur_cli.errors import MissingError, UsageError
from deblur_cli.host.checks import DeclarationError
from deblur_cli.host.declarations import Model, import_object
from deblur_cli.host.manager import Host
from deblur_cli.host.recipe_values import as_values, from_values
from deblur_cli.host.recipes import Flips, Recipe
from deblur_cli.restore.devices import dtype_name, pick_device
from deblur_cli.training.alarms import Watch
from deblur_cli.training.batches import Division
from deblur_cli.training.choosing import RECIPE_FILE, recipe_text
from deblur_cli.training.crops import Crops
from deblur_cli.training.device_cache import Cache, choose_cache, hold_on_device
from deblur_cli.training.engine import Ended, Job, Progress, is_finished, train
from deblur_cli.training.event_log import require_tensorboard
from deblur_cli.training.failures import explained
from deblur_cli.training.identity import (
    Facts,
    at_most,
    differences,
    facts_of,
    pairs_listing,
    recipe_file_changes,
    tensor_changes,
)
from deblur_cli.training.learning import Learning, Placement
from deblur_cli.training.loss_files import absolute_files, known_files, named_files, read_files
from deblur_cli.training.material import Material, Preparation, open_material
from deblur_cli.training.metrics_file import about_run
from deblur_cli.training.objective import build_objective
from deblur_cli.training.precision import choose_placement, compiled, repeatable
from deblur_cli.training.processes import Processes, require_samples_for_all
from deblur_cli.training.run_folder import RunFolder
from deblur_cli.training.schedule import Budget
from deblur_cli.training.showing import Beginning, showing
from deblur_cli.training.state import State
from deblur_cli.training.strategies import build_steps
from deblur_cli.training.validation import Held, held_crops
from deblur_cli.weights import Header, load_strictly, read_header, read_tensors, resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for; saved in run.json and all that a resumed run needs.

    data : names of data sets or folders, prepared as `preparation` says
    recipe : as resolved, the user's changes included; recipe_name : where it came from
    epochs, steps, minutes : at most one of them, instead of the recipe's epochs
    dtype : of the convolutions; parameters are float32 but for "float64"
    init : weights to start from
    channels_last : the memory format; compile : whether to compile the network that is released
    deterministic : whether to refuse operations that differ from run to run
    cache : what is kept of decoded pictures, see Cache
    tensorboard : whether events for it are written
    """

    model: str
    data: tuple[str, ...]
    preparation: Preparation = field(default_factory=Preparation)
    recipe: Recipe
    recipe_name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None
    seed: int = 0
    workers: int = 0
    device: str = "auto"
    dtype: str = "auto"
    init: str | None = None
    channels_last: bool = True
    compile: bool = False
    deterministic: bool = False
    cache: str = Cache.MEMORY
    tensorboard: bool = False
    save_every_s: float = 300.0

    def as_values(self) -> dict[str, Any]:
        """As run.json holds it."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return values | {
            "data": list(self.data),
            "preparation": asdict(self.preparation),
            "recipe": as_values(self.recipe),
            "options": dict(self.options),
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any], *, run: Path) -> "Request":
        """The request that the run.json of a run holds.

        Raises UsageError where it lacks something or does not fit.
        """
        known = {item.name: values[item.name] for item in fields(cls) if item.name in values}
        try:
            return cls(
                **known
                | {
                    "data": tuple(values["data"]),
                    "preparation": Preparation(**values["preparation"]),
                    "recipe": from_values(values["recipe"]),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{run}/run.json does not fit this version ({error}); begin a new run with another -o"
            ) from error


def run_training(
    request: Request,
    folder: Path,
    *,
    host: Host,
    command: Sequence[str],
    resume: bool = False,
    processes: Processes | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    report: Callable[[Progress], None] = lambda progress: None,
    warn: Callable[[str], None] = lambda message: None,
    tell: Callable[[str], None] = lambda message: None,
    begin: Callable[[Beginning], None] = lambda beginning: None,
) -> Ended:
    """Train as asked; the run folder holds the result.

    processes : those that train together, None = this one alone
    tell : is told what happens before the first step, where that takes time
    begin : is told what is trained on what, when all is known to fit and something is left to do

    Raises
    ------
    MissingError : model, data, device or weights are not there
    UsageError : the request contradicts itself or the run folder
    """
    processes = processes or Processes()
    if request.tensorboard:
        require_tensorboard()
    model = host.model(request.model)
    options = _resolved(model, request.options)
    cache = choose_cache(request.cache)
    placement = choose_placement(
        processes.own_device(pick_device(request.device)),
        dtype=request.dtype,
        channels_last=request.channels_last,
    )
    spec = request.preparation.read(host)
    if spec is not None:
        request = replace(request, preparation=replace(request.preparation, text=spec.text))
    request = replace(request, recipe=absolute_files(host, request.recipe))
    recipe = request.recipe
    require_samples_for_all(processes.count, batch_size=recipe.batch_size)
    material = open_material(host, request.data, spec=spec, only_sharp=request.preparation.blur is not None)
    multiple_of = model.geometry_for(options).multiple_of
    crops = Crops(
        material.train,
        patch=recipe.patch,
        flips=Flips(recipe.flips),
        seed=request.seed,
        multiple_of=multiple_of,
        crops_per_pair=recipe.crops_per_pair,
        reuse=recipe.reuse,
        cache_bytes=2 << 30 if cache is Cache.MEMORY else 0,
    )
    held = held_crops(material.val, multiple_of=multiple_of)
    _warn_of_small(material, crops, held, warn)
    on_device = None
    if cache is Cache.DEVICE:
        on_device = hold_on_device(
            crops, placement.device, processes=processes, workers=request.workers, tell=tell
        )
    budget = Budget.choose(recipe, epochs=request.epochs, steps=request.steps, minutes=request.minutes)
    started = request
    if resume and RunFolder(folder).has_checkpoint():
        started = replace(request, init=None)  # these weights are no longer needed, and may be gone
    learning = Learning(
        generator=placement.learner(
            "network", _network(model, options, started, host=host), recipe.optimizer
        ),
        objective=build_objective(
            host, recipe, values=model.values, device=placement.device, dtype=placement.parameters
        ),
        placement=placement,
        clip_norm=recipe.clip_norm,
        processes=processes,
        seed=request.seed,
    )
    if request.compile:
        learning.generator.forward = compiled(learning.generator.network, device=placement.device)
    steps = build_steps(recipe, learning)
    state = State.begin((learning.generator, *steps.learners), ema_decay=recipe.ema_decay)
    files = read_files(host, recipe)
    pairs = pairs_listing(material, crops, held)
    facts = facts_of(
        model=model.name,
        options=options,
        learners=state.learners,
        recipe=known_files(host, recipe, files),
        settings={
            "seed": request.seed,
            "dtype": request.dtype,
            "init": request.init,
            "preset": request.preparation.preset,
            "blur": request.preparation.blur,
        },
        specs=material.specs,
        held=held,
        pairs=pairs,
    )
    run = RunFolder(folder, facts=facts)
    environment = _environment(placement, processes) | _versions(host, model)
    record = {
        "command": list(command),
        "request": request.as_values(),
        "options": options,
        "environment": environment,
        "train_pairs": len(material.train) - crops.num_left_out,
        "val_pairs": len(material.val) - held.num_left_out,
        "validated_pictures": len(held.crops),
        "specs_sha256": material.specs,
        "files": {option: asdict(file) for option, file in files.items()},
    }
    if resume:
        _refuse_changes(
            run,
            [
                *differences(run.facts(), facts, pairs_before=run.pairs(), pairs=pairs),
                *recipe_file_changes(folder / RECIPE_FILE, run.read_record()),
            ],
        )
        _warn_of_changes(run.read_record()["environment"], environment, warn)
        if processes.is_first:
            run.tidy()
    elif processes.is_first:
        run.begin(
            record,
            pairs=pairs,
            recipe=recipe_text(as_values(recipe) | {"model": options}, model=model.name),
        )
    processes.from_first(None)  # run.json is there
    header = Header(
        model=model.name,
        options=options,
        values=model.values.value,
        training_data=request.data,
        specs=material.specs,
        recipe=as_values(named_files(host, recipe)),
        run=hashlib.sha256((folder / "run.json").read_bytes()).hexdigest(),
        tool_version=__version__,
    )
    if resume:
        _go_on(state, run, facts, pairs, warn)
    job = Job(
        recipe=recipe,
        values=model.values,
        budget=budget,
        crops=crops,
        held=held,
        division=Division(
            batch_size=recipe.batch_size,
            parts=recipe.accumulate,
            drop_last=recipe.drop_last,
            processes=processes,
        ),
        workers=request.workers,
        learning=learning,
        steps=steps,
        save_every_s=request.save_every_s,
        on_device=on_device,
    )
    watch = Watch(warn)
    if not is_finished(job, state):
        begin(
            Beginning(
                about=about_run(record),
                parameters=sum(value.numel() for value in learning.generator.network.parameters()),
                train_pairs=len(material.train) - crops.num_left_out,
                val_pairs=len(material.val) - held.num_left_out,
                validated=len(held.crops),
                compute=f"{placement.device}, {dtype_name(placement.compute)}",
                budget=budget.in_words(),
                losses=tuple(term.loss for term in recipe.terms),
                step=state.step,
            )
        )
    with (
        repeatable(wanted=request.deterministic),
        explained(recipe, patch=crops.patch, device=placement.device, run=run),
        run.explaining_a_full_disk(),
        crops.keeping_patches(folder / "pool", is_first=processes.is_first),
        nullcontext(report)
        if is_finished(job, state)  # what it has shown stays as it is
        else showing(
            folder,
            job,
            state,
            record=record,
            pairs=material.train,
            with_events=request.tensorboard,
            report=report,
            warn=warn,
        ) as report_and_show,
    ):
        ended = train(
            job, state, run=run, header=header, should_stop=should_stop, report=report_and_show, watch=watch
        )
    if ended is not Ended.STOPPED:
        watch.conclude()
    return ended


def _refuse_changes(run: RunFolder, found: Sequence[str]) -> None:
    """Raise UsageError where the run would go on as something else than it was. found : what differs, in words"""
    if found:
        raise UsageError(
            f"{run.path} cannot be resumed as something else: {'; '.join(at_most(found))}. "
            "Put that back as it was, or begin a new run with another -o"
        )


def _go_on(state: State, run: RunFolder, facts: Facts, pairs: str, warn: Callable[[str], None]) -> None:
    """Take the state up where the run stopped, be it before its first checkpoint."""
    saved = run.read_last()
    if saved is None:
        warn(f"{run.path} was stopped before its first checkpoint; it begins anew")
        return
    # against the checkpoint too: run.json may have been edited
    _refuse_changes(run, differences(saved.facts, facts, pairs_before=run.pairs(), pairs=pairs))
    _refuse_changes(run, tensor_changes(saved.tensors, state.tensors()))
    try:
        state.restore(saved.tensors, saved.scalars)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"the checkpoint of {run.path} is damaged or of another version ({reason}); "
            "begin a new run with another -o"
        ) from error


def _resolved(model: Model, options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return model.resolve_options(options)
    except DeclarationError as error:
        raise UsageError(str(error)) from error


def _network(model: Model, options: Mapping[str, Any], request: Request, *, host: Host) -> torch.nn.Module:
    """The network before step 1: fresh from the seed, or from the weights of --init."""
    torch.manual_seed(request.seed)
    network: torch.nn.Module = model.build(options)
    if request.init is not None:
        source = resolve(host, request.init)
        if source.path is None:
            raise MissingError(f"--init {request.init}: the model has no weights")
        if read_header(source.path).model != model.name:
            raise UsageError(
                f"--init {request.init} holds weights of {source.model.name}, not of {model.name}"
            )
        other = [f"model.{name}={value}" for name, value in source.options.items() if value != options[name]]
        hint = f"they were trained with other options, which is said with --set {' '.join(other)}"
        try:
            load_strictly(network, read_tensors(source.path), origin=f"--init {request.init}")
        except UsageError as error:
            raise UsageError(f"{error}; {hint}" if other else str(error)) from error
    elif request.recipe.start is not None:
        _prepare(network, request.recipe.start)
    return network


def _prepare(network: torch.nn.Module, start: str) -> None:
    """What a recipe does with the fresh network."""
    try:
        import_object(start)(network)
    except Exception as error:  # a stranger's code may raise anything
        raise MissingError(f"start={start} of the recipe failed: {type(error).__name__}: {error}") from error


def _warn_of_small(material: Material, crops: Crops, held: Held, warn: Callable[[str], None]) -> None:
    """Say how many pairs are of no use."""
    without = ", without the margin of the blur," if crops.blurs else ""
    if crops.num_left_out:
        warn(
            f"{crops.num_left_out} of {len(material.train)} pairs are smaller{without} than a crop of {crops.patch} px; "
            "they are left out"
        )
    if held.num_left_out:
        warn(
            f"{held.num_left_out} of {len(material.val)} pairs held out for validation are too small; they are left out"
        )


def _environment(placement: Placement, processes: Processes) -> dict[str, Any]:
    """What a result depends on besides the request."""
    return {
        "deblur_cli": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": str(placement.device),
        "dtype": dtype_name(placement.compute),
        "threads": torch.get_num_threads(),
        "processes": processes.count,
    }


def _versions(host: Host, model: Model) -> dict[str, str]:
    """Of what makes pictures and networks, besides PyTorch; what a processor can do decides on last digits."""
    plugin = host.plugin_of(model)
    found = {"plugin": " ".join(filter(None, (plugin.distribution or plugin.name, plugin.version)))}
    for name in ("pillow", "opencv-python", "opencv-python-headless"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found | {"cpu": torch.backends.cpu.get_cpu_capability()}


def _warn_of_changes(before: Mapping[str, Any], now: Mapping[str, Any], warn: Callable[[str], None]) -> None:
    changed = [
        f"{name} was {before.get(name)}, is {value}"
        for name, value in now.items()
        if before.get(name) != value
    ]
    if changed:
        warn(f"the resumed run will not be bit for bit the uninterrupted one: {'; '.join(changed)}")
