"""The restorer: a network, and all it takes to run it on pictures of any size within a budget of memory."""

import logging
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from torch import Tensor, nn

from deblur_cli.errors import NotEnoughRoomError, PictureError, UsageError
from deblur_cli.host.declarations import Geometry, Model, Values
from deblur_cli.pictures.picture import Picture
from deblur_cli.restore.arrays import split_array, split_image
from deblur_cli.restore.calling import Autocast, evaluation_mode
from deblur_cli.restore.devices import dtype_name, limit_kernel_cache, pick_device, pick_precision
from deblur_cli.restore.guard import LooksBrokenError, inspect
from deblur_cli.restore.memory import (
    SHARE_IF_ASKED,
    SHARE_OF_FREE,
    MemoryModel,
    format_size,
    free_memory,
    give_back_free_memory,
    keep_large_tensors_off_the_heap,
    memory_model,
    parse_size,
)
from deblur_cli.restore.planning import TileRequest, least_pixels, plan_picture, region_area, whole_area
from deblur_cli.restore.running import FloatPixels, Progress, run_plan
from deblur_cli.restore.tiling import Area, Span, TilePlan, parse_tile
from deblur_cli.restore.values import check_array, finish, read_window, scale_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from deblur_cli.host.manager import Host

# `Any`: NumPy has no way to write a shape such as (H, W, C), and the dtype is one of three
Array = np.ndarray[Any, np.dtype[Any]]

SMALL_PIXELS = 256 * 256
"""Windows up to this run without a look at memory, where no budget is set."""

_log = logging.getLogger(__name__)


