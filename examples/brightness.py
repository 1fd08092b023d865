"""By how much pictures of a data set differ in brightness from their sharp ones, and what models do to the brightness.

    python examples/brightness.py gopro reds reds_x4 -m fast

offset: mean of sharp - blurred, full scale 1; gain: what adding it to the blurred picture is worth in PSNR, with no deblurring at
all. For each model: mean of restored - blurred, its gain, and its gain once its own difference in brightness is taken off.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

import deblur_cli
from deblur_cli.data import open_pairs
from deblur_cli.host.manager import Host

Picture = NDArray[np.float64]


def psnr(picture: Picture, sharp: Picture) -> float:
    """In dB, full scale 1."""
    return float(-10 * np.log10(np.square(picture - sharp).mean()))


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
                f"{data} {pair.name}: offset {offset:+.4f}, gain {psnr(blurry + offset, sharp) - before:+.2f} dB"
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
