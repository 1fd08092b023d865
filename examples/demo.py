"""What `make demo` runs: blur a photograph, restore it with the real command, measure, and show it side by side.

The photograph comes with scikit-image; the blur is our camera shake with a fixed seed, then sensor noise and JPEG, as a
phone would leave it. A second photograph, clock_motion, was really blurred when it was taken: nobody has the sharp one,
so it is shown without scores.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from deblur_cli.blur import camera_shake, jpeg, noise
from deblur_cli.blur.light import Light, decode, encode
from deblur_cli.evaluation.grid import side_by_side
from deblur_cli.metrics.full_reference import psnr
from deblur_cli.metrics.structural import ssim
from deblur_cli.pictures.scaling import from_integers, to_8_bit

Pixels = NDArray[np.uint8]
Metric = Callable[[NDArray[np.float32], NDArray[np.float32]], float]

SEED = 7
SHAKE = camera_shake.CameraShake(
    focal_mm=35.0, exposure_s=1 / 8, rate_dps=3.0, tremor_hz=(9.0, 10.0, 11.0), tremor_deg=(0.01, 0.01, 0.01),
    tremor_phase=(0.0, 1.0, 2.0), move_mm_s=3.0, depth_m=2.0, max_extent_px=24.0,
)  # fmt: skip
NOISE = noise.Noise(gain=2e-4, read_var=1e-6)
JPEG = jpeg.Jpeg(quality=92, subsampling=jpeg.Subsampling.NONE)
DETAIL = (96, 20, 376, 300)  # of the README's picture, in px: left, top, right, bottom


def main(words: Sequence[str] | None = None) -> None:
    """Run the demonstration; `words` replace those of the command line."""
    parser = argparse.ArgumentParser(
        description="blur and restore two photographs that come with scikit-image"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for all pictures (default: demo)"
    )
    parser.add_argument("--weights", type=Path, help="weights file to use instead of the default model")
    parser.add_argument(
        "--picture", type=Path, help="also write a detail of the first photograph, for the README"
    )
    options = parser.parse_args(words)
    options.out.mkdir(parents=True, exist_ok=True)

    print("1. astronaut, blurred by a simulated camera shake, with noise and JPEG")
    sharp = data.astronaut()
    blurry_file = options.out / "astronaut.blurry.jpg"
    blurry_file.write_bytes(blurred_jpeg(sharp))
    restored_file = restore(blurry_file, weights=options.weights)
    blurry, restored = read(blurry_file), read(restored_file)
    for name, picture in (("blurry", blurry), ("restored", restored)):
        print(
            f"   {name:9} PSNR {score(psnr, picture, sharp):6.3f} dB   SSIM {score(ssim, picture, sharp):.4f}"
        )
    panels = {"blurry": blurry, "restored": restored, "sharp": sharp}
    print(f"   side by side: {save_panels(panels, options.out / 'astronaut.side-by-side.png')}")
    if options.picture is not None:
        left, top, right, bottom = DETAIL
        details = {name: picture[top:bottom, left:right] for name, picture in panels.items()}
        options.picture.parent.mkdir(parents=True, exist_ok=True)
        print(f"   a detail:     {save_panels(details, options.picture)}")

    print(
        "2. clock_motion, really blurred when it was taken; without a sharp one there is nothing to measure against"
    )
    clock_file = options.out / "clock.blurry.png"
    Image.fromarray(data.clock()).save(clock_file)
    clock_restored = restore(clock_file, weights=options.weights)
    panels = {"blurry": read(clock_file), "restored": read(clock_restored)}
    print(f"   side by side: {save_panels(panels, options.out / 'clock.side-by-side.png')}")


def blurred_jpeg(sharp: Pixels) -> bytes:
    """The JPEG file of (H, W, 3) pixels as a shaken camera would have left it."""
    rng = np.random.default_rng(SEED)
    light = decode(from_integers(sharp), Light.LINEAR)
    light = camera_shake.apply(light, SHAKE, rng)
    light = noise.apply(light, NOISE, rng)
    return jpeg.compress(to_8_bit(encode(light, Light.LINEAR)), JPEG)


def restore(blurry_file: Path, *, weights: Path | None) -> Path:
    """Restore one file with the command, which is shown as a user would type it."""
    restored_file = blurry_file.with_name(blurry_file.name.split(".")[0] + ".restored.png")
    words = [str(blurry_file), "-o", str(restored_file), "--overwrite"]
    if weights is not None:
        words += ["--weights", str(weights)]
    print(f"   $ deblur {' '.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "deblur_cli", *words], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return restored_file


def read(file: Path) -> Pixels:
    """A picture as (H, W, 3) pixels."""
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))


def score(metric: Metric, picture: Pixels, sharp: Pixels) -> float:
    """A metric of 8-bit pixels against the sharp ones."""
    return metric(from_integers(picture), from_integers(sharp))


def save_panels(panels: dict[str, Pixels], file: Path) -> Path:
    """Write pictures of equal size beside each other, each under its name."""
    sheet = side_by_side(list(panels.items()), cell_px=max(max(picture.shape) for picture in panels.values()))
    Image.fromarray(sheet).save(file, optimize=True)
    return file


if __name__ == "__main__":
    main()
