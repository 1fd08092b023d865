"""Tables of scores on stdout: the title, the columns that fit beside each other, the notes."""

import shutil
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from deblur_cli.cli import console

if TYPE_CHECKING:
    from deblur_cli.evaluation.typeset import Table

_GAP = 3  # columns of the terminal between two of a table; at its edge one more


def show_tables(tables: "Sequence[Table]") -> None:
    """Print tables one below the other; notes that several have are said once, at the end."""
    counts = Counter(note for table in tables for note in table.notes)
    common = [note for note, count in counts.items() if count > 1]
    for table in tables:
        show_table(table, but=common)
        console.result("")
    for note in common:
        console.result(note)


def show_table(table: "Table", *, but: Collection[str] = ()) -> None:
    """Print a table with its notes; one that is wider than the terminal comes in parts, each with the first column.

    but : notes that are left out
    """
    from deblur_cli.evaluation.typeset import as_text

    titles, rows = as_text(table)
    if table.title:
        console.result(table.title)
    width = shutil.get_terminal_size().columns if console.is_terminal(sys.stdout) else None
    for part in _parts(titles, rows, [column.joined for column in table.columns], width):
        console.table(
            [titles[column] for column in part],
            [[row[column] for column in part] for row in rows],
            numbers=[table.columns[column].number for column in part],
        )
    for note in (*table.notes, *(("*: the best of its column",) if table.best() else ())):
        if note not in but:
            console.result(note)


def _parts(
    titles: Sequence[str], rows: Sequence[Sequence[str]], joined: Sequence[bool], width: int | None
) -> Iterator[list[int]]:
    """Numbers of columns that fit into a width together. The first column is in every part."""
    needed = [
        max(len(text) for text in (titles[column], *(row[column] for row in rows))) + _GAP
        for column in range(len(titles))
    ]
    part = [0]
    for group in _groups(joined):
        if width is not None and len(part) > 1 and sum(needed[at] for at in (*part, *group)) >= width:
            yield part
            part = [0]
        part += group
    yield part


def _groups(joined: Sequence[bool]) -> list[list[int]]:
    """Numbers of the columns after the first; those that belong to the one before stay with it."""
    groups: list[list[int]] = []
    for column in range(1, len(joined)):
        if joined[column] and groups:
            groups[-1].append(column)
        else:
            groups.append([column])
    return groups
