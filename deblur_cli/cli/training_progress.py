"""What a training shows while it runs."""

from typing import TYPE_CHECKING

from deblur_cli.cli import console

if TYPE_CHECKING:
    from collections.abc import Callable

    from deblur_cli.training.engine import Progress

_SAY_EVERY_S = 30.0


class Reporter:
    """Shows progress: a bar on a terminal, else a line now and then; and the scores of each epoch."""

    def __init__(self, title: str, bar: "Callable[[float, str], None] | None") -> None:
        self.step = 0
        self._title: str | None = title  # said with the first step: a request that fails gets one line only
        self.scores: dict[str, float] | None = None
        self._said = -_SAY_EVERY_S
        self._bar = bar

    def __call__(self, progress: "Progress") -> None:
        from dataclasses import asdict

        if self._title is not None:
            console.note(self._title)
            self._title = None
        self.step = progress.step
        line = (
            f"step {progress.step}, epoch {progress.epoch}, {progress.done:.0%}, loss {sum(progress.losses.values()):.5f}, "
            f"lr {progress.lr:.1e}, {progress.images_per_second:.1f} images/s"
        )
        if self._bar is not None:
            self._bar(progress.done, line)
        if progress.validation is not None:
            self.scores = asdict(progress.validation)
            found = progress.validation
            console.note(
                f"step {progress.step}, epoch {progress.epoch}: validation PSNR {found.psnr:.3f} dB "
                f"(blurred {found.blurry_psnr:.3f}), SSIM {found.ssim:.4f} (blurred {found.blurry_ssim:.4f}), "
                f"loss {found.val_loss:.5f}"
            )
        elif self._bar is None and progress.seconds - self._said >= _SAY_EVERY_S:
            self._said = progress.seconds
            console.note(line)
