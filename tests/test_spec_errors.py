"""What is wrong with a spec is said at once, a line for each error, with the line of the file it stands on."""

import logging
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deblur_cli.blur import DEGRADATIONS
from deblur_cli.blur.positions import lines_of_keys
from deblur_cli.blur.spec import (
    Spec,
)
from deblur_cli.blur.spec_file import parse_spec, preset, preset_names, preset_text, read_spec
from deblur_cli.blur.toml_writer import toml_document
from deblur_cli.errors import UsageError

OPERATIONS = {item.name: item for item in DEGRADATIONS}

# The example with which the format was settled, whose lines the errors below name.
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


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            changed("schema = 1", "schema = 2"),
            "mix.toml:1: schema: 2 is newer than this program understands (1)",
        ),
        (
            changed('"linear"', '"lin"'),
            'mix.toml:4: light: "lin" is not one of srgb, linear, gamma2.2, crf:FILE',
        ),
        (
            changed("boost", "boots"),
            'mix.toml:17: step[0].boots: unknown key for highlights (did you mean "boost"?)',
        ),
        (
            changed("[0.7, 6.0]", "[6, 0.7]"),
            "mix.toml:24: step[1].branch[2].step[0].radius: uniform low 6 > high 0.7",
        ),
        (
            changed("p = 0.20", "p = 0.15"),
            "mix.toml:20: step[1] mix: probabilities sum to 0.95, must be 1",
        ),
        (
            changed("seed = 2", "seed 2"),
            'mix.toml:3:6: TOML syntax: expected "=" after a key',
        ),
    ],
)
def test_an_error_names_file_line_key_and_rule(text: str, line: str) -> None:
    assert errors_of(text) == [line]


def test_the_line_is_that_of_the_very_key_in_tables_of_branches() -> None:
    text = (
        HEAD
        + '[[step]]\nop = "mix"\n\n[[step.branch]]  # first\np = 1.0\n\n[[step.branch.step]]\nop = "defocus"\n'
        "radius = { uniform = [\n  6.0,  # px\n  0.7,\n] }\n"
    )
    assert errors_of(text) == ["mix.toml:12: step[0].branch[0].step[0].radius: uniform low 6 > high 0.7"]


def test_blur_after_jpeg_is_warned_of_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    text = MIX_TEXT + '\n[[step]]\nop = "camera_shake"\n'
    with caplog.at_level(logging.WARNING):
        parse(text)
    assert caplog.messages == [
        "mix.toml:43: step[4] camera_shake after jpeg breaks the physical order (warning)"
    ]


def test_the_physical_order_is_followed_into_branches_and_out_of_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    branch = '{ p = 0.5, step = [{ op = "noise" }, { op = "median" }] }, { p = 0.5, step = [{ op = "box" }, { op = "identity" }] }'
    parse(
        f'{HEAD}[[step]]\nop = "mix"\nbranch = [{branch}]\n[[step]]\nop = "identity"\n[[step]]\nop = "highlights"\n'
    )
    assert caplog.messages == [
        "mix.toml:6: step[0].branch[0].step[1] median after noise breaks the physical order (warning)",
        "mix.toml:10: step[2] highlights after noise breaks the physical order (warning)",
    ]


@pytest.mark.parametrize("name", preset_names())
def test_no_preset_breaks_the_physical_order(name: str, caplog: pytest.LogCaptureFixture) -> None:
    preset(name, OPERATIONS)
    assert caplog.messages == []


