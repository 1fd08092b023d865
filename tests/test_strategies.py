"""Strategies against closed forms and against plain PyTorch loops written here."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor, nn
from torch.nn import functional as F

from deblur_cli import (
    ConditionalGAN,
    Optimizer,
    Recipe,
    Strategy,
    Supervised,
    Term,
    Values,
    WassersteinGP,
)
from deblur_cli.errors import MissingError
from deblur_cli.host.checks import DeclarationError
from deblur_cli.host.manager import Host
from deblur_cli.host.recipe_values import as_values, from_values
from deblur_cli.training.feeding.batches import Division
from deblur_cli.training.learning import Placement
from deblur_cli.training.objective import build_objective
from deblur_cli.training.processes import Processes
from deblur_cli.training.state import State
from deblur_cli.training.strategies import Batch, Learning, Part, Steps, build_steps, gradient_penalty

SIDE = 16
SMALL_CRITIC = {"width": 2}
Losses = Mapping[str, float]


class Small(nn.Module):
    """R = B + f(B), without batch norm. dropout : its chance between the two convolutions."""

    def __init__(self, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, blurry: Tensor) -> Tensor:
        return blurry + self.last(self.dropout(torch.tanh(self.first(blurry))))


class Linear(nn.Module):
    """C(x) = <w, x>, one score a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-0.2, 0.5, 3 * SIDE * SIDE).reshape(3, SIDE, SIDE))

    def forward(self, picture: Tensor) -> Tensor:
        return (self.weight * picture).sum(dim=(1, 2, 3))


class LinearPair(nn.Module):
    """D(B, x) = <u, B> + <w, x>, two logits a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-0.01, 0.02, 12).reshape(2, 6))

    def forward(self, blurry: Tensor, picture: Tensor) -> Tensor:
        return torch.cat([blurry, picture], dim=1).mean(dim=(2, 3)) @ self.weight.T


class Watching(nn.Module):
    """Remembers what it was shown: (pictures, whether for the penalty, dtype of the scores) in order."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 4, stride=4)
        self.seen: list[tuple[Tensor, bool, torch.dtype]] = []

    def forward(self, picture: Tensor) -> Tensor:
        scores: Tensor = self.conv(picture).tanh()
        self.seen.append((picture.detach().clone(), picture.is_leaf and picture.requires_grad, scores.dtype))
        return scores


def learning_of(
    recipe: Recipe,
    network: nn.Module,
    *,
    dtype: torch.dtype = torch.float64,
    compute: torch.dtype | None = None,
) -> Learning:
    placement = Placement(device=torch.device("cpu"), compute=compute or dtype, parameters=dtype)
    return Learning(
        generator=placement.learner("network", network, recipe.optimizer),
        objective=build_objective(
            Host.discover(), recipe, values=Values.UNIT, device=placement.device, dtype=dtype
        ),
        placement=placement,
        clip_norm=recipe.clip_norm,
        processes=Processes(),
        seed=11,
    )


def begin(recipe: Recipe, network: nn.Module, **placed: Any) -> tuple[Learning, Steps]:
    learning = learning_of(recipe, network, **placed)
    return learning, build_steps(recipe, learning)


