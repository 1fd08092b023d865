"""Recipes that a user can see and change: by --set, as files, in run folders, and what is said of a bad one."""

import csv
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter

import deblur_rednet
from deblur_cli.blur.toml_writer import toml_document
from deblur_cli.errors import DeblurError
from deblur_cli.host.checks import DeclarationError
from deblur_cli.host.manager import Host
from deblur_cli.host.optimizers import Optimizer, OptimizerKind
from deblur_cli.host.recipe_values import as_values, from_values, names_of
from deblur_cli.host.recipes import Flips, Recipe, Scales, Term
from deblur_cli.host.schedules import (
    SCHEDULES,
    ConstantRate,
    Cosine,
    EarlyStopping,
    LinearToZero,
    Plateau,
    Polynomial,
    Staircase,
)
from deblur_cli.host.strategies import STRATEGIES, ConditionalGAN, Strategy, Supervised, WassersteinGP
from deblur_cli.training.choosing import Choice, choose_recipe, recipe_text

HOST = Host.discover()
REDNET = HOST.model("rednet30")
SMALL = ("model.depth=2", "model.width=8", "batch_size=4", "patch=24", "epochs=1")


def choose(*settings: str, name: str | None = None) -> Choice:
    return choose_recipe(HOST, REDNET, name, settings)


def leaves(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Values of tables inside of tables by their whole name: {"optimizer.lr": 0.001}."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= leaves(value, f"{where}{key}.") if isinstance(value, Mapping) else {where + key: value}
    return found


def changed(*settings: str, name: str | None = None) -> dict[str, Any]:
    """What the settings change, by key; None = it is gone."""
    before, now = leaves(choose(name=name).as_values()), leaves(choose(*settings, name=name).as_values())
    return {key: now.get(key) for key in {**before, **now} if before.get(key) != now.get(key)}


# --set


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("epochs=20", {}),  # as it is already
        ("epochs=21", {"epochs": 21}),
        ("optimizer.lr=2e-4", {"optimizer.lr": 2e-4}),
        ("optimizer.lr=1", {"optimizer.lr": 1.0}),
        ("optimizer.kind=adam", {"optimizer.kind": "adam"}),
        ("optimizer.betas=[0.5,0.9]", {"optimizer.betas": [0.5, 0.9]}),
        ("drop_last=false", {"drop_last": False}),
        ("flips=none", {"flips": "none"}),  # a value of its own, not the absence of one
        ("clip_norm=none", {"clip_norm": None}),
        ("start=none", {"start": None}),
        ("crops_per_pair=3", {"crops_per_pair": 3}),
        ('summary="say = it"', {"summary": "say = it"}),
        ("model.depth=5", {"model.depth": 5}),
        ("schedule.warmup_steps=7", {"schedule.warmup_steps": 7}),
        ("schedule.kind=cosine", {}),  # the same kind keeps its fields
        ("schedule=cosine", {"schedule.warmup_steps": 0}),  # the whole of it
        ("schedule=polynomial", {"schedule.kind": "polynomial", "schedule.warmup_steps": 0, "schedule.power": 1.0}),
        ("schedule.kind=plateau schedule.patience=3", {
            "schedule.kind": "plateau", "schedule.warmup_steps": 0, "schedule.patience": 3, "schedule.rate": 0.1, "schedule.min_delta": 1e-4,
        }),
        ("schedule.warmup_steps=9 schedule=constant", {  # in whatever order
            "schedule.kind": "constant", "schedule.warmup_steps": 9, "schedule.end": None,
        }),
        ("early_stopping.patience=7", {"early_stopping.patience": 7, "early_stopping.min_delta": 0.0}),
        ("early_stopping.patience=7 early_stopping=none", {"early_stopping.patience": 7, "early_stopping.min_delta": 0.0}),
        ("loss=mse", {
            "loss.mse.weight": 1.0, "loss.mse.scales": "finest", "loss.charbonnier.weight": None,
            "loss.charbonnier.scales": None, "loss.charbonnier.eps": None,
        }),
        ("loss.charbonnier=0.5", {"loss.charbonnier.weight": 0.5}),
        ("loss.charbonnier.eps=0.01 loss.charbonnier.weight=2", {
            "loss.charbonnier.weight": 2.0, "loss.charbonnier.eps": 0.01,
        }),
        ("loss.mae=0.5", {"loss.mae.weight": 0.5, "loss.mae.scales": "finest"}),
        ("loss.mae.scales=sum", {"loss.mae.weight": 1.0, "loss.mae.scales": "sum"}),
        ("loss.mae=2 loss.charbonnier=none", {
            "loss.mae.weight": 2.0, "loss.mae.scales": "finest", "loss.charbonnier.weight": None,
            "loss.charbonnier.scales": None, "loss.charbonnier.eps": None,
        }),
        ("accumulate=16 batch_size=64", {"accumulate": 16, "batch_size": 64}),  # neither order is wrong
        ("batch_size=64 accumulate=16", {"accumulate": 16, "batch_size": 64}),
        ("epochs=3 epochs=5", {"epochs": 5}),
        ("strategy=supervised", {}),
    ],
)  # fmt: skip
def test_what_is_set_is_changed_and_nothing_else(settings: str, expected: dict[str, Any]) -> None:
    assert changed(*settings.split(" ") if '"' not in settings else [settings]) == expected


