"""Where the default weights fail, for docs/photo-weights.md: photographs that come with scikit-image under blurs beyond them.

python examples/failures.py docs/images/failures.png
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import data

from deblur_cli.blur import camera_shake, defocus, highlights, noise
from deblur_cli.blur.light import Light, decode, encode
from deblur_cli.evaluation.grid import side_by_side
from deblur_cli.metrics.full_reference import psnr
from deblur_cli.pictures.scaling import Image as FloatImage
from deblur_cli.pictures.scaling import from_integers, to_8_bit
from demo import SEED, SHAKE, Pixels, read, restore, score

SIDE = 240  # px of a detail

LONG_SHAKE = replace(SHAKE, rate_dps=14.0, max_extent_px=64.0)


def long_shake(light: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Streaks of about 50 px, twice as long as any that was trained on."""
    return camera_shake.apply(light, LONG_SHAKE, rng)


def lamps(light: FloatImage, rng: np.random.Generator) -> FloatImage:
    """What is white is really eight times as bright, so that the sensor clips its streaks."""
    bright = highlights.apply(light, highlights.Highlights(boost=8.0), rng)
    return camera_shake.apply(bright, SHAKE, rng)


def far_out_of_focus(light: FloatImage, rng: np.random.Generator) -> FloatImage:
    """A disk of 9 px radius; 6 px were trained on."""
    disk = defocus.kernel(defocus.Defocus(radius=9.0), rng)
    return ndimage.convolve(light, disk[:, :, None].astype(np.float32), mode="mirror")


def dark_and_noisy(light: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Shake, and the noise of a high ISO."""
    return noise.apply(camera_shake.apply(light, SHAKE, rng), noise.Noise(gain=0.01, read_var=4e-4), rng)


CASES = {
    "a long shake": (data.astronaut, long_shake, (96, 20)),
    "lamps beyond white": (data.rocket, lamps, (250, 150)),
    "far out of focus": (data.chelsea, far_out_of_focus, (100, 40)),
    "much noise": (data.coffee, dark_and_noisy, (180, 60)),
}


def main() -> None:
    """Write the sheet: blurred, restored and sharp, a row for each case, with what restoring gained."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sheet", type=Path)
    sheet = parser.parse_args().sheet
    rows = []
    for name, (photograph, blur, corner) in CASES.items():
        sharp = photograph()
        light = blur(decode(from_integers(sharp), Light.LINEAR), np.random.default_rng(SEED))
        rows.append(row(name, sharp, to_8_bit(encode(light, Light.LINEAR)), corner=corner))
    width = max(picture.shape[1] for picture in rows)
    padded = [np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0))) for picture in rows]
    Image.fromarray(np.concatenate(padded)).save(sheet, optimize=True)


def row(name: str, sharp: Pixels, blurry: Pixels, *, corner: tuple[int, int]) -> Pixels:
    """A detail of three pictures side by side. corner : left and top of it, px"""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "case.png"
        Image.fromarray(blurry).save(file)
        restored = read(restore(file, weights=None))
    gain = score(psnr, restored, sharp) - score(psnr, blurry, sharp)
    left, top = corner
    panels: Mapping[str, Pixels] = {name: blurry, f"restored, {gain:+.2f} dB": restored, "sharp": sharp}
    details = [(title, picture[top : top + SIDE, left : left + SIDE]) for title, picture in panels.items()]
    return side_by_side(details, cell_px=SIDE)


if __name__ == "__main__":
    main()
