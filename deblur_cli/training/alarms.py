"""Warnings of a network that learns something wrong, from what each validation restores."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from deblur_cli.restore.guard import Alarm, inspect_all
from deblur_cli.training.learning import Losses
from deblur_cli.training.validation import Pixels, Validation

PENALTY = "gradient_penalty"
"""What strategies call the loss that holds a critic's gradient near 1."""
COLLAPSED_FROM = 100.0
"""Ten times what it is, at the usual weight of 10, while the critic knows nothing and its gradient is 0."""
WORSE = 2.0
"""An alarm that was given is given again when it is this many times as bad."""
UNCHANGED_PX = 1 / 255
UNCHANGED_DB = 0.05

_ADVICE = {
    "saturation": "it often passes within the first epochs; else lower the learning rate",
    "colour-shift": "it often passes within the first epochs; else go back with --init, and give a perceptual loss more weight",
    "channel-swap": "go back with --init to weights of before, and give a perceptual loss more weight",
    "chequer": "it often fades with more steps",
    "dead-channel": "if it stays, begin again with another --seed, or with a linear output where the network has that option",
    "critic": "if it stays, lower the critic's learning rate or update it more often",
}


class Watch:
    """Looks at each validation, and warns once of each kind of failure, again where it got clearly worse."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._said: dict[str, float] = {}
        self._change = float("inf")
        self._gain_db = float("inf")

    def look(self, pictures: Sequence[tuple[Pixels, Pixels]], scores: Validation, losses: Losses) -> None:
        """Warn of what a validation shows.

        Parameters
        ----------
        pictures : (blurry, restored), (H, W, 3) each
        losses : means over the epoch, by name
        """
        self._change = float(np.mean([_mean_change(blurry, restored) for blurry, restored in pictures]))
        self._gain_db = scores.psnr - scores.blurry_psnr
        for alarm in (*_of_pictures(pictures), *_of_critic(losses)):
            if alarm.figure >= WORSE * self._said.get(alarm.kind, 0.0):
                self._said[alarm.kind] = alarm.figure
                self._warn(f"{alarm.message}; {_ADVICE[alarm.kind]}")

    def conclude(self) -> None:
        """At the end, say if the network learned to leave pictures as they are."""
        if self._change < UNCHANGED_PX and abs(self._gain_db) < UNCHANGED_DB:
            self._warn(
                f"the network returns the blurred picture all but unchanged ({self._gain_db:+.3f} dB); train longer or with "
                "a greater learning rate, and see with pairs.png that sharp and blurred pictures differ"
            )


def _of_pictures(pictures: Sequence[tuple[Pixels, Pixels]]) -> Sequence[Alarm]:
    """What is wrong with restored pictures. A dead channel explains what else would be found."""
    return list(_dead_channels(pictures)) or inspect_all(pictures)


def _dead_channels(pictures: Sequence[tuple[Pixels, Pixels]]) -> Iterator[Alarm]:
    """Channels that are black in all pictures, though the blurred ones are not."""
    before, after = (np.max([pair[which].max(axis=(0, 1)) for pair in pictures], axis=0) for which in (0, 1))
    dead = [
        name
        for name, was, now in zip(("red", "green", "blue"), before, after, strict=True)
        if was > 0 and now == 0
    ]
    if dead:
        yield Alarm(
            kind="dead-channel", message=f"the output has no {' and no '.join(dead)} at all", figure=len(dead)
        )


def _of_critic(losses: Losses) -> Iterator[Alarm]:
    penalty = losses.get(PENALTY, 0.0)
    if penalty > COLLAPSED_FROM:
        yield Alarm(
            kind="critic",
            message=f"the critic collapses: its {PENALTY} is {penalty:.0f}, of the order of 1 where it is well",
            figure=penalty,
        )


def _mean_change(blurry: Pixels, restored: Pixels) -> float:
    """Mean absolute difference, 1 = full scale."""
    return float(np.abs(restored.astype(np.int16) - blurry).mean() / 255)
