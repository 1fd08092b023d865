"""The restorer: a network, and all it takes to run it on pictures of any size within a budget of memory."""

import logging
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from torch import nn

from deblur_cli.errors import NotEnoughRoomError, PictureError, UsageError, memory_ran_out
from deblur_cli.host.declarations import Geometry, Model, Values
from deblur_cli.networks import PictureStatistics
from deblur_cli.pictures.picture import Picture
from deblur_cli.restore.arrays import Array, split_array, split_image
from deblur_cli.restore.calling import WindowCaller, evaluation_mode
from deblur_cli.restore.devices import dtype_name, limit_kernel_cache, pick_device, pick_precision
from deblur_cli.restore.fitting import TilePlanner
from deblur_cli.restore.guard import LooksBrokenError, inspect
from deblur_cli.restore.memory import give_back_free_memory, parse_size
from deblur_cli.restore.planning import TileRequest, region_area, told_statistics, whole_area
from deblur_cli.restore.running import FloatPixels, Progress, run_plan
from deblur_cli.restore.sight import Sight
from deblur_cli.restore.tiling import Area, TilePlan, parse_tile
from deblur_cli.restore.turns import TURNS, UPRIGHT
from deblur_cli.restore.values import check_array, finish, scale_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from deblur_cli.host.manager import Host

_log = logging.getLogger(__name__)


def load(
    spec: str | None = None,
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    tile: str | int | tuple[int, int] = "auto",
    overlap: int | None = None,
    statistics: str = "auto",
    max_memory: str | int | None = None,
    strength: float = 1.0,
    self_ensemble: bool = False,
    host: "Host | None" = None,
) -> "Restorer":
    """Make a restorer from a model and its trained weights.

    Parameters
    ----------
    spec : a model's name, name.tag, a weights file or a run folder; None takes the default model
    weights : a weights file or run folder instead of the model's own
    device : "auto", "cpu", "cuda", "cuda:N" or "mps"
    dtype : "auto", "float32", "bfloat16" or "float16"
    tile : "auto", "none", N, "WxH" or (height, width): what each tile contributes, in pixels
    overlap : pixels that each tile reads beyond that; None takes what makes tiling exact, or, where that is more than
        twice the work, what the model declares instead
    statistics : what tiles get of the whole picture, where the network takes something from it, such as an instance norm:
        "exact", from a run over the tiles for each such layer, about half as long as the last on average; "quick", from
        one run; "tile", each takes its own; "auto", exact where that is all the network takes from it, else quick
    max_memory : bytes, or text such as "2GB", for pictures and activations; None takes a share of what is free
    strength : 0 (input) to 1 (result)
    self_ensemble : restore each picture in all eight flips and quarter turns, turn the results back, and take their mean
        (the geometric self-ensemble of Lim et al., CVPR Workshops 2017): a little better, in eight times the time
    host : the plugins to look in; None discovers the installed ones

    Raises
    ------
    MissingError : the model, its weights or the device is not there
    UsageError : an argument makes no sense

    Examples
    --------
    >>> import deblur_cli, numpy as np
    >>> restorer = deblur_cli.load("rednet30")
    >>> restorer(np.zeros((20, 30, 3), np.uint8)).shape
    (20, 30, 3)
    """
    from deblur_cli.host.manager import Host
    from deblur_cli.weights import load_network, resolve

    host = host or Host.discover()
    path = Path(weights) if weights is not None else None
    source = resolve(host, spec if spec is not None else "" if path else host.default_model(), weights=path)
    return Restorer(
        load_network(source),
        model=source.model,
        options=source.options,
        label=source.label,
        device=device,
        dtype=dtype,
        tile=tile,
        overlap=overlap,
        statistics=statistics,
        max_memory=max_memory,
        strength=strength,
        self_ensemble=self_ensemble,
    )


