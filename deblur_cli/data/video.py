"""Frames of video files, decoded one after another by FFmpeg through PyAV (the extra `video`).

What a file promises is checked against what comes out of it, so a damaged one is an error, not a shorter clip.
Damage that the decoder itself takes for a picture cannot be found: most formats have no checksums.
"""

import itertools
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deblur_cli.data.files import as_text, find_pictures
from deblur_cli.data.frames import FolderFrames, FrameSequence, FrameSource, Window, check_window, runs_of
from deblur_cli.errors import MissingError, PictureError, UsageError
from deblur_cli.pictures.picture import Pixels

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

VIDEO_EXTENSIONS = frozenset({".mp4", ".m4v", ".mov", ".avi"})

_HDR_CURVES = {16: "PQ", 18: "HLG"}  # transfer characteristics of ITU-T H.273
_GREATEST_JITTER = 0.1  # of the time between two frames

Frame = NDArray[np.uint8]


def find_videos(path: Path) -> list[Path]:
    """A video file itself, or those in a folder and its sub-folders, sorted by the bytes of their relative paths."""
    if path.is_file():
        return [path] if path.suffix.lower() in VIDEO_EXTENSIONS else []
    found = [
        Path(parent, name)
        for parent, _, names in os.walk(path, followlinks=True)
        for name in names
        if not name.startswith(".") and Path(name).suffix.lower() in VIDEO_EXTENSIONS
    ]
    return sorted(found, key=lambda video: os.fsencode(video.relative_to(path).as_posix()))


def open_frames(root: Path) -> FrameSource:
    """The frames of a video file, of the videos in a folder, or of the pictures in a folder.

    Raises
    ------
    MissingError : there is neither, or PyAV is not there
    PictureError : a video cannot be used, or names of pictures do not tell their order
    UsageError : a folder holds both
    """
    if root.is_file():
        return VideoFrames(root)
    if not root.is_dir():
        raise MissingError(f"there is no folder or video {root}")
    if not find_videos(root):
        return FolderFrames(root)
    if find_pictures(root):
        raise UsageError(f"{root} holds videos and pictures; name one video, or a folder with one of the two")
    return VideoFrames(root)


def import_pyav() -> ModuleType:
    """The module av.

    Raises
    ------
    MissingError : PyAV is not installed, or does not load
    """
    try:
        import av
    except ImportError as error:
        raise MissingError(
            f"reading videos needs the extra 'video' ({error}): pip install 'deblur-cli[video]'"
        ) from error
    return av


@dataclass(frozen=True, slots=True, kw_only=True)
class _Video:
    """A file as it was found. times : of all frames, rising, in the stream's unit."""

    path: Path
    times: NDArray[np.int64]
    sequence: FrameSequence


