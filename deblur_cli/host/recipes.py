"""Recipes: how a network is trained, as values."""

from dataclasses import dataclass

from deblur_cli.host.checks import is_int, is_number, require, require_import_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained, as data that a user can print and override. Rates per step, sizes in pixels.

    loss : name of a declared loss
    reuse : epochs for which a patch that is blurred on the fly stays: so many times less blur is made, for pictures that
        are alike but for crop, flips, noise and JPEG
    start : import path of a function (network) -> None that prepares the fresh network, or None for its own initialisation
    schedule : "constant", or "cosine" (after a linear warm-up of `warmup_steps`, to zero at the last step)
    freeze_norm_after : share of the training after which batch-norm statistics no longer move; 1 = never
    ema_decay : decay of the averaged weights that are saved, 0 = none
    """

    summary: str = ""
    loss: str = "logcosh"
    start: str | None = None
    optimizer: str = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-7
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup_steps: int = 0
    epochs: int = 120
    batch_size: int = 32
    patch: int = 128
    flips: bool = True
    reuse: int = 1
    clip_norm: float | None = None
    ema_decay: float = 0.0
    freeze_norm_after: float = 1.0

    def __post_init__(self) -> None:
        if self.start is not None:
            require_import_path(self.start, "recipe.start")
        require(self.optimizer in ("adam", "adamw"), "recipe.optimizer", self.optimizer, "adam or adamw")
        require(
            self.schedule in ("constant", "cosine"), "recipe.schedule", self.schedule, "constant or cosine"
        )
        for name in ("epochs", "batch_size", "patch", "reuse"):
            require(
                is_int(getattr(self, name)) and getattr(self, name) >= 1,
                f"recipe.{name}",
                getattr(self, name),
                "an integer >= 1",
            )
        for name in ("lr", "eps"):
            require(
                is_number(getattr(self, name)) and getattr(self, name) > 0,
                f"recipe.{name}",
                getattr(self, name),
                "a number > 0",
            )
        require(0 <= self.ema_decay < 1, "recipe.ema_decay", self.ema_decay, "a number in [0, 1)")
        require(
            0 <= self.freeze_norm_after <= 1,
            "recipe.freeze_norm_after",
            self.freeze_norm_after,
            "a number in [0, 1]",
        )
