"""The page of results: what reports print of networks, what ours reach beside it, and the commands that make it again."""

import csv
import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deblur_cli.errors import PictureError, UsageError
from deblur_cli.evaluation.breakdown import sigma_table
from deblur_cli.evaluation.protocols import PROTOCOLS, Protocol
from deblur_cli.evaluation.score_tables import (
    BLURRED,
    Record,
    by_pairs,
    by_protocol,
    model_labels,
    protocol_title,
    title_of,
)
from deblur_cli.evaluation.typeset import Cell, Column, Row, Table, as_markdown
from deblur_cli.host.declarations import Metric, Model, Reported

BEGIN, END = "<!-- deblur results -->\n", "<!-- end of deblur results -->\n"

HEAD = "# Results\n\nWhat reports print of their networks, and what is reached under the same protocols.\n\n"


_FIRST = ("psnr", "ssim", "mse", "mae")
"""Metrics in the order of their columns; others follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A training with those that it went on from, as its folder tells it.

    commands : the first training's first
    earlier_steps : of all but the last
    steps, minutes : of all
    machine : device, precision, threads of the last
    origin : the weights that the first began from; "" = none
    """

    commands: tuple[str, ...]
    earlier_steps: int
    steps: int
    minutes: float
    machine: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A network in a table. record : None where it has not been measured; printed : scores and notes of a report, or empty"""

    label: str
    record: Record | None
    printed: Mapping[str, Any]
    run: Run | None
    commands: tuple[str, ...]


def read_run(folder: Path) -> Run | None:
    """What run.json and metrics.csv of a run say, None without them; a folder `begun` in it is the run it went on from.

    Raises PictureError where they cannot be read.
    """
    if not (folder / "run.json").is_file():
        return None
    try:
        about = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        steps, seconds = max(int(row["step"]) for row in rows), max(float(row["seconds"]) for row in rows)
        command, environment = shlex.join(map(str, about["command"])), about["environment"]
        threads = environment["threads"] * environment.get("processes", 1)
        machine = f"{environment['device']}, {environment['dtype']}, {threads} thread{'s' * (threads > 1)}"
        origin = about.get("run_is_of", {}).get("init") or ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PictureError(
            f"run.json and metrics.csv in {folder} are not those of a training: {error}"
        ) from error
    before = read_run(folder / "begun")
    earlier_steps = before.steps if before else 0
    return Run(
        commands=(*(before.commands if before else ()), command),
        earlier_steps=earlier_steps,
        steps=earlier_steps + steps,
        minutes=(before.minutes if before else 0) + seconds / 60,
        machine=machine,
        origin=before.origin if before else origin,
    )


def results_page(
    records: Sequence[Record],
    *,
    models: Mapping[str, Model],
    metrics: Mapping[str, Metric],
    runs: Path | None = None,
    command: str,
) -> str:
    """What stands between the marks: tables and commands for each protocol that records or reports have.

    Parameters
    ----------
    models, metrics : the declared ones
    runs : a folder with the run of each model, by its label
    command : that writes the page
    """
    lines = [
        f"Written by `{command}`: what stands between the marks is replaced. In brackets behind a figure stand the report's and "
        "the difference; a network with a dash has not been measured under the protocol.\n"
    ]
    by_hash = by_protocol(records)
    for protocol in PROTOCOLS.values():
        measured = [same for same in by_hash if same[0]["protocol"].get("name") == protocol.name]
        known = [record for same in measured for record in same]
        missing = [
            _missing(protocol, model, reported)
            for model in models.values()
            for reported in model.reported
            if reported.protocol == protocol.name
            and not any(_is_of(record, model, reported) for record in known)
        ]
        if not (measured or missing):
            continue
        lines.append(f"## {protocol.name}\n\n{protocol.summary}.\n")
        for number, same in enumerate(measured or [[]]):
            lines += _section(same, _numbered(missing) if number == 0 else (), metrics, runs)
    for same in by_hash:
        if same[0]["protocol"].get("name") not in PROTOCOLS:
            lines += [f"## {same[0]['protocol']['data']}\n", *_section(same, (), metrics, runs)]
    return "\n".join(lines)


def with_page(text: str, page: str) -> str:
    """A text with the page between its marks. Without marks the page comes last, without any text below a heading.

    Raises UsageError where the second mark is missing, since what follows the page could not be told from it.
    """
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if found and not ended:
        raise UsageError(
            f"its mark {BEGIN.strip()} has no {END.strip()} below; put that line where the page ends"
        )
    if not found:
        before = f"{text.rstrip()}\n\n" if text.strip() else HEAD
    return f"{before}{BEGIN}\n{page}\n{END}{after}"


def _numbered(entries: Sequence[_Entry]) -> list[_Entry]:
    """With numbers behind labels that several have, such as of one network after two trainings."""
    found: Counter[str] = Counter()
    numbered = []
    for entry in entries:
        found[entry.label] += 1
        number = found[entry.label]
        numbered.append(replace(entry, label=f"{entry.label} ({number})") if number > 1 else entry)
    return numbered


def _is_of(record: Record, model: Model, reported: Reported) -> bool:
    """Whether the record is of the network that was reported, with the same options."""
    same = record["network"] == model.name
    return same and bool(record.get("options") == model.resolve_options(reported.options))


def _missing(protocol: Protocol, model: Model, reported: Reported) -> _Entry:
    options = ", ".join(f"{name} {value}" for name, value in reported.options.items())
    run = "-".join(["runs/" + model.name, *map(str, reported.options.values())])
    train = ["deblur", "train", "--data", protocol.data]
    train += ["--preset", protocol.preset] if protocol.preset else []
    train += ["-m", model.name, "--recipe", "fast", "-o", run]
    settings = [f"model.{name}={value}" for name, value in reported.options.items()]
    train += ["--set", *settings] if settings else []
    measure = ["deblur", "eval", "--protocol", protocol.name, "-m", run]
    return _Entry(
        label=f"{model.name} ({options})" if options else model.name,
        record=None,
        printed={
            "scores": reported.scores,
            "blurry": reported.blurry,
            "where": reported.where,
            "note": reported.note,
        },
        run=None,
        commands=(shlex.join(train), shlex.join(measure)),
    )


def _measured(record: Record, label: str, runs: Path | None) -> _Entry:
    name = record["model"].partition(",")[0]
    run = read_run(runs / name) if runs is not None and "/" not in name else None
    protocol = record["protocol"]
    measure = ["deblur", "eval"]
    measure += ["--protocol", protocol["name"]] if protocol.get("name") else ["--data", protocol["data"]]
    measure += ["-m", name]
    measure += (
        ["--limit", str(protocol["pairs"])] if protocol.get("pairs") != protocol.get("available") else []
    )
    measure += ["--dtype", record["run"]["dtype"]] if record.get("run", {}).get("dtype") else []
    return _Entry(
        label=label,
        record=record,
        printed=record.get("reported") or {},
        run=run,
        commands=(*(run.commands if run else ()), shlex.join(measure)),
    )


def _section(
    records: Sequence[Record], missing: Sequence[_Entry], metrics: Mapping[str, Metric], runs: Path | None
) -> Iterator[str]:
    """The table of records of one hash and of networks without, PSNR by the sigma of the blur, and the commands."""
    labels = model_labels(records)
    groups = [[_measured(record, labels[id(record)], runs) for record in same] for same in by_pairs(records)]
    groups = groups or [[]]
    groups[-1] += missing
    title = protocol_title(records[0]) if records else "Not measured"
    yield as_markdown(_table(title, groups, metrics))
    for same in by_pairs(records):
        by_sigma = sigma_table(same)
        if by_sigma is not None:
            yield as_markdown(by_sigma)
    commands = dict.fromkeys(line for group in groups for entry in group for line in entry.commands)
    yield "```sh\n" + "\n".join(commands) + "\n```\n"


def _table(title: str, groups: Sequence[Sequence[_Entry]], metrics: Mapping[str, Metric]) -> Table:
    """groups : of networks that were measured on the same pixels, each below what the blurred pictures have"""
    entries = [entry for group in groups for entry in group]
    named = {name for entry in entries for part in _figures(entry, "restored") for name in part}
    names = [name for name in _FIRST if name in named] + sorted(named - set(_FIRST))
    blurred: Mapping[str, float] = next(
        (entry.printed["blurry"] for entry in entries if entry.printed.get("blurry")), {}
    )
    rows = []
    for group in groups:
        baseline = _Entry(
            label=BLURRED, record=group[0].record, printed={"blurry": blurred}, run=None, commands=()
        )
        rows.append(Row((*_scores(baseline, "blurry", names, metrics), *[Cell()] * 3), baseline=True))
        rows += [Row((*_scores(entry, "restored", names, metrics), *_training(entry))) for entry in group]
    columns = [Column(title="network", number=False)]
    for name in names:
        metric = metrics.get(name)
        better = None if metric is None else metric.higher_is_better
        columns.append(Column(title=title_of(name, metric), higher_is_better=better))
        if name == "psnr":
            columns.append(Column(title="pooled dB", higher_is_better=better))
    columns += [Column(title="steps"), Column(title="minutes"), Column(title="trained on", number=False)]
    notes = [entry.record["protocol"]["text"] for entry in entries if entry.record]
    said: dict[str, list[str]] = {}
    for entry in entries:
        if entry.printed:
            remark = f"; {entry.printed['note']}" if entry.printed.get("note") else ""
            said.setdefault(f"{entry.printed['where']}{remark}", []).append(entry.label)
    notes += [f"{', '.join(labels)}: {text}" for text, labels in said.items()]
    return Table(title=title, columns=tuple(columns), rows=tuple(rows), notes=tuple(dict.fromkeys(notes)))


def _figures(entry: _Entry, which: str) -> tuple[Mapping[str, float | None], Mapping[str, float | None]]:
    """Ours and the report's, by metric. which : "blurry" or "restored" """
    ours = entry.record[which] if entry.record else {}
    return ours, entry.printed.get("scores" if which == "restored" else which, {})


