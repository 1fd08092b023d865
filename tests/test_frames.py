"""Frames averaged to blur: light, ghosting, frames in between, clips in folders and videos."""

import functools
import math
import os
import pickle
import struct
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import scipy.interpolate
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from deblur_cli.blur import frame_average
from deblur_cli.blur.distributions import Integers
from deblur_cli.blur.frame_average import FrameAverage, Ghost, Refusal, WindowRefused, average, average_window
from deblur_cli.blur.light import Light, decode, encode
from deblur_cli.blur.optical_flow import luma, measure_flow
from deblur_cli.blur.params import draw_params, from_record
from deblur_cli.blur.randomness import Role, generator
from deblur_cli.data.frames import FolderFrames, FrameSequence, Run, Window, plan_windows
from deblur_cli.data.video import VideoFrames, open_frames
from deblur_cli.errors import MissingError, PictureError, UsageError
from deblur_cli.pictures.scaling import from_integers, to_8_bit

LIGHTS = (Light.SRGB, Light.LINEAR, Light.GAMMA22)


@functools.cache
def photograph() -> scipy.interpolate.BSpline:
    """Rows of a photograph with detail everywhere, for flow sees nothing move where there is none."""
    rows = data.astronaut()[290:410, 140:400].astype(float)
    return scipy.interpolate.make_interp_spline(np.arange(rows.shape[1]), rows, axis=1)


@functools.cache
def scene(x: float) -> np.ndarray:
    """The photograph moved right by x px, (120, 160, 3) uint8, nothing of its border in view."""
    return np.rint(np.clip(photograph()(np.arange(50, 210) - x), 0, 255)).astype(np.uint8)


def clip(*places: float) -> list[np.ndarray]:
    return [scene(round(place, 6)) for place in places]


def moving(step: float, count: int) -> list[np.ndarray]:
    return clip(*(step * k for k in range(count)))


def noise(*shape: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(1)).integers(0, 256, shape).astype(np.uint8)


def write_frames(folder: Path, frames: list[np.ndarray], *, numbers: list[int] | None = None) -> Path:
    folder.mkdir(parents=True)
    for number, frame in zip(numbers or range(len(frames)), frames, strict=True):
        Image.fromarray(frame).save(folder / f"{number:06d}.png")
    return folder


# --- the mean


def test_the_mean_of_code_values_is_numpys():
    frames = noise(13, 40, 50, 3)
    expected = (frames / 255).mean(axis=0, dtype=np.float64)
    assert np.abs(average(list(frames), Light.SRGB) - expected).max() <= 1e-7


@pytest.mark.parametrize(
    ("light", "to_light"),
    [
        (Light.LINEAR, lambda v: np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)),
        (Light.GAMMA22, lambda v: v**2.2),
    ],
)
def test_the_mean_is_taken_of_light(light, to_light):
    frames = noise(7, 40, 50, 3)
    expected = to_light(frames / 255).mean(axis=0)
    assert np.abs(average(list(frames), light) - expected).max() <= 1e-6


def test_half_black_and_half_white_is_brighter_in_light_than_in_code_values():
    frames = [np.full((4, 4, 3), value, np.uint8) for value in (0, 255)]
    half = {light: float(encode(average(frames, light), light)[0, 0, 0]) for light in LIGHTS}
    assert half[Light.SRGB] == 0.5
    assert half[Light.LINEAR] == pytest.approx(0.735, abs=5e-4)
    assert half[Light.GAMMA22] == pytest.approx(0.5 ** (1 / 2.2), abs=1e-6)


@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize("count", [1, 7, 13, 23])
def test_equal_frames_come_back_bit_for_bit(light, count):
    frame = noise(48, 64, 3)
    frame[:, :, 0].flat[:256] = np.arange(256)  # every code
    averaged = average_window([frame] * count, FrameAverage(window=count), light)
    assert (averaged.image == decode(from_integers(frame), light)).all()
    assert (to_8_bit(encode(averaged.image, light)) == frame).all()
    assert averaged.info["flow_px"] == pytest.approx(0, abs=1e-3)


