"""`deblur train`."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from deblur_cli.cli import console
from deblur_cli.cli.options import Device, Json, Preset, Quiet, Seed, Verbose, complete_models, was_typed


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
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="Model to train; --init names weights to start from. Default: your own (see deblur doctor), else the preferred one with weights.",
            autocompletion=complete_models,
            show_default=False,
        ),
    ] = None,
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
            help="A recipe of the model, a .toml file, or the run folder whose recipe it is. Default: the model's first.",
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
    save_every: Annotated[
        float,
        typer.Option(
            "--save-every",
            metavar="MINUTES",
            min=0,
            help="Save within an epoch too, when so many minutes have passed; 0 saves after each step.",
        ),
    ] = 5,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change the recipe or the network: epochs=20 optimizer.lr=2e-4 model.depth=5; see above.",
            show_default=False,
        ),
    ] = None,
    vgg_weights: Annotated[
        Path | None,
        typer.Option(
            "--vgg-weights",
            metavar="FILE",
            help="What the loss perceptual sees with: torchvision's file of vgg19 (IMAGENET1K_V1), .pth or .safetensors; of vgg16 where the recipe says so.",
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
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            metavar="N",
            min=1,
            help="Processes that share each batch, as torchrun starts them; on CUDA each takes a GPU.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    dtype: Annotated[
        str,
        typer.Option(
            "--dtype",
            metavar="auto|float32|bfloat16|float16|float64",
            help="Precision of the convolutions; parameters stay float32. auto takes bfloat16 where it is faster, float16 needs CUDA, float64 is for tests.",
        ),
    ] = "auto",
    cache: Annotated[
        str,
        typer.Option(
            "--cache",
            metavar="none|memory|device",
            help="Decoded pictures to keep: none, as many as 2 GiB of memory hold, or all of them on the device, where crops are then cut. Results are the same.",
        ),
    ] = "memory",
    compile: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the network: faster steps after a minute of compiling. Takes a C++ compiler. Critics are not compiled.",
        ),
    ] = False,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic", help="The same bits each time on a GPU too; slower. A CPU does so anyway."
        ),
    ] = False,
    channels_last: Annotated[
        bool,
        typer.Option(
            "--channels-last/--no-channels-last", help="Memory format of pictures and weights, for speed."
        ),
    ] = True,
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard",
            help="Write events for TensorBoard to RUN/events: tensorboard --logdir RUN/events.",
        ),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a model.

    Every epoch is validated and saved; Ctrl-C saves too, and --resume goes on where it stopped.
    Validation looks at the same pictures in every run, blurred once by the seed of the preset.
    --set changes what deblur models show NAME lists. schedule=plateau begins with the defaults of that kind.
    loss=mse replaces the loss, loss.mae=0.5 adds mae or weighs it anew, loss.mae=none takes it out; clip_norm=none goes without.
    A resumed run keeps its settings; --epochs, --steps or --minutes move its end, --workers, --device, --cache and --save-every may change.

    Examples:

        deblur train --data reds

        deblur train --data photos/ --blur photo-mix

        deblur train --data cifar10 --preset cifar10-s0

        deblur train --data gopro my-pairs/ -m rednet30 --minutes 30 -o runs/first

        deblur train --data gopro --recipe report --set epochs=20 optimizer.lr=2e-4
    """
    from deblur_cli.cli import launching
    from deblur_cli.cli.errors import current_words
    from deblur_cli.cli.signals import stop_on_signals
    from deblur_cli.cli.train_request import BUDGET, fresh_request, model_of, resumed_request
    from deblur_cli.cli.training_progress import Reporter
    from deblur_cli.host.manager import Host
    from deblur_cli.training.engine import Ended
    from deblur_cli.training.processes import require_samples_for_all
    from deblur_cli.training.recording.run_folder import RunFolder
    from deblur_cli.training.session import run_training

    host = Host.discover()
    with launching.one_voice() as together:
        if resume:
            request, folder = resumed_request(
                host, output, {name: ctx.params[name] for name in ctx.params if was_typed(ctx, name)}
            )
        else:
            request, folder = fresh_request(
                host,
                output,
                data,
                model if was_typed(ctx, "model") else model_of(recipe) or model,
                recipe,
                preparation={"preset": preset, "blur": blur},
                settings=set_ or [],
                vgg_weights=vgg_weights,
                budget=dict(zip(BUDGET, (epochs, steps, minutes), strict=True)),
                rest={
                    "seed": seed,
                    "workers": workers,
                    "device": device,
                    "dtype": dtype,
                    "init": init,
                    "save_every_s": 60 * save_every,
                    "cache": cache,
                    "compile": compile,
                    "deterministic": deterministic,
                    "channels_last": channels_last,
                    "tensorboard": tensorboard,
                },
            )
        folder = together.from_first(folder)  # where it was chosen, not all need have found the same
        if processes is not None and processes > 1 and together.count == 1:
            require_samples_for_all(processes, batch_size=request.recipe.batch_size)
            words = [*current_words(), *(() if output else ("-o", str(folder)))]
            launching.launch(words, count=processes, folder=folder)
            return
        title = f"{'going on with' if resume else 'training'} {folder}"
        with (
            launching.naming_what_is_left(folder, together.count),
            RunFolder(folder).alone() if together.is_first else nullcontext(),
            stop_on_signals(launcher=launching.launcher()) as stop,
            console.status("training") as bar,
        ):
            launching.say_ready()
            reporter = Reporter(title, bar)
            ended = run_training(
                request,
                folder,
                host=host,
                command=["deblur", *current_words()],
                resume=resume,
                processes=together,
                should_stop=lambda: stop.wanted,
                report=reporter,
                begin=reporter.begin,
                warn=console.warn,
                tell=console.note,
            )
        if ended is Ended.STOPPED:
            console.note(f"stopped and saved; go on with: {launching.how_to_go_on(folder, together.count)}")
            if together.is_first:  # an exit code of its own would end this one before it has saved
                raise stop.as_exception()
            return
    if ended is Ended.BEFORE:
        console.note(
            f"{folder} is finished since step {reporter.step}; move its end with --epochs, --steps or --minutes"
        )
    stopping = request.recipe.early_stopping
    if ended is Ended.EARLY and stopping is not None:
        console.note(
            f"ended early at step {reporter.step}: the validation loss has not fallen for {stopping.patience} validations; "
            f"the best weights are in {folder / 'best'}"
        )
    if json:
        console.json_line(
            {"run": str(folder), "model": request.model, "step": reporter.step, **(reporter.scores or {})}
        )
    else:
        console.result(f"{folder}")
        console.note(f"try it: deblur image.png -m {folder}")