def test_a_change_of_kind_takes_the_defaults_of_the_new_one() -> None:
    for kind in (*SCHEDULES, *STRATEGIES):
        part = "schedule" if kind in SCHEDULES else "strategy"
        for setting in (f"{part}={kind.kind}", f"{part}.kind={kind.kind}"):
            start = "schedule.warmup_steps=0"
            assert getattr(choose(setting, start).recipe, part) == kind(), setting


def test_the_optimiser_of_a_critic_begins_as_the_networks() -> None:
    recipe = choose(
        "strategy=wgan-gp", "strategy.optimizer.lr=4e-4", "optimizer.betas=[0.0,0.9]", "optimizer.lr=1e-4"
    ).recipe
    assert isinstance(recipe.strategy, WassersteinGP)
    assert recipe.strategy.optimizer == replace(recipe.optimizer, lr=4e-4)
    assert recipe.optimizer.betas == (0.0, 0.9)


def test_options_of_a_critic_are_a_table_of_any_names() -> None:
    strategy = choose(
        "strategy=conditional-gan", "strategy.critic_options.width=16", "strategy.critic_options.norm=none"
    ).recipe.strategy
    assert isinstance(strategy, ConditionalGAN)
    assert strategy.critic_options == {"width": 16, "norm": "none"}


ISSUE = (
    "epochs=20", "optimizer.lr=2e-4", "schedule=plateau", "schedule.warmup_steps=50", "loss=mse", "loss.mae.weight=100",
    "strategy.kind=wgan-gp", "strategy.n_critic=3", "early_stopping.patience=7", "clip_norm=none", "model.depth=5",
    "strategy.optimizer.lr=1e-5", "accumulate=4", "batch_size=12",
)  # fmt: skip


@given(settings=st.permutations(ISSUE))
def test_the_order_of_changes_changes_nothing(settings: Sequence[str]) -> None:
    assert choose(*settings).as_values() == choose(*ISSUE).as_values()


