"""What parameters are drawn from: distributions, fields with ranges, and the operations that draw in their own way."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from deblur_cli.blur import defocus, gaussian_k, noise
from deblur_cli.blur.defocus import Defocus
from deblur_cli.blur.distributions import (
    Choice,
    Constant,
    Cycle,
    Distribution,
    Integers,
    LogUniform,
    Normal,
    Uniform,
    greatest,
    pick,
)
from deblur_cli.blur.gaussian_k import GaussianK
from deblur_cli.blur.jpeg import Jpeg, Subsampling
from deblur_cli.blur.noise import Kind, Noise
from deblur_cli.blur.params import as_record, check_ranges, draw_params, from_record, number
from deblur_cli.blur.randomness import Role, generator
from deblur_cli.errors import UsageError


class Uniforms:
    """A generator that has nothing but `random`, and counts how often it is asked."""

    def __init__(self, seed: int = 1) -> None:
        self._rng = np.random.Generator(np.random.Philox(seed))
        self.asked = 0

    def random(self) -> float:
        self.asked += 1
        return self._rng.random()


class Always:
    """A generator that always gives the same number."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


LAST = 1 - 2.0**-53  # the greatest number that `random` gives

EACH_FORM = [
    (Constant(2.0), 0),
    (Uniform(2, 6), 1),
    (LogUniform(1, 100), 1),
    (Integers(7, 13, 2), 1),
    (Choice(("a", "b")), 1),
    (Choice((1, 2, 3), (0.5, 0.0, 0.5)), 1),
    (Cycle((5, 9, 13)), 0),
]


@pytest.mark.parametrize(("distribution", "asked"), EACH_FORM)
def test_a_draw_takes_one_uniform_number_or_none(distribution, asked):
    rng = Uniforms()
    distribution.sample(rng, 0)
    assert rng.asked == asked


@pytest.mark.parametrize("distribution", [form for form, _ in EACH_FORM])
@pytest.mark.parametrize("rng", [Uniforms(), Always(0.0), Always(0.5), Always(LAST)])
def test_draws_stay_between_the_extremes(distribution, rng):
    ends = distribution.extremes()
    for index in range(50):
        value = distribution.sample(rng, index)
        assert value in ends or min(ends) <= value <= max(ends)


def draws(distribution: Distribution, count: int = 4000) -> list:
    rng = Uniforms()
    return [distribution.sample(rng, index) for index in range(count)]


def test_uniform_and_log_uniform_follow_their_laws():
    assert scipy.stats.kstest(draws(Uniform(2, 6)), scipy.stats.uniform(2, 4).cdf).pvalue > 0.01
    assert scipy.stats.kstest(draws(LogUniform(1, 100)), scipy.stats.loguniform(1, 100).cdf).pvalue > 0.01
    raw = Uniforms()
    assert draws(Uniform(2, 6), 1) == [2 + 4 * raw.random()]


def test_integers_and_choices_come_as_often_as_they_should():
    values, counts = np.unique(draws(Integers(7, 13, 2)), return_counts=True)
    assert values.tolist() == [7, 9, 11, 13]
    assert counts == pytest.approx(1000, abs=120)
    assert {type(value) for value in draws(Integers(7, 13, 2), 10)} == {int}
    assert set(draws(Integers(1, 6, 2))) == {1, 3, 5}  # 6 is no end that a step reaches
    chosen = draws(Choice(("a", "b", "c"), (3, 0, 1)))
    assert chosen.count("a") == pytest.approx(3000, abs=120)
    assert "b" not in chosen


def test_a_cut_normal_is_drawn_again_until_it_fits():
    values = draws(Normal(1, 0.5, 0.2, 1.5))
    assert 0.2 <= min(values) <= max(values) <= 1.5
    cut = scipy.stats.truncnorm(-1.6, 1, loc=1, scale=0.5)
    assert scipy.stats.kstest(values, cut.cdf).pvalue > 0.01
    assert Normal(1, 0.5, 0.2, 1.5).sample(Always(0.5), 0) == 1


def test_a_cycle_goes_in_turn():
    assert draws(Cycle((5, 9, 13)), 7) == [5, 9, 13, 5, 9, 13, 5]


def test_extremes_name_what_can_be_drawn():
    assert greatest(Uniform(0, 3)) == 3
    assert greatest(Choice((5, 13, 9))) == 13
    assert Integers(7, 13, 2).extremes() == (7, 9, 11, 13)
    assert Integers(0, 10**6, 10).extremes() == (0, 10, 10**6)  # those in between go on as these begin


