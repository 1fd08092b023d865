"""The folder of a training run: run.json, recipe.toml, pairs.csv, metrics.csv, last/ and best/ checkpoints.

Each is whole or not there. Whatever moment it is killed at, and should the power fail, one of `last` and `last.old` is a
whole checkpoint (or neither is there yet): files reach the disk before their names do, and the old checkpoint goes when the
new one's name is on the disk.
"""

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from deblur_cli.errors import MissingError, NotEnoughRoomError, UsageError
from deblur_cli.pictures.atomic import TEMPORARY, atomic_write, is_full, sync_folder
from deblur_cli.pictures.locks import locked
from deblur_cli.training.choosing import RECIPE_FILE
from deblur_cli.weights import CHECKPOINT, Header, Training, file_sha256, trainings_from, write_weights

_OF, _SHA256 = "run_is_of", "tensors_sha256"  # what state.json holds besides the state


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a resumed run starts from: the state's tensors and the rest of it, and the facts of the run that saved it."""

    tensors: Mapping[str, Tensor]
    scalars: Mapping[str, Any]
    facts: Mapping[str, Any]


class RunFolder:
    """Reads and writes one run. A checkpoint holds weights.safetensors (for -m), state.safetensors and state.json.

    facts : what the run is of; each checkpoint keeps them
    """

    def __init__(self, path: Path, *, facts: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self._facts = dict(facts or {})

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other trainings out of the folder, which is made where it is missing, and goes if nothing came of it.

        Raises UsageError where another one is at work there.
        """
        made = self._make()
        try:
            with locked(
                self.path,
                busy=f"another deblur train is at work in {self.path}; wait for it, or choose another folder with -o",
            ):
                yield
        finally:
            for folder in made:
                with suppress(OSError):  # something lies in it
                    folder.rmdir()

    def begin(self, record: Mapping[str, Any], *, pairs: str, recipe: str) -> None:
        """Make the folder, write pairs.csv and recipe.toml, and run.json, which makes a run of it.

        Raises UsageError where a run is already there.
        """
        if (self.path / "run.json").exists():
            raise UsageError(
                f"{self.path} holds a run already; go on with --resume, or choose another folder with -o"
            )
        self._make()
        self._write_text("pairs.csv", pairs)
        self._write_text(RECIPE_FILE, recipe)
        self._write_text("run.json", json.dumps({**record, _OF: self._facts}, indent=2) + "\n")

    def read_record(self) -> dict[str, Any]:
        """What run.json says.

        Raises MissingError where there is no run, UsageError where the file is damaged.
        """
        file = self.path / "run.json"
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingError(f"{self.path} holds no run to resume: there is no run.json") from error
        except (OSError, ValueError) as error:
            raise self._damaged(file, error) from error
        if not isinstance(record, dict) or not all(
            isinstance(record.get(name), dict) for name in ("request", "environment")
        ):
            raise self._damaged(file, "it is no record of a run")
        if not isinstance(record.get(_OF), dict):
            raise UsageError(
                f"{self.path} cannot be resumed: an earlier version began it and did not note what it is of; "
                f"begin a new run with another -o, from the weights of this one with --init {self.path}"
            )
        return record

    def facts(self) -> Mapping[str, Any]:
        """What run.json says that the run is of."""
        facts: Mapping[str, Any] = self.read_record()[_OF]
        return facts

    def earlier(self) -> tuple[Training, ...]:
        """The trainings behind the weights that the run began from, as run.json says."""
        try:
            return trainings_from(self.read_record().get("earlier", []))
        except ValueError as error:
            raise self._damaged(self.path / "run.json", f"it has {error}") from error

    def pairs(self) -> str:
        """pairs.csv as it was when the run began; nothing where it cannot be read."""
        try:
            return (self.path / "pairs.csv").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""

    def tidy(self) -> None:
        """Put right what a killed run left: an exchange of checkpoints half done, and what was being written."""
        fresh, kept, old = self._places()
        if old.exists() and not kept.exists():
            old.rename(kept)
            sync_folder(self.path)
        for folder in (fresh, old):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (self.path, kept, self.path / "best"):
            for part in folder.glob(TEMPORARY):
                part.unlink(missing_ok=True)

    @contextmanager
    def explaining_a_full_disk(self) -> Iterator[None]:
        """Inside, a full disk is one line that says where the run goes on.

        Raises NotEnoughRoomError
        """
        try:
            yield
        except (NotEnoughRoomError, OSError) as error:
            cause = error.__cause__ if isinstance(error, NotEnoughRoomError) else error
            if not (isinstance(cause, OSError) and is_full(cause)):
                raise
            raise NotEnoughRoomError(
                f"cannot write to {self.path}: the disk is full; the last good checkpoint is {self.last_step_text()}. "
                f"Free some space, then go on with: deblur train --resume -o {self.path}"
            ) from error

    def write_metrics(self, rows: Sequence[Mapping[str, float]]) -> None:
        """metrics.csv: one row per validation."""
        text = io.StringIO()
        if rows:
            names = dict.fromkeys(chain.from_iterable(rows))  # a loss may appear later, such as a critic's
            losses = [name for name in names if name.startswith("train_")]
            others = [name for name in names if name not in losses]
            at = others.index("val_loss")
            ordered = [*others[:at], *losses, *others[at:]]
            writer = csv.DictWriter(text, fieldnames=ordered, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        self._write_text("metrics.csv", text.getvalue())

    def write_best(self, weights: Mapping[str, Tensor], header: Header) -> None:
        """Keep the weights that scored best so far."""
        if not (self.path / "best").exists():
            (self.path / "best").mkdir()
            sync_folder(self.path)
        write_weights(self.path / "best" / CHECKPOINT, weights, header)

    def write_last(
        self,
        *,
        weights: Mapping[str, Tensor],
        header: Header,
        tensors: Mapping[str, Tensor],
        state: Mapping[str, Any],
    ) -> None:
        """Replace the checkpoint that a resumed run starts from; where that fails, it is as it was."""
        fresh, kept, old = self._places()
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            fresh.mkdir()
            write_weights(fresh / CHECKPOINT, weights, header)
            data = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
            with atomic_write(fresh / "state.safetensors") as part:
                part.write_bytes(data)
            own = {_SHA256: hashlib.sha256(data).hexdigest(), _OF: self._facts}
            with atomic_write(fresh / "state.json") as part:
                part.write_bytes(json.dumps({**state, **own}).encode())
            sync_folder(self.path)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)  # on a full disk its room is needed
            raise
        # A folder cannot be replaced in one step. `last` is there but between the two renames, `last.old` is there then.
        shutil.rmtree(old, ignore_errors=True)
        if kept.exists():
            kept.rename(old)
        fresh.rename(kept)
        sync_folder(
            self.path
        )  # the old one may go only when the new one would be found after a power failure
        shutil.rmtree(old, ignore_errors=True)

    def read_last(self) -> Checkpoint | None:
        """The last checkpoint; None where the run was stopped before its first.

        Raises UsageError where it is damaged, or gone: to begin anew would write over the best weights.
        """
        folder = self._last()
        if folder is None:
            if self._count_validations() > 1:  # one may have been killed before it was saved
                raise self._damaged(self.path / "last", "it is gone")
            return None
        try:
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            if not isinstance(state, dict):
                raise ValueError("state.json is no JSON object")
            facts, sha256 = state.pop(_OF, None), state.pop(_SHA256, None)
            if not isinstance(facts, dict) or file_sha256(folder / "state.safetensors") != sha256:
                raise ValueError("state.json and state.safetensors do not belong together")
            return Checkpoint(tensors=load_file(folder / "state.safetensors"), scalars=state, facts=facts)
        except (OSError, ValueError, SafetensorError) as error:
            raise self._damaged(folder, error) from error

    def has_checkpoint(self) -> bool:
        """Whether there is one to start from."""
        return self._last() is not None

    def last_step_text(self) -> str:
        """Which checkpoint a resumed run would start from, for messages."""
        folder = self._last()
        if folder is None:
            return "none yet"
        try:
            return f"that of step {json.loads((folder / 'state.json').read_bytes())['step']} in {folder}"
        except (OSError, ValueError, KeyError, TypeError):
            return f"{folder}, which is damaged"

    def _make(self) -> Sequence[Path]:
        """Make the folder; returns what was missing of it and its parents, the innermost first."""
        missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            sync_folder(folder.parent)
        return missing

    def _places(self) -> tuple[Path, Path, Path]:
        """Where a checkpoint is written, where it lies, and where it goes while the next takes its place."""
        return self.path / "last.new", self.path / "last", self.path / "last.old"

    def _last(self) -> Path | None:
        _, *places = self._places()
        return next((place for place in places if place.is_dir()), None)

    def _count_validations(self) -> int:
        try:
            return (self.path / "metrics.csv").read_bytes().count(b"\n") - 1
        except OSError:
            return 0

    def _damaged(self, what: Path, why: object) -> UsageError:
        return UsageError(
            f"{what} is damaged ({why}); begin a new run with another -o, "
            f"from the weights of this one with --init {self.path} if they are whole"
        )

    def _write_text(self, name: str, text: str) -> None:
        with atomic_write(self.path / name) as part:
            part.write_bytes(text.encode())
