"""One table as a value, and the forms in which it leaves: text, CSV, Markdown, LaTeX. All mark the same best values."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What stands in a column.

    name : in CSV, the title where it is empty
    higher_is_better : of a score, so that the best one is marked; None where nothing is
    number : numbers are set to the right
    joined : it tells of the column before it, from which it is never parted
    """

    title: str
    name: str = ""
    higher_is_better: bool | None = None
    number: bool = True
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure or a word.

    text : as it is shown; of a score the figure is its first word, which is what can be marked
    value : not rounded, for CSV and for finding the best; None for a word, or where there is none
    """

    text: str = ""
    value: float | int | None = None

    @property
    def figure(self) -> str:
        """The first word."""
        return self.text.partition(" ")[0]

    @property
    def rest(self) -> str:
        """What follows it, with the blank between."""
        return self.text.removeprefix(self.figure)


@dataclass(frozen=True, slots=True)
class Row:
    """Cells, one a column. baseline : what the rows below it, up to the next such row, are compared with"""

    cells: tuple[Cell, ...]
    baseline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns and rows with what is said above and below them. notes : a sentence each

    Raises ValueError where a row has another number of cells than there are columns.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row.cells) != len(self.columns):
                raise ValueError(f"row {number} has {len(row.cells)} cells for {len(self.columns)} columns")

    def best(self) -> frozenset[tuple[int, int]]:
        """Row and column of each best value below a baseline; of those that look alike, all, unless none is worse."""
        return frozenset(
            (row, column)
            for section in self._sections()
            for column, declared in enumerate(self.columns)
            if declared.higher_is_better is not None
            for row in self._best_of(section, column, higher=declared.higher_is_better)
        )

    def _sections(self) -> Iterable[list[int]]:
        """Numbers of the rows that compete."""
        section: list[int] = []
        for number, row in enumerate(self.rows):
            if row.baseline:
                yield section
                section = []
            else:
                section.append(number)
        yield section

    def _best_of(self, rows: Sequence[int], column: int, *, higher: bool) -> list[int]:
        cells = {
            row: (self.rows[row].cells[column], value)
            for row in rows
            if (value := self.rows[row].cells[column].value) is not None
        }
        if not cells:
            return []
        best, _ = (max if higher else min)(cells.values(), key=lambda item: item[1])
        alike = [row for row, (cell, _) in cells.items() if cell.figure == best.figure]
        return alike if len(alike) < len(cells) else []


def as_text(table: Table) -> tuple[list[str], list[list[str]]]:
    """Titles and rows for a terminal; a star stands behind the best values. Figures of a column end at the same place."""
    best = table.best()
    starred = {column for _, column in best}
    rests = [
        max((len(row.cells[at].rest) for row in table.rows), default=0) if column.number else 0
        for at, column in enumerate(table.columns)
    ]
    rows = [
        [
            f"{cell.figure}{'*' if (number, column) in best else ' ' if column in starred else ''}{cell.rest:<{rests[column]}}"
            for column, cell in enumerate(row.cells)
        ]
        for number, row in enumerate(table.rows)
    ]
    return [column.title for column in table.columns], rows


def as_csv(table: Table) -> str:
    """A line of names and one a row, with values that are not rounded."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(column.name or column.title for column in table.columns)
    for row in table.rows:
        writer.writerow(cell.text if cell.value is None else cell.value for cell in row.cells)
    return file.getvalue()


def as_markdown(table: Table) -> str:
    """A heading, a table of GitHub's kind with the best values bold, and the notes as a list."""
    best = table.best()
    lines = [
        f"### {_markdown(table.title)}",
        "",
        _pipes(_markdown(column.title) for column in table.columns),
        _pipes("---:" if column.number else "---" for column in table.columns),
    ]
    for number, row in enumerate(table.rows):
        lines.append(
            _pipes(
                f"**{_markdown(cell.figure)}**{_markdown(cell.rest)}"
                if (number, column) in best
                else _markdown(cell.text)
                for column, cell in enumerate(row.cells)
            )
        )
    if table.notes:
        lines += ["", *(f"- {_markdown(note)}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def as_latex(table: Table) -> str:
    """A `table` of the package booktabs with the best values bold, the title as its caption and the notes below."""
    best = table.best()
    kinds = "".join("r" if column.number else "l" for column in table.columns)
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{_latex(table.title)}}}",
        f"  \\begin{{tabular}}{{{kinds}}}",
        "    \\toprule",
        f"    {_ampersands(_latex(column.title) for column in table.columns)}",
        "    \\midrule",
    ]
    for number, row in enumerate(table.rows):
        if row.baseline and number:
            lines.append("    \\midrule")
        cells = (
            f"\\textbf{{{_latex(cell.figure)}}}{_latex(cell.rest)}"
            if (number, column) in best
            else _latex(cell.text)
            for column, cell in enumerate(row.cells)
        )
        lines.append(f"    {_ampersands(cells)}")
    lines += ["    \\bottomrule", "  \\end{tabular}"]
    if table.notes:
        lines += ["", "  \\medskip", "  \\begin{minipage}{\\linewidth}\\footnotesize"]
        lines += [f"    {_latex(note)}.\\par" for note in table.notes]
        lines.append("  \\end{minipage}")
    return "\n".join([*lines, "\\end{table}"]) + "\n"


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ampersands(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _markdown(text: str) -> str:
    """As plain text: an underscore inside a word means nothing, all else that could is escaped."""
    return re.sub(r"[\\`*|<>\[\]&~$]|(?<!\w)_|_(?!\w)", r"\\\g<0>", _one_line(text))


_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "±": r"$\pm$", "×": r"$\times$", "→": r"$\to$", "−": "$-$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip


def _latex(text: str) -> str:
    """As plain text; a sign before a number is one of mathematics, and a bracket after a line's end is no option of it."""
    escaped = "".join(_LATEX.get(sign, sign) for sign in _one_line(text))
    signed = re.sub(r"(?<![\w.)}$-])[-+](?=\d)", r"$\g<0>$", escaped)
    return f"{{}}{signed}" if signed.startswith(("[", "*")) else signed


def _one_line(text: str) -> str:
    return " ".join(text.split()) if "\n" in text or "\r" in text else text
