"""The steps of a spec: operations with their parameters, and mixtures of branches."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deblur_cli.blur.describe import Parameter, parameters_of
from deblur_cli.blur.distributions import Distribution
from deblur_cli.blur.light import Light, WorkingLight, parse_light
from deblur_cli.blur.operations import load_operation
from deblur_cli.blur.positions import KeyPath, path_text
from deblur_cli.blur.spec import Branch, Mix, Select, SourceKind, Step
from deblur_cli.blur.spec_table import Findings, Table, is_number, nearest, shown
from deblur_cli.blur.spec_values import read_distribution
from deblur_cli.errors import UsageError
from deblur_cli.host.declarations import Degradation, Stage
from deblur_cli.host.failures import describe

MIX = "mix"
_STEP_KEYS = ("op", "prob", "light")
_MIX_KEYS = ("op", "prob", "select", "branch")
_TOLERANCE = 1e-9

Operations = Mapping[str, Degradation]


def read_steps(tables: Sequence[Table], operations: Operations, *, folder: Path) -> tuple[Step | Mix, ...]:
    """All steps; those with an error may be missing.

    Parameters
    ----------
    folder : where the files are looked for that a `light` names
    """
    return _read_all(tables, operations, folder, itertools.count(1))


def read_light(table: Table, *, folder: Path) -> WorkingLight | None:
    """The `light` of a spec or a step, None where it says nothing."""
    if "light" not in table.content:
        return None
    text = table.text("light", form=f"one of {', '.join(Light)}, crf:FILE")
    try:
        return parse_light(text, folder=folder) if text else None
    except UsageError as error:
        table.error("light", str(error))
        return None


def check_frames(steps: Sequence[Step | Mix], operations: Operations, source: SourceKind, top: Table) -> None:
    """Frames are averaged by the first step, and only where the source is frames."""
    findings = top.findings
    for path, step in _operations(steps, top.at("step")):
        if operations[step.op].stage is not Stage.FRAMES:
            continue
        if source is not SourceKind.FRAMES:
            findings.error((*path, "op"), f'{step.op} needs source = "frames", not "{source}"')
        elif path != (*top.at("step"), 0):
            findings.error((*path, "op"), f"{step.op} must be the first step, and in no mix")
        elif step.prob is not None:
            findings.error(
                (*path, "prob"), f"{step.op} makes one picture of several, so it cannot be left out"
            )
    first = steps[0] if steps else None
    made = isinstance(first, Step) and operations[first.op].stage is Stage.FRAMES
    if source is SourceKind.FRAMES and not made:
        makers = [name for name, item in operations.items() if item.stage is Stage.FRAMES]
        findings.error(top.at("step"), f"the first step of a spec of frames must be {' or '.join(makers)}")


def check_pairs(steps: Sequence[Step | Mix], operations: Operations, source: SourceKind, top: Table) -> None:
    """What is blurred already can only get what acts on each pixel, or on the stored file, alone."""
    if source is not SourceKind.PAIRS:
        return
    late = sorted(name for name, item in operations.items() if item.stage in (Stage.SENSOR, Stage.FILE))
    for path, step in _operations(steps, top.at("step")):
        if not load_operation(operations[step.op]).is_pointwise:
            rule = f'the pictures of source = "pairs" are blurred already, so {step.op} comes too late; take {" or ".join(late)}'
            top.findings.error((*path, "op"), rule)


def warn_of_order(steps: Sequence[Step | Mix], operations: Operations, top: Table) -> None:
    """Note each step that comes after one of a later stage of the physics: blur after noise, say."""
    _warn(steps, operations, top.findings, top.at("step"), None)


def _read_all(
    tables: Sequence[Table], operations: Operations, folder: Path, slots: Iterator[int]
) -> tuple[Step | Mix, ...]:
    read = [_read_one(table, operations, folder, slots) for table in tables]
    return tuple(step for step in read if step is not None)


def _read_one(table: Table, operations: Operations, folder: Path, slots: Iterator[int]) -> Step | Mix | None:
    slot = next(slots)  # before those of its branches
    op = table.text("op", form="the name of an operation")
    if op == MIX:
        return _read_mix(table, operations, folder, slots, slot)
    if op not in operations:
        if op:
            known = (*operations, MIX)
            hint = nearest(op, known) or f"; known: {', '.join(sorted(known))}"
            table.error("op", f"there is no operation {shown(op)}{hint}")
        return None
    try:
        parameters = parameters_of(operations[op])
        load_operation(operations[op])
    except Exception as error:  # the modules of plugins may raise anything
        table.error("op", f"{op} cannot be loaded: {describe(error)}")
        return None
    light = read_light(table, folder=folder)
    if operations[op].stage is Stage.FILE and light not in (None, Light.SRGB):
        table.error("light", f"{op} acts on the code values that are stored, so it is always srgb")
    return Step(slot=slot, op=op, node=_read_node(table, op, parameters), prob=_read_prob(table), light=light)


def _read_node(table: Table, op: str, parameters: Mapping[str, Parameter]) -> dict[str, Distribution]:
    table.refuse_others((*_STEP_KEYS, *parameters), owner=op)
    node = {}
    for name, parameter in parameters.items():
        if name in table.content:
            try:
                node[name] = read_distribution(table.content[name], parameter)
            except UsageError as error:
                table.error(name, str(error))
        elif parameter.required:
            table.error(name, f"missing; {op} needs it")
    return node


def _read_prob(table: Table) -> float | None:
    return table.number("prob", ge=0, le=1) if "prob" in table.content else None


def _read_mix(
    table: Table, operations: Operations, folder: Path, slots: Iterator[int], slot: int
) -> Mix | None:
    table.refuse_others(_MIX_KEYS, owner=MIX)
    select = table.one_of("select", Select, default=Select.RANDOM)
    prob = _read_prob(table)
    inner = table.tables("branch")
    if not inner:
        if not table.content.get("branch"):
            table.error("branch", "missing; a mix needs branches")
        return None
    if select is Select.RANDOM:
        _check_probabilities(table, inner)
    share = 1 / len(inner) if select is Select.CYCLE else None
    branches = [_read_branch(item, operations, folder, slots, share) for item in inner]
    return Mix(slot=slot, branches=tuple(branches), select=select, prob=prob)


def _read_branch(
    table: Table, operations: Operations, folder: Path, slots: Iterator[int], share: float | None
) -> Branch:
    """share : its probability where the spec need not say."""
    table.refuse_others(("p", "step"), owner="a branch")
    p = table.number("p", ge=0, le=1, default=share)
    steps = table.tables("step")
    if not table.content.get("step"):
        table.error("step", 'missing; a branch that changes nothing has step = [{ op = "identity" }]')
    return Branch(p=p, steps=_read_all(steps, operations, folder, slots))


def _check_probabilities(mix: Table, branches: Sequence[Table]) -> None:
    """They must sum to 1. Those that are no probabilities at all are found elsewhere."""
    given = [branch.content.get("p") for branch in branches]
    shares = [share for share in given if is_number(share) and 0 <= share <= 1]
    total = math.fsum(shares)
    if len(shares) == len(given) and abs(total - 1) > _TOLERANCE:
        rule = f"probabilities sum to {total:.10g}, must be 1"
        mix.findings.error(mix.at("op"), rule, name=f"{path_text(mix.path)} mix")


def _operations(steps: Sequence[Step | Mix], path: KeyPath) -> Iterator[tuple[KeyPath, Step]]:
    """All operations with their paths, depth first."""
    for position, step in enumerate(steps):
        if isinstance(step, Step):
            yield (*path, position), step
            continue
        for number, branch in enumerate(step.branches):
            yield from _operations(branch.steps, (*path, position, "branch", number, "step"))


def _warn(
    steps: Sequence[Step | Mix], operations: Operations, findings: Findings, path: KeyPath, latest: str | None
) -> str | None:
    """Returns the operation of the latest stage so far; `latest` is that before these steps."""
    order = list(Stage)

    def rank(op: str | None) -> int:
        return -1 if op is None else order.index(operations[op].stage)

    for position, step in enumerate(steps):
        here = (*path, position)
        if isinstance(step, Mix):
            ends = [
                _warn(branch.steps, operations, findings, (*here, "branch", number, "step"), latest)
                for number, branch in enumerate(step.branches)
            ]
            latest = max(ends, key=rank)
        elif step.op != "identity" and rank(step.op) < rank(latest):
            text = f"{path_text(here)} {step.op} after {latest} breaks the physical order"
            findings.warning((*here, "op"), text)
        else:
            latest = max(latest, step.op, key=rank)
    return latest
