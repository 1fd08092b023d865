"""The training loop, in the order of events."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum, auto
from itertools import islice

import torch
from torch import nn

from deblur_cli.host.declarations import Values
from deblur_cli.host.recipes import Recipe
from deblur_cli.host.schedules import Moment
from deblur_cli.training.alarms import Watch
from deblur_cli.training.failures import not_finite, require_finite
from deblur_cli.training.feeding.batches import Batch, Division, Part, batches
from deblur_cli.training.feeding.crops import Crops
from deblur_cli.training.feeding.device_cache import DeviceCache
from deblur_cli.training.learning import Learning, Losses, NotFiniteError
from deblur_cli.training.processes import Processes
from deblur_cli.training.recording.run_folder import RunFolder
from deblur_cli.training.schedule import Budget
from deblur_cli.training.state import State
from deblur_cli.training.strategies import Steps
from deblur_cli.training.validation import Held, Pixels, Validation, validate
from deblur_cli.weights import Header


class Ended(Enum):
    """How a training came to its end."""

    DONE = auto()  # its budget is used up
    BEFORE = auto()  # it had come to its end already; nothing was done
    EARLY = auto()  # the validation loss stood still
    STOPPED = auto()  # somebody asked for it; it can be resumed


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is reported after each step; `validation` only after an epoch.

    losses : by name, of the step or the epoch
    restored : what the validation made of the crops held out, (H, W, 3) each; in the first process alone
    """

    step: int
    epoch: int
    done: float
    seconds: float
    losses: Losses
    lr: float
    images_per_second: float
    validation: Validation | None = None
    restored: Sequence[Pixels] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training: what is trained on what, how, and where. Built once, changed by nobody.

    values : range of the network; save_every_s : seconds after which the state is saved, besides after each epoch
    on_device : the pairs themselves, where they are held on the device
    """

    recipe: Recipe
    values: Values
    budget: Budget
    crops: Crops
    held: Held
    division: Division
    workers: int
    learning: Learning
    steps: Steps
    save_every_s: float = 300.0
    on_device: DeviceCache | None = None


def train(
    job: Job,
    state: State,
    *,
    run: RunFolder,
    header: Header,
    should_stop: Callable[[], bool] = lambda: False,
    report: Callable[[Progress], None] = lambda progress: None,
    watch: Watch | None = None,
) -> Ended:
    """Train until the budget is used up or `should_stop` says so; the run folder then holds the last state.

    A resumed training goes on as if it had not been interrupted: bit for bit in float32 on a CPU with the same number of
    threads and a budget in steps or epochs.

    watch : looks at what each validation restores, in the first process

    Raises
    ------
    CheckFailed : a loss, a gradient or the state is not finite; the last checkpoint is left as it was
    """
    clock = _Clock(state, job.learning.processes)
    saved_at = state.seconds
    moment = _moment(job, state)
    if is_finished(job, state):
        row = state.history[-1]
        found = Validation(**{item.name: row[item.name] for item in fields(Validation)})
        report(_progress(state, moment, losses={}, lr=row["lr"], validation=found))
        return Ended.EARLY if _is_over(job, moment) else Ended.BEFORE
    while moment.progress < 1:
        if _is_over(job, moment):
            return Ended.EARLY
        for group in _steps_of_epoch(job, state):
            lr = _prepare(job, state, moment)
            losses = _step(job, state, group, run, epoch=moment.epoch)
            before = state.seconds
            wants_to_stop = clock.agree(state, should_stop())
            moment = _moment(job, state)
            speed = sum(batch.size for batch in group) / max(1e-9, state.seconds - before)
            report(_progress(state, moment, losses=losses, lr=lr, images_per_second=speed))
            if wants_to_stop and moment.progress < 1:
                _save(job, state, run, header)
                return Ended.STOPPED
            if moment.progress >= 1:
                break  # before it is saved: a run killed now must still be validated when it is resumed
            if state.seconds - saved_at > job.save_every_s:
                _save(job, state, run, header)
                saved_at = state.seconds
        losses = state.mean_losses()
        if not _has_steps_left(job, state):
            state.end_epoch()
        rate = _rate(job, moment)
        found, restored = _validate(job, state, run, header, losses=losses, lr=rate, watch=watch)
        report(_progress(state, moment, losses=losses, lr=rate, validation=found, restored=restored))
        clock.agree(state, False)  # before it is saved: time that is up stays up when the run is resumed
        _save(job, state, run, header)
        saved_at = state.seconds
        moment = _moment(job, state)
    return Ended.DONE


class _Clock:
    """The time trained so far, as the first process measures it."""

    def __init__(self, state: State, processes: Processes) -> None:
        self._started = time.monotonic() - state.seconds
        self._processes = processes

    def agree(self, state: State, wants_to_stop: bool) -> bool:
        """Set the state's time; returns whether any process wants to stop."""
        first = self._processes.is_first
        told = torch.tensor(
            [time.monotonic() - self._started if first else 0.0, wants_to_stop], dtype=torch.float64
        )
        self._processes.add_up([told])
        state.seconds = float(told[0])
        return bool(told[1])


def _steps_of_epoch(job: Job, state: State) -> Iterator[Sequence[Batch]]:
    """The batches of each step that is left in the epoch."""
    placement = job.learning.placement
    if job.on_device is not None:
        loaded = job.on_device.batches(job.division, epoch=state.epoch, start=state.batch)
    else:
        loaded = batches(
            job.crops,
            job.division,
            epoch=state.epoch,
            start=state.batch,
            workers=job.workers,
            pin=placement.device.type == "cuda",
        )
    while _has_steps_left(job, state):
        group = []
        for size, blurry, sharp in islice(loaded, _batches_needed(job, state)):
            blurry, sharp = (placement.pictures(pictures, values=job.values) for pictures in (blurry, sharp))
            group.append(_divided(blurry, sharp, size=size, division=job.division))
        yield group


