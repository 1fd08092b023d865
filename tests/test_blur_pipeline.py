"""The steps of a spec: which random numbers they take, in what light they act, what is cut, and how a record repeats them."""

import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest

from deblur_cli.blur import DEGRADATIONS, gaussian, highlights, jpeg, noise
from deblur_cli.blur.borders import Border, Window, crop
from deblur_cli.blur.distributions import Choice, Constant, Cycle, LogUniform, Uniform
from deblur_cli.blur.gaussian import Gaussian
from deblur_cli.blur.highlights import Highlights
from deblur_cli.blur.kernels import centroid
from deblur_cli.blur.light import Light, decode, encode
from deblur_cli.blur.noise import Noise
from deblur_cli.blur.params import number
from deblur_cli.blur.pipeline import Degraded, Taken, apply_steps, as_records, draw_steps, from_records
from deblur_cli.blur.randomness import Role, generator
from deblur_cli.blur.spec import Branch, Mix, Select, Spec, Step, margin
from deblur_cli.errors import MissingError, PictureError, UsageError
from deblur_cli.host.declarations import Degradation, Stage
from deblur_cli.pictures.scaling import from_integers, to_8_bit


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A plugin's operation. length : px to the right."""

    length: float = number(unit="px", ge=0, le=9, drawn=Uniform(0, 9))


def shift_kernel(params: Shift, rng: np.random.Generator) -> np.ndarray:
    """A point `length` px to the right of the centre, rounded, as far as the field's own number says."""
    kernel = np.zeros((21, 21))
    kernel[10, 10 + round(params.length * rng.random())] = 1
    return kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Flash:
    """A plugin's operation that changes the scene at random."""


def flash(image: np.ndarray, params: Flash, rng: np.random.Generator) -> np.ndarray:
    """Each pixel brighter by a random number."""
    return image + np.float32(0.2) * rng.random(image.shape, np.float32)


PLUGIN = (
    Degradation(
        name="shift", summary="s", params=f"{__name__}:Shift", kernel=f"{__name__}:shift_kernel", bound=9
    ),
    Degradation(
        name="flash",
        summary="f",
        params=f"{__name__}:Flash",
        apply=f"{__name__}:flash",
        bound=0,
        stage=Stage.SCENE,
    ),
)
OPERATIONS = MappingProxyType({item.name: item for item in (*DEGRADATIONS, *PLUGIN)})


def spec_of(*steps: Step | Mix, **settings) -> Spec:
    return Spec(name="test", seed=11, steps=steps, **settings)


def streams(index: int = 0, draw: int = 0) -> Callable[..., np.random.Generator]:
    return partial(generator, 11, index=index, draw=draw)


def taken_of(spec: Spec, *, index: int = 0, draw: int = 0) -> list[Taken]:
    return draw_steps(spec, OPERATIONS, streams=streams(index, draw), number=draw)


def texture(height: int = 60, width: int = 70) -> np.ndarray:
    return from_integers(
        np.random.Generator(np.random.Philox(1)).integers(0, 256, (height, width, 3), np.uint8)
    )


def degrade(
    image: np.ndarray, taken: list[Taken], *, cut: int = 0, index: int = 0, draw: int = 0, **settings
) -> Degraded:
    window = Window(whole_height=image.shape[0], whole_width=image.shape[1])
    return apply_steps(
        image, taken, OPERATIONS, streams=streams(index, draw), window=window,
        keep=lambda whole: crop(whole, cut), **settings,
    )  # fmt: skip


def params_of(taken: list[Taken]) -> dict:
    return {item.slot: item.params for item in taken}


# Drawing


def test_changing_one_step_leaves_the_draws_of_the_others():
    def steps(sigma: object) -> list[Taken]:
        gaussian = Step(slot=1, op="gaussian", node={"sigma": sigma})
        return taken_of(
            spec_of(
                gaussian, Step(slot=2, op="noise"), Step(slot=3, op="trajectory"), Step(slot=4, op="jpeg")
            )
        )

    first, other = params_of(steps(Uniform(0, 3))), params_of(steps(Constant(2)))
    assert first[1] != other[1]
    assert [first[slot] for slot in (2, 3, 4)] == [other[slot] for slot in (2, 3, 4)]


