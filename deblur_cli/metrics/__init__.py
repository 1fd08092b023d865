"""Measures of a restored picture against the sharp one. Declared here, computed in `full_reference`."""

from collections.abc import Iterable

from deblur_cli.host.declarations import API as API
from deblur_cli.host.declarations import Metric
from deblur_cli.host.hookspecs import hookimpl

METRICS = (
    Metric(
        name="psnr",
        summary="peak signal-to-noise ratio over all pixels and channels; infinite for identical pictures",
        function="deblur_cli.metrics.full_reference:psnr",
        higher_is_better=True,
        unit="dB",
        decimals=2,
    ),
    Metric(
        name="ssim",
        summary="structural similarity: Gaussian window 11x11, sigma 1.5, per channel, then mean",
        function="deblur_cli.metrics.full_reference:ssim",
        higher_is_better=True,
        decimals=4,
    ),
    Metric(
        name="mse",
        summary="mean squared error, values in [0, 1]",
        function="deblur_cli.metrics.full_reference:mse",
        higher_is_better=False,
        decimals=6,
    ),
    Metric(
        name="mae",
        summary="mean absolute error, values in [0, 1]",
        function="deblur_cli.metrics.full_reference:mae",
        higher_is_better=False,
        decimals=5,
    ),
)


@hookimpl
def deblur_metrics() -> Iterable[Metric]:
    """PSNR, SSIM, MSE and MAE."""
    return METRICS