def test_all_errors_of_a_file_are_said_at_once_in_its_order() -> None:
    text = MIX_TEXT
    for old, new in [
        ("seed = 20260115", "seed = -1"), ("p = 0.20", "p = 0.15"), ("blades", "blade"), ("[0.7, 6.0]", "[6, 0.7]"),
        ('"gaussian"', '"gausian"'), ('"420", "444"', '"42", "444"'), ("test = 0.05", "test = 0.5"), ("bits = 8", "bits = 16"),
    ]:  # fmt: skip
        text = changed(old, new, text)
    assert errors_of(text) == [
        "mix.toml:3: seed: -1 must be a whole number from 0 to 9223372036854775807",
        "mix.toml:11: output.bits: only 8 can be written",
        "mix.toml:12: output.splits: shares sum to 1.45, must be 1",
        "mix.toml:20: step[1] mix: probabilities sum to 0.95, must be 1",
        'mix.toml:24: step[1].branch[2].step[0].blade: unknown key for defocus (did you mean "blades"?)',
        "mix.toml:24: step[1].branch[2].step[0].radius: uniform low 6 > high 0.7",
        'mix.toml:26: step[1].branch[4].step[0].op: there is no operation "gausian" (did you mean "gaussian"?)',
        'mix.toml:40: step[3].subsampling: "42" is not one of 444, 422, 420 (did you mean "422"?)',
    ]


