"""Models under a protocol, from opening the pairs to the records; what was found before an interruption is kept."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deblur_cli import __version__
from deblur_cli.data.pairs import Pair
from deblur_cli.errors import UsageError
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

_USUAL = {"strength": 1.0, "statistics": "auto", "overlap": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A model that is measured. settings : how its restorer was asked to work, such as its tiles

    called : in place of the source's own label, where that would not tell it from another
    """

    source: Source
    restorer: Restorer
    settings: Mapping[str, Any]
    called: str = ""

    @property
    def label(self) -> str:
        """As tables name it, with what else changes its pictures where that is not as usual."""
        dtype = self.restorer.dtype_for(np.float32)
        unusual = [dtype] * (dtype != "float32") + ["self-ensemble"] * (self.restorer.passes > 1)
        unusual += [
            f"{name} {self.settings[name]}"
            for name, usual in _USUAL.items()
            if self.settings.get(name, usual) != usual
        ]
        return ", ".join([self.called or self.source.label, *unusual])


def told_apart(contenders: Iterable[Contender]) -> tuple[Contender, ...]:
    """Each model once; files of one name, such as a/best.safetensors and b/best.safetensors, with their paths."""
    once: dict[tuple[str, Path | None], Contender] = {}
    for contender in contenders:
        path = contender.source.path
        once.setdefault((contender.label, None if path is None else path.resolve()), contender)
    times = Counter(contender.label for contender in once.values())
    return tuple(
        contender
        if times[contender.label] == 1
        else replace(contender, called=f"{contender.source.model.name} ({contender.source.path})")
        for contender in once.values()
    )


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
    """What came of a task: by label of each model, in sum and picture by picture; and a record of each.

    kept : what an interruption would have left. It stays until `forget`, so that nothing is lost where a result cannot be
        written, or another task is interrupted
    """

    found: Mapping[str, Evaluation]
    records: tuple[dict[str, Any], ...]
    kept: tuple[Ledger, ...] = ()

    def forget(self) -> None:
        """All that was found is where it belongs: the next evaluation begins anew."""
        for ledger in self.kept:
            ledger.forget()


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
    ledgers : the folder where what is found is kept until `Measured.forget`; None = nowhere
    fresh : begin anew, whatever an interrupted evaluation has left there
    going_on : told how many pictures are there already, where some are
    """
    kept = {contender.label: Ledger(_ledger_path(ledgers, task, contender)) for contender in contenders}
    if len(kept) < len(contenders):
        raise UsageError(f"models of one name cannot be told apart: {', '.join(c.label for c in contenders)}")
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
    records = tuple(
        {
            **make_record(
                found[contender.label], task.conditions, source=contender.source, restorer=contender.restorer,
                settings={**contender.settings, "workers": workers}, options=task.options,
            ),
            "model": contender.label,
        }
        for contender in contenders
    )  # fmt: skip
    return Measured(found=found, records=records, kept=tuple(kept.values()))


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
        "passes": contender.restorer.passes,
        "versions": [__version__, torch.__version__],
        "threads": torch.get_num_threads(),
    }
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()
    return folder / f"{digest[:32]}.jsonl"
