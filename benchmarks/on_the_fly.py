"""Crops that are blurred while training, by the preset photo-mix, against the training step that takes them."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from files import photograph
from measuring import Clock, Contest, Row, compare, timed
from PIL import Image
from training import BATCH, DTYPE_NAME, MODEL, bare_loop

from deblur_cli.host.manager import Host
from deblur_cli.host.recipes import Flips
from deblur_cli.training.feeding.crops import Crops, Item
from deblur_cli.training.feeding.material import Material, Preparation, open_material

TARGET = 0.2
REUSES = (1, 2, 4, 8)
RECIPE = MODEL.recipes["fast"]


def run(*, repeats: int, clock: Clock, side: int, count: int) -> list[Row]:
    """A batch of crops for each reuse, against one step. count : crops that are made in a round, for one batch's time"""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as pools:
        material = _material(Path(folder))
        work: dict[str, Callable[[], float]] = {"step": timed(bare_loop(RECIPE, patch=side), clock=clock)}
        for reuse in REUSES:
            crops = Crops(material.train, patch=side, flips=Flips.BOTH, seed=0, reuse=reuse)
            pools.enter_context(crops.keeping_patches(Path(folder, f"pool{reuse}")))
            work[str(reuse)] = _batch(crops, reuse=reuse, count=min(count, len(crops)), clock=clock)
        contests = [
            Contest(
                what=f"photo-mix: {BATCH} crops of {side} px, each blur used {reuse} times / step of {MODEL.name}, {DTYPE_NAME}",
                thing=str(reuse),
                bare="step",
                target=TARGET if reuse == RECIPE.reuse else None,
                note="as its recipe fast has it" if reuse == RECIPE.reuse else "",
            )
            for reuse in REUSES
        ]
        rows = compare(work, contests, repeats=repeats)
    return [replace(row, note="; ".join(filter(None, (_a_crop(row), row.note)))) for row in rows]


def _material(folder: Path) -> Material:
    """Photographs as they come: four files of 1.5 megapixels."""
    for number in range(4):
        Image.fromarray(photograph(1000, 1500)[:, :: (-1) ** number]).save(folder / f"{number}.png")
    host = Host.discover()
    spec = Preparation(blur="photo-mix").read(host)
    assert spec is not None
    everything = replace(spec.output, splits={"train": 1.0, "val": 0.0, "test": 0.0})
    return open_material(host, [str(folder)], spec=replace(spec, output=everything), only_sharp=True)


def _batch(crops: Crops, *, reuse: int, count: int, clock: Clock) -> Callable[[], float]:
    """Makes crops over as many epochs as a patch stays, so that each is blurred once; returns the time of one batch."""
    epoch = 0

    def several_epochs() -> None:
        nonlocal epoch
        for _ in range(reuse):
            for index in range(count):
                crops[Item(epoch, index)]
            epoch += 1

    run = timed(several_epochs, clock=clock)
    return lambda: run() * BATCH / (count * reuse)


def _a_crop(row: Row) -> str:
    assert row.seconds is not None
    return f"{row.median:.1%} of the step, {row.seconds[0] / BATCH * 1000:.1f} ms a crop"
