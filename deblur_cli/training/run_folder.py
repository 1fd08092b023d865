"""The folder of a training run: run.json, metrics.csv, last/ and best/ checkpoints, each written whole or not at all."""

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from deblur_cli.errors import MissingError, UsageError
from deblur_cli.pictures.atomic import atomic_write
from deblur_cli.weights import CHECKPOINT, Header, write_weights


class RunFolder:
    """Reads and writes one run. A checkpoint holds weights.safetensors (for -m), state.safetensors and state.json."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, record: Mapping[str, Any]) -> None:
        """Make the folder and write run.json.

        Raises UsageError where a run is already there.
        """
        if (self.path / "run.json").exists():
            raise UsageError(
                f"{self.path} holds a run already; go on with --resume, or choose another folder with -o"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self._write_text("run.json", json.dumps(record, indent=2) + "\n")

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
        if not isinstance(record, dict) or not {"request", "environment"} <= record.keys():
            raise self._damaged(file, "it is no record of a run")
        return record

    def write_metrics(self, rows: Sequence[Mapping[str, float]]) -> None:
        """metrics.csv: one row per validation."""
        text = io.StringIO()
        if rows:
            names = dict.fromkeys(chain.from_iterable(rows))  # a loss may appear later, such as a critic's
            writer = csv.DictWriter(text, fieldnames=list(names), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        self._write_text("metrics.csv", text.getvalue())

    def write_best(self, weights: Mapping[str, Tensor], header: Header) -> None:
        """Keep the weights that scored best so far."""
        (self.path / "best").mkdir(exist_ok=True)
        write_weights(self.path / "best" / CHECKPOINT, weights, header)

    def write_last(
        self,
        *,
        weights: Mapping[str, Tensor],
        header: Header,
        tensors: Mapping[str, Tensor],
        state: Mapping[str, Any],
    ) -> None:
        """Replace the checkpoint that a resumed run starts from."""
        fresh, kept, old = (self.path / name for name in ("last.new", "last", "last.old"))
        if old.exists() and not kept.exists():  # killed between the two steps below
            old.rename(kept)
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        write_weights(fresh / CHECKPOINT, weights, header)
        with atomic_write(fresh / "state.safetensors") as part:
            part.write_bytes(
                save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
            )
        with atomic_write(fresh / "state.json") as part:
            part.write_bytes(json.dumps(state).encode())
        # a folder cannot be replaced in one step: at every moment `last` or `last.old` is whole
        shutil.rmtree(old, ignore_errors=True)
        if kept.exists():
            kept.rename(old)
        fresh.rename(kept)
        shutil.rmtree(old, ignore_errors=True)

    def read_last(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and state of the last checkpoint; None where the run was stopped before its first.

        Raises UsageError where it is damaged.
        """
        places = (self.path / name for name in ("last", "last.old"))
        folder = next((place for place in places if (place / "state.json").is_file()), None)
        if folder is None:
            return None
        try:
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            return load_file(folder / "state.safetensors"), state
        except (OSError, ValueError, SafetensorError) as error:
            raise self._damaged(folder, error) from error

    def last_step_text(self) -> str:
        """Which checkpoint a resumed run would start from, for messages."""
        saved = self.read_last()
        return "none yet" if saved is None else f"that of step {saved[1].get('step')} in {self.path / 'last'}"

    def _damaged(self, what: Path, why: object) -> UsageError:
        return UsageError(
            f"{what} is damaged ({why}); begin a new run with another -o, "
            f"from the weights of this one with --init {self.path} if they are whole"
        )

    def _write_text(self, name: str, text: str) -> None:
        with atomic_write(self.path / name) as part:
            part.write_bytes(text.encode())
