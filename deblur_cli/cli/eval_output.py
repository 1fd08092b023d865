"""What `deblur eval` leaves: tables, files, records, and lines about what failed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deblur_cli.cli import console
from deblur_cli.errors import UsageError

if TYPE_CHECKING:
    from deblur_cli.evaluation.records import Evaluation
    from deblur_cli.evaluation.session import Measured
    from deblur_cli.host.declarations import Metric

_NAMED = 3
"""Pictures that are named where more fail alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where scores go besides the tables for people. csv, markdown, latex : a file, or "-" for stdout"""

    csv: str | None
    markdown: str | None
    latex: str | None
    per_image: Path | None
    record: Path | None
    json: bool

    def require_writable(self) -> None:
        """Raise UsageError or PictureError where an output cannot be written, or two would be mixed up."""
        from deblur_cli.evaluation.tables import table_kind
        from deblur_cli.pictures import require_folder, require_writable

        if self.per_image is not None:
            table_kind(self.per_image)
        tables = {"--csv": self.csv, "--markdown": self.markdown, "--latex": self.latex}
        on_stdout = [option for option, where in tables.items() if where == "-"] + ["--json"] * self.json
        if len(on_stdout) > 1:
            raise UsageError(f"{' and '.join(on_stdout)} cannot share stdout; name files for all but one")
        files: dict[Path, str] = {}
        for option, where in {**tables, "--per-image": self.per_image}.items():
            if where is None or where == "-":
                continue
            other = files.setdefault(Path(where).resolve(), option)
            if other != option:
                raise UsageError(f"{other} and {option} name the same file {where}; give each its own")
            require_writable(where)
        if self.record is not None:
            require_folder(self.record)
            require_writable(self.record / "record.json")

    def keep(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Keep records, where that is wanted, as soon as they are made."""
        from deblur_cli.evaluation.record_files import write_record

        if self.record is not None:
            for made in records:
                console.note(f"record: {write_record(self.record, made)}")

    def write(self, done: "Sequence[tuple[str, Measured]]", metrics: "Mapping[str, Metric]") -> None:
        """Tables in the forms asked for; on stdout for people unless something else goes there.

        done : by title of the protocol, what was measured
        """
        from deblur_cli.cli.show_table import show_tables
        from deblur_cli.evaluation.result_tables import result_tables
        from deblur_cli.evaluation.results import flat_rows
        from deblur_cli.evaluation.tables import picture_rows, rows_as_csv, write_table
        from deblur_cli.evaluation.typeset import as_latex, as_markdown

        records = [made for _, measured in done for made in measured.records]
        tables = list(result_tables(records, metrics, deviations=True))
        if self.per_image is not None:
            rows = [
                {"protocol": title, **row} for title, measured in done for row in picture_rows(measured.found)
            ]
            write_table(self.per_image, rows)
        if self.csv is not None:
            _write(self.csv, rows_as_csv(flat_rows(records)))
        if self.markdown is not None:
            _write(self.markdown, "\n".join(map(as_markdown, tables)))
        if self.latex is not None:
            _write(self.latex, "\n".join(map(as_latex, tables)))
        if self.json:
            for made in records:
                console.json_line(made)
        elif "-" not in (self.csv, self.markdown, self.latex):
            show_tables(tables)
            for run, labels in _runs(records).items():
                console.result(f"run: {run} ({', '.join(labels)})")
            for line in _worst(records, metrics):
                console.result(line)


def report_failures(found: "Mapping[str, Evaluation]") -> None:
    """What failed alike, of several models or of many pictures, is said once."""
    labels: dict[tuple[str, str], list[str]] = {}
    for label, evaluation in found.items():
        for failure in evaluation.failures:
            labels.setdefault((failure.name, failure.error), []).append(label)
    names: dict[tuple[str, str], list[str]] = {}
    for (name, error), failed in labels.items():
        names.setdefault((", ".join(failed), error), []).append(name)
    for (who, error), pictures in names.items():
        more = f" and {len(pictures) - _NAMED:,} more" if len(pictures) > _NAMED else ""
        console.error(f"{', '.join(pictures[:_NAMED])}{more} ({who}): {error}")


def _write(where: str, text: str) -> None:
    from deblur_cli.pictures import atomic_write

    if where == "-":
        console.result(text.rstrip("\n"))
        return
    with atomic_write(Path(where)) as part:
        part.write_text(text, encoding="utf-8")


def _runs(records: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What was run how, as text -> the models for which it holds."""
    texts: dict[str, list[str]] = {}
    for made in records:
        shown = {key: value for key, value in made["run"].items() if value is not None}
        labels = texts.setdefault(", ".join(f"{key} {value}" for key, value in shown.items()), [])
        if made["model"] not in labels:
            labels.append(made["model"])
    return texts


def _worst(records: Sequence[Mapping[str, Any]], metrics: "Mapping[str, Metric]") -> Iterator[str]:
    """Which pictures gain least, where there are enough for that to say something."""
    for made in records:
        if made["pictures"] > len(made["worst"]) > 0:
            named = ", ".join(f"{item['name']} {item['gain']:+.4g}" for item in made["worst"])
            metric = next(name for name in made["gain"] if metrics[name].reference)
            yield f"least gain, {made['model']}, {metric.upper()}: {named}"