# Bad changes, through the command


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ("optimizer.lrr=1", 2, "optimizer has no 'lrr'; did you mean lr?"),
        ("optimizer.foo=1", 2, "optimizer has no 'foo'; it has: kind, lr, betas, eps, weight_decay"),
        ("epohcs=3", 2, "a recipe has no 'epohcs'; did you mean epochs?"),
        ("lr=1e-3", 2, "a recipe has no 'lr'; did you mean optimizer.lr?"),
        ("patience=3", 2, "a recipe has no 'patience'; did you mean schedule.patience or early_stopping.patience?"),
        ("depth=5", 2, "a recipe has no 'depth'; did you mean model.depth?"),
        ("early_stopping.patiense=5", 2, "early_stopping has no 'patiense'; did you mean patience?"),
        ("strategy=wgan-gp strategy.n_critics=5", 2, "strategy=wgan-gp has no 'n_critics'; did you mean n_critic?"),
        ("strategy.n_critic=3", 2, "strategy=supervised has no 'n_critic'; it belongs to wgan-gp"),
        ("schedule.rate=0.5", 2, "schedule=cosine has no 'rate'; it belongs to staircase and plateau"),
        ("schedule=cosin", 2, "did you mean cosine?"),
        ("schedule=5", 2, "schedule is 5; it must be one of constant, staircase, "),
        ("schedule=[] schedule.kind=cosine", 2, "schedule is []"),
        ("schedule.kind=[]", 2, "schedule is []; it must be one of"),
        ("strategy=wgan", 2, "did you mean wgan-gp?"),
        ("strategy=nowhere.x:Y", 2, "strategy is 'nowhere.x:Y', which cannot be imported: ModuleNotFoundError"),
        ("strategy=os:path", 2, "strategy is 'os:path', which is no Strategy"),
        ("epochs=2.5", 2, "epochs is 2.5; it must be a whole number"),
        ("epochs=many", 2, "epochs is 'many'; it must be a whole number"),
        ("epochs=true", 2, "epochs is True; it must be a whole number"),
        ("epochs=0", 2, "epochs is 0; it must be a whole number >= 1"),
        ("epochs=none", 2, "epochs is 'none'; it must be a whole number"),
        ("epochs.x=1", 2, "epochs is a single value and has no 'x'; set epochs itself"),
        ("optimizer.lr=-1", 2, "optimizer.lr is -1.0; it must be a number > 0"),
        ("optimizer.lr=fast", 2, "optimizer.lr is 'fast'; it must be a number"),
        ("optimizer.lr=inf", 2, "optimizer.lr is inf; it must be a finite number"),
        ("optimizer.weight_decay=1e999", 2, "optimizer.weight_decay is inf; it must be a finite number"),
        ("optimizer.eps=1" + 400 * "0", 2, "it must be a finite number"),
        ("optimizer=adamw", 2, "optimizer is 'adamw'; set a part of it: optimizer.kind, optimizer.lr, "),
        ("optimizer=adamw optimizer.lr=1", 2, "optimizer is 'adamw'"),
        ("optimizer=5 optimizer.lr=1", 2, "optimizer is 5"),
        ("optimizer.kind=adamm", 2, "it must be one of adam, adamw; did you mean adam?"),
        ("optimizer.betas=0.9", 2, "optimizer.betas is 0.9; it must be an array, such as [0.9, 0.99]"),
        ("optimizer.betas=[0.9]", 2, "it must be two numbers in [0, 1)"),
        ("optimizer.betas=0.5,0.9", 2, "write it as KEY=VALUE, such as epochs=20, optimizer.lr=2e-4 or "),
        ("drop_last=1", 2, "drop_last is 1; it must be true or false"),
        ("flips=bot", 2, "flips is 'bot'; it must be one of none, horizontal, both; did you mean both?"),
        ("clip_norm=0", 2, "clip_norm is 0.0; it must be a number > 0"),
        ("start=nowhere", 2, "start is 'nowhere'; it must be an import path"),
        ("early_stopping=5", 2, "set a part of it: early_stopping.patience, early_stopping.min_delta"),
        ("early_stopping.min_delta=0.1", 2, "early_stopping needs early_stopping.patience"),
        ("accumulate=9", 2, "accumulate is 9; it must be at most batch_size, 8"),
        ("loss=5", 2, "loss is 5; it must be the name of a loss, or a table of them"),
        ("loss={}", 2, "loss is (); it must be one or more different losses"),
        ("loss.charbonnier=none", 2, "loss is (); it must be one or more different losses"),
        ("loss.mse=none", 2, "loss has no 'mse'; it has: charbonnier"),
        ("loss=mea", 4, "there is no loss 'mea'; did you mean "),
        ("loss.cosine=1", 4, "there is no loss 'cosine'; there are: charbonnier, "),
        ("loss.mae=x", 2, "loss.mae.weight is 'x'; it must be a number"),
        ("loss.mae=-1", 2, "loss.mae.weight is -1.0; it must be a number > 0"),
        ("loss.mae.wieght=2", 2, "loss.mae has no 'wieght'; did you mean weight?"),
        ("loss.mae.scales=all", 2, "loss.mae.scales is 'all'; it must be one of finest, sum, half-mean"),
        ("loss.charbonnier.epz=1", 2, "loss.charbonnier has no 'epz'; did you mean eps?"),
        ("loss.charbonnier.eps=x", 2, "eps is 'x'; it must be a number"),
        ("loss.mae.weight.x=1", 2, "loss.mae.weight is a single value and has no 'x'"),
        ("model=unet", 2, "the options of the network are model.depth, model.width; the network itself is chosen with --model"),
        ("model.depht=2", 2, "model rednet30 has no option 'depht'; did you mean depth?"),
        ("model.depth=3", 2, "depth is 3; it must be one of 2, 5, 10, 15"),
        ("model.depth=2.0", 2, "depth is 2.0; it must be a whole number"),
        ("epochs", 2, "write it as KEY=VALUE"),
        ("=3", 2, "write it as KEY=VALUE"),
        ("a..b=3", 2, "write it as KEY=VALUE"),
        ("loss=mse\nx=2", 2, "write it as KEY=VALUE"),
    ],
)  # fmt: skip
def test_a_bad_change_is_named_as_typed_in_one_line_and_begins_no_run(
    run, tmp_path: Path, settings: str, code: int, said: str
) -> None:
    """The last of the settings is the bad one."""
    done = run("train", "-m", "rednet30", "--data", "nothing", "--set", *settings.split(" "))
    assert (done.code, done.out) == (code, "")
    line = done.err.rstrip("\n")
    assert "\n" not in line
    assert said in line
    typed = settings.split(" ")[-1].split(",")[-1] if "write it" in said else settings.split(" ")[-1]
    assert line.startswith((f"deblur: --set {typed}: ", f"deblur: --set {typed!a}: ")), line
    assert not any(tmp_path.iterdir())


