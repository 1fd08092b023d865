"""`deblur verify-tiling`: how much tiles change a result."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deblur_cli.cli import console
from deblur_cli.cli.options import (
    Device,
    Dtype,
    Json,
    MaxMemory,
    ModelName,
    Overlap,
    Quiet,
    Statistics,
    Tile,
    Verbose,
    WeightsFile,
    chosen_model,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from deblur_cli.restore.restorer import Restorer
    from deblur_cli.restore.verification import TilingCheck

SEED = 0


def verify_tiling(
    ctx: typer.Context,
    image: Annotated[
        Path | None,
        typer.Argument(
            metavar="IMAGE",
            help="A picture. Default: a photograph of 256x192 px, or 512x512 px for a model that looks at all of it.",
            show_default=False,
        ),
    ] = None,
    model: ModelName = None,
    weights: WeightsFile = None,
    tile: Tile = "auto",
    overlap: Overlap = None,
    statistics: Statistics = "auto",
    max_memory: MaxMemory = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Restore a picture whole and in tiles, and show the largest and the mean difference.

    --tile auto makes nine tiles. Where the model declares an overlap smaller than its halo, tiles take that.
    A model without weights is checked with fresh random ones (seed 0).
    The exit code is 3 where tiling claims to be exact and differs by more than 1e-5 of full scale in float32.

    Examples:

        deblur verify-tiling -m rednet30

        deblur verify-tiling photo.png -m rednet30 --tile 256 --overlap 8
    """
    from deblur_cli.restore.verification import check_tiling

    picture = None if image is None else _read(image)
    restorer, trained = _restorer(
        chosen_model(ctx, model, weights), weights, device=device, dtype=dtype, max_memory=max_memory
    )
    if picture is None:
        picture = _photograph(whole=restorer.geometry.halo is None)
    found = check_tiling(
        restorer, picture, tile=None if tile == "auto" else tile, overlap=overlap, statistics=statistics
    )
    if json:
        console.json_line(_facts(found, restorer, trained=trained))
    else:
        _print(found, restorer, trained=trained)
    return 0 if found.kept_promise or restorer.dtype != "float32" else 3


def _photograph(*, whole: bool) -> "NDArray[np.float32]":
    """A photograph that ships with scikit-image, (512, 512, 3) in [0, 1], or a part of it, (192, 256, 3)."""
    import numpy as np
    from skimage import data

    photograph = data.astronaut()  # type: ignore[no-untyped-call]  # scikit-image has no types here
    part = photograph if whole else photograph[:192, 96:352]
    return np.ascontiguousarray(part).astype(np.float32) / np.float32(255)


def _read(path: Path) -> "NDArray[np.float32]":
    from deblur_cli.pictures import read_picture
    from deblur_cli.pictures.scaling import from_integers

    return from_integers(read_picture(path).pixels)


def _restorer(
    spec: str | None, weights: Path | None, *, device: str, dtype: str, max_memory: str | None
) -> tuple["Restorer", bool]:
    """The restorer, and whether its weights are trained."""
    import torch

    from deblur_cli.host.manager import Host
    from deblur_cli.restore.restorer import Restorer
    from deblur_cli.weights import load_network, resolve

    host = Host.discover()
    source = resolve(host, host.default_model() if spec is None else spec, weights=weights)
    trained = source.path is not None
    if trained:
        network = load_network(source)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            network = source.model.build(source.options).eval()
    restorer = Restorer(
        network, model=source.model, options=source.options, label=source.label,
        device=device, dtype=dtype, max_memory=max_memory,
    )  # fmt: skip
    return restorer, trained


def _facts(found: "TilingCheck", restorer: "Restorer", *, trained: bool) -> dict[str, object]:
    from dataclasses import asdict

    return {
        "model": restorer.label,
        "trained": trained,
        "device": str(restorer.device),
        "dtype": restorer.dtype,
        "kept_promise": found.kept_promise,
        **asdict(found),
    }


def _print(found: "TilingCheck", restorer: "Restorer", *, trained: bool) -> None:
    height, width = found.tile_shape
    weights = restorer.label if trained else f"{restorer.label}, fresh random weights"
    console.result(
        f"{weights}, {restorer.dtype} on {restorer.device}: {found.num_tiles} tiles of up to {width}x{height} px, "
        f"margin {found.margin} px, {'exact' if found.exact else 'approximate'}"
    )
    console.result(
        f"|tiled - whole|: max {found.max_difference:.2e}, mean {found.mean_difference:.2e} of full scale"
    )
    if found.max_difference_alone is not None:
        console.result(
            f"with the statistics of each tile instead of the picture's: max {found.max_difference_alone:.2e}, "
            f"mean {found.mean_difference_alone:.2e}"
        )
    console.result(
        f"in 8 bit {found.different_8bit} of {found.values_8bit} values differ, {found.ties_8bit} of them rounding ties"
    )
    if found.smallest_margin is not None:
        console.result(f"smallest margin that stays below 1e-5 here: {found.smallest_margin} px")
    elif restorer.geometry.halo is not None:
        console.result(
            "smallest margin that stays below 1e-5 here: more than half of this picture shows; give a larger one"
        )
    if not found.kept_promise:
        console.warn(
            "tiling claims to be exact and is not, beyond float32's rounding"
            + (
                "; the model declares too small a halo"
                if restorer.dtype == "float32"
                else f": {restorer.dtype} is coarser"
            )
        )