class Restorer:
    """Restores pictures with one network on one device.

    Parameters
    ----------
    network : maps (B, 3, H, W) float32 in the model's range to the same. Moved to the device; run in evaluation mode
    model : its declaration, for value range and geometry
    options : what the network was built with
    label : how messages name it; None takes the model's name

    The other parameters are those of `load`. The weights are read when the first picture is restored: after further
    training make a new restorer.

    Attributes
    ----------
    label : name of model and weights
    device : torch.device
    strength : 0 (input) to 1 (result)
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        model: Model,
        options: Mapping[str, Any] | None = None,
        label: str | None = None,
        device: str | torch.device = "auto",
        dtype: str = "auto",
        tile: str | int | tuple[int, int] = "auto",
        overlap: int | None = None,
        statistics: str = "auto",
        max_memory: str | int | None = None,
        strength: float = 1.0,
        self_ensemble: bool = False,
    ) -> None:
        if not 0 <= strength <= 1:
            raise UsageError(
                f"a strength of {strength} makes no sense; give 0 (the input) to 1 (the full result)"
            )
        limit_kernel_cache()
        self.label = label or model.name
        self.device = pick_device(device) if isinstance(device, str) else device
        self.strength = strength
        self._turns = TURNS if self_ensemble else (UPRIGHT,)
        self._precision = pick_precision(dtype, device=self.device)
        self._call = WindowCaller(
            network, device=self.device, signed=model.values is Values.SIGNED, label=self.label
        )
        self._planner = TilePlanner(
            self._call,
            geometry=model.geometry_for(options or {}),
            request=TileRequest(tile=parse_tile(tile), overlap=overlap, statistics=statistics),
            max_memory=None if max_memory is None else parse_size(max_memory),
            self_ensemble=self_ensemble,
            key={"model": model.name, "options": dict(options or {})},
        )
        self._told: set[str] = set()
        self._warns_if_approximate = True

    @property
    def geometry(self) -> Geometry:
        """What tiling knows about the network."""
        return self._planner.geometry

    @property
    def takes_statistics(self) -> bool:
        """Whether tiles can be told what the network takes from the whole picture, such as an instance norm's statistics."""
        return bool(PictureStatistics(self._call.network))

    @property
    def num_parameters(self) -> int:
        """Trainable scalars of the network."""
        return sum(parameter.numel() for parameter in self._call.network.parameters())

    @property
    def passes(self) -> int:
        """How often the network looks at each part of a picture: eight times for a self-ensemble, else once."""
        return len(self._turns)

    @property
    def network_seconds(self) -> float:
        """What the network itself took of the time of the last picture."""
        return self._call.seconds

    @property
    def dtype(self) -> str:
        """Name of the precision that 8-bit pictures run in, such as "bfloat16"."""
        return self._precision.name

    def dtype_for(self, pixels: "np.dtype[Any] | type[np.generic]") -> str:
        """Name of the precision that pixels of this dtype run in: pictures of 16 bit always run in float32."""
        return dtype_name(self._dtype(np.dtype(pixels)))

    def retiled(
        self,
        tile: str | int | tuple[int, int],
        *,
        overlap: int | None = None,
        statistics: str = "auto",
        warn: bool = True,
    ) -> "Restorer":
        """The same network with other tiles.

        Parameters
        ----------
        tile, overlap, statistics : as those of `load`
        warn : say where tiling is approximate
        """
        other = copy(self)
        other._planner = self._planner.with_request(
            TileRequest(tile=parse_tile(tile), overlap=overlap, statistics=statistics)
        )
        other._told = set()
        other._warns_if_approximate = warn
        return other

    @overload
    def __call__(self, picture: str | Path) -> Path: ...
    @overload
    def __call__(self, picture: Array) -> Array: ...
    @overload
    def __call__(self, picture: "Image") -> "Image": ...

    def __call__(self, picture: "str | Path | Array | Image") -> "Path | Array | Image":
        """Restore a picture and give the same kind back.

        Parameters
        ----------
        picture : a path: the result is written beside it as NAME.deblurred.EXT, and that path is returned;
            a PIL image; or an array, (H, W) or (H, W, C) with C = 1, 2 (grey, alpha), 3 or 4 (RGB, alpha), of uint8,
            uint16 or float32 in [0, 1]. Alpha stays as it is

        Raises
        ------
        PictureError : the picture cannot be read or restored, or the result looks broken
        UsageError : the output exists already
        NotEnoughRoomError : the memory does not suffice
        """
        if isinstance(picture, (str, Path)):
            return self._restore_file(Path(picture))
        if isinstance(picture, np.ndarray):
            colour, join = split_array(picture)
            return join(self._restore_guarded(colour))
        image, join_image = split_image(picture)
        return join_image(self._restore_guarded(image))

    def restore_array(self, image: Array) -> Array:
        """Restore an array, without the guard that compares result and input.

        Parameters
        ----------
        image : (H, W, C) with C = 1 or 3, of uint8, uint16 or float32 in [0, 1]

        Returns
        -------
        the same shape and dtype; float32 is clipped to [0, 1] and not rounded

        Raises
        ------
        PictureError : another shape, dtype or range, or not the one size that the network takes; or integers are asked
            for and the network gives no numbers
        NotEnoughRoomError : the memory does not suffice
        """
        restored, non_finite = self._restore(image, region=None, progress=None)
        if non_finite and image.dtype != np.float32:
            raise PictureError(
                f"model {self.label} gave {non_finite} values that are not numbers; its weights may be broken"
            )
        return restored

    def restore_picture(
        self,
        picture: Picture,
        *,
        region: tuple[int, int, int, int] | None = None,
        force: bool = False,
        progress: Progress | None = None,
    ) -> Picture:
        """Restore a picture as it was read from a file.

        Parameters
        ----------
        region : x, y, width, height in pixels: restore and return this part only, the same as cut from the whole result
        force : return the result even if it looks broken
        progress : is called with (tiles done, tiles in all), first with 0; a tile counts as often as the network sees it

        Returns
        -------
        a picture of the same kind; alpha and what came with the file are carried over

        Raises
        ------
        LooksBrokenError : the result looks broken; it carries what was found
        PictureError : the region is not inside the picture, or the picture not of the one size that the network takes
        NotEnoughRoomError : the memory does not suffice
        """
        restored, non_finite = self._restore(picture.pixels, region=region, progress=progress)
        area = _area(picture.height, picture.width, region)
        rows, columns = slice(area.top, area.top + area.height), slice(area.left, area.left + area.width)
        if not force:
            self._guard(picture.pixels[rows, columns], restored, non_finite=non_finite)
        alpha = None if picture.alpha is None else picture.alpha[rows, columns]
        return replace(picture, pixels=restored, alpha=alpha)

    def plan(
        self,
        height: int,
        width: int,
        *,
        channels: int = 3,
        pixels: "np.dtype[Any] | type[np.generic]" = np.uint8,
        region: tuple[int, int, int, int] | None = None,
    ) -> TilePlan:
        """How a picture of this size would be cut into tiles now.

        Raises
        ------
        PictureError : the network takes pictures of one size only, and tiles of that size were not asked for
        NotEnoughRoomError : the memory does not suffice; says the smallest budget that does
        """
        kind = np.dtype(pixels)
        area = _area(height, width, region)
        return self._planner.plan(
            height, width, area=area, dtype=self._dtype(kind), channels=channels,
            pixel_bytes=channels * kind.itemsize,
        )  # fmt: skip

    def _restore(
        self, image: Array, *, region: tuple[int, int, int, int] | None, progress: Progress | None
    ) -> tuple[Array, int]:
        """The restored area, and how many values of the network's output were not numbers."""
        check_array(image)
        while True:
            plan = self.plan(*image.shape[:2], channels=image.shape[2], pixels=image.dtype, region=region)
            self._tell_if_approximate(plan)
            try:
                return self._run(image, plan, progress)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                self._planner.halve(plan)
                self._tell(f"{self.device} ran out of memory; going on with tiles half as large")
            except (MemoryError, RuntimeError) as error:
                if not memory_ran_out(error):
                    raise
                raise _out_of_memory(self.label) from error

    def _run(self, image: Array, plan: TilePlan, progress: Progress | None) -> tuple[Array, int]:
        area = plan.area
        scale = scale_of(image.dtype)
        dtype = self._dtype(image.dtype)
        restored = np.empty((area.height, area.width, image.shape[2]), image.dtype)
        self._call.seconds = 0.0
        non_finite = 0

        wanted = told_statistics(self.geometry, self._planner.request)
        sight = Sight(self._call, image, dtype=dtype, turns=self._turns)
        tells = bool(sight.num_statistics) and wanted != "tile" and not plan.reads_all
        # at the whole picture, in each turn
        looks = 0 if not tells else sight.num_statistics if wanted == "exact" else 1
        whole = self.plan(*image.shape[:2], channels=image.shape[2], pixels=image.dtype) if looks else plan
        before = looks * whole.num_tiles * self.passes

        def write(top: int, left: int, values: FloatPixels) -> None:
            nonlocal non_finite
            height, width = values.shape[:2]
            if self.strength < 1:
                before = image[top : top + height, left : left + width].astype(np.float32) / np.float32(scale)
                values = values * np.float32(self.strength) + before * np.float32(1 - self.strength)
            non_finite += finish(values, scale=scale)
            top, left = top - area.top, left - area.left
            restored[top : top + height, left : left + width] = values

        def report(done: int) -> None:
            if progress is not None:
                progress(done, before + plan.num_tiles * self.passes)

        def count(tiles: int, _: int) -> None:
            report(before + tiles * self.passes)

        try:
            with evaluation_mode(self._call.network):
                if looks:
                    sight.look_at(whole, looks=looks, exactly=wanted == "exact", seen=report)
                run_plan(plan, restore=sight.restore, write=write, progress=count)
        finally:
            sight.close()
        if plan.num_tiles > 1:
            give_back_free_memory()  # for the encoder
        return restored, non_finite

    def _dtype(self, pixels: "np.dtype[Any]") -> torch.dtype:
        """bfloat16 holds 8 bits: enough for a correction to 8-bit pixels, not to finer ones unless the user says so."""
        if pixels == np.uint16 or (pixels == np.float32 and self._precision.chosen):
            return torch.float32
        return self._precision.dtype

    def _restore_guarded(self, image: Array) -> Array:
        restored, non_finite = self._restore(image, region=None, progress=None)
        if image.dtype != np.float32:
            self._guard(image, restored, non_finite=non_finite)
        return restored

    def _guard(self, before: Array, after: Array, *, non_finite: int) -> None:
        alarms = inspect(before, after, non_finite=non_finite)
        if alarms:
            found = "; ".join(alarm.message for alarm in alarms)
            raise LooksBrokenError(
                f"the result of {self.label} looks broken: {found}; it is not kept (--force keeps it, --strength 0.5 weakens it)",
                alarms=alarms,
            )

    def _restore_file(self, path: Path) -> Path:
        from deblur_cli.pictures import default_output, read_picture, write_picture

        target = default_output(path)
        # nobody holds the input any more while the result is written
        write_picture(self.restore_picture(read_picture(path)), target)
        return target

    def _tell_if_approximate(self, plan: TilePlan) -> None:
        if plan.exact or not self._warns_if_approximate:
            return
        if self.geometry.fixed_size is not None:
            self._tell(
                f"tiling is approximate: {self.label} takes {self.geometry.fixed_size} px squares only"
            )
            return
        reach = self.geometry.reach
        if reach is None:
            why = f"{self.label} looks at the whole picture"
            if self.takes_statistics and told_statistics(self.geometry, self._planner.request) != "exact":
                why += "; --statistics exact comes nearer to it"
        elif plan.margin < reach:
            why = (
                f"an overlap of {plan.margin} px is less than the {reach} px that {self.label} looks around; "
                f"--overlap {reach} makes it exact"
            )
        else:
            why = f"{self.label} looks at the whole picture; --statistics exact makes it exact"
        self._tell(f"tiling is approximate: {why}; deblur verify-tiling measures the difference")

    def _tell(self, message: str) -> None:
        """Say something once."""
        if message not in self._told:
            self._told.add(message)
            _log.warning(message)


def _area(height: int, width: int, region: tuple[int, int, int, int] | None) -> Area:
    return whole_area(height, width) if region is None else region_area(region, height=height, width=width)


def _out_of_memory(label: str) -> NotEnoughRoomError:
    return NotEnoughRoomError(
        f"memory ran out while {label} restored the picture; give --max-memory, such as 1GB, or a smaller --tile"
    )