def test_the_guilty_one_of_several_changes_is_named(run) -> None:
    """Nor is one that only another made good."""
    for settings in (
        ["accumulate=16", "epochs=0", "batch_size=32", "patch=64", "optimizer.lr=1"],
        ["optimizer.lr=1", "patch=64", "batch_size=32", "epochs=0", "accumulate=16"],
    ):
        done = run("train", "-m", "rednet30", "--data", "nothing", "--set", *settings)
        assert done.err.startswith("deblur: --set epochs=0: epochs is 0"), done.err


# As values and as files: laws

POSITIVE = st.floats(min_value=1e-12, max_value=1e12)
SHARES = st.floats(min_value=0, max_value=1, exclude_max=True)
COUNTS = st.integers(min_value=1, max_value=10**9)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLAIN = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
WARM = {"warmup_steps": st.integers(0, 10**6)}
OPTIMIZERS = st.builds(
    Optimizer,
    kind=st.sampled_from(OptimizerKind),
    lr=POSITIVE,
    betas=st.tuples(SHARES, SHARES),
    eps=POSITIVE,
    weight_decay=st.floats(0, 10),
)
ANY_SCHEDULE = st.one_of(
    st.builds(ConstantRate, **WARM),
    st.builds(Staircase, rate=POSITIVE, every=COUNTS, **WARM),
    st.builds(LinearToZero, start=SHARES, **WARM),
    st.builds(Plateau, rate=POSITIVE, patience=COUNTS, min_delta=st.floats(0, 1), end=st.floats(0, 1), **WARM),
    st.builds(Polynomial, power=POSITIVE, end=st.floats(0, 1), **WARM),
    st.builds(Cosine, end=st.floats(0, 1), **WARM),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnStrategy(Strategy):
    """A plugin's, with what its fields may be."""

    steps = Supervised.steps
    flips: Flips = Flips.NONE
    limit: float | None = 0.5  # None is not what it is by default
    counts: tuple[int, ...] = (1, 2)
    rate: Cosine | None = None


CRITIC = {
    "critic_options": st.dictionaries(TEXTS, PLAIN, max_size=3),
    "optimizer": st.none() | OPTIMIZERS,
    "adversarial": POSITIVE,
}
ANY_STRATEGY = st.one_of(
    st.just(Supervised()),
    st.builds(
        WassersteinGP,
        n_critic=COUNTS,
        critic_batches=st.sampled_from(["same", "fresh"]),
        gradient_penalty=POSITIVE,
        **CRITIC,
    ),
    st.builds(ConditionalGAN, critic=st.just("a.b:C.D"), **CRITIC),
    st.builds(
        OwnStrategy,
        flips=st.sampled_from(Flips),
        limit=st.none() | POSITIVE,
        counts=st.lists(COUNTS, max_size=3).map(tuple),
        rate=st.none() | st.builds(Cosine, **WARM),
    ),
)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,8}", fullmatch=True)
TERMS = st.builds(
    Term,
    loss=NAMES,
    weight=POSITIVE,
    scales=st.sampled_from(Scales),
    options=st.dictionaries(
        NAMES.filter(lambda name: name not in ("weight", "scales")), st.booleans() | POSITIVE | TEXTS, max_size=3
    ),
)  # fmt: skip
RECIPES = st.builds(
    Recipe,
    summary=TEXTS,
    loss=NAMES | TERMS | st.lists(TERMS, min_size=1, max_size=3, unique_by=lambda term: term.loss).map(tuple),
    strategy=ANY_STRATEGY,
    start=st.none() | st.just("a.b:c"),
    optimizer=OPTIMIZERS,
    schedule=ANY_SCHEDULE,
    epochs=COUNTS,
    early_stopping=st.none() | st.builds(EarlyStopping, patience=COUNTS, min_delta=st.floats(0, 1)),
    batch_size=st.integers(8, 64),
    accumulate=st.integers(1, 8),
    drop_last=st.booleans(),
    crops_per_pair=st.none() | COUNTS,
    flips=st.sampled_from(Flips),
    clip_norm=st.none() | POSITIVE,
    ema_decay=SHARES,
    freeze_norm_after=st.floats(0, 1),
)  # fmt: skip


