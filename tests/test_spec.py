"""What a file says, a spec holds: its steps, presets, single values that were overridden, and the text that gives it again."""

import math
import re
import tomllib
from pathlib import Path

import pytest

from deblur_cli.blur import DEGRADATIONS
from deblur_cli.blur.borders import Border
from deblur_cli.blur.describe import as_toml, describe_operation
from deblur_cli.blur.distributions import Choice, Constant, Cycle, Integers, LogUniform, Normal, Uniform
from deblur_cli.blur.light import Light, Response
from deblur_cli.blur.spec import (
    Filter,
    Group,
    Mix,
    Redraw,
    Resize,
    Select,
    SourceKind,
    Spec,
    Step,
    margin,
    walk,
)
from deblur_cli.blur.spec_file import parse_spec, preset, preset_names, preset_text, read_spec, spec_named
from deblur_cli.errors import UsageError

OPERATIONS = {item.name: item for item in DEGRADATIONS}

# The example with which the format was settled, from its first key on.
MIX = preset_text("photo-mix").partition("schema = 1")
MIX_TEXT = "".join(MIX[1:])

HEAD = 'schema = 1\nname = "a"\nseed = 1\n'
STEP = '[[step]]\nop = "identity"\n'


def parse(text: str, *overrides: str) -> Spec:
    return parse_spec(text, OPERATIONS, file="mix.toml", folder=Path(), overrides=overrides)


def errors_of(text: str, *overrides: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        parse(text, *overrides)
    return str(caught.value).split("\n")


def changed(old: str, new: str, text: str = MIX_TEXT) -> str:
    """The text with one thing in it changed."""
    assert text.count(old) == 1, old
    return text.replace(old, new)


def node_of(step: str) -> dict[str, object]:
    """The parameters of a spec of one step."""
    (found,) = parse(f"{HEAD}[[step]]\n{step}").steps
    assert isinstance(found, Step)
    return dict(found.node)


# What a file says


def test_the_example_is_read_with_every_step_numbered_depth_first() -> None:
    spec = parse(MIX_TEXT)
    assert [(step.slot, "mix" if isinstance(step, Mix) else step.op) for step in walk(spec.steps)] == [
        (1, "highlights"),
        (2, "mix"),
        (3, "camera_shake"),
        (4, "trajectory"),
        (5, "defocus"),
        (6, "camera_shake"),
        (7, "defocus"),
        (8, "gaussian"),
        (9, "identity"),
        (10, "noise"),
        (11, "jpeg"),
    ]
    assert (spec.name, spec.seed, spec.light, spec.border) == (
        "photo-mix",
        20260115,
        Light.LINEAR,
        Border.CROP_VALID,
    )
    assert (spec.patches, spec.patch, spec.draws) == (4, (256, 256), 1)
    highlights, mix, noise, jpeg = spec.steps
    assert highlights == Step(slot=1, op="highlights", prob=0.3, node={"boost": LogUniform(1, 8)})
    assert isinstance(mix, Mix)
    assert [branch.p for branch in mix.branches] == [0.42, 0.20, 0.15, 0.08, 0.07, 0.08]
    assert mix.prob is None
    assert isinstance(noise, Step)
    assert noise.node["kind"] == Constant("poisson_gaussian")
    assert isinstance(jpeg, Step)
    assert jpeg.node == {"quality": Integers(60, 98), "subsampling": Choice(("420", "444"))}


def test_its_margin_is_that_of_the_widest_branch() -> None:
    # The trajectory's bound, ceil(60 / 2) + 1, is the greatest: the shake's is 25, shake and defocus have 13 + 3.
    assert margin(parse(MIX_TEXT), OPERATIONS) == 31


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2", Constant(2.0)),
        ("{ uniform = [0, 3] }", Uniform(0, 3)),
        ("{ log_uniform = [1, 8] }", LogUniform(1, 8)),
        ("{ integers = [7, 13], step = 2 }", Integers(7, 13, 2)),
        ("{ choice = [5, 9, 13] }", Choice((5.0, 9.0, 13.0))),
        ("{ choice = [1, 2], weights = [0.5, 1] }", Choice((1.0, 2.0), (0.5, 1.0))),
        ("{ normal = [2, 1], within = [0, 4] }", Normal(2, 1, 0, 4)),
        ("{ cycle = [1, 2] }", Cycle((1.0, 2.0))),
    ],
)
def test_every_form_of_a_distribution_is_read_and_written(written: str, expected: Uniform) -> None:
    assert node_of(f'op = "gaussian"\nsigma = {written}') == {"sigma": expected}
    assert tomllib.loads(f"a = {as_toml(expected)}") == tomllib.loads(f"a = {written}")


