"""What ends a training: a loss that is no number, memory that does not suffice. Said with what to do about it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from deblur_cli.errors import CheckFailed, NotEnoughRoomError, UsageError, memory_ran_out
from deblur_cli.host.recipes import Recipe
from deblur_cli.training.recording.run_folder import RunFolder

_KILLED = re.compile(r"DataLoader worker \(pid.*(killed by signal: Killed|exited unexpectedly)")
_DETERMINISTIC = re.compile(r"(\S+) does not have a deterministic implementation")


def not_finite(what: str, *, step: int, lr: float, run: RunFolder) -> CheckFailed:
    """The error that ends a training at a value that is no finite number.

    what : the loss or gradient by name; lr : the recipe's full rate
    """
    saved = run.last_step_text()
    again = (
        f"begin a new run from it with --init {run.path / 'last'} and"
        if run.has_checkpoint()
        else "begin a new run with"
    )
    return CheckFailed(
        f"{what} is not finite at step {step}; the last good checkpoint is {saved}. Nothing later was saved: {again} "
        f"a lower learning rate, --set optimizer.lr={lr / 10:g}, or with --set clip_norm=1"
    )


def require_finite(tensors: Mapping[str, Tensor], *, step: int, lr: float, run: RunFolder) -> None:
    """Refuse to save a state with a value that is no finite number.

    Raises
    ------
    CheckFailed : it names the tensor
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise not_finite(name, step=step, lr=lr, run=run)


@contextmanager
def explained(recipe: Recipe, *, patch: int, device: torch.device, run: RunFolder) -> Iterator[None]:
    """Inside, what a machine or PyTorch refuses is said in the words of a training. patch : side of the crops, px.

    Raises
    ------
    NotEnoughRoomError : memory does not suffice
    UsageError : the run shall be deterministic, and an operation cannot
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if memory_ran_out(error):
            raise NotEnoughRoomError(
                f"out of memory on {device} with {_size(recipe, patch)}; the last good checkpoint is "
                f"{run.last_step_text()}. {_smaller(recipe, patch)}"
            ) from error
        if _KILLED.search(str(error)):
            raise NotEnoughRoomError(
                "a process that reads pictures was killed, as the system does when memory runs out; the last good "
                f"checkpoint is {run.last_step_text()}. Go on with fewer --workers: deblur train --resume -o {run.path}"
            ) from error
        refused = _DETERMINISTIC.search(str(error))
        if refused is not None:
            raise UsageError(
                f"--deterministic: {refused[1]} has no deterministic form on {device}; begin a new run without it, or "
                "with a network or a loss that does not use it"
            ) from error
        raise


def _size(recipe: Recipe, patch: int) -> str:
    parts = f", {recipe.accumulate} parts each," if recipe.accumulate > 1 else ""
    return f"batches of {recipe.batch_size} crops{parts} of {patch} px"


def _smaller(recipe: Recipe, patch: int) -> str:
    """What to try next. patch : as of `explained`; small pairs may have made it less than the recipe's"""
    if recipe.batch_size == 1:
        return f"Begin a new run with smaller crops: --set patch={max(1, patch // 2)}"
    half = f"half the batch size, --set batch_size={recipe.batch_size // 2}"
    if 2 * recipe.accumulate > recipe.batch_size:
        return f"Begin a new run with {half}"
    return f"Begin a new run with {half}, or with the batch in more parts, --set accumulate={2 * recipe.accumulate}"