@pytest.mark.parametrize(
    ("step", "rule"),
    [
        ('op = "gaussian"\nsigma = 80', "sigma: 80 must be from 0 to 64 px"),
        ('op = "gaussian"\nsigma = { uniform = [1, 64.5] }', "sigma: 64.5 must be from 0 to 64 px"),
        ('op = "gaussian"\nsigma = 1e308', "sigma: 1e+308 must be from 0 to 64 px"),
        ('op = "gaussian"\nsigma = { integers = [0, 9223372036854775807] }', "sigma: 9.22337203685478e+18 must be from 0 to 64 px"),
        ('op = "gaussian"\nsigma = { log_uniform = [5e-324, 3] }', "sigma: log_uniform low 4.94066e-324 is too near 0 to divide 3 by it; raise it"),
        ('op = "gaussian"\nsigma = { choice = [1, 2], weights = [1e308, 1e308] }', "sigma: choice weights must be 0 or more, one above 0, and their sum finite"),
        ('op = "gaussian"\nsigma = { normal = [1, 0.5], within = [1, 1] }', "sigma: within [1, 1] holds hardly anything of a normal distribution of mean 1 and sd 0.5; widen it, or write a single number"),
        ('op = "gaussian"\nsigma = -1e-9', "sigma: -1e-09 must be from 0 to 64 px"),
        ('op = "gaussian"\nsigma = nan', "sigma: nan must be a number"),
        ('op = "gaussian"\nsigma = true', "sigma: true must be a number"),
        ('op = "gaussian"\nsigma = [0, 3]', "sigma: [0, 3] must be a number"),
        ('op = "gaussian"\nsigma = 1979-05-27', "sigma: 1979-05-27 must be a number"),
        ('op = "gaussian"\nsigma = {}', "sigma: an empty table is no distribution; there are uniform, log_uniform, integers, choice, normal, cycle"),
        ('op = "gaussian"\nsigma = { unform = [0, 3] }', 'sigma: "unform" is no distribution (did you mean "uniform"?)'),
        ('op = "gaussian"\nsigma = { uniform = [0, 3], cycle = [1] }', "sigma: uniform and cycle are two distributions; keep one"),
        ('op = "gaussian"\nsigma = { uniform = [0, 3], step = 1 }', 'sigma: uniform takes nothing beside it, not "step"'),
        ('op = "gaussian"\nsigma = { choice = [1, 2], weight = [1, 1] }', 'sigma: choice takes beside it only weights, not "weight"'),
        ('op = "gaussian"\nsigma = { uniform = [0] }', "sigma: uniform must be [low, high], not [0]"),
        ('op = "gaussian"\nsigma = { uniform = ["0", 1] }', 'sigma: uniform must be [low, high], not ["0", 1]'),
        ('op = "gaussian"\nsigma = { log_uniform = [0, 1] }', "sigma: log_uniform low 0 must be above 0"),
        ('op = "gaussian"\nsigma = { choice = [] }', "sigma: choice has no values"),
        ('op = "gaussian"\nsigma = { choice = 3 }', "sigma: choice must be an array of values"),
        ('op = "gaussian"\nsigma = { cycle = [1, 100] }', "sigma: 100 must be from 0 to 64 px"),
        ('op = "gaussian"\nsigma = { choice = [1, 2], weights = [1] }', "sigma: choice has 2 values but 1 weights"),
        ('op = "gaussian"\nsigma = { choice = [1, 2], weights = [-1, 2] }', "sigma: choice weights must be 0 or more, one above 0, and their sum finite"),
        ('op = "gaussian"\nsigma = { choice = [1, 2], weights = [inf, 2] }', "sigma: weights must be an array of numbers, not [inf, 2]"),
        ('op = "gaussian"\nsigma = { normal = [1, 1] }', "sigma: normal needs within = [low, high]"),
        ('op = "gaussian"\nsigma = { normal = [1, 0], within = [0, 1] }', "sigma: normal sd 0 must be above 0"),
        ('op = "gaussian"\nsigma = { integers = [1.5, 3] }', "sigma: integers, and their step, must be whole numbers"),
        ('op = "gaussian"\nsigma = { integers = [1, 3], step = 0 }', "sigma: integers step 0 must be 1 or more"),
        ('op = "gaussian"\nform = "sample"', 'form: "sample" is not one of sampled, integrated (did you mean "sampled"?)'),
        ('op = "gaussian"\nform = { uniform = [0, 1] }', "form: uniform gives numbers; it must be one of sampled, integrated, or a choice or cycle of them"),
        ('op = "gaussian_k"\ntable = 1', "table: 1 must be true or false"),
        ('op = "gaussian_k"\nk = 5.0', "k: 5.0 must be a whole number"),
        ('op = "median"\nk = { integers = [3, 7] }', "k: 4 must be odd, from 1 to 31 px"),
        ('op = "median"\nk = { uniform = [3, 7] }', "k: uniform gives fractions; use integers, choice or cycle"),
        ('op = "median"\nk = 100000000000000000000', "k: 100000000000000000000 must be a whole number"),
        ('op = "linear_motion"\nangle = 361', "angle: 361 must be from -360 to 360 deg"),
        ('op = "identity"\nprob = 1.5', "prob: 1.5 must be a number from 0 to 1"),
        ('op = "identity"\nlight = 5', "light: 5 must be one of srgb, linear, gamma2.2, crf:FILE"),
        ('op = "jpeg"\nlight = "linear"', "light: jpeg acts on the code values that are stored, so it is always srgb"),
        ('op = "identity"\nbranch = []', "branch: unknown key for identity; known: light, op, prob"),
        ('op = "mix"', "branch: missing; a mix needs branches"),
        ('op = "mix"\nbranch = [1]', "branch: [1] must be an array of tables, each under [[step.branch]]"),
        ('op = "mix"\nselect = "turn"\nbranch = [{ p = 1, step = [{ op = "identity" }] }]', 'select: "turn" is not one of random, cycle'),
        ('op = "mix"\nlight = "srgb"\nbranch = [{ p = 1, step = [{ op = "identity" }] }]', "light: unknown key for mix; known: branch, op, prob, select"),
        ('op = "mix"\nbranch = [{ p = 1 }]', 'branch[0].step: missing; a branch that changes nothing has step = [{ op = "identity" }]'),
        ('op = "mix"\nbranch = [{ step = [{ op = "identity" }] }]', "branch[0].p: missing; it must be a number from 0 to 1"),
        ('op = "mix"\nbranch = [{ p = 1, steps = 1, step = [{ op = "identity" }] }]', 'branch[0].steps: unknown key for a branch (did you mean "step"?)'),
        ("prob = 1", "op: missing; it must be the name of an operation"),
        ("op = 3", "op: 3 must be the name of an operation"),
    ],
)  # fmt: skip
def test_a_step_that_breaks_a_rule_is_refused(step: str, rule: str) -> None:
    (line,) = errors_of(f"{HEAD}[[step]]\n{step}")
    assert re.sub(r"^mix\.toml:\d+: step\[0\]\.", "", line) == rule


