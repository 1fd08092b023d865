"""Plans that fit: the largest windows that the memory holds, or a refusal that says what would do."""

from collections.abc import Mapping
from copy import copy
from dataclasses import replace

import numpy as np
import torch

from deblur_cli.errors import NotEnoughRoomError, PictureError
from deblur_cli.host.declarations import Geometry
from deblur_cli.networks import PictureStatistics
from deblur_cli.restore.calling import WindowCaller, evaluation_mode
from deblur_cli.restore.devices import dtype_name
from deblur_cli.restore.memory import (
    BUFFER_BYTES_PER_PIXEL,
    ENSEMBLE_BYTES_PER_PIXEL,
    SHARE_IF_ASKED,
    SHARE_OF_FREE,
    MemoryModel,
    format_size,
    free_memory,
    keep_large_tensors_off_the_heap,
    keep_large_tensors_on_the_heap,
    memory_model,
)
from deblur_cli.restore.planning import TileRequest, declared_overlap, least_pixels, plan_picture, whole_area
from deblur_cli.restore.running import FloatPixels
from deblur_cli.restore.tiling import Area, TilePlan
from deblur_cli.restore.turns import TURNS

SMALL_PIXELS = 256 * 256
"""Windows up to this run without a look at memory, where no budget is set."""
WIDE_PX = 64
"""Where memory is short, a smaller overlap than one above this is named as a way out."""


