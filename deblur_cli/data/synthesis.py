"""One pair from one sharp picture: drawn blur, noise and JPEG, with a record of everything drawn.

The steps stand in the order of the physics: light, blur, noise, clipping, encoding, 8 bit, JPEG. The sharp picture gets
none of them.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur import camera_shake, gaussian, jpeg, noise
from deblur_cli.blur.borders import Border, Window, crop
from deblur_cli.blur.light import Light, decode, encode
from deblur_cli.blur.randomness import PAIR_SLOT, Range, Role, choice, generator, integer
from deblur_cli.errors import UsageError
from deblur_cli.host.declarations import Degradation, import_object
from deblur_cli.pictures.picture import Pixels
from deblur_cli.pictures.scaling import from_integers, to_8_bit

BLURS = ("camera_shake", "gaussian", "identity")

OTHER_MARGIN_PX = 32
"""Pixels beyond a patch that a plugin's blur gets to see, since its declaration does not say how far it looks."""

# `Any` in the records below: they are JSON objects.
Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Degrade:
    """What is drawn for each pair.

    blurs : names out of BLURS or of `others`, each as likely as the others
    others : degradations of plugins; they act with their own default ranges
    light : what the blur acts on; None = code values for Gaussian blur, light for camera shake
    sigma : of Gaussian blur, px
    rate_dps, exposure_s, max_extent_px : of camera shake, see `deblur_cli.blur.camera_shake`
    noise, gain : probability of sensor noise; its gain, log-uniform
    jpeg, quality : probability of JPEG; its quality
    patch : side of square patches in px, cut so that no border is seen; None = whole pictures, mirrored at the border
    candidates : places tried for each patch; the one with most detail is taken
    """

    blurs: tuple[str, ...] = ("gaussian",)
    others: tuple[Degradation, ...] = ()
    light: Light | None = None
    sigma: Range = (0.0, 3.0)
    rate_dps: Range = (1.0, 10.0)
    exposure_s: Range = (1 / 30, 1 / 3)
    max_extent_px: float = 24.0
    noise: float = 0.0
    gain: Range = (1e-4, 4e-3)
    jpeg: float = 0.0
    quality: tuple[int, int] = (60, 98)
    patch: int | None = None
    candidates: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        known = (*BLURS, *(item.name for item in self.others))
        unknown = [name for name in self.blurs if name not in known]
        if unknown or not self.blurs:
            raise UsageError(
                f"there is no blur {', '.join(unknown) or 'named'}; there are: {', '.join(known)}"
            )
        for name, probability in (("noise", self.noise), ("jpeg", self.jpeg)):
            if not 0 <= probability <= 1:
                raise UsageError(f"the probability of {name} is {probability:g}; it must be from 0 to 1")
        for name, limits in (("sigma", self.sigma), ("rate", self.rate_dps), ("exposure", self.exposure_s),
                             ("gain", self.gain), ("quality", self.quality)):  # fmt: skip
            if not limits[0] <= limits[1]:
                raise UsageError(
                    f"the range of {name} is {limits[0]:g} to {limits[1]:g}; write the smaller end first"
                )
        for sigma, gain, quality in zip(self.sigma, self.gain, self.quality, strict=True):
            gaussian.Gaussian(sigma=sigma), noise.Noise(gain=gain, read_var=0), jpeg.Jpeg(quality=quality)
        if (self.patch is not None and self.patch < 1) or self.candidates < 1:
            raise UsageError("a patch needs at least 1 px and 1 candidate")

    @property
    def margin(self) -> int:
        """Pixels beyond a patch that any of the blurs may look at; 0 for whole pictures."""
        return 0 if self.patch is None else max(_bound(self, name) for name in self.blurs)

    @property
    def border(self) -> Border:
        """What happens at the edge."""
        return Border.REFLECT101 if self.patch is None else Border.CROP_VALID


