"""`deblur eval`: measure models over pairs of blurred and sharp pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deblur_cli.cli import console
from deblur_cli.cli.options import (
    Device,
    Dtype,
    Json,
    MaxMemory,
    ModelNames,
    Overlap,
    Preset,
    Quiet,
    Statistics,
    Strength,
    Tile,
    Verbose,
)

if TYPE_CHECKING:
    from deblur_cli.evaluation.records import Evaluation
    from deblur_cli.evaluation.tables import Conditions
    from deblur_cli.host.manager import Host
    from deblur_cli.restore.restorer import Restorer
    from deblur_cli.weights import Source


def eval(
    model: ModelNames = None,
    data: Annotated[
        str,
        typer.Option(
            "--data", metavar="NAME|PATH", help="Data set, or a folder of pairs or of sharp pictures."
        ),
    ] = "sample",
    preset: Preset = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="NAME",
            help="Part of the data set. Default: val, else its last.",
            show_default=False,
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics", metavar="NAME...", help="What to measure. Default: psnr ssim.", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", min=1, help="Only the first N pairs. Default: all.", show_default=False
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write the table, a line a model.", show_default=False),
    ] = None,
    per_image: Annotated[
        Path | None,
        typer.Option(
            "--per-image",
            metavar="FILE",
            help="Write the scores of every picture: .jsonl (a line a picture) or .csv.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    tile: Tile = "auto",
    overlap: Overlap = None,
    statistics: Statistics = "auto",
    max_memory: MaxMemory = None,
    strength: Strength = 1.0,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Measure models on pairs of blurred and sharp pictures.

    The scores of the blurred input stand beside those of each model, with what they were measured on and how.
    A pair that fails does not stop the others: the exit code is 1 then.

    Examples:

        deblur eval --metrics psnr ssim

        deblur eval -m rednet30 runs/first --data gopro --split val --per-image scores.jsonl

        deblur eval --data cifar10 --preset cifar10-s0 --split test
    """
    from deblur_cli.blur.spec_file import spec_named
    from deblur_cli.data.sets import open_pairs, spec_of
    from deblur_cli.evaluation.evaluate import evaluate_models
    from deblur_cli.evaluation.tables import Conditions, picture_rows, summary_rows, table_kind, write_table
    from deblur_cli.host.manager import Host
    from deblur_cli.restore.restorer import load
    from deblur_cli.weights import resolve

    for path in (csv, per_image):
        if path is not None:
            table_kind(path)  # refuses an unknown ending now, not after an hour
    host = Host.discover()
    chosen = [host.metric(name) for name in dict.fromkeys(metrics or ("psnr", "ssim"))]
    prepared = None if preset is None else spec_named(preset, host.degradations)
    specs = list(dict.fromkeys(model or (host.default_model(),)))
    sources = {spec: resolve(host, spec) for spec in specs}
    # All are loaded before anything runs: a model without weights is found out now.
    restorers = {
        sources[spec].label: load(
            spec, device=device, dtype=dtype, tile=tile, overlap=overlap, statistics=statistics, max_memory=max_memory, strength=strength, host=host
        )
        for spec in specs
    }  # fmt: skip
    split = split or _default_split(host, data)
    pairs = open_pairs(host, data, split=split, preset=prepared)
    made_by = spec_of(pairs)  # some data sets bring a preset of their own
    conditions = Conditions(
        data=data,
        split=split,
        pairs=len(pairs),
        limit=limit,
        preset=None if made_by is None else made_by.name,
    )
    total = len(pairs) if limit is None else min(limit, len(pairs))
    with console.progress(f"measuring {', '.join(restorers)}", total) as advance:
        found = evaluate_models(restorers, pairs, chosen, limit=limit, progress=lambda done, total: advance())
    settings = {
        "tile": tile,
        "overlap": overlap,
        "statistics": statistics,
        "max_memory": max_memory,
        "strength": strength,
    }
    runs = {
        source.label: _run_record(source, restorers[source.label], found[source.label]) | settings
        for source in sources.values()
    }
    if csv is not None:
        write_table(csv, [row | runs[row["model"]] for row in summary_rows(found, conditions)])
    if per_image is not None:
        write_table(per_image, picture_rows(found))
    _report_failures(found)
    (_print_json if json else _print_table)(found, conditions, runs)
    return 1 if any(evaluation.failures for evaluation in found.values()) else 0


def _run_record(source: "Source", restorer: "Restorer", found: "Evaluation") -> dict[str, Any]:
    """What belongs to the model and the machine rather than to the data."""
    import numpy as np
    import torch

    from deblur_cli import __version__
    from deblur_cli.weights import file_sha256

    sizes = {(record.height, record.width) for record in found.records}
    exact = {restorer.plan(height, width, pixels=np.float32).exact for height, width in sizes}
    return {
        "weights_sha256": None if source.path is None else file_sha256(source.path),
        "device": str(restorer.device),
        "dtype": restorer.dtype_for(np.float32),
        "tiling": None if not exact else "exact" if all(exact) else "approximate",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "deblur_cli": __version__,
    }


def _default_split(host: "Host", data: str) -> str:
    """Where --split is not given: the split meant for this, as far as the data set has it."""
    splits: Sequence[str] = host.datasets[data].splits if data in host.datasets else ("val",)
    return "val" if "val" in splits or not splits else splits[-1]


def _report_failures(found: "Mapping[str, Evaluation]") -> None:
    """One line a failure; what failed alike for several models, such as a torn file, is said once."""
    labels: dict[tuple[str, str], list[str]] = {}
    for label, evaluation in found.items():
        for failure in evaluation.failures:
            labels.setdefault((failure.name, failure.error), []).append(label)
    for (name, error), failed in labels.items():
        console.error(f"{name} ({', '.join(failed)}): {error}")


def _print_json(
    found: "Mapping[str, Evaluation]", conditions: "Conditions", runs: Mapping[str, Mapping[str, Any]]
) -> None:
    for label, evaluation in found.items():
        failures = [{"name": failure.name, "error": failure.error} for failure in evaluation.failures]
        console.json_line(
            {
                "model": label,
                "conditions": {
                    **conditions.as_json(),
                    "metrics": {metric.name: metric.summary for metric in evaluation.metrics},
                    "pairs_sha256": evaluation.pairs_sha256,
                },
                "run": runs[label],
                **evaluation.summary().as_json(),
                "failures": failures,
            }
        )


def _print_table(
    found: "Mapping[str, Evaluation]", conditions: "Conditions", runs: Mapping[str, Mapping[str, Any]]
) -> None:
    from deblur_cli.evaluation.tables import comparison_table, explain

    columns, rows = comparison_table(found)
    console.table(columns, rows)
    console.result("")
    console.result(f"data: {conditions.text()}")
    for evaluation in {evaluation.pairs_sha256: evaluation for evaluation in found.values()}.values():
        console.result(f"pairs: {evaluation.pairs_sha256[:12]} (numbers compare where this is the same)")
    for run, labels in _grouped(runs).items():
        console.result(f"run: {run}" + (f" ({', '.join(labels)})" if len(runs) > 1 else ""))
    for line in explain(found):
        console.result(line)


def _grouped(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """What was run how, as text -> the models for which it holds."""
    texts: dict[str, list[str]] = {}
    for label, run in runs.items():
        shown = {key: value for key, value in run.items() if value is not None and key != "weights_sha256"}
        texts.setdefault(", ".join(f"{key} {value}" for key, value in shown.items()), []).append(label)
    return texts