@given(weights=st.lists(st.floats(0, 1e6), min_size=1, max_size=8), share=st.floats(0, LAST))
def test_a_share_never_falls_on_a_weight_of_zero(weights, share):
    if sum(weights) > 0:
        assert weights[pick(weights, share)] > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(3, 1), "uniform low 3 > high 1"),
        (lambda: Uniform(math.nan, 1), "uniform low nan > high 1"),
        (lambda: LogUniform(0, 1), "log_uniform low 0 must be above 0"),
        (lambda: Integers(5, 1), "integers low 5 > high 1"),
        (lambda: Integers(1, 5, 0), "integers step 0 must be 1 or more"),
        (lambda: Choice(()), "choice has no values"),
        (lambda: Choice((1, 2), (1.0,)), "choice has 2 values but 1 weights"),
        (lambda: Choice((1, 2), (0.0, 0.0)), "choice weights must be 0 or more, one above 0"),
        (lambda: Cycle(()), "cycle has no values"),
        (lambda: Normal(0, 0, -1, 1), "normal sd 0 must be above 0"),
        (lambda: Normal(0, 1, 2, 1), "within low 2 > high 1"),
        (lambda: Normal(0, 1, 5, 6), r"within \[5, 6\] lies more than 3 sd from the mean 0"),
    ],
)
def test_impossible_distributions_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_a_generator_is_that_of_its_picture_draw_step_and_role():
    sequence = np.random.SeedSequence(3, spawn_key=(4, 5, 6, 0))
    raw = np.random.Generator(np.random.Philox(sequence))
    assert generator(3, index=4, draw=5, slot=6, role=Role.PARAMETERS).random() == raw.random()
    others = {
        generator(3, index=i, draw=d, slot=s, role=role).random()
        for i in (0, 1) for d in (0, 1) for s in (0, 1) for role in Role
    }  # fmt: skip
    assert len(others) == 16
    uniform = np.random.Philox(sequence).random_raw() >> 11
    assert raw.bit_generator.seed_seq is sequence
    assert generator(3, index=4, draw=5, slot=6, role=Role.PARAMETERS).random() == uniform * 2.0**-53


# Fields


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paint:
    """A dataclass as a plugin would write it."""

    width: float = number(unit="px", gt=0, le=10, drawn=Uniform(1, 3))
    turn: float = number(unit="rad", ge=-math.pi, le=math.pi, degrees=True, drawn=Constant(90.0))
    wobble: tuple[float, float] = number(unit="px", ge=0, le=1, count=2, drawn=Uniform(0, 1))
    colour: Colour = Colour.RED
    layers: int = number(ge=1, le=9)

    def __post_init__(self) -> None:
        check_ranges(self)


def test_parameters_are_drawn_in_the_order_of_the_dataclass_not_of_the_spec():
    node = {"layers": Integers(1, 9), "width": Uniform(4, 5)}
    raw = Uniforms()
    expected = Paint(
        width=4 + raw.random(),
        turn=math.pi / 2,
        wobble=(raw.random(), raw.random()),
        layers=1 + math.floor(9 * raw.random()),
    )
    assert draw_params(Paint, node, Uniforms(), 0) == expected
    assert draw_params(Paint, dict(reversed(node.items())), Uniforms(), 0) == expected


def test_what_a_spec_says_becomes_the_type_of_its_field():
    node = {"layers": Constant(2), "colour": Constant("blue"), "width": Constant(3), "turn": Constant(-45)}
    drawn = draw_params(Paint, node, Uniforms(), 0)
    assert (drawn.colour, drawn.turn) == (Colour.BLUE, -math.pi / 4)
    assert type(drawn.width) is float


def test_a_parameter_without_a_default_must_be_given():
    with pytest.raises(UsageError, match="Paint: layers is missing"):
        draw_params(Paint, {}, Uniforms(), 0)


def test_a_record_makes_equal_parameters():
    drawn = draw_params(Paint, {"layers": Constant(2)}, Uniforms(), 0)
    record = as_record(drawn)
    assert from_record(Paint, record) == drawn
    assert (
        from_record(Paint, record | {"wobble": list(drawn.wobble), "colour": "red"}) == drawn
    )  # as JSON has them
    for broken in (
        {"layers": 2, "thickness": 1},
        {"layers": 2, "width": 0.0},
        {},
        {**record, "colour": "green"},
    ):
        with pytest.raises(UsageError, match="Paint"):
            from_record(Paint, broken)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "Paint: width is 0; it must be above 0 to 10 px"),
        ({"width": math.inf}, "width is inf"),
        ({"turn": 4.0}, "turn is 4.0; it must be from -3.14159 to 3.14159 rad"),
        ({"wobble": (0.5, 2.0)}, "wobble is 2.0; it must be from 0 to 1 px"),
        ({"layers": 10}, "layers is 10; it must be from 1 to 9"),
    ],
)
def test_values_outside_their_range_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        Paint(**{"width": 1, "wobble": (0.0, 0.0), "layers": 1, **changes})


