"""Training losses, declared through the same hook as anybody's."""

from collections.abc import Iterable

from deblur_cli.host.declarations import Loss, Option
from deblur_cli.host.hookspecs import hookimpl

_CHARBONNIER = Loss(
    name="charbonnier",
    summary="mean sqrt(e^2 + eps^2), a smooth mae",
    build="deblur_cli.losses.pixel:charbonnier",
    options={"eps": Option(type=float, default=1e-3, help="error below which it is like a mean square, > 0")},
)
_PSNR = Loss(
    name="psnr",
    summary="mean over the pictures of 10 log10(1 + mse / floor), in dB: mild blur counts as much as heavy",
    build="deblur_cli.losses.pixel:psnr",
    options={"floor": Option(type=float, default=1e-4, help="mean squared error that is good enough, > 0")},
)
_PERCEPTUAL = Loss(
    name="perceptual",
    summary="mean squared error of the features that VGG19 or VGG16 finds (block 3, third convolution)",
    build="deblur_cli.losses.perceptual:build",
    options={
        "weights": Option(
            type=str,
            default="",
            help="torchvision's file of the network, .pth or .safetensors (--vgg-weights)",
        ),
        "network": Option(type=str, default="vgg19", choices=("vgg19", "vgg16"), help="which features"),
        "norm": Option(
            type=str, default="l2", choices=("l2", "l1"), help="mean square or mean absolute difference"
        ),
        "before_relu": Option(type=bool, default=False, help="features before the last ReLU"),
        "normalisation": Option(
            type=str,
            default="imagenet",
            choices=("imagenet", "none"),
            help="as the network was trained, or values of [-1, 1] as they are",
        ),
    },
    files=("weights",),
)


@hookimpl
def deblur_losses() -> Iterable[Loss]:
    """Pixel losses, which are means over all elements of a batch, and the perceptual one."""
    return (
        Loss(name="mse", summary="mean squared error", function="deblur_cli.losses.pixel:mse"),
        Loss(name="mae", summary="mean absolute error", function="deblur_cli.losses.pixel:mae"),
        Loss(
            name="logcosh", summary="mean log cosh of the error", function="deblur_cli.losses.pixel:logcosh"
        ),
        _CHARBONNIER,
        _PSNR,
        _PERCEPTUAL,
    )
