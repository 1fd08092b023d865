"""Records of evaluations as tables: models under one protocol, and models over several sets of data.

A record is what `deblur eval --json` prints and --record keeps: a JSON object.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deblur_cli.errors import UsageError
from deblur_cli.evaluation.tables import metric_title
from deblur_cli.evaluation.typeset import Cell, Column, Row, Table
from deblur_cli.host.declarations import Metric

Record = Mapping[str, Any]

BLURRED = "blurred input"


def score_table(
    records: Sequence[Record],
    metrics: Mapping[str, Metric],
    *,
    chosen: Sequence[str] = (),
    deviations: bool = False,
) -> Table:
    """Each model's means and gains below those of the blurred pictures that it was given.

    Parameters
    ----------
    records : at least one, all of one protocol hash. Models that measured other pictures than the one before (because
        some failed) get a baseline of their own, and only those below one baseline are compared
    metrics : the declared ones by name, which say how theirs are shown; of others nothing is marked as the best
    chosen : the metrics to show; all that were measured where it is empty
    deviations : whether standard deviations over the pictures stand behind the means

    Raises
    ------
    UsageError : the records are of several protocol hashes, whose scores must not stand in one column
    """
    hashes = {record["protocol"]["hash"]: protocol_title(record) for record in records}
    if len(hashes) != 1:
        raise UsageError(
            f"scores of different protocols do not compare, so they share no table: {', '.join(hashes.values())}"
        )
    labels = model_labels(records)
    shown = [
        _Shown(name, metrics.get(name), records, deviations=deviations) for name in measured(records, chosen)
    ]
    columns = [Column(title="model", number=False)]
    for metric in shown:
        columns += metric.columns()
    columns += [
        Column(title="pictures"),
        Column(title="s/picture", name="seconds_per_picture"),
        Column(title="end to end", name="seconds_end_to_end"),
        Column(title="metrics", name="metric_seconds"),
        Column(title="peak MB", name="peak_memory_bytes"),
    ]
    rows = []
    for section in by_pairs(records):
        baseline = [cell for metric in shown for cell in metric.baseline(section)]
        pictures = _count(section[0]["pictures"])
        rows.append(Row((Cell(BLURRED), *baseline, pictures, *[Cell()] * 4), baseline=True))
        for record in section:
            scores = [cell for metric in shown for cell in metric.cells(record)]
            rows.append(Row((Cell(labels[id(record)]), *scores, *_costs(record))))
    notes = [f"data: {text}" for text in dict.fromkeys(record["protocol"]["text"] for record in records)]
    notes += [sentence for metric in shown for sentence in metric.explain()]
    notes += _notes(records, labels)
    return Table(
        title=protocol_title(records[0]), columns=tuple(columns), rows=tuple(rows), notes=tuple(notes)
    )


def cross_table(records: Sequence[Record], name: str, metrics: Mapping[str, Metric]) -> Table:
    """Models over sets of data: a column for each protocol hash, gains in brackets behind the means.

    Parameters
    ----------
    records : of any protocols. Those of one hash that measured other pictures have a column of their own
    name : of the metric
    """
    labels = model_labels(records)
    declared = metrics.get(name)
    sections = [
        section for same in by_protocol(records) for section in by_pairs(same) if name in measured(section)
    ]
    twice = Counter(protocol_title(section[0]) for section in sections)
    columns = [Column(title="model", number=False)]
    for section in sections:
        first, title = section[0], protocol_title(section[0])
        named = f"{first['protocol']['data']} ({title})" if first["protocol"].get("name") else title
        other = f", pairs {first['pairs_sha256'][:8]}" if twice[title] > 1 else ""
        columns.append(
            Column(
                title=named + other, higher_is_better=None if declared is None else declared.higher_is_better
            )
        )
    blurred = (next(record for record in section if name in record["blurry"]) for section in sections)
    baseline = [
        _value(record["blurry"][name], declared, undefined=_undefined(record, "blurry", name))
        for record in blurred
    ]
    rows = [Row((Cell(BLURRED), *baseline), baseline=True)]
    for label in dict.fromkeys(labels[id(record)] for section in sections for record in section):
        found = (
            next((record for record in section if labels[id(record)] == label), None) for section in sections
        )
        rows.append(Row((Cell(label), *(_with_gain(record, name, declared) for record in found))))
    notes = [
        f"{protocol_title(section[0])}: {section[0]['protocol']['text']}; {_pictures(section[0])}"
        for section in sections
    ]
    notes.append(
        "in brackets: the mean gain over the blurred input, of the pictures that are finite before and after"
    )
    if len(sections) > 1:
        notes.append("columns do not compare with each other")
    notes += weights_notes(records, labels)
    return Table(
        title=f"{title_of(name, declared)} over data sets",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def protocol_title(record: Record) -> str:
    """Name and hash of the protocol as they stand beside scores; the data where the choices have no name."""
    protocol = record["protocol"]
    return f"{protocol.get('name') or protocol['data']}#{protocol['hash']}"


def by_protocol(records: Iterable[Record]) -> list[list[Record]]:
    """The records of each hash, in the order in which they are first met."""
    return _grouped((record["protocol"]["hash"], record) for record in records)


def by_pairs(records: Iterable[Record]) -> list[list[Record]]:
    """The records that measured the same pixels."""
    return _grouped((record["pairs_sha256"], record) for record in records)


def measured(records: Iterable[Record], chosen: Sequence[str] = ()) -> list[str]:
    """The metrics of the records, or those of them that are chosen, in that order."""
    names = dict.fromkeys(name for record in records for name in record["restored"])
    return [name for name in chosen if name in names] if chosen else list(names)


def model_labels(records: Iterable[Record]) -> dict[int, str]:
    """By `id` of a record its model's label, with the weights' first digits where others have the same label."""
    records = list(records)
    weights: dict[str, set[str | None]] = {}
    for record in records:
        weights.setdefault(record["model"], set()).add(record["weights_sha256"])
    return {
        id(record): record["model"]
        if len(weights[record["model"]]) == 1
        else f"{record['model']} ({(record['weights_sha256'] or 'no weights')[:10]})"
        for record in records
    }


class _Shown:
    """A metric's columns in a table. deviations : whether they are shown"""

    def __init__(
        self, name: str, metric: Metric | None, records: Sequence[Record], *, deviations: bool
    ) -> None:
        self._name = name
        self._metric = metric
        self._records = records
        self._deviations = deviations
        self._reported = any(name in _reported(record).get("scores", {}) for record in records)

    def columns(self) -> list[Column]:
        higher = None if self._metric is None else self._metric.higher_is_better
        columns = [
            Column(
                title=title_of(self._name, self._metric),
                name=f"{self._name}_restored",
                higher_is_better=higher,
            ),
            Column(title="gain", name=f"{self._name}_gain", joined=True),
        ]
        if self._reported:
            columns.append(Column(title="report", name=f"{self._name}_reported", joined=True))
        if self._name == "psnr":
            columns.append(Column(title="pooled dB", name="pooled_psnr_restored", higher_is_better=higher))
            columns.append(Column(title="identical", name="identical_restored"))
        return columns

    def baseline(self, section: Sequence[Record]) -> list[Cell]:
        """Of the blurred pictures of records that measured the same ones."""
        first = next((record for record in section if self._name in record["blurry"]), section[0])
        printed = [_reported(record).get("blurry", {}).get(self._name) for record in section]
        return self._cells(
            first,
            "blurry",
            gain=None,
            printed=next((figure for figure in printed if figure is not None), None),
        )

    def cells(self, record: Record) -> list[Cell]:
        printed = _reported(record).get("scores", {}).get(self._name)
        return self._cells(record, "restored", gain=record["gain"].get(self._name), printed=printed)

    def explain(self) -> list[str]:
        """What the columns mean, a sentence each, as far as it needs saying."""
        if self._name != "psnr":
            summary = "" if self._metric is None else self._metric.summary
            return [f"{self._name.upper()}: {summary}"] if summary else []
        sentences = [
            "PSNR: mean over the pictures where it is finite; pooled: PSNR of the mean squared error over all of them; "
            "identical: pictures of infinite PSNR, left out of the mean"
        ]
        if any(record["identical_blurry"] or record["identical_restored"] for record in self._records):
            sentences.append(
                "gain: mean over the pictures that are finite before and after, not the difference of the two means"
            )
        return sentences

    def _cells(self, record: Record, which: str, *, gain: float | None, printed: float | None) -> list[Cell]:
        """which : "blurry" or "restored"; printed : the report's own figure"""
        scores, metric = record[which], self._metric
        deviation = record.get("std_blurry" if which == "blurry" else "std", {}).get(self._name)
        shown = deviation if self._deviations else None
        undefined = _undefined(record, which, self._name)
        cells = [
            _value(scores[self._name], metric, deviation=shown, undefined=undefined)
            if self._name in scores
            else Cell(),
            Cell() if gain is None else _value(gain, metric, signed=True),
        ]
        if self._reported:
            cells.append(_printed(printed, metric))
        if self._name == "psnr":
            cells.append(_value(record.get(f"pooled_psnr_{which}"), self._metric, undefined=undefined))
            cells.append(_count(record[f"identical_{which}"]))
        return cells