class VideoFrames:
    """Frames of video files, (H, W, 3) uint8 code values, turned upright; each file is a clip.

    Decoding goes forward only, with the frames of one window in memory: windows are best asked for in order. Frames that
    the camera dropped are gaps.
    """

    def __init__(self, root: Path) -> None:
        """Read the time stamps of a video file, or of all in a folder, without decoding.

        Raises
        ------
        MissingError : PyAV or a video is not there
        PictureError : a file is truncated or no video, or its frame rate varies
        """
        import_pyav()
        paths = find_videos(root)
        if not paths:
            kinds = ", ".join(sorted(VIDEO_EXTENSIONS))
            raise MissingError(f"{root} is no video and holds none ({kinds})")
        base = root if root.is_dir() else root.parent
        self._videos = [_scan(path, as_text(path.relative_to(base))) for path in paths]
        self._reader: _Reader | None = None

    def __getstate__(self) -> dict[str, object]:
        """The listing alone: an open file does not go to another process."""
        return {"_videos": self._videos, "_reader": None}

    def sequences(self) -> Sequence[FrameSequence]:
        """One for each file."""
        return [video.sequence for video in self._videos]

    def frames(self, window: Window) -> list[Pixels]:
        """The frames of a window, (H, W, 3) uint8, not to be written to.

        Raises
        ------
        PictureError : the file is damaged, or the window runs over a gap
        """
        video = self._videos[window.sequence]
        check_window(video.sequence, window)
        reader = self._reader
        if reader is None or reader.video is not video or window.first < reader.reached:
            self.close()
            reader = self._reader = _Reader(video)
        try:
            return list(reader.read(window.first, window.count))
        except PictureError:
            self.close()  # or the next window would start behind the damage
            raise

    def frame_name(self, sequence: int, position: int) -> str:
        """The file's relative path and the number of the frame from 0."""
        return f"{self._videos[sequence].sequence.name}#{position:06d}"

    def path(self, sequence: int, position: int) -> Path:
        """The file that a frame is in."""
        return self._videos[sequence].path

    def close(self) -> None:
        """Close the open file, if there is one; the next window opens it again."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None


class _Reader:
    """A file being decoded. reached : position of the first frame that can still be had."""

    def __init__(self, video: _Video) -> None:
        self.video = video
        self.reached = 0
        self._kept: deque[Frame] = deque()
        self._container, stream = _open(video.path)
        # The decoder shall not patch up what is damaged. Of threads on slices, PyAV's default, errors do not come back.
        stream.codec_context.options = {"err_detect": "explode"}
        stream.thread_type = "FRAME"
        self._decoded = self._decode(stream)
        self._size: tuple[int, ...] | None = None

    def read(self, first: int, count: int) -> Iterator[Frame]:
        """Frames from a position on, which must not lie before `reached`."""
        while self._kept and self.reached < first:
            self._kept.popleft()
            self.reached += 1
        for _ in range(first - self.reached):  # between windows: decoded, for later frames build on them
            next(self._decoded)
            self.reached += 1
        while len(self._kept) < count:
            self._kept.append(self._upright(next(self._decoded)))
        return itertools.islice(self._kept, count)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _decode(self, stream: "VideoStream") -> "Iterator[VideoFrame]":
        """All frames, each with the time that was found for it before."""
        av = import_pyav()
        position = 0
        try:
            for position, (time, frame) in enumerate(
                itertools.zip_longest(self.video.times.tolist(), self._container.decode(stream))
            ):
                if frame is None or time is None or frame.is_corrupt or frame.pts not in (None, time):
                    raise self._damaged(position)
                yield frame
        except av.FFmpegError as error:
            raise self._damaged(position + 1) from error

    def _upright(self, frame: "VideoFrame") -> Frame:
        """A frame as it is to be shown."""
        path = self.video.path
        if frame.interlaced_frame:
            raise PictureError(f"cannot use {path}: its frames are interlaced; deinterlace it first")
        if frame.color_trc in _HDR_CURVES:
            curve = _HDR_CURVES[frame.color_trc]
            raise PictureError(f"cannot use {path}: it is an HDR video ({curve}); convert it to SDR first")
        pixels = _turned(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), frame, path)
        if self._size is None:
            self._size = pixels.shape
        if pixels.shape != self._size:
            raise PictureError(
                f"cannot use {path}: the size of its frames changes on the way; split it first"
            )
        pixels.flags.writeable = False  # overlapping windows share frames
        return pixels

    def _damaged(self, position: int) -> PictureError:
        return PictureError(
            f"cannot read {self.video.path} beyond frame {position} of {len(self.video.times)}: it is damaged; "
            "copy it anew, or cut it before"
        )


def _open(path: Path) -> "tuple[InputContainer, VideoStream]":
    """The file and its video stream."""
    av = import_pyav()
    try:
        container: InputContainer = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise PictureError(
            f"cannot read {path}: it is no video, damaged or truncated ({_reason(error)})"
        ) from error
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream):
        container.close()
        raise PictureError(f"cannot use {path}: it holds no video")
    if stream.codec_context is None:
        container.close()
        raise PictureError(
            f"cannot read {path}: its format is not known, or it is truncated; copy it anew, or convert it to H.264"
        )
    return container, stream


def _scan(path: Path, name: str) -> _Video:
    """Time stamps of all frames, from the packets alone."""
    av = import_pyav()
    container, stream = _open(path)
    times: list[int] = []
    hidden = 0  # frames that are only there for others to build on
    with container:
        promised = stream.frames
        try:
            for packet in container.demux(stream):
                time = packet.dts if packet.pts is None else packet.pts
                if packet.is_corrupt:
                    raise _truncated(path, len(times), promised)
                if packet.is_discard:
                    hidden += 1
                elif time is not None and packet.size:
                    times.append(time)
        except av.FFmpegError as error:
            raise _truncated(path, len(times), promised) from error
    if not times:
        raise PictureError(f"cannot use {path}: it holds no frame")
    times.sort()
    numbers = _numbers(np.array(times, np.int64), path)
    if promised > numbers[-1] + 1 + hidden:
        raise _truncated(path, len(times), promised)
    sequence = FrameSequence(name=name, runs=runs_of(numbers))
    return _Video(path=path, times=np.array(times, np.int64), sequence=sequence)


def _numbers(times: NDArray[np.int64], path: Path) -> list[int]:
    """The number of each frame at a constant rate; numbers are left out where the camera dropped frames.

    Raises
    ------
    PictureError : the rate is not constant
    """
    steps = np.diff(times)
    if not steps.size:
        return [0]
    usual = float(
        np.mean(steps[np.abs(steps - np.median(steps)) <= 1])
    )  # rounded, so a step may be one tick off
    counts = np.rint(steps / usual)
    tolerance = max(1.0, _GREATEST_JITTER * usual)
    wrong = (counts < 1) | (np.abs(steps - counts * usual) > tolerance)
    if wrong.any():
        position = int(np.argmax(wrong))
        raise PictureError(
            f"cannot use {path}: its frame rate varies (frames {position} and {position + 1} are "
            f"{steps[position] / usual:.2f} times as far apart as others); convert it to a constant rate first"
        )
    return [0, *np.cumsum(counts).astype(int).tolist()]


def _turned(pixels: Frame, frame: "VideoFrame", path: Path) -> Frame:
    """Pixels turned and mirrored by the frame's display matrix."""
    side_data: Any = frame.side_data.get("DISPLAYMATRIX")  # PyAV declares it an object; it is a buffer
    if side_data is None:
        return pixels
    # x' = a x + c y, y' = b x + d y, x right and y down, in 1 / 65536
    a, b, _, c, d = (int(value) / 65536 for value in np.frombuffer(side_data, np.int32)[:5])
    if sorted((abs(a) + abs(d), abs(b) + abs(c))) != [0, 2]:
        raise PictureError(f"cannot use {path}: it is turned by an odd angle")
    if a == 0:
        pixels = pixels.swapaxes(0, 1)
        a, d = c, b
    return np.ascontiguousarray(pixels[:: round(d), :: round(a)])


def _truncated(path: Path, found: int, promised: int) -> PictureError:
    of = f" of {promised}" if promised else ""
    return PictureError(
        f"cannot read {path}: it ends after {found}{of} frames, so it is truncated; copy it anew"
    )


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