FRAMES = '[[step]]\nop = "frame_average"\n'


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('name = "a"\nseed = 1\n' + STEP, "1: schema: missing; it must be a whole number, 1 or more"),
        ('schema = 0\nname = "a"\nseed = 1\n' + STEP, "1: schema: 0 must be a whole number, 1 or more"),
        ('schema = 1\nseed = 1\n' + STEP, "1: name: missing; it must be a text"),
        ('schema = 1\nname = ""\nseed = 1\n' + STEP, '2: name: "" must be a text'),
        ('schema = 1\nname = "a"\nseed = 9223372036854775808\n' + STEP, "3: seed: 9223372036854775808 must be a whole number from 0 to 9223372036854775807"),
        (HEAD + "drwas = 2\n" + STEP, '4: drwas: unknown key (did you mean "draws"?)'),
        (HEAD + "draws = 0\n" + STEP, "4: draws: 0 must be a whole number, 1 or more"),
        (HEAD + 'source = "image"\n' + STEP, '4: source: "image" is not one of images, frames, pairs, cifar10 (did you mean "images"?)'),
        (HEAD + 'border = "reflect"\n' + STEP, '4: border: "reflect" is not one of reflect101, replicate, crop-valid (did you mean "reflect101"?)'),
        (HEAD + "patch = [256]\n" + STEP, "4: patch: [256] must be [height, width], two whole numbers above 0"),
        (HEAD + "patch = [256, 0]\n" + STEP, "4: patch: [256, 0] must be [height, width], two whole numbers above 0"),
        (HEAD + "flips = 1\n" + STEP, "4: flips: 1 must be true or false"),
        (HEAD + 'redraw = "always"\n' + STEP, '4: redraw: "always" is not one of epoch, never'),
        (HEAD + "patches = 2\n" + STEP, "4: patches: 2 needs patch = [height, width]"),
        (HEAD + "candidates = 2\n" + STEP, "4: candidates: 2 needs patch = [height, width]"),
        (HEAD + "patch = [8, 8]\ngrid = [2, 2]\n" + STEP, "5: grid: a grid cuts whole pictures, so it cannot stand beside patch"),
        (HEAD + "resize = 3\n" + STEP, "4: resize: 3 must be a table"),
        (HEAD + "resize = {}\n" + STEP, "4: resize.size: either size = [width, height] or scale must be given"),
        (HEAD + "resize = { scale = 0.5, size = [4, 4] }\n" + STEP, "4: resize.size: either size = [width, height] or scale must be given"),
        (HEAD + "resize = { scale = 0 }\n" + STEP, "4: resize.scale: 0 must be a number from 0.01 to 16"),
        (HEAD + 'resize = { size = [8, 8], filter = "cubic" }\n' + STEP, '4: resize.filter: "cubic" is not one of bilinear, area, bicubic, nearest (did you mean "bicubic"?)'),
        (HEAD + "resize = { size = [8, 8], antialiased = true }\n" + STEP, '4: resize.antialiased: unknown key for resize (did you mean "antialias"?)'),
        (HEAD + "resize = { size = [512, 288] }\ngrid = [3, 5]\n" + STEP, "5: grid: 3 rows of 5 do not divide 512x288 evenly"),
        (HEAD + "resize = { size = [8, 99999] }\n" + STEP, "4: resize.size: [8, 99999] is more than the 32767 px a side that a picture may have"),
        (HEAD + "patch = [8, 8]\ncandidates = 99999999\n" + STEP, "5: candidates: 99999999 must be a whole number from 1 to 1000"),
        (HEAD + "resize = { size = [512, 288] }\npatch = [300, 300]\n" + STEP, "5: patch: 300x300 is more than pictures of 512x288 have"),
        (HEAD + 'source = "cifar10"\nborder = "crop-valid"\n[[step]]\nop = "defocus"\nradius = 16', "5: border: 35x35 with the margin of 17 px at each edge that crop-valid needs is more than pictures of 32x32 have"),
        (HEAD + STEP + '[output]\nformat = "jpg"', '7: output.format: only "png" can be written'),
        (HEAD + STEP + '[output]\nsplits = { train = 0.9, "../val" = 0.1 }', '7: output.splits."../val": unknown key for splits (did you mean "val"?)'),
        (HEAD + STEP + "[output]\nsplits = { train = 2 }", "7: output.splits.train: 2 must be a number from 0 to 1"),
        (HEAD + STEP + '[output]\ngroup = "scene"', '7: output.group: "scene" is not one of file, folder'),
        (HEAD + STEP + '[output]\ngrup = "file"', '7: output.grup: unknown key for output (did you mean "group"?)'),
        (HEAD, '1: step: missing; to change nothing, add a [[step]] with op = "identity"'),
        (HEAD + '[step]\nop = "identity"', '4: step: { op = "identity" } must be an array of tables, each under [[step]]'),
        (HEAD + 'source = "pairs"\nstep = [{ op = "jpeg" }, { op = "gaussian" }]', '5: step[1].op: the pictures of source = "pairs" are blurred already, so gaussian comes too late; take jpeg or noise'),
        (HEAD + 'source = "pairs"\nstep = [{ op = "mix", branch = [{ p = 1, step = [{ op = "highlights" }] }] }]', '5: step[0].branch[0].step[0].op: the pictures of source = "pairs" are blurred already, so highlights comes too late; take jpeg or noise'),
        (HEAD + 'source = "pairs"\ndraws = 2', "5: draws: 2 draws of whole pairs are all alike; add patch = [height, width]"),
        (HEAD + FRAMES, '5: step[0].op: frame_average needs source = "frames", not "images"'),
        (HEAD + 'source = "frames"\n' + STEP, "5: step: the first step of a spec of frames must be frame_average"),
        (HEAD + 'source = "frames"\n' + FRAMES + FRAMES, "8: step[1].op: frame_average must be the first step, and in no mix"),
        (HEAD + 'source = "frames"\n' + FRAMES + "prob = 0.5", "7: step[0].prob: frame_average makes one picture of several, so it cannot be left out"),
        (HEAD + 'source = "frames"\n' + FRAMES + '[output]\ngroup = "file"', '8: output.group: frames of one clip must stay in one part; write "folder"'),
    ],
)  # fmt: skip
def test_a_file_that_breaks_a_rule_is_refused(text: str, rule: str) -> None:
    assert errors_of(text) == [f"mix.toml:{rule}"]


