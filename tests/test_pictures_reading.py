"""Reading: every kind of file becomes the same pixels that another program sees in it."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from deblur_cli.errors import PictureError
from deblur_cli.pictures import Picture, read_picture

HEIGHT, WIDTH = 23, 37
ONE_MARKER_LENGTH = 2  # bytes of a JPEG marker, before its length


def noise(channels: int, dtype: type = np.uint8) -> np.ndarray:
    shape = (HEIGHT, WIDTH, channels) if channels > 1 else (HEIGHT, WIDTH)
    return np.random.default_rng(channels).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def colours_of(picture: Picture) -> np.ndarray:
    """Pixels and alpha side by side, as other programs give them."""
    parts = [picture.pixels] if picture.alpha is None else [picture.pixels, picture.alpha[..., None]]
    samples = np.concatenate(parts, axis=2)
    return samples[..., 0] if samples.shape[2] == 1 else samples


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def raw_png(rows: np.ndarray, *, width: int, bits: int, colour_type: int, extra: bytes = b"") -> bytes:
    """A PNG file of given raw rows, for kinds that no library at hand writes."""
    unfiltered = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0)
    chunks = (
        png_chunk(b"IHDR", header)
        + extra
        + png_chunk(b"IDAT", zlib.compress(unfiltered))
        + png_chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("extension", ["png", "tif", "bmp", "webp", "ppm"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_eight_bit_pixels_are_the_stored_ones(tmp_path: Path, extension: str, mode: str) -> None:
    stored, path = noise(len(mode)), tmp_path / f"a.{extension}"
    Image.fromarray(stored).save(path, lossless=True)
    picture = read_picture(path)
    assert picture.pixels.dtype == np.uint8
    expected = (
        stored if mode == "RGB" or extension != "webp" else np.dstack([stored] * 3)
    )  # WebP knows no grey
    np.testing.assert_array_equal(colours_of(picture), expected)


@pytest.mark.parametrize(("mode", "channels"), [("LA", 2), ("RGBA", 4)])
@pytest.mark.parametrize("extension", ["png", "tif"])
def test_alpha_is_read_apart_from_the_colours(
    tmp_path: Path, mode: str, channels: int, extension: str
) -> None:
    stored, path = noise(channels), tmp_path / f"a.{extension}"
    Image.fromarray(stored, mode).save(path)
    picture = read_picture(path)
    assert picture.pixels.shape[2] == channels - 1
    np.testing.assert_array_equal(colours_of(picture), stored)


def test_a_jpeg_gives_what_opencv_decodes(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(cv2.GaussianBlur(noise(3), (0, 0), 3)).save(path, quality=92)
    # Both use libjpeg-turbo, of different versions: its colour conversion may differ by a rounding.
    difference = read_picture(path).pixels.astype(int) - cv2.imread(str(path))[..., ::-1]
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bit_png_is_read_to_the_last_bit(tmp_path: Path, channels: int) -> None:
    stored, path = noise(channels, np.uint16), tmp_path / "a.png"
    cv2.imwrite(str(path), stored if channels == 1 else stored[..., [2, 1, 0, 3][:channels]])
    picture = read_picture(path)
    assert picture.pixels.dtype == np.uint16
    np.testing.assert_array_equal(colours_of(picture), stored)


def test_a_dark_sixteen_bit_picture_stays_sixteen_bit(tmp_path: Path) -> None:
    stored, path = noise(3, np.uint16) // 1000, tmp_path / "a.png"
    cv2.imwrite(str(path), stored[..., ::-1])
    np.testing.assert_array_equal(read_picture(path).pixels, stored)


def test_sixteen_bit_grey_with_alpha_png_is_read_to_the_last_bit() -> None:
    stored = noise(2, np.uint16)
    data = raw_png(stored.astype(">u2").reshape(HEIGHT, -1), width=WIDTH, bits=16, colour_type=4)
    np.testing.assert_array_equal(colours_of(read_picture(io.BytesIO(data))), stored)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_tiff_is_read_to_the_last_bit(
    tmp_path: Path, byteorder: str, compression: str | None, planar: str, channels: int
) -> None:
    stored, path = noise(channels, np.uint16), tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        np.moveaxis(stored, 2, 0) if planar == "separate" and channels > 1 else stored,
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig=planar if channels > 1 else None,
        byteorder=byteorder,
        compression=compression,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
    )
    np.testing.assert_array_equal(colours_of(read_picture(path)), stored)


def test_sixteen_bit_tiff_with_lzw_as_photo_programs_write_it_is_read_to_the_last_bit(tmp_path: Path) -> None:
    stored, path = noise(3, np.uint16), tmp_path / "a.tif"
    cv2.imwrite(str(path), stored[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    np.testing.assert_array_equal(read_picture(path).pixels, stored)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_negative_sixteen_bit_grey_is_turned_positive(tmp_path: Path, compression: str | None) -> None:
    stored, path = noise(1, np.uint16), tmp_path / "a.tif"
    tifffile.imwrite(path, stored, photometric="miniswhite", compression=compression)
    np.testing.assert_array_equal(read_picture(path).pixels[..., 0], 65535 - stored)


def test_premultiplied_sixteen_bit_colours_are_divided_by_alpha(tmp_path: Path) -> None:
    colour, alpha = np.array([10_000, 30_000, 60_000]), 32_768
    stored = np.empty((4, 5, 4), np.uint16)
    stored[...] = [*np.rint(colour * alpha / 65535), alpha]
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_picture(tmp_path / "a.tif")
    assert picture.alpha is not None
    assert (picture.alpha == alpha).all()
    assert np.abs(picture.pixels - colour).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["png", "tif", "webp", "jpg"])
def test_orientation_is_applied_once_and_reset(tmp_path: Path, orientation: int, extension: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    path = tmp_path / f"a.{extension}"
    Image.fromarray(noise(3)).save(path, exif=exif, lossless=True, quality=100)
    with Image.open(path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.pixels, expected)
    assert picture.origin.exif is not None
    told = Image.Exif()
    told.load(picture.origin.exif)
    assert told.get(0x0112, 1) == 1
    assert told[0x010F] == "Maker"


@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_of_sixteen_bit_pictures_is_applied(tmp_path: Path, orientation: int) -> None:
    stored, path = noise(3, np.uint16), tmp_path / "a.png"
    cv2.imwrite(str(path), stored[..., ::-1])
    exif = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    data = path.read_bytes()
    path.write_bytes(data[:33] + png_chunk(b"eXIf", exif) + data[33:])  # behind signature and header
    turned = {3: np.rot90(stored, 2), 6: np.rot90(stored, -1)}[orientation]
    np.testing.assert_array_equal(read_picture(path).pixels, turned)


def test_only_what_changes_in_exif_is_changed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x927C] = b"maker's own notes, with offsets"
    exif.get_ifd(0x8769)[0xA002] = WIDTH
    exif.get_ifd(0x8769)[0xA003] = HEIGHT
    Image.fromarray(noise(3)).save(tmp_path / "a.jpg", exif=exif)
    before, after = exif.tobytes()[6:], read_picture(tmp_path / "a.jpg").origin.exif
    assert after is not None
    assert len(after) == len(before)
    changed = [index for index, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert len(changed) == 3  # orientation, width and height: one byte each
    told = Image.Exif()
    told.load(after)
    details = told.get_ifd(0x8769)
    assert (details[0xA002], details[0xA003]) == (HEIGHT, WIDTH)


def test_palettes_become_colours_or_grey_and_say_so(tmp_path: Path) -> None:
    coloured = Image.fromarray(noise(3)).quantize(16)
    coloured.save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels, np.asarray(coloured.convert("RGB")))
    assert picture.origin.mode == "palette"
    assert picture.origin.notes == ("palette colours became 8-bit RGB",)
    grey = Image.fromarray(noise(1) // 16 * 16).convert("P")
    grey.save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "b.png").pixels[..., 0], noise(1) // 16 * 16)


def test_a_transparent_palette_entry_becomes_alpha(tmp_path: Path) -> None:
    image = Image.fromarray(noise(3)).quantize(16)
    image.save(tmp_path / "a.png", transparency=3)
    picture = read_picture(tmp_path / "a.png")
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha == 0, np.asarray(image) == 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_transparent_colour_of_a_png_becomes_alpha(dtype: type) -> None:
    stored = noise(3, dtype)
    stored[4:7, 5:9] = (1, 2, 3)
    bits = np.dtype(dtype).itemsize * 8
    rows = stored.astype(np.dtype(dtype).newbyteorder(">")).reshape(HEIGHT, -1)
    key = png_chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))
    picture = read_picture(io.BytesIO(raw_png(rows, width=WIDTH, bits=bits, colour_type=2, extra=key)))
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha == 0, (stored == (1, 2, 3)).all(axis=2))
    np.testing.assert_array_equal(picture.pixels, stored)


def test_few_bits_of_grey_are_spread_over_the_whole_range() -> None:
    rows = np.array([[0b00011011]], np.uint8)  # 0, 1, 2, 3
    key = png_chunk(b"tRNS", struct.pack(">H", 2))
    picture = read_picture(io.BytesIO(raw_png(rows, width=4, bits=2, colour_type=0, extra=key)))
    assert picture.pixels[0, :, 0].tolist() == [0, 85, 170, 255]
    assert picture.alpha is not None
    assert picture.alpha[0].tolist() == [255, 255, 0, 255]


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    stored = noise(1) > 127
    Image.fromarray(stored).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels[..., 0], stored * 255)
    assert picture.origin.notes == ("1-bit grey became 8-bit grey",)


def cmyk_jpeg(*, adobe: bool, icc: bytes | None = None, ink: int = 204) -> bytes:
    """A flat picture of cyan, nothing else (204: 80 %); with Adobe's marker stored negatively as their programs do."""
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., 0] = ink
    file = io.BytesIO()
    image = Image.fromarray(inks if adobe else 255 - inks, "CMYK")  # Pillow stores negatively
    image.save(file, "JPEG", quality=100, **({} if icc is None else {"icc_profile": icc}))
    data = file.getvalue()
    start = data.index(b"\xff\xee")
    length = struct.unpack_from(">H", data, start + ONE_MARKER_LENGTH)[0]
    return data if adobe else data[:start] + data[start + ONE_MARKER_LENGTH + length :]