def load(
    spec: str | None = None,
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    tile: str | int | tuple[int, int] = "auto",
    overlap: int | None = None,
    max_memory: str | int | None = None,
    strength: float = 1.0,
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
    overlap : pixels that each tile reads beyond that; None takes what makes tiling exact
    max_memory : bytes, or text such as "2GB", for pictures and activations; None takes a share of what is free
    strength : 0 (input) to 1 (result)
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
        max_memory=max_memory,
        strength=strength,
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
        max_memory: str | int | None = None,
        strength: float = 1.0,
    ) -> None:
        if not 0 <= strength <= 1:
            raise UsageError(
                f"a strength of {strength} makes no sense; give 0 (the input) to 1 (the full result)"
            )
        limit_kernel_cache()
        self.label = label or model.name
        self.device = pick_device(device) if isinstance(device, str) else device
        self.strength = strength
        self._network = network.to(self.device)
        self._geometry: Geometry = model.geometry_for(options or {})
        self._signed = model.values is Values.SIGNED
        self._precision = pick_precision(dtype, device=self.device)
        self._request = TileRequest(tile=parse_tile(tile), overlap=overlap)
        self._max_memory = None if max_memory is None else parse_size(max_memory)
        if self._max_memory is not None:
            keep_large_tensors_off_the_heap()
        self._memory_key = {"model": model.name, "options": dict(options or {})}
        self._modules: dict[torch.dtype, nn.Module] = {}
        self._memory: dict[torch.dtype, MemoryModel] = {}
        self._most_pixels: int | None = None  # what the device turned out to hold
        self._told: set[str] = set()

    @property
    def geometry(self) -> Geometry:
        """What tiling knows about the network."""
        return self._geometry

    @property
    def dtype(self) -> str:
        """Name of the precision that 8-bit pictures run in, such as "bfloat16"."""
        return self._precision.name

    def dtype_for(self, pixels: "np.dtype[Any] | type[np.generic]") -> str:
        """Name of the precision that pixels of this dtype run in: pictures of 16 bit always run in float32."""
        return dtype_name(self._torch_dtype(np.dtype(pixels)))

    def retiled(self, tile: str | int | tuple[int, int], *, overlap: int | None = None) -> "Restorer":
        """The same network with other tiles. Parameters as those of `load`."""
        other = copy(self)
        other._request = TileRequest(tile=parse_tile(tile), overlap=overlap)
        other._told = set()
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
        PictureError : another shape, dtype or range; or integers are asked for and the network gives no numbers
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
        progress : is called with (tiles done, tiles in all), first with 0

        Returns
        -------
        a picture of the same kind; alpha and what came with the file are carried over

        Raises
        ------
        LooksBrokenError : the result looks broken; it carries what was found
        PictureError : the region is not inside the picture
        NotEnoughRoomError : the memory does not suffice
        """
        restored, non_finite = self._restore(picture.pixels, region=region, progress=progress)
        area = self._area(picture.pixels, region)
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

        Raises NotEnoughRoomError where the memory does not suffice, with the smallest budget that does.
        """
        kind = np.dtype(pixels)
        area = (
            whole_area(height, width) if region is None else region_area(region, height=height, width=width)
        )
        dtype = self._torch_dtype(kind)
        if self._max_memory is None and self._most_pixels is None:
            plan = self._plan(height, width, area, most_pixels=None)
            if plan is not None and plan.tile_pixels <= SMALL_PIXELS:
                return plan
        held = (
            channels * kind.itemsize * (height * width + area.height * area.width)
            if self.device.type == "cpu"
            else 0
        )
        budget = self._budget(held)
        memory = self._memory_for(dtype)
        most_pixels = memory.pixels_within(max(0, budget - held))
        while True:
            limit = most_pixels if self._most_pixels is None else min(most_pixels, self._most_pixels)
            plan = self._plan(height, width, area, most_pixels=limit)
            if plan is not None and held + _needed(plan, memory, channels=channels) <= budget:
                return plan
            if (
                plan is None
                or self._request.tile != "auto"
                or self._geometry.fixed_size
                or plan.tile_pixels > limit
            ):
                raise self._too_little(budget, held, memory, plan, area)
            most_pixels = min(limit, plan.tile_pixels) * 3 // 4

    def _plan(self, height: int, width: int, area: Area, *, most_pixels: int | None) -> TilePlan | None:
        return plan_picture(
            height=height,
            width=width,
            area=area,
            geometry=self._geometry,
            request=self._request,
            most_pixels=most_pixels,
        )

    def _budget(self, held: int) -> int:
        """Bytes that pictures and activations may take; of free memory more where the user chose the tile."""
        if self._max_memory is not None:
            return self._max_memory
        share = SHARE_OF_FREE if self._request.tile == "auto" else SHARE_IF_ASKED
        return int(free_memory(self.device) * share) + held // 2  # the input is there already

    def _too_little(
        self, budget: int, held: int, memory: MemoryModel, plan: TilePlan | None, area: Area
    ) -> NotEnoughRoomError:
        if plan is not None:
            needed, remedy = held + _needed(plan, memory, channels=3), "or --tile auto"
        else:
            pixels = least_pixels(
                height=area.height, width=area.width, geometry=self._geometry, request=self._request
            )
            needed, remedy = held + memory.bytes_for(pixels), "or a picture of fewer pixels"
            if self._geometry.halo is not None and self._geometry.halo > 64:
                remedy = "or an --overlap below the exact one, which is approximate"
        given = "" if self._max_memory is None else "--max-memory "
        return NotEnoughRoomError(
            f"{self.label} needs {format_size(needed)} for this picture at least, {format_size(budget)} is what it may take; "
            f"give {given or '--max-memory '}{format_size(needed).replace(' ', '')} {remedy}"
        )

    def _memory_for(self, dtype: torch.dtype) -> MemoryModel:
        """The memory model of this network in this precision, measured at first."""
        if dtype not in self._memory:

            def run(height: int, width: int) -> FloatPixels:
                with evaluation_mode(self._network):
                    return self._run_network(np.zeros((height, width, 3), np.float32), dtype=dtype)

            self._memory[dtype] = memory_model(
                run, self._network, key={**self._memory_key, "dtype": dtype_name(dtype)}, device=self.device,
                multiple_of=self._geometry.multiple_of, fixed_size=self._geometry.fixed_size,
            )  # fmt: skip
        return self._memory[dtype]

    def _area(self, image: Array, region: tuple[int, int, int, int] | None) -> Area:
        height, width = image.shape[:2]
        return (
            whole_area(height, width) if region is None else region_area(region, height=height, width=width)
        )

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
                self._most_pixels = plan.tile_pixels // 2
                self._tell(f"{self.device} ran out of memory; going on with tiles half as large")
                if self._request.tile != "auto":
                    self._request = replace(self._request, tile="auto")
            except MemoryError as error:
                raise _out_of_memory(self.label) from error
            except RuntimeError as error:
                if "can't allocate memory" not in str(error):  # how PyTorch's CPU allocator fails
                    raise
                raise _out_of_memory(self.label) from error

    def _run(self, image: Array, plan: TilePlan, progress: Progress | None) -> tuple[Array, int]:
        area = plan.area
        scale = scale_of(image.dtype)
        dtype = self._torch_dtype(image.dtype)
        restored = np.empty((area.height, area.width, image.shape[2]), image.dtype)
        non_finite = 0

        def restore(row: Span, column: Span) -> FloatPixels:
            return self._run_network(read_window(image, row, column, scale=scale), dtype=dtype)

        def write(top: int, left: int, values: FloatPixels) -> None:
            nonlocal non_finite
            height, width = values.shape[:2]
            if self.strength < 1:
                before = image[top : top + height, left : left + width].astype(np.float32) / np.float32(scale)
                values = values * np.float32(self.strength) + before * np.float32(1 - self.strength)
            non_finite += finish(values, scale=scale)
            top, left = top - area.top, left - area.left
            restored[top : top + height, left : left + width] = values

        with torch.inference_mode(), evaluation_mode(self._network):
            run_plan(plan, restore=restore, write=write, progress=progress)
        if plan.num_tiles > 1:
            give_back_free_memory()  # for the encoder
        return restored, non_finite

    def _run_network(self, window: FloatPixels, *, dtype: torch.dtype) -> FloatPixels:
        """(h, w, C) float32 in [0, 1] -> restored; not clipped."""
        height, width, channels = window.shape
        x = (
            torch.from_numpy(window).to(self.device).permute(2, 0, 1)[None]
        )  # (h, w, C) -> (1, C, h, w), channels last
        if self._signed:
            x = x * 2 - 1
        x = x.expand(1, 3, height, width)
        x = x.contiguous(
            memory_format=torch.channels_last if self.device.type == "cpu" else torch.contiguous_format
        )
        with torch.inference_mode():
            y: Tensor = self._module_for(dtype)(x)
        if y.shape != x.shape:
            raise PictureError(
                f"model {self.label} made {tuple(y.shape)} of {tuple(x.shape)}; see what is wrong with: deblur plugins check"
            )
        y = y.float()
        if self._signed:
            y = y.add(1).div_(2)
        if channels == 1:
            y = y.mean(dim=1, keepdim=True)
        restored: FloatPixels = y[0].permute(1, 2, 0).cpu().numpy()
        return restored

    def _module_for(self, dtype: torch.dtype) -> nn.Module:
        """What takes and returns float32 and computes in `dtype`: the network's own way, else autocast."""
        if dtype not in self._modules:
            make = getattr(self._network, "for_inference", None)
            module: nn.Module = make(dtype) if make is not None else Autocast(self._network, dtype)
            self._modules[dtype] = module.to(self.device).eval() if make is not None else module
        return self._modules[dtype]

    def _torch_dtype(self, pixels: "np.dtype[Any]") -> torch.dtype:
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
        write_picture(self.restore_picture(read_picture(path)), target)  # the input is gone while it is written
        return target

    def _tell_if_approximate(self, plan: TilePlan) -> None:
        if plan.exact:
            return
        halo = self._geometry.halo
        why = (
            f"an overlap of {plan.margin} px is less than the {halo} px that {self.label} looks around"
            if halo is not None and self._geometry.fixed_size is None
            else f"{self.label} looks at the whole picture"
            if self._geometry.fixed_size is None
            else f"{self.label} takes {self._geometry.fixed_size} px squares only"
        )
        self._tell(f"tiling is approximate: {why}; deblur verify-tiling measures the difference")

    def _tell(self, message: str) -> None:
        """Say something once."""
        if message not in self._told:
            self._told.add(message)
            _log.warning(message)


def _needed(plan: TilePlan, memory: MemoryModel, *, channels: int) -> int:
    """Bytes of a plan: one window, and the sums of one row of windows where they are blended."""
    bands = 3 * 4 * channels * plan.tile_shape[0] * plan.width if plan.blend else 0
    return memory.bytes_for(plan.tile_pixels) + bands


def _out_of_memory(label: str) -> NotEnoughRoomError:
    return NotEnoughRoomError(
        f"memory ran out while {label} restored the picture; give --max-memory, such as 1GB, or a smaller --tile"
    )
