"""`deblur IMAGE...` on real files: what is written, what is said, what is left alone."""

import io
import itertools
import os

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def deblur(run, identity):
    """The command with the identity network."""
    return lambda *words, **how: run(
        *words, *identity.args(), env={**identity.env, **how.pop("env", {})}, **how
    )


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def test_the_result_lies_beside_the_input_which_stays_as_it_was(deblur, photo_file, photo):
    before = photo_file.read_bytes()
    ran = deblur("photo.png")
    assert ran.code == 0, ran.err
    assert np.array_equal(pixels(photo_file.with_name("photo.deblurred.png")), photo)
    assert photo_file.read_bytes() == before


def test_the_line_names_output_model_device_precision_tiling_and_time(deblur, photo_file):
    line = deblur("photo.png").out
    assert line.startswith("photo.deblurred.png")
    for part in ("identity", "cpu", " s)"):
        assert part in line
    assert "float" in line


def test_a_tiny_rednet30_restores_a_photograph(run, photo_file, photo, rednet_weights):
    ran = run(
        "photo.png", "-m", "rednet30", "--weights", rednet_weights, "--dtype", "float32", "-o", "out.png"
    )
    assert ran.code == 0, ran.err
    restored = pixels(photo_file.with_name("out.png")).astype(int)
    assert restored.shape == photo.shape
    assert 0 < np.abs(restored - photo).mean() < 30


def test_strength_blends_input_and_result(run, photo_file, photo, rednet_weights):
    def restore(strength):
        ran = run(
            "photo.png",
            "--weights",
            rednet_weights,
            "--dtype",
            "float32",
            "--strength",
            strength,
            "-o",
            f"{strength}.png",
        )
        assert ran.code == 0, ran.err
        return pixels(photo_file.with_name(f"{strength}.png")).astype(float)

    assert np.array_equal(restore(0), photo)
    assert np.abs(restore(0.5) - (photo + restore(1)) / 2).max() <= 1


def test_several_inputs_folders_and_patterns_in_natural_order(deblur, tmp_path, photo):
    for name in ("shots/2.png", "shots/10.png", "shots/deep/3.png", "more/x.jpg", "more/y.jpg"):
        save(tmp_path / name, photo)
    ran = deblur("shots", "more/*.jpg", "-o", "out", "--json")
    assert ran.code == 0, ran.err
    assert [item["output"] for item in ran.json()] == ["out/2.png", "out/10.png", "out/x.jpg", "out/y.jpg"]
    ran = deblur("shots", "--recursive", "-o", "all", "--json")
    assert [item["output"] for item in ran.json()] == ["all/2.png", "all/10.png", "all/deep/3.png"]
    assert (tmp_path / "all/deep/3.png").exists()


def test_a_folder_restored_twice_does_not_restore_results(deblur, tmp_path, photo):
    save(tmp_path / "shots/a.png", photo)
    assert deblur("shots").code == 0
    ran = deblur("shots", "--overwrite")
    assert ran.code == 0, ran.err
    assert sorted(os.listdir(tmp_path / "shots")) == ["a.deblurred.png", "a.png"]


def test_a_folder_without_pictures_fails_and_the_others_go_on(deblur, tmp_path, photo_file):
    (tmp_path / "empty").mkdir()
    ran = deblur("empty", "photo.png")
    assert ran.code == 1
    assert "no pictures in the folder empty" in ran.err
    assert (tmp_path / "photo.deblurred.png").exists()


def test_from_stdin_to_stdout_and_nothing_else_there(deblur, photo):
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "png")
    for words, apart in ((["-"], True), (["-", "-o", "-"], False)):
        ran = deblur(*words, stdin=buffer.getvalue(), subprocess=apart)
        assert ran.code == 0, ran.err
        assert np.array_equal(pixels(io.BytesIO(ran.raw)), photo)


def test_from_a_file_to_stdout_in_another_format(deblur, photo_file, photo):
    ran = deblur("photo.png", "-o", "-", "--format", "bmp")
    assert ran.code == 0, ran.err
    assert ran.raw[:2] == b"BM"
    assert np.array_equal(pixels(io.BytesIO(ran.raw)), photo)


def test_from_stdin_to_a_file(deblur, photo_file, photo):
    assert deblur("-", "-o", "out.png", stdin=photo_file.read_bytes()).code == 0
    assert np.array_equal(pixels(photo_file.with_name("out.png")), photo)


def test_what_is_no_picture_on_stdin_is_said_so(deblur):
    for data in (b"", b"hello"):
        ran = deblur("-", stdin=data)
        assert ran.code == 1
        assert ran.raw == b""


def test_json_and_a_picture_on_stdout_exclude_each_other(deblur, photo_file):
    assert deblur("photo.png", "-o", "-", "--json").code == 2


def test_an_existing_output_is_refused_replaced_or_skipped_as_asked(deblur, photo_file, photo):
    target = photo_file.with_name("photo.deblurred.png")
    target.write_bytes(b"mine")
    refused = deblur("photo.png")
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert "--skip-existing" in refused.err
    skipped = deblur("photo.png", "--skip-existing", "--json")
    assert skipped.code == 0
    assert skipped.json()[0]["status"] == "skipped"
    assert target.read_bytes() == b"mine"
    assert deblur("photo.png", "--overwrite").code == 0
    assert np.array_equal(pixels(target), photo)


