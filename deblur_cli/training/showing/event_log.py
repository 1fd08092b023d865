"""TensorBoard's events of a run (the extra `tensorboard`): losses, scores, learning rate, speed, restored pictures.

Written record by record, without the thread of torch.utils.tensorboard: nothing is lost when the process is killed, a full
disk is an error like any other, and processes that read pictures can be forked meanwhile.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deblur_cli.data.files import encode_png
from deblur_cli.errors import MissingError
from deblur_cli.pictures.picture import shown
from deblur_cli.training.engine import Progress

NUM_PICTURES = 3
_DENSE_STEPS, _DENSE_EPOCHS = 10_000, 30
"""Beyond these every tenth is written, beyond ten times as many every hundredth: files stay small, curves readable."""


def require_tensorboard() -> None:
    """Raise MissingError where TensorBoard is not installed."""
    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401
    except ImportError as error:
        raise MissingError(
            f"--tensorboard needs the extra 'tensorboard' ({error}): pip install 'deblur-cli[tensorboard]'"
        ) from error


class EventLog:
    """Writes what a training reports, in a file of its own for each time that it is resumed.

    A training never fails because of it: what goes wrong is warned of once.

    Parameters
    ----------
    folder : is made where it does not exist
    step : of the state that the training goes on from; what was written of later steps counts no more
    validated : last step whose validation was written, 0 = none
    names : of the pictures that each validation restores
    """

    def __init__(
        self, folder: Path, *, step: int, validated: int, names: Sequence[str], warn: Callable[[str], None]
    ) -> None:
        self._folder, self._names, self._warn = folder, names, warn
        self._validated = validated
        self._writer: Any = None  # tensorboard has no types
        self._guarded(lambda: self._begin(step))

    def __call__(self, progress: Progress) -> None:
        """Write a step or a validation."""
        if self._writer is not None:
            self._guarded(lambda: self._write_progress(progress))

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._guarded(self._writer.close)

    def _begin(self, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._folder.mkdir(exist_ok=True)
        number = len(list(self._folder.glob("*.tfevents.*")))  # read in the order of their names
        file = (self._folder / f"events.out.tfevents.{number:06d}").open("xb")
        self._writer = RecordWriter(file)
        self._write(step + 1, file_version="brain.Event:2")
        self._write(
            step + 1, session_log=SessionLog(status=SessionLog.START)
        )  # drops this step and later ones

    def _write_progress(self, progress: Progress) -> None:
        if progress.validation is None:
            if _is_kept(progress.step, dense=_DENSE_STEPS):
                losses = {f"loss/{name}": value for name, value in progress.losses.items()}
                speed = {"lr": progress.lr, "images_per_second": progress.images_per_second}
                self._write_numbers(progress.step, losses | speed)
        elif progress.step > self._validated:
            scores = {name.removeprefix("val_"): value for name, value in asdict(progress.validation).items()}
            self._write_numbers(
                progress.step, {f"validation/{name}": value for name, value in scores.items()}
            )
            if _is_kept(progress.epoch, dense=_DENSE_EPOCHS):
                self._write_pictures(progress)

    def _write_numbers(self, step: int, numbers: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in numbers.items()]
        self._write(step, summary=Summary(value=values))

    def _write_pictures(self, progress: Progress) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = []
        for name, pixels in zip(self._names[:NUM_PICTURES], progress.restored, strict=False):
            height, width = pixels.shape[:2]
            image = Summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=encode_png(pixels)
            )
            values.append(Summary.Value(tag=f"restored/{shown(name)}", image=image))
        self._write(progress.step, summary=Summary(value=values))

    def _write(self, step: int, **content: Any) -> None:
        """One event. content : what protobuf takes for it, which has no types"""
        from tensorboard.compat.proto.event_pb2 import Event

        event = Event(wall_time=time.time(), step=step, **content)
        self._writer.write(event.SerializeToString())
        self._writer.flush()

    def _guarded(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # whatever a disk or a strange version may raise
            self._writer = None
            reason = " ".join(str(error).split())
            self._warn(f"{self._folder}: no more events for TensorBoard are written ({reason})")


def _is_kept(number: int, *, dense: int) -> bool:
    """Whether a step or epoch is written: all up to `dense`, then every tenth up to ten times that, and so on."""
    every = 1
    while number > dense * every:
        every *= 10
    return number % every == 0
