"""Every network that is trained against a critic learns: a short run gets nearer to real sharp pictures, and logs each part."""

from collections.abc import Callable
from math import isfinite

import pytest
from learning import HOST, Learnt

from deblur_cli import ConditionalGAN, Strategy, Supervised, WassersteinGP

pytestmark = [pytest.mark.slow, pytest.mark.realdata]

MODELS = {
    name: model
    for name, model in HOST.models.items()
    if not all(isinstance(recipe.strategy, Supervised) for recipe in model.recipes.values())
}
TINY = {(model.network, str(model.resolve_options(model.tiny))): name for name, model in MODELS.items()}
"""One of those that are the same network when tiny."""

RECIPES = [(name, recipe) for name, model in MODELS.items() for recipe in model.recipes]

COMPONENTS: dict[type[Strategy], set[str]] = {
    Supervised: set(),
    WassersteinGP: {"adversarial", "critic_restored", "critic_sharp", "gradient_penalty"},
    ConditionalGAN: {"adversarial", "critic_restored", "critic_sharp"},
}
"""What a strategy logs besides the terms of the content loss."""

STEPS = 40
LONGER = {
    "pix2pix": 100,
    "pix2pix_sa": 100,
}  # without a skip past the tanh the start is further from the picture
CIFAR_PX = 32
LEAST_PX = 24  # that every critic takes
CRITIC_WIDTH = 8
PIXELS_BY_STEP = 8 * 32**2
CRITIC_KMACS = 50  # about, a pixel


@pytest.mark.parametrize("name", TINY.values())
def test_a_short_training_of_the_tiny_variant_lowers_the_content_loss(
    name: str, learn: Callable[..., Learnt]
) -> None:
    """By the recipe that is taken by default, on small crops and with a narrow critic.

    A network that begins near the picture gets ahead of the blurred ones even so.
    """
    step = MODELS[name].geometry_for(MODELS[name].tiny).multiple_of
    learnt = learn(
        name, "fast", options=MODELS[name].tiny, steps=LONGER.get(name, STEPS), batch_size=8, patch=max(LEAST_PX, step),
        data=_data(step), critic_width=CRITIC_WIDTH,
    )  # fmt: skip

    assert learnt.trained < learnt.before
    assert learnt.before > 1.1 * learnt.blurry or learnt.after < learnt.blurry
    _require_components(learnt, name, "fast")


@pytest.mark.soak
@pytest.mark.parametrize(("name", "recipe"), RECIPES)
def test_the_tiny_variant_of_every_network_learns_by_every_recipe(
    name: str, recipe: str, learn: Callable[..., Learnt]
) -> None:
    step = MODELS[name].geometry_for(MODELS[name].tiny).multiple_of
    learnt = learn(
        name, recipe, options=MODELS[name].tiny, steps=1000, batch_size=16, patch=max(32, step), data=_data(step),
        critic_width=CRITIC_WIDTH,
    )  # fmt: skip

    assert learnt.trained < learnt.before
    _require_components(learnt, name, recipe)


@pytest.mark.soak
@pytest.mark.parametrize(("name", "recipe"), RECIPES)
def test_every_network_at_its_full_size_learns_by_every_recipe(
    name: str, recipe: str, learn: Callable[..., Learnt]
) -> None:
    """For some 3e12 multiplications of the network and its critic, or 20 steps."""
    step = MODELS[name].geometry_for({}).multiple_of
    patch = max(32, step)
    n_critic = getattr(MODELS[name].recipes[recipe].strategy, "n_critic", 1)
    kmacs = (3 + n_critic) * MODELS[name].facts.kmacs_per_pixel + 12 * n_critic * CRITIC_KMACS
    batch_size = max(1, PIXELS_BY_STEP // patch**2)
    steps = max(20, min(300, round(3e12 / (1000 * kmacs * batch_size * patch**2))))
    learnt = learn(
        name, recipe, options={}, steps=steps, batch_size=batch_size, patch=patch, data=_data(step),
    )  # fmt: skip

    assert learnt.trained < learnt.before
    _require_components(learnt, name, recipe)


def _data(step: int) -> str:
    """Pictures that are large enough for a network of this stride."""
    return "cifar10" if step <= CIFAR_PX else "sample"


def _require_components(learnt: Learnt, name: str, recipe: str) -> None:
    """Each part of the loss has its column, and whatever was logged is a number."""
    declared = MODELS[name].recipes[recipe]
    parts = {term.loss for term in declared.terms} | COMPONENTS.get(type(declared.strategy), set())
    assert learnt.metrics
    for row in learnt.metrics:
        assert len(parts) == 1 or {f"train_{part}" for part in parts} <= set(row), row
        assert all(map(isfinite, row.values())), row
