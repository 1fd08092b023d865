"""Measures of a restored picture: against the sharp one, or by itself. Declared here, computed in the modules beside.

A metric takes NumPy arrays and computes where they are: on the CPU, also where a network runs elsewhere, because a restored
picture is put together there tile by tile. Each is a pure function of its pictures, with one thread of its own work (lpips
has PyTorch's), so that it may run beside the network. None rounds to 8 bit, and none cuts a border off.
"""

from collections.abc import Iterable

from deblur_cli.host.declarations import API as API
from deblur_cli.host.declarations import Metric, Option
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
        function="deblur_cli.metrics.structural:ssim",
        higher_is_better=True,
        decimals=4,
    ),
    Metric(
        name="ssim-y",
        summary="ssim of the BT.601 luma Y = (16 + 65.481 R + 128.553 G + 24.966 B) / 255, not rounded",
        function="deblur_cli.metrics.structural:ssim_y",
        higher_is_better=True,
        decimals=4,
    ),
    Metric(
        name="ssim-matlab3d",
        summary="ssim of the volume H x W x C: window 11x11x11, borders repeated, as MATLAB's ssim takes RGB",
        function="deblur_cli.metrics.structural:ssim_matlab3d",
        higher_is_better=True,
        decimals=4,
    ),
    Metric(
        name="ms-ssim",
        summary="ssim over five scales with the weights of Wang 2003, per channel, then mean",
        function="deblur_cli.metrics.structural:ms_ssim",
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
    Metric(
        name="logcosh",
        summary="mean log cosh of the error, values in [0, 1]",
        function="deblur_cli.metrics.full_reference:logcosh",
        higher_is_better=False,
        decimals=6,
    ),
    Metric(
        name="lpips",
        summary="distance of AlexNet's features as people judge it: LPIPS 0.1 of Zhang 2018, with --lpips-weights FILE",
        build="deblur_cli.metrics.lpips:build",
        higher_is_better=False,
        decimals=4,
        options={
            "weights": Option(
                type=str,
                default="",
                help="torchvision's AlexNet and LPIPS's own weights in one file, .pth or .safetensors (--lpips-weights)",
            )
        },
        files=("weights",),
    ),
    Metric(
        name="blur",
        summary="blur left in the picture, judged without the sharp one: 0 none, 1 no edge at all (Crete 2007)",
        function="deblur_cli.metrics.no_reference:blur",
        reference=False,
        higher_is_better=False,
        decimals=4,
    ),
)


@hookimpl
def deblur_metrics() -> Iterable[Metric]:
    """Differences, similarities, one by a network, and one without a reference."""
    return METRICS