def test_an_odd_key_cannot_break_a_line() -> None:
    assert errors_of(HEAD + '"a\\nb.c" = 1\n' + STEP)[0].startswith(
        'mix.toml:4: "a\\nb.c": unknown key; known: border'
    )


def test_a_long_value_is_cut_off_in_its_error() -> None:
    (line,) = errors_of(f'{HEAD}light = "{"x" * 5}"\nflips = "{"y" * 500}"\n{STEP}')[1:]
    assert line == f'mix.toml:5: flips: "{"y" * 56}... must be true or false'


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("schema = 1\nname", 'mix.toml:2:5: TOML syntax: expected "=" after a key'),
        ("schema = ", "mix.toml:1:10: TOML syntax: "),
        ("schema = 1\nschema = 1", "mix.toml:2:11: TOML syntax: cannot overwrite a value"),
        (f"a = {'[' * 3000}", "mix.toml:1: TOML syntax: nested too deeply"),
        (f"a = {'[' * 100}{']' * 100}", "mix.toml:1: TOML syntax: nested too deeply"),
        (f"a{'.a' * 3000} = 1", "mix.toml:1: TOML syntax: nested too deeply"),
    ],
)
def test_what_is_no_toml_is_refused_with_its_place(text: str, start: str) -> None:
    (line,) = errors_of(text)
    assert line.startswith(start)


