"""How soon the command answers, against an application of Typer and rich that has the same commands and does nothing."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from measuring import Clock, Contest, Row, compare
from processes import DEBLUR, own_home, use

from deblur_cli.cli.app import Deblur

HELP_TARGET = 1.3
MODELS_TARGET = 2.0
HEAVY = ("torch", "numpy", "cv2")


def run(*, repeats: int, clock: Clock) -> list[Row]:
    """`deblur --help` and `deblur models`, and that neither imports what takes seconds."""
    with own_home() as (home, environ):
        bare = home / "bare.py"
        bare.write_text(_bare_application(), encoding="utf-8")
        commands = {
            "bare": (sys.executable, bare, "--help"),
            "help": (*DEBLUR, "--help"),
            "models": (*DEBLUR, "models"),
            "nothing": (sys.executable, "-c", "pass"),
        }

        def process(command: tuple[str | Path, ...]) -> Callable[[], float]:
            return lambda: use(command, environ=environ).seconds(clock)

        contests = [
            Contest(
                what=f"deblur {word} / bare Typer and rich --help", thing=thing, bare="bare", target=target,
                note=f"imports {_imported(word, environ=environ)}",
            )
            for thing, word, target in (("help", "--help", HELP_TARGET), ("models", "models", MODELS_TARGET))
        ]  # fmt: skip
        contests.append(
            Contest(
                what="bare Typer and rich --help / python -c pass", thing="bare", bare="nothing", target=None
            )
        )
        return compare(
            {name: process(command) for name, command in commands.items()}, contests, repeats=repeats
        )


def _bare_application() -> str:
    """The source of an application with our commands and their help texts, and nothing behind them."""
    lines = ["import typer", "app = typer.Typer(rich_markup_mode='rich')", ""]
    for name, entry in Deblur.entries.items():
        module, _, attribute = entry.function.partition(":")
        command = getattr(import_module(module), attribute)
        text = command.__doc__ if callable(command) and command.__doc__ else name
        lines += [
            f"@app.command({name!r}, rich_help_panel={entry.panel!r})",
            f"def {attribute}_() -> None:",
            f"    {text.strip()!r}",
            "",
        ]
    return "\n".join([*lines, "app()", ""])


def _imported(word: str, *, environ: Mapping[str, str]) -> str:
    """Which of the heavy libraries a run of the command imports."""
    code = (
        "import sys; from deblur_cli.cli.app import main; sys.stdout = sys.stderr; "
        f"main([{word!r}]); print(*(set({HEAVY}) & set(sys.modules)), file=sys.__stdout__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=dict(environ), capture_output=True, text=True, check=True
    )
    found = done.stdout.split()
    return ", ".join(sorted(found)) if found else f"none of {', '.join(HEAVY)}"