def pictures(
    count: int, *, seed: int = 0, side: int = SIDE, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """(blurry, sharp)"""
    rng = torch.Generator().manual_seed(seed)
    sharp = torch.rand(count, 3, side, side, generator=rng, dtype=dtype)
    return F.avg_pool2d(sharp, 3, stride=1, padding=1), sharp


def batch_of(blurry: Tensor, sharp: Tensor, *, parts: int = 1) -> Batch:
    size = len(blurry)
    division = Division(batch_size=size, parts=parts, drop_last=True, processes=Processes())
    return Batch(
        parts=tuple(
            Part(blurry=blurry[own], sharp=sharp[own], samples=own, share=(own.stop - own.start) / size)
            for own in division.own_parts(size)
        ),
        size=size,
    )


def critic_of(steps: Steps) -> nn.Module:
    (learner,) = steps.learners
    return learner.network


def run_steps(
    recipe: Recipe, network: nn.Module, batches: Sequence[Sequence[Batch]], *, epoch: int = 0
) -> tuple[Learning, Steps, list[Losses]]:
    """Train on these batches, one group a step."""
    learning, steps = begin(recipe, network)
    losses = []
    for number, group in enumerate(batches):
        learning.begin_step(number)
        losses.append(dict(steps.step(group, epoch=epoch)))
    return learning, steps, losses


def fresh(make: Callable[[], nn.Module], seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return make()


def assert_same(first: nn.Module, second: nn.Module, *, tol: float = 1e-10) -> None:
    """Parameters and gradients."""
    for (name, one), two in zip(first.named_parameters(), second.parameters(), strict=True):
        assert_near(one.detach(), two.detach(), tol, name)
        if one.grad is not None or two.grad is not None:
            assert_near(one.grad, two.grad, tol, f"gradient of {name}")


def assert_near(one: Tensor, two: Tensor, tol: float, name: str) -> None:
    torch.testing.assert_close(one, two, rtol=tol, atol=tol, msg=lambda found: f"{name}: {found}")


def assert_same_moments(first: torch.optim.Optimizer, second: torch.optim.Optimizer) -> None:
    one, two = (list(optimizer.state_dict()["state"].values()) for optimizer in (first, second))
    assert len(one) == len(two) > 0
    for mine, other in zip(one, two, strict=True):
        for name in ("step", "exp_avg", "exp_avg_sq"):
            assert_near(mine[name], other[name], 1e-10, name)


# WGAN-GP


def test_the_penalty_of_a_linear_critic_is_its_weights_norm_less_one_squared() -> None:
    critic = Linear().double()
    blurry, sharp = pictures(5)
    weight = critic.weight.detach().numpy()
    for eps in (0.0, 0.3, 1.0):
        shares = torch.full((5, 1, 1, 1), eps, dtype=torch.float64)
        found = gradient_penalty(critic, sharp, blurry, shares)
        assert found.item() == pytest.approx((np.sqrt((weight**2).sum()) - 1) ** 2, rel=1e-9)
        by_pixel = gradient_penalty(critic, sharp, blurry, shares, over_pixels=True)
        colours = np.sqrt((weight**2).sum(axis=0))  # (H, W), the norm over the colours of each pixel
        assert by_pixel.item() == pytest.approx(((colours - 1) ** 2).mean(), rel=1e-9)


class Quadratic(nn.Module):
    """C(x) = a |x|^2 / 2, whose gradient at x is a x."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.1, dtype=torch.float64))

    def forward(self, picture: Tensor) -> Tensor:
        return self.a * picture.square().sum(dim=(1, 2, 3)) / 2


@pytest.mark.parametrize("over_pixels", [False, True])
def test_the_penalty_is_taken_between_restored_and_sharp(over_pixels: bool) -> None:
    """Where a gradient depends on the place: by hand, with the slope that the critic learns from."""
    critic = Quadratic()
    restored, sharp = pictures(4)
    eps = np.array([0.0, 0.25, 0.6, 1.0])
    share = eps[:, None, None, None]
    places = share * sharp.numpy() + (1 - share) * restored.numpy()
    lengths = np.sqrt((places**2).sum(axis=1 if over_pixels else (1, 2, 3)))
    found = gradient_penalty(
        critic, sharp, restored, torch.from_numpy(eps).view(4, 1, 1, 1), over_pixels=over_pixels
    )
    assert found.item() == pytest.approx(((0.1 * lengths - 1) ** 2).mean(), rel=1e-9)
    found.backward()
    assert critic.a.grad is not None
    assert critic.a.grad.item() == pytest.approx((2 * lengths * (0.1 * lengths - 1)).mean(), rel=1e-9)


def test_the_score_of_a_picture_is_the_mean_of_its_map() -> None:
    """A 1x1 convolution has the gradient w / (H W) at each pixel of the mean, of the sum it would be w."""
    critic = nn.Conv2d(3, 1, 1).double()
    blurry, sharp = pictures(4)
    found = gradient_penalty(critic, sharp, blurry, torch.rand(4, 1, 1, 1, dtype=torch.float64))
    norm = float(critic.weight.detach().norm()) / SIDE  # w / (H W) at H W places
    assert found.item() == pytest.approx((norm - 1) ** 2, rel=1e-9)


def test_the_losses_of_wgan_gp_by_hand() -> None:
    recipe = Recipe(
        loss="mse",
        strategy=WassersteinGP(
            critic=f"{__name__}:Linear", n_critic=1, gradient_penalty=7.0, adversarial=0.3
        ),
        optimizer=Optimizer(lr=1e-3),
    )
    network = fresh(Small).double()
    blurry, sharp = pictures(4)
    with torch.no_grad():
        restored = network(blurry).numpy()
    before = Linear().weight.detach().double().numpy()
    _, steps, (losses,) = run_steps(recipe, network, [[batch_of(blurry, sharp)]])
    after = critic_of(steps).weight.detach().numpy()
    assert losses == pytest.approx(
        {
            "mse": ((restored - sharp.numpy()) ** 2).mean(),
            "adversarial": -0.3 * (after * restored).sum(axis=(1, 2, 3)).mean(),  # the updated critic
            "critic_restored": (before * restored).sum(axis=(1, 2, 3)).mean(),
            "critic_sharp": -(before * sharp.numpy()).sum(axis=(1, 2, 3)).mean(),
            "gradient_penalty": 7.0 * (np.sqrt((before**2).sum()) - 1) ** 2,
        },
        rel=1e-9,
    )


def plain_wgan(
    network: nn.Module,
    critic: nn.Module,
    batches: Sequence[Sequence[tuple[Tensor, Tensor]]],
    eps: Iterator[Tensor],
    *,
    n_critic: int,
    by_pixel: bool,
    clip: float | None,
    lrs: tuple[float, float],
) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Algorithm 1 of S0 as a plain loop."""
    of_network = torch.optim.Adam(network.parameters(), lr=lrs[0], betas=(0.5, 0.9), eps=1e-7)
    of_critic = torch.optim.Adam(critic.parameters(), lr=lrs[1], betas=(0.5, 0.9), eps=1e-7)
    for group in batches:
        for number in range(n_critic):
            blurry, sharp = group[number % len(group)]
            restored = network(blurry).detach()
            share = next(eps)
            between = (share * sharp + (1 - share) * restored).requires_grad_()
            score = critic(between).mean(dim=(1, 2, 3))
            (slope,) = torch.autograd.grad(score.sum(), between, create_graph=True)
            norm = (slope**2).sum(dim=1 if by_pixel else (1, 2, 3)).add(1e-12).sqrt()
            loss = critic(restored).mean() - critic(sharp).mean() + 10 * ((norm - 1) ** 2).mean()
            of_critic.zero_grad()
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(critic.parameters(), clip)
            of_critic.step()
        blurry, sharp = group[-1]
        restored = network(blurry)
        loss = ((restored - sharp) ** 2).mean() - 0.5 * critic(restored).mean()
        for parameter in critic.parameters():
            parameter.requires_grad_(False)
        of_network.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(network.parameters(), clip)
        of_network.step()
        for parameter in critic.parameters():
            parameter.requires_grad_(True)
    return of_network, of_critic


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(
    ("which", "norm", "clip"), [("same", "image", None), ("fresh", "pixel", None), ("same", "image", 0.05)]
)
def test_three_steps_of_wgan_gp_equal_a_plain_loop(
    which: str, norm: str, clip: float | None, parts: int
) -> None:
    """Parameters, gradients and moments of both networks, also where a batch of 7 goes through in three parts."""
    settings = Optimizer(lr=2e-3, betas=(0.5, 0.9), eps=1e-7)
    recipe = Recipe(
        loss="mse",
        strategy=WassersteinGP(
            critic_options=SMALL_CRITIC,
            n_critic=5,
            critic_batches=which,
            penalty_norm=norm,
            adversarial=0.5,
            optimizer=replace(settings, lr=4e-3),
        ),
        optimizer=settings,
        clip_norm=clip,
    )
    network = fresh(Small).double()
    torch.manual_seed(2)
    learning, steps = begin(recipe, network)
    needed = steps.batches_needed(0)
    assert needed == {"same": 1, "fresh": 6}[which]
    groups = [[pictures(7, seed=10 * step + i) for i in range(needed)] for step in range(3)]
    twin, critic_twin = copy.deepcopy(network), copy.deepcopy(critic_of(steps))

    def shares() -> Iterator[Tensor]:
        numbers = learning_of(recipe, fresh(Small))  # of its own, but the same seed
        for step, group in enumerate(groups):
            numbers.begin_step(step)
            yield from (numbers.uniform(batch_of(*group[0])) for _ in range(5))

    for step, group in enumerate(groups):
        learning.begin_step(step)
        steps.step([batch_of(*pair, parts=parts) for pair in group], epoch=0)
    plain = plain_wgan(
        twin,
        critic_twin,
        groups,
        shares(),
        n_critic=5,
        by_pixel=norm == "pixel",
        clip=clip,
        lrs=(2e-3, 4e-3),
    )
    assert_same(network, twin)
    assert_same(critic_of(steps), critic_twin)
    assert_same_moments(learning.generator.optimizer, plain[0])
    assert_same_moments(steps.learners[0].optimizer, plain[1])


def test_each_sample_has_a_place_of_its_own_between_restored_and_sharp() -> None:
    recipe = Recipe(
        loss="mse", strategy=WassersteinGP(critic=f"{__name__}:Watching"), optimizer=Optimizer(lr=1e-30)
    )
    network = fresh(Small).double()
    blurry, sharp = pictures(6)
    with torch.no_grad():
        restored = network(blurry)
    drawn: dict[int, list[Tensor]] = {}
    for parts in (1, 3):
        _, steps, _ = run_steps(recipe, network, [[batch_of(blurry, sharp, parts=parts)]] * 30)
        seen = [shown for shown, for_penalty, _ in critic_of(steps).seen if for_penalty]
        assert len(seen) == 30 * 5 * parts
        between = torch.cat(seen).reshape(-1, *sharp.shape)  # parts follow each other: whole batches again
        shares = (between - restored) / (sharp - restored)
        eps = shares.flatten(2).median(dim=2).values  # (150, 6)
        expected = restored + eps[:, :, None, None, None] * (sharp - restored)
        torch.testing.assert_close(between, expected, rtol=0, atol=1e-9)  # on the segment
        drawn[parts] = list(eps)
    torch.testing.assert_close(drawn[1], drawn[3], rtol=0, atol=1e-9)
    eps = torch.stack(drawn[1]).numpy()
    assert eps.min() >= 0
    assert eps.max() <= 1
    assert len(np.unique(eps.round(9))) == eps.size  # every sample of every update differs
    assert kstest(eps.flatten(), "uniform").pvalue > 0.01
    assert (
        abs(np.corrcoef(eps.T)[0, 1:]).max() < 0.25
    )  # within a batch they have nothing to do with each other


def test_the_penalty_is_computed_in_full_precision_under_autocast() -> None:
    recipe = Recipe(loss="mse", strategy=WassersteinGP(critic=f"{__name__}:Watching", n_critic=1))
    network = fresh(Small)
    learning, steps = begin(recipe, network, dtype=torch.float32, compute=torch.bfloat16)
    critic = copy.deepcopy(critic_of(steps))
    blurry, sharp = pictures(4, dtype=torch.float32)
    learning.begin_step(0)
    eps = learning.uniform(batch_of(blurry, sharp))
    learning.begin_step(0)
    with learning.placement.autocast(), torch.no_grad():
        restored = network(blurry).float()
    losses = steps.step([batch_of(blurry, sharp)], epoch=0)
    dtypes = {(for_penalty, dtype) for _, for_penalty, dtype in critic_of(steps).seen}
    assert dtypes == {(True, torch.float32), (False, torch.bfloat16)}
    full = 10 * gradient_penalty(critic.double(), sharp.double(), restored.double(), eps.double())
    assert losses["gradient_penalty"] == pytest.approx(full.item(), rel=1e-5)
    for learner in (learning.generator, *steps.learners):
        assert all(parameter.dtype is torch.float32 for parameter in learner.network.parameters())


@pytest.mark.parametrize(("given", "shown", "of_network"), [(6, [0, 1, 2, 3, 4], 5), (2, [0, 1, 0, 1, 0], 1)])
def test_fresh_batches_are_one_for_each_update(given: int, shown: list[int], of_network: int) -> None:
    """Also where an epoch has fewer of them than a step wants. Each batch is of one grey, its number."""
    recipe = Recipe(
        loss="mse",
        strategy=WassersteinGP(critic=f"{__name__}:Watching", critic_batches="fresh"),
        optimizer=Optimizer(lr=1e-30),
    )
    greys = [torch.full((2, 3, SIDE, SIDE), number / 10, dtype=torch.float64) for number in range(given)]
    network = fresh(Small).double()
    nn.init.zeros_(network.last.weight)
    nn.init.constant_(network.last.bias, 0.05)  # restored: the grey and 0.05
    _, steps, _ = run_steps(recipe, network, [[batch_of(grey, grey) for grey in greys]])
    assert steps.batches_needed(0) == 6
    seen = [
        round(float(shown.mean()), 3) for shown, for_penalty, _ in critic_of(steps).seen if not for_penalty
    ]
    wanted = [number for at in shown for number in (at / 10 + 0.05, at / 10)]
    assert seen == pytest.approx([*wanted, of_network / 10 + 0.05])


def test_in_the_first_epochs_the_network_learns_from_the_loss_alone() -> None:
    recipe = Recipe(
        loss="mse",
        strategy=WassersteinGP(
            critic=f"{__name__}:Watching", critic_batches="fresh", pretrain_epochs=2, n_critic=2
        ),
    )
    supervised = fresh(Small).double()
    network = copy.deepcopy(supervised)
    batches = [[batch_of(*pictures(4, seed=seed))] for seed in range(2)]
    learning, steps = begin(recipe, network)
    before = copy.deepcopy(critic_of(steps).state_dict())
    for epoch, group in enumerate(batches):
        assert steps.batches_needed(epoch) == 1
        learning.begin_step(epoch)
        assert set(steps.step(group, epoch=epoch)) == {"mse"}
    run_steps(Recipe(loss="mse"), supervised, batches)
    assert_same(network, supervised, tol=0)
    assert not critic_of(steps).seen
    assert all(torch.equal(value, before[name]) for name, value in critic_of(steps).state_dict().items())
    assert not steps.learners[0].optimizer.state
    assert steps.batches_needed(2) == 3
    assert {"critic_sharp", "adversarial"} <= set(steps.step(batches[0], epoch=2))


@pytest.mark.parametrize("for_critic", [True, False])
def test_the_critic_sees_pictures_made_with_or_without_dropout(for_critic: bool) -> None:
    recipe = Recipe(
        loss="mse",
        strategy=WassersteinGP(critic=f"{__name__}:Watching", n_critic=1, dropout_for_critic=for_critic),
        optimizer=Optimizer(lr=1e-30),
    )
    network = fresh(lambda: Small(dropout=0.5)).double()
    blurry, sharp = pictures(4)
    with torch.no_grad():
        quiet = network.eval()(blurry)
    network.train()
    _, steps, _ = run_steps(recipe, network, [[batch_of(blurry, sharp)]])
    of_critic, shown_sharp, of_network = (
        seen for seen, for_penalty, _ in critic_of(steps).seen if not for_penalty
    )
    assert torch.equal(shown_sharp, sharp)
    assert torch.allclose(of_critic, quiet) is not for_critic
    assert not torch.allclose(of_network, quiet)  # the network's own update always has it
    assert all(module.training for module in network.modules())


def test_batch_norms_take_statistics_of_the_batch_in_the_critics_updates_too() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)).double()
    recipe = Recipe(
        loss="mse",
        strategy=WassersteinGP(critic_options=SMALL_CRITIC, n_critic=2, dropout_for_critic=False),
    )
    run_steps(recipe, network, [[batch_of(*pictures(4))]])
    assert int(network[0].num_batches_tracked) == 3