def test_pictures_and_draws_differ_and_each_comes_out_the_same_again():
    spec = spec_of(Step(slot=1, op="gaussian"))
    sigmas = [taken_of(spec, index=i, draw=d)[0].params.sigma for i in range(5) for d in range(5)]
    assert len(set(sigmas)) == 25
    assert taken_of(spec, index=2, draw=3)[0].params.sigma == sigmas[13]


def test_a_step_is_applied_as_often_as_its_probability_says():
    spec = spec_of(Step(slot=1, op="gaussian", prob=0.3), Step(slot=2, op="identity", prob=0.0))
    taken = [taken_of(spec, index=index) for index in range(1000)]
    assert sum(item.applied for item, _ in taken) == pytest.approx(300, abs=58)  # 4 sd
    assert not any(item.applied for _, item in taken)
    assert all(item.params is None for item, _ in taken if item.applied is False)


def test_the_probability_is_drawn_before_the_parameters():
    raw = streams()(slot=1, role=Role.PARAMETERS)
    raw.random()
    drawn = taken_of(spec_of(Step(slot=1, op="gaussian", prob=1.0)))[0].params
    assert drawn == Gaussian(sigma=3 * raw.random())


TWO = (
    Branch(p=0.8, steps=(Step(slot=2, op="gaussian"), Step(slot=3, op="box"))),
    Branch(p=0.2, steps=(Mix(slot=4, branches=(Branch(p=1.0, steps=(Step(slot=5, op="defocus"),)),)),)),
)


def test_a_mixture_takes_its_branches_by_their_probabilities():
    spec = spec_of(Mix(slot=1, branches=TWO))
    taken = [taken_of(spec, index=index) for index in range(1000)]
    ops = {tuple((item.slot, item.op, item.branch) for item in steps) for steps in taken}
    assert ops == {
        ((1, "mix", 0), (2, "gaussian", None), (3, "box", None)),
        ((1, "mix", 1), (4, "mix", 0), (5, "defocus", None)),
    }
    assert sum(steps[0].branch == 0 for steps in taken) == pytest.approx(800, abs=51)


def test_a_cycle_takes_its_branches_in_turn():
    spec = spec_of(Mix(slot=1, branches=TWO, select=Select.CYCLE))
    assert [taken_of(spec, draw=draw)[0].branch for draw in range(5)] == [0, 1, 0, 1, 0]
    sizes = spec_of(Step(slot=1, op="median", node={"k": Cycle((5, 9, 13))}))
    assert [taken_of(sizes, draw=draw)[0].params.k for draw in range(4)] == [5, 9, 13, 5]


def test_a_mixture_that_is_not_taken_changes_nothing():
    spec = spec_of(Mix(slot=1, branches=TWO, prob=0.0))
    taken, image = taken_of(spec), texture()
    assert taken == [Taken(slot=1, op="mix", applied=False)]
    assert degrade(image, taken).blurry is image
    assert repeated(taken, spec) == taken


def test_parameters_outside_the_range_of_an_operation_are_refused_when_drawn():
    with pytest.raises(UsageError, match="Gaussian: sigma is 99"):
        taken_of(spec_of(Step(slot=1, op="gaussian", node={"sigma": Constant(99)})))


# Applying


def test_a_mixture_of_identity_alone_returns_the_picture_itself():
    identity = Mix(slot=1, branches=(Branch(p=1.0, steps=(Step(slot=2, op="identity"),)),))
    image = texture()
    degraded = degrade(image, taken_of(spec_of(identity)))
    assert degraded.blurry is image
    assert degraded.sharp is None


def test_each_step_acts_on_its_own_light():
    steps = (
        Step(slot=1, op="gaussian", node={"sigma": Constant(1.5)}),
        Step(slot=2, op="gaussian", node={"sigma": Constant(2.0)}, light=Light.SRGB),
        Step(slot=3, op="gaussian", node={"sigma": Constant(0.7)}, light=Light.GAMMA22),
    )
    image = texture()
    expected = image
    for light, sigma in ((Light.LINEAR, 1.5), (Light.SRGB, 2.0), (Light.GAMMA22, 0.7)):
        expected = encode(gaussian.apply(decode(expected, light), Gaussian(sigma=sigma)), light)
    blurry = degrade(image, taken_of(spec_of(*steps, light=Light.LINEAR))).blurry
    assert np.abs(blurry - expected).max() <= 1e-6
    plain = degrade(
        image, taken_of(spec_of(*(Step(slot=s.slot, op=s.op, node=s.node) for s in steps)))
    ).blurry
    assert np.abs(blurry - plain).max() > 0.01


