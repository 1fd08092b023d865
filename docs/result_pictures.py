"""What each network of docs/results.md makes of the same six small pictures: docs/images/results/NAME.TAG.png.

python docs/result_pictures.py     draws those that are missing or of other weights; `make docs` calls it

The pictures are parts of photographs that come with scikit-image, reduced to 32x32 px as CIFAR-10's are, and blurred as cifar10-s0
does it, from mild to strong.
"""

import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from skimage import data

import deblur_cli
from deblur_cli.blur import gaussian
from deblur_cli.evaluation.grid import side_by_side
from deblur_cli.metrics.full_reference import psnr
from deblur_cli.pictures.regions import Pixels8
from deblur_cli.pictures.scaling import from_integers, to_8_bit

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "weights" / "records" / "reports"
PICTURES = Path(__file__).parent / "images" / "results"

SIDE = 32
PARTS = (  # photograph, left, top and side of the part in px, sigma of the blur in px
    (data.astronaut, 64, 0, 256, 0.5),
    (data.chelsea, 80, 20, 256, 1.0),
    (data.coffee, 150, 60, 288, 1.5),
    (data.rocket, 250, 60, 192, 2.0),
    (data.astronaut, 288, 160, 192, 2.5),
    (data.chelsea, 200, 60, 224, 3.0),
)


def small_pictures() -> list[tuple[Pixels8, Pixels8]]:
    """(sharp, blurred), each (32, 32, 3)."""
    pairs = []
    for photograph, left, top, side, sigma in PARTS:
        part = photograph()[top : top + side, left : left + side, :3]
        sharp = cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        params = gaussian.Gaussian(sigma=sigma, engine=gaussian.Engine.OPENCV_U8)
        blurred = gaussian.apply(from_integers(sharp), params, np.random.default_rng(0))
        pairs.append((sharp, to_8_bit(blurred)))
    return pairs


def draw(name: str) -> Pixels8:
    """Three rows: blurred, restored with what that gained, sharp."""
    pairs = small_pictures()
    restorer = deblur_cli.load(name, device="cpu", dtype="float32")
    restored = [restorer(blurred) for _, blurred in pairs]
    gains = [
        psnr(from_integers(result), from_integers(sharp)) - psnr(from_integers(blurred), from_integers(sharp))
        for (sharp, blurred), result in zip(pairs, restored, strict=True)
    ]
    cells = [(f"sigma {part[-1]}", blurred) for part, (_, blurred) in zip(PARTS, pairs, strict=True)]
    cells += [(f"{gain:+.1f} dB", result) for gain, result in zip(gains, restored, strict=True)]
    cells += [("sharp", sharp) for sharp, _ in pairs]
    return side_by_side(cells, columns=len(pairs), cell_px=4 * SIDE)


def wanted() -> dict[Path, str]:
    """The hash of the weights, by the picture that shows them."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RECORDS.glob("*.json"))]
    return {PICTURES / f"{record['model']}.png": record["weights_sha256"] for record in records}


def shown(path: Path) -> str:
    """The hash of the weights that a picture was drawn with."""
    if not path.exists():
        return ""
    with Image.open(path) as picture:
        return str(picture.info.get("weights", ""))


def main() -> None:
    """Draw what is out of date, and remove what is of no record."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for path in set(PICTURES.iterdir()) - wanted().keys():
        path.unlink()
    for path, weights in wanted().items():
        if shown(path) != weights:
            about = PngInfo()
            about.add_text("weights", weights)
            Image.fromarray(draw(path.stem)).save(path, optimize=True, pnginfo=about)
            print(f"drawn: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