def test_what_a_critic_keeps_fixed_stays_fixed() -> None:
    recipe = Recipe(loss="mse", strategy=WassersteinGP(critic=f"{__name__}:HalfFixed", n_critic=2))
    _, steps, _ = run_steps(recipe, fresh(Small).double(), [[batch_of(*pictures(2))]] * 2)
    critic = critic_of(steps)
    assert [parameter.requires_grad for parameter in critic.parameters()] == [False, True]
    assert critic.fixed.item() == 2
    assert critic.free.item() != 1


class HalfFixed(nn.Module):
    """One number that learns and one that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.fixed = nn.Parameter(torch.tensor(2.0), requires_grad=False)
        self.free = nn.Parameter(torch.tensor(1.0))

    def forward(self, picture: Tensor) -> Tensor:
        return picture.mean(dim=(1, 2, 3)) * self.fixed * self.free


# Conditional GAN


def test_the_losses_of_a_conditional_gan_by_hand() -> None:
    recipe = Recipe(
        loss=Term(loss="mae", weight=100.0),
        strategy=ConditionalGAN(critic=f"{__name__}:LinearPair", adversarial=0.7),
    )
    network = fresh(Small).double()
    blurry, sharp = pictures(5)
    with torch.no_grad():
        restored = network(blurry)
    before = LinearPair().double()
    _, steps, (losses,) = run_steps(recipe, network, [[batch_of(blurry, sharp)]])

    def answers(critic: nn.Module, picture: Tensor) -> np.ndarray:
        with torch.no_grad():
            return 1 / (1 + np.exp(-critic(blurry, picture).numpy()))

    assert losses == pytest.approx(
        {  # S4's form, -log(D + 1e-12) of probabilities
            "mae": 100 * (restored - sharp).abs().mean().item(),
            "critic_sharp": -np.log(answers(before, sharp) + 1e-12).mean(),
            "critic_restored": -np.log(1 - answers(before, restored) + 1e-12).mean(),
            "adversarial": 0.7 * -np.log(answers(critic_of(steps), restored) + 1e-12).mean(),
        },
        rel=1e-9,
    )


def test_the_losses_of_a_conditional_gan_stay_finite_for_any_logit() -> None:
    """Where log(sigmoid) would have no more digits, the loss is as large as the logit."""
    recipe = Recipe(loss="mse", strategy=ConditionalGAN(critic=f"{__name__}:Sure"))
    _, _, (losses,) = run_steps(recipe, fresh(Small).double(), [[batch_of(*pictures(2))]])
    assert losses["critic_sharp"] == pytest.approx(1000)
    assert losses["critic_restored"] == 0
    assert losses["adversarial"] == pytest.approx(1000, rel=1e-3)


class Sure(nn.Module):
    """Takes everything for restored."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(-1000.0))

    def forward(self, blurry: Tensor, picture: Tensor) -> Tensor:
        return self.logit.expand(len(blurry), 1)


