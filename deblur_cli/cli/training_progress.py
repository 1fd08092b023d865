"""What a training says while it runs: its beginning, a bar on a terminal or else a line now and then, and each validation."""

from collections import deque
from typing import TYPE_CHECKING

from deblur_cli.cli import console

if TYPE_CHECKING:
    from collections.abc import Callable

    from deblur_cli.training.engine import Progress
    from deblur_cli.training.showing.live import Beginning
    from deblur_cli.training.validation import Validation

_SAY_EVERY_S = 30.0
_SAY_EVERY_SHARE = 0.02
"""Lines of a long training become rarer: each waits for this share of the time that has passed."""


class Reporter:
    """Shows the progress of one training. bar : draws (share done, text), None where there is no terminal"""

    def __init__(self, title: str, bar: "Callable[[float, str], None] | None") -> None:
        self.step = 0
        self.scores: dict[str, float] | None = None
        self._title = title
        self._bar = bar
        self._losses: tuple[str, ...] = ()
        self._found: Validation | None = None
        self._pace = Pace()
        self._speed = 0.0
        self._num_steps = 0
        self._said: float | None = None

    def begin(self, beginning: "Beginning") -> None:
        """Say what is trained on what."""
        self._losses = beginning.losses
        looks = f"{beginning.val_pairs:,} held out"
        if beginning.validated < beginning.val_pairs:
            looks += f" ({beginning.validated} of them validate)"
        crops = f"crops of {beginning.crop_px} px"
        if beginning.crop_px < beginning.wanted_px:
            crops += f" (the pictures are smaller than patch={beginning.wanted_px})"
        console.note(
            f"{self._title}: {beginning.about}, {beginning.parameters:,} parameters, {beginning.train_pairs:,} pairs, {looks}, {crops}; "
            f"{beginning.compute}; {beginning.budget}"
            + (f", going on after step {beginning.step:,}" if beginning.step else "")
        )

    def __call__(self, progress: "Progress") -> None:
        from dataclasses import asdict

        self.step = progress.step
        self._pace.add(progress.seconds, progress.done)
        if progress.validation is not None:
            self._found = progress.validation
            self.scores = asdict(progress.validation)
            self._say_validation(progress, progress.validation)
            return
        speed = progress.images_per_second
        calm = 0.9 if self._num_steps > 1 else 0.0  # to be read; the first step takes longer than others
        self._speed = calm * self._speed + (1 - calm) * speed
        self._num_steps += 1
        if self._bar is not None:
            self._bar(progress.done, self._line(progress, short=True))
        elif self._is_due(progress.seconds):
            self._said = progress.seconds
            console.note(self._line(progress, short=False))

    def _is_due(self, seconds: float) -> bool:
        wait = max(_SAY_EVERY_S, _SAY_EVERY_SHARE * self._pace.elapsed)
        return self._said is None or seconds - self._said >= wait

    def _line(self, progress: "Progress", *, short: bool) -> str:
        """One line about a step; the short one begins with what matters most, as a narrow terminal cuts its end."""
        left = self._pace.left_s
        time = [] if left is None else [f"{in_words(left)} left"]
        step = [f"step {progress.step:,}", f"epoch {progress.epoch}", f"{progress.done:.0%}"]
        content = sum(value for name, value in progress.losses.items() if name in self._losses)
        loss = [f"loss {content:.5f}"]
        others = [
            f"{name} {value:.4g}" for name, value in progress.losses.items() if name not in self._losses
        ]
        scores = (
            [] if self._found is None else [f"PSNR {self._found.psnr:.2f} dB, SSIM {self._found.ssim:.4f}"]
        )
        speed = [f"{self._speed:.1f} images/s"]
        if short:
            return ", ".join(time + loss + scores + speed + step[1:2])
        return ", ".join(step + loss + others + [f"lr {progress.lr:.1e}"] + speed + time)

    def _say_validation(self, progress: "Progress", found: "Validation") -> None:
        console.note(
            f"step {progress.step}, epoch {progress.epoch}: validation PSNR {found.psnr:.3f} dB "
            f"(blurred {found.blurry_psnr:.3f}), SSIM {found.ssim:.4f} (blurred {found.blurry_ssim:.4f}), "
            f"loss {found.val_loss:.5f}"
        )


class Pace:
    """How long a training will take, by the pace of the later half of what was done since it was started or resumed.

    So it forgets the slow first steps, and a phase of another speed, such as epochs without a critic.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = (
            deque()
        )  # seconds and share done; of a resumed run from where it began
        self._began: float | None = None

    def add(self, seconds: float, done: float) -> None:
        """Note where the training stands. seconds : trained so far, before it was resumed too; done : share"""
        if self._began is None:
            self._began = seconds
        if len(self._seen) > 1 and self._seen[-2][0] - self._began > 0.99 * (seconds - self._began):
            self._seen.pop()  # some hundred of them are enough
        self._seen.append((seconds, done))
        while len(self._seen) > 2 and self._seen[1][0] - self._began <= 0.5 * self.elapsed:
            self._seen.popleft()

    @property
    def elapsed(self) -> float:
        """Seconds since the training was started or resumed."""
        return self._seen[-1][0] - self._began if self._seen and self._began is not None else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds; None as long as nothing can be said."""
        if len(self._seen) < 2:
            return None
        (then, done_then), (now, done) = self._seen[0], self._seen[-1]
        return (1 - done) * (now - then) / (done - done_then) if done > done_then and now > then else None


def in_words(seconds: float) -> str:
    """A time as people say it: "45 s", "12 min", "2 h 13 min", "3 d 4 h"."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if hours < 24:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"
