"""Writing: a picture comes out as it came in, and the report says what did not."""

import io
import json
import math
import random
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageCms, PngImagePlugin

from deblur_cli.errors import PictureError, UsageError
from deblur_cli.pictures import Kept, Origin, Picture, read_picture, write_picture

HEIGHT, WIDTH = 23, 37
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def noise(channels: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng((seed, channels))
    return generator.integers(0, np.iinfo(dtype).max, (HEIGHT, WIDTH, channels), dtype=dtype, endpoint=True)


def smooth(channels: int = 3) -> np.ndarray:
    blurred = cv2.GaussianBlur(noise(channels), (0, 0), 3)
    return blurred.reshape(HEIGHT, WIDTH, channels)


@cache  # the profile holds the second in which it was made
def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def camera_exif(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", orientation
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    exif.get_ifd(0x8769)[0x829A] = 0.008  # exposure time, a fraction
    exif.get_ifd(0x8825)[1] = "N"
    return exif.tobytes()[6:]


def described(pixels: np.ndarray, alpha: np.ndarray | None = None) -> Picture:
    """A picture with everything that can come with one."""
    return Picture(
        pixels=pixels, alpha=alpha, origin=Origin(icc=srgb(), exif=camera_exif(), xmp=XMP, dpi=(300.0, 150.0))
    )


def written(picture: Picture, path: Path, **options: object) -> tuple[Picture, Kept]:
    kept = write_picture(picture, path, **options)
    return read_picture(path), kept


def check_descriptions(picture: Picture) -> None:
    """What `described` put in is there when the picture has been read again."""
    assert picture.origin.icc == srgb()
    assert picture.origin.xmp == XMP.replace(b'"6"', b'"1"')
    exif = Image.Exif()
    assert picture.origin.exif is not None
    exif.load(picture.origin.exif)
    details = exif.get_ifd(0x8769)
    assert exif[0x010F] == "Maker"
    assert exif.get(0x0112, 1) == 1
    assert details[0x9003] == "2020:01:01 00:00:00"
    assert float(details[0x829A]) == 0.008
    assert exif.get_ifd(0x8825)[1] == "N"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("with_alpha", [False, True])
@pytest.mark.parametrize("extension", ["png", "tif"])
def test_colour_pictures_come_back_bit_equal_with_all_their_descriptions(
    tmp_path: Path, dtype: type, with_alpha: bool, extension: str
) -> None:
    pixels, alpha = noise(3, dtype), noise(1, dtype)[..., 0] if with_alpha else None
    again, kept = written(described(pixels, alpha), tmp_path / f"a.{extension}")
    np.testing.assert_array_equal(again.pixels, pixels)
    assert (again.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(again.alpha, alpha)
    check_descriptions(again)
    assert again.origin.dpi == pytest.approx((300, 150), abs=0.02)  # PNG counts dots a metre
    assert kept.lost == ()
    assert kept.notes == ()
    assert {"icc", "exif", "xmp", "dpi"} <= set(kept.kept)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("with_alpha", [False, True])
@pytest.mark.parametrize("extension", ["png", "tif"])
def test_grey_pictures_stay_grey(tmp_path: Path, dtype: type, with_alpha: bool, extension: str) -> None:
    pixels, alpha = noise(1, dtype), noise(1, dtype, seed=1)[..., 0] if with_alpha else None
    again, kept = written(Picture(pixels=pixels, alpha=alpha), tmp_path / f"a.{extension}")
    np.testing.assert_array_equal(again.pixels, pixels)
    if alpha is not None:
        np.testing.assert_array_equal(again.alpha, alpha)
    assert kept.channels == 1


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3])),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    extension=st.sampled_from(["png", "tif"]),
    data=st.data(),
)
def test_any_picture_survives_png_and_tiff(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    dtype: type,
    extension: str,
    data: st.DataObject,
) -> None:
    pixels = data.draw(arrays.arrays(dtype, shape))
    alpha = data.draw(st.none() | arrays.arrays(dtype, shape[:2]))
    path = tmp_path_factory.mktemp("law") / f"a.{extension}"
    again, _ = written(Picture(pixels=pixels, alpha=alpha), path)
    np.testing.assert_array_equal(again.pixels, pixels)
    if alpha is not None:
        np.testing.assert_array_equal(again.alpha, alpha)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("height", [HEIGHT, 3000])  # one strip and several
