"""Every autoencoder learns: a short training gets nearer to real sharp pictures than the blurred ones are to begin with."""

from collections.abc import Callable

import pytest
from learning import HOST, Learnt

from deblur_cli import Supervised

pytestmark = [pytest.mark.slow, pytest.mark.realdata]

MODELS = {
    name: model
    for name, model in HOST.models.items()
    if all(isinstance(recipe.strategy, Supervised) for recipe in model.recipes.values())
}
FAMILIES = {model.network.partition(".")[0]: name for name, model in MODELS.items()}
"""One of each."""

RECIPES = [(name, recipe) for name, model in MODELS.items() for recipe in model.recipes]
CHEAP_KMACS = 250  # a pixel; such networks take the steps that it needs to get ahead within the time
PIXELS_BY_STEP = 16 * 32**2

SHORTER = {"resnet16": 50}  # steps: the narrowest that can begin as the identity is wide
SHALLOWER = {"srndeblur_reds": {"blocks": 1}}


@pytest.mark.parametrize("name", FAMILIES.values())
def test_a_short_training_of_the_tiny_variant_gets_nearer_than_the_blurred_pictures_are(
    name: str, learn: Callable[..., Learnt]
) -> None:
    """A hundred small steps, for each family."""
    options = {**MODELS[name].tiny, **SHALLOWER.get(name, {})}
    learnt = learn(name, "fast", options=options, steps=SHORTER.get(name, 100), batch_size=16, patch=16)

    assert learnt.after < learnt.blurry
    assert learnt.validations[-1].psnr > learnt.validations[-1].blurry_psnr


@pytest.mark.soak
@pytest.mark.parametrize(("name", "recipe"), RECIPES)
def test_the_tiny_variant_of_every_network_learns_by_every_recipe(
    name: str, recipe: str, learn: Callable[..., Learnt]
) -> None:
    """From weights at random it takes longer to get ahead of the blurred pictures: there the way is the goal."""
    learnt = learn(name, recipe, options=MODELS[name].tiny, steps=1000, batch_size=32)

    assert learnt.trained < learnt.before
    if recipe == "fast":
        assert learnt.after < 0.99 * learnt.blurry


@pytest.mark.soak
@pytest.mark.parametrize("lstm", ["dense", "conv"])
def test_a_recurrent_cell_learns(lstm: str, learn: Callable[..., Learnt]) -> None:
    options = {**MODELS["srndeblur_cifar"].tiny, "lstm": lstm}
    learnt = learn("srndeblur_cifar", "fast", options=options, steps=1000, batch_size=32)
    assert learnt.after < learnt.blurry


@pytest.mark.soak
@pytest.mark.parametrize(("name", "recipe"), RECIPES)
def test_every_network_at_its_full_size_learns_by_every_recipe(
    name: str, recipe: str, learn: Callable[..., Learnt]
) -> None:
    """For some 4e12 multiplications, forward and backward: minutes on one core, whatever the network."""
    kmacs = MODELS[name].facts.kmacs_per_pixel
    steps = max(30, min(600, round(4e12 / (3 * 1000 * kmacs * PIXELS_BY_STEP))))

    learnt = learn(name, recipe, options={}, steps=steps, batch_size=16)

    assert learnt.trained < learnt.before
    if recipe == "fast" and kmacs < CHEAP_KMACS:
        assert learnt.after < learnt.blurry