@pytest.mark.parametrize("adobe", [True, False])
def test_cmyk_jpeg_is_cyan_whichever_way_it_is_stored(adobe: bool) -> None:
    picture = read_picture(io.BytesIO(cmyk_jpeg(adobe=adobe)))
    red, green, blue = picture.pixels.reshape(-1, 3).mean(axis=0)
    assert red == pytest.approx(51, abs=3)
    assert min(green, blue) > 250
    assert "CMYK converted to RGB by the plain formula" in picture.origin.notes[0]


def cmyk_profile_of_grey_inks() -> bytes:
    """An ICC profile in which every full ink is the grey of L* = 50 (ICC.1:2001-04, lut8Type, two grid points a side)."""
    nodes = b"".join(bytes([255 if node == 0 else 128, 128, 128]) for node in range(16))
    ramp = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 if index % 4 == 0 else 0 for index in range(9)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + nodes + ramp * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    name = b"desc" + bytes(4) + struct.pack(">I", 5) + b"grey\0" + bytes(78)
    tags, place = [], 128 + 4 + 12 * 3
    contents = b""
    for signature, content in ((b"A2B0", table), (b"wtpt", white), (b"desc", name)):
        tags.append(signature + struct.pack(">II", place + len(contents), len(content)))
        contents += content + bytes(-len(content) % 4)
    body = struct.pack(">I", 3) + b"".join(tags) + contents
    illuminant = struct.pack(">3i", 63190, 65536, 54061)
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), bytes(4), 0x02400000, b"prtr", b"CMYK", b"Lab ")
    return header.ljust(36, b"\0") + b"acsp" + bytes(28) + illuminant + bytes(48) + body