def test_sixteen_bit_files_are_what_other_programs_expect(tmp_path: Path, channels: int, height: int) -> None:
    stored = np.random.default_rng(0).integers(0, 65536, (height, 301, channels), dtype=np.uint16)
    picture = Picture(
        pixels=np.ascontiguousarray(stored[..., : min(channels, 3)]),
        alpha=stored[..., 3] if channels == 4 else None,
    )
    write_picture(picture, tmp_path / "a.png")
    write_picture(picture, tmp_path / "a.tif")
    by_opencv = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED).reshape(height, 301, channels)
    np.testing.assert_array_equal(by_opencv[..., [2, 1, 0, 3][:channels] if channels > 1 else [0]], stored)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif").reshape(stored.shape), stored)
    with Image.open(tmp_path / "a.tif") as opened:
        assert opened.info["compression"] == "tiff_adobe_deflate"


def test_a_tiff_with_another_compression_is_deflated_and_says_so(tmp_path: Path) -> None:
    Image.fromarray(noise(3)).save(tmp_path / "a.tif", compression="tiff_lzw")
    again, kept = written(read_picture(tmp_path / "a.tif"), tmp_path / "b.tif")
    np.testing.assert_array_equal(again.pixels, noise(3))
    assert kept.notes == ("compressed with deflate instead of tiff_lzw",)


def test_a_tiff_without_compression_stays_so(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(3, np.uint16), photometric="rgb")
    again, _ = written(read_picture(tmp_path / "a.tif"), tmp_path / "b.tif")
    assert again.origin.compression == "raw"
    np.testing.assert_array_equal(again.pixels, noise(3, np.uint16))


@pytest.mark.parametrize("quality", [30, 75, 92])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_keeps_its_tables_subsampling_and_descriptions(
    tmp_path: Path, quality: int, subsampling: str, progressive: bool
) -> None:
    Image.fromarray(smooth()).save(
        tmp_path / "a.jpg", quality=quality, subsampling=subsampling, progressive=progressive, comment=b"words",
        icc_profile=srgb(), exif=b"Exif\0\0" + camera_exif(), xmp=XMP, dpi=(300, 150),
    )  # fmt: skip
    before = read_picture(tmp_path / "a.jpg")
    after, kept = written(before, tmp_path / "b.jpg")
    assert after.origin.jpeg == before.origin.jpeg
    assert (kept.quality, kept.subsampling) == (quality, subsampling)
    check_descriptions(after)
    assert after.origin.comment == b"words"
    assert after.origin.dpi == (300, 150)
    assert kept.lost == ()


def test_captions_and_keywords_of_a_jpeg_are_kept(tmp_path: Path) -> None:
    caption = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0a\x1c\x02\x78\0\x05words"
    segment = b"\xff\xed" + (len(caption) + 2).to_bytes(2, "big") + caption
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", extra=segment)
    written(read_picture(tmp_path / "a.jpg"), tmp_path / "b.jpg")
    assert segment in (tmp_path / "b.jpg").read_bytes()


