"""The source of averaged frames: windows of consecutive frames, drawn by the first step of a spec."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from deblur_cli.blur.frame_average import FrameAverage, average_window
from deblur_cli.blur.light import parse_light
from deblur_cli.blur.params import from_record
from deblur_cli.blur.pipeline import Operations, Taken, draw_steps
from deblur_cli.blur.randomness import generator
from deblur_cli.blur.spec import Resize, SourceKind, Spec
from deblur_cli.data.frames import FrameSource, Window, plan_windows
from deblur_cli.data.framing import resize
from deblur_cli.data.items import Item, described
from deblur_cli.data.splits import part_named
from deblur_cli.data.synthesis import Opened
from deblur_cli.errors import MissingError


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOpener:
    """Windows of frames. key : (window, the step that averages it, as it was drawn)."""

    frames: FrameSource
    size: Resize | None

    def open(self, item: Item) -> Opened:
        """Average the frames of a window, after resizing them."""
        window, step = item.key
        frames = [resize(frame, self.size) for frame in self.frames.frames(window)]
        averaged = average_window(frames, step.params, step.light)
        names = [
            self.frames.frame_name(window.sequence, window.first + position)
            for position in range(window.count)
        ]
        record = {
            "source": item.name,
            "source_sha256": hashlib.sha256(b"".join(np.ascontiguousarray(frame).data for frame in frames)).hexdigest(),
            "frames": [names[0], names[-1]],
            "window": [window.sequence, window.first, window.count],
        }  # fmt: skip
        return Opened(
            sharp=frames[len(frames) // 2], blurry=averaged.image, light=averaged.light, record=record,
            averaged=(step, averaged.info),
        )  # fmt: skip

    def find(self, record: Mapping[str, Any]) -> Item:
        """The window, averaged as it was."""
        sequence, first, count = record["window"]
        step = record["steps"][0]
        light = parse_light(step.get("light", record["light"]), folder=Path())
        params = from_record(FrameAverage, step["params"])
        taken = Taken(slot=step["slot"], op=step["op"], params=params, light=light)
        window = Window(index=record["index"], sequence=sequence, first=first, count=count)
        return Item(index=record["index"], name=record["source"], key=(window, taken))


class Windows:
    """Windows of consecutive frames, drawn by the spec's first step."""

    def __init__(self, root: Path, frames: FrameSource, spec: Spec, operations: Operations) -> None:
        self._root = root
        self.opener = WindowOpener(frames=frames, size=spec.resize)
        self._frames, self._spec, self._operations = frames, spec, operations
        self._clips = [sequence.name for sequence in frames.sequences()]
        parts = [part_named(f"{clip}/") for clip in self._clips]
        self.parts = frozenset(part for part in parts if part is not None)
        self._windows = list(plan_windows(frames.sequences(), self._draw))
        if not self._windows:
            longest = max((run.count for sequence in frames.sequences() for run in sequence.runs), default=0)
            raise MissingError(
                f"{root} has {longest} frames in a row at most, and a window takes {self._draw(0)[0]}; "
                "give longer clips, numbered without gaps, or a smaller step.0.window"
            )

    def __len__(self) -> int:
        """How many windows there are."""
        return len(self._windows)

    def items(self, start: int, stop: int) -> list[Item]:
        """Windows by their position."""
        return [
            Item(
                index=window.index,
                name=self._frames.frame_name(window.sequence, window.centre),
                part=part_named(f"{self._clips[window.sequence]}/"),
                clip=self._clips[window.sequence],
                key=(window, self._step(window.index)),
            )
            for window in self._windows[start:stop]
        ]

    def describe(self) -> dict[str, str]:
        """Kind, path and windows."""
        windows = [repr((window.sequence, window.first, window.count)).encode() for window in self._windows]
        return described(SourceKind.FRAMES, self._root, windows)

    def _draw(self, index: int) -> tuple[int, int]:
        params = self._step(index).params
        return params.window, params.step

    def _step(self, index: int) -> Taken:
        """The first step of the spec, drawn for one window."""
        streams = partial(generator, self._spec.seed, index=index, draw=0)
        return draw_steps(self._spec, self._operations, streams=streams, number=0)[0]
