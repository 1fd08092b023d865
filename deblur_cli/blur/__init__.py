"""Degradations: blur, noise and JPEG as plain functions with frozen parameters and explicit generators.

Images are (H, W, C) float32 in [0, 1] with 1 or 3 channels. Each step is `apply(image, params, rng)`; nothing in it is
random but what `rng` gives, and the parameters come from `draw(rng, ...)`.
"""

from collections.abc import Iterable

from deblur_cli.host.declarations import Degradation
from deblur_cli.host.hookspecs import hookimpl

API = 1

DEGRADATIONS = (
    Degradation(
        name="gaussian",
        summary="Gaussian blur, sigma in px",
        apply="deblur_cli.blur.gaussian:apply",
        params="deblur_cli.blur.gaussian:Gaussian",
        draw="deblur_cli.blur.gaussian:draw",
    ),
    Degradation(
        name="camera_shake",
        summary="blur of a rotating, slightly moving camera, different at each place of the picture",
        apply="deblur_cli.blur.camera_shake:apply",
        params="deblur_cli.blur.camera_shake:CameraShake",
        kernel="deblur_cli.blur.camera_shake:kernel",
        bound="deblur_cli.blur.camera_shake:bound",
        places=True,
    ),
    Degradation(
        name="noise",
        summary="sensor noise: shot and read noise in linear light",
        apply="deblur_cli.blur.noise:apply",
        params="deblur_cli.blur.noise:Noise",
        draw="deblur_cli.blur.noise:draw",
    ),
    Degradation(
        name="jpeg",
        summary="JPEG compression by Pillow",
        apply="deblur_cli.blur.jpeg:apply",
        params="deblur_cli.blur.jpeg:Jpeg",
        draw="deblur_cli.blur.jpeg:draw",
    ),
    Degradation(
        name="identity",
        summary="nothing at all, so that networks learn to leave sharp pictures alone",
        apply="deblur_cli.blur.identity:apply",
        params="deblur_cli.blur.identity:Identity",
        draw="deblur_cli.blur.identity:draw",
    ),
)


@hookimpl
def deblur_degradations() -> Iterable[Degradation]:
    """The degradations that come with the host."""
    return DEGRADATIONS
