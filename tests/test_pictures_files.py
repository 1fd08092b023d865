"""Files: whole or not at all, never over an input, and listed in the order people expect."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deblur_cli.errors import NotEnoughRoomError, PictureError, UsageError
from deblur_cli.pictures import (
    Picture,
    atomic_write,
    default_output,
    list_pictures,
    read_picture,
    refuse_input_as_output,
    write_picture,
)
from deblur_cli.pictures.listing import natural_key

PICTURE = Picture(pixels=np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    write_picture(PICTURE, path)
    return path


def test_a_file_appears_whole_when_the_block_ends(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a.json") as part:
        part.write_text("{}")
        assert names(tmp_path) == [part.name]
        assert part.name.startswith(".")
    assert (tmp_path / "a.json").read_text() == "{}"
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("trouble", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_and_nothing_changed_when_the_block_fails(
    tmp_path: Path, trouble: type[BaseException]
) -> None:
    def write_and_fail() -> None:
        with atomic_write(tmp_path / "a.json") as part:
            part.write_text("new")
            raise trouble

    (tmp_path / "a.json").write_text("old")
    with pytest.raises(trouble):
        write_and_fail()
    assert (tmp_path / "a.json").read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_ctrl_c_while_a_picture_is_encoded_leaves_no_half_file(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from deblur_cli.pictures import Picture, write_picture\n"
        "pixels = np.random.default_rng(0).integers(0, 65536, (3000, 4000, 3), dtype=np.uint16)\n"
        "print('writing', flush=True)\n"
        "write_picture(Picture(pixels=pixels), Path(sys.argv[1]) / 'a.png')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    while not names(tmp_path):  # the temporary file
        assert process.poll() is None
    assert names(tmp_path) != ["a.png"]
    process.send_signal(signal.SIGINT)
    process.wait()
    process.stdout.close()
    assert process.returncode != 0
    assert names(tmp_path) == []


def test_an_existing_file_is_refused_unless_it_may_be_replaced(photo: Path) -> None:
    before = photo.read_bytes()
    with pytest.raises(UsageError, match="exists already; replace it with --overwrite"):
        write_picture(PICTURE, photo)
    assert photo.read_bytes() == before
    write_picture(Picture(pixels=PICTURE.pixels[:50]), photo, overwrite=True)
    assert read_picture(photo).height == 50


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def write_while_another_does() -> None:
        with atomic_write(tmp_path / "a", overwrite=False) as part:
            part.write_text("ours")
            (tmp_path / "a").write_text("theirs")

    with pytest.raises(UsageError, match="exists already"):
        write_while_another_does()
    assert (tmp_path / "a").read_text() == "theirs"
    assert names(tmp_path) == ["a"]


def test_the_file_read_is_never_replaced(photo: Path) -> None:
    before = photo.read_bytes()
    with pytest.raises(UsageError, match="it is the input"):
        write_picture(read_picture(photo), photo, overwrite=True)
    assert photo.read_bytes() == before


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_the_file_read_is_never_replaced_through_links(photo: Path, link: object) -> None:
    other = photo.with_name("other.png")
    link(photo, other)
    for source, target in ((photo, other), (other, photo)):
        with pytest.raises(UsageError, match="it is the input"):
            write_picture(read_picture(source), target, overwrite=True)


def test_the_file_read_is_never_replaced_through_a_linked_folder_or_detour(
    photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "door").symlink_to(tmp_path)
    for target in (tmp_path / "door" / "photo.png", tmp_path / "folder" / ".." / "photo.png"):
        with pytest.raises(UsageError, match="it is the input"):
            refuse_input_as_output(photo, target)


def test_letters_of_another_case_are_the_input_where_the_disk_says_so(photo: Path) -> None:
    other = photo.with_name("PHOTO.PNG")
    if other.exists():  # a file system that takes both for one
        with pytest.raises(UsageError, match="it is the input"):
            refuse_input_as_output(photo, other)
    else:
        refuse_input_as_output(photo, other)
        write_picture(read_picture(photo), other)
        assert names(photo.parent) == ["PHOTO.PNG", "photo.png"]


def test_writing_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with atomic_write(tmp_path / "link") as part:
        part.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_permissions_are_those_of_the_file_replaced_or_the_usual_ones(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    (tmp_path / "old").chmod(0o640)
    (tmp_path / "usual").touch()
    for name in ("old", "new"):
        with atomic_write(tmp_path / name) as part:
            part.write_text("")
    assert (tmp_path / "old").stat().st_mode == 0o100640
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_folders_devices_and_pipes_are_no_targets(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for target, words in (
        (tmp_path, "it is a folder"),
        ("/dev/null", "regular file"),
        (tmp_path / "pipe", "regular file"),
    ):
        with pytest.raises(UsageError, match=words), atomic_write(target):
            pass
    assert names(tmp_path) == ["pipe"]


def test_a_missing_folder_and_an_overlong_name_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="its folder does not exist; create it first"):
        write_picture(PICTURE, tmp_path / "none" / "a.png")
    with pytest.raises(PictureError, match="the name is too long"):
        write_picture(PICTURE, tmp_path / ("a" * 252 + ".png"))
    (tmp_path / "file").touch()
    with pytest.raises(PictureError, match="its folder is not a folder"):
        write_picture(PICTURE, tmp_path / "file" / "a.png")
    assert names(tmp_path) == ["file"]


def test_the_longest_name_that_the_disk_takes_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 125 + "b.png")  # 255 bytes
    write_picture(PICTURE, path)
    assert read_picture(path).width == PICTURE.width


@pytest.mark.parametrize(
    "name", ["Übung – 写真 😀.png", " leading and trailing .png", "-dash.png", "a'b\"c$d.png"]
)
def test_names_of_all_kinds_work(tmp_path: Path, name: str) -> None:
    write_picture(PICTURE, tmp_path / name)
    assert read_picture(tmp_path / name).origin.path == tmp_path / name


RESTRICTED = """
import os, resource, sys
from pathlib import Path
import numpy as np
from deblur_cli.pictures import Picture, write_picture
import deblur_cli.pictures.writing, PIL.PngImagePlugin
{limit}
pixels = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
for name in sys.argv[2:]:
    try: write_picture(Picture(pixels=pixels), Path(sys.argv[1], name), overwrite=True)
    except Exception as error: print(type(error).__name__, str(error).replace(sys.argv[1], "FOLDER"))