def test_frames_of_16_bit_and_of_one_channel_are_averaged_too():
    deep = (noise(5, 24, 32, 1) // 8).astype(np.uint16) * 600
    averaged = average_window(list(deep), FrameAverage(window=5, ghost=Ghost.ALLOW), Light.SRGB)
    assert averaged.image.shape == (24, 32, 1)
    assert np.abs(averaged.image - (deep / 65535).mean(axis=0)).max() <= 1e-7


def test_a_stack_already_in_light_is_averaged_as_declared():
    stack = noise(5, 8, 9, 3).astype(np.float32) / 255
    params = FrameAverage(window=5)
    assert np.abs(frame_average.apply(stack, params) - stack.mean(axis=0, dtype=np.float64)).max() <= 1e-7
    with pytest.raises(UsageError, match="4 frames where the window takes 5"):
        frame_average.apply(stack[:4], params)


# --- parameters


@pytest.mark.parametrize("window", [8, 0, -1, 1.5, 1001])
def test_a_window_without_a_middle_frame_is_refused(window):
    with pytest.raises(UsageError, match=r"window is .*odd, from 1 to 999 frames"):
        FrameAverage(window=window)


def test_windows_that_are_no_whole_numbers_are_refused():
    with pytest.raises(UsageError, match=r"window is 7\.0; it must be a whole number"):
        from_record(FrameAverage, {"window": 7.0})


def test_windows_are_drawn_odd_and_the_stride_follows_them():
    node = {"window": Integers(7, 23, 2)}
    drawn = [
        draw_params(FrameAverage, node, generator(723, index=k, draw=0, slot=1, role=Role.PARAMETERS), 0)
        for k in range(200)
    ]
    assert {params.window for params in drawn} == set(range(7, 24, 2))
    assert all(params.step == params.window for params in drawn)
    assert FrameAverage(window=7, stride=3).step == 3


# --- motion


@pytest.mark.parametrize("px", [0.5, 1, 2, 4, 8])
def test_flow_on_exact_shifts_is_right_within_three_hundredths_of_a_pixel(px):
    flow = measure_flow(luma(scene(0)), luma(scene(px)))[32:-32, 32:-32]
    assert abs(np.median(np.hypot(flow[..., 0], flow[..., 1])) - px) <= 0.03
    assert abs(np.median(flow[..., 0]) - px) <= 0.03  # it points to where things went


def test_a_clip_that_moves_2_px_a_frame_is_refused_and_the_reason_said():
    with pytest.raises(WindowRefused, match=r"frames 0 and 1 move by 2\.0\d px, more than 1\.15") as caught:
        average_window(moving(2, 7), FrameAverage(window=7), Light.GAMMA22)
    assert caught.value.reason is Refusal.GHOST
    allowed = average_window(moving(2, 7), FrameAverage(window=7, ghost=Ghost.ALLOW), Light.GAMMA22)
    assert allowed.info["flow_px"] == pytest.approx(2.0, abs=0.03)


def test_a_clip_that_moves_nine_tenths_of_a_pixel_a_frame_is_kept():
    frames = moving(0.9, 7)
    averaged = average_window(frames, FrameAverage(window=7), Light.GAMMA22)
    assert averaged.info["flow_px"] == pytest.approx(0.91, abs=0.03)
    assert averaged.info["inserted"] == 0
    assert averaged.info["offset_px"] == pytest.approx([0, 0], abs=0.02)  # constant speed
    assert (averaged.image == average(frames, Light.GAMMA22)).all()


def test_a_change_of_speed_shows_as_an_offset_from_the_middle_frame():
    places = (0, 0.2, 0.4, 1.4, 2.4)
    averaged = average_window(clip(*places), FrameAverage(window=5), Light.SRGB)
    expected = np.mean(places) - places[2]
    assert averaged.info["offset_px"] == pytest.approx([expected, 0], abs=0.05)


def test_a_cut_is_refused_whatever_the_motion_may():
    frames = [np.full((40, 50, 3), 40, np.uint8)] * 3 + [np.full((40, 50, 3), 120, np.uint8)] * 2
    for ghost in Ghost:
        with pytest.raises(
            WindowRefused, match=r"cut between its frames 2 and 3 \(mean difference 0\.31"
        ) as caught:
            average_window(frames, FrameAverage(window=5, ghost=ghost), Light.SRGB)
        assert caught.value.reason is Refusal.CUT
    mild = frames[:3] + [np.full((40, 50, 3), 100, np.uint8)] * 2  # 60 / 255 = 0.235
    assert average_window(mild, FrameAverage(window=5), Light.SRGB).image.shape == (40, 50, 3)


def test_frames_of_different_size_are_refused():
    frames = [noise(40, 50, 3), noise(40, 52, 3), noise(40, 50, 3)]
    with pytest.raises(WindowRefused, match="not of one kind: 50x40x3, 52x40x3") as caught:
        average_window(frames, FrameAverage(window=3), Light.SRGB)
    assert caught.value.reason is Refusal.SIZE


# --- frames in between


def streak(*, length: float) -> np.ndarray:
    """The same motion sampled 97 times, in linear light."""
    places = [round(length * i / 96, 6) for i in range(97)]
    return np.mean([decode(from_integers(scene(place)), Light.LINEAR) for place in places], axis=0)


def rms(difference: np.ndarray) -> float:
    return float(np.sqrt(np.mean(difference[32:-32, 32:-32] ** 2)))


@pytest.mark.parametrize("step", [3, 5])
def test_frames_put_in_between_turn_copies_into_a_streak(step):
    frames = moving(step, 5)
    expected = streak(length=4 * step)
    copies = average_window(frames, FrameAverage(window=5, ghost=Ghost.ALLOW), Light.LINEAR)
    filled = average_window(frames, FrameAverage(window=5, ghost=Ghost.INTERPOLATE), Light.LINEAR)
    assert filled.info["inserted"] == 4 * (math.ceil(filled.info["flow_px"]) - 1) >= 4 * (step - 1)
    assert rms(filled.image - expected) < rms(copies.image - expected) / 3


def test_each_gap_counts_for_its_time_however_many_frames_are_put_in():
    # Still for four frames, then 4 px at once: more frames come from the jump, but no more time.
    places = (0, 0, 0, 0, 4)
    averaged = average_window(clip(*places), FrameAverage(window=5, ghost=Ghost.INTERPOLATE), Light.LINEAR)
    inserted = averaged.info["inserted"]
    assert inserted >= 3
    step = 1 / (inserted + 1)
    times = np.arange(1, inserted + 2) * step
    exposure = 3.5 + step / 2 + 1 - step / 2 + step / 2  # half a frame before, half a step after
    expected = 4 * (times * step).sum() / exposure
    assert averaged.info["offset_px"] == pytest.approx([expected, 0], abs=0.1)


def test_motion_beyond_8_px_is_not_bridged():
    with pytest.raises(WindowRefused, match=r"move by 9\.\d+ px, more than 8"):
        average_window(moving(9.5, 3), FrameAverage(window=3, ghost=Ghost.INTERPOLATE), Light.LINEAR)


def test_slow_clips_are_averaged_as_they_are_where_frames_might_be_put_in():
    frames = moving(0.9, 5)
    averaged = average_window(frames, FrameAverage(window=5, ghost=Ghost.INTERPOLATE), Light.LINEAR)
    assert averaged.info["inserted"] == 0
    assert (averaged.image == average(frames, Light.LINEAR)).all()


# --- windows


def sequence(*runs: tuple[int, int]) -> FrameSequence:
    return FrameSequence(name="clip", runs=tuple(Run(first, count) for first, count in runs))


def test_windows_follow_each_other_and_never_run_over_a_gap():
    clips = [sequence((0, 20), (20, 6), (26, 15)), sequence((0, 8))]
    windows = list(plan_windows(clips, lambda _: (7, 7)))
    assert [(window.sequence, window.first) for window in windows] == [
        (0, 0),
        (0, 7),
        (0, 26),
        (0, 33),
        (1, 0),
    ]
    assert [window.index for window in windows] == [0, 1, 2, 3, 4]
    assert [window.centre for window in windows] == [3, 10, 29, 36, 3]


def test_windows_are_drawn_by_their_index_over_the_whole_source():
    sizes = [7, 9, 13, 7, 11, 9, 25]
    windows = list(
        plan_windows([sequence((0, 30)), sequence((0, 27))], lambda k: (sizes[k], sizes[k] if k < 4 else 2))
    )
    assert [(w.index, w.sequence, w.first, w.count) for w in windows[:4]] == [
        (0, 0, 0, 7),
        (1, 0, 7, 9),
        (2, 0, 16, 13),
        (3, 1, 0, 7),
    ]
    assert windows[4].first == 7
    assert windows[5].first == 9


# --- folders


def test_the_frames_of_a_window_are_the_files_themselves(tmp_path):
    frames = [noise(24, 32, 3) // 13 * k for k in range(13)]
    write_frames(tmp_path / "clips/a", frames)
    source = FolderFrames(tmp_path / "clips")
    window = next(plan_windows(source.sequences(), lambda _: (7, 7)))
    found = source.frames(window)
    assert [(one == other).all() for one, other in zip(found, frames[:7], strict=True)] == [True] * 7
    assert source.frame_name(0, window.centre) == "a/000003.png"
    assert (found[3] == np.asarray(Image.open(source.path(0, window.centre)))).all()


def test_a_window_over_a_gap_in_the_numbers_is_refused(tmp_path):
    write_frames(tmp_path / "a", [noise(8, 8, 3)] * 9, numbers=[0, 1, 2, 3, 5, 6, 7, 8, 9])
    source = FolderFrames(tmp_path / "a")
    assert source.sequences()[0].runs == (Run(0, 4), Run(4, 5))
    with pytest.raises(PictureError, match="5 frames from position 2 run over a gap"):
        source.frames(Window(index=0, sequence=0, first=2, count=5))
    with pytest.raises(PictureError, match="past the end"):
        source.frames(Window(index=0, sequence=0, first=6, count=5))
    assert len(source.frames(Window(index=0, sequence=0, first=4, count=5))) == 5


def test_frames_are_ordered_by_number_and_clips_by_name(tmp_path):
    for name in (
        "b/shot_9.png",
        "b/shot_10.png",
        "b/shot_11.png",
        "a/x2_007.png",
        "a/y_1.png",
        ".hidden/1.png",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    source = FolderFrames(tmp_path)
    assert [(clip.name, clip.count) for clip in source.sequences()] == [
        ("a/x2_", 1),
        ("a/y_", 1),
        ("b/shot_", 3),
    ]
    assert [source.frame_name(2, k) for k in range(3)] == ["b/shot_9.png", "b/shot_10.png", "b/shot_11.png"]


def test_blurred_pictures_beside_sharp_ones_are_no_frames(tmp_path):
    for name in ("GOPR01/blur", "GOPR01/blur_gamma", "GOPR01/sharp", "train_blur/000", "train_sharp/000"):
        write_frames(tmp_path / name, [noise(8, 8, 3)])
    assert [clip.name for clip in FolderFrames(tmp_path).sequences()] == ["GOPR01/sharp", "train_sharp/000"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("cover.png", "000001.png"), "cover.png belongs among the frames: its name holds no number"),
        (("1.png", "01.png"), "are both frame 1; keep one of them"),
    ],
)
def test_names_that_do_not_tell_the_order_are_refused(tmp_path, names, words):
    for name in names:
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    with pytest.raises(PictureError, match=words):
        FolderFrames(tmp_path)


def test_listing_takes_less_than_200_bytes_a_name(tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in range(2000):
        os.close(os.open(folder / f"{number:08d}.png", os.O_CREAT | os.O_WRONLY))
    FolderFrames(write_frames(tmp_path / "one", [noise(4, 4, 3)]))  # imports and patterns are no part of it
    tracemalloc.start()
    try:
        source = FolderFrames(folder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert source.sequences()[0].count == 2000
    assert peak / 2000 < 200


def test_nothing_to_average_is_said(tmp_path):
    with pytest.raises(MissingError, match="no pictures in"):
        open_frames(tmp_path)
    with pytest.raises(MissingError, match="no folder or video"):
        open_frames(tmp_path / "nowhere")
    (tmp_path / "note.mkv").write_bytes(b"")
    with pytest.raises(MissingError, match=r"is no video and holds none \(\.avi"):
        open_frames(tmp_path / "note.mkv")


# --- videos

TIME_BASE = Fraction(1, 2400)


def write_video(
    path: Path,
    frames: list[np.ndarray],
    codec: str,
    pixels: str,
    *,
    times: list[int] | None = None,
    **options: str,
) -> Path:
    """times : in 1 / 2400 s, 100 = one frame."""
    muxing = {"movflags": options.pop("movflags")} if "movflags" in options else {}
    path.parent.mkdir(exist_ok=True)
    with av.open(str(path), "w", options=muxing) as container:
        stream = container.add_stream(codec, rate=24, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        if times is not None:
            stream.codec_context.time_base = TIME_BASE
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            if times is not None:
                picture.pts, picture.time_base = times[number], TIME_BASE
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def at(first: int, count: int) -> Window:
    return Window(index=0, sequence=0, first=first, count=count)


LOSSLESS = {
    "raw.avi": ("rawvideo", "bgr24", {}),
    "ffv1.avi": ("ffv1", "bgr0", {}),
    "png.mov": ("png", "rgb24", {}),
    "h264.mp4": ("libx264rgb", "rgb24", {"qp": "0"}),
    "h264.m4v": ("libx264rgb", "rgb24", {"qp": "0", "bf": "3"}),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_frames_of_lossless_videos_are_the_frames_that_went_in(tmp_path, name):
    codec, pixels, options = LOSSLESS[name]
    frames = [np.roll(noise(48, 64, 3), k, axis=1) for k in range(24)]
    source = open_frames(write_video(tmp_path / name, frames, codec, pixels, **options))
    assert source.sequences() == [FrameSequence(name=name, runs=(Run(0, 24),))]
    windows = list(plan_windows(source.sequences(), lambda k: ((7, 5, 9)[k % 3], (7, 2, 4)[k % 3])))
    assert len(windows) == 4
    for window in windows:
        expected = frames[window.first : window.first + window.count]
        assert np.array_equal(source.frames(window), expected)
    assert source.frame_name(0, windows[1].centre) == f"{name}#000009"


def test_asking_for_earlier_frames_starts_over(tmp_path):
    frames = [np.roll(noise(48, 64, 3), k, axis=1) for k in range(12)]
    source = VideoFrames(write_video(tmp_path / "clip.avi", frames, "ffv1", "bgr0"))
    for first in (7, 0, 3, 3, 2, 9):
        assert np.array_equal(source.frames(at(first, 3)), frames[first : first + 3])
    other = pickle.loads(pickle.dumps(source))  # as it goes to another process, where no file is open
    assert np.array_equal(other.frames(at(4, 3)), frames[4:7])


@pytest.mark.parametrize(
    ("name", "codec"), [("clip.mp4", "libx264"), ("clip.mov", "libx264"), ("clip.avi", "mpeg4")]
)
def test_ordinary_videos_come_in_order_and_count(tmp_path, name, codec):
    frames = moving(1, 16)
    options = {"crf": "12"} if codec == "libx264" else {"qmin": "2", "qmax": "2"}
    source = VideoFrames(write_video(tmp_path / name, frames, codec, "yuv420p", bf="2", **options))
    assert source.sequences()[0].count == 16
    for number, found in enumerate(source.frames(at(0, 16))):
        likeness = [peak_signal_noise_ratio(frame, found) for frame in frames]
        assert int(np.argmax(likeness)) == number
        assert likeness[number] > 30


def test_a_folder_of_videos_is_a_source_of_several_clips(tmp_path):
    one, two = [noise(16, 16, 3)] * 3, [255 - noise(16, 16, 3)] * 5
    write_video(tmp_path / "sub/b.avi", two, "ffv1", "bgr0")
    write_video(tmp_path / "a.avi", one, "ffv1", "bgr0")
    source = open_frames(tmp_path)
    assert [(clip.name, clip.count) for clip in source.sequences()] == [("a.avi", 3), ("sub/b.avi", 5)]
    assert np.array_equal(source.frames(Window(index=1, sequence=1, first=1, count=3)), two[:3])
    assert np.array_equal(source.frames(at(0, 3)), one)
    Image.new("RGB", (4, 4)).save(tmp_path / "0001.png")
    with pytest.raises(UsageError, match="holds videos and pictures"):
        open_frames(tmp_path)


def test_a_video_and_its_frames_in_a_folder_give_one_result(tmp_path):
    frames = moving(0.9, 7)
    folder = FolderFrames(write_frames(tmp_path / "clip", frames))
    video = VideoFrames(write_video(tmp_path / "clip.mp4", frames, "libx264rgb", "rgb24", qp="0"))
    images = [
        average_window(source.frames(at(0, 7)), FrameAverage(window=7), Light.GAMMA22).image
        for source in (folder, video)
    ]
    assert np.array_equal(*images)


def test_dropped_frames_are_gaps(tmp_path):
    times = [100 * (k + 2 * (k >= 9)) for k in range(16)]
    path = write_video(tmp_path / "clip.mp4", [noise(32, 32, 3)] * 16, "libx264", "yuv420p", times=times)
    source = VideoFrames(path)
    assert source.sequences()[0].runs == (Run(0, 9), Run(9, 7))
    with pytest.raises(PictureError, match="run over a gap"):
        source.frames(at(5, 7))


def test_times_rounded_to_the_clock_are_a_constant_rate(tmp_path):
    times = [round(k * 12.5) for k in range(20)]  # 12 and 13 in turn
    path = write_video(tmp_path / "clip.mp4", [noise(32, 32, 3)] * 20, "libx264", "yuv420p", times=times)
    assert VideoFrames(path).sequences()[0].runs == (Run(0, 20),)


def test_a_varying_frame_rate_is_refused(tmp_path):
    times = [100 * k + (40 if k > 11 else 0) for k in range(20)]
    path = write_video(tmp_path / "clip.mp4", [noise(32, 32, 3)] * 20, "libx264", "yuv420p", times=times)
    with pytest.raises(PictureError, match=r"frames 11 and 12 are 1\.40 times as far apart as others"):
        VideoFrames(path)


MATRICES = {
    (1, 0, 0, 1): lambda x, y, w, h: (x, y),
    (0, 1, -1, 0): lambda x, y, w, h: (h - 1 - y, x),  # a telephone held upright
    (-1, 0, 0, -1): lambda x, y, w, h: (w - 1 - x, h - 1 - y),
    (0, -1, 1, 0): lambda x, y, w, h: (y, w - 1 - x),
    (-1, 0, 0, 1): lambda x, y, w, h: (w - 1 - x, y),  # mirrored
    (0, 1, 1, 0): lambda x, y, w, h: (y, x),
}


def with_matrix(path: Path, matrix: tuple[int, ...]) -> Path:
    """Write a display matrix (a, b, c, d) into the header of an MP4 file's track."""
    content = bytearray(path.read_bytes())
    header = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (round(65536 * value) for value in matrix)
    content[header : header + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("matrix", MATRICES)
def test_videos_are_turned_upright(tmp_path, matrix):
    frame = noise(32, 48, 3)
    path = write_video(tmp_path / "clip.mp4", [frame] * 3, "libx264rgb", "rgb24", qp="0")
    found = VideoFrames(with_matrix(path, matrix)).frames(at(0, 3))[1]
    for y, x in ((0, 0), (0, 47), (31, 0), (31, 47), (10, 20)):
        column, row = MATRICES[matrix](x, y, 48, 32)
        assert (found[row, column] == frame[y, x]).all()


def test_a_video_turned_by_an_odd_angle_is_refused(tmp_path):
    path = write_video(tmp_path / "clip.mp4", [noise(32, 48, 3)] * 3, "libx264rgb", "rgb24", qp="0")
    source = VideoFrames(with_matrix(path, (0.8, 0.6, -0.6, 0.8)))
    with pytest.raises(PictureError, match="turned by an odd angle"):
        source.frames(at(0, 3))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ("interlaced=1", "interlaced; deinterlace it first"),
        (
            "transfer=smpte2084:colorprim=bt2020:colormatrix=bt2020nc",
            r"HDR video \(PQ\); convert it to SDR first",
        ),
    ],
)
def test_videos_whose_frames_are_no_plain_pictures_are_refused(tmp_path, params, words):
    options = {"x264-params": params}
    path = write_video(tmp_path / "clip.mp4", [noise(64, 64, 3)] * 5, "libx264", "yuv420p", **options)
    with pytest.raises(PictureError, match=words):
        VideoFrames(path).frames(at(0, 3))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.mp4", {}),
        ("clip.mp4", {"movflags": "faststart"}),
        ("clip.mov", {}),
        ("clip.avi", {}),
    ],
)
@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.9])
def test_a_truncated_video_is_one_clear_error(tmp_path, name, options, share):
    frames = [np.roll(noise(48, 64, 3), k, axis=1) for k in range(20)]
    path = write_video(tmp_path / name, frames, "libx264", "yuv420p", **options)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(
        PictureError, match=r"cannot read .*clip\.\w+: (it ends after|it is no video, |its format is not)"
    ) as caught:
        VideoFrames(path)
    assert "truncated" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "codec"), [("clip.mp4", "libx264"), ("clip.avi", "mpeg4"), ("clip.mov", "png")]
)
def test_damage_inside_a_video_is_one_clear_error_not_a_patched_frame(tmp_path, name, codec, capfd):
    frames = [np.roll(noise(96, 96, 3), k, axis=1) for k in range(12)]
    pixels = "rgb24" if codec == "png" else "yuv420p"
    path = write_video(tmp_path / name, frames, codec, pixels)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(value ^ 0x5A for value in content[middle : middle + 200])
    path.write_bytes(content)
    source = VideoFrames(path)
    with pytest.raises(PictureError, match=r"clip\.\w+ beyond frame \d+ of 12: it is damaged"):
        source.frames(at(0, 12))
    assert capfd.readouterr().err == ""
    with pytest.raises(PictureError, match="it is damaged"):  # again, instead of what comes after
        source.frames(at(0, 12))


