"""From what a user asks to be measured to pairs, and to the conditions under which they are."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deblur_cli.blur.spec import Spec
from deblur_cli.blur.spec_file import spec_named
from deblur_cli.data.drawn import DrawnPair
from deblur_cli.data.pairs import Pair
from deblur_cli.data.sets import open_pairs, spec_of
from deblur_cli.errors import MissingError, UsageError
from deblur_cli.evaluation.protocols import Conditions, Protocol, bind
from deblur_cli.host.manager import Host


def open_protocol(
    host: Host, protocol: Protocol, *, data: str = "", limit: int | None = None
) -> tuple[Sequence[Pair], Conditions]:
    """The pairs that a protocol is about.

    Parameters
    ----------
    data : a folder, or the name of a data set, that holds them; "" = what the protocol names
    limit : number of pairs to take from the front, None for all

    Raises
    ------
    MissingError, UsageError, PictureError : as `open_pairs`; no pair is what the protocol takes; or it waits for `data`
    """
    if not (data or protocol.data):
        raise UsageError(f"{protocol.name} measures on pictures of yours: name them with --data")
    spec = spec_named(protocol.preset, host.degradations) if protocol.preset else None
    if spec is not None and spec.grid is not None and protocol.pieces is None:
        protocol = replace(protocol, pieces=_pieces(spec))
    if spec is not None and protocol.pieces is not None:
        spec = replace(spec, grid=None)  # the pieces of a picture are not measured one by one
    pairs = open_pairs(host, data or protocol.data, split=protocol.split, preset=spec)
    chosen = _all_draws(protocol.chosen(pairs))
    if not chosen:
        raise MissingError(
            f"none of the {len(pairs)} pairs of {data or protocol.data} is one that {protocol.name} takes: {protocol.summary}"
        )
    made_by = spec_of(pairs)  # some data sets bring a preset of their own
    protocol = replace(
        protocol,
        data=shown(host, protocol.data or data),
        preset="" if made_by is None else made_by.name,
    )
    return chosen, bind(protocol, chosen, spec=made_by, limit=limit)


def default_split(host: Host, data: str) -> str:
    """The split that is meant for measuring, as far as the data set has it."""
    splits: Sequence[str] = host.datasets[data].splits if data in host.datasets else ("val",)
    return "val" if "val" in splits or not splits else splits[-1]


def _pieces(spec: Spec) -> tuple[int, int] | None:
    """Width and height of the tiles of a preset's grid, where all pictures get one size."""
    if spec.grid is None or spec.resize is None or spec.resize.size is None:
        return None
    (width, height), (rows, columns) = spec.resize.size, spec.grid
    return width // columns, height // rows


def _all_draws(pairs: Sequence[Pair]) -> Sequence[Pair]:
    """Each picture as often as its spec degrades it."""
    first = next(iter(pairs), None)
    if not isinstance(first, DrawnPair) or first.spec.draws == 1:
        return pairs
    return [
        replace(pair, draw=draw)
        for pair in pairs
        if isinstance(pair, DrawnPair)
        for draw in range(pair.spec.draws)
    ]


def shown(host: Host, data: str) -> str:
    """A data set's name; of a folder its own: where it lies is not what a score depends on."""
    return data if data in host.datasets else Path(data).expanduser().resolve().name
