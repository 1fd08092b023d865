"""Ratios against the bare operation, measured in one run: `make bench`, or `python benchmarks/bench.py --help`.

Nothing here passes or fails: figures of a machine are for people to read. Each part needs the machine to itself.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import evaluation
import files
import memory
import networks
import on_the_fly
import pairs
import shake
import starting
import torch
import training
from measuring import Clock, Row
from rich.console import Console
from rich.table import Table

from deblur_cli.pictures import atomic_write
from deblur_cli.restore.devices import limit_kernel_cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How thorough a run is, and on what sizes."""

    repeats: int
    clock: Clock
    frame: tuple[int, int]  # height, width in pixels, for the networks and evaluation
    picture: tuple[int, int]  # the same for files
    megapixels: tuple[int, ...]  # for memory
    shaken: int  # height and width in pixels, for camera shake
    crop: tuple[int, int]  # side in pixels, and how many in a round, for blur on the fly
    pairs: tuple[int, int]  # pictures in each batch of CIFAR-10, and names in a long list
    training: training.Sizes


PARTS: dict[str, Callable[[Settings], list[Row]]] = {
    "starting": lambda s: starting.run(repeats=max(9, s.repeats), clock=s.clock),
    "files": lambda s: files.run(repeats=s.repeats, clock=s.clock, height=s.picture[0], width=s.picture[1]),
    "memory": lambda s: memory.run(megapixels=s.megapixels),
    "shake": lambda s: shake.run(repeats=s.repeats, clock=s.clock, side=s.shaken),
    "on-the-fly": lambda s: on_the_fly.run(repeats=s.repeats, clock=s.clock, side=s.crop[0], count=s.crop[1]),
    "pairs": lambda s: pairs.run(repeats=s.repeats, clock=s.clock, count=s.pairs[0], listed=s.pairs[1]),
    "training": lambda s: training.run(repeats=s.repeats, clock=s.clock, sizes=s.training),
    "evaluation": lambda s: evaluation.run(
        repeats=s.repeats, clock=s.clock, height=s.frame[0], width=s.frame[1]
    ),
    "bfloat16": lambda s: _networks(torch.bfloat16, s),
    "float32": lambda s: _networks(torch.float32, s),
}


def main(words: Sequence[str] | None = None) -> None:
    """Run the parts, show each part's rows when it is done, and write all figures as JSON if asked."""
    options = _parser().parse_args(words)
    if options.threads:
        torch.set_num_threads(options.threads)
    limit_kernel_cache()  # as the command does
    settings = Settings(
        repeats=1 if options.quick else options.repeats,
        clock=Clock(options.clock),
        frame=(96, 160) if options.quick else (720, 1280),
        picture=(300, 400) if options.quick else (3000, 4000),
        megapixels=(1, 2) if options.quick else (12, 48, 108),
        shaken=100 if options.quick else 1000,
        crop=(32, 4) if options.quick else (128, 64),
        pairs=(100, 3000) if options.quick else (10_000, 1_000_000),
        training=training.QUICK if options.quick else training.Sizes(),
    )
    rows = []
    for name in options.only or PARTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found = PARTS[name](settings)
        _show(found, title=f"{name}, {settings.clock} time")
        rows += found
    if options.json:
        with atomic_write(options.json) as temporary:
            temporary.write_text(_document(rows, settings), encoding="utf-8")


def _networks(dtype: torch.dtype, settings: Settings) -> list[Row]:
    height, width = settings.frame
    return networks.run(
        dtype=dtype, repeats=settings.repeats, clock=settings.clock, height=height, width=width
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), help="parts to run (default: all)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count (default: 5)")
    parser.add_argument(
        "--clock", choices=[*Clock], default=Clock.WALL,
        help="cpu: processor time, with --threads 1 the fairer one on a busy machine (default: wall)",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, help="of the networks (default: PyTorch's choice)")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, one round: only to see that it runs"
    )
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    return parser


def _show(rows: Sequence[Row], *, title: str) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("WHAT", overflow="fold")
    for column in ("RATIO", "MIN", "MAX", "TARGET", "MET"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("NOTE", overflow="fold")
    verdict = {True: "yes", False: "NO", None: ""}
    for row in rows:
        figures = [f"{value:.2f}" for value in (row.median, min(row.ratios), max(row.ratios))]
        target = "" if row.target is None else f"{row.target:.2f}"
        took = "" if row.seconds is None else f"{row.seconds[0]:.3g} s / {row.seconds[1]:.3g} s"
        note = "; ".join(part for part in (took, row.note) if part)
        table.add_row(row.what, *figures, target, verdict[row.met], note)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _document(rows: Sequence[Row], settings: Settings) -> str:
    machine = {
        "processor": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    run = {
        "repeats": settings.repeats,
        "clock": settings.clock,
        "frame": settings.frame,
        "picture": settings.picture,
        "shaken": settings.shaken,
        "pairs": settings.pairs,
    }
    return (
        json.dumps({"machine": machine, "run": run, "rows": [row.as_json() for row in rows]}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