def test_a_picture_may_come_in_the_light_of_the_steps():
    spec = spec_of(Step(slot=1, op="gaussian", node={"sigma": Constant(1.0)}), light=Light.LINEAR)
    image = texture()
    linear = degrade(decode(image, Light.LINEAR), taken_of(spec), light=Light.LINEAR).blurry
    assert np.array_equal(linear, degrade(image, taken_of(spec)).blurry)


def test_the_order_of_the_physics_is_followed():
    spec = spec_of(
        Step(slot=1, op="highlights", node={"boost": Constant(4)}),
        Step(slot=2, op="gaussian", node={"sigma": Constant(2)}),
        Step(slot=3, op="noise", node={"gain": Constant(0.002), "read_var": Constant(1e-5)}),
        Step(slot=4, op="jpeg", node={"quality": Constant(70)}),
        light=Light.LINEAR,
    )
    image = texture()
    boosted = highlights.apply(decode(image, Light.LINEAR), Highlights(boost=4))
    lit = gaussian.apply(boosted, Gaussian(sigma=2))
    field = streams()(slot=3, role=Role.FIELD)
    lit = noise.apply(lit, Noise(gain=0.002, read_var=1e-5), field)
    stored = to_8_bit(encode(lit, Light.LINEAR))
    degraded = degrade(image, taken_of(spec))
    assert np.array_equal(to_8_bit(degraded.blurry), jpeg.through_jpeg(stored, jpeg.Jpeg(quality=70)))
    assert boosted.max() == 4  # what the blur may spread; the sharp picture clips it
    assert degraded.sharp is not None
    assert degraded.sharp.max() == 1
    assert np.array_equal(degraded.sharp, np.clip(encode(boosted, Light.LINEAR), 0, 1))


@pytest.mark.parametrize(
    "order", [("flash", "gaussian"), ("gaussian", "flash"), ("flash", "noise"), ("noise", "flash")]
)
@pytest.mark.parametrize("cut", [0, 12])
def test_a_change_of_the_scene_reaches_the_sharp_picture_once_wherever_it_stands(order, cut):
    spec = spec_of(*(Step(slot=slot, op=op) for slot, op in enumerate(order, start=1)))
    image = texture()
    degraded = degrade(image, taken_of(spec), cut=cut)
    flashed = flash(image, Flash(), streams()(slot=order.index("flash") + 1, role=Role.FIELD))
    assert np.array_equal(degraded.sharp, np.clip(crop(flashed, cut), 0, 1))
    assert degraded.blurry.shape == degraded.sharp.shape
    assert not np.array_equal(np.clip(degraded.blurry, 0, 1), degraded.sharp)


def test_no_pixel_within_the_margin_saw_anything_but_the_picture():
    spec = spec_of(
        Step(slot=1, op="trajectory", node={"length": Uniform(10, 40)}),
        Mix(slot=2, branches=(Branch(p=0.5, steps=(Step(slot=3, op="defocus"),)), Branch(p=0.5, steps=()))),
        border=Border.CROP_VALID,
    )
    reach = margin(spec, OPERATIONS)
    assert (
        reach == (math.ceil(40 / 2) + 1) + 7
    )  # of the steps together, of the mixture's branches the greatest
    whole = texture(160, 170)
    piece = whole[30:130, 25:145]
    for index in range(6):
        taken = taken_of(spec, index=index)
        inside = degrade(piece, taken, cut=reach, index=index).blurry
        seen = degrade(whole, taken, index=index).blurry[30 + reach : 130 - reach, 25 + reach : 145 - reach]
        assert inside.shape == (100 - 2 * reach, 120 - 2 * reach, 3)
        assert np.abs(inside - seen).max() <= 1e-6
    assert margin(spec_of(*spec.steps), OPERATIONS) == 0  # mirrored instead


