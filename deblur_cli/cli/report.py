"""What `deblur` says about each picture, and the exit code that follows from all of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum

from deblur_cli.cli import console
from deblur_cli.cli.errors import diagnose
from deblur_cli.cli.outputs import Job
from deblur_cli.errors import DeblurError, PictureError


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

    def done(self, job: Job, *, summary: str, facts: Mapping[str, object]) -> None:
        """A picture was restored and written. summary : how, in a few words; facts : the same for JSON."""
        self._say(Status.DONE, job, f"{job.output}  ({summary})", facts)

    def planned(self, job: Job, *, model: str) -> None:
        """A picture would be restored."""
        replaces = job.target is not None and job.target.exists()
        text = f"{job.input.name} -> {job.output}  ({model}{', replacing it' if replaces else ''})"
        self._say(Status.PLANNED, job, text, {"model": model, "replaces": replaces})

    def skipped(self, job: Job) -> None:
        """A picture was left out because its output exists."""
        self._say(Status.SKIPPED, job, f"{job.input.name}: skipped, {job.output} exists", {})

    def failed(self, job: Job, error: Exception) -> None:
        """A picture could not be restored; the others go on. A bug's report is written here."""
        self._fail(job.input.name, job.output, error)

    def unusable(self, word: str, error: DeblurError) -> None:
        """An argument stands for no picture."""
        self._fail(word, None, error)

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

    def _say(self, status: Status, job: Job, text: str, facts: Mapping[str, object]) -> None:
        self._counts[status] += 1
        if self._json:
            console.json_line(
                {"input": job.input.name, "output": job.output, "status": status, **facts, "error": None}
            )
        elif not self._silent:
            console.result(text)
        elif status is Status.DONE:
            console.note(text)

    def _fail(self, input: str, output: str | None, error: Exception) -> None:
        console.traceback(error)
        diagnosis = diagnose(error)
        self._codes.add(diagnosis.code)
        self._counts[Status.FAILED] += 1
        console.error(diagnosis.text if input in diagnosis.text else f"{input}: {diagnosis.text}")
        if self._json:
            record = {"input": input, "output": output, "status": Status.FAILED, "error": diagnosis.text}
            alarms = getattr(error, "alarms", ())  # of the guard; its class would bring numpy along
            guard = (
                {"guard": {"checked": True, "alarms": [asdict(alarm) for alarm in alarms]}} if alarms else {}
            )
            console.json_line({**record, **guard})
