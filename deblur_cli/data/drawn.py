"""Pairs that are made when they are asked for: a picture is blurred on the fly, with random numbers of its own."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from deblur_cli.blur.borders import Border, Window
from deblur_cli.blur.light import decode, encode
from deblur_cli.blur.pipeline import Operations, Streams, apply_steps, as_records, draw_steps, expose, halves
from deblur_cli.blur.randomness import generator
from deblur_cli.blur.spec import Redraw, Spec, margin, reach
from deblur_cli.data.framing import smallest
from deblur_cli.data.pairs import Pixels, SharpPicture
from deblur_cli.data.synthesis import Opened, develop, draw_pair, resized
from deblur_cli.errors import PictureError
from deblur_cli.pictures.scaling import Image, from_integers, to_8_bit


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Which random numbers: equal draws of one picture are equal. number : of the crop, counted over all epochs."""

    seed: int
    index: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Latent:
    """What fell on the sensor, before noise and compression, and the sharp picture, both (H, W, C).

    blurry : float16 in the light of the spec, 1 = white; its steps of 1/2048 are far below those of 8 bit
    sharp : uint8
    """

    blurry: NDArray[np.float16]
    sharp: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPair:
    """A sharp picture and how it is blurred. Equal seeds give equal pairs, whatever the order in which they are made.

    As a pair it is always the same draw, so that it can be measured on; training asks for `crop`, or for a `latent`
    and what is `taken` of it. draw : its number, of the `draws` that the spec makes of each picture
    """

    picture: SharpPicture
    spec: Spec
    operations: Operations
    draw: int = 0

    @property
    def name(self) -> str:
        """The picture's; with the draw where there are several."""
        return self.picture.name + (f"_draw{self.draw}" if self.spec.draws > 1 else "")

    @property
    def is_redrawn(self) -> bool:
        """Whether training shall blur it anew each time."""
        return self.spec.redraw is Redraw.EPOCH

    def size(self) -> tuple[int, int]:
        """Height and width in px of the pair; below 1 where the picture is too small for one."""
        room = self.room()
        if self.spec.patch is None:
            return room
        height, width = self.spec.patch
        return self.spec.patch if room[0] >= height and room[1] >= width else (0, 0)

    def whole(self) -> "DrawnPair":
        """The same without patch and flips of its own: all that can be kept of the picture."""
        return replace(self, spec=replace(self.spec, patch=None, flips=False))

    def room(self) -> tuple[int, int]:
        """Height and width in px out of which crops can be cut; below 1 where the picture is too small for the blur."""
        how = self.spec.resize
        height, width = self.picture.size()
        return self._room_of(*(how.target(height, width) if how is not None else (height, width)))

    def load(self) -> tuple[Pixels, Pixels]:
        """Blurry and sharp, both (H, W, 3) uint8.

        Raises
        ------
        PictureError : it cannot be read, or is too small
        """
        first = Draw(seed=self.spec.seed, index=self.picture.index, number=self.draw)
        return self._made(self.open(), self.spec, first)

    def drawn(self) -> dict[str, float]:
        """The numbers that were drawn for the blur of this pair, by step and parameter, such as "gaussian.sigma"."""
        streams: Streams = partial(generator, self.spec.seed, index=self.picture.index, draw=self.draw)
        steps = draw_steps(self.spec, self.operations, streams=streams, number=self.draw)
        records = as_records(steps, light=self.spec.light, key=(0, 0), kernels={})
        return {
            f"{record['op']}.{name}": float(value)
            for record in records
            for name, value in record.get("params", {}).items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }

    def open(self) -> Opened:
        """The sharp picture, read and resized, to be cropped many times. Raises PictureError where it cannot be read."""
        return resized(Opened(sharp=self.picture.load()), self.spec.resize)

    def crop(self, opened: Opened, draw: Draw, *, side: int) -> tuple[Pixels, Pixels]:
        """A crop, both (side, side, 3) uint8, placed and blurred by a draw. Raises PictureError as `load` does."""
        return self._made(opened, replace(self.spec, patch=(side, side)), draw)

    def latent(self, opened: Opened, draw: Draw, *, side: int) -> Latent:
        """A patch of at most `side` px, placed and blurred by a draw, before noise and JPEG.

        Raises
        ------
        PictureError : the picture is too small
        """
        first, _ = halves(self.spec, self.operations)
        height, width = self._room_of(*opened.sharp.shape[:2])
        spec = replace(first, patch=(min(side, height), min(side, width)))
        self._require_room(opened, spec)
        drawn = draw_pair(
            opened.sharp, replace(spec, seed=draw.seed), self.operations, index=draw.index, number=draw.number
        )
        place = drawn.place
        image = from_integers(place.cut(opened.sharp))
        exposed = expose(
            image, drawn.steps, self.operations, streams=drawn.streams, window=place.window, keep=place.keep
        )
        light = from_integers(exposed.image)
        if exposed.light != spec.light:
            light = decode(encode(light, exposed.light), spec.light)
        sharp = place.keep(image) if exposed.sharp is None else exposed.sharp
        return Latent(blurry=light.astype(np.float16), sharp=to_8_bit(sharp))

    def taken(self, latent: Latent, draw: Draw) -> tuple[Pixels, Pixels]:
        """A latent picture, or a crop of one, with the noise and JPEG of a draw: both (H, W, 3) uint8."""
        light = latent.blurry.astype(np.float32)
        return _degraded(light, self.spec, self.operations, draw), _rgb(latent.sharp)

    def _room_of(self, height: int, width: int) -> tuple[int, int]:
        """`room` of a picture that has been read and resized."""
        edge = margin(self.spec, self.operations)
        if self.spec.border is Border.REFLECT101 and min(height, width) <= reach(self.spec, self.operations):
            return 0, 0  # it cannot be mirrored that far
        return height - 2 * edge, width - 2 * edge

    def _made(self, opened: Opened, spec: Spec, draw: Draw) -> tuple[Pixels, Pixels]:
        self._require_room(opened, spec)
        drawn = draw_pair(
            opened.sharp, replace(spec, seed=draw.seed), self.operations, index=draw.index, number=draw.number
        )
        blurry, sharp, _ = develop(opened, drawn, self.operations, with_kernels=False)
        return _rgb(blurry), _rgb(sharp)

    def _require_room(self, opened: Opened, spec: Spec) -> None:
        (height, width), (least_height, least_width) = opened.sharp.shape[:2], smallest(spec, self.operations)
        if height < least_height or width < least_width:
            raise PictureError(
                f"cannot use {self.name}: it is {width}x{height}, and {spec.name} needs {least_width}x{least_height}"
            )


def degraded(blurry: Pixels, spec: Spec, operations: Operations, draw: Draw) -> NDArray[np.uint8]:
    """A picture with the noise and JPEG of a spec, whatever blurred it: (H, W, C) as stored -> (H, W, 3) uint8."""
    return _degraded(decode(from_integers(blurry), spec.light), spec, operations, draw)


def _degraded(light: Image, spec: Spec, operations: Operations, draw: Draw) -> NDArray[np.uint8]:
    """The same of a picture in the light of the spec."""
    _, last = halves(spec, operations)
    streams: Streams = partial(generator, draw.seed, index=draw.index, draw=draw.number)
    height, width = light.shape[:2]
    made = apply_steps(
        light,
        draw_steps(last, operations, streams=streams, number=draw.number),
        operations,
        streams=streams,
        window=Window(whole_height=height, whole_width=width),
        keep=lambda image: image,
        light=last.light,
    )
    return _rgb(to_8_bit(made.blurry))


def _rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)