def test_a_text_named_as_a_video_is_one_clear_error(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_text("not a video " * 50)
    with pytest.raises(PictureError, match=r"clip\.mp4: it is no video, damaged or truncated \(invalid data"):
        VideoFrames(path)


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "clip.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(PictureError, match=r"clip\.mov: it holds no video"):
        VideoFrames(path)


def test_a_format_without_decoder_is_one_clear_error(tmp_path):
    path = write_video(tmp_path / "clip.avi", [noise(16, 16, 3)] * 3, "ffv1", "bgr0")
    path.write_bytes(path.read_bytes().replace(b"FFV1", b"ZZZZ"))
    with pytest.raises(PictureError, match="its format is not known"):
        VideoFrames(path)


def test_without_the_decoder_the_extra_is_named(tmp_path, monkeypatch):
    path = write_video(tmp_path / "clip.avi", [noise(16, 16, 3)] * 3, "ffv1", "bgr0")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingError, match=r"pip install 'deblur-cli\[video\]'"):
        VideoFrames(path)


# --- real frames


@pytest.mark.realdata
def test_a_hand_held_clip_at_24_frames_a_second_moves_too_far_for_a_plain_mean():
    source = FolderFrames(Path(os.environ["DEBLUR_DATA"], "clips"))
    assert [(clip.name, clip.runs) for clip in source.sequences()] == [("reds027_x4_sharp", (Run(0, 24),))]
    frames = source.frames(at(0, 7))
    with pytest.raises(WindowRefused) as caught:
        average_window(frames, FrameAverage(window=7), Light.GAMMA22)
    assert caught.value.reason is Refusal.GHOST
    filled = average_window(frames, FrameAverage(window=7, ghost=Ghost.INTERPOLATE), Light.GAMMA22)
    assert 6 < filled.info["flow_px"] < 8
    assert filled.info["inserted"] >= 12
