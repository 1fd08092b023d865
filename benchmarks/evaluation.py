"""psnr and ssim against scikit-image, and evaluation with both of them against restoration alone."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from files import photograph
from measuring import Clock, Contest, Row, compare, timed
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deblur_cli.data import Pair
from deblur_cli.data.sets import open_pairs
from deblur_cli.evaluation.evaluate import ALONE_AT_LEAST, evaluate_models
from deblur_cli.evaluation.measures import build_measures
from deblur_cli.host.manager import Host
from deblur_cli.metrics.full_reference import Pixels, psnr
from deblur_cli.metrics.structural import ssim
from deblur_cli.pictures.scaling import from_integers
from deblur_cli.restore.restorer import Restorer

TARGETS = {"rednet30": 1.15, "unet16": None}
"""Evaluation / restoration. What a quick network gains by measuring beside it cannot hide all of the measuring."""
METRIC_TARGET = 1.0
FRAMES = 2 * ALONE_AT_LEAST
"""Half of them are restored with nothing beside, the time of which counts here too: a long set fares better."""


def run(*, repeats: int, clock: Clock, height: int, width: int) -> list[Row]:
    """One picture for the metrics, a few frames for evaluation."""
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        pairs = _pairs(Path(folder), height=height, width=width)
        rows = _metrics(pairs[0], repeats=repeats, clock=clock)
        for name in TARGETS:
            rows += _evaluation(name, pairs, repeats=min(2, repeats), clock=clock)
        return rows


def _metrics(pair: Pair, *, repeats: int, clock: Clock) -> list[Row]:
    blurry, sharp = (from_integers(picture) for picture in pair.load())

    def as_ours() -> tuple[Pixels, Pixels]:
        return blurry.astype(np.float64), sharp.astype(np.float64)

    def bare_psnr() -> None:
        peak_signal_noise_ratio(*as_ours(), data_range=1)

    def bare_ssim() -> None:
        structural_similarity(
            *as_ours(), data_range=1.0, channel_axis=-1,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )  # fmt: skip

    ours: dict[str, Callable[[Pixels, Pixels], float]] = {"psnr": psnr, "ssim": ssim}
    work: dict[str, Callable[[], object]] = {
        name: (lambda metric=metric: metric(blurry, sharp)) for name, metric in ours.items()
    }
    work |= {"bare psnr": bare_psnr, "bare ssim": bare_ssim}
    height, width = sharp.shape[:2]
    contests = [
        Contest(
            what=f"{name}, {width}x{height} in colour / scikit-image's in float64", thing=name, bare=f"bare {name}",
            target=METRIC_TARGET,
        )
        for name in ours
    ]  # fmt: skip
    return compare({name: timed(one, clock=clock) for name, one in work.items()}, contests, repeats=repeats)


def _evaluation(name: str, pairs: Sequence[Pair], *, repeats: int, clock: Clock) -> list[Row]:
    """`evaluate_models` from files to scores, against the restorer from array to array."""
    host = Host.discover()
    model = host.model(name)
    torch.manual_seed(0)
    restorer = Restorer(model.build({}).eval().requires_grad_(False), model=model, device="cpu")
    measures = build_measures([host.metric(metric) for metric in ("psnr", "ssim")])
    frames = [from_integers(pair.load()[0]) for pair in pairs]
    seconds: list[float] = []

    def evaluate() -> None:
        found = evaluate_models({name: restorer}, pairs, measures)[name]
        assert len(found.records) == len(pairs)
        seconds[:] = [record.metric_seconds for record in found.records]

    def restore() -> None:
        for frame in frames:
            restorer.restore_array(frame)

    height, width = frames[0].shape[:2]
    contest = Contest(
        what=f"eval of {len(pairs)} frames of {width}x{height} with psnr and ssim / restoration alone, {name}",
        thing="eval", bare="restore", target=TARGETS[name],
    )  # fmt: skip
    work = {"eval": timed(evaluate, clock=clock), "restore": timed(restore, clock=clock)}
    restorer.restore_array(frames[0])
    (row,) = compare(work, [contest], repeats=repeats, warm=True)
    note = f"both metrics of a picture {np.median(seconds):.2g} s"
    return [Row(what=row.what, ratios=row.ratios, target=row.target, seconds=row.seconds, note=note)]


def _pairs(folder: Path, *, height: int, width: int) -> Sequence[Pair]:
    """Frames as files, blurred along their rows."""
    sharp = photograph(height, width)
    blurry = np.mean([np.roll(sharp, shift, axis=1) for shift in range(-4, 5)], axis=0).astype(np.uint8)
    for kind, picture in (("blur", blurry), ("sharp", sharp)):
        (folder / kind).mkdir()
        for number in range(FRAMES):
            Image.fromarray(np.roll(picture, 7 * number, axis=0)).save(folder / kind / f"{number}.png")
    return open_pairs(Host.discover(), folder, split="val")
