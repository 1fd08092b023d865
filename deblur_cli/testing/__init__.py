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
from deblur_cli.testing.kit import CHECKS, Finding, findings, name_of
from deblur_cli.testing.plugins import plugin_findings
from deblur_cli.testing.recipes import recipes_can_start
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
    "plugin_findings",
    "recipes_can_start",
    "state_survives_a_file",
    "weights_load",
]