print(sorted(os.listdir(sys.argv[1])))
"""


def restricted(folder: Path, limit: str, *targets: str) -> list[str]:
    """What a process under a limit says when it writes the targets, and what it leaves."""
    command = [sys.executable, "-c", RESTRICTED.format(limit=limit), str(folder), *targets]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    # A limit on the size of files fails in the same calls as a full disk does.
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    *said, left = restricted(tmp_path, limit, "a.png", "a.jpg", "a.tif", "a.bmp", "a.webp")
    assert [line.split(":")[0] for line in said] == [
        f"NotEnoughRoomError cannot write FOLDER/a.{extension}"
        for extension in ("png", "jpg", "tif", "bmp", "webp")
    ]
    assert all("the disk is full" in line for line in said)
    assert left == "[]"


def test_a_full_disk_while_something_else_is_written(tmp_path: Path) -> None:
    with (
        pytest.raises(NotEnoughRoomError, match=r"cannot write .*a.json: the disk is full"),
        atomic_write(tmp_path / "a.json"),
    ):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []


def test_a_read_only_folder_and_a_protected_file(tmp_path: Path) -> None:
    import tempfile

    become_nobody = "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)"  # root may write everywhere
    with tempfile.TemporaryDirectory() as name:  # pytest's own is closed to others
        folder = Path(name)
        (folder / "b.png").touch()
        (folder / "b.png").chmod(0o444)
        folder.chmod(0o555)
        said = restricted(folder, become_nobody, "a.png", "b.png")
        folder.chmod(0o777)
        protected = restricted(folder, become_nobody, "b.png")
    assert said == [
        "PictureError cannot write FOLDER/a.png: permission denied; write elsewhere",
        "PictureError cannot write FOLDER/b.png: permission denied; write elsewhere",
        "['b.png']",
    ]
    assert protected[0] == "PictureError cannot write FOLDER/b.png: permission denied; write elsewhere"


def test_default_outputs() -> None:
    assert default_output(Path("a/photo.jpg")) == Path("a/photo.deblurred.jpg")
    assert default_output(Path("photo.tar.PNG"), suffix="_x") == Path("photo.tar_x.PNG")
    assert default_output(Path("a/photo.jpg"), format="tif", folder=Path("out")) == Path(
        "out/photo.deblurred.tif"
    )
    assert default_output(Path("a.gif")) == Path("a.deblurred.png")
    assert default_output(Path("scan")) == Path("scan.deblurred")
    with pytest.raises(UsageError, match="cannot write the picture format 'gif'"):
        default_output(Path("a.png"), format="gif")


def touch(folder: Path, *relative: str) -> None:
    for name in relative:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def listed(folder: Path, *inputs: str | Path, **options: object) -> list[str]:
    found = list_pictures(inputs or [folder], **options)
    return [str(item.path.relative_to(folder)) for item in found]


def test_a_folder_is_listed_naturally_and_holds_pictures_only(tmp_path: Path) -> None:
    touch(
        tmp_path, "10.png", "9.PNG", "a2.jpg", "a10.jpg", "notes.txt", ".hidden.png", "deep/1.png", "B1.webp"
    )
    assert listed(tmp_path) == ["9.PNG", "10.png", "a2.jpg", "a10.jpg", "B1.webp"]
    assert listed(tmp_path, recursive=True) == [
        "9.PNG",
        "10.png",
        "a2.jpg",
        "a10.jpg",
        "B1.webp",
        "deep/1.png",
    ]


def test_files_below_a_folder_know_their_place_in_it(tmp_path: Path) -> None:
    touch(tmp_path, "deep/1.png", "2.png")
    found = list_pictures([tmp_path], recursive=True)
    assert [str(item.relative) for item in found] == ["2.png", "deep/1.png"]
    assert [str(item.relative) for item in list_pictures([tmp_path / "deep/1.png"])] == ["1.png"]


def test_earlier_outputs_can_be_left_out_of_folders_but_not_of_names(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a.deblurred.png")
    assert listed(tmp_path, leave_out=".deblurred") == ["a.png"]
    assert listed(tmp_path, tmp_path / "a.deblurred.png", leave_out=".deblurred") == ["a.deblurred.png"]


def test_patterns_are_expanded(tmp_path: Path) -> None:
    touch(tmp_path, "s10.png", "s9.png", "t1.png", "deep/s1.png")
    assert listed(tmp_path, f"{tmp_path}/s*.png") == ["s9.png", "s10.png"]
    assert listed(tmp_path, f"{tmp_path}/**/s*.png") == ["deep/s1.png", "s9.png", "s10.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    touch(tmp_path, "a[1].png", "a1.png")
    assert listed(tmp_path, tmp_path / "a[1].png") == ["a[1].png"]


def test_the_order_given_is_kept_and_nothing_comes_twice(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png")
    (tmp_path / "c.png").symlink_to("a.png")
    assert listed(tmp_path, tmp_path / "b.png", tmp_path, tmp_path / "a.png") == ["b.png", "a.png"]


def test_missing_files_are_listed_for_reading_to_refuse(tmp_path: Path) -> None:
    assert listed(tmp_path, tmp_path / "none.png", tmp_path / "x*.png") == ["none.png", "x*.png"]


def test_standard_input_is_listed_once() -> None:
    found = list_pictures(["-", "-"])
    assert [item.is_stream for item in found] == [True]


def test_a_folder_without_pictures_is_an_error_with_a_hint(tmp_path: Path) -> None:
    touch(tmp_path, "deep/1.png")
    with pytest.raises(
        UsageError, match=r"no pictures in the folder .*; --recursive looks into the folders below"
    ):
        list_pictures([tmp_path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no pictures in the folder .*empty$"):
        list_pictures([tmp_path / "empty"], recursive=True)


def test_folders_that_lead_back_to_themselves_end(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert listed(tmp_path, recursive=True) == ["a.png"]


@given(st.lists(st.text(alphabet="ab10²٣.é", min_size=1, max_size=6), min_size=2, max_size=8))
def test_natural_order_is_an_order_for_any_names(texts: list[str]) -> None:
    paths = [Path(text) for text in texts]
    backwards = paths[::-1]
    assert sorted(backwards, key=natural_key) == sorted(paths, key=natural_key)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_numbers_in_names_are_ordered_as_numbers(first: int, second: int) -> None:
    assert (natural_key(Path(f"shot{first}.png")) < natural_key(Path(f"shot{second}.png"))) == (
        first < second
    )


def test_the_package_is_cheap_to_import() -> None:
    code = "import sys, deblur_cli.pictures; print([n for n in ('numpy', 'PIL', 'torch', 'cv2') if n in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
