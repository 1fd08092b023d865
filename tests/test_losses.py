"""The pixel losses against closed forms in float64."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deblur_cli.errors import UsageError
from deblur_cli.host.declarations import Values
from deblur_cli.host.manager import Host
from deblur_cli.host.recipes import Recipe, Term
from deblur_cli.training.objective import build_objective

Array = NDArray[np.float64]


def log_cosh(error: Array) -> Array:
    """Two forms, each of which is exact on its side of 1; numpy's, not torch's."""
    size = np.abs(error)
    near = np.log1p(2 * np.sinh(np.minimum(size, 1) / 2) ** 2)
    return np.where(size < 1, near, np.logaddexp(size, -size) - math.log(2))


VALUES: dict[str, Callable[[Array], Array]] = {
    "mse": np.square,
    "mae": np.abs,
    "logcosh": log_cosh,
    "charbonnier": lambda error: np.hypot(error, 1e-3),
}
SLOPES: dict[str, Callable[[Array], Array]] = {
    "mse": lambda error: 2 * error,
    "mae": np.sign,
    "logcosh": np.tanh,
    "charbonnier": lambda error: error / np.hypot(error, 1e-3),
}


def loss(
    name: str, restored: torch.Tensor, sharp: torch.Tensor, *, values: str = "unit", **options: float
) -> torch.Tensor:
    """The declared loss by its name, as a recipe uses it."""
    objective = build_objective(
        Host.discover(),
        Recipe(loss=Term(loss=name, options=options)),
        values=Values(values),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    (term,) = objective.terms
    return term[1](restored, sharp)


def pictures(error: Array, *, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Restored ones with these errors, and the sharp ones, which are black: so that the errors are exact."""
    restored = torch.from_numpy(error.reshape(2, 3, -1, 5)).to(dtype)
    return restored.requires_grad_(), torch.zeros_like(restored)


def errors(scale: float) -> Array:
    return np.random.default_rng(0).normal(size=2 * 3 * 4 * 5).astype(np.float32).astype(float) * scale


@pytest.mark.parametrize(
    ("name", "error", "expected"),
    [
        ("mse", 0.5, 0.25),
        ("mae", -0.5, 0.5),
        ("logcosh", 0.0, 0.0),
        ("logcosh", 1.0, 0.433781),
        ("logcosh", -1.0, 0.433781),
        ("logcosh", 100.0, 99.306853),
        ("logcosh", -100.0, 99.306853),
        ("charbonnier", 0.0, 1e-3),
        ("charbonnier", 0.5, math.sqrt(0.25 + 1e-6)),
        ("psnr", 0.0, 0.0),
        ("psnr", 0.01, 10 * math.log10(2)),  # 40 dB, the floor
        ("psnr", 0.1, 10 * math.log10(101)),
    ],
)
def test_a_constant_error_gives_the_closed_form(name: str, error: float, expected: float) -> None:
    sharp = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float(loss(name, sharp + error, sharp)) == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0, 30.0, 1e4])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-11)])
def test_values_and_slopes_agree_with_float64_at_every_size_of_error(
    name: str, scale: float, dtype: torch.dtype, tolerance: float
) -> None:
    restored, sharp = pictures(errors(scale), dtype=dtype)
    exact = restored.detach().double().numpy()
    found = loss(name, restored, sharp)
    assert found.dtype == dtype
    (slope,) = torch.autograd.grad(found, restored)
    # a log cosh adds up terms of the size of the error: relative to the error it is exact, relative to its square less so
    floor = tolerance * scale if name == "logcosh" else 0.0
    assert found.item() == pytest.approx(VALUES[name](exact).mean(), rel=tolerance, abs=floor / 10)
    expected = SLOPES[name](exact) / exact.size
    np.testing.assert_allclose(slope.double().numpy(), expected, rtol=tolerance, atol=tolerance / exact.size)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_pictures_in_half_precision_are_compared_in_float32(name: str, dtype: torch.dtype) -> None:
    restored, sharp = pictures(errors(0.1), dtype=dtype)
    found = loss(name, restored, sharp)
    (slope,) = torch.autograd.grad(found, restored)
    exact = restored.detach().double().numpy()
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(VALUES[name](exact).mean(), rel=1e-5)
    assert slope.dtype == dtype  # gradients go on in the precision of the picture
    np.testing.assert_allclose(slope.double().numpy(), SLOPES[name](exact) / exact.size, rtol=0.01, atol=1e-6)


@pytest.mark.parametrize("name", VALUES)
def test_equal_pictures_have_no_slope(name: str) -> None:
    restored, sharp = pictures(np.zeros(2 * 3 * 4 * 5))
    (slope,) = torch.autograd.grad(loss(name, restored, sharp), restored)
    assert torch.equal(slope, torch.zeros_like(slope))


def test_logcosh_is_below_half_the_squared_error() -> None:
    for number in torch.linspace(-6, 6, 101, dtype=torch.float64).tolist():
        restored, sharp = pictures(np.full(30, number), dtype=torch.float64)
        assert loss("logcosh", restored, sharp).item() <= number**2 / 2 + 1e-12


def test_the_bend_of_charbonnier_can_be_set() -> None:
    restored, sharp = pictures(errors(0.1))
    exact = restored.detach().double().numpy()
    found = loss("charbonnier", restored, sharp, eps=0.5)
    assert found.item() == pytest.approx(np.hypot(exact, 0.5).mean(), rel=1e-6)


@pytest.mark.parametrize("eps", [0.0, -1.0, math.nan, math.inf])
def test_a_bend_that_has_no_slope_is_refused(eps: float) -> None:
    with pytest.raises(UsageError, match=r"loss\.charbonnier\.eps"):
        loss("charbonnier", torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2), eps=eps)


def test_every_picture_counts_by_its_decibels() -> None:
    exact = errors(1.0).reshape(2, -1) * [[0.02], [0.2]]  # one picture blurred mildly, one heavily
    restored, sharp = pictures(exact)
    found = loss("psnr", restored, sharp)
    mse = np.square(exact).mean(axis=1)
    assert found.item() == pytest.approx((10 * np.log10(1 + mse / 1e-4)).mean(), rel=1e-6)
    (slope,) = torch.autograd.grad(found, restored)
    expected = 10 / math.log(10) * exact / (exact.shape[1] * (mse + 1e-4))[:, None]
    np.testing.assert_allclose(slope.numpy().reshape(2, -1), expected, rtol=1e-5)
    signed = loss("psnr", 2 * restored - 1, 2 * sharp - 1, values="signed")
    assert signed.item() == pytest.approx(found.item(), rel=1e-5)
    assert loss("psnr", restored, sharp, floor=1e-12).item() == pytest.approx(
        120 + 10 * np.log10(mse).mean(), rel=1e-6
    )


@pytest.mark.parametrize("floor", [0.0, -1.0, math.nan, math.inf])
def test_a_floor_that_is_none_is_refused(floor: float) -> None:
    with pytest.raises(UsageError, match=r"loss\.psnr\.floor"):
        loss("psnr", torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2), floor=floor)