# Operations that draw in their own way


def rng(index: int = 0) -> np.random.Generator:
    return generator(0, index=index, draw=0, slot=1, role=Role.PARAMETERS)


def test_read_noise_follows_the_gain():
    drawn = [noise.draw({"gain": LogUniform(1e-4, 0.012)}, rng(index), 0) for index in range(3000)]
    residual = [math.log(item.read_var) - 2.18 * math.log(item.gain) - 1.20 for item in drawn]
    assert np.mean(residual) == pytest.approx(0, abs=0.02)
    assert np.std(residual) == pytest.approx(0.26, rel=0.05)
    total = np.sqrt([item.gain * 0.2 + item.read_var for item in drawn])
    assert np.percentile(total, [1, 50, 99]) == pytest.approx([0.0046, 0.015, 0.050], rel=0.06)
    assert min(item.gain for item in drawn) >= 1e-4
    assert max(item.gain for item in drawn) <= 0.012


def test_read_noise_is_what_the_spec_says_if_it_says_so():
    drawn = noise.draw({"read_var": Constant(1e-5), "gain": Constant(0)}, rng(), 0)
    assert drawn == Noise(gain=0.0, read_var=1e-5)
    assert noise.draw({"gain": Constant(0)}, rng(), 0) == Noise(gain=0.0, read_var=0.0)


def test_the_gain_is_drawn_first_then_the_read_noise():
    raw = rng()
    gain = 1e-4 * math.exp(math.log(4e-3 / 1e-4) * raw.random())
    read_var = math.exp(2.18 * math.log(gain) + 1.20 + 0.26 * scipy.stats.norm.ppf(raw.random()))
    drawn = noise.draw({}, rng(), 0)
    assert (drawn.kind, drawn.gain) == (Kind.POISSON_GAUSSIAN, gain)
    assert drawn.read_var == pytest.approx(read_var, rel=1e-12)


def test_each_kind_of_noise_takes_its_own_parameters_only():
    node = {
        "kind": Choice(("gaussian", "poisson_gaussian")),
        "sigma": Constant(0.02),
        "gain": Constant(0.001),
    }
    drawn = [noise.draw(node, rng(index), 0) for index in range(20)]
    assert {(item.kind, item.sigma, item.gain) for item in drawn} == {
        (Kind.GAUSSIAN, 0.02, 0.0),
        (Kind.POISSON_GAUSSIAN, 0.0, 0.001),
    }
    with pytest.raises(UsageError, match="noise of the kind poisson_gaussian takes no sigma"):
        noise.draw({"sigma": Constant(0.02)}, rng(), 0)
    with pytest.raises(UsageError, match="noise of the kind gaussian takes no gain or read_var"):
        noise.draw({"kind": Constant("gaussian"), "gain": Constant(0), "read_var": Constant(0)}, rng(), 0)


def test_jpeg_draws_its_quality_then_its_subsampling():
    raw = rng()
    quality, position = 60 + math.floor(39 * raw.random()), math.floor(2 * raw.random())
    drawn = draw_params(Jpeg, {"subsampling": Choice(("420", "444"))}, rng(), 0)
    assert drawn == Jpeg(quality=quality, subsampling=(Subsampling.BOTH, Subsampling.NONE)[position])


def test_the_sigma_of_a_fixed_size_follows_it_unless_given():
    assert gaussian_k.draw({"k": Constant(9)}, rng(), 0) == GaussianK(k=9, sigma=gaussian_k.sigma_of(9))
    given_sigma = gaussian_k.draw({"k": Constant(9), "sigma": Constant(2.0)}, rng(), 0)
    assert given_sigma == GaussianK(k=9, sigma=2.0)
    cycle = {"k": Cycle((5, 9, 13))}
    assert [gaussian_k.draw(cycle, rng(), index).sigma for index in range(3)] == pytest.approx(
        [1.1, 1.7, 2.3]
    )


def test_a_polygon_is_turned_at_random_as_far_as_makes_a_difference():
    node = {"blades": Constant(6), "radius": Constant(4)}
    turns = [defocus.draw(node, rng(index), 0).rotation for index in range(400)]
    assert scipy.stats.kstest(turns, scipy.stats.uniform(0, math.pi / 3).cdf).pvalue > 0.01
    assert defocus.draw(node | {"rotation": Constant(15.0)}, rng(), 0) == Defocus(
        radius=4.0, blades=6, rotation=math.pi / 12
    )
    assert defocus.draw({"radius": Constant(4)}, rng(), 0) == Defocus(radius=4.0, blades=0)