def _scores(entry: _Entry, which: str, names: Sequence[str], metrics: Mapping[str, Metric]) -> Iterator[Cell]:
    """The label and a cell for each metric: our figure, in brackets the report's and the difference."""
    yield Cell(entry.label)
    ours, printed = _figures(entry, which)
    for name in names:
        decimals = metrics[name].decimals if name in metrics else 4
        value, report = ours.get(name), printed.get(name)
        words = ["-" if value is None else f"{value:.{decimals}f}"]
        if report is not None:
            words.append(f"({report:.{decimals}f}" + (")" if value is None else ","))
        if report is not None and value is not None:
            words.append(f"{value - report:+.{decimals}f})")
        yield Cell(" ".join(words), value)
        if name == "psnr":
            pooled = entry.record.get(f"pooled_psnr_{which}") if entry.record else None
            yield Cell("-") if pooled is None else Cell(f"{pooled:.{decimals}f}", pooled)


def _training(entry: _Entry) -> tuple[Cell, Cell, Cell]:
    """Steps, minutes, and on what, from which weights on."""
    run = entry.run
    steps = entry.record.get("steps") if entry.record else None
    if steps is not None and run is not None:
        steps += run.earlier_steps
    return (
        Cell("-") if steps is None else Cell(f"{steps:,}", steps),
        Cell("-") if run is None else Cell(f"{run.minutes:.0f}", run.minutes),
        Cell("" if run is None else run.machine + f"; begun from {run.origin}" * bool(run.origin)),
    )