def test_angles_stay_in_degrees() -> None:
    node = node_of('op = "linear_motion"\nlength = 5\nangle = { uniform = [0, 90] }')
    assert node["angle"] == Uniform(0, 90)


def test_all_other_keys_are_read() -> None:
    spec = parse(
        HEAD
        + 'source = "frames"\nlight = "gamma2.2"\ndraws = 2\ngrid = [2, 4]\nflips = true\nredraw = "never"\n'
        'resize = { size = [640, 360], filter = "area", antialias = true }\n'
        'output = { splits = { train = 0.5, val = 0.5 } }\n[[step]]\nop = "frame_average"\nwindow = 7\nlight = "linear"\n'
    )
    assert spec.source is SourceKind.FRAMES
    assert spec.resize == Resize(size=(640, 360), filter=Filter.AREA, antialias=True)
    assert (spec.light, spec.steps[0].light) == (Light.GAMMA22, Light.LINEAR)
    assert (spec.draws, spec.grid, spec.flips, spec.redraw) == (2, (2, 4), True, Redraw.NEVER)
    assert spec.output.splits == {"train": 0.5, "val": 0.5}
    assert spec.output.group is Group.FOLDER, "frames of one clip stay together unless said otherwise"
    assert parse(HEAD + "patch = [8, 9]\ncandidates = 3\n" + STEP).candidates == 3


def test_what_is_left_out_has_its_default() -> None:
    spec = parse(HEAD + STEP)
    assert spec == Spec(name="a", seed=1, steps=(Step(slot=1, op="identity"),), text=HEAD + STEP)


def test_branches_as_tables_and_inline_are_the_same() -> None:
    inline = parse(
        HEAD
        + '[[step]]\nop = "mix"\nbranch = [{ p = 0.25, step = [{ op = "identity" }, { op = "median", k = 3 }] },'
        ' { p = 0.75, step = [{ op = "box", k = 3 }] }]\n'
    )
    tables = parse(
        HEAD + '[[step]]\nop = "mix"\n[[step.branch]]\np = 0.25\n[[step.branch.step]]\nop = "identity"\n'
        '[[step.branch.step]]\nop = "median"\nk = 3\n'
        '[[step.branch]]\np = 0.75\n[[step.branch.step]]\nop = "box"\nk = 3\n'
    )
    assert inline.steps == tables.steps


def test_a_mix_in_turn_needs_no_probabilities() -> None:
    (mix,) = preset("kernel-study-s1", OPERATIONS).steps
    assert isinstance(mix, Mix)
    assert mix.select is Select.CYCLE
    assert math.fsum(branch.p for branch in mix.branches) == pytest.approx(1)


def test_a_cameras_curve_is_looked_for_beside_the_file_and_found_again_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text("\n".join(str((code / 255) ** 2) for code in range(256)))
    (tmp_path / "a.toml").write_text(f'{HEAD}light = "crf:curve.csv"\n{STEP}light = "crf:curve.csv"\n')
    spec = read_spec(tmp_path / "a.toml", OPERATIONS)
    assert isinstance(spec.light, Response)
    assert spec.light.table[255] == 1
    assert spec.steps[0].light == spec.light
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "spec.toml").write_text(spec.text, encoding="utf-8")
    assert read_spec(elsewhere / "spec.toml", OPERATIONS) == spec


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xef\xbb\xbf" + MIX_TEXT.replace("\n", "\r\n").encode())
    assert read_spec(file, OPERATIONS) == parse(MIX_TEXT)


# Presets


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_gives_its_spec_again_from_its_text(name: str) -> None:
    spec = preset(name, OPERATIONS)
    assert spec.name == name
    assert spec.text == preset_text(name)
    assert spec.text.startswith("# "), "a preset says where it comes from"
    assert parse(spec.text) == spec


