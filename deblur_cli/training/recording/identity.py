"""What a run is of: facts that are noted before step 1 and compared when it is resumed.

A run goes on only as what it began as. Where it runs (device, threads, versions, workers) and how long may change.
"""

import csv
import hashlib
import io
import json
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from deblur_cli.host.checks import DeclarationError
from deblur_cli.host.recipe_values import as_values, from_values
from deblur_cli.host.recipes import Recipe
from deblur_cli.training.choosing import recipe_text
from deblur_cli.training.feeding.crops import Crops
from deblur_cli.training.feeding.material import Material
from deblur_cli.training.learning import Learner
from deblur_cli.training.validation import Held

Facts = Mapping[str, Any]

_PARTS = {"train": "to train on", "val": "held out for validation"}
_MOST_SAID = 5


def pairs_listing(material: Material, crops: Crops, held: Held) -> str:
    """pairs.csv: part ("train", "val"), name, and height and width in px of what can be used, one row a pair."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("part", "name", "height", "width"))
    for part, pairs, sizes in (
        ("train", material.train, crops.rooms.tolist()),
        ("val", material.val, held.sizes),
    ):
        writer.writerows((part, pair.name, *size) for pair, size in zip(pairs, sizes, strict=True))
    return text.getvalue()


def facts_of(
    *,
    model: str,
    options: Mapping[str, Any],
    learners: Sequence[Learner],
    recipe: Recipe,
    settings: Mapping[str, Any],
    specs: Mapping[str, str],
    held: Held,
    pairs: str,
) -> Facts:
    """What a run is of, as JSON holds it.

    Parameters
    ----------
    settings : what else decides the outcome, by the name of its option: seed, dtype, init, preset, blur
    specs : SHA-256 by name of the specs that make the pairs
    pairs : the listing of the pairs
    """
    counts = {
        learner.name: sum(value.numel() for value in learner.network.parameters()) for learner in learners
    }
    facts = {
        "model": model,
        "options": dict(options),
        "parameters": counts,
        "recipe": as_values(recipe),
        **settings,
        "specs_sha256": dict(specs),
        "pairs_sha256": _sha256(pairs),
        "validation_sha256": {
            name: _sha256(*crops) for name, crops in zip(held.names, held.crops, strict=True)
        },
    }
    plain: Facts = json.loads(json.dumps(facts))
    return plain


def differences(before: Facts, now: Facts, *, pairs_before: str, pairs: str) -> list[str]:
    """What a run is of now and was not when it began, in words; nothing where it is the same.

    pairs_before, pairs : the listings of the pairs; that of before counts only if it is the one that `before` is of
    """
    found = [*value_changes(_with_defaults(before), _with_defaults(now))]
    if before.get("pairs_sha256") != now["pairs_sha256"]:
        known = _sha256(pairs_before) == before.get("pairs_sha256")
        found += _pair_changes(pairs_before, pairs) if known else ["the pairs are others"]
    elif before.get("specs_sha256") == now["specs_sha256"]:
        found += _content_changes(before.get("validation_sha256"), now["validation_sha256"])
    return found


def recipe_file_changes(file: Path, record: Mapping[str, Any]) -> list[str]:
    """What the run's recipe file says otherwise than run.json: it is there to be copied, not to change the run by.

    record : run.json, with the recipe and the network's options as they were when the run began
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    before = recipe_text(record["request"]["recipe"] | {"model": record["request"]["options"]}, model="")
    try:
        changes = [*value_changes(tomllib.loads(before), tomllib.loads(text))]
    except (ValueError, RecursionError) as error:
        return [f"{file.name} cannot be read: {error}"]
    return [f"{file.name}: {change}" for change in changes]


def tensor_changes(before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> list[str]:
    """What networks have now and did not have in a checkpoint, by the names and shapes of their tensors."""
    then, here = (
        {name: list(value.shape) for name, value in tensors.items() if not name.startswith("optimizer.")}
        for tensors in (before, now)
    )
    gone, new = ([name for name in one if name not in other] for one, other in ((then, here), (here, then)))
    return [
        *(f"the networks have no {name} any more" for name in gone),
        *(f"the networks have a {name} that the checkpoint has not" for name in new),
        *value_changes(then, {name: here.get(name, shape) for name, shape in then.items()}),
    ]


def at_most(found: Sequence[str]) -> list[str]:
    """The first differences, and how many there are besides."""
    return [
        *found[:_MOST_SAID],
        *([f"and {len(found) - _MOST_SAID} more"] if len(found) > _MOST_SAID else []),
    ]


def _with_defaults(facts: Facts) -> Facts:
    """What can be compared value by value; a recipe of an earlier version with what it did not have yet."""
    chosen = {
        name: value for name, value in facts.items() if name not in ("pairs_sha256", "validation_sha256")
    }
    try:
        return chosen | {"recipe": json.loads(json.dumps(as_values(from_values(facts["recipe"]))))}
    except (KeyError, TypeError, AttributeError, ValueError, DeclarationError):
        return chosen


def value_changes(before: Any, now: Any, where: str = "") -> Iterator[str]:
    """Each value that differs, by its place in the tables."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys((*before, *now)):
            yield from value_changes(before.get(name), now.get(name), f"{where}.{name}" if where else name)
    elif before != now:
        if where.startswith("specs_sha256."):
            yield f"the blur {where.partition('.')[2]} is another"
        else:
            yield f"{where} was {_said(before)}, is {_said(now)}"


def _said(value: Any) -> str:
    if value is None:
        return "not set"
    return "a table" if isinstance(value, dict) else json.dumps(value)


def _pair_changes(before: str, now: str) -> Iterator[str]:
    for part, words in _PARTS.items():
        then, here = _rows(before, part), _rows(now, part)
        names, names_now = ([name for name, _ in rows] for rows in (then, here))
        gone, new = Counter(names) - Counter(names_now), Counter(names_now) - Counter(names)
        if gone or new:
            yield ", ".join(
                [
                    f"{len(here)} pairs {words} where there were {len(then)}",
                    *(f"{name} is gone" for name in [*gone][:1]),
                    *(f"{name} is new" for name in [*new][:1]),
                ]
            )
        elif names != names_now:
            first = next(name for name, old in zip(names_now, names, strict=True) if name != old)
            yield f"the pairs {words} come in another order from {first} on"
        else:
            sizes = [
                (name, old, size) for (name, old), (_, size) in zip(then, here, strict=True) if old != size
            ]
            for name, old, size in sizes[:1]:
                more = f" (and {len(sizes) - 1} more)" if len(sizes) > 1 else ""
                yield f"{name}{more} was {old} px, is {size}"


def _content_changes(before: Any, now: Mapping[str, str]) -> Iterator[str]:
    old = before if isinstance(before, dict) else {}
    changed = [name for name, sha256 in now.items() if old.get(name) != sha256]
    for name in changed[:1]:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        yield f"the content of {name}{more}, held out for validation, has changed"


def _rows(listing: str, part: str) -> list[tuple[str, str]]:
    """Name and size ("WxH") of each pair of a part."""
    rows = csv.reader(io.StringIO(listing))
    return [(row[1], f"{row[3]}x{row[2]}") for row in rows if row and row[0] == part]


def _sha256(*contents: Any) -> str:
    """Of texts, or of arrays with their shapes."""
    digest = hashlib.sha256()
    for content in contents:
        if isinstance(content, str):
            digest.update(content.encode())
        else:
            digest.update(repr(content.shape).encode() + content.tobytes())
    return digest.hexdigest()