class TilePlanner:
    """Plans windows within a budget of memory, for one network on one device.

    Parameters
    ----------
    call : the network; it runs on a few small windows when its memory is measured
    request : what the user asked for
    max_memory : bytes for pictures and activations; None takes a share of what is free
    self_ensemble : each window is restored in all eight turns
    key : what tells networks of equal layers apart, for the cache of measured figures
    """

    def __init__(
        self,
        call: WindowCaller,
        *,
        geometry: Geometry,
        request: TileRequest,
        max_memory: int | None,
        self_ensemble: bool = False,
        key: Mapping[str, object],
    ) -> None:
        if max_memory is not None:
            keep_large_tensors_off_the_heap()
        elif call.device.type == "cpu":
            keep_large_tensors_on_the_heap()
        self.geometry = geometry
        self._call = call
        self.request = request
        self._max_memory = max_memory
        self._self_ensemble = self_ensemble
        self._key = key
        self._memory: dict[torch.dtype, MemoryModel] = {}
        self._most_pixels: int | None = None  # what the device turned out to hold

    def with_request(self, request: TileRequest) -> "TilePlanner":
        """The same network and budget with other tiles."""
        other = copy(self)
        other.request = request
        return other

    def halve(self, plan: TilePlan) -> None:
        """Take windows of at most half the pixels from now on, whatever was asked for: these did not fit."""
        self._most_pixels = plan.tile_pixels // 2
        if self.geometry.fixed_size is None:
            self.request = replace(self.request, tile="auto")

    def plan(
        self, height: int, width: int, *, area: Area, dtype: torch.dtype, channels: int, pixel_bytes: int
    ) -> TilePlan:
        """Plan the windows over `area` of a picture: where they are approximate, those of the whole one.

        Parameters
        ----------
        height, width : of the picture, pixels
        dtype : what the network computes in
        pixel_bytes : of the input and of the output, each; they count where they lie in the device's memory

        Raises
        ------
        PictureError : the network takes pictures of one size only, and tiles of that size were not asked for
        NotEnoughRoomError : the memory does not suffice; says the smallest budget that does
        """
        self._require_size(height, width)
        everything = whole_area(height, width)
        sees_all = self.geometry.halo is None and self.geometry.fixed_size is None
        if area != everything and (sees_all or declared_overlap(self.geometry, self.request) is not None):
            # its result takes more memory, so that its windows may be smaller than this area's would be
            whole = self.plan(
                height, width, area=everything, dtype=dtype, channels=channels, pixel_bytes=pixel_bytes
            )
            if not whole.exact or (sees_all and whole.reads_all):
                return whole.within(area)
        if self._max_memory is None and self._most_pixels is None:
            plan = self._plan(height, width, area, most_pixels=None)
            if plan is not None and plan.tile_pixels <= SMALL_PIXELS:
                return plan
        on_cpu = self._call.device.type == "cpu"
        held = pixel_bytes * (height * width + area.height * area.width) if on_cpu else 0
        told = PictureStatistics(self._call.network).bytes_per_pixel * height * width
        held += told * len(TURNS) if self._self_ensemble else told
        budget = self._budget(held)
        memory = self._memory_for(dtype)
        limit = memory.pixels_within(max(0, budget - held))
        if self._most_pixels is not None:
            limit = min(limit, self._most_pixels)
        auto = replace(self.request, tile="auto")
        least = least_pixels(height=height, width=width, area=area, geometry=self.geometry, request=auto)
        given = self.request.tile != "auto" or self.geometry.fixed_size is not None
        while True:
            plan = self._plan(height, width, area, most_pixels=limit if given else max(limit, least))
            assert plan is not None  # a window of `least` pixels is of use
            needed = held + _needed(plan, memory, channels=channels)
            may_work = self._most_pixels is None or plan.tile_pixels <= self._most_pixels
            if needed <= budget and may_work:
                return plan
            if given or limit < least:
                raise self._too_little(budget, needed, plan, auto_fits=limit >= least)
            limit = min(limit, plan.tile_pixels) * 3 // 4

    def _require_size(self, height: int, width: int) -> None:
        size = self.geometry.fixed_size
        if size is None or (height, width) == (size, size) or isinstance(self.request.tile, tuple):
            return
        hint = f"{self.geometry.hint}; " if self.geometry.hint else ""
        raise PictureError(
            f"{self._call.label} takes pictures of {size}x{size} px only, and this one has {width}x{height}; {hint}"
            f"--tile {size} restores it in blended tiles of that size, which is approximate"
        )

    def _plan(self, height: int, width: int, area: Area, *, most_pixels: int | None) -> TilePlan | None:
        return plan_picture(
            height=height,
            width=width,
            area=area,
            geometry=self.geometry,
            request=self.request,
            most_pixels=most_pixels,
        )

    def _budget(self, held: int) -> int:
        """Bytes that pictures and activations may take; of free memory more where the user chose the tile."""
        if self._max_memory is not None:
            return self._max_memory
        share = SHARE_OF_FREE if self.request.tile == "auto" else SHARE_IF_ASKED
        return int(free_memory(self._call.device) * share) + held // 2  # the input is there already

    def _too_little(self, budget: int, needed: int, plan: TilePlan, *, auto_fits: bool) -> NotEnoughRoomError:
        """plan : the smallest that is of use, or the one that was asked for; needed : its bytes"""
        if needed <= budget:
            return self._full()
        remedy = "or a picture of fewer pixels"
        if self.geometry.fixed_size is None and self.request.tile != "auto" and auto_fits:
            remedy = "or --tile auto"
        elif plan.margin > WIDE_PX:
            remedy = f"or an --overlap below {plan.margin}, which is approximate"
        return NotEnoughRoomError(
            f"{self._call.label} needs {format_size(needed)} for this picture at least, {format_size(budget)} is what it may take; "
            f"give --max-memory {format_size(needed).replace(' ', '')} {remedy}"
        )

    def _full(self) -> NotEnoughRoomError:
        return NotEnoughRoomError(
            f"{self._call.device} ran out of memory with the smallest tiles of {self._call.label}; "
            "free some of it, or give --device cpu"
        )

    def _memory_for(self, dtype: torch.dtype) -> MemoryModel:
        """The memory model of this network in this precision, measured at first."""
        if dtype not in self._memory:

            def run(height: int, width: int) -> FloatPixels:
                with evaluation_mode(self._call.network):
                    return self._call(np.zeros((height, width, 3), np.float32), dtype=dtype)

            try:
                measured = memory_model(
                    run, self._call.network, key={**self._key, "dtype": dtype_name(dtype)}, device=self._call.device,
                    multiple_of=self.geometry.multiple_of, fixed_size=self.geometry.fixed_size,
                )  # fmt: skip
            except torch.OutOfMemoryError as error:
                raise self._full() from error
            besides = ENSEMBLE_BYTES_PER_PIXEL if self._self_ensemble else 0
            self._memory[dtype] = replace(measured, buffer_bytes_per_pixel=BUFFER_BYTES_PER_PIXEL + besides)
        return self._memory[dtype]


def _needed(plan: TilePlan, memory: MemoryModel, *, channels: int) -> int:
    """Bytes of a plan: one window, and the sums of one row of windows where they are blended."""
    width = plan.columns[-1].read_stop - plan.columns[0].read_start
    bands = 3 * 4 * channels * plan.tile_shape[0] * width if plan.blend else 0
    return memory.bytes_for(plan.tile_pixels) + bands
