"""All checks, and running them so that one failure does not hide the next."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from traceback import format_exception

from deblur_cli.host.declarations import Model
from deblur_cli.host.failures import describe
from deblur_cli.testing.behaviour import (
    any_size_works,
    any_tile_with_its_halo_gives_the_same_pixels,
    bfloat16_stays_near_float32,
    evaluation_is_deterministic,
    inference_form_gives_the_same,
    one_training_step_lowers_the_loss,
)
from deblur_cli.testing.declaration import (
    Check,
    ConformanceError,
    declared_options_build,
    facts_match_the_network,
    weights_load,
)
from deblur_cli.testing.recipes import recipes_can_start
from deblur_cli.testing.storage import state_survives_a_file
from deblur_cli.testing.structure import half_extent_is_exact

CHECKS: tuple[Check, ...] = (
    declared_options_build,
    facts_match_the_network,
    recipes_can_start,
    weights_load,
    any_size_works,
    evaluation_is_deterministic,
    bfloat16_stays_near_float32,
    inference_form_gives_the_same,
    any_tile_with_its_halo_gives_the_same_pixels,
    half_extent_is_exact,
    state_survives_a_file,
    one_training_step_lowers_the_loss,
)
"""Each takes a Model and raises ConformanceError, or whatever the network raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One failed check. subject : the model, or other thing, that failed it; traceback : as Python prints it."""

    subject: str
    check: str
    message: str
    traceback: str
    expected: bool
    """Whether the check itself objected, so that the message says all; else the network raised something."""


def findings(model: Model, checks: tuple[Check, ...] = CHECKS) -> list[Finding]:
    """Run the checks on a model; an empty list means that it keeps the contract.

    Without a network that builds nothing else can be checked, so a failure there ends the run.
    """
    found: list[Finding] = []
    for check in checks:
        found += run_check(model.name, name_of(check), partial(check, model))
        if found and check is declared_options_build:
            break
    return found


def run_check(subject: str, check: str, action: Callable[[], None]) -> list[Finding]:
    """No or one Finding of one check."""
    try:
        action()
    except (Exception, SystemExit) as error:  # a stranger's network may raise anything
        expected = isinstance(error, ConformanceError)
        message = str(error) if expected else describe(error)
        trace = "".join(format_exception(error))
        return [Finding(subject=subject, check=check, message=message, traceback=trace, expected=expected)]
    return []


def name_of(item: Check | Model) -> str:
    """A test id: the name of a model, or of a check as words."""
    return item.name if isinstance(item, Model) else getattr(item, "__name__", str(item)).replace("_", " ")