def test_cmyk_is_converted_with_the_profile_in_the_file() -> None:
    picture = read_picture(io.BytesIO(cmyk_jpeg(adobe=True, icc=cmyk_profile_of_grey_inks(), ink=255)))
    # L* = 50 in sRGB: Y = ((50 + 16) / 116)^3 = 0.1842, and 255 * (1.055 * 0.1842^(1 / 2.4) - 0.055) = 118.9
    assert np.abs(picture.pixels - 119.0).max() <= 2
    assert picture.origin.notes == ("CMYK converted to sRGB with the embedded profile",)
    assert picture.origin.icc is None


def test_a_cmyk_profile_that_is_none_is_not_trusted() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = read_picture(io.BytesIO(cmyk_jpeg(adobe=True, icc=srgb)))
    assert "plain formula" in picture.origin.notes[0]
    assert picture.origin.icc is None


def test_a_jpeg_remembers_its_tables_and_subsampling(tmp_path: Path) -> None:
    for quality in (10, 50, 75, 92, 100):
        for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
            Image.fromarray(noise(3)).save(tmp_path / "a.jpg", quality=quality, subsampling=subsampling)
            style = read_picture(tmp_path / "a.jpg").origin.jpeg
            assert style is not None
            assert (style.quality, style.subsampling) == (quality, subsampling)