def test_noise_falls_on_the_pixels_that_are_kept_only():
    spec = spec_of(Step(slot=1, op="gaussian"), Step(slot=2, op="noise"))
    taken, image = taken_of(spec), texture()
    blurred = crop(gaussian.apply(image, taken[0].params), 12)
    expected = noise.apply(blurred, taken[1].params, streams()(slot=2, role=Role.FIELD))
    assert np.array_equal(degrade(image, taken, cut=12).blurry, expected)


def test_kernels_are_returned_where_they_are_asked_for():
    names = ("gaussian", "trajectory", "median", "camera_shake")
    spec = spec_of(*(Step(slot=slot, op=name) for slot, name in enumerate(names, start=1)))
    taken, image = taken_of(spec), texture()
    assert set(degrade(image, taken).kernels) == {2}  # made anyway
    shown = degrade(image, taken, with_kernels=True)
    assert set(shown.kernels) == {2, 4}  # how large a shake came out, only its kernel tells
    assert np.array_equal(shown.blurry, degrade(image, taken).blurry)
    records = as_records(taken, light=spec.light, key=(0, 0), kernels=shown.kernels)
    assert records[1]["kernel"]["side"] == len(shown.kernels[2])
    assert records[1]["kernel"]["centroid"] == pytest.approx([0, 0], abs=1e-9)
    assert records[3]["kernel"]["rms_px"] > 0
    assert "kernel" not in records[0]
    assert "kernel" not in records[2]


# Records


EVERYTHING = spec_of(
    Step(slot=1, op="highlights", prob=0.5, node={"boost": LogUniform(1, 8)}),
    Mix(
        slot=2,
        branches=(
            Branch(p=0.3, steps=(Step(slot=3, op="camera_shake", node={"max_extent_px": Constant(8)}),)),
            Branch(p=0.3, steps=(Step(slot=4, op="trajectory"), Step(slot=5, op="median", light=Light.SRGB))),
            Branch(p=0.2, steps=(Step(slot=6, op="defocus", node={"blades": Choice((0, 6, 7))}),)),
            Branch(p=0.2, steps=(Step(slot=7, op="shift"), Step(slot=8, op="linear_motion"))),
        ),
    ),
    Step(slot=9, op="noise", prob=0.8),
    Step(slot=10, op="jpeg", prob=0.7),
    light=Light.LINEAR,
)


def repeated(taken: list[Taken], spec: Spec) -> list[Taken]:
    """Drawn steps after a way through JSON."""
    records = as_records(taken, light=spec.light, key=(0, 0), kernels={})
    return from_records(json.loads(json.dumps(records)), OPERATIONS, light=spec.light.value)


def test_a_record_alone_makes_the_same_pair_bit_for_bit():
    image, branches = texture(90, 100), set()
    for index in range(24):
        taken = taken_of(EVERYTHING, index=index)
        again = repeated(taken, EVERYTHING)
        assert again == taken
        made, remade = (degrade(image, steps, cut=4, index=index) for steps in (taken, again))
        assert made.blurry.tobytes() == remade.blurry.tobytes()
        assert (made.sharp is None) == (remade.sharp is None) == (not taken[0].applied)
        assert made.sharp is None or made.sharp.tobytes() == remade.sharp.tobytes()
        branches.add(taken[1].branch)
    assert branches == {0, 1, 2, 3}


def test_records_say_what_was_drawn():
    taken = [
        Taken(slot=1, op="highlights", applied=False),
        Taken(slot=2, op="mix", branch=1),
        Taken(slot=4, op="gaussian", params=Gaussian(sigma=0.1 + 0.2), light=Light.SRGB),
        Taken(slot=5, op="jpeg", params=jpeg.Jpeg(quality=84), light=Light.LINEAR),
    ]
    records = as_records(taken, light=Light.LINEAR, key=(12, 3), kernels={})
    assert json.loads(json.dumps(records)) == [
        {"slot": 1, "op": "highlights", "applied": False},
        {"slot": 2, "op": "mix", "branch": 1},
        {"slot": 4, "op": "gaussian", "params": {"sigma": 0.30000000000000004, "engine": "float", "form": "sampled"},
         "light": "srgb", "stream": [12, 3, 4, 1]},
        {"slot": 5, "op": "jpeg", "params": {"quality": 84, "subsampling": "420"}, "stream": [12, 3, 5, 1]},
    ]  # fmt: skip