def _has_steps_left(job: Job, state: State) -> bool:
    """Whether the epoch has batches enough for one more step; the first is made of what there is."""
    return state.batch == 0 or state.batch + _batches_needed(job, state) <= job.division.count(job.crops)


def _batches_needed(job: Job, state: State) -> int:
    return job.steps.batches_needed(_moment(job, state).epoch)


def _divided(blurry: torch.Tensor, sharp: torch.Tensor, *, size: int, division: Division) -> Batch:
    """A batch from this process's samples."""
    parts, start = [], 0
    for samples in division.own_parts(size):
        count = samples.stop - samples.start
        own = slice(start, start + count)
        parts.append(Part(blurry=blurry[own], sharp=sharp[own], samples=samples, share=count / size))
        start += count
    return Batch(parts=tuple(parts), size=size)


def _moment(job: Job, state: State) -> Moment:
    return job.budget.moment(state, job.recipe, batches_per_epoch=job.division.count(job.crops))


def is_finished(job: Job, state: State) -> bool:
    """Whether a training that is resumed has nothing left to do."""
    moment = _moment(job, state)
    return bool(state.history) and (moment.progress >= 1 or _is_over(job, moment))


def _is_over(job: Job, moment: Moment) -> bool:
    stopping = job.recipe.early_stopping
    return stopping is not None and stopping.is_due(moment.val_losses)


def _rate(job: Job, moment: Moment) -> float:
    return job.learning.generator.lr * job.recipe.schedule.factor(moment)


def _prepare(job: Job, state: State, moment: Moment) -> float:
    """Modes, rates and random numbers of the next step; returns the network's learning rate."""
    for learner in state.learners:
        learner.network.train()
        learner.set_rate(job.recipe.schedule.factor(moment))
    if moment.progress >= job.recipe.freeze_norm_after:
        for module in job.learning.generator.network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()  # it uses and keeps the statistics it has
    job.learning.begin_step(state.step)
    return _rate(job, moment)


def _step(job: Job, state: State, group: Sequence[Batch], run: RunFolder, *, epoch: int) -> Losses:
    try:
        losses = job.steps.step(group, epoch=epoch)
    except NotFiniteError as error:
        lr = job.learning.generator.lr
        raise not_finite(error.what, step=state.step + 1, lr=lr, run=run) from error
    job.learning.agree_on_statistics()
    if state.average is not None:
        state.average.update_parameters(job.learning.generator.network)
    state.count(losses, batches=len(group))
    return losses


def _progress(
    state: State,
    moment: Moment,
    *,
    losses: Losses,
    lr: float,
    images_per_second: float = 0.0,
    validation: Validation | None = None,
    restored: Sequence[Pixels] = (),
) -> Progress:
    return Progress(
        step=state.step,
        epoch=state.epoch,
        done=moment.progress,
        seconds=state.seconds,
        losses=losses,
        lr=lr,
        images_per_second=images_per_second,
        validation=validation,
        restored=restored,
    )


def _validate(
    job: Job,
    state: State,
    run: RunFolder,
    header: Header,
    *,
    losses: Losses,
    lr: float,
    watch: Watch | None,
) -> tuple[Validation, Sequence[Pixels]]:
    """Score the network; the first process does so and tells the others, but keeps what it restored."""
    learning = job.learning
    found = None
    restored: Sequence[Pixels] = ()
    if learning.processes.is_first:
        found, restored = validate(
            state.evaluated,
            job.held,
            values=job.values,
            objective=learning.objective,
            placement=learning.placement,
        )
    found = learning.processes.from_first(found)
    assert found is not None
    if not math.isfinite(found.val_loss):
        raise not_finite("the validation loss", step=state.step, lr=learning.generator.lr, run=run)
    if watch is not None and learning.processes.is_first:
        blurry = (pair[0] for pair in job.held.crops)
        watch.look(list(zip(blurry, restored, strict=True)), found, losses)
    content = sum(losses.get(term.loss, 0.0) for term in job.recipe.terms)
    row = {
        "step": state.step,
        "epoch": state.epoch + _share_of_epoch(job, state),
        "seconds": round(state.seconds, 1),
        "lr": lr,
        "train_loss": content,
    }
    has_parts = len(losses) > 1 or len(state.learners) > 1  # with a critic there will be more
    parts = {f"train_{name}": value for name, value in losses.items()} if has_parts else {}
    state.history.append(row | parts | asdict(found))
    is_best = found.val_loss < state.best_loss
    state.best_loss = min(found.val_loss, state.best_loss)
    if learning.processes.is_first:
        run.write_metrics(state.history)
        if is_best:
            weights = state.evaluated.state_dict()
            require_finite(weights, step=state.step, lr=learning.generator.lr, run=run)
            run.write_best(weights, _with_steps(header, state))
    return found, restored


def _share_of_epoch(job: Job, state: State) -> float:
    """How much of the epoch is done, where a training ends within one; else a whole 0."""
    return round(state.batch / job.division.count(job.crops), 3) if state.batch else 0


def _save(job: Job, state: State, run: RunFolder, header: Header) -> None:
    if job.learning.processes.is_first:
        tensors = state.tensors()
        require_finite(tensors, step=state.step, lr=job.learning.generator.lr, run=run)
        run.write_last(
            weights=state.evaluated.state_dict(),
            header=_with_steps(header, state),
            tensors=tensors,
            state=state.scalars(),
        )


def _with_steps(header: Header, state: State) -> Header:
    return replace(header, steps=state.step)
