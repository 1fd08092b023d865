"""Does a restored picture look broken? Compared with the blurred one, not with a sharp one that nobody has.

Four failures that restoration networks are known for: values that are not numbers, blobs driven to black or full
brightness, a colour cast or swapped channels, and the chequer pattern of strided layers. Each threshold leaves room
for what honest sharpening does: it darkens and brightens edges, but neither the mean nor a fixed phase of the grid.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from deblur_cli.errors import PictureError
from deblur_cli.pictures.scaling import from_integers

STRIP_PIXELS = 1 << 18
"""Looked at together: a few MB as float32."""
MOST_PIXELS = 16_000_000
"""Of larger pictures evenly spaced strips are looked at."""
SATURATED_FROM = 0.25
SATURATED_SHARE = 0.01
COLOUR_SHIFT = 0.1
CHEQUER_AMPLITUDE = 0.01
CHEQUER_GROWTH = 2.0
_BLOCK_PX = 16

_Floats = NDArray[np.float32]
_Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One sign that a result is broken.

    kind : "not-a-number", "saturation", "colour-shift", "channel-swap" or "chequer"
    message : what was found, with its figure
    figure : how much of it; twice as much is twice as bad
    """

    kind: str
    message: str
    figure: float


class LooksBrokenError(PictureError):
    """A result that the guard refuses. alarms : what it found."""

    def __init__(self, message: str, *, alarms: tuple[Alarm, ...]) -> None:
        super().__init__(message)
        self.alarms = alarms


def inspect(before: _Pixels, after: _Pixels, *, non_finite: int = 0) -> tuple[Alarm, ...]:
    """Compare a restored picture with the blurred one.

    Parameters
    ----------
    before, after : (H, W, C) of one unsigned dtype and shape
    non_finite : values of the network's output that were no numbers, counted before they were rounded

    Returns
    -------
    what is wrong; empty if nothing is
    """
    return inspect_all([(before, after)], non_finite=non_finite)


def inspect_all(pictures: Sequence[tuple[_Pixels, _Pixels]], *, non_finite: int = 0) -> tuple[Alarm, ...]:
    """What `inspect` finds over several pictures, (before, after) each, as if they were one. One at least is given."""
    tally = _Tally(channels=pictures[0][0].shape[2])
    for before, after in pictures:
        for rows in _strips(before.shape[0], before.shape[1]):
            tally.add(from_integers(before[rows]), from_integers(after[rows]))
    alarms = [
        _not_a_number(non_finite, sum(after.size for _, after in pictures)),
        _saturation(tally),
        _colour_shift(tally),
        _channel_swap(tally),
        _chequer(tally),
    ]
    return tuple(alarm for alarm in alarms if alarm is not None)


class _Tally:
    """Sums over the strips seen so far."""

    def __init__(self, *, channels: int) -> None:
        self.pixels = 0
        self.blocks = 0
        self.saturated = 0
        self.shift = np.zeros(channels)  # sum of after - before
        self.distance = np.zeros((channels, channels))  # sum of |after of one channel - before of another|
        self.chequer = np.zeros(2)  # energy before, after

    def add(self, before: _Floats, after: _Floats) -> None:
        self.pixels += before.shape[0] * before.shape[1]
        newly_black = (after <= 0) & (before > SATURATED_FROM)
        newly_full = (after >= 1) & (before < 1 - SATURATED_FROM)
        self.saturated += int(np.count_nonzero((newly_black | newly_full).any(axis=2)))
        self.shift += (after - before).sum(axis=(0, 1), dtype=np.float64)
        for i, j in np.ndindex(self.distance.shape):
            self.distance[i, j] += np.abs(after[:, :, i] - before[:, :, j]).sum(dtype=np.float64)
        energies = [_chequer_energies(picture) for picture in (before, after)]
        self.chequer += [float(energy.sum()) for energy in energies]
        self.blocks += energies[0].size


def _not_a_number(non_finite: int, size: int) -> Alarm | None:
    if not non_finite:
        return None
    share = non_finite / size
    return Alarm(
        kind="not-a-number", message=f"{_percent(share)} of the values are not numbers", figure=share
    )


def _saturation(tally: _Tally) -> Alarm | None:
    share = tally.saturated / tally.pixels
    if share <= SATURATED_SHARE:
        return None
    return Alarm(
        kind="saturation", message=f"{_percent(share)} of the pixels became black or saturated", figure=share
    )


def _colour_shift(tally: _Tally) -> Alarm | None:
    shift = tally.shift / tally.pixels
    worst = int(np.abs(shift).argmax())
    if abs(shift[worst]) <= COLOUR_SHIFT:
        return None
    channel = ("red", "green", "blue")[worst] if shift.size == 3 else "brightness"
    return Alarm(
        kind="colour-shift",
        message=f"the mean of {channel} moved by {_percent(shift[worst])} of full scale",
        figure=float(abs(shift[worst])),
    )


def _channel_swap(tally: _Tally) -> Alarm | None:
    """Channels that fit others twice as well as their own; grey pictures fit all alike and raise no alarm."""
    channels = len(tally.shift)
    distance = tally.distance / tally.pixels
    own = float(np.trace(distance)) / channels
    best = min(
        permutations(range(channels)),
        key=lambda order: float(sum(distance[i, j] for i, j in enumerate(order))),
    )
    found = sum(distance[i, j] for i, j in enumerate(best)) / channels
    if own < 0.02 or found > own / 2:
        return None
    return Alarm(kind="channel-swap", message="colour channels seem to be swapped", figure=own)


def _chequer(tally: _Tally) -> Alarm | None:
    if not tally.blocks:
        return None
    before, after = np.sqrt(tally.chequer / tally.blocks)
    if after <= CHEQUER_AMPLITUDE or after <= CHEQUER_GROWTH * before:
        return None
    return Alarm(
        kind="chequer",
        message=f"a chequer pattern appeared, {_percent(after)} of full scale ({_percent(before)} before)",
        figure=float(after),
    )


def _chequer_energies(picture: _Floats) -> _Floats:
    """Energy of the pattern of period 2 by block of 16 px and channel, summed over its three directions.

    Within a block the pattern is averaged with its sign: a pattern that keeps its phase stays, texture and noise of the
    same frequency cancel.
    """
    height, width = (side // _BLOCK_PX * _BLOCK_PX for side in picture.shape[:2])
    quads = picture[:height, :width].reshape(height // 2, 2, width // 2, 2, picture.shape[2])
    a, b, c, d = quads[:, 0, :, 0], quads[:, 0, :, 1], quads[:, 1, :, 0], quads[:, 1, :, 1]
    energy: _Floats | None = None
    for pattern in (a - b - c + d, a - b + c - d, a + b - c - d):
        mean = _block_means(pattern / np.float32(4), _BLOCK_PX // 2)
        energy = mean**2 if energy is None else energy + mean**2
    assert energy is not None
    return energy


def _block_means(values: _Floats, side: int) -> _Floats:
    height, width, channels = values.shape
    blocks = values.reshape(height // side, side, width // side, side, channels)
    means: _Floats = blocks.mean(axis=(1, 3), dtype=np.float32)
    return means


def _strips(height: int, width: int) -> Iterator[slice]:
    """Rows looked at together: whole blocks, so that none is cut."""
    rows = max(_BLOCK_PX, STRIP_PIXELS // width // _BLOCK_PX * _BLOCK_PX)
    every = max(1, -(-height * width // MOST_PIXELS))
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows * every))


def _percent(share: float) -> str:
    return f"{share:.2%}" if abs(share) < 0.1 else f"{share:.0%}"
