"""The conformance kit: what every network must keep for the rest of the program to treat it right.

In the tests of a plugin:

    import pytest
    from deblur_cli import testing
    from deblur_motion import MODELS

    @pytest.mark.parametrize("check", testing.CHECKS, ids=testing.name_of)
    @pytest.mark.parametrize("model", MODELS, ids=testing.name_of)
    def test_the_model_keeps_the_contract(model, check):
        check(model)

`deblur plugins check NAME` runs the same checks and prints what they find.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deblur_cli.host.declarations import Model
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
    recipes_can_start,
    weights_load,
)
from deblur_cli.testing.storage import state_survives_a_file
from deblur_cli.testing.structure import half_extent, half_extent_is_exact

__all__ = [
    "CHECKS",
    "Check",
    "ConformanceError",
    "Finding",
    "any_size_works",
    "any_tile_with_its_halo_gives_the_same_pixels",
    "bfloat16_stays_near_float32",
    "declared_options_build",
    "evaluation_is_deterministic",
    "facts_match_the_network",
    "findings",
    "half_extent",
    "half_extent_is_exact",
    "inference_form_gives_the_same",
    "name_of",
    "one_training_step_lowers_the_loss",
    "recipes_can_start",
    "state_survives_a_file",
    "weights_load",
]

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
    """One check that a model failed. traceback : as Python prints it."""

    model: str
    check: str
    message: str
    traceback: str


def findings(model: Model, checks: Iterable[Check] = CHECKS) -> list[Finding]:
    """Run the checks on a model; an empty list means that it keeps the contract.

    Without a network that builds nothing else can be checked, so the first check's failure ends the run.
    """
    from traceback import format_exception

    from deblur_cli.host.failures import describe

    found = []
    for check in checks:
        try:
            check(model)
        except (Exception, SystemExit) as error:  # a stranger's network may raise anything
            message = str(error) if isinstance(error, ConformanceError) else describe(error)
            found.append(
                Finding(
                    model=model.name,
                    check=name_of(check),
                    message=message,
                    traceback="".join(format_exception(error)),
                )
            )
            if check is declared_options_build:
                break
    return found


def name_of(item: Check | Model) -> str:
    """A test id: the name of a model, or of a check as words."""
    return item.name if isinstance(item, Model) else getattr(item, "__name__", str(item)).replace("_", " ")
