"""Schedules, early stopping and budgets against PyTorch's schedulers, Keras' rules and the reports' formulas."""

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter
from torch import nn
from torch.optim import lr_scheduler

import deblur_rednet
from deblur_cli import (
    ConstantRate,
    Cosine,
    EarlyStopping,
    LinearToZero,
    Optimizer,
    Plateau,
    Polynomial,
    Recipe,
    Schedule,
    Staircase,
)
from deblur_cli.errors import UsageError
from deblur_cli.host.checks import DeclarationError
from deblur_cli.host.manager import Host
from deblur_cli.host.recipe_values import as_values, from_values
from deblur_cli.host.schedules import Moment
from deblur_cli.training.engine import Ended, Progress
from deblur_cli.training.request import Request
from deblur_cli.training.schedule import Budget
from deblur_cli.training.session import run_training
from deblur_cli.training.state import State
from deblur_cli.weights import resolve

BATCHES, EPOCHS = 7, 50
STEPS = BATCHES * EPOCHS


def rates(schedule: Schedule, budget: Budget, *, epochs: int = EPOCHS) -> list[float]:
    """The factor of each step of a training with 7 batches an epoch, until its budget is used up."""
    recipe = Recipe(schedule=schedule, epochs=epochs)
    state = State(learners=(), average=None)
    found = []
    while (moment := budget.moment(state, recipe, batches_per_epoch=BATCHES)).progress < 1:
        found.append(schedule.factor(moment))
        state.count({}, batches=1)
        state.seconds += 0.25
        if state.batch == BATCHES:
            state.end_epoch()
    assert moment.progress == 1
    return found


