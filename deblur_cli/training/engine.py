"""The training loop, in the order of events."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from deblur_cli.errors import CheckFailed
from deblur_cli.host.declarations import Model, Values
from deblur_cli.host.recipes import Recipe
from deblur_cli.training.crops import Crops, batches, batches_per_epoch
from deblur_cli.training.run_folder import RunFolder
from deblur_cli.training.schedule import Budget, learning_rate
from deblur_cli.training.state import State
from deblur_cli.training.validation import Held, Validation, validate
from deblur_cli.weights import Header

SAVE_EVERY_S = 300.0

LossFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is reported after each step; `validation` only after an epoch."""

    step: int
    epoch: int
    done: float
    seconds: float
    loss: float
    lr: float
    images_per_second: float
    validation: Validation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training: what is trained on what, how, and where. Built once, changed by nobody."""

    model: Model
    options: dict[str, Any]
    recipe: Recipe
    loss: LossFunction
    budget: Budget
    crops: Crops
    held: Held
    workers: int
    device: torch.device
    dtype: torch.dtype


def train(
    job: Job,
    state: State,
    *,
    run: RunFolder,
    header: Header,
    should_stop: Callable[[], bool] = lambda: False,
    report: Callable[[Progress], None] = lambda progress: None,
) -> bool:
    """Train until the budget is used up or `should_stop` says so; the run folder then holds the last state.

    Returns whether the training came to its end. A resumed training goes on as if it had not been interrupted:
    bit for bit in float32 on a CPU with the same number of threads and a budget in steps.
    """
    recipe = job.recipe
    per_epoch = batches_per_epoch(job.crops, batch_size=recipe.batch_size)
    started = time.monotonic() - state.seconds
    saved_at = state.seconds
    done = job.budget.progress(step=state.step, seconds=state.seconds)
    while done < 1:
        for blurry, sharp in batches(
            job.crops, epoch=state.epoch, start=state.batch, batch_size=recipe.batch_size, workers=job.workers
        ):
            lr = learning_rate(recipe, step=state.step, progress=done)
            loss = _step(job, state, blurry, sharp, lr=lr, freeze_norm=done >= recipe.freeze_norm_after)
            now = time.monotonic() - started
            speed = len(blurry) / (now - state.seconds)
            state.seconds = now
            done = job.budget.progress(step=state.step, seconds=now)
            report(_progress(state, done, loss=loss, lr=lr, images_per_second=speed))
            if should_stop() and done < 1:
                _save(state, run, header)
                return False
            if now - saved_at > SAVE_EVERY_S:
                _save(state, run, header)
                saved_at = now
            if done >= 1:
                break
        train_loss = state.loss_sum / state.batch
        if state.batch == per_epoch:
            state.epoch, state.batch, state.loss_sum = state.epoch + 1, 0, 0.0
        lr = learning_rate(recipe, step=state.step, progress=done)
        found = _validate(job, state, run, header, train_loss=train_loss, lr=lr)
        report(_progress(state, done, loss=train_loss, lr=lr, validation=found))
        _save(state, run, header)
        state.seconds = time.monotonic() - started
        done = job.budget.progress(step=state.step, seconds=state.seconds)
    return True


def _progress(
    state: State,
    done: float,
    *,
    loss: float,
    lr: float,
    images_per_second: float = 0.0,
    validation: Validation | None = None,
) -> Progress:
    return Progress(
        step=state.step,
        epoch=state.epoch,
        done=done,
        seconds=state.seconds,
        loss=loss,
        lr=lr,
        images_per_second=images_per_second,
        validation=validation,
    )


def _step(job: Job, state: State, blurry: Tensor, sharp: Tensor, *, lr: float, freeze_norm: bool) -> float:
    """One update of the parameters; returns the loss."""
    recipe, network = job.recipe, state.network
    _set_mode(network, freeze_norm=freeze_norm)
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    blurry, sharp = (
        _to_range(batch.to(job.device, memory_format=torch.channels_last), job.model.values)
        for batch in (blurry, sharp)
    )
    with torch.autocast(job.device.type, dtype=job.dtype, enabled=job.dtype != torch.float32):
        restored = network(blurry)
    loss = job.loss(restored.float(), sharp)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    if recipe.clip_norm is not None:
        nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
    value = float(loss.detach())
    if not torch.isfinite(loss.detach()):
        raise CheckFailed(
            f"the loss became {value} at step {state.step + 1}; lower the learning rate with --lr"
        )
    state.optimizer.step()
    if state.average is not None:
        state.average.update_parameters(network)
    state.step += 1
    state.batch += 1
    state.loss_sum += value
    return value


def _set_mode(network: nn.Module, *, freeze_norm: bool) -> None:
    """Training mode; frozen batch norms use and keep the statistics they have."""
    network.train()
    if freeze_norm:
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def _validate(
    job: Job, state: State, run: RunFolder, header: Header, *, train_loss: float, lr: float
) -> Validation:
    found = validate(
        state.evaluated,
        job.held,
        values=job.model.values,
        loss=job.loss,
        device=job.device,
        dtype=job.dtype,
    )
    state.history.append(
        {
            "step": state.step,
            "epoch": state.epoch,
            "seconds": round(state.seconds, 1),
            "lr": lr,
            "train_loss": train_loss,
        }
        | asdict(found)
    )
    run.write_metrics(state.history)
    if found.val_loss < state.best_loss:
        state.best_loss = found.val_loss
        run.write_best(state.evaluated.state_dict(), _with_steps(header, state))
    return found


def _save(state: State, run: RunFolder, header: Header) -> None:
    run.write_last(
        weights=state.evaluated.state_dict(),
        header=_with_steps(header, state),
        tensors=state.tensors(),
        state=state.scalars(),
    )


def _with_steps(header: Header, state: State) -> Header:
    return replace(header, steps=state.step)


def _to_range(batch: Tensor, values: Values) -> Tensor:
    return batch if values is Values.UNIT else batch * 2 - 1
