"""By how much pictures of a data set differ in brightness from their sharp ones, and what models do to the brightness.

    python examples/brightness.py gopro reds reds_x4 -m fast

offset: mean of sharp - blurred, full scale 1; gain: what adding it to the blurred picture is worth in PSNR, with no deblurring at
all; light: the offset from a motion to the side by a 64th of the width, where light itself is averaged, as a camera does, not the
numbers that stand for it. For each model: mean of restored - blurred, its gain, and its gain once its own difference in brightness is
taken off.
"""

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import deblur_cli
from deblur_cli.blur.light import Light, decode, encode
from deblur_cli.data import open_pairs
from deblur_cli.host.manager import Host

Picture = NDArray[np.float64]


def psnr(picture: Picture, sharp: Picture) -> float:
    """In dB, full scale 1."""
    return float(-10 * np.log10(np.square(picture - sharp).mean()))


def moved(sharp: Picture) -> Picture:
    """What a camera would make of the picture, moved by a 64th of its width."""
    light = decode(sharp, Light.LINEAR)
    moved = ndimage.uniform_filter1d(light, sharp.shape[1] // 64, axis=1)
    return np.asarray(encode(moved, Light.LINEAR), np.float64)


def main() -> None:
    """Print a line for each pair and model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+")
    parser.add_argument("-m", "--model", nargs="*", default=[])
    given = parser.parse_args()
    restorers = {name: deblur_cli.load(name) for name in given.model}
    for data in given.data:
        for pair in open_pairs(Host.discover(), data, split="val"):
            pixels, sharp_pixels = pair.load()
            blurry, sharp = pixels / 255, sharp_pixels / 255
            before, offset = psnr(blurry, sharp), (sharp - blurry).mean()
            print(
                f"{data} {pair.name}: offset {offset:+.4f}, gain {psnr(blurry + offset, sharp) - before:+.2f} dB, "
                f"light {(sharp - moved(sharp)).mean():+.4f}"
            )
            for name, restorer in restorers.items():
                restored = restorer(pixels) / 255
                level = restored + (sharp - restored).mean()
                print(
                    f"  {name}: {(restored - blurry).mean():+.4f}, gain {psnr(restored, sharp) - before:+.2f} dB, "
                    f"level {psnr(level, sharp) - before:+.2f} dB"
                )


if __name__ == "__main__":
    main()
