"""Tables of scores on stdout: the title, the columns that fit beside each other, the notes."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from deblur_cli.cli import console

if TYPE_CHECKING:
    from deblur_cli.evaluation.typeset import Table

_GAP = 4  # columns of the terminal that a border and its blanks take, at most


def show_table(table: "Table", *, notes: bool = True) -> None:
    """Print a table; one that is wider than the terminal comes in parts, each with the first column."""
    from deblur_cli.evaluation.typeset import as_text

    titles, rows = as_text(table)
    if table.title:
        console.result(table.title)
    width = shutil.get_terminal_size().columns if console.is_terminal(sys.stdout) else None
    for part in _parts(titles, rows, width):
        console.table(
            [titles[column] for column in part],
            [[row[column] for column in part] for row in rows],
            numbers=[table.columns[column].number for column in part],
        )
    if notes:
        for note in (*table.notes, *(("*: the best of its column",) if table.best() else ())):
            console.result(note)


def _parts(titles: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> Iterator[list[int]]:
    """Numbers of columns that fit into a width together. The first column is in every part."""
    needed = [
        max(len(text) for text in (titles[column], *(row[column] for row in rows))) + _GAP
        for column in range(len(titles))
    ]
    part = [0]
    for column in range(1, len(titles)):
        if width is not None and len(part) > 1 and sum(needed[at] for at in (*part, column)) > width:
            yield part
            part = [0]
        part.append(column)
    yield part