def test_asking_for_a_quality_overrides_the_inputs(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", quality=40)
    again, kept = written(read_picture(tmp_path / "a.jpg"), tmp_path / "b.jpg", quality=88)
    assert again.origin.jpeg is not None
    assert again.origin.jpeg.quality == kept.quality == 88


def test_texts_and_colour_chunks_of_a_png_are_kept(tmp_path: Path) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Title", "words")
    chunks.add_itxt("Author", "Ænéas")
    chunks.add(b"gAMA", (45455).to_bytes(4, "big"))
    chunks.add(b"sRGB", b"\0")
    Image.fromarray(noise(3)).save(tmp_path / "a.png", pnginfo=chunks)
    for name in ("8 bit", "16 bit"):
        picture = read_picture(tmp_path / "a.png")
        if name == "16 bit":
            picture = replace(picture, pixels=picture.pixels.astype(np.uint16) * 257)
        again, kept = written(picture, tmp_path / f"{name}.png")
        assert again.origin.text == (("Title", "words"), ("Author", "Ænéas"))
        assert again.origin.chunks == picture.origin.chunks
        assert {"text", "chunks"} <= set(kept.kept)


def test_a_lossless_webp_stays_lossless_and_a_lossy_one_lossy(tmp_path: Path) -> None:
    Image.fromarray(noise(3)).save(tmp_path / "a.webp", lossless=True)
    again, kept = written(read_picture(tmp_path / "a.webp"), tmp_path / "b.webp")
    np.testing.assert_array_equal(again.pixels, noise(3))
    assert kept.quality is None
    Image.fromarray(smooth()).save(tmp_path / "c.webp", quality=80)
    again, kept = written(read_picture(tmp_path / "c.webp"), tmp_path / "d.webp")
    assert again.origin.lossless is False
    assert kept.notes == ("written with quality 90, as WebP does not tell the input's",)


def test_a_picture_that_was_turned_is_not_turned_again(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(
        tmp_path / "a.jpg", quality=100, subsampling=0, exif=b"Exif\0\0" + camera_exif(6)
    )
    first = read_picture(tmp_path / "a.jpg")
    assert first.pixels.shape[:2] == (WIDTH, HEIGHT)
    for extension in ("jpg", "png", "tif", "webp", "avif"):
        again, _ = written(first, tmp_path / f"b.{extension}")
        with Image.open(tmp_path / f"b.{extension}") as opened:
            assert opened.getexif().get(0x0112, 1) == 1
            assert opened.size == (HEIGHT, WIDTH)
        assert np.abs(again.pixels.astype(int) - first.pixels).mean() < 4


def test_an_orientation_that_somebody_left_in_the_origin_is_reset(tmp_path: Path) -> None:
    picture = Picture(pixels=noise(3), origin=Origin(exif=camera_exif(6)))
    again, _ = written(picture, tmp_path / "a.png")
    np.testing.assert_array_equal(again.pixels, noise(3))


def test_what_a_format_cannot_hold_is_said(tmp_path: Path) -> None:
    picture = described(noise(3, np.uint16), noise(1, np.uint16)[..., 0])
    again, kept = written(picture, tmp_path / "a.jpg")
    assert again.pixels.dtype == np.uint8
    assert set(kept.lost) == {"alpha", "16 bit"}
    assert kept.notes == (
        "transparency laid on white, as jpeg has none",
        "16 bit rounded to 8 bit, as jpeg holds no more here",
    )
    assert json.loads(json.dumps(kept.as_dict()))["lost"] == ["alpha", "16 bit"]
    assert set(written(picture, tmp_path / "a.bmp")[1].lost) == {"icc", "exif", "xmp", "alpha", "16 bit"}
    assert set(written(picture, tmp_path / "a.webp")[1].lost) == {"dpi", "16 bit"}


def test_sixteen_bits_are_rounded_and_not_cut(tmp_path: Path) -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    again, _ = written(Picture(pixels=levels), tmp_path / "a.bmp")
    np.testing.assert_array_equal(again.pixels, np.rint(levels / 257).astype(np.uint8))


def test_transparency_is_blended_with_white(tmp_path: Path) -> None:
    pixels, alpha = noise(3), noise(1)[..., 0]
    again, _ = written(Picture(pixels=pixels, alpha=alpha), tmp_path / "a.bmp")
    share = alpha[..., None] / 255
    np.testing.assert_array_equal(again.pixels, np.rint(pixels * share + 255 * (1 - share)))


def test_colours_below_full_transparency_are_kept(tmp_path: Path) -> None:
    pixels = noise(3)
    for extension in ("png", "tif", "webp"):
        picture = Picture(pixels=pixels, alpha=np.zeros((HEIGHT, WIDTH), np.uint8))
        again, _ = written(picture, tmp_path / f"a.{extension}")
        np.testing.assert_array_equal(again.pixels, pixels)


def test_a_profile_for_other_colours_is_left_out(tmp_path: Path) -> None:
    again, kept = written(replace(described(noise(1)), alpha=None), tmp_path / "a.png")
    assert again.origin.icc is None
    assert "icc" in kept.lost
    assert kept.notes == ("the colour profile is left out, as it is for another kind of colours",)


def test_descriptions_too_long_for_jpeg_are_left_out_and_named(tmp_path: Path) -> None:
    picture = Picture(pixels=smooth(), origin=Origin(xmp=XMP + b" " * 70_000))
    again, kept = written(picture, tmp_path / "a.jpg")
    assert again.origin.xmp is None
    assert kept.lost == ("xmp",)
    assert "too long for JPEG" in kept.notes[0]


def test_the_thumbnail_of_the_blurred_picture_is_cut_off(tmp_path: Path) -> None:
    exif = camera_exif()
    count = int.from_bytes(exif[8:10], "big")
    linked = bytearray(exif)
    linked[10 + 12 * count : 14 + 12 * count] = len(exif).to_bytes(4, "big")
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + bytes(linked) + bytes(6))
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.origin.exif == exif + bytes(6)
    assert "thumbnail" in picture.origin.notes[0]


def test_conversions_while_reading_stand_in_the_report(tmp_path: Path) -> None:
    Image.fromarray(noise(3)).quantize(8).save(tmp_path / "a.gif")
    _, kept = written(read_picture(tmp_path / "a.gif"), tmp_path / "b")
    assert kept.format == "png"
    assert kept.notes == ("palette colours became 8-bit RGB", "written as PNG, as GIF cannot be written")


def test_a_stream_gets_the_format_of_the_input(tmp_path: Path) -> None:
    for extension, begins in (("jpg", b"\xff\xd8\xff"), ("png", b"\x89PNG"), ("tif", b"II*\0")):
        Image.fromarray(smooth()).save(tmp_path / f"a.{extension}")
        stream = io.BytesIO()
        write_picture(read_picture(tmp_path / f"a.{extension}"), stream)
        assert stream.getvalue().startswith(begins)
        assert read_picture(io.BytesIO(stream.getvalue())).width == WIDTH


def test_the_extension_decides_and_format_overrides_it(tmp_path: Path) -> None:
    assert written(Picture(pixels=noise(3)), tmp_path / "a.bmp")[0].origin.format == "bmp"
    assert written(Picture(pixels=noise(3)), tmp_path / "b.dat", format="tiff")[0].origin.format == "tiff"


def test_unknown_formats_are_answered_with_the_near_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write the picture format 'tif2': did you mean tiff"):
        write_picture(Picture(pixels=noise(3)), tmp_path / "a.png", format="tif2")
    with pytest.raises(UsageError, match=r"no picture format ends in '.xyz'; choose one of .png"):
        write_picture(Picture(pixels=noise(3)), tmp_path / "a.xyz")


def test_a_size_that_the_format_cannot_hold(tmp_path: Path) -> None:
    wide = Picture(pixels=np.zeros((1, 16_384, 3), np.uint8))
    with pytest.raises(
        PictureError, match="webp holds at most 16383 pixels a side, the picture is 16384 x 1"
    ):
        write_picture(wide, tmp_path / "a.webp")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_a_quality_beyond_the_scale(tmp_path: Path, quality: int) -> None:
    with pytest.raises(UsageError, match="between 1 and 100"):
        write_picture(Picture(pixels=noise(3)), tmp_path / "a.jpg", quality=quality)


def test_damaged_exif_never_costs_the_picture(tmp_path: Path) -> None:
    dice = random.Random(0)
    for attempt in range(25):
        exif = bytearray(camera_exif())
        for _ in range(4):
            exif[dice.randrange(len(exif))] = dice.randrange(256)
        picture = Picture(pixels=smooth(), origin=Origin(exif=bytes(exif)))
        for extension in ("jpg", "png", "tif", "webp", "avif"):
            again, _ = written(picture, tmp_path / f"{attempt}.{extension}")
            assert again.pixels.shape[:2] in ((HEIGHT, WIDTH), (WIDTH, HEIGHT))


def test_fractions_in_exif_stay_fractions(tmp_path: Path) -> None:
    again, _ = written(described(noise(3)), tmp_path / "a.tif")
    exif = Image.Exif()
    assert again.origin.exif is not None
    exif.load(again.origin.exif)
    assert math.isclose(float(exif.get_ifd(0x8769)[0x829A]), 0.008)


def test_pictures_that_contradict_themselves_are_not_made() -> None:
    with pytest.raises(ValueError, match=r"pixels must be \(H, W, 1\) or \(H, W, 3\)"):
        Picture(pixels=np.zeros((4, 5, 2), np.uint8))
    with pytest.raises(ValueError, match="uint8 or uint16"):
        Picture(pixels=np.zeros((4, 5, 3), np.float32))
    with pytest.raises(ValueError, match="alpha must be"):
        Picture(pixels=np.zeros((4, 5, 3), np.uint8), alpha=np.zeros((4, 5), np.uint16))
