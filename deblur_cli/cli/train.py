"""`deblur train`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deblur_cli.cli import console
from deblur_cli.cli.options import Device, Dtype, Json, ModelName, Preset, Quiet, Seed, Verbose, was_typed

if TYPE_CHECKING:
    from collections.abc import Callable

    from deblur_cli.host.manager import Host
    from deblur_cli.training.engine import Progress
    from deblur_cli.training.session import Request

_SAY_EVERY_S = 30.0
_BUDGET = ("epochs", "steps", "minutes")


def train(
    ctx: typer.Context,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="NAME|PATH",
            help="Data sets, or folders of pairs or of sharp pictures; several are mixed by their area.",
            show_default=False,
        ),
    ] = None,
    preset: Preset = None,
    blur: Annotated[
        str | None,
        typer.Option(
            "--blur",
            metavar="NAME|FILE",
            help="Blur sharp pictures anew in each epoch by this preset or .toml file; pairs stay as they are.",
            show_default=False,
        ),
    ] = None,
    model: ModelName = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="RUN",
            help="Run folder. Default: runs/MODEL-DATA-N.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in -o from its last checkpoint.")
    ] = False,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME|FILE",
            help="One of the model's recipes (deblur models show NAME), or a .toml file. Default: its first.",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", metavar="N", min=1, help="Stop after so many epochs.", show_default=False),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", metavar="N", min=1, help="Stop after so many steps.", show_default=False),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", metavar="M", min=0.01, help="Stop after so many minutes.", show_default=False
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change the recipe (epochs=20, optimizer.lr=2e-4) or the network (model.NAME=VALUE).",
            show_default=False,
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="WEIGHTS",
            help="Start from these weights: a name.tag, file or run.",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    workers: Annotated[
        int,
        typer.Option(
            "--workers", metavar="N", min=0, help="Processes that read pictures; 0 reads in this one."
        ),
    ] = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a model.

    Every epoch is validated and saved; Ctrl-C saves too, and --resume goes on where it stopped.
    Validation looks at the same pictures in every run, blurred once by the seed of the preset.
    A resumed run keeps its settings; --epochs, --steps or --minutes move its end, --workers and --device may change.

    Examples:

        deblur train --data reds

        deblur train --data photos/ --blur photo-mix

        deblur train --data cifar10 --preset cifar10-s0

        deblur train --data gopro my-pairs/ -m rednet30 --minutes 30 -o runs/first
    """
    from deblur_cli.cli.signals import stop_on_signals
    from deblur_cli.host.manager import Host
    from deblur_cli.training.engine import Ended
    from deblur_cli.training.session import run_training

    host = Host.discover()
    if resume:
        request, folder = _resumed(
            output, {name: ctx.params[name] for name in ctx.params if was_typed(ctx, name)}
        )
    else:
        request, folder = _fresh(
            host,
            output,
            data,
            model,
            recipe,
            preparation={"preset": preset, "blur": blur},
            settings=set_ or [],
            budget=dict(zip(_BUDGET, (epochs, steps, minutes), strict=True)),
            rest={"seed": seed, "workers": workers, "device": device, "dtype": dtype, "init": init},
        )
    title = f"training {request.model} on {', '.join(request.data)}, run folder {folder}"
    with stop_on_signals() as stop, console.share("training") as bar:
        reporter = _Reporter(title, bar)
        ended = run_training(
            request,
            folder,
            host=host,
            command=["deblur", *sys.argv[1:]],
            resume=resume,
            should_stop=lambda: stop.wanted,
            report=reporter,
            warn=console.warn,
        )
    if ended is Ended.STOPPED:
        console.note(f"stopped and saved; go on with: deblur train --resume -o {folder}")
        raise stop.as_exception()
    if json:
        console.json_line(
            {"run": str(folder), "model": request.model, "step": reporter.step, **(reporter.scores or {})}
        )
    else:
        console.result(f"{folder}")
        console.note(f"try it: deblur image.png -m {folder}")


def _fresh(
    host: "Host",
    output: Path | None,
    data: list[str] | None,
    model: str | None,
    recipe: str | None,
    *,
    preparation: dict[str, str | None],
    settings: list[str],
    budget: dict[str, Any],
    rest: dict[str, Any],
) -> "tuple[Request, Path]":
    """A new run as the options ask for it."""
    from deblur_cli.errors import UsageError
    from deblur_cli.training.choosing import choose_recipe
    from deblur_cli.training.material import Preparation
    from deblur_cli.training.session import Request

    if not data:
        raise UsageError(
            "say what to train on with --data: a data set (deblur make-dataset makes one), a folder of pairs, "
            "or one of sharp pictures with --blur photo-mix"
        )
    chosen = host.model(model or host.default_model())
    recipe_name, resolved, options = choose_recipe(chosen, recipe, settings)
    request = Request(
        model=chosen.name,
        data=tuple(data),
        preparation=Preparation(**preparation),
        recipe=resolved,
        recipe_name=recipe_name,
        options=options,
        **budget,
        **rest,
    )
    return request, output or _next_folder(chosen.name, data)


def _resumed(output: Path | None, typed: dict[str, Any]) -> "tuple[Request, Path]":
    """The request of the run in `output`, with what of it may change: its end, and where it runs.

    typed : the options that were given, by parameter; those that may not change must be what they were
    """
    from deblur_cli.errors import UsageError
    from deblur_cli.training.run_folder import RunFolder
    from deblur_cli.training.session import Request

    if output is None:
        raise UsageError("say which run to go on with: deblur train --resume -o RUN")
    saved = RunFolder(output).read_record()["request"]
    before = {**saved, **saved.get("preparation", {}), "recipe": saved.get("recipe_name")}
    kept = {"data", "preset", "blur", "model", "recipe", "set_", "init", "seed", "dtype"}
    for name in typed.keys() & kept:
        if typed[name] != before.get(name):
            raise UsageError(
                f"a resumed run keeps its --{name.strip('_').replace('_', '-')}; leave it out, or begin a new run with another -o"
            )
    if typed.keys() & set(_BUDGET):
        saved |= {name: typed.get(name) for name in _BUDGET}
    saved |= {name: typed[name] for name in typed.keys() & {"workers", "device"}}
    return Request.from_values(saved, run=output), output


def _next_folder(model: str, data: list[str]) -> Path:
    """The first of runs/MODEL-DATA-1, -2, ... that does not exist."""
    stem = "-".join([model, *(Path(name).name for name in data)])
    number = 1
    while (folder := Path("runs") / f"{stem}-{number}").exists():
        number += 1
    return folder


class _Reporter:
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