@dataclass(frozen=True, slots=True, kw_only=True)
class MadePair:
    """A pair, (H, W, C) uint8 each, and the record of how it was made."""

    blurry: NDArray[np.uint8]
    sharp: NDArray[np.uint8]
    record: Record


def fits(pixels: Pixels, degrade: Degrade) -> bool:
    """Whether a picture is large enough for a patch with its margin."""
    return degrade.patch is None or min(pixels.shape[:2]) >= degrade.patch + 2 * degrade.margin


def make_pair(pixels: Pixels, degrade: Degrade, *, index: int, draw: int) -> MadePair:
    """Cut, blur, add noise and compress.

    Parameters
    ----------
    pixels : the sharp picture, (H, W, C) integers of 8 or 16 bit, C = 1 or 3; `fits` must hold
    index, draw : which random numbers; see `deblur_cli.blur.randomness.generator`

    Notes
    -----
    The random numbers of each step depend on (seed, index, draw, step) alone, so changing one step leaves the draws of
    the others as they were.
    """
    random = partial(generator, degrade.seed, index=index, draw=draw)
    height, width = pixels.shape[:2]
    margin = degrade.margin
    top, left = _place(pixels, degrade, random(slot=PAIR_SLOT, role=Role.PARAMETERS))
    if degrade.patch is not None:
        side = degrade.patch + 2 * margin
        pixels = pixels[top : top + side, left : left + side]
    source = from_integers(pixels)
    window = Window(whole_height=height, whole_width=width, top=top, left=left)

    steps: list[Record] = []
    slot = 1
    name = degrade.blurs[0]
    if len(degrade.blurs) > 1:
        name = choice(random(slot=slot, role=Role.PARAMETERS), degrade.blurs)
        steps.append({"slot": slot, "op": "mix", "branch": degrade.blurs.index(name)})
        slot += 1
    slot_of_blur = slot + degrade.blurs.index(name)
    image, light, step = _blurred(
        source, degrade, name, window=window, random=partial(random, slot=slot_of_blur)
    )
    steps.append(
        {"slot": slot_of_blur, "op": name, **step, "stream": [index, draw, slot_of_blur, int(Role.FIELD)]}
    )
    slot += len(degrade.blurs)
    image = crop(image, margin)
    image, light, step = _noisy(image, light, degrade, random=partial(random, slot=slot))
    steps.append({"slot": slot, "op": "noise", **step, "stream": [index, draw, slot, int(Role.FIELD)]})
    blurry, step = _compressed(
        to_8_bit(encode(image, light)), degrade, random(slot=slot + 1, role=Role.PARAMETERS)
    )
    steps.append({"slot": slot + 1, "op": "jpeg", **step})

    sharp = to_8_bit(crop(source, margin))
    return MadePair(
        blurry=blurry,
        sharp=sharp,
        record={
            "seed": degrade.seed,
            "size": [sharp.shape[1], sharp.shape[0]],
            "margin": margin,
            "offset": [left + margin, top + margin],
            "full_size": [width, height],
            "border": degrade.border.value,
            "steps": steps,
            "psnr_db": _psnr_db(blurry, sharp),
            "blur_sha256": hashlib.sha256(blurry.tobytes()).hexdigest(),
            "sharp_sha256": hashlib.sha256(sharp.tobytes()).hexdigest(),
        },
    )


def _bound(degrade: Degrade, name: str) -> int:
    if name == "gaussian":
        return gaussian.bound(sigma=degrade.sigma)
    if name == "camera_shake":
        return camera_shake.bound(max_extent_px=degrade.max_extent_px)
    return 0 if name == "identity" else OTHER_MARGIN_PX