def _reported(record: Record) -> Mapping[str, Any]:
    return record.get("reported") or {}


def _costs(record: Record) -> list[Cell]:
    """How many pictures, and what they took."""
    times = (record.get(name) for name in ("seconds_per_picture", "seconds_end_to_end", "metric_seconds"))
    peak = record.get("peak_memory_bytes")
    return [
        _count(record["pictures"]),
        *(Cell() if seconds is None else Cell(f"{seconds:.3g}", seconds) for seconds in times),
        Cell() if peak is None else Cell(f"{peak / 1e6:.0f}", peak),
    ]


def _notes(records: Sequence[Record], labels: Mapping[int, str]) -> list[str]:
    """Weights, times, what reports say, what failed."""
    notes = weights_notes(records, labels)
    for record in records:
        reported = _reported(record)
        if reported:
            remark = f"; {reported['note']}" if reported.get("note") else ""
            notes.append(f"report, {labels[id(record)]}: {reported['where']}{remark}")
    timed = {
        (record["timed_pictures"], bool(record.get("warm_up_excluded")))
        for record in records
        if record.get("timed_pictures")
    }
    for count, excluded in sorted(timed):
        how = "without the first, which warms up" if excluded else "its first run, warm-up included"
        notes.append(
            f"s/picture: the network alone, median of {count}, {how}; end to end: reading, tiles, transfers and "
            "rounding included; metrics: measuring a result, beside the network where it can be"
        )
    notes += [
        f"{labels[id(record)]}: {record['failed']:,} of {record['failed'] + record['pictures']:,} pictures failed"
        for record in records
        if record["failed"]
    ]
    return notes