@pytest.mark.parametrize("name", preset_names())
def test_an_overridden_preset_gives_its_spec_again_from_its_text(name: str) -> None:
    spec = preset(name, OPERATIONS, overrides=["seed=99", "flips=true", 'name="a \\"b\\" \\\\ \\u007f é"'])
    assert (spec.seed, spec.flips, spec.name) == (99, True, 'a "b" \\ \x7f é')
    assert parse(spec.text) == spec


def test_the_presets_are_those_of_the_reports() -> None:
    seeds = {name: preset(name, OPERATIONS).seed for name in preset_names()}
    assert seeds == {
        "cifar10-s0": 42, "cifar10-s2": 2, "cifar10-s3": 3, "gaussian": 7, "kernel-study-s1": 5913, "reds-s0-512": 42,
        "reds-s0-256": 42, "gopro-256": 256, "gopro-256-resize": 256, "gopro-256-nearest": 256, "gopro_7_13": 713, "gopro_7_23": 723, "trajectory": 2018,
        "camera-shake": 2609, "defocus": 1010, "photo-mix": 20260115, "photo-train": 20261122, "pairs-jpeg75": 75, "pairs-noise5": 5,
        "kodak-shake": 24, "kodak-shake-jpeg75": 24, "kodak-shake-noise5": 24, "kodak-trajectory": 24, "kodak-defocus": 24,
        "kodak-gaussian": 24, "kodak-identity": 24,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "op", "node"),
    [
        ("cifar10-s0", "gaussian", {"sigma": Uniform(0, 3), "engine": Constant("opencv-u8")}),
        ("cifar10-s3", "gaussian", {"sigma": Uniform(0, 3), "engine": Constant("opencv-u8")}),
        ("gaussian", "gaussian", {"sigma": Uniform(0, 3)}),
        ("gopro_7_13", "frame_average", {"window": Integers(7, 13, 2), "ghost": Constant("allow")}),
        ("gopro_7_23", "frame_average", {"window": Integers(7, 23, 2), "ghost": Constant("refuse")}),
        ("defocus", "defocus", {"radius": Uniform(0.5, 6), "blades": Constant(0)}),
    ],
)
def test_a_preset_has_the_steps_of_its_report(name: str, op: str, node: dict[str, object]) -> None:
    (step,) = preset(name, OPERATIONS).steps
    assert isinstance(step, Step)
    assert (step.op, step.node) == (op, node)


@pytest.mark.parametrize(
    ("name", "tile"), [("reds-s0-512", (96, 128)), ("reds-s0-256", (48, 64))]
)  # rows and columns of pixels, as the report has them
def test_the_tiles_of_reds_have_the_size_of_the_report(name: str, tile: tuple[int, int]) -> None:
    spec = preset(name, OPERATIONS)
    assert spec.resize is not None
    assert spec.grid is not None
    assert (spec.resize.size[1] / spec.grid[0], spec.resize.size[0] / spec.grid[1]) == tile
    assert (spec.output.splits["val"], spec.output.group) == (3000 / 24000, Group.FOLDER)


def test_an_unknown_preset_is_answered_with_near_ones() -> None:
    with pytest.raises(UsageError, match=re.escape('there is no preset "cifar-s0"; did you mean cifar10-s0')):
        spec_named("cifar-s0", OPERATIONS)
    with pytest.raises(UsageError, match="presets: camera-shake, cifar10-s0, "):
        preset("x" * 10, OPERATIONS)


def test_a_spec_is_named_by_preset_or_file(tmp_path: Path) -> None:
    (tmp_path / "gaussian").write_text(HEAD + STEP)
    (tmp_path / "b.toml").write_text(HEAD + STEP)
    assert spec_named("gaussian", OPERATIONS).name == "gaussian"
    assert spec_named(str(tmp_path / "b.toml"), OPERATIONS).name == "a"
    assert spec_named(str(tmp_path / "gaussian"), OPERATIONS).name == "a"
    with pytest.raises(UsageError, match=r"cannot read the spec missing\.toml: no such file"):
        spec_named("missing.toml", OPERATIONS)


# Overrides


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("step.0.boost=2", Constant(2.0)),
        ("step.0.boost={uniform=[1,2]}", Uniform(1, 2)),
        ("step.0.boost.log_uniform=[2,3]", LogUniform(2, 3)),
        ("step.0.boost.log_uniform.1=9.5", LogUniform(1, 9.5)),
        (" step.0.boost = 2 ", Constant(2.0)),
    ],
)
def test_an_override_sets_a_single_value(override: str, value: object) -> None:
    step = parse(MIX_TEXT, override).steps[0]
    assert isinstance(step, Step)
    assert step.node["boost"] == value


