"""What a recipe's mixture does to crops: how many each data set has, how much they are reduced, which get noise and JPEG."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.pipeline import Operations
from deblur_cli.blur.spec import Filter, Resize, Spec
from deblur_cli.data.drawn import Draw, degraded
from deblur_cli.data.framing import resize
from deblur_cli.errors import UsageError
from deblur_cli.host.checks import near_or_all
from deblur_cli.host.recipes import Mixture

P = TypeVar("P", bound=NDArray[Any])

_WORDS = 1 << 64  # random words are whole numbers below


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixing:
    """A mixture at work.

    sizes : how many pairs each data set has, in their order, by name
    spec : whose noise and JPEG ready pairs get, None where there is none
    """

    mixture: Mixture
    sizes: Sequence[tuple[str, int]]
    spec: Spec | None
    operations: Operations

    def __post_init__(self) -> None:
        known = [name for name, _ in self.sizes]
        for name in self.mixture.shares:
            if name not in known:
                raise UsageError(
                    f"mixture.shares has {name!r}, which is not trained on{near_or_all(name, known)} "
                    "(to leave shares out: --set mixture=none)"
                )
        if self.mixture.degrade and self.spec is None:
            raise UsageError(
                f"mixture.degrade is {self.mixture.degrade:g}, and nothing says how; give --blur NAME, whose noise and "
                "JPEG it takes"
            )

    @property
    def alters(self) -> bool:
        """Whether ready pairs do not stay as they are."""
        return self.mixture.reduce > 1 or self.mixture.degrade > 0

    def counts(self, by_pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Crops of each pair. by_pixels : as many as cover it, which are divided anew among the sets with shares"""
        shares = self.mixture.shares
        ends = np.cumsum([size for _, size in self.sizes])
        parts = {name: slice(end - size, end) for (name, size), end in zip(self.sizes, ends, strict=True)}
        total = sum(int(by_pixels[parts[name]].sum()) for name in shares)
        counts = by_pixels.copy()
        for name, share in shares.items():
            own = by_pixels[parts[name]]
            if own.sum():
                wanted = np.cumsum(own) * (total * share / sum(shares.values()) / own.sum())
                counts[parts[name]] = np.diff(np.rint(wanted).astype(np.int64), prepend=0)
        return counts

    def factor(self, word: int, *, most: float) -> float:
        """By how much to reduce. word : random; most : what the picture allows"""
        greatest = max(1.0, min(self.mixture.reduce, most))
        return float(greatest ** (word / _WORDS))

    def degrades(self, word: int) -> bool:
        """Whether the crop of a ready pair gets noise and JPEG. word : random"""
        return word < self.mixture.degrade * _WORDS

    def degraded(self, blurry: NDArray[np.uint8], draw: Draw) -> NDArray[np.uint8]:
        """The blurred picture with noise and JPEG."""
        assert self.spec is not None
        return degraded(blurry, self.spec, self.operations, draw)


def mixing_of(
    mixture: Mixture | None, sizes: Sequence[tuple[str, int]], *, spec: Spec | None, operations: Operations
) -> "Mixing | None":
    """The mixture of a recipe at work, None where it has none."""
    if mixture is None:
        return None
    return Mixing(mixture=mixture, sizes=sizes, spec=spec, operations=operations)


def reduced(picture: P, height: int, width: int) -> P:
    """A picture made smaller, each new pixel the mean over its area."""
    return cast("P", resize(picture, Resize(size=(width, height), filter=Filter.AREA)))