@given(recipe=RECIPES)
@example(recipe=Recipe(strategy=OwnStrategy(limit=None, rate=Cosine())))
def test_a_recipe_survives_its_values_json_and_toml(recipe: Recipe) -> None:
    values = as_values(recipe)
    again = from_values(values)
    assert again == replace(recipe, loss=recipe.terms)
    assert as_values(again) == values
    read = tomllib.loads(recipe_text(values | {"model": {"a": 1}}, model="x"))
    assert read.pop("model") == {"a": 1}
    for other in (json.loads(json.dumps(values)), read):
        assert other == values
        assert as_values(from_values(other)) == values
        assert list(other["loss"]) == list(values["loss"])  # whose sum depends on the order


@given(recipe=RECIPES, name=TEXTS, value=PLAIN)
def test_a_value_of_any_kind_is_taken_or_refused_in_words(recipe: Recipe, name: str, value: Any) -> None:
    """Nothing but a DeclarationError comes of any value at any place."""
    values = as_values(recipe)
    keys = [*leaves(values), *values, f"optimizer.{name}", name]
    for key in keys:
        changed_values = json.loads(json.dumps(values))
        *way, last = key.split(".")
        inside = changed_values
        for part in way:
            inside = inside.get(part) if isinstance(inside, dict) else None
        if not isinstance(inside, dict):
            continue  # a name with a dot
        inside[last] = value
        try:
            from_values(changed_values)
        except DeclarationError:
            continue


@given(text=st.text(max_size=30))
def test_no_text_after_set_is_a_bug(text: str) -> None:
    for setting in (text, f"optimizer={text}", f"loss.{text}", f"schedule.kind={text}", f"{text}=3"):
        with suppress(DeblurError):
            choose(setting)


def test_a_recipe_file_has_a_section_for_each_part() -> None:
    text = recipe_text(choose(*ISSUE).as_values(), model="rednet30")
    sections = [line for line in text.splitlines() if line.startswith("[")]
    assert sections == [
        "[loss.mse]", "[loss.mae]", "[strategy]", "[strategy.optimizer]", "[optimizer]", "[schedule]", "[early_stopping]", "[model]",
    ]  # fmt: skip
    assert "lr = 0.0002" in text
    assert not any("{" in line for line in text.splitlines() if not line.startswith("critic_options = {}"))


def test_tables_inside_of_tables_are_sections_only_where_it_is_asked_for() -> None:
    document = {"a": {"b": {"c d": {"e": 1}, "f": {}}, "g": 2}}
    assert toml_document(document) == '\n[a]\nb = { "c d" = { e = 1 }, f = {} }\ng = 2\n'
    nested = toml_document(document, nested=True)
    assert nested == '\n[a]\ng = 2\n\n[a.b]\nf = {}\n\n[a.b."c d"]\ne = 1\n'
    assert tomllib.loads(nested) == document