def by_torch(make: Callable[[torch.optim.Optimizer], Any], *, epochwise: bool = False) -> list[float]:
    """The rates that a scheduler of PyTorch gives to the steps of the same training, from a full rate of 1."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    found = []
    for step in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if not epochwise or (step + 1) % BATCHES == 0:
            scheduler.step()
    return found


ORACLES: dict[str, tuple[Schedule, Callable[[], list[float]]]] = {
    "constant": (ConstantRate(), lambda: by_torch(lambda o: lr_scheduler.ConstantLR(o, factor=1.0))),
    "staircase": (
        Staircase(rate=0.7, every=5),
        lambda: by_torch(lambda o: lr_scheduler.StepLR(o, step_size=5, gamma=0.7), epochwise=True),
    ),
    "linear-to-zero": (
        LinearToZero(start=0.5),
        lambda: by_torch(
            lambda o: lr_scheduler.LambdaLR(o, lambda e: min(1.0, abs(2 - e / (EPOCHS / 2)))), epochwise=True
        ),
    ),
    "polynomial": (
        Polynomial(power=0.3),
        lambda: by_torch(lambda o: lr_scheduler.PolynomialLR(o, total_iters=STEPS, power=0.3)),
    ),
    "polynomial with an end": (
        Polynomial(power=2.0, end=0.01),
        # TensorFlow's polynomial_decay: (lr - end) (1 - step / total)^power + end
        lambda: by_torch(
            lambda o: lr_scheduler.LambdaLR(o, lambda s: (1 - 0.01) * (1 - s / STEPS) ** 2 + 0.01)
        ),
    ),
    "cosine": (Cosine(), lambda: by_torch(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=STEPS))),
    "cosine with an end": (
        Cosine(end=0.05),
        lambda: by_torch(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=STEPS, eta_min=0.05)),
    ),
}


@pytest.mark.parametrize("budget", [Budget(epochs=EPOCHS), Budget(steps=STEPS)], ids=["epochs", "steps"])
@pytest.mark.parametrize("name", ORACLES)
def test_a_schedule_is_the_one_of_pytorch(name: str, budget: Budget) -> None:
    schedule, oracle = ORACLES[name]
    np.testing.assert_allclose(rates(schedule, budget), oracle(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ORACLES)
def test_a_warm_up_multiplies_any_schedule_by_a_line_from_zero(name: str) -> None:
    schedule, oracle = ORACLES[name]
    ramp = by_torch(lambda o: lr_scheduler.LambdaLR(o, lambda step: min(1.0, (step + 1) / 40)))
    found = rates(replace(schedule, warmup_steps=40), Budget(epochs=EPOCHS))
    np.testing.assert_allclose(found, np.multiply(ramp, oracle()), rtol=0, atol=1e-9)


def test_the_fine_tuning_of_s0_takes_its_rates_from_the_reports_formula() -> None:
    recipe = deblur_rednet.MODELS[0].recipes["report-finetune"]
    factors = rates(recipe.schedule, Budget.choose(recipe, epochs=None, steps=None, minutes=None), epochs=80)
    for number, epoch in enumerate(range(120, 200)):  # S0 counts on from its 120 epochs
        wanted = 1e-4 * 0.7 ** math.floor((epoch - 120) / 5)
        for factor in factors[number * BATCHES : (number + 1) * BATCHES]:
            assert recipe.optimizer.lr * factor == pytest.approx(wanted, rel=1e-12)


def test_the_schedule_of_s4_takes_its_rates_from_the_codes_formula() -> None:
    factors = rates(LinearToZero(), Budget(epochs=300), epochs=300)
    lr = 1e-4
    for epoch in range(300):
        assert lr * factors[epoch * BATCHES] == pytest.approx(
            min(lr, abs(2 * lr - lr * epoch / 150)), rel=1e-12
        )


class Keras:
    """ReduceLROnPlateau and EarlyStopping (mode "min", no cooldown) as Keras defines them, epoch by epoch."""

    @staticmethod
    def plateau(losses: Sequence[float], *, factor: float, patience: int, delta: float, low: float) -> float:
        lr, best, wait = 1.0, np.inf, 0
        for loss in losses:
            if np.less(loss, best - delta):
                best, wait = loss, 0
            else:
                wait += 1
                if wait >= patience and lr > low:
                    lr, wait = max(lr * factor, low), 0
        return lr

    @staticmethod
    def stopped(losses: Sequence[float], *, patience: int, delta: float) -> bool:
        best: float | None = None
        wait = 0
        for epoch, loss in enumerate(losses):
            wait += 1
            if best is None or np.less(loss + delta, best):
                best, wait = loss, 0
            elif wait >= patience and epoch > 0:
                return True
        return False


# multiples of 1/64, so that differences are exact and neither rule can be tipped over by rounding
LOSSES = st.lists(st.integers(0, 64).map(lambda k: k / 64), max_size=300)
PATIENCE, DELTA = st.integers(1, 12), st.integers(0, 8).map(lambda k: k / 64)


def moment(losses: Sequence[float]) -> Moment:
    return Moment(step=0, epoch=0, epochs=1, progress=0.0, val_losses=losses)


@given(losses=LOSSES, patience=PATIENCE, delta=DELTA, low=st.sampled_from([0.0, 0.01]))
def test_a_plateau_follows_keras_and_pytorch_with_one_less_patience(
    losses: list[float], patience: int, delta: float, low: float
) -> None:
    schedule = Plateau(rate=0.2, patience=patience, min_delta=delta, end=low)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = lr_scheduler.ReduceLROnPlateau(
        optimizer,
        factor=0.2,
        patience=patience - 1,
        threshold=delta,
        threshold_mode="abs",
        min_lr=low,
        eps=0.0,
    )
    for number, loss in enumerate(losses, 1):
        scheduler.step(loss)
        found = schedule.factor(moment(losses[:number]))
        keras = Keras.plateau(losses[:number], factor=0.2, patience=patience, delta=delta, low=low)
        assert found == keras
        assert found == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12, abs=0)


@given(losses=LOSSES, patience=PATIENCE, delta=DELTA)
def test_early_stopping_follows_keras(losses: list[float], patience: int, delta: float) -> None:
    stopping = EarlyStopping(patience=patience, min_delta=delta)
    for number in range(len(losses) + 1):
        wanted = Keras.stopped(losses[:number], patience=patience, delta=delta)
        assert stopping.is_due(losses[:number]) is wanted


def test_a_loss_that_is_no_number_is_no_better_one() -> None:
    assert EarlyStopping(patience=2).is_due([1.0, math.nan, math.nan])
    assert not EarlyStopping(patience=2).is_due([1.0, math.nan, 0.5])
    assert Plateau(rate=0.5, patience=1, min_delta=0).factor(moment([1.0, math.nan])) == 0.5


@pytest.mark.parametrize(
    ("schedule", "last"),
    [(Cosine(), 1e-4), (Polynomial(), 5e-3), (LinearToZero(), 5e-2), (Cosine(end=0.1), 0.1001)],
    ids=str,
)
def test_a_schedule_fits_the_minutes(schedule: Schedule, last: float) -> None:
    factors = rates(schedule, Budget(minutes=1.0))  # 240 steps of a quarter of a second
    assert len(factors) == 240
    assert factors[0] == 1
    assert factors == sorted(factors, reverse=True)
    assert factors[-1] <= last


@given(steps=st.integers(1, 400), epochs=st.integers(1, 400))
def test_steps_squeeze_the_epochs_of_a_recipe_without_rounding(steps: int, epochs: int) -> None:
    budget, recipe = Budget(steps=steps), Recipe(epochs=epochs)
    state = State(learners=(), average=None)
    for step in range(steps + 1):
        state.step = step
        found = budget.moment(state, recipe, batches_per_epoch=BATCHES)
        assert found.epoch * steps <= step * epochs < (found.epoch + 1) * steps
        assert (found.progress == 1) == (step == steps)


@given(given=st.integers(1, 60), epochs=st.integers(1, 60))
def test_other_epochs_squeeze_those_of_a_recipe_without_rounding(given: int, epochs: int) -> None:
    budget, recipe = Budget(epochs=given), Recipe(epochs=epochs)
    state = State(learners=(), average=None)
    for seen in range(given * BATCHES + 1):
        state.epoch, state.batch = divmod(seen, BATCHES)
        found = budget.moment(state, recipe, batches_per_epoch=BATCHES)
        assert found.epochs == epochs
        assert found.epoch * given * BATCHES <= seen * epochs < (found.epoch + 1) * given * BATCHES
        assert (found.progress == 1) == (seen == given * BATCHES)


def test_minutes_squeeze_the_epochs_of_a_recipe() -> None:
    """So a critic that joins after 16 of 20 epochs joins after 48 seconds of a minute, however long an epoch takes."""
    state = State(learners=(), average=None)
    for seconds, epoch in ((0.0, 0), (47.9, 15), (48.0, 16), (59.9, 19), (60.0, 20), (61.0, 20)):
        state.seconds = seconds
        found = Budget(minutes=1.0).moment(state, Recipe(epochs=20), batches_per_epoch=10**6)
        assert (found.epoch, found.epochs) == (epoch, 20)


def test_a_budget_is_one_of_epochs_steps_and_minutes() -> None:
    none = {"epochs": None, "steps": None, "minutes": None}
    assert Budget.choose(Recipe(epochs=7), **none) == Budget(epochs=7)
    assert Budget.choose(Recipe(), **{**none, "minutes": 2.5}) == Budget(minutes=2.5)
    with pytest.raises(UsageError, match="one of --epochs"):
        Budget.choose(Recipe(), **{**none, "steps": 3, "epochs": 4})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Staircase(rate=0), "schedule.rate is 0; it must be a number > 0"),
        (lambda: Staircase(every=2.5), "schedule.every is 2.5; it must be a whole number >= 1"),
        (lambda: LinearToZero(start=1), "schedule.start is 1; it must be a number in"),
        (lambda: Cosine(end=2), "schedule.end is 2; it must be a number in"),
        (lambda: Polynomial(power=math.inf), "schedule.power is inf"),
        (lambda: Plateau(patience=0), "schedule.patience is 0; it must be a whole number >= 1"),
        (lambda: Plateau(min_delta=-1), "schedule.min_delta is -1"),
        (lambda: Cosine(warmup_steps=-1), "schedule.warmup_steps is -1"),
        (lambda: EarlyStopping(patience=True), "early_stopping.patience is True"),
        (lambda: Optimizer(betas=(0.9, 1.0)), "optimizer.betas is"),
        (lambda: Optimizer(kind="sgd"), "optimizer.kind is 'sgd'; it must be adam or adamw"),
    ],
)
def test_what_no_schedule_can_be_is_refused_by_name(make: Callable[[], object], said: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        make()
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ORACLES)
def test_a_schedule_survives_a_recipe_file(name: str) -> None:
    recipe = Recipe(
        schedule=replace(ORACLES[name][0], warmup_steps=3),
        early_stopping=EarlyStopping(patience=4, min_delta=0.5),
        optimizer=Optimizer(kind="adamw", betas=(0.5, 0.9)),
    )
    assert from_values(as_values(recipe)) == replace(recipe, loss=recipe.terms)


# Through a whole training of a tiny network on pieces of photographs


@pytest.fixture(scope="module")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pairs of 48x48 px."""
    from skimage import data

    folder = tmp_path_factory.mktemp("pairs")
    for name in ("blur", "sharp"):
        (folder / name).mkdir()
    for i in range(4):
        sharp = data.astronaut()[100 + 40 * i : 148 + 40 * i, 180:228]
        blurry = np.rint(gaussian_filter(sharp.astype(float), (1.5, 1.5, 0))).astype(np.uint8)
        Image.fromarray(sharp).save(folder / "sharp" / f"{i}.png")
        Image.fromarray(blurry).save(folder / "blur" / f"{i}.png")
    return folder