@pytest.mark.parametrize(
    ("critic", "options", "side", "parts"),
    [(f"{__name__}:LinearPair", {}, SIDE, 3), (ConditionalGAN().critic, SMALL_CRITIC, 32, 1)],
    ids=["linear, in parts", "patches"],
)
def test_three_steps_of_a_conditional_gan_equal_a_plain_loop(
    critic: str, options: dict[str, Any], side: int, parts: int
) -> None:
    settings = Optimizer(lr=2e-3, betas=(0.5, 0.999), eps=1e-8)
    recipe = Recipe(
        loss=Term(loss="mae", weight=100.0),
        strategy=ConditionalGAN(critic=critic, critic_options=options, optimizer=replace(settings, lr=1e-3)),
        optimizer=settings,
    )
    network = fresh(Small).double()
    learning, steps = begin(recipe, network)
    twin, judge = copy.deepcopy(network), copy.deepcopy(critic_of(steps))
    batches = [pictures(7, seed=seed, side=side) for seed in range(3)]
    for number, pair in enumerate(batches):
        learning.begin_step(number)
        steps.step([batch_of(*pair, parts=parts)], epoch=0)

    of_network = torch.optim.Adam(twin.parameters(), lr=2e-3, betas=(0.5, 0.999), eps=1e-8)
    of_critic = torch.optim.Adam(judge.parameters(), lr=1e-3, betas=(0.5, 0.999), eps=1e-8)
    bce = nn.BCEWithLogitsLoss()
    for blurry, sharp in batches:
        restored = twin(blurry)
        real, false = judge(blurry, sharp), judge(blurry, restored.detach())
        loss = bce(real, torch.ones_like(real)) + bce(false, torch.zeros_like(false))
        of_critic.zero_grad()
        loss.backward()
        of_critic.step()
        learnt = [parameter.grad.clone() for parameter in judge.parameters()]
        answer = judge(blurry, restored)
        loss = bce(answer, torch.ones_like(answer)) + 100 * F.l1_loss(restored, sharp)
        of_network.zero_grad()
        loss.backward()
        of_network.step()
        for parameter, gradient in zip(judge.parameters(), learnt, strict=True):
            parameter.grad = gradient  # what the network's loss left there counts for nothing
    assert_same(network, twin)
    # a bias before a batch norm has no gradient but rounding noise, which Adam makes larger
    assert_same(critic_of(steps), judge, tol=1e-8)
    assert_same_moments(learning.generator.optimizer, of_network)
    assert_same_moments(steps.learners[0].optimizer, of_critic)