def test_skipping_everything_loads_no_network(run, photo_file):
    photo_file.with_name("photo.deblurred.png").touch()
    ran = run("photo.png", "-m", "rednet30", "--weights", "nosuch.safetensors", "--skip-existing")
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_the_input_is_never_replaced_not_even_through_a_link(deblur, photo_file, link):
    before = photo_file.read_bytes()
    link(photo_file, photo_file.with_name("other.png"))
    for words in (["-o", "photo.png"], ["-o", "other.png"], ["--suffix", ""]):
        ran = deblur("photo.png", *words, "--overwrite")
        assert ran.code == 2, ran.err
    assert photo_file.read_bytes() == before


def test_a_dry_run_says_what_would_be_done_and_does_nothing(deblur, tmp_path, photo):
    save(tmp_path / "a.png", photo)
    save(tmp_path / "b.png", photo)
    (tmp_path / "b.deblurred.png").touch()
    ran = deblur("a.png", "b.png", "--dry-run", "--skip-existing")
    assert ran.code == 0, ran.err
    assert "a.png -> a.deblurred.png" in ran.out
    assert "identity" in ran.out
    assert "b.png: skipped" in ran.out
    assert not (tmp_path / "a.deblurred.png").exists()
    assert "- -> -" in deblur("-", "--dry-run").out


def test_shards_cut_the_list_into_parts_that_make_the_whole(deblur, tmp_path, photo):
    for number in range(5):
        save(tmp_path / f"shots/{number}.png", photo[:16, :16])
    parts = [
        [item["input"] for item in deblur("shots", "--shard", f"{i}/3", "--dry-run", "--json").json()]
        for i in (1, 2, 3)
    ]
    assert sorted(itertools.chain.from_iterable(parts)) == [f"shots/{number}.png" for number in range(5)]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_json_says_of_each_picture_what_was_done_and_kept(deblur, tmp_path, photo):
    save(tmp_path / "a.jpg", photo, quality=90, dpi=(300, 300))
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    ran = deblur("a.jpg", "b.jpg", "--json")
    assert ran.code == 1
    done, failed = ran.json()
    assert (done["input"], done["output"], done["status"], done["error"]) == (
        "a.jpg",
        "a.deblurred.jpg",
        "done",
        None,
    )
    assert done["model"] == "identity"
    assert done["weights"].endswith("identity.safetensors")
    assert done["seconds"] > 0
    assert done["device"] == "cpu"
    assert done["dtype"] in ("float32", "bfloat16")
    assert done["kept"]["format"] == "jpeg"
    assert done["tiling"]
    assert done["guard"]
    assert failed["status"] == "failed"
    assert "b.jpg" in failed["error"]


def test_quiet_says_nothing_and_keeps_the_exit_code(deblur, photo_file):
    ran = deblur("photo.png", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    ran = deblur("nosuch.png", "--quiet")
    assert ran.code == 1
    assert "nosuch.png" in ran.err


def test_the_guard_refuses_a_damaged_result_unless_forced(run, photo_file, identity):
    ran = run("photo.png", *identity.args("tinted"), "--json", env=identity.env)
    assert ran.code == 1
    assert "--force" in ran.err
    assert ran.json()[0]["guard"]
    assert not photo_file.with_name("photo.deblurred.png").exists()
    ran = run("photo.png", *identity.args("tinted"), "--force", env=identity.env)
    assert ran.code == 0, ran.err
    assert photo_file.with_name("photo.deblurred.png").exists()


def test_a_region_restores_that_rectangle(run, photo_file, photo, rednet_weights):
    ran = run(
        "photo.png",
        "--weights",
        rednet_weights,
        "--dtype",
        "float32",
        "--region",
        "20,10,40,30",
        "-o",
        "part.png",
    )
    assert ran.code == 0, ran.err
    assert run("photo.png", "--weights", rednet_weights, "--dtype", "float32", "-o", "all.png").code == 0
    whole, part = (pixels(photo_file.with_name(name)) for name in ("all.png", "part.png"))
    if part.shape == whole.shape:  # restored in place
        part = part[10:40, 20:60]
    assert np.array_equal(part, whole[10:40, 20:60])


def test_more_pixels_than_allowed_are_refused(deblur, photo_file):
    ran = deblur("photo.png", "--max-pixels", "1000")
    assert ran.code == 1
    assert "--max-pixels" in ran.err


def test_a_missing_output_folder_is_made(deblur, photo_file):
    assert deblur("photo.png", "-o", "new/folder/").code == 0
    assert (photo_file.parent / "new/folder/photo.png").exists()


def test_names_beyond_ascii_work(deblur, tmp_path, photo):
    save(tmp_path / "日本 ü (1).png", photo)
    assert deblur("日本 ü (1).png").code == 0
    assert (tmp_path / "日本 ü (1).deblurred.png").exists()


def test_a_file_that_may_not_be_read_or_a_folder_that_may_not_be_written_fails_clearly(deblur, photo_file):
    ran = deblur("photo.png", "-o", "/proc/photo.png")
    assert ran.code == 1, ran.err
    assert "/proc/photo.png" in ran.err
