"""Sharp pictures as pairs: which of them belong to a split, each blurred by the preset when it is asked for."""

from array import array
from collections.abc import Callable, Collection, Sequence
from functools import partial

from deblur_cli.blur.pipeline import Operations
from deblur_cli.blur.spec import Spec
from deblur_cli.data.drawn import DrawnPair
from deblur_cli.data.lazy import Lazy
from deblur_cli.data.pairs import Pair, SharpPicture
from deblur_cli.data.splits import candidates, split_for
from deblur_cli.errors import MissingError


def blurred_pictures(
    find: Callable[[str], Sequence[SharpPicture]],
    spec: Spec,
    operations: Operations,
    *,
    split: str,
    parts: Collection[str],
    what: str,
) -> Sequence[Pair]:
    """The pictures of a split, as pairs that are made when they are asked for.

    Parameters
    ----------
    find : gives the pictures of an official part, or more than these
    parts : the official parts there are; without any, the spec's shares divide the pictures by their groups
    what : the source, for errors

    Raises
    ------
    MissingError : there are none for this split
    """
    for name in candidates(split, parts=parts, shares=spec.output.splits):
        # Where there is no such part, it is divided off the training part.
        pictures = find(name if name in parts else "train")
        chosen = array("Q")
        for at, picture in enumerate(pictures):
            if name == split_for(
                picture.group, part=picture.part, parts=parts, seed=spec.seed, shares=spec.output.splits
            ):
                chosen.append(at)
        if chosen:
            return Lazy(chosen, partial(_drawn, pictures, spec, operations))
    if parts and "train" not in parts:
        raise MissingError(
            f"no pictures for the split {split} in {what}: all of it is for {', '.join(parts)}"
        )
    raise MissingError(
        f"no pictures for the split {split} in {what}: {spec.name} divides them "
        + ", ".join(f"{name} {share:.0%}" for name, share in spec.output.splits.items())
    )


def _drawn(pictures: Sequence[SharpPicture], spec: Spec, operations: Operations, at: int) -> Pair:
    return DrawnPair(picture=pictures[at], spec=spec, operations=operations)
