"""Training losses, declared through the same hook as anybody's."""

from collections.abc import Iterable

from deblur_cli.host.declarations import Loss
from deblur_cli.host.hookspecs import hookimpl


@hookimpl
def deblur_losses() -> Iterable[Loss]:
    """The pixel losses: means over all elements of a batch."""
    return (
        Loss(name="mse", summary="mean squared error", function="deblur_cli.losses.pixel:mse"),
        Loss(name="mae", summary="mean absolute error", function="deblur_cli.losses.pixel:mae"),
        Loss(
            name="logcosh", summary="mean log cosh of the error", function="deblur_cli.losses.pixel:logcosh"
        ),
        Loss(
            name="charbonnier",
            summary="mean sqrt(e^2 + 1e-6), a smooth mae",
            function="deblur_cli.losses.pixel:charbonnier",
        ),
    )