# What all strategies share


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_the_settings_of_the_optimisers_reach_pytorch(kind: str) -> None:
    own = Optimizer(kind=kind, lr=3e-4, betas=(0.5, 0.95), eps=1e-6, weight_decay=0.02)
    recipe = Recipe(strategy=WassersteinGP(critic_options=SMALL_CRITIC, optimizer=own), optimizer=Optimizer())
    learning, steps = begin(recipe, fresh(Small))
    optimizer = steps.learners[0].optimizer
    assert type(optimizer) is {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind]
    (group,) = optimizer.param_groups
    assert {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")} == {
        "lr": 3e-4,
        "betas": (0.5, 0.95),
        "eps": 1e-6,
        "weight_decay": 0.02,
    }
    assert len(group["params"]) == len(list(critic_of(steps).parameters()))
    (group,) = learning.generator.optimizer.param_groups
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (1e-3, (0.9, 0.999), 1e-8, 0)
    steps.learners[0].set_rate(0.1)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(3e-5)
    shared = begin(replace(recipe, strategy=replace(recipe.strategy, optimizer=None)), fresh(Small))[1]
    assert shared.learners[0].optimizer.param_groups[0]["lr"] == 1e-3


@pytest.mark.parametrize("parts", [1, 3])
def test_a_supervised_step_clips_the_gradient_of_the_whole_batch(parts: int) -> None:
    network = fresh(Small).double()
    twin = copy.deepcopy(network)
    blurry, sharp = pictures(7)
    F.mse_loss(twin(blurry), sharp).backward()
    norm = nn.utils.clip_grad_norm_(twin.parameters(), 0.01)
    assert norm > 0.02  # there is something to clip
    run_steps(Recipe(loss="mse", clip_norm=0.01), network, [[batch_of(blurry, sharp, parts=parts)]])
    for mine, other in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=1e-14)


