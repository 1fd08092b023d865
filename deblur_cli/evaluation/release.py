"""From a training run to a released weights file and its card. The scores are measured here, never typed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deblur_cli.blur.spec import Spec
from deblur_cli.data.pairs import Pair
from deblur_cli.data.sets import holds_sharp, open_pairs, spec_of
from deblur_cli.errors import PictureError, UsageError
from deblur_cli.evaluation.evaluate import AS_THEY_ARE, evaluate_models
from deblur_cli.evaluation.measures import build_measures
from deblur_cli.evaluation.opening import open_protocol
from deblur_cli.evaluation.protocols import Conditions, Protocol, bind
from deblur_cli.evaluation.record_files import make_record, write_record
from deblur_cli.evaluation.records import Evaluation, Progress
from deblur_cli.host.checks import DeclarationError, require_name
from deblur_cli.host.declarations import Metric
from deblur_cli.host.manager import Host
from deblur_cli.pictures.atomic import atomic_write, require_folder
from deblur_cli.restore.restorer import Restorer
from deblur_cli.training.feeding.material import open_material
from deblur_cli.training.recording.run_folder import RunFolder
from deblur_cli.training.request import Request
from deblur_cli.weights import (
    Header,
    Source,
    Training,
    load_strictly,
    read_header,
    read_tensors,
    resolve,
    write_weights,
)
from deblur_cli.weights.card import card_text

MAX_HALF_LOSS_DB = 0.01
MAX_FILE_BYTES = 16_000_000
METRICS = ("psnr", "ssim", "mse", "mae", "logcosh")
SAMPLE_PIXELS = 1 << 20
"""Of each data set, on which weights in float16 are compared with those in float32; at least one picture."""
AS_USUAL = {
    "tile": "auto",
    "overlap": None,
    "statistics": "auto",
    "max_memory": None,
    "strength": 1.0,
    "workers": 1,
}
"""How a release is measured, in the words in which `deblur eval` records it."""
CONDITIONS = (
    "whole pictures, RGB, float32, exact tiles, output clipped to [0, 1] and not rounded, no border cut"
)


def release(
    run: Path,
    folder: Path,
    *,
    model: str = "",
    tag: str | None = None,
    data: Sequence[tuple[str, str]] = (),
    protocols: Sequence[Protocol] = (),
    preset: Spec | None = None,
    licence: str | None = None,
    credits: Sequence[str] = (),
    limits: str = "",
    host: Host,
    records: Path | None = None,
    limit: int | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda message: None,
    pictures: Progress | None = None,
) -> Path:
    """Write NAME.TAG.safetensors and NAME.TAG.md into `folder`; returns the path of the weights.

    Parameters
    ----------
    run : run folder or weights file
    model : whose weights they must be, "" = any
    tag : None = the names of what it was trained on
    data : (data set or folder, split) to measure on; without any, and without protocols, what the run held out
    protocols : to measure under besides
    preset : how the data are prepared, None as they say themselves
    licence : of the weights; None = that of the data sets it was trained on, where they have one in common with each
        other and with the weights that it began from
    credits : whom to; none = whom the data sets and the weights that it began from name
    records : folder that gets a record of each protocol, as `deblur eval` would make it of the released file
    limit : pictures a set, None for all
    progress, pictures : told what is done now, and after each picture of a set
    overwrite : replace file and card of an earlier release

    Raises
    ------
    UsageError : they are of another model, the tag is no name, the licence is not known, the files exist, or they would
        be larger than 16 MB
    MissingError : the run or the data is not there
    PictureError : a picture could not be measured
    """
    source = resolve(host, model, weights=run)
    assert source.path is not None  # a run folder or file always has one
    header = read_header(source.path)
    trained_on = tuple(map(_set_name, header.training_data))
    earlier = tuple(
        replace(training, training_data=tuple(map(_set_name, training.training_data)))
        for training in header.earlier
    )
    tag = "-".join(trained_on) if tag is None else tag
    try:
        require_name(tag, "the tag")
    except DeclarationError as error:
        raise UsageError(f"{error}; say what the weights are for with --tag") from error
    licence = licence or _licence_of(host, trained_on, earlier)
    target = folder / f"{source.model.name}.{tag}.safetensors"
    for path in (target, target.with_suffix(".md")):
        if path.exists() and not overwrite:
            raise UsageError(
                f"{path} exists already; replace it with --overwrite, or choose another --tag or -o"
            )
    if records is not None:
        require_folder(records)  # found out now, not when all is measured
    metrics = [host.metric(name) for name in METRICS]
    sets = [(name, split, open_pairs(host, name, split=split, preset=preset)) for name, split in data]
    tasks = [
        *(_task(name, split, pairs, limit=limit) for name, split, pairs in sets),
        *(open_protocol(host, protocol, limit=limit) for protocol in protocols),
    ] or [_task(*held, limit=limit) for held in _held_out(run, host)]
    tensors = _floating(read_tensors(source.path))
    halves = {name: value.half() for name, value in tensors.items()}
    sample = [pair for pairs, _ in tasks for pair in _first(pairs)[:limit]]
    progress("comparing float16 with float32 weights")
    loss_db = _psnr(source, tensors, sample, metrics) - _psnr(source, halves, sample, metrics)
    stored, dtype = (halves, "float16") if loss_db < MAX_HALF_LOSS_DB else (tensors, "float32")
    restorer = _restorer(source, stored)
    evaluations = []
    for pairs, conditions in tasks:
        label = conditions.protocol.name or conditions.about()
        progress(f"measuring {label}")
        found = _measured(
            restorer, pairs, metrics, protocol=conditions.protocol, limit=limit, progress=pictures
        )
        if found.failures:
            first = found.failures[0]
            raise PictureError(
                f"{label}: {len(found.failures)} pictures failed, first {first.name}: {first.error}; nothing was released"
            )
        evaluations.append((found, conditions))
    header = replace(
        header,
        training_data=trained_on,
        dtype=dtype,
        licence=licence,
        credits=tuple(credits) or _credits_of(host, trained_on, earlier),
        earlier=earlier,
        limits=limits,
        scores=tuple(_score(found, conditions) for found, conditions in evaluations),
    )
    _write(target, stored, header, source)
    if records is not None:
        released = resolve(host, "", weights=target)
        for found, conditions in evaluations:
            if conditions.protocol.name:
                made = make_record(
                    found, conditions, source=released, restorer=restorer, settings=AS_USUAL, options={}
                )
                write_record(records, {**made, "model": target.stem, "tag": tag})
    return target


def _first(pairs: Sequence[Pair]) -> Sequence[Pair]:
    """As many of the first pairs as make a million pixels, if all are as large as the first."""
    height, width = pairs[0].size()
    return [pairs[i] for i in range(min(len(pairs), max(1, SAMPLE_PIXELS // (height * width))))]


def _task(
    data: str, split: str, pairs: Sequence[Pair], *, limit: int | None
) -> tuple[Sequence[Pair], Conditions]:
    """Pairs without a protocol of their own: whole, nothing rounded or cut."""
    spec = spec_of(pairs)
    protocol = Protocol(data=_set_name(data), split=split, preset="" if spec is None else spec.name)
    return pairs, bind(protocol, pairs, spec=spec, limit=limit)


def _held_out(run: Path, host: Host) -> list[tuple[str, str, Sequence[Pair]]]:
    """What a run did not train on, prepared as there: the data set, "held out", and the pairs."""
    if not (run / "run.json").is_file():
        raise UsageError(f"{run} is no run folder, so say with --data on what to measure")
    request = Request.from_values(RunFolder(run).read_record()["request"], run=run)
    spec = request.preparation.read(host)
    only_sharp = request.preparation.blur is not None
    found = []
    for name in request.data:
        own = spec if not only_sharp or holds_sharp(host, name) else None
        held = open_material(host, [name], spec=own, only_sharp=False).val
        found.append((name, "held out", held))
    return found


def _licence_of(host: Host, trained_on: Sequence[str], earlier: Sequence[Training]) -> str:
    trained_on = tuple(dict.fromkeys(chain(trained_on, *(training.training_data for training in earlier))))
    licences = {host.datasets[name].licence if name in host.datasets else "" for name in trained_on}
    licences |= {training.licence for training in earlier} - {Training().licence}  # a run states none
    if len(licences) != 1 or "" in licences:
        raise UsageError(
            "say with --licence under which licence the weights are: none that is known is common to what they were "
            f"trained on, {', '.join(trained_on) or 'unknown'}{', and what they began from' * bool(earlier)}"
        )
    return licences.pop()


def _credits_of(host: Host, trained_on: Sequence[str], earlier: Sequence[Training]) -> tuple[str, ...]:
    names = chain(*(training.training_data for training in earlier), trained_on)
    credits = (host.datasets[name].credit for name in names if name in host.datasets)
    stated = chain.from_iterable(training.credits for training in earlier)
    return tuple(dict.fromkeys(filter(None, chain(stated, credits))))


def _write(path: Path, tensors: Mapping[str, Tensor], header: Header, source: Source) -> None:
    size = sum(value.nbytes for value in tensors.values())
    if size > MAX_FILE_BYTES:
        raise UsageError(
            f"{path.name} would take {size / 1e6:.0f} MB; released files hold at most {MAX_FILE_BYTES / 1e6:.0f} MB"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_weights(path, tensors, header)
    parameters = sum(value.numel() for value in source.model.build(source.options).parameters())
    with atomic_write(path.with_suffix(".md")) as part:
        part.write_text(
            card_text(path, header, parameters=parameters, source=source.model.source), encoding="utf-8"
        )


def _floating(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the counters of batch norm, which inference does not need."""
    return {name: value for name, value in tensors.items() if value.is_floating_point()}


