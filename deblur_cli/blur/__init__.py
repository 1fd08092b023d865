"""Degradations: blur, noise and JPEG as plain functions with frozen parameters and explicit generators.

Pictures are (H, W, C) float32 in [0, 1] with 1 or 3 channels. Each step is `apply(image, params, rng)` or convolves with
`kernel(params, rng)`; nothing in it is random but what `rng` gives. A spec says what the parameters are drawn from.
"""

from collections.abc import Iterable

from deblur_cli.host.declarations import Degradation, Stage
from deblur_cli.host.hookspecs import hookimpl

API = 1

DEGRADATIONS = (
    Degradation(
        name="gaussian",
        summary="Gaussian blur of any sigma",
        params="deblur_cli.blur.gaussian:Gaussian",
        apply="deblur_cli.blur.gaussian:apply",
        kernel="deblur_cli.blur.gaussian:kernel",
        bound="deblur_cli.blur.gaussian:bound",
        codes=True,
    ),
    Degradation(
        name="gaussian_k",
        summary="Gaussian blur of a fixed size of k x k pixels",
        params="deblur_cli.blur.gaussian_k:GaussianK",
        draw="deblur_cli.blur.gaussian_k:draw",
        apply="deblur_cli.blur.gaussian_k:apply",
        kernel="deblur_cli.blur.gaussian_k:kernel",
        bound="deblur_cli.blur.gaussian_k:bound",
    ),
    Degradation(
        name="median",
        summary="median of k x k pixels, which no kernel describes",
        params="deblur_cli.blur.median:Median",
        apply="deblur_cli.blur.median:apply",
        bound="deblur_cli.blur.median:bound",
    ),
    Degradation(
        name="box",
        summary="mean of k x k pixels",
        params="deblur_cli.blur.box:Box",
        apply="deblur_cli.blur.box:apply",
        kernel="deblur_cli.blur.box:kernel",
        bound="deblur_cli.blur.box:bound",
    ),
    Degradation(
        name="linear_motion",
        summary="motion along a straight line at constant speed",
        params="deblur_cli.blur.linear_motion:LinearMotion",
        kernel="deblur_cli.blur.linear_motion:kernel",
        bound="deblur_cli.blur.linear_motion:bound",
    ),
    Degradation(
        name="trajectory",
        summary="motion along a random path of a hand-held camera, the same everywhere in the picture",
        params="deblur_cli.blur.trajectory:Trajectory",
        kernel="deblur_cli.blur.trajectory:kernel",
        bound="deblur_cli.blur.trajectory:bound",
    ),
    Degradation(
        name="frame_average",
        summary="mean of consecutive frames of a video, as a long exposure",
        params="deblur_cli.blur.frame_average:FrameAverage",
        apply="deblur_cli.blur.frame_average:apply",
        bound=0,
        stage=Stage.FRAMES,
    ),
    Degradation(
        name="camera_shake",
        summary="blur of a rotating, slightly moving camera, different at each place of the picture",
        params="deblur_cli.blur.camera_shake:CameraShake",
        apply="deblur_cli.blur.camera_shake:apply",
        kernel="deblur_cli.blur.camera_shake:kernel",
        bound="deblur_cli.blur.camera_shake:bound",
        places=True,
    ),
    Degradation(
        name="defocus",
        summary="disk or polygon of a lens out of focus, the same everywhere in the picture",
        params="deblur_cli.blur.defocus:Defocus",
        draw="deblur_cli.blur.defocus:draw",
        kernel="deblur_cli.blur.defocus:kernel",
        bound="deblur_cli.blur.defocus:bound",
    ),
    Degradation(
        name="highlights",
        summary="light above white that the stored picture has lost, for streaks of lamps",
        params="deblur_cli.blur.highlights:Highlights",
        apply="deblur_cli.blur.highlights:apply",
        bound=0,
        stage=Stage.SCENE,
    ),
    Degradation(
        name="noise",
        summary="noise of a sensor, or the same everywhere",
        params="deblur_cli.blur.noise:Noise",
        draw="deblur_cli.blur.noise:draw",
        apply="deblur_cli.blur.noise:apply",
        bound=0,
        stage=Stage.SENSOR,
    ),
    Degradation(
        name="jpeg",
        summary="JPEG compression by Pillow",
        params="deblur_cli.blur.jpeg:Jpeg",
        apply="deblur_cli.blur.jpeg:apply",
        bound=0,
        stage=Stage.FILE,
        codes=True,
    ),
    Degradation(
        name="identity",
        summary="nothing at all, so that networks learn to leave sharp pictures alone",
        params="deblur_cli.blur.identity:Identity",
        apply="deblur_cli.blur.identity:apply",
        bound=0,
    ),
)


@hookimpl
def deblur_degradations() -> Iterable[Degradation]:
    """The degradations that come with the host."""
    return DEGRADATIONS