def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes(HEAD.encode() + b"# caf\xe9\n")
    with pytest.raises(UsageError, match=r"latin\.toml:4: TOML syntax: byte 0xe9 is not UTF-8"):
        read_spec(latin, OPERATIONS)
    with pytest.raises(UsageError, match=r"cannot read the spec .*: is a directory"):
        read_spec(tmp_path, OPERATIONS)
    with pytest.raises(
        UsageError, match=r"mix\.toml:4: light: cannot read the curve .*none\.csv: no such file"
    ):
        parse(HEAD + 'light = "crf:none.csv"\n' + STEP)


# The lines of keys

LINES = '''# comment = 1
a = 1
"b.c" . 'd' = """
e = 2
\\"""" # f = 3
[t]
  g = [ # ]
    1979-05-27 07:32:00, 'x] # "', "\\"",
    { h = 1, i.j = [] },
  ]
  [t.u.'v w']
[[k]]
[[k]]
l = {m = -inf}
[k.n]
o = \'\'\'
\'\'\'\'\'
[[k.p]]
q = ""
'''


def test_the_line_of_each_key_is_found_whatever_stands_between() -> None:
    assert lines_of_keys(LINES) == {
        ("a",): 2, ("b.c",): 3, ("b.c", "d"): 3, ("t",): 6, ("t", "g"): 7, ("t", "g", 0): 8, ("t", "g", 1): 8,
        ("t", "g", 2): 8, ("t", "g", 3): 9, ("t", "g", 3, "h"): 9, ("t", "g", 3, "i"): 9, ("t", "g", 3, "i", "j"): 9,
        ("t", "u"): 11, ("t", "u", "v w"): 11, ("k",): 12, ("k", 0): 12, ("k", 1): 13, ("k", 1, "l"): 14,
        ("k", 1, "l", "m"): 14, ("k", 1, "n"): 15, ("k", 1, "n", "o"): 16, ("k", 1, "p"): 18, ("k", 1, "p", 0): 18,
        ("k", 1, "p", 0, "q"): 19,
    }  # fmt: skip


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(TEXTS, VALUES, max_size=5)


def paths_of(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    items: Sequence[tuple[str | int, object]] = ()
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, item in items:
        yield (*path, key)
        yield from paths_of(item, (*path, key))


@given(document=DOCUMENTS)
def test_whatever_is_written_is_read_back_and_all_its_keys_have_a_line(document: dict[str, object]) -> None:
    text = toml_document(document)
    assert tomllib.loads(text) == document
    lines = lines_of_keys(text)
    assert set(lines) == set(paths_of(document))
    for path, line in lines.items():
        if isinstance(path[-1], str) and path[-1].isascii() and path[-1].isalnum():
            assert path[-1] in text.split("\n")[line - 1]


KEYS = st.sampled_from(sorted({".".join(map(str, path)) for path in paths_of(tomllib.loads(MIX_TEXT))}))


@given(
    name=KEYS | st.sampled_from(["resize", "grid", "source", "resize.size", "output.splits.x", "step.0.light", "step.1.select"]),
    value=TEXTS | VALUES.map(lambda value: toml_document({"a": value}).partition("=")[2].strip()),
)  # fmt: skip
def test_any_override_gives_a_spec_that_its_text_gives_again_or_an_error_that_names_it(
    name: str, value: str
) -> None:
    try:
        spec = parse(MIX_TEXT, f"{name}={value}")
    except UsageError as error:
        message = str(error)
    else:
        assert parse(spec.text) == spec
        return
    assert re.match("--set |mix.toml:", message)
