"""Which quantity a step acts on: code values as stored, or light. Sensors add light, so blur of photographs is linear."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np

from deblur_cli.errors import UsageError
from deblur_cli.pictures.scaling import Image


class Light(StrEnum):
    """The working space of a step."""

    SRGB = "srgb"  # code values as stored
    LINEAR = "linear"  # light, by the curve of IEC 61966-2-1
    GAMMA22 = "gamma2.2"  # light, by a plain power


@dataclass(frozen=True, slots=True)
class Response:
    """A camera's own curve. table : the light in [0, 1] of each of the 256 code values, rising."""

    file: str
    table: tuple[float, ...]

    @property
    def value(self) -> str:
        """As a spec and a record name it."""
        return f"crf:{self.file}"


WorkingLight: TypeAlias = Light | Response


def parse_light(text: str, *, folder: Path) -> WorkingLight:
    """The working space that a spec names: srgb, linear, gamma2.2, or crf:FILE with 256 numbers, one a line.

    Parameters
    ----------
    folder : where a relative FILE is looked for

    Raises
    ------
    UsageError : there is no such space, or the file does not hold a rising curve
    """
    kind, _, file = text.partition(":")
    if kind == "crf" and file:
        return _read_response(folder / file)
    if text not in tuple(Light):
        raise UsageError(f'"{text}" is not one of {", ".join(Light)}, crf:FILE')
    return Light(text)


def decode(image: Image, light: WorkingLight) -> Image:
    """Stored sRGB code values to the working space; `srgb` returns the very array given, others clip below 0 first."""
    if light is Light.SRGB:
        return image
    image = np.maximum(image, 0)
    if light is Light.GAMMA22:
        power: Image = np.power(image, np.float32(2.2))
        return power
    if isinstance(light, Response):
        lit: Image = np.interp(image * 255.0, np.arange(256), light.table).astype(np.float32)
        return lit
    curve = np.where(image <= 0.04045, image / 12.92, np.power((image + 0.055) / 1.055, 2.4))
    return curve.astype(np.float32)


def encode(image: Image, light: WorkingLight) -> Image:
    """The working space back to stored code values; values below 0 are clipped first, those above 1 stay.

    A camera's own curve ends at 1, where it clips.
    """
    if light is Light.SRGB:
        return image
    image = np.maximum(image, 0)
    if light is Light.GAMMA22:
        root: Image = np.power(image, np.float32(1 / 2.2))
        return root
    if isinstance(light, Response):
        code: Image = (np.interp(image, light.table, np.arange(256)) / 255).astype(np.float32)
        return code
    curve = np.where(image <= 0.0031308, 12.92 * image, 1.055 * np.power(image, 1 / 2.4) - 0.055)
    return curve.astype(np.float32)


def _read_response(path: Path) -> Response:
    try:
        table = tuple(float(line) for line in path.read_text(encoding="utf-8").split())
    except OSError as error:
        raise UsageError(f"cannot read the curve {path}: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:
        raise UsageError(f"{path} is no curve: it must hold 256 numbers, one a line") from error
    if len(table) != 256:
        raise UsageError(
            f"{path} holds {len(table)} numbers; a curve has one for each of the 256 code values"
        )
    if table[0] < 0 or table[-1] > 1 or any(high <= low for low, high in pairwise(table)):
        raise UsageError(f"{path} is no curve: the numbers must rise from 0 to 1 at most")
    return Response(str(path), table)