def test_overrides_reach_every_place_and_the_last_one_counts() -> None:
    spec = parse(
        MIX_TEXT, "seed=1", "seed=7", "patch=[128,64]", "step.1.branch.2.p=0.3", "step.1.branch.0.p=0.27", "light=srgb",
        "resize.size=[300,200]", "output.splits.test=0.04", "output.splits.val=0.06",
    )  # fmt: skip
    mix = spec.steps[1]
    assert isinstance(mix, Mix)
    assert [branch.p for branch in mix.branches[:3]] == [0.27, 0.2, 0.3]
    assert (spec.seed, spec.patch, spec.light, spec.resize) == (
        7, (128, 64), Light.SRGB, Resize(size=(300, 200)),
    )  # fmt: skip
    assert spec.output.splits == {"train": 0.9, "val": 0.06, "test": 0.04}
    assert parse(spec.text) == spec


def test_none_removes_a_key() -> None:
    spec = parse(MIX_TEXT, "patch=none", "patches=none", "step.0.prob=none", "step.0.boost=none")
    assert spec.patch is None
    assert spec.patches == 1
    assert spec.steps[0] == Step(slot=1, op="highlights")


def test_errors_name_the_override_they_come_from() -> None:
    text = changed("[0.7, 6.0]", "[6, 0.7]")
    assert errors_of(
        text, "step.0.boost={uniform=[0,2]}", "step.3.quality=hundred", "seed=none", "patch=[128,128"
    ) == [
        "--set step.0.boost={uniform=[0,2]}: step[0].boost: 0 must be from 1 to 100",
        '--set step.3.quality=hundred: step[3].quality: "hundred" must be a whole number',
        "--set seed=none: seed: missing; it must be a whole number from 0 to 9223372036854775807",
        '--set patch=[128,128: patch: "[128,128" must be [height, width], two whole numbers above 0',
        "mix.toml:24: step[1].branch[2].step[0].radius: uniform low 6 > high 0.7",
    ]


def test_overrides_that_lead_nowhere_are_all_named() -> None:
    assert errors_of(
        MIX_TEXT, "sigma", "step.7.p=1", "step.x=1", "seed.y=1", "step.0=none", ".=2", "name=\udcff"
    ) == [
        "--set sigma: write it as KEY=VALUE, such as step.0.sigma=2 or patch=[128,128]",
        "--set step.7.p=1: step has no '7'; it has 4, counted from 0",
        "--set step.x=1: step has no 'x'; it has 4, counted from 0",
        "--set seed.y=1: seed is a single value and has no 'y'; set seed itself",
        "--set step.0=none: an element of an array cannot be removed, which would number the others anew",
        "--set .=2: write it as KEY=VALUE, such as step.0.sigma=2 or patch=[128,128]",
        "--set name=\udcff: write it as KEY=VALUE, such as step.0.sigma=2 or patch=[128,128]",
    ]


# What an operation takes


def test_a_description_shows_units_ranges_and_defaults_as_a_spec_writes_them() -> None:
    rows = {row.key: row for row in describe_operation(OPERATIONS["linear_motion"])}
    assert (rows["angle"].unit, rows["angle"].range) == ("deg", "from -360 to 360")
    assert (rows["length"].unit, rows["length"].default) == ("px", "{ uniform = [0.0, 20.0] }")
    rows = {row.key: row for row in describe_operation(OPERATIONS["gaussian"])}
    assert (rows["form"].range, rows["form"].default) == ("sampled, integrated", '"sampled"')


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_default_may_be_written_in_a_spec(name: str) -> None:
    rows = [row for row in describe_operation(OPERATIONS[name]) if row.default != "follows from the others"]
    source = 'source = "frames"\n' if name == "frame_average" else ""
    written = "".join(f"{row.key} = {row.default}\n" for row in rows)
    (step,) = parse(f'{HEAD}{source}[[step]]\nop = "{name}"\n{written}').steps
    assert isinstance(step, Step)
    assert list(step.node) == [row.key for row in rows]