def _restorer(source: Source, tensors: Mapping[str, Tensor]) -> Restorer:
    network: torch.nn.Module = source.model.build(source.options)
    load_strictly(network, {name: value.float() for name, value in tensors.items()}, origin=source.label)
    return Restorer(network.eval(), model=source.model, options=source.options, dtype="float32")


def _measured(
    restorer: Restorer,
    pairs: Sequence[Pair],
    metrics: Sequence[Metric],
    *,
    protocol: Protocol = AS_THEY_ARE,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    measures = build_measures(metrics)
    found = evaluate_models(
        {"": restorer}, pairs, measures, protocol=protocol, limit=limit, progress=progress
    )
    return found[""]


def _psnr(
    source: Source, tensors: Mapping[str, Tensor], pairs: Sequence[Pair], metrics: Sequence[Metric]
) -> float:
    return _measured(_restorer(source, tensors), pairs, metrics).summary().score("psnr").restored


def _score(found: Evaluation, conditions: Conditions) -> dict[str, Any]:
    summary, protocol = found.summary().as_json(), conditions.protocol
    names = (
        "pictures", "blurry", "restored", "pooled_psnr_blurry", "pooled_psnr_restored",
        "identical_blurry", "identical_restored",
    )  # fmt: skip
    prepared = f"prepared by {protocol.preset}, " if protocol.preset else ""
    return {
        "data": protocol.name or protocol.data,
        "split": protocol.split,
        "protocol": conditions.hash,
        "conditions": conditions.text() if protocol.name else f"{prepared}{CONDITIONS}",
        "pairs_sha256": found.pairs_sha256,
        **{name: summary[name] for name in names},
    }


def _set_name(data: str) -> str:
    """A data set's name; of a folder only its own name: where it lay is nobody else's business."""
    return Path(data).name if "/" in data or "\\" in data else data
