"""The pixel losses against closed forms."""

import math

import pytest
import torch

from deblur_cli.host.declarations import import_object
from deblur_cli.host.manager import Host


def loss(name: str, restored: torch.Tensor, sharp: torch.Tensor) -> torch.Tensor:
    return import_object(Host.discover().loss(name).function)(restored, sharp)


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
    ],
)
def test_a_constant_error_gives_the_closed_form(name: str, error: float, expected: float) -> None:
    sharp = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float(loss(name, sharp + error, sharp)) == pytest.approx(expected, abs=5e-7)


def test_logcosh_is_below_half_the_squared_error_and_its_slope_is_tanh() -> None:
    zero = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    for number in torch.linspace(-6, 6, 101, dtype=torch.float64).tolist():
        error = (zero + number).requires_grad_()
        value = loss("logcosh", error, zero)
        (slope,) = torch.autograd.grad(value, error)
        assert value.item() <= number**2 / 2 + 1e-12
        assert slope.item() == pytest.approx(math.tanh(number), abs=1e-9)
