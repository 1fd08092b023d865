"""Options that mean the same in several commands, declared once: `device: Device = "auto"`."""

from pathlib import Path
from typing import Annotated

import typer

from deblur_cli.cli import console


def complete_models(incomplete: str) -> list[tuple[str, str]]:
    """Names of models, with their weights' tags, for shell completion. Imports no torch."""
    from deblur_cli.host.inspection import winners
    from deblur_cli.host.manager import Host

    try:
        models = Host.discover().models
        found = list(winners().items())
    except Exception:  # a completion must never print a traceback into the user's prompt
        return []
    for name, model in sorted(models.items()):
        if ":" in name and ":" not in incomplete:
            continue
        found.append((name, model.summary))
        found += [
            (f"{name}.{weights.tag}", f"weights for {weights.tag}")
            for weights in model.weights
            if incomplete.startswith(name)
        ]
    return [item for item in found if item[0].startswith(incomplete)]


def was_typed(ctx: typer.Context, parameter: str) -> bool:
    """Whether an option stands on the command line; a default of the user's own does not count."""
    source = ctx.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def chosen_model(ctx: typer.Context, model: str | None, weights: Path | None) -> str | None:
    """The model to load: None for the default; "" where a weights file says it itself and no -m was typed."""
    return "" if weights is not None and not was_typed(ctx, "model") else model


def _set_quiet(wanted: bool) -> bool:
    if wanted:
        console.configure(console.Verbosity.QUIET)
    return wanted


def _set_verbose(wanted: bool) -> bool:
    if wanted:
        console.configure(console.Verbosity.VERBOSE)
    return wanted


_MODEL_HELP = "Model: a name, name.tag, fast, best, a weights file or a run folder. Default: your own (see deblur doctor), else the preferred one with weights."

ModelName = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", metavar="NAME", help=_MODEL_HELP, autocompletion=complete_models, show_default=False
    ),
]
ModelNames = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME...",
        help=_MODEL_HELP + " Several may follow.",
        autocompletion=complete_models,
        show_default=False,
    ),
]
WeightsFile = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="A weights file or run folder instead of the model's own.",
        show_default=False,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME|FILE",
        help="How the data are prepared: a preset (deblur make-dataset --list-presets) or a .toml file.",
        show_default=False,
    ),
]
LpipsWeights = Annotated[
    Path | None,
    typer.Option(
        "--lpips-weights",
        metavar="FILE",
        help="AlexNet and the weights of LPIPS, for --metrics lpips.",
        show_default=False,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda[:N]|mps",
        help="Where to compute; auto takes an accelerator if there is one.",
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype",
        metavar="auto|float32|bfloat16|float16",
        help="Precision; auto takes the fastest that is safe here and names it.",
    ),
]
Tile = Annotated[
    str,
    typer.Option(
        "--tile",
        metavar="auto|none|N|WxH",
        help="Size of the tiles in pixels; none: the whole picture at once.",
    ),
]
Overlap = Annotated[
    int | None,
    typer.Option(
        "--overlap",
        metavar="N",
        min=0,
        help="Pixels that each tile sees beyond its own. Default: what makes tiling exact, unless the model declares less.",
        show_default=False,
    ),
]
Statistics = Annotated[
    str,
    typer.Option(
        "--statistics",
        metavar="auto|exact|quick|tile",
        help="What tiles know of the whole picture, if the model looks at it: exact (a pass for each such layer), quick (one pass), tile (nothing). auto: exact where it can be, else quick.",
    ),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        "--max-memory",
        metavar="SIZE",
        help="Budget for pictures and activations, such as 2GB. Default: a share of what is free.",
        show_default=False,
    ),
]
MaxPixels = Annotated[
    int, typer.Option("--max-pixels", metavar="N", min=1, help="Refuse pictures with more pixels than this.")
]
Strength = Annotated[
    float,
    typer.Option(
        "--strength",
        metavar="0..1",
        min=0,
        max=1,
        help="Share of the restored picture in the result; 0 is the input.",
    ),
]
SelfEnsemble = Annotated[
    bool,
    typer.Option(
        "--self-ensemble/--no-self-ensemble",
        help="Take the mean over all eight flips and quarter turns: a little better, in eight times the time.",
    ),
]
Seed = Annotated[
    int,  # PyTorch takes 64 bits
    typer.Option("--seed", metavar="N", min=0, max=2**63 - 1, help="Seed of all random numbers."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, one object a line.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Say nothing but errors.", callback=_set_quiet, is_eager=True)
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", help="Say more, and show the traceback of errors.", callback=_set_verbose, is_eager=True
    ),
]