# Files and run folders, through the command


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pairs, 48x56 pieces of a photograph and their Gaussian blur of sigma 1.5."""
    from skimage import data

    folder = tmp_path_factory.mktemp("recipe-pairs")
    for name in ("blur", "sharp"):
        (folder / name).mkdir()
    for i in range(3):
        sharp = data.coffee()[60 + 50 * i : 108 + 50 * i, 150:206]
        blurry = np.rint(gaussian_filter(sharp.astype(float), (1.5, 1.5, 0))).astype(np.uint8)
        Image.fromarray(sharp).save(folder / "sharp" / f"{i}.png")
        Image.fromarray(blurry).save(folder / "blur" / f"{i}.png")
    return folder


def train_words(pairs: Path, output: str, *rest: str) -> list[str]:
    return ["train", "--data", str(pairs), "-m", "rednet30", "-o", output, "--device", "cpu", *rest]


def saved(folder: Path) -> tuple[Any, Any]:
    request = json.loads((folder / "run.json").read_text())["request"]
    return request["recipe"], request["options"]


def test_a_run_says_its_recipe_and_another_takes_it_and_does_the_same(
    pairs: Path, run, tmp_path: Path
) -> None:
    changes = (
        *SMALL, "optimizer.lr=0.00033333333333333335", "schedule=plateau", "schedule.patience=2", "loss=mse", "loss.mae=0.1",
        "strategy=wgan-gp", "strategy.n_critic=1", "strategy.critic_options.width=8", "strategy.optimizer.lr=1e-5",
        "early_stopping.patience=9", "clip_norm=none", "start=none",
    )  # fmt: skip
    first = run(*train_words(pairs, "first", "--steps", "1"), "--set", *changes)
    assert first.code == 0, first.err
    text = (tmp_path / "first" / "recipe.toml").read_text()
    recipe, options = saved(tmp_path / "first")
    read = tomllib.loads(text)
    assert read.pop("model") == options == {"depth": 2, "width": 8}
    assert read == recipe
    assert read["optimizer"]["lr"] == 0.00033333333333333335
    tensors = load_file(tmp_path / "first" / "last" / "state.safetensors")
    again = run(*train_words(pairs, "second", "--steps", "1"), "--recipe", "first")
    assert again.code == 0, again.err
    assert saved(tmp_path / "second") == (recipe, options)
    assert (tmp_path / "second" / "recipe.toml").read_text() == text
    others = load_file(tmp_path / "second" / "last" / "state.safetensors")
    assert tensors.keys() == others.keys()
    assert all(tensors[key].equal(others[key]) for key in tensors)
    for source in ("first", "first/recipe.toml", "second/recipe.toml"):
        assert choose(name=str(tmp_path / source)).as_values() == recipe | {"model": options}


PLUGIN = '''
from dataclasses import dataclass
import torch
from deblur_cli import Facts, Geometry, Loss, Model, Recipe, hookimpl
from deblur_cli.host.strategies import Strategy

@dataclass(frozen=True, slots=True, kw_only=True)
class Halved(Strategy):
    steps = "own_recipes:HalvedSteps"
    share: float = 0.5

    def __post_init__(self):
        if self.share > 1:
            raise RuntimeError("more than all")

def HalvedSteps(recipe, learning):
    from deblur_cli.training.strategies.supervised import SupervisedSteps

    with open("seen.txt", "a") as file:
        print(f"share {recipe.strategy.share}", file=file)
    return SupervisedSteps(recipe, learning)

class Failing(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(1))
    def forward(self, x):
        raise RuntimeError("this network always fails")

@hookimpl
def deblur_losses():
    return [Loss(name="mse", summary="not ours", function="deblur_cli.losses.pixel:mae")]

@hookimpl
def deblur_models():
    return [
        Model(
            name="failing", summary="fails", source="this test", network="own_recipes:Failing", geometry=Geometry(halo=0),
            facts=Facts(parameters=1, kmacs_per_pixel=0.001), licence="MIT",
            recipes={"all": Recipe(loss="mse", strategy=Halved(), patch=16)},
        )
    ]
'''  # fmt: skip


@pytest.fixture
def own_recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_recipes.py").write_text(PLUGIN)
    return {"PYTHONPATH": str(folder), "DEBLUR_PLUGINS": "own_recipes"}


def test_a_run_done_again_is_of_its_model_unless_another_is_typed(
    pairs: Path, run, tmp_path: Path, own_recipes: dict[str, str]
) -> None:
    env = own_recipes | {"DEBLUR_MODEL": "failing"}
    assert run(*train_words(pairs, "first", "--steps", "1"), "--set", *SMALL).code == 0
    again = ("train", "--data", pairs, "--recipe", "first", "--device", "cpu", "--steps", "1")
    done = run(*again, "-o", "second", env=env)
    assert done.code == 0, done.err
    assert saved(tmp_path / "second") == saved(tmp_path / "first")
    assert "no option 'depth'" in run(*again, "-o", "third", "-m", "failing", env=env).err


def test_a_file_may_name_the_strategy_of_a_plugin(
    pairs: Path, run, tmp_path: Path, own_recipes: dict[str, str]
) -> None:
    (tmp_path / "mine.toml").write_text(
        'loss = "mse"\nepochs = 1\nbatch_size = 4\npatch = 24\n'
        'strategy = { kind = "own_recipes:Halved", share = 0.25 }\n[model]\ndepth = 2\nwidth = 8\n'
    )
    words = ["--recipe", "mine.toml"]
    assert run(*train_words(pairs, "mine", *words), env=own_recipes).code == 0
    read = tomllib.loads((tmp_path / "mine" / "recipe.toml").read_text())
    assert read["strategy"] == {"kind": "own_recipes:Halved", "share": 0.25}
    again = run(
        *train_words(pairs, "again", "--recipe", "mine"), "--set", "strategy.share=0.75", env=own_recipes
    )
    assert again.code == 0, again.err
    assert (tmp_path / "seen.txt").read_text().split() == ["share", "0.25", "share", "0.75"]
    for setting, said in (
        ("strategy.shar=1", "strategy=own_recipes:Halved has no 'shar'; did you mean share?"),
        ("strategy.share=2", "strategy: RuntimeError: more than all"),
    ):
        bad = run(*train_words(pairs, "bad", *words), "--set", setting, env=own_recipes)
        assert bad.code == 2
        assert bad.err.strip() == f"deblur: --set {setting}: {said}"


def test_the_recipe_is_there_before_the_first_step(
    pairs: Path, run, tmp_path: Path, own_recipes: dict[str, str]
) -> None:
    done = run("train", "--data", pairs, "-m", "failing", "-o", "mine", "--device", "cpu", env=own_recipes)
    assert done.code != 0
    assert "this network always fails" in done.err
    assert not (tmp_path / "mine" / "last").exists()
    recipe = tomllib.loads((tmp_path / "mine" / "recipe.toml").read_text())
    assert recipe["strategy"] == {"kind": "own_recipes:Halved", "share": 0.5}


def test_a_loss_whose_name_is_taken_is_named_with_its_plugin(
    run, pairs: Path, tmp_path: Path, own_recipes: dict[str, str]
) -> None:
    losses = []
    for name in ("mae", "own_recipes:mse", "mse"):
        done = run(
            *train_words(pairs, name, "--steps", "1"), "--set", *SMALL, f"loss={name}", env=own_recipes
        )
        assert done.code == 0, done.err
        assert list(tomllib.loads((tmp_path / name / "recipe.toml").read_text())["loss"]) == [name]
        with (tmp_path / name / "metrics.csv").open() as file:
            losses.append(float(next(csv.DictReader(file))["val_loss"]))
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"epochs = ", 2, "mine.toml cannot be read: Invalid value (at "),
        (b"\xff\xfe", 2, "mine.toml cannot be read: "),
        (b"a = " + 5000 * b"[", 2, "mine.toml cannot be read: "),
        (b"epohcs = 3", 2, "recipe mine.toml: a recipe has no 'epohcs'; did you mean epochs?"),
        (b"lr = 3", 2, "recipe mine.toml: a recipe has no 'lr'; did you mean optimizer.lr?"),
        (b"epochs = 0", 2, "recipe mine.toml: epochs is 0; it must be a whole number >= 1"),
        (b"epochs = 2026-11-21", 2, "epochs is datetime.date(2026, 11, 21); it must be a whole number"),
        (b'model = "rednet30"', 2, "recipe mine.toml: model is 'rednet30'; it must be a table of the network's options"),
        (b"[model]\ndepht = 2", 2, "recipe mine.toml: model rednet30 has no option 'depht'; did you mean depth?"),
        (b"[loss.mea]", 4, "recipe mine.toml: there is no loss 'mea'"),
        (b"[loss.mae]\nwieght = 1", 2, "recipe mine.toml: loss.mae has no 'wieght'; did you mean weight?"),
        (b"[schedule]\nrate = 2", 2, "recipe mine.toml: schedule is None; it must be one of constant"),
        (b"[schedule]\nkind = 'cosine'\nrate = 2", 2, "recipe mine.toml: schedule=cosine has no 'rate'"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_in_one_line(run, tmp_path: Path, content: bytes, code: int, said: str) -> None:
    (tmp_path / "mine.toml").write_bytes(content)
    done = run("train", "-m", "rednet30", "--data", "nothing", "--recipe", "mine.toml", "--set", "epochs=3")
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fats", "model rednet30 has no recipe 'fats'; did you mean fast?"),
        ("x", "model rednet30 has no recipe 'x'; it has: fast, report, report-finetune"),
        ("none.toml", "there is no none.toml"),
        (".", "there is no recipe.toml"),
    ],
)
def test_a_recipe_that_is_not_there(run, name: str, said: str) -> None:
    done = run("train", "-m", "rednet30", "--data", "nothing", "--recipe", name)
    assert (done.code, done.err.strip()) == (4, f"deblur: {said}")


# Resuming


def test_a_resumed_run_may_repeat_its_recipe_and_names_what_differs(pairs: Path, run, tmp_path: Path) -> None:
    changes = [*SMALL, "epochs=9", "optimizer.lr=1e-3", "schedule=plateau", "schedule.patience=3"]
    first = run(*train_words(pairs, "mine"), "--recipe", "report", "--steps", "1", "--set", *changes)
    assert first.code == 0, first.err
    resume = ["train", "--resume", "-o", "mine"]
    for words, difference in (
        (["--set", "optimizer.lr=0.1"], "keeps its --set: optimizer.lr was 0.001, is 0.1."),
        (["--set", "epochs=9", "model.width=16", "drop_last=true"],
         "keeps its --set: drop_last was false, is true; model.width was 8, is 16."),
        (["--set", "schedule=plateau"], "keeps its --set: schedule.patience was 3, is 10."),
        (["--set", "early_stopping.patience=3"], "keeps its --set: early_stopping was not set, is "),
        (["--recipe", "report"], "keeps its --recipe: "),
        (["--recipe", "mine", "--set", "epochs=8"], "keeps its --recipe: epochs was 9, is 8."),
        (["--set", "optimizer.lrr=1"], "--set optimizer.lrr=1: optimizer has no 'lrr'"),
        (["--recipe", "fast2"], "no recipe 'fast2'"),
        (["--seed", "7"], "keeps its --seed: it was 0, is 7."),
    ):  # fmt: skip
        refused = run(*resume, *words)
        assert refused.code == (4 if "fast2" in words else 2)
        assert difference in refused.err, refused.err
        assert len(refused.err.splitlines()) == 1
    for step, words in enumerate(
        (
            ["--recipe", "report", "--set", *changes],
            ["--recipe", "mine"],
            ["--set", "optimizer.lr=0.001", "schedule.patience=3"],
        ),
        start=2,
    ):
        done = run(*resume, *words, "--steps", str(step))
        assert done.code == 0, done.err


# What is shown


def settings_of(page: str, name: str) -> Iterator[tuple[str, str]]:
    """What the page of a model says of a recipe, by the keys of --set."""
    lines = page.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"  recipe      {name}:"))
    part = ""
    for line in lines[start + 1 :]:
        if line.startswith("  ") and line[2] != " ":
            return
        words = line.split()
        if line.startswith("    ") and line[4] != " ":
            part = "" if "=" in words[0] else words.pop(0) + "."
        yield from (
            (part + key, value) for key, _, value in (word.partition("=") for word in words if "=" in word)
        )


def test_models_show_prints_every_value_of_every_recipe(run) -> None:
    page = run("models", "show", "rednet30").out
    for name, recipe in REDNET.recipes.items():
        values = leaves(as_values(choose(name=name).recipe))
        shown = dict(settings_of(page, name))
        summary = values.pop("summary")
        assert summary in " ".join(page.split())
        absent = {item.name for item in fields(Recipe) if getattr(recipe, item.name) is None}
        assert shown.keys() == values.keys() | absent
        assert all(shown[key] == "none" for key in absent)
        again = choose(*(f"{key}={value}" for key, value in shown.items()), name="fast").recipe
        assert as_values(replace(again, summary="")) == as_values(replace(recipe, summary="")) | {
            "loss": as_values(again)["loss"]
        }
    inside = page[page.index("  recipe") :]
    assert max(map(len, inside.splitlines())) <= 80


def test_models_show_has_recipes_as_values(run) -> None:
    (facts,) = run("models", "show", "rednet30", "--json").json()
    assert set(facts["recipes"]) == {"fast", "report", "report-finetune"}
    for name, values in facts["recipes"].items():
        assert as_values(from_values(values)) == as_values(choose(name=name).recipe)


def test_a_recipe_that_is_shown_is_a_file_that_training_takes(run, tmp_path: Path) -> None:
    for name in REDNET.recipes:
        shown = run("models", "show", "rednet30", "--recipe", name)
        assert shown.code == 0
        (tmp_path / "mine.toml").write_bytes(shown.raw)
        assert choose(name=str(tmp_path / "mine.toml")).as_values() == choose(name=name).as_values()
        (values,) = run("models", "show", "rednet30", "--recipe", name, "--json").json()
        assert values == choose(name=name).as_values()
    assert run("models", "show", "rednet30", "--recipe", "fats").code == 4


def test_every_field_of_a_recipe_can_be_named() -> None:
    """What is added to Recipe is shown and saved without another word."""
    assert {item.name for item in fields(Recipe)} == set(names_of(Recipe))
    assert deblur_rednet.FAST.start is not None