def test_a_direction_changed_by_a_ten_millionth_gives_another_picture():
    spec = spec_of(Step(slot=1, op="trajectory"))
    taken, image = taken_of(spec), texture()
    record = as_records(taken, light=spec.light, key=(0, 0), kernels={})
    record[0]["params"]["angle"] += 1e-7
    turned = from_records(record, OPERATIONS, light="srgb")
    assert not np.array_equal(degrade(image, turned).blurry, degrade(image, taken).blurry)


def test_a_record_of_something_unknown_is_refused():
    with pytest.raises(MissingError, match="the degradation swirl, which no plugin here brings"):
        from_records([{"slot": 1, "op": "swirl", "params": {}}], OPERATIONS, light="srgb")
    with pytest.raises(UsageError, match="no parameters of Gaussian"):
        from_records([{"slot": 1, "op": "gaussian", "params": {"radius": 1}}], OPERATIONS, light="srgb")


# A plugin's operation


def test_a_plugins_kernel_needs_neither_draw_nor_apply():
    spec = spec_of(Step(slot=1, op="shift", node={"length": Constant(6)}))
    taken, image = taken_of(spec), np.zeros((41, 41, 1), np.float32)
    image[20, 20] = 1
    assert taken[0].params == Shift(length=6.0)
    degraded = degrade(image, taken)
    moved = round(6 * streams()(slot=1, role=Role.FIELD).random())
    assert centroid(degraded.kernels[1]) == (moved, 0)
    assert degraded.blurry[20, 20 + moved, 0] == 1
    assert 0 <= taken_of(spec_of(Step(slot=1, op="shift")))[0].params.length < 9


FAULTS: dict[str, tuple[str, Callable[..., object], str]] = {
    "raises": ("apply", lambda image, params, rng: 1 / 0, "failed in apply: ZeroDivisionError"),
    "exits": ("apply", lambda image, params, rng: sys.exit(3), "failed in apply: called sys.exit(3)"),
    "shrinks": ("apply", lambda image, params, rng: image[1:], "its apply returned float32 of shape (8, 9, 1)"),
    "nothing": ("apply", lambda image, params, rng: None, "its apply returned nothing"),
    "nan": ("apply", lambda image, params, rng: image * np.float32(np.nan), "values that are not finite"),
    "even": ("kernel", lambda params, rng: np.full((4, 4), 1 / 16), "not one of equal, odd sides"),
    "bright": ("kernel", lambda params, rng: np.ones((3, 3)), "a kernel that sums to 9, not to 1"),
    "undrawn": ("draw", lambda node, rng, number: None, "its draw returned nothing, not Shift"),
    "backwards": ("bound", lambda node: -5, "its bound returned -5 px"),
}  # fmt: skip
"""Faults of plugins: where, the function, and what is said of it."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_plugin_is_an_error_with_its_name_and_no_wrong_picture(fault):
    role, _, message = FAULTS[fault]
    sound = {"bound": 9, "kernel" if role != "apply" else "apply": f"{__name__}:shift_kernel"}
    functions = {**sound, role: f"{__name__}:FAULTY.{fault}"}
    declared = Degradation(name="faulty", summary="s", params=f"{__name__}:Shift", **functions)
    spec = spec_of(Step(slot=1, op="faulty"), border=Border.CROP_VALID)

    def make() -> None:
        taken = draw_steps(spec, {"faulty": declared}, streams=streams(), number=0)
        margin(spec, {"faulty": declared})
        image = np.zeros((9, 9, 1), np.float32)
        apply_steps(
            image,
            taken,
            {"faulty": declared},
            streams=streams(),
            window=Window(whole_height=9, whole_width=9),
            keep=lambda it: it,
        )

    with pytest.raises(PictureError, match="the degradation faulty .*" + re.escape(message)):
        make()


FAULTY = SimpleNamespace(**{name: function for name, (_, function, _) in FAULTS.items()})