def test_a_stream_is_read_like_a_file(tmp_path: Path) -> None:
    stored = noise(3, np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), stored[..., ::-1])
    np.testing.assert_array_equal(read_picture(io.BytesIO((tmp_path / "a.png").read_bytes())).pixels, stored)


def test_pages_that_are_reduced_copies_do_not_make_a_document(tmp_path: Path) -> None:
    stored = noise(3)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(stored, photometric="rgb")
        file.write(stored[::4, ::4], photometric="rgb", subfiletype=1)
    picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, stored)
    assert picture.origin.notes == ("reduced copies and masks inside the TIFF file are left out",)


def test_the_first_picture_of_a_phones_multi_picture_jpeg_is_read(tmp_path: Path) -> None:
    first, second = (Image.fromarray(np.full((16, 16, 3), level, np.uint8)) for level in (200, 20))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    picture = read_picture(tmp_path / "a.jpg")
    assert (picture.pixels == 200).all()
    assert picture.origin.format == "jpeg"
    assert "only the first of the 2 pictures" in picture.origin.notes[0]


def test_heic_without_its_extra_names_the_extra(tmp_path: Path) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    code = (
        "import sys; sys.modules['pillow_heif'] = None\n"  # as if it were not installed
        "from deblur_cli.pictures import read_picture\n"
        "try: read_picture(sys.argv[1])\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert ran.stdout == (
        f"PictureError cannot read {path}: HEIC pictures need the extra 'heif': pip install 'deblur-cli[heif]'\n"
    )


def test_heic_is_read_and_written_with_its_extra(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    from deblur_cli.pictures import write_picture

    heif.register_heif_opener()
    smooth = cv2.GaussianBlur(noise(3), (0, 0), 4)
    Image.fromarray(smooth).save(tmp_path / "a.heic", quality=95)
    picture = read_picture(tmp_path / "a.heic")
    assert np.abs(picture.pixels.astype(int) - smooth).mean() < 3
    kept = write_picture(picture, tmp_path / "b.heic")
    assert kept.format == "heic"
    assert np.abs(read_picture(tmp_path / "b.heic").pixels.astype(int) - smooth).mean() < 4


@pytest.mark.skipif(".avif" not in Image.registered_extensions(), reason="this Pillow has no AVIF")
def test_avif_is_read(tmp_path: Path) -> None:
    smooth = cv2.GaussianBlur(noise(3), (0, 0), 4)
    Image.fromarray(smooth).save(tmp_path / "a.avif", quality=95, subsampling="4:4:4")
    assert np.abs(read_picture(tmp_path / "a.avif").pixels.astype(int) - smooth).mean() < 3


def test_gif_of_one_picture_is_read(tmp_path: Path) -> None:
    image = Image.fromarray(noise(3)).quantize(16)
    image.save(tmp_path / "a.gif")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.gif").pixels, np.asarray(image.convert("RGB")))


def test_reading_imports_neither_torch_nor_opencv(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), noise(3, np.uint16))
    code = (
        "import sys, pathlib; from deblur_cli.pictures import read_picture, write_picture\n"
        "folder = pathlib.Path(sys.argv[1]); write_picture(read_picture(folder / 'a.png'), folder / 'b.tif')\n"
        "print([name for name in ('torch', 'cv2', 'tifffile', 'skimage', 'scipy') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_beyond_sixteen_bit_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (5, 4)).save(tmp_path / "a.tif")
    with pytest.raises(PictureError, match="convert it to 8 or 16 bits a channel first"):
        read_picture(tmp_path / "a.tif")