def _place(pixels: Pixels, degrade: Degrade, rng: np.random.Generator) -> tuple[int, int]:
    """Top and left of the piece that is cut, margin included: of several candidates the one with most detail."""
    if degrade.patch is None:
        return 0, 0
    side = degrade.patch + 2 * degrade.margin
    height, width = pixels.shape[:2]
    places = []
    for _ in range(degrade.candidates):
        left = integer(rng, (0, width - side))
        places.append((integer(rng, (0, height - side)), left))

    def detail(place: tuple[int, int]) -> float:
        piece = pixels[place[0] : place[0] + side, place[1] : place[1] + side].mean(axis=2)
        return float(np.abs(np.diff(piece, axis=0)).mean() + np.abs(np.diff(piece, axis=1)).mean())

    return places[0] if len(places) == 1 else max(places, key=detail)


def _blurred(
    source: NDArray[np.float32], degrade: Degrade, name: str, *, window: Window, random: Any
) -> tuple[NDArray[np.float32], Light, Record]:
    """The blurred picture, the light it is in, and what was drawn. `random` is `generator` but for its role."""
    rng = random(role=Role.PARAMETERS)
    if name == "identity":
        return source, Light.SRGB, {}
    if name == "gaussian":
        light = degrade.light or Light.SRGB
        params = gaussian.draw(rng, sigma=degrade.sigma)
        image = gaussian.apply(decode(source, light), params)
        return image, light, {"params": asdict(params), "light": light.value}
    if name != "camera_shake":
        return _blurred_by_other(source, degrade, name, random=random)
    light = degrade.light or Light.LINEAR
    shake = camera_shake.draw(
        rng, rate_dps=degrade.rate_dps, exposure_s=degrade.exposure_s, max_extent_px=degrade.max_extent_px
    )
    poses = camera_shake.draw_poses(
        shake, random(role=Role.FIELD), height=window.whole_height, width=window.whole_width
    )
    image = decode(source, light)
    path: Record = {"poses": 0, "extent_px": 0.0, "rms_px": 0.0}
    if poses is not None:
        image = camera_shake.average_poses(image, poses, window=window)
        path = {"poses": len(poses.homographies), "extent_px": poses.extent_px, "rms_px": poses.rms_px}
    return image, light, {"params": asdict(shake), "light": light.value, "kernel": path}


def _blurred_by_other(
    source: NDArray[np.float32], degrade: Degrade, name: str, *, random: Any
) -> tuple[NDArray[np.float32], Light, Record]:
    (degradation,) = (item for item in degrade.others if item.name == name)
    light = degrade.light or Light.SRGB
    params = import_object(degradation.draw)(random(role=Role.PARAMETERS))
    image = import_object(degradation.apply)(decode(source, light), params, random(role=Role.FIELD))
    return image, light, {"params": asdict(params), "light": light.value}


def _noisy(
    image: NDArray[np.float32], light: Light, degrade: Degrade, *, random: Any
) -> tuple[NDArray[np.float32], Light, Record]:
    rng = random(role=Role.PARAMETERS)
    if not float(rng.random()) < degrade.noise:
        return image, light, {"applied": False}
    params = noise.draw(rng, gain=degrade.gain)
    if light is not Light.LINEAR:  # shot noise is a law of light, whatever the blur acted on
        image, light = decode(encode(image, light), Light.LINEAR), Light.LINEAR
    noisy = noise.apply(image, params, random(role=Role.FIELD))
    return np.clip(noisy, 0, 1), light, {"applied": True, "params": asdict(params)}


def _compressed(
    pixels: NDArray[np.uint8], degrade: Degrade, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Record]:
    if not float(rng.random()) < degrade.jpeg:
        return pixels, {"applied": False}
    params = jpeg.draw(rng, quality=degrade.quality)
    return jpeg.through_jpeg(pixels, params), {"applied": True, "params": asdict(params)}


def _psnr_db(blurry: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> float | None:
    """PSNR, or None where the pictures are equal: JSON has no infinity."""
    error = float(np.mean((blurry.astype(np.float64) - sharp) ** 2))
    return 10 * math.log10(255**2 / error) if error else None


def as_settings(degrade: Degrade) -> Mapping[str, Any]:
    """The settings as a JSON object."""
    return asdict(degrade)
