"""What a run shows of itself besides its numbers: how it begins, pairs.png, curves.png, and events for TensorBoard."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deblur_cli.data.pairs import Pair
from deblur_cli.training.engine import Job, Progress
from deblur_cli.training.recording.metrics_file import about_run, caption_of
from deblur_cli.training.showing.event_log import EventLog
from deblur_cli.training.showing.input_sheet import draw_inputs
from deblur_cli.training.showing.plots import LiveCurves
from deblur_cli.training.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What is about to be trained, and how; told once all is known to fit, before the first step.

    about : model, data and recipe in words
    parameters : numbers that the network learns
    train_pairs, val_pairs, validated : pairs to train on, pairs held out, and how many of these each validation looks at
    crop_px, wanted_px : side of the crops, which is less than the recipe's where pictures are smaller
    compute : device and precision; budget : in words
    losses : names of those that make up the loss
    step : 0, or the step after which a resumed run goes on
    """

    about: str
    parameters: int
    train_pairs: int
    val_pairs: int
    validated: int
    crop_px: int
    wanted_px: int
    compute: str
    budget: str
    losses: tuple[str, ...]
    step: int


@contextmanager
def showing(
    folder: Path,
    job: Job,
    state: State,
    *,
    record: Mapping[str, Any],
    pairs: Sequence[Pair],
    with_events: bool,
    report: Callable[[Progress], None],
    warn: Callable[[str], None],
) -> Iterator[Callable[[Progress], None]]:
    """Draw pairs.png; inside, the curves and TensorBoard's events follow what is reported. For the first process alone.

    Parameters
    ----------
    folder : of the run
    record : of the run, for captions
    pairs : those that the crops are cut from
    with_events : whether TensorBoard's events are written

    Yields
    ------
    what to call in place of `report`; it calls that in the end
    """
    if not job.division.processes.is_first:
        yield report
        return
    sheet = folder / "pairs.png"
    if not sheet.exists():  # a resumed run has it
        try:
            draw_inputs(
                job.crops,
                pairs,
                placement=job.learning.placement,
                values=job.values,
                title=about_run(record),
                target=sheet,
            )
        except Exception as error:  # a picture that cannot be read stops the training itself
            warn(f"{sheet} was not drawn: {error}")
    curves = LiveCurves(folder / "curves.png", about=caption_of(record), rows=state.history, warn=warn)
    events = None
    if with_events:
        validated = int(state.history[-1]["step"]) if state.history else 0
        events = EventLog(
            folder / "events", step=state.step, validated=validated, names=job.held.names, warn=warn
        )

    def show(progress: Progress) -> None:
        if progress.validation is not None:
            curves.update()
        if events is not None:
            events(progress)
        report(progress)

    try:
        yield show
    finally:
        curves.finish()
        if events is not None:
            events.close()