def weights_notes(records: Iterable[Record], labels: Mapping[int, str]) -> list[str]:
    """By which files the models are known."""
    known = dict.fromkeys(
        f"{labels[id(record)]} {record['weights_sha256'][:12]}"
        for record in records
        if record["weights_sha256"]
    )
    return [f"weights, by SHA-256: {', '.join(known)}"] if known else []


def title_of(name: str, metric: Metric | None) -> str:
    """A metric's name and unit, as a column's title; the name alone where nobody declares it."""
    return name.upper() if metric is None else metric_title(metric)


def _value(
    value: float | None,
    metric: Metric | None,
    *,
    signed: bool = False,
    deviation: float | None = None,
    undefined: str = "-",
) -> Cell:
    """With the metric's decimals; `undefined` for what is null."""
    if value is None:
        return Cell(undefined)
    decimals = 4 if metric is None else metric.decimals
    text = f"{value:{'+' if signed else ''}.{decimals}f}"
    return Cell(text if deviation is None else f"{text} ± {deviation:.{decimals}f}", value)


def _undefined(record: Record, which: str, name: str) -> str:
    """What stands in place of a mean that is null: why, where all pictures are the sharp ones themselves."""
    return "identical" if name == "psnr" and record[f"identical_{which}"] == record["pictures"] > 0 else "-"


def _printed(value: float | None, metric: Metric | None) -> Cell:
    """A report's figure with the metric's decimals, or with as many as it has, six digits at most."""
    if value is None:
        return Cell()
    text = f"{value:.{4 if metric is None else metric.decimals}f}"
    return Cell(text if float(text) == value else f"{value:g}", value)


def _with_gain(record: Record | None, name: str, metric: Metric | None) -> Cell:
    if record is None or name not in record["restored"]:
        return Cell()
    cell = _value(record["restored"][name], metric, undefined=_undefined(record, "restored", name))
    gain = record["gain"].get(name)
    return (
        cell if gain is None else Cell(f"{cell.text} ({_value(gain, metric, signed=True).text})", cell.value)
    )


def _pictures(record: Record) -> str:
    count = record["pictures"]
    return f"{count:,} picture{'' if count == 1 else 's'}"


def _count(number: int) -> Cell:
    return Cell(str(number), number)


def _grouped(items: Iterable[tuple[str, Record]]) -> list[list[Record]]:
    groups: dict[str, list[Record]] = {}
    for key, record in items:
        groups.setdefault(key, []).append(record)
    return list(groups.values())
