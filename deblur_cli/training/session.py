"""From what a user asks for to a training that runs: models, recipe, data, run folder."""

import hashlib
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deblur_cli import __version__
from deblur_cli.errors import MissingError, UsageError
from deblur_cli.host.checks import DeclarationError
from deblur_cli.host.declarations import Model, import_object
from deblur_cli.host.manager import Host
from deblur_cli.host.recipes import Recipe
from deblur_cli.restore.devices import pick_device, pick_precision
from deblur_cli.training.crops import Crops, batches_per_epoch
from deblur_cli.training.engine import Job, Progress, train
from deblur_cli.training.material import Material, Preparation, open_material
from deblur_cli.training.run_folder import RunFolder
from deblur_cli.training.schedule import Budget
from deblur_cli.training.state import State
from deblur_cli.training.validation import Held, held_crops
from deblur_cli.weights import Header, load_strictly, read_header, read_tensors, resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for; saved in run.json and all that a resumed run needs.

    data : names of data sets or folders, prepared as `preparation` says; init : weights to start from
    overrides : fields of the recipe with their new values
    """

    model: str
    data: tuple[str, ...]
    preparation: Preparation = field(default_factory=Preparation)
    recipe: str | None = None
    options: Mapping[str, Any]
    overrides: Mapping[str, Any]
    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None
    seed: int = 0
    workers: int = 0
    device: str = "auto"
    dtype: str = "auto"
    init: str | None = None


def run_training(
    request: Request,
    folder: Path,
    *,
    host: Host,
    command: Sequence[str],
    resume: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    report: Callable[[Progress], None] = lambda progress: None,
    warn: Callable[[str], None] = lambda message: None,
) -> bool:
    """Train as asked; the run folder holds the result. Returns whether the training came to its end.

    Raises
    ------
    MissingError : model, data, device or weights are not there
    UsageError : the request contradicts itself or the run folder
    """
    model = host.model(request.model)
    recipe = _recipe(model, request)
    options = _resolved(model, request.options)
    device = pick_device(request.device)
    dtype = pick_precision(request.dtype, device=device).dtype
    if dtype == torch.float16:
        raise UsageError(
            "gradients vanish in float16; train in bfloat16 or float32, restore in float16 as you like"
        )
    spec = request.preparation.read(host)
    if spec is not None:
        request = replace(request, preparation=replace(request.preparation, text=spec.text))
    material = open_material(host, request.data, spec=spec, only_sharp=request.preparation.blur is not None)
    multiple_of = model.geometry_for(options).multiple_of
    crops = Crops(
        material.train,
        patch=recipe.patch,
        flips=recipe.flips,
        seed=request.seed,
        multiple_of=multiple_of,
        reuse=recipe.reuse,
    )
    held = held_crops(material.val, multiple_of=multiple_of)
    _warn_of_small(material, crops, held, warn)
    budget = Budget.choose(
        recipe,
        steps_per_epoch=batches_per_epoch(crops, batch_size=recipe.batch_size),
        epochs=request.epochs,
        steps=request.steps,
        minutes=request.minutes,
    )
    state = _begin(model, options, recipe, request, host=host, device=device)
    run = RunFolder(folder)
    environment = _environment(device)
    if resume:
        _warn_of_changes(run.read_record()["environment"], environment, warn)
    else:
        run.begin(
            {
                "command": list(command),
                "request": asdict(request),
                "recipe": asdict(recipe),
                "options": options,
                "environment": environment,
                "train_pairs": len(material.train) - crops.num_left_out,
                "val_pairs": len(material.val) - held.num_left_out,
                "pair_names_sha256": material.names_sha256(),
                "specs_sha256": material.specs,
            }
        )
    header = Header(
        model=model.name,
        options=options,
        values=model.values.value,
        training_data=request.data,
        recipe=asdict(recipe),
        run=hashlib.sha256((folder / "run.json").read_bytes()).hexdigest(),
        tool_version=__version__,
    )
    if resume:
        _go_on(state, run, warn)
    job = Job(
        model=model,
        options=options,
        recipe=recipe,
        loss=import_object(host.loss(recipe.loss).function),
        budget=budget,
        crops=crops,
        held=held,
        workers=request.workers,
        device=device,
        dtype=dtype,
    )
    with crops.keeping_patches(folder / "pool"):
        return train(job, state, run=run, header=header, should_stop=should_stop, report=report)


def _go_on(state: State, run: RunFolder, warn: Callable[[str], None]) -> None:
    """Take the state up where the run stopped, be it before its first checkpoint."""
    saved = run.read_last()
    if saved is None:
        warn(f"{run.path} was stopped before its first checkpoint; it begins anew")
        return
    tensors, scalars = saved
    try:
        state.restore(tensors, scalars)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"the checkpoint of {run.path} is damaged or of another version ({reason}); "
            "begin a new run with another -o"
        ) from error


def _recipe(model: Model, request: Request) -> Recipe:
    """The recipe asked for, else the model's first, with the user's changes."""
    name = request.recipe or next(iter(model.recipes), None)
    if name is None:
        raise MissingError(f"model {model.name} declares no recipe, so it cannot be trained")
    if name not in model.recipes:
        raise MissingError(f"model {model.name} has no recipe {name!r}; it has: {', '.join(model.recipes)}")
    try:
        return replace(model.recipes[name], **request.overrides)
    except DeclarationError as error:
        raise UsageError(str(error)) from error


def _resolved(model: Model, options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return model.resolve_options(options)
    except DeclarationError as error:
        raise UsageError(str(error)) from error


def _begin(
    model: Model,
    options: Mapping[str, Any],
    recipe: Recipe,
    request: Request,
    *,
    host: Host,
    device: torch.device,
) -> State:
    """The state before step 1: fresh from the seed, or from the weights of --init."""
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
        load_strictly(network, read_tensors(source.path), origin=str(source.path))
    elif recipe.start is not None:
        import_object(recipe.start)(network)
    # torch's types lack memory_format
    network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return State.begin(network, recipe)


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


def _environment(device: torch.device) -> dict[str, Any]:
    """What a result depends on besides the request."""
    return {
        "deblur_cli": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": str(device),
        "threads": torch.get_num_threads(),
    }


def _warn_of_changes(before: Mapping[str, Any], now: Mapping[str, Any], warn: Callable[[str], None]) -> None:
    changed = [
        f"{name} was {before.get(name)}, is {value}"
        for name, value in now.items()
        if before.get(name) != value
    ]
    if changed:
        warn(f"the resumed run will not be bit for bit the uninterrupted one: {'; '.join(changed)}")
