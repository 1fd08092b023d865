"""What `deblur train` is asked for, as the request that a training takes."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deblur_cli.host.manager import Host
    from deblur_cli.host.recipes import Recipe
    from deblur_cli.training.request import Request

BUDGET = ("epochs", "steps", "minutes")
_KEPT = frozenset(
    ("data", "preset", "blur", "model", "init", "seed", "dtype", "compile", "deterministic", "channels_last")
)
_FREE = frozenset(("workers", "device", "cache", "tensorboard"))


def fresh_request(
    host: "Host",
    output: Path | None,
    data: list[str] | None,
    model: str | None,
    recipe: str | None,
    *,
    preparation: dict[str, str | None],
    settings: list[str],
    vgg_weights: Path | None,
    budget: dict[str, Any],
    rest: dict[str, Any],
) -> "tuple[Request, Path]":
    """A new run as the options ask for it."""
    from deblur_cli.errors import UsageError
    from deblur_cli.training.choosing import choose_recipe
    from deblur_cli.training.feeding.material import Preparation
    from deblur_cli.training.request import Request

    if not data:
        raise UsageError(
            "say what to train on with --data: a data set (deblur make-dataset makes one), a folder of pairs, "
            "or one of sharp pictures with --blur photo-mix"
        )
    chosen = host.model(model or host.default_model())
    choice = choose_recipe(host, chosen, recipe, settings)
    request = Request(
        model=chosen.name,
        data=tuple(data),
        preparation=Preparation(**preparation),
        recipe=_with_files(host, choice.recipe, vgg_weights),
        recipe_name=choice.name,
        options=choice.options,
        **budget,
        **rest,
    )
    return request, output or next_folder(chosen.name, data)


def model_of(recipe: str | None) -> str | None:
    """The model of a run that is named as the recipe."""
    from deblur_cli.training.recording.run_folder import RunFolder

    if not recipe or not Path(recipe, "run.json").is_file():
        return None
    return str(RunFolder(Path(recipe)).read_record()["request"]["model"])


def resumed_request(host: "Host", output: Path | None, typed: dict[str, Any]) -> "tuple[Request, Path]":
    """The request of the run in `output`, with what of it may change: its end, and where it runs.

    typed : the options that were given, by parameter; those that may not change must be what they were
    """
    from deblur_cli.errors import UsageError
    from deblur_cli.training.recording.run_folder import RunFolder
    from deblur_cli.training.request import Request

    if output is None:
        raise UsageError("say which run to go on with: deblur train --resume -o RUN")
    saved = RunFolder(output).read_record()["request"]
    before = Request.from_values(saved, run=output).as_values()
    before |= before["preparation"]
    for name in typed.keys() & _KEPT:
        if typed[name] != before.get(name):
            raise _kept(
                f"--{name.replace('_', '-')}", f"it was {_said(before.get(name))}, is {_said(typed[name])}"
            )
    if typed.keys() & set(BUDGET):
        saved |= {name: typed.get(name) for name in BUDGET}
    saved |= {name: typed[name] for name in typed.keys() & _FREE}
    if "save_every" in typed:
        saved["save_every_s"] = 60 * typed["save_every"]
    request = Request.from_values(saved, run=output)
    vgg_weights = typed.get("vgg_weights")  # may lie elsewhere by now; what is in it is compared later
    request = replace(request, recipe=_with_files(host, request.recipe, vgg_weights))
    _require_same_recipe(host, request, typed.get("recipe"), typed.get("set_") or [], vgg_weights)
    return request, output


def _with_files(host: "Host", recipe: "Recipe", vgg_weights: Path | None) -> "Recipe":
    """The recipe with the full paths of its files, those of --vgg-weights among them."""
    from deblur_cli.training.loss_files import absolute_files, with_vgg_weights

    return absolute_files(host, recipe if vgg_weights is None else with_vgg_weights(recipe, vgg_weights))


def _require_same_recipe(
    host: "Host", request: "Request", recipe: str | None, settings: list[str], vgg_weights: Path | None
) -> None:
    """Let --recipe and --set be repeated; changes without a recipe are those of the run's own.

    Raises UsageError where they give another recipe.
    """
    from deblur_cli.training.choosing import Choice, change_recipe, choose_recipe
    from deblur_cli.training.recording.identity import value_changes

    if recipe is None and not settings:
        return
    model = host.model(request.model)
    before = Choice(name=request.recipe_name, recipe=request.recipe, options=request.options)
    if recipe is None:
        now = change_recipe(host, model, before, settings)
    else:
        now = choose_recipe(host, model, recipe, settings)
    now = replace(now, recipe=_with_files(host, now.recipe, vgg_weights))
    if found := [*value_changes(before.as_values(), now.as_values())]:
        raise _kept("--set" if recipe is None else "--recipe", "; ".join(found))


def _kept(option: str, difference: str) -> Exception:
    from deblur_cli.errors import UsageError

    return UsageError(
        f"a resumed run keeps its {option}: {difference}. Leave it out, or begin a new run with another -o"
    )


def _said(value: Any) -> str:
    return (
        " ".join(map(str, value)) if isinstance(value, list) else "not set" if value is None else str(value)
    )


def next_folder(model: str, data: list[str]) -> Path:
    """The first of runs/MODEL-DATA-1, -2, ... that does not exist."""
    stem = "-".join([model, *(Path(name).name for name in data)])
    number = 1
    while (folder := Path("runs") / f"{stem}-{number}").exists():
        number += 1
    return folder