def request(folder: Path, *, recipe: Recipe, **changes: object) -> Request:
    base = Request(
        model="rednet30",
        data=(str(folder),),
        recipe=replace(
            recipe, loss="mse", batch_size=2, patch=24, start="deblur_rednet.network:start_at_identity"
        ),
        options={"depth": 2, "width": 8},
        device="cpu",
        dtype="float32",
    )
    return replace(base, **changes)


def train(wanted: Request, folder: Path, **more: Any) -> Ended:
    return run_training(wanted, folder, host=Host.discover(), command=["test"], **more)


def rows_of(run: Path) -> list[dict[str, float]]:
    lines = csv.DictReader((run / "metrics.csv").read_text().splitlines())
    return [{name: float(value) for name, value in row.items()} for row in lines]


@pytest.mark.parametrize("name", ORACLES)
def test_a_run_takes_and_logs_the_rates_of_its_schedule(
    pairs_folder: Path, tmp_path: Path, name: str
) -> None:
    epochs, lr = 5, 3e-3
    recipe = Recipe(schedule=ORACLES[name][0], epochs=epochs, optimizer=Optimizer(lr=lr))
    taken: list[float] = []
    train(
        request(pairs_folder, recipe=recipe),
        tmp_path / "run",
        report=lambda seen: taken.append(seen.lr) if seen.validation is None else None,
    )
    rows = rows_of(tmp_path / "run")
    count = int(rows[0]["step"])
    assert [row["step"] for row in rows] == [count * (number + 1) for number in range(epochs)]
    schedule = recipe.schedule

    def factor(step: float, epoch: int) -> float:
        return schedule.factor(
            Moment(step=int(step), epoch=epoch, epochs=epochs, progress=step / (count * epochs))
        )

    assert taken == pytest.approx([lr * factor(step, step // count) for step in range(count * epochs)])
    assert [row["lr"] for row in rows] == pytest.approx(
        [lr * factor(row["step"], number) for number, row in enumerate(rows)]
    )  # the rate at the end of the epoch


def test_the_rate_of_a_run_of_minutes_follows_the_clock_to_zero(pairs_folder: Path, tmp_path: Path) -> None:
    recipe = Recipe(schedule=Cosine(), optimizer=Optimizer(lr=4e-3))
    seen: list[Progress] = []
    wanted = request(pairs_folder, recipe=recipe, minutes=0.01)
    assert train(wanted, tmp_path / "run", report=seen.append) is Ended.DONE

    def rate_after(found: Progress) -> float:
        return 4e-3 * (1 + math.cos(math.pi * min(1.0, found.seconds / 0.6))) / 2

    assert seen[0].lr == 4e-3
    for before, now in pairwise(seen):
        if before.validation is None and now.validation is None:  # a validation takes time too
            assert now.lr == pytest.approx(rate_after(before), rel=1e-9)
    *_, last_step = (found for found in seen if found.validation is None)
    assert rows_of(tmp_path / "run")[-1]["lr"] == pytest.approx(rate_after(last_step), rel=1e-9, abs=1e-12)
    assert train(wanted, tmp_path / "run", resume=True) is Ended.BEFORE  # its time is up for good


def test_a_plateau_falls_by_the_validation_losses_of_the_run(pairs_folder: Path, tmp_path: Path) -> None:
    recipe = Recipe(
        schedule=Plateau(rate=0.5, patience=2, min_delta=1e-5), epochs=8, optimizer=Optimizer(lr=1e-2)
    )
    train(request(pairs_folder, recipe=recipe), tmp_path / "run")
    rows = rows_of(tmp_path / "run")
    losses = [row["val_loss"] for row in rows]
    wanted = [
        1e-2 * Keras.plateau(losses[:number], factor=0.5, patience=2, delta=1e-5, low=0)
        for number in range(len(rows))
    ]
    assert [row["lr"] for row in rows] == pytest.approx(wanted)
    assert wanted[-1] < wanted[0]  # it did fall


def test_early_stopping_ends_a_run_whose_best_weights_are_used(pairs_folder: Path, tmp_path: Path) -> None:
    patience, delta = 2, 1e-5
    recipe = Recipe(
        epochs=40,
        optimizer=Optimizer(lr=1e-2),
        early_stopping=EarlyStopping(patience=patience, min_delta=delta),
    )
    wanted, run = request(pairs_folder, recipe=recipe), tmp_path / "run"
    assert train(wanted, run) is Ended.EARLY
    losses = [row["val_loss"] for row in rows_of(run)]
    assert len(losses) < 40
    assert Keras.stopped(losses, patience=patience, delta=delta)
    assert not Keras.stopped(losses[:-1], patience=patience, delta=delta)

    best = int(np.argmin(losses))
    shorter = replace(wanted, epochs=best + 1)  # a constant rate: the same training, ended at its best epoch
    train(shorter, tmp_path / "shorter")
    used = resolve(Host.discover(), str(run)).path
    assert used == run / "best" / "weights.safetensors"
    assert same(load_file(used), load_file(tmp_path / "shorter" / "last" / "weights.safetensors"))
    assert best + 1 < len(losses)
    assert not same(load_file(used), load_file(run / "last" / "weights.safetensors"))

    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert train(wanted, run, resume=True) is Ended.EARLY
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_command_says_that_a_run_ended_early_also_when_it_is_resumed(pairs_folder: Path, run) -> None:
    settings = ("early_stopping.patience=1", "early_stopping.min_delta=1", "batch_size=2", "patch=24")
    words = ("-m", "rednet30", "-o", "mine", "--device", "cpu", "--json", "--set", "model.depth=2")
    ended = run("train", "--data", pairs_folder, *words, "model.width=8", "epochs=9", *settings)
    assert ended.code == 0, ended.err
    resumed = run("train", "--resume", "-o", "mine", "--json")
    assert resumed.code == 0, resumed.err
    assert ended.json() == resumed.json()  # the step and the scores that it has
    step = ended.json()[0]["step"]
    for said in (ended.err, resumed.err):
        assert f"ended early at step {step}: the validation loss has not fallen for 1 validations" in said
        assert str(Path("mine", "best")) in said


def test_a_run_that_is_done_has_nothing_left_to_resume(pairs_folder: Path, tmp_path: Path) -> None:
    wanted = request(pairs_folder, recipe=Recipe(epochs=2))
    seen: list[int] = []
    assert train(wanted, tmp_path / "run") is Ended.DONE
    ended = train(wanted, tmp_path / "run", resume=True, report=lambda found: seen.append(found.step))
    assert ended is Ended.BEFORE
    assert seen == [rows_of(tmp_path / "run")[-1]["step"]]
