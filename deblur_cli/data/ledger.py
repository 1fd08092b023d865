"""The folder of a data set that is made: its files, what proves that a part of it is complete, and the end of the work."""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from deblur_cli.data.files import write_plainly, write_text
from deblur_cli.data.splits import SPLITS
from deblur_cli.errors import UsageError
from deblur_cli.pictures.atomic import atomic_write, sync_folder
from deblur_cli.pictures.locks import locked

SCHEMA = 1

_NAME = re.compile(r"[0-9]+_[0-9]+_[0-9]+")
_SUMMARY = {"pairs": int, "source": dict, "versions": dict, "left_out": dict, "refused": dict, "splits": dict}
"""What every summary holds."""

Record = dict[str, Any]  # a JSON object

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


@dataclass(slots=True, kw_only=True)
class Totals:
    """What a data set, or a chunk of it, holds.

    finite, psnr_sum : pairs whose PSNR is finite, and the sum of it in dB; the others are identical
    left_out : items of which nothing could be made, with the reason
    refused : windows of frames that were left out on purpose, counted by reason
    """

    pairs: int = 0
    sources: int = 0
    finite: int = 0
    psnr_sum: float = 0.0
    left_out: dict[str, str] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)

    @property
    def psnr_db(self) -> float | None:
        """Mean over the pairs that are not identical."""
        return self.psnr_sum / self.finite if self.finite else None

    def add(self, other: "Totals") -> None:
        """Count another part in."""
        for name in ("pairs", "sources", "finite", "psnr_sum"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.left_out |= other.left_out
        self.refused += other.refused
        self.splits += other.splits


@dataclass(frozen=True, slots=True)
class Ledger:
    """The files of one data set. out : its folder."""

    out: Path

    @property
    def meta(self) -> Path:
        """The records, a line each: written last, so that a set with this file is complete."""
        return self.out / "meta.jsonl"

    @property
    def summary(self) -> Path:
        """Settings, versions and counts."""
        return self.out / "dataset.json"

    @property
    def work(self) -> Path:
        """Where records wait until all are there."""
        return self.out / ".making"

    def pictures(self, name: str) -> tuple[str, str]:
        """The files of a pair, blurred and sharp; as text, since Paths take as long as writing small pictures."""
        return f"{self.out}/blur/{name}.png", f"{self.out}/sharp/{name}.png"

    def begin(self, plan: Mapping[str, Any], spec_text: str) -> None:
        """Make the folders and write what is going to be made."""
        for folder in ("blur", "sharp", "splits", ".making"):
            (self.out / folder).mkdir(parents=True, exist_ok=True)
        write_text(self.out / "spec.toml", spec_text)
        write_text(self.work / "plan.json", json.dumps(plan, indent=2, ensure_ascii=False) + "\n")

    def plan(self) -> dict[str, Any] | None:
        """What was going to be made when the work stopped; None where nothing was begun."""
        try:
            plan: dict[str, Any] = dict(json.loads((self.work / "plan.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise UsageError(f"{self.work / 'plan.json'} is damaged; begin anew with --overwrite") from error
        return plan

    def write_chunk(self, start: int, records: Iterable[Record]) -> None:
        """Write the records of a chunk, whole or not at all, with a first line that sums them up.

        Without waiting for the disk: should the power fail, `is_done` finds what has not reached it.
        """
        lines, totals, names = [], Totals(), []
        for record in records:
            if "left_out" in record:
                if record["reason"] is None:
                    totals.left_out[record["left_out"]] = record["because"]
                else:
                    totals.refused[record["reason"]] += 1
                continue
            lines.append(_encode(record))
            names.append((record["name"], record["split"]))
            totals.pairs += 1
            totals.splits[record["split"]] += 1
            if record["psnr_db"] is not None:
                totals.finite, totals.psnr_sum = totals.finite + 1, totals.psnr_sum + record["psnr_db"]
        totals.sources = len({name.partition("_")[0] for name, _ in names})
        body = "".join(f"{line}\n" for line in lines).encode()
        head = {
            "names": names,
            "totals": {name: getattr(totals, name) for name in Totals.__slots__},
            "bytes": len(body),
        }
        part = self.work / f"{start:012d}.part"
        write_plainly(str(part), json.dumps(head, ensure_ascii=False).encode() + b"\n" + body)
        os.replace(part, self._chunk(start))

    def is_done(self, start: int) -> bool:
        """Whether the records of a chunk are there, and the pictures they tell of."""
        try:
            with self._chunk(start).open("rb") as file:
                head = json.loads(file.readline())
                is_whole = os.fstat(file.fileno()).st_size == file.tell() + head["bytes"]
            return is_whole and all(
                os.stat(path).st_size > 0 for name, _ in head["names"] for path in self.pictures(name)
            )
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def finish(self, starts: Iterable[int], plan: Mapping[str, Any], splits: Sequence[str]) -> Totals:
        """Put all chunks together: first the lists of the splits, then the summary, last the records."""
        totals, digest = Totals(), hashlib.sha256()
        for folder in ("blur", "sharp"):
            sync_folder(self.out / folder)
        with ExitStack() as stack:
            lists: dict[str, BinaryIO] = {}
            for split in splits:
                part = stack.enter_context(atomic_write(self.out / "splits" / f"{split}.txt"))
                lists[split] = stack.enter_context(part.open("wb"))
            part = stack.enter_context(atomic_write(self.meta))
            meta = stack.enter_context(part.open("wb"))
            for start in starts:
                with self._chunk(start).open("rb") as file:
                    head = json.loads(file.readline())
                    for name, split in head["names"]:
                        lists[split].write(name.encode() + b"\n")
                    records = file.read()
                digest.update(records)
                meta.write(records)
                totals.add(_totals(head["totals"]))
            summary = {
                "schema": SCHEMA, **plan, "meta_sha256": digest.hexdigest(), "pairs": totals.pairs,
                "sources": totals.sources, "splits": {name: totals.splits[name] for name in splits},
                "identical": totals.pairs - totals.finite, "psnr_db_mean_finite": totals.psnr_db,
                "refused": dict(sorted(totals.refused.items())), "left_out": totals.left_out,
            }  # fmt: skip
            write_text(self.summary, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
        self.tidy()
        return totals

    def tidy(self) -> None:
        """Remove what only unfinished work needs, and what a `kill -9` left of files it was about to write."""
        for folder in (self.out, self.out / "splits"):
            for path in folder.glob(".deblur-*.part"):
                path.unlink(missing_ok=True)
        shutil.rmtree(self.work, ignore_errors=True)

    def read_summary(self) -> dict[str, Any]:
        """The summary of a complete set. Raises UsageError where it is damaged or missing, or of a newer schema."""
        try:
            summary: dict[str, Any] = json.loads(self.summary.read_text(encoding="utf-8"))
            schema = summary["schema"]
            whole = all(isinstance(summary[name], kind) for name, kind in _SUMMARY.items())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{self.summary} is missing or damaged; make the set again with --overwrite"
            ) from error
        if schema != SCHEMA:
            raise UsageError(f"{self.summary}: schema: {schema!r} is not what this program writes ({SCHEMA})")
        if not whole or not summary["source"].keys() >= {"kind", "path"}:
            raise UsageError(f"{self.summary} is damaged; make the set again with --overwrite")
        return summary

    def clear(self) -> None:
        """Remove what an earlier run made, and nothing else; the folder itself stays."""
        for path in (self.meta, self.summary, self.out / "spec.toml", self.out / "contact-sheet.png"):
            path.unlink(missing_ok=True)
        for path in _made_files(self.out):
            path.unlink()
        self.tidy()
        for folder in (self.out / "blur", self.out / "sharp", self.out / "splits"):
            with contextlib.suppress(OSError):  # something else lies in it, or it was never made
                folder.rmdir()

    def holds_set(self) -> bool:
        """Whether a run of ours has written here, be it finished or not."""
        return any(path.exists() for path in (self.meta, self.summary, self.work / "plan.json"))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs out of the folder, which is made where it is missing. A killed run holds nothing.

        Raises
        ------
        UsageError : another run is at work there
        """
        self.out.mkdir(parents=True, exist_ok=True)
        try:
            with locked(
                self.out,
                busy=f"another deblur make-dataset is at work in {self.out}; wait for it, or choose another folder",
            ):
                yield
        finally:
            with contextlib.suppress(OSError):  # it is empty where nothing could be made
                self.out.rmdir()

    def is_empty(self) -> bool:
        """Whether there is nothing in the folder, or no folder."""
        return not self.out.is_dir() or not any(self.out.iterdir())

    def _chunk(self, start: int) -> Path:
        return self.work / f"{start:012d}.jsonl"


def read_records(meta: Path) -> Iterator[Record]:
    """The records of a set, one by one.

    Raises
    ------
    UsageError : a line is no record, or of a newer schema; names file and line
    """
    with meta.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = json.loads(line)
                schema = record["schema"]
                # The name becomes that of files, so it must not lead elsewhere.
                if not _NAME.fullmatch(record["name"]):
                    raise ValueError(record["name"])
            except (ValueError, KeyError, TypeError) as error:
                raise UsageError(
                    f"{meta}:{number}: this is no record of a pair; make the set again with --overwrite"
                ) from error
            if schema != SCHEMA:
                raise UsageError(
                    f"{meta}:{number}: schema: {schema} is newer than this program understands ({SCHEMA})"
                )
            yield record


def totals_of(summary: Mapping[str, Any]) -> Totals:
    """What the summary of a complete set counts."""
    finite = summary["pairs"] - summary["identical"]
    return Totals(
        pairs=summary["pairs"], sources=summary["sources"], finite=finite,
        psnr_sum=(summary["psnr_db_mean_finite"] or 0.0) * finite, left_out=summary["left_out"],
        refused=Counter(summary["refused"]), splits=Counter(summary["splits"]),
    )  # fmt: skip


def _totals(values: Mapping[str, Any]) -> Totals:
    counters = {name: Counter(values[name]) for name in ("refused", "splits")}
    return Totals(**{**values, **counters})


def _made_files(out: Path) -> Iterator[Path]:
    """Pictures and lists that bear names as we give them."""
    for kind in ("blur", "sharp"):
        for path in (out / kind).glob("*.png"):
            if _NAME.fullmatch(path.stem):
                yield path
    yield from (path for name in SPLITS if (path := out / "splits" / f"{name}.txt").is_file())
