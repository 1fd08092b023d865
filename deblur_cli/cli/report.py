"""What `deblur` says about each picture, and the exit code that follows from all of them."""

import sys
import traceback
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from deblur_cli.cli import console
from deblur_cli.cli.errors import diagnose
from deblur_cli.errors import PictureError


class Status(StrEnum):
    """What became of one picture."""

    DONE = "done"
    SKIPPED = "skipped"
    PLANNED = "planned"
    FAILED = "failed"


class Report:
    """Says one line, or one JSON object, for each picture, and remembers what the exit code needs.

    Parameters
    ----------
    json : JSON Lines on stdout in place of text
    silent : no results on stdout (--quiet, or a picture goes there)
    """

    def __init__(self, *, json: bool, silent: bool) -> None:
        self._json = json
        self._silent = silent
        self._counts: Counter[Status] = Counter()
        self._codes: set[int] = set()

    def done(self, input: str, output: str, *, summary: str, facts: Mapping[str, object]) -> None:
        """A picture was restored and written. summary : how, in a few words; facts : the same for JSON."""
        self._say(Status.DONE, input, output, f"{output}  ({summary})", facts)

    def planned(self, input: str, output: str, *, model: str, replaces: bool) -> None:
        """A picture would be restored."""
        self._say(
            Status.PLANNED,
            input,
            output,
            f"{input} -> {output}  ({model}{', replaces it' if replaces else ''})",
            {"model": model, "replaces": replaces},
        )

    def skipped(self, input: str, output: str) -> None:
        """A picture was left out because its output exists."""
        self._say(Status.SKIPPED, input, output, f"{input}: skipped, {output} exists", {})

    def failed(
        self, input: str, output: str | None, error: Exception, facts: Mapping[str, object] | None = None
    ) -> None:
        """A picture could not be restored; the others go on. A bug's report is written here."""
        if console.is_verbose():
            traceback.print_exception(error, file=sys.stderr)
        diagnosis = diagnose(error)
        self._codes.add(diagnosis.code)
        self._counts[Status.FAILED] += 1
        console.error(diagnosis.text if input in diagnosis.text else f"{input}: {diagnosis.text}")
        if self._json:
            console.json_line(
                {
                    "input": input,
                    "output": output,
                    "status": Status.FAILED,
                    **(facts or {}),
                    "error": diagnosis.text,
                }
            )

    def finish(self) -> int:
        """Sum up where there was more than one picture, and return the exit code.

        1 once something was done; where nothing was and all failed alike, that failure's own code.
        """
        if sum(self._counts.values()) > 1:
            summary = ", ".join(f"{count} {status}" for status in Status if (count := self._counts[status]))
            (console.error if self._codes else console.note)(summary)
        if not self._codes:
            return 0
        alike = len(self._codes) == 1 and self._counts[Status.FAILED] == sum(self._counts.values())
        return self._codes.pop() if alike else PictureError.exit_code

    def _say(self, status: Status, input: str, output: str, text: str, facts: Mapping[str, object]) -> None:
        self._counts[status] += 1
        if self._json:
            console.json_line({"input": input, "output": output, "status": status, **facts, "error": None})
        elif not self._silent:
            console.result(text)
        elif status is Status.DONE:
            console.note(text)