def test_the_averaged_weights_follow_their_recursion() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)).double()
    learning = learning_of(Recipe(loss="mse"), network)
    steps = build_steps(Recipe(loss="mse"), learning)
    decay = 0.6
    state = State.begin((learning.generator,), ema_decay=decay)
    assert state.average is not None
    wanted: dict[str, np.ndarray] = {}
    for number in range(8):
        learning.begin_step(number)
        steps.step([batch_of(*pictures(3, seed=number))], epoch=0)
        state.average.update_parameters(network)
        now = {name: value.numpy().copy() for name, value in network.state_dict().items()}
        share = min(decay, (1 + number) / (10 + number))  # from 0.18 to 0.47 and on to the decay
        for name, value in now.items():
            if value.dtype.kind == "f":
                wanted[name] = share * wanted[name] + (1 - share) * value if number else value
    found = state.evaluated.state_dict()
    assert len(wanted) == 6  # statistics of the batch norm among them
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name].numpy(), value, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "strategy",
    [
        WassersteinGP(critic_options={"width": 3}, n_critic=2, optimizer=Optimizer(lr=1e-5)),
        WassersteinGP(
            critic_batches="fresh", penalty_norm="pixel", dropout_for_critic=False, pretrain_epochs=4
        ),
        ConditionalGAN(adversarial=0.5, critic_options={"width": 8}),
        Supervised(),
    ],
    ids=str,
)
def test_a_strategy_survives_a_recipe_file(strategy: Strategy) -> None:
    recipe = Recipe(strategy=strategy)
    assert from_values(as_values(recipe)).strategy == strategy


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: WassersteinGP(n_critic=0), "strategy.n_critic is 0"),
        (
            lambda: WassersteinGP(critic_batches="new"),
            "strategy.critic_batches is 'new'; it must be same or fresh",
        ),
        (
            lambda: WassersteinGP(penalty_norm="l1"),
            "strategy.penalty_norm is 'l1'; it must be image or pixel",
        ),
        (lambda: WassersteinGP(gradient_penalty=-1.0), "strategy.gradient_penalty is -1.0"),
        (
            lambda: Recipe(strategy=WassersteinGP(pretrain_epochs=9), epochs=9),
            "strategy.pretrain_epochs is 9; it must be less than epochs, 9",
        ),
        (lambda: WassersteinGP(adversarial=math.inf), "strategy.adversarial is inf"),
        (lambda: WassersteinGP(critic="critics"), "strategy.critic is 'critics'; it must be an import path"),
        (
            lambda: WassersteinGP(optimizer={"lr": 1}),
            "strategy.optimizer is {'lr': 1}; it must be an Optimizer",
        ),
        (lambda: ConditionalGAN(adversarial=0), "strategy.adversarial is 0"),
        (lambda: ConditionalGAN(optimizer="adam"), "strategy.optimizer is 'adam'"),
        (lambda: Strategy(), "Strategy.steps is ''; it must be an import path"),
    ],
)
def test_what_no_strategy_can_be_is_refused_by_name(make: Callable[[], object], said: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        make()
    assert said in str(caught.value)


class Broken:
    """Steps that cannot be built."""

    def __init__(self, recipe: Recipe, learning: Learning) -> None:
        raise RuntimeError("no luck")


class Twins:
    """Steps with two networks of one name."""

    def __init__(self, recipe: Recipe, learning: Learning) -> None:
        self.learners = [learning.placement.learner("critic", Linear(), Optimizer()) for _ in range(2)]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("no_such_module:Steps", "ModuleNotFoundError: No module named 'no_such_module'"),
        (f"{__name__}:Absent", "AttributeError"),
        (f"{__name__}:Broken", "RuntimeError: no luck"),
        (f"{__name__}:Twins", "gives two of its networks one name: network, critic, critic"),
    ],
)
def test_a_strategy_that_cannot_be_built_is_named(steps: str, said: str) -> None:
    kind = type("Own", (Supervised,), {"steps": steps})
    with pytest.raises(MissingError) as caught:
        begin(Recipe(loss="mse", strategy=kind()), fresh(Small))
    assert f"the strategy {steps}" in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("critic", "options"),
    [("no_such_module:Critic", {}), (f"{__name__}:Linear", {"depth": 3}), (f"{__name__}:Absent", {})],
)
def test_a_critic_that_cannot_be_built_is_named(critic: str, options: dict[str, Any]) -> None:
    for kind in (WassersteinGP, ConditionalGAN):
        recipe = Recipe(loss="mse", strategy=kind(critic=critic, critic_options=options))
        with pytest.raises(MissingError, match=f"the critic {critic} cannot be built"):
            begin(recipe, fresh(Small))
