"""What went wrong with a plugin, kept as data, so that one broken plugin never stops a command."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from deblur_cli.errors import DeblurError
from deblur_cli.host.checks import DeclarationError


class PluginError(Exception):
    """The host's own objection to a plugin; the message is a sentence for its author."""


class Stage(StrEnum):
    """How far the plugin came."""

    IMPORT = "import"
    REGISTER = "register"
    CALL = "call"
    DECLARE = "declare"
    CLASH = "clash"  # only the bare name is lost; the plugin works, and PLUGIN:NAME reaches the declaration


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a plugin, or with Stage.CLASH one name of it, was set aside.

    plugin : name of its entry point, or of the module or file in DEBLUR_PLUGINS
    distribution, version : of the installed package; empty for what DEBLUR_PLUGINS names
    error : one line; traceback : as Python prints it
    source : the file that declares it, where it could be found
    """

    plugin: str
    distribution: str
    version: str
    stage: Stage
    error: str
    traceback: str = ""
    source: Path | None = None

    def mentions(self, name: str) -> bool:
        """Whether the source holds `name` as a text, so that the plugin would probably have brought it."""
        if self.plugin == name:
            return True
        try:
            text = self.source.read_text(encoding="utf-8", errors="replace") if self.source else ""
        except OSError:
            return False
        return f'"{name}"' in text or f"'{name}'" in text


def describe(error: BaseException) -> str:
    """One line for an error that a plugin raised, or that the host raised about it."""
    if isinstance(error, SystemExit):
        return (
            f"called sys.exit({'' if error.code is None else repr(error.code)}), which a plugin must not do"
        )
    text = " ".join(str(error).split())
    if isinstance(error, PluginError | DeclarationError | DeblurError):
        return text
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, ImportError) and error.name and error.name.partition(".")[0] == "deblur_cli":
        line += "; it may need a newer deblur-cli: pip install --upgrade deblur-cli"
    return line
