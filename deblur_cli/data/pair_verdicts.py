"""What is a fault, what is odd, and what is as it should be: the limits of a data set check and what they rest on."""

from collections.abc import Iterator, Sequence

import numpy as np

from deblur_cli.data.alignment import Shift
from deblur_cli.data.findings import Check, Finding, Level
from deblur_cli.data.pair_measures import Measured, files_of
from deblur_cli.data.pair_records import Recorded
from deblur_cli.data.pairs import Pair

SHIFT_PX = 0.5
"""From here on a shift is odd; where the kernel is known, a fault."""

FAR_PX = 4.0
"""A fault in any pair. Of 58 real pairs, whose motion is large and one-sided, the greatest shift measured is 2.7 px."""

SCENE_SHIFT_PX = 1.0
"""A fault as the median of a scene, along either axis: motion goes to and fro, a wrong crop does not."""

BRIGHTNESS_LEVELS = 16.0
"""A fault, but for made pairs. Real ones differ by up to 11 levels: saturated light was averaged before it was cut off."""

_LEAST_DETAIL = 0.3  # levels a px; below it the estimate of a shift may be anything
_FEW = 3  # pairs; fewer make no scene
_EXCESS = 0.1  # log2; -0.11 is the greatest of 58 real pairs
_SURPLUS = 8.0  # levels^2; noise as strong as a sensor gives at night adds 6.7 at most, also where there is little else
_SCENE_SURPLUS = 4.0  # and 3.3 as the median of photographs


def judged_shift(measured: Measured) -> Shift | None:
    """The shift of a pair where there is enough detail to measure one."""
    if measured.shift is None or measured.shift.detail < _LEAST_DETAIL:
        return None
    return measured.shift


def judge_pair(pair: Pair, measured: Measured, recorded: Recorded | None) -> Iterator[Finding]:
    """What a pair's measures say of it alone. A shift limit grows where little detail makes its estimate uncertain."""
    shift = judged_shift(measured)
    known = recorded is not None and recorded.is_centred and recorded.is_linear
    if shift is not None and shift.length > SHIFT_PX:
        limit = (SHIFT_PX if known else FAR_PX) / min(1.0, shift.detail)
        yield _of_pair(
            Check.SHIFT, Level.FAIL if shift.length > limit else Level.WARN, pair,
            f"lies {shift.length:.2f} px from its sharp picture ({_way(shift)})", shift.length,
        )  # fmt: skip
    if measured.brightness is not None and abs(measured.brightness) > BRIGHTNESS_LEVELS:
        side = "brighter" if measured.brightness > 0 else "darker"
        text = f"is {abs(measured.brightness):.1f} of 255 levels {side} than its sharp picture"
        level = (
            Level.FAIL if recorded is None else Level.WARN
        )  # noise in the dark brightens, and it is what was made
        yield _of_pair(Check.BRIGHTNESS, level, pair, text, abs(measured.brightness))
    if recorded is None and _is_sharper([measured], _SURPLUS):
        times = _times([measured])
        text = f"is sharper than its sharp picture: it has {times:.2f} times its gradient energy"
        yield _of_pair(Check.SWAPPED, Level.FAIL, pair, text, times)


def judge_scene(name: str, members: Sequence[Measured], *, recorded: bool) -> Iterator[Finding]:
    """What the pairs of a scene, or of a split without scenes, say together.

    Parameters
    ----------
    recorded : the kernels are known; whether a picture is in its place is then known from its SHA-256
    """
    shifts = [shift for shift in map(judged_shift, members) if shift is not None]
    if len(shifts) >= _FEW:
        right, down = (
            float(np.median([getattr(shift, side) for shift in shifts])) for side in ("right", "down")
        )
        limit = SHIFT_PX if recorded else SCENE_SHIFT_PX
        middle = Shift(right=right, down=down, detail=1.0)
        if max(abs(right), abs(down)) > limit:
            text = (
                f"{name}: half of {len(shifts)} pairs lie {_way(middle)} or more beside their sharp pictures"
            )
            yield Finding(check=Check.SHIFT, level=Level.FAIL, text=text, files=(name,), value=middle.length)
    if len(members) >= _FEW and not recorded and _is_sharper(members, _SCENE_SURPLUS):
        times = _times(members)
        text = f"{name}: the blurred pictures have {times:.2f} times the gradient energy of the sharp ones"
        yield Finding(check=Check.SWAPPED, level=Level.FAIL, text=text, files=(name,), value=times)


def judge_identical(pairs: Sequence[Pair], *, among: int) -> list[Finding]:
    """Pairs whose blur is too faint to change a value are in order; a set of hardly anything else is not."""
    level = Level.FAIL if 2 * len(pairs) > among else Level.WARN
    return [
        Finding(check=Check.IDENTICAL, level=level, text=f"{' and '.join(files)} are identical", files=files)
        for files in map(files_of, pairs)
    ]


def _is_sharper(members: Sequence[Measured], surplus: float) -> bool:
    """Whether the blurred pictures have more detail than the sharp ones, and more than noise could add."""
    surpluses = [measured.surplus for measured in members if measured.surplus is not None]
    return bool(surpluses) and _times(members) > 2**_EXCESS and float(np.median(surpluses)) > surplus


def _times(members: Sequence[Measured]) -> float:
    return float(2 ** np.median([measured.excess for measured in members if measured.excess is not None]))


def _of_pair(check: Check, level: Level, pair: Pair, text: str, value: float) -> Finding:
    files = files_of(pair)
    return Finding(check=check, level=level, text=f"{files[0]} {text}", files=files, value=value)


def _way(shift: Shift) -> str:
    """For example "3.0 right, 2.0 up"."""
    across = f"{abs(shift.right):.2f} px {'right' if shift.right >= 0 else 'left'}"
    return f"{across}, {abs(shift.down):.2f} px {'down' if shift.down >= 0 else 'up'}"
