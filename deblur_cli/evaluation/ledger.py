"""What an evaluation has found so far, so that one that was interrupted goes on: a file, a line a picture."""

import contextlib
import json
import logging
from dataclasses import asdict
from pathlib import Path

from deblur_cli.evaluation.records import PictureRecord

_log = logging.getLogger(__name__)


class Ledger:
    """The records of one restorer under one protocol.

    Parameters
    ----------
    path : the file; what it holds of an earlier, interrupted evaluation is found again. None = nothing is kept

    Notes
    -----
    A line that is torn, as `kill -9` leaves it, is left out. Where the file cannot be written nothing is kept, and a
    warning says so: the evaluation itself does not need it.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._torn = False
        self._found: dict[tuple[int, str], PictureRecord] = {}
        if path is not None and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            self._torn = not text.endswith("\n")
            for line in text.splitlines():
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    kept = json.loads(line)
                    self._found[kept["index"], kept["digest"]] = PictureRecord(**kept["record"])

    def __len__(self) -> int:
        """How many pictures an earlier evaluation left."""
        return len(self._found)

    def find(self, index: int, digest: str) -> PictureRecord | None:
        """The record of the pair at a place of the list, if it was measured with these very pixels."""
        return self._found.get((index, digest))

    def add(self, index: int, digest: str, record: PictureRecord) -> None:
        """Keep a record."""
        if self._path is None:
            return
        line = json.dumps({"index": index, "digest": digest, "record": asdict(record)})
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n" * self._torn + line + "\n")
            self._torn = False
        except OSError as error:
            _log.warning(
                "cannot keep what is found in %s (%s); an interrupted evaluation will begin anew",
                self._path,
                (error.strerror or str(error)).lower(),
            )
            self._path = None

    def forget(self) -> None:
        """Remove the file: the evaluation is complete, or shall begin anew."""
        self._found.clear()
        self._torn = False
        if self._path is not None:
            with contextlib.suppress(OSError):  # then it stays: what it holds is true for those very pixels
                self._path.unlink(missing_ok=True)
