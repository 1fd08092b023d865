"""From what a user asks for to a training that runs: model, data, networks, run folder."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from deblur_cli import __version__
from deblur_cli.blur.spec import Spec
from deblur_cli.errors import UsageError
from deblur_cli.host.checks import DeclarationError
from deblur_cli.host.declarations import Geometry, Model
from deblur_cli.host.manager import Host
from deblur_cli.host.recipe_values import as_values
from deblur_cli.host.recipes import Flips, Recipe
from deblur_cli.restore.devices import dtype_name, pick_device
from deblur_cli.training.alarms import Watch
from deblur_cli.training.choosing import RECIPE_FILE, recipe_text
from deblur_cli.training.engine import Ended, Job, Progress, is_finished, train
from deblur_cli.training.failures import explained
from deblur_cli.training.feeding.batches import Division
from deblur_cli.training.feeding.crops import Crops
from deblur_cli.training.feeding.device_cache import Cache, DeviceCache, choose_cache, hold_on_device
from deblur_cli.training.feeding.material import Material, open_material
from deblur_cli.training.feeding.mixing import mixing_of
from deblur_cli.training.learning import Learning, Placement
from deblur_cli.training.loss_files import LossFile, absolute_files, known_files, named_files, read_files
from deblur_cli.training.objective import build_objective
from deblur_cli.training.precision import choose_placement, compiled, repeatable
from deblur_cli.training.processes import Processes, require_samples_for_all
from deblur_cli.training.recording.environment import environment_changes, environment_of
from deblur_cli.training.recording.identity import (
    Facts,
    at_most,
    differences,
    facts_of,
    pairs_listing,
    recipe_file_changes,
    tensor_changes,
)
from deblur_cli.training.recording.metrics_file import about_run
from deblur_cli.training.recording.run_folder import RunFolder
from deblur_cli.training.request import Request
from deblur_cli.training.schedule import Budget
from deblur_cli.training.showing.event_log import require_tensorboard
from deblur_cli.training.showing.live import Beginning, showing
from deblur_cli.training.starting import earlier_trainings, initial_network
from deblur_cli.training.state import State
from deblur_cli.training.strategies import build_steps
from deblur_cli.training.validation import Held, held_crops
from deblur_cli.weights import Header

Warn = Callable[[str], None]

_DECODED_BYTES = 2 << 30
"""Of decoded pictures that are kept in memory."""


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
    warn: Warn = lambda message: None,
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
    request, spec = _settled(request, model, host=host)
    require_samples_for_all(processes.count, batch_size=request.recipe.batch_size)
    placement = choose_placement(
        processes.own_device(pick_device(request.device)),
        dtype=request.dtype,
        channels_last=request.channels_last,
    )
    supply = _supply(
        request, model, spec, host=host, placement=placement, processes=processes, warn=warn, tell=tell
    )
    forget_init = resume and RunFolder(folder).has_checkpoint()  # these weights may be gone by now
    job, state = _job(
        replace(request, init=None) if forget_init else request,
        model,
        supply,
        host=host,
        placement=placement,
        processes=processes,
    )
    files = read_files(host, request.recipe)
    facts = _facts(request, supply, state, recipe=known_files(host, request.recipe, files))
    run = RunFolder(folder, facts=facts)
    environment = environment_of(placement, processes, host=host, model=model)
    record = _record(request, supply, command=command, environment=environment, files=files)
    if resume:
        _refuse_other_run(run, facts, supply)
        changed = environment_changes(run.read_record()["environment"], environment)
        if changed:
            warn(f"the resumed run will not be bit for bit the uninterrupted one: {'; '.join(changed)}")
        if processes.is_first:
            run.tidy()
    elif processes.is_first:
        values = as_values(request.recipe) | {"model": dict(request.options)}
        earlier = [asdict(training) for training in earlier_trainings(request.init, host=host)]
        run.begin(
            {**record, "earlier": earlier},
            pairs=supply.listing(),
            recipe=recipe_text(values, model=model.name),
        )
    processes.from_first(None)  # run.json is there
    header = Header(
        model=model.name,
        options=request.options,
        values=model.values.value,
        training_data=request.data,
        specs=supply.material.specs,
        recipe=as_values(named_files(host, request.recipe)),
        earlier=run.earlier(),
        run=hashlib.sha256((folder / "run.json").read_bytes()).hexdigest(),
        tool_version=__version__,
    )
    if resume:
        _go_on(state, run, facts, supply, warn)
    watch = Watch(warn)
    finished = is_finished(job, state)
    if not finished:
        begin(_beginning(job, state, supply, record))
    with (
        repeatable(wanted=request.deterministic),
        explained(request.recipe, patch=supply.crops.patch, device=placement.device, run=run),
        run.explaining_a_full_disk(),
        supply.crops.keeping_patches(folder / "pool", is_first=processes.is_first),
        nullcontext(report)
        if finished  # what it has shown stays as it is
        else showing(
            folder,
            job,
            state,
            record=record,
            pairs=supply.material.train,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Supply:
    """What is trained on. on_device : the pairs themselves, where they are held there"""

    material: Material
    crops: Crops
    held: Held
    on_device: DeviceCache | None

    @property
    def counts(self) -> dict[str, int]:
        """Pairs of use, by the names that run.json gives them."""
        return {
            "train_pairs": len(self.material.train) - self.crops.num_left_out,
            "val_pairs": len(self.material.val) - self.held.num_left_out,
            "validated_pictures": len(self.held.crops),
        }

    def listing(self) -> str:
        """All pairs, as pairs.csv has them."""
        return pairs_listing(self.material, self.crops, self.held)


def _settled(request: Request, model: Model, *, host: Host) -> tuple[Request, Spec | None]:
    """The request with nothing left to defaults or to files that may change, and the spec that prepares the pairs."""
    try:
        options = model.resolve_options(request.options)
    except DeclarationError as error:
        raise UsageError(str(error)) from error
    spec = request.preparation.read(host)
    text = request.preparation.text if spec is None else spec.text
    settled = replace(
        request,
        options=options,
        preparation=replace(request.preparation, text=text),
        recipe=absolute_files(host, request.recipe),
    )
    return settled, spec


def _require_patch(patch: int, geometry: Geometry, *, name: str) -> None:
    """Raise UsageError where the network cannot take crops of that side."""
    size, step = geometry.fixed_size, geometry.multiple_of
    if size is not None and patch != size:
        hint = f", or other options: {geometry.hint}" if geometry.hint else ""
        raise UsageError(
            f"{name} takes crops of {size} px only, not patch={patch}; give --set patch={size}{hint}"
        )
    if patch % step:
        raise UsageError(
            f"{name} takes crops of multiples of {step} px, not patch={patch}; give --set patch={max(1, patch // step) * step}"
        )


def _supply(
    request: Request,
    model: Model,
    spec: Spec | None,
    *,
    host: Host,
    placement: Placement,
    processes: Processes,
    warn: Warn,
    tell: Callable[[str], None],
) -> _Supply:
    """The pairs to train on and to validate with."""
    recipe, cache = request.recipe, choose_cache(request.cache)
    geometry = model.geometry_for(request.options)
    _require_patch(recipe.patch, geometry, name=model.name)
    material = open_material(host, request.data, spec=spec, only_sharp=request.preparation.blur is not None)
    crops = Crops(
        material.train,
        patch=recipe.patch,
        flips=Flips(recipe.flips),
        seed=request.seed,
        multiple_of=geometry.fixed_size or geometry.multiple_of,
        crops_per_pair=recipe.crops_per_pair,
        reuse=recipe.reuse,
        mixing=mixing_of(
            recipe.mixture,
            material.sizes,
            spec=spec if request.preparation.blur is not None else None,
            operations=host.degradations,
        ),
        cache_bytes=_DECODED_BYTES if cache is Cache.MEMORY else 0,
    )
    held = held_crops(material.val, multiple_of=geometry.multiple_of, fixed_size=geometry.fixed_size)
    _warn_of_small(material, crops, held, warn)
    on_device = None
    if cache is Cache.DEVICE:
        on_device = hold_on_device(
            crops, placement.device, processes=processes, workers=request.workers, tell=tell
        )
    return _Supply(material=material, crops=crops, held=held, on_device=on_device)


def _job(
    request: Request, model: Model, supply: _Supply, *, host: Host, placement: Placement, processes: Processes
) -> tuple[Job, State]:
    """The networks at their start, and all that trains them."""
    recipe = request.recipe
    network = initial_network(
        model, request.options, recipe=recipe, seed=request.seed, init=request.init, host=host
    )
    learning = Learning(
        generator=placement.learner("network", network, recipe.optimizer),
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
    job = Job(
        recipe=recipe,
        values=model.values,
        budget=Budget.choose(recipe, epochs=request.epochs, steps=request.steps, minutes=request.minutes),
        crops=supply.crops,
        held=supply.held,
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
        on_device=supply.on_device,
    )
    return job, State.begin((learning.generator, *steps.learners), ema_decay=recipe.ema_decay)


def _facts(request: Request, supply: _Supply, state: State, *, recipe: Recipe) -> Facts:
    """What the run is of. recipe : with its files known by what is in them"""
    return facts_of(
        model=request.model,
        options=request.options,
        learners=state.learners,
        recipe=recipe,
        settings={
            "seed": request.seed,
            "dtype": request.dtype,
            "init": request.init,
            "preset": request.preparation.preset,
            "blur": request.preparation.blur,
        },
        specs=supply.material.specs,
        held=supply.held,
        pairs=supply.listing(),
    )


def _record(
    request: Request,
    supply: _Supply,
    *,
    command: Sequence[str],
    environment: Mapping[str, Any],
    files: Mapping[str, LossFile],
) -> dict[str, Any]:
    """What run.json says: everything that it takes to repeat the run."""
    return {
        "command": list(command),
        "request": request.as_values(),
        "environment": dict(environment),
        **supply.counts,
        "specs_sha256": dict(supply.material.specs),
        "files": {option: asdict(file) for option, file in files.items()},
    }


def _beginning(job: Job, state: State, supply: _Supply, record: Mapping[str, Any]) -> Beginning:
    placement = job.learning.placement
    return Beginning(
        about=about_run(record),
        parameters=sum(value.numel() for value in job.learning.generator.network.parameters()),
        train_pairs=supply.counts["train_pairs"],
        val_pairs=supply.counts["val_pairs"],
        validated=supply.counts["validated_pictures"],
        crop_px=supply.crops.patch,
        wanted_px=job.recipe.patch,
        compute=f"{placement.device}, {dtype_name(placement.compute)}",
        budget=job.budget.in_words(),
        losses=tuple(term.loss for term in job.recipe.terms),
        step=state.step,
    )


def _refuse_other_run(run: RunFolder, facts: Facts, supply: _Supply) -> None:
    """Raise UsageError where run.json or recipe.toml are of another run than the request."""
    found = differences(run.facts(), facts, pairs_before=run.pairs(), pairs=supply.listing())
    _refuse_changes(run, [*found, *recipe_file_changes(run.path / RECIPE_FILE, run.read_record())])


def _refuse_changes(run: RunFolder, found: Sequence[str]) -> None:
    """Raise UsageError where the run would go on as something else than it was. found : what differs, in words"""
    if found:
        raise UsageError(
            f"{run.path} cannot be resumed as something else: {'; '.join(at_most(found))}. "
            "Put that back as it was, or begin a new run with another -o"
        )


def _go_on(state: State, run: RunFolder, facts: Facts, supply: _Supply, warn: Warn) -> None:
    """Take the state up where the run stopped, be it before its first checkpoint."""
    saved = run.read_last()
    if saved is None:
        warn(f"{run.path} was stopped before its first checkpoint; it begins anew")
        return
    # against the checkpoint too: run.json may have been edited
    _refuse_changes(run, differences(saved.facts, facts, pairs_before=run.pairs(), pairs=supply.listing()))
    _refuse_changes(run, tensor_changes(saved.tensors, state.tensors()))
    try:
        state.restore(saved.tensors, saved.scalars)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"the checkpoint of {run.path} is damaged or of another version ({reason}); "
            "begin a new run with another -o"
        ) from error


def _warn_of_small(material: Material, crops: Crops, held: Held, warn: Warn) -> None:
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
