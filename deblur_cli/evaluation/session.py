"""Models under a protocol, from opening the pairs to the records; what was found before an interruption is kept."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deblur_cli import __version__
from deblur_cli.data.pairs import Pair
from deblur_cli.evaluation.evaluate import evaluate_models
from deblur_cli.evaluation.ledger import Ledger
from deblur_cli.evaluation.measures import Measure, build_measures
from deblur_cli.evaluation.opening import open_protocol
from deblur_cli.evaluation.protocols import Conditions, Protocol
from deblur_cli.evaluation.record_files import identity, make_record
from deblur_cli.evaluation.records import Evaluation, Progress
from deblur_cli.host.manager import Host
from deblur_cli.restore.restorer import Restorer
from deblur_cli.weights import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A model that is measured. settings : how its restorer was asked to work, such as its tiles"""

    source: Source
    restorer: Restorer
    settings: Mapping[str, Any]

    @property
    def label(self) -> str:
        """As tables name it."""
        return self.source.label


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A protocol with its pairs, opened, and what is measured. options : of the metrics"""

    pairs: Sequence[Pair]
    conditions: Conditions
    measures: tuple[Measure, ...]
    options: Mapping[str, Mapping[str, Any]]


def open_task(
    host: Host,
    protocol: Protocol,
    *,
    data: str = "",
    limit: int | None = None,
    metrics: Sequence[str] = (),
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Task:
    """What is to be measured, looked up and opened.

    Parameters
    ----------
    data : where the pairs are, "" = as the protocol says
    metrics : names; none = those of the protocol
    options : by name of a metric, what it is prepared with

    Raises
    ------
    MissingError, UsageError : a metric, its file, or the pairs are not there
    """
    chosen = [host.metric(name) for name in dict.fromkeys(metrics or protocol.metrics)]
    measures = build_measures(chosen, options)
    pairs, conditions = open_protocol(host, protocol, data=data, limit=limit)
    return Task(pairs=pairs, conditions=conditions, measures=measures, options=options or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of a task: by label of each model, in sum and picture by picture; and a record of each."""

    found: Mapping[str, Evaluation]
    records: tuple[dict[str, Any], ...]


def measure(
    task: Task,
    contenders: Sequence[Contender],
    *,
    workers: int = 1,
    ledgers: Path | None = None,
    fresh: bool = False,
    going_on: Callable[[int], None] = lambda pictures: None,
    progress: Progress | None = None,
) -> Measured:
    """Measure models on what a task holds.

    Parameters
    ----------
    workers : as those of `evaluate_models`
    ledgers : the folder where what is found is kept until all is there; None = nowhere
    fresh : begin anew, whatever an interrupted evaluation has left there
    going_on : told how many pictures are there already, where some are
    """
    kept = {contender.label: Ledger(_ledger_path(ledgers, task, contender)) for contender in contenders}
    if fresh:
        for ledger in kept.values():
            ledger.forget()
    if any(map(len, kept.values())):
        going_on(sum(map(len, kept.values())))
    found = evaluate_models(
        {contender.label: contender.restorer for contender in contenders},
        task.pairs,
        task.measures,
        protocol=task.conditions.protocol,
        limit=task.conditions.pairs,
        workers=workers,
        ledgers=kept,
        progress=progress,
    )
    for ledger in kept.values():
        ledger.forget()
    records = tuple(
        make_record(
            found[contender.label], task.conditions, source=contender.source, restorer=contender.restorer,
            settings={**contender.settings, "workers": workers}, options=task.options,
        )
        for contender in contenders
    )  # fmt: skip
    return Measured(found=found, records=records)


def _ledger_path(folder: Path | None, task: Task, contender: Contender) -> Path | None:
    """A file for each set of all that a score may depend on."""
    if folder is None:
        return None
    decides = {
        **identity(contender.source),
        **contender.settings,
        "protocol": task.conditions.hash,
        "metrics": [measure.metric.name for measure in task.measures],
        "metric_options": {name: dict(values) for name, values in task.options.items()},
        "device": str(contender.restorer.device),
        "dtype": contender.restorer.dtype,
        "versions": [__version__, torch.__version__],
        "threads": torch.get_num_threads(),
    }
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()
    return folder / f"{digest[:32]}.jsonl"
