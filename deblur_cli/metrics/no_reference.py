"""Measures of a picture by itself, for photographs whose sharp version nobody has."""

import numpy as np

from deblur_cli.errors import PictureError
from deblur_cli.metrics.full_reference import Pixels

BLUR_WINDOW = 11
"""Pixels over which the picture is blurred once more."""


def blur(picture: Pixels) -> float:
    """How little a picture loses when it is blurred once more: 0 for a sharp one, 1 for one without any edge.

    1 - (sum of V) / (sum of D) of the grey picture, where D is the absolute Sobel slope along an axis and V what averaging
    over 11 pixels along this axis takes from it; the greater of both axes.

    It says how much blur is left, not whether what is there is true: noise, ringing and invented detail pass for sharpness,
    and a scene of soft things for blur. Only figures of one scene compare.

    Parameters
    ----------
    picture : (H, W, 1) or (H, W, 3) floating point in [0, 1]; H, W >= 11

    Raises
    ------
    PictureError : the picture is smaller than what it is blurred with

    Notes
    -----
    Crete, Dolmiere, Ladret, Nicolas: The Blur Effect: Perception and Estimation with a New No-reference Perceptual Blur
    Metric, SPIE 6492 (2007), by scikit-image, whose grey is 0.2125 R + 0.7154 G + 0.0721 B.
    """
    # scikit-image takes 0.3 s to import: only who asks for this measure pays for it
    from skimage.measure import blur_effect

    height, width, channels = picture.shape
    if min(height, width) < BLUR_WINDOW:
        raise PictureError(
            f"blur needs pictures of at least {BLUR_WINDOW}x{BLUR_WINDOW} pixels, this one is {width}x{height}"
        )
    exact = picture.astype(np.float64)
    # scikit-image ships no types
    return float(
        blur_effect(exact[..., 0]) if channels == 1 else blur_effect(exact, channel_axis=-1)  # type: ignore[no-untyped-call]
    )
