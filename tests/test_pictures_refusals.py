"""What cannot be read says so in one line, and nothing else ever comes out of a damaged file."""

import io
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from deblur_cli.errors import PictureError
from deblur_cli.pictures import Picture, read_picture


def refusal(path: Path, **limits: int) -> str:
    """The line with which a file is refused."""
    with pytest.raises(PictureError) as caught:
        read_picture(path, **limits)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def picture_file(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)).save(path)
    return path


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, data)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_a_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.png") == f"cannot read {tmp_path}/a.png: no such file"


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert refusal(tmp_path / "a.png") == f"cannot read {tmp_path}/a.png: it is empty"


def test_a_text(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("not a picture")
    assert "not a picture of a known format" in refusal(tmp_path / "a.jpg")


def test_a_folder(tmp_path: Path) -> None:
    assert "it is a folder" in refusal(tmp_path)


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert "not a regular file" in refusal(tmp_path / "a.png")


def test_a_device() -> None:
    assert "not a regular file" in refusal(Path("/dev/null"))


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    assert "name too long" in refusal(tmp_path / ("a" * 300 + ".png"))


def test_a_name_with_line_breaks_stays_on_one_line(tmp_path: Path) -> None:
    assert "first\\nsecond.png" in refusal(tmp_path / "first\nsecond.png")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    assert "caf\\xe9.png" in refusal(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")))


def test_a_file_without_permission() -> None:
    code = (
        "import os, sys; from deblur_cli.pictures.reading import read_picture\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"  # root may read everything: become nobody
        "try: read_picture(sys.argv[1])\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others
        Path(folder).chmod(0o755)
        path = Path(folder, "a.png")
        path.write_bytes(sample("png"))
        path.chmod(0)
        ran = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        )
    assert ran.stdout == f"PictureError cannot read {path}: permission denied\n"


def test_a_bomb_is_refused_by_its_header_without_taking_memory(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(60_000, 50_000))
    assert refusal(tmp_path / "a.png").endswith(
        "it has 3,000 megapixels, more than the 500 allowed; raise the limit with --max-pixels"
    )


def test_the_limit_is_exact(picture_file: Path) -> None:
    assert read_picture(picture_file, max_pixels=2000).width == 40
    assert "more than the 0.001999 allowed" in refusal(picture_file, max_pixels=1999)


def test_a_higher_limit_lets_pass_what_pillow_alone_would_refuse(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(20_000, 20_000))  # 400 megapixels, of which 1 kB is there
    assert "damaged or cut off" in refusal(tmp_path / "a.png")


def test_our_limit_leaves_pillows_as_it_was(picture_file: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    read_picture(picture_file)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("extension", ["gif", "png", "webp"])
def test_animations(tmp_path: Path, extension: str) -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (0, 100, 200)]
    frames[0].save(tmp_path / f"a.{extension}", save_all=True, append_images=frames[1:])
    assert "it is an animation of 3 frames" in refusal(tmp_path / f"a.{extension}")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_documents_of_several_pages(tmp_path: Path, dtype: type) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for _ in range(2):
            file.write(np.zeros((8, 9, 3), dtype), photometric="rgb")
    assert "it has 2 pages" in refusal(tmp_path / "a.tif")


def test_camera_raw_files_are_not_taken_for_their_preview(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.dng", format="TIFF")
    assert "camera's raw file" in refusal(tmp_path / "a.dng")


def test_drawings_and_pages_of_text(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    assert "not a picture of pixels but text" in refusal(tmp_path / "a.svg")


def test_postscript_never_reaches_an_interpreter(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    assert "not a picture of a known format" in refusal(tmp_path / "a.eps")


SAMPLES: dict[str, Callable[[np.ndarray], bytes]] = {
    "png": lambda array: saved(array, "PNG"),
    "palette png": lambda array: saved(Image.fromarray(array).quantize(32), "PNG"),
    "deep png": lambda array: cv2.imencode(".png", array.astype(np.uint16) * 257)[1].tobytes(),
    "jpeg": lambda array: saved(array, "JPEG", exif=camera_exif(), comment=b"words"),
    "progressive jpeg": lambda array: saved(array, "JPEG", progressive=True),
    "cmyk jpeg": lambda array: saved(Image.fromarray(array).convert("CMYK"), "JPEG"),
    "mpo": lambda array: saved(array, "MPO", save_all=True, append_images=[Image.fromarray(array[::2])]),
    "tiff": lambda array: saved(array, "TIFF", exif=camera_exif()),
    "lzw tiff": lambda array: saved(array, "TIFF", compression="tiff_lzw"),
    "deep tiff": lambda array: deep_tiff(array, compression="zlib"),
    "planar tiff": lambda array: deep_tiff(
        np.moveaxis(array, 2, 0), compression="zlib", planarconfig="separate"
    ),
    "webp": lambda array: saved(array, "WEBP", exif=camera_exif()),
    "lossless webp": lambda array: saved(array, "WEBP", lossless=True),
    "bmp": lambda array: saved(array, "BMP"),
    "gif": lambda array: saved(Image.fromarray(array).quantize(32), "GIF"),
    "ppm": lambda array: saved(array, "PPM"),
    "jpeg 2000": lambda array: saved(array, "JPEG2000"),
    "avif": lambda array: saved(array, "AVIF"),
}


def camera_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    exif.get_ifd(0x8825)[1] = "N"
    return exif


def saved(array: np.ndarray | Image.Image, name: str, **options: object) -> bytes:
    file = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(file, name, **options)
    return file.getvalue()


def deep_tiff(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array.astype(np.uint16) * 257, photometric="rgb", **options)
    return file.getvalue()


@cache
def sample(kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return SAMPLES[kind](cv2.GaussianBlur(noise, (0, 0), 1))


def read_or_refuse(data: bytes) -> Picture | None:
    try:
        return read_picture(io.BytesIO(data), max_pixels=1_000_000)
    except PictureError as error:
        message = str(error)
    assert "\n" not in message
    return None


@pytest.mark.parametrize("kind", SAMPLES)
def test_samples_are_pictures_before_they_are_damaged(kind: str) -> None:
    assert read_or_refuse(sample(kind)) is not None


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_file_cut_off_anywhere_gives_a_picture_or_one_line(
    kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = sample(kind)
    for end in range(0, len(data), max(1, len(data) // 60)):
        read_or_refuse(data[:end])
    assert read_or_refuse(data[: len(data) // 3]) is None
    assert capfd.readouterr() == ("", "")  # no library says anything by itself


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_damaged_file_gives_a_picture_or_one_line(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    data = sample(kind)

    @given(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), min_size=1, max_size=12))
    def damage_anywhere(changes: list[tuple[int, int]]) -> None:
        damaged = bytearray(data)
        for place, value in changes:
            damaged[place] = value
        read_or_refuse(bytes(damaged))

    @given(
        st.lists(
            st.tuples(st.integers(0, min(len(data), 400) - 1), st.integers(0, 255)), min_size=1, max_size=4
        )
    )
    def damage_the_header(changes: list[tuple[int, int]]) -> None:
        damaged = bytearray(data)
        for place, value in changes:
            damaged[place] = value
        read_or_refuse(bytes(damaged))

    damage_anywhere()
    damage_the_header()
    assert capfd.readouterr() == ("", "")


@given(st.binary(max_size=300))
@example(b"II*\0")
@example(b"\xff\xd8\xff")
def test_any_bytes_give_a_picture_or_one_line(data: bytes) -> None:
    read_or_refuse(data)
