"""Camera shake against as many bare warps of OpenCV."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from files import photograph
from measuring import Clock, Contest, Row, compare, timed
from numpy.typing import NDArray

from deblur_cli.blur import camera_shake
from deblur_cli.blur.borders import Window
from deblur_cli.blur.camera_shake import CameraShake
from deblur_cli.blur.opencv import import_opencv
from deblur_cli.blur.params import complete, draw_params
from deblur_cli.blur.randomness import Role, generator

TARGET = 1.3
PATCH_PX = 128


def run(*, repeats: int, clock: Clock, side: int) -> list[Row]:
    """A whole picture of side x side px, and the piece of a photograph that a training patch needs."""
    cv2 = import_opencv()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        piece = PATCH_PX + 2 * camera_shake.bound(complete(CameraShake, {}))
        return [
            *_Race(
                name=f"{side}x{side}",
                side=side,
                window=Window(whole_height=side, whole_width=side),
                target=TARGET,
            ).run(shakes=8, repeats=repeats, clock=clock),
            *_Race(
                name=f"{PATCH_PX}x{PATCH_PX} of 1440x960, with its margin",
                side=piece,
                window=Window(whole_height=960, whole_width=1440, top=400, left=900),
                target=None,
            ).run(shakes=80, repeats=repeats, clock=clock),
        ]
    finally:
        cv2.setNumThreads(threads)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Race:
    """side : of the picture or piece that is blurred, px; window : where it lies; target : as in Row."""

    name: str
    side: int
    window: Window
    target: float | None

    def run(self, *, shakes: int, repeats: int, clock: Clock) -> list[Row]:
        """Each round makes that many shakes, drawn from the default ranges."""
        image = photograph(self.side, self.side).astype(np.float32) / np.float32(255)
        params = [draw_params(CameraShake, {}, _rng(number, Role.PARAMETERS), 0) for number in range(shakes)]
        back = self._matrices(params)
        runs = {
            "shake": timed(lambda: self._shake(image, params), clock=clock),
            "warps": timed(lambda: _warp(image, back), clock=clock),
        }
        contest = Contest(
            what=f"camera_shake {self.name} / bare cv2.warpPerspective",
            thing="shake",
            bare="warps",
            target=self.target,
            note=f"{shakes} shakes of {len(back)} poses in all, float32, 3 channels, one OpenCV thread",
        )
        return compare(runs, [contest], repeats=repeats)

    def _shake(self, image: NDArray[np.float32], params: Sequence[CameraShake]) -> None:
        for number, item in enumerate(params):
            camera_shake.apply(image, item, _rng(number, Role.FIELD), window=self.window)

    def _matrices(self, params: Sequence[CameraShake]) -> list[NDArray[np.float64]]:
        """From a place in each frame to one in the piece, of all shakes."""
        to_piece = np.array([[1.0, 0, -self.window.left], [0, 1, -self.window.top], [0, 0, 1]])
        matrices = []
        for number, item in enumerate(params):
            poses = camera_shake.draw_poses(
                item,
                _rng(number, Role.FIELD),
                height=self.window.whole_height,
                width=self.window.whole_width,
            )
            if poses is not None:
                matrices += list(to_piece @ np.linalg.inv(poses.homographies) @ np.linalg.inv(to_piece))
        return matrices


def _warp(image: NDArray[np.float32], matrices: Sequence[NDArray[np.float64]]) -> None:
    cv2 = import_opencv()
    size = (image.shape[1], image.shape[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for matrix in matrices:
        cv2.warpPerspective(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def _rng(number: int, role: Role) -> np.random.Generator:
    return generator(1, index=number, draw=0, slot=1, role=role)
