"""`deblur datasets` tells what is here and how to get the rest; downloads break off, go on, and are never half there."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PLUGIN = """
from deblur_cli import Archive, Dataset, hookimpl

@hookimpl
def deblur_datasets():
    return [Dataset(
        name="tiny", summary="for tests", pairs="deblur_cli.data.official:gopro", layout="{{train,test}}/SCENE/...",
        splits=("train", "test"), folder="tiny", licence="CC0", credit="nobody",
        archive=Archive(url="{url}/tiny.tar.gz", checksum="sha256:{checksum}", size={size}),
    )]
"""


@dataclass
class Server:
    """A web server of this machine that serves one file.

    breaks_after : bytes of a file after which each answer ends, None for never
    ranges : whether it can give the rest of a file; asked : the Range of each request; pause_s : after each block
    """

    content: bytes = b""
    breaks_after: int | None = None
    ranges: bool = True
    status: int = 200
    pause_s: float = 0.0
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.asked.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.ranges else 0
            if state.status != 200:
                self.send_error(state.status)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(state.content) - start))
            if start:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(state.content) - 1}/{len(state.content)}"
                )
            self.end_headers()
            rest = state.content[start:]
            rest = rest if state.breaks_after is None else rest[: state.breaks_after]
            try:
                for at in range(0, len(rest), 4096):
                    self.wfile.write(rest[at : at + 4096])
                    time.sleep(state.pause_s)
            except (BrokenPipeError, ConnectionResetError):
                pass
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        state.url = f"http://127.0.0.1:{httpd.server_address[1]}"
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,))
        thread.start()
        yield state
        httpd.shutdown()
        thread.join()


def archive_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


FILES = {
    f"{part}/scene/{kind}/{number:06d}.png": png(number)
    for part, count in (("train", 5), ("test", 2))
    for kind in ("blur", "sharp")
    for number in range(count)
}


@pytest.fixture
def tiny(server: Server, tmp_path: Path) -> dict[str, str]:
    """Environment in which the data set `tiny` is known and can be downloaded from the server."""
    server.content = archive_of(FILES)
    (tmp_path / "data").mkdir()
    write_plugin(tmp_path, server)
    return {
        "DEBLUR_PLUGINS": str(plugin_of(tmp_path)),
        "DEBLUR_DATA": str(tmp_path / "data"),
        "no_proxy": "*",
    }


def write_plugin(tmp_path: Path, server: Server) -> None:
    text = PLUGIN.format(
        url=server.url, checksum=hashlib.sha256(server.content).hexdigest(), size=len(server.content)
    )
    plugin_of(tmp_path).write_text(text)


def plugin_of(tmp_path: Path) -> Path:
    """A module of its own for each test: modules are imported once a process."""
    return tmp_path / f"tiny_{hashlib.md5(bytes(tmp_path)).hexdigest()}.py"


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_download_is_checked_unpacked_and_counted(run, tiny, server, tmp_path):
    done = run("datasets", "get", "tiny", env=tiny)
    assert (done.code, done.out) == (0, f"{tmp_path}/data/tiny\n"), done.err
    assert files_below(tmp_path / "data" / "tiny") == FILES
    (listed,) = [item for item in run("datasets", "--json", env=tiny).json() if item["name"] == "tiny"]
    assert listed["found"]
    assert listed["counts"] == {"train": 5, "test": 2}
    assert (listed["root"], listed["licence"], listed["kind"]) == (
        str(tmp_path / "data" / "tiny"),
        "CC0",
        "pairs",
    )
    again = run("datasets", "get", "tiny", env=tiny)
    assert "tiny is there already (train 5, test 2)" in again.err
    assert len(server.asked) == 1


def test_a_download_that_breaks_off_is_kept_and_goes_on(run, tiny, server, tmp_path):
    server.breaks_after = len(server.content) // 10
    first = run("datasets", "get", "tiny", env=tiny)
    assert first.code == 4
    assert "the connection broke off after" in first.err
    assert "what came is kept, and the same command goes on from there" in first.err
    kept = 5 * server.breaks_after
    assert server.asked == [None, *(f"bytes={tries * server.breaks_after}-" for tries in range(1, 5))]
    assert files_below(tmp_path / "data" / "tiny") == {"tiny.tar.gz.part": server.content[:kept]}
    server.breaks_after = None
    second = run("datasets", "get", "tiny", env=tiny)
    assert second.code == 0, second.err
    assert server.asked[5:] == [f"bytes={kept}-"]
    assert files_below(tmp_path / "data" / "tiny") == FILES


def test_a_single_break_is_mended_within_one_command(run, tiny, server, tmp_path):
    server.breaks_after = len(server.content) * 2 // 3
    assert run("datasets", "get", "tiny", env=tiny).code == 0
    assert len(server.asked) == 2
    assert files_below(tmp_path / "data" / "tiny") == FILES


def test_a_server_that_cannot_give_a_rest_is_read_from_the_beginning(run, tiny, server, tmp_path):
    server.ranges = False
    (tmp_path / "data" / "tiny").mkdir()
    (tmp_path / "data" / "tiny" / "tiny.tar.gz.part").write_bytes(server.content[:1000])
    assert run("datasets", "get", "tiny", env=tiny).code == 0
    assert server.asked == ["bytes=1000-"]
    assert files_below(tmp_path / "data" / "tiny") == FILES


@pytest.mark.parametrize("there", [0, 500])
def test_a_wrong_checksum_is_refused_and_what_came_is_removed(run, tiny, server, tmp_path, there):
    (tmp_path / "data" / "tiny").mkdir()
    (tmp_path / "data" / "tiny" / "tiny.tar.gz.part").write_bytes(bytes(there))
    if not there:
        server.content = bytes(len(server.content))
    done = run("datasets", "get", "tiny", env=tiny)
    assert done.code == 4
    assert (
        f"what came from {server.url}/tiny.tar.gz is not the archive of tiny: its sha256 checksum" in done.err
    )
    assert files_below(tmp_path / "data" / "tiny") == {}


def test_a_mirror_with_another_file_is_refused_before_it_is_downloaded(run, server, tmp_path):
    server.content = b"<html>not here any more</html>"
    done = run("datasets", "get", "cifar10", "--to", tmp_path / "cifar", "--url", f"{server.url}/x.tar.gz")
    assert done.code == 4
    assert "/x.tar.gz is not the archive of cifar10: it has 30 bytes instead of 170052171" in done.err
    assert files_below(tmp_path / "cifar") == {}
    wrong = run("datasets", "get", "cifar10", "--to", tmp_path, "--url", "ftp://example.org/x")
    assert (wrong.code, "begins with neither http:// nor https://" in wrong.err) == (2, True)


@pytest.mark.parametrize("status", [404, 503])
def test_what_the_server_answers_is_said(run, tiny, server, status):
    server.status = status
    done = run("datasets", "get", "tiny", env=tiny)
    assert done.code == 4
    assert f"the server answers {status}" in done.err
    assert len(done.err.splitlines()) == 2  # with the line about the licence


def test_a_server_that_is_not_there_is_said(run, tiny):
    done = run("datasets", "get", "tiny", "--url", "http://127.0.0.1:9/x.tar.gz", env=tiny)
    assert done.code == 4
    assert "cannot download http://127.0.0.1:9/x.tar.gz: connection refused after 0.0 of" in done.err


def test_an_archive_that_reaches_out_of_its_folder_is_not_unpacked(run, tiny, server, tmp_path):
    server.content = archive_of({**FILES, "../../../evil.txt": b"evil"})
    write_plugin(tmp_path, server)
    done = run("datasets", "get", "tiny", env=tiny)
    assert done.code == 4
    assert "cannot unpack" in done.err
    assert not list(tmp_path.rglob("evil.txt"))
    assert set(files_below(tmp_path / "data" / "tiny")) == {"tiny.tar.gz"}


def test_files_that_were_there_stay_beside_the_new_ones(run, tiny, tmp_path):
    note = tmp_path / "data" / "tiny" / "train" / "notes.txt"
    note.parent.mkdir(parents=True)
    note.write_text("mine")
    assert run("datasets", "get", "tiny", "--overwrite", env=tiny).code == 0
    assert files_below(tmp_path / "data" / "tiny") == {**FILES, "train/notes.txt": b"mine"}


def start(environ: dict[str, str], *, file_blocks: int | None = None) -> "subprocess.Popen[bytes]":
    """`deblur datasets get tiny` as a process; file_blocks : greatest size of a file it may write, in KiB."""
    limit = "" if file_blocks is None else f"ulimit -f {file_blocks}; "
    return subprocess.Popen(
        ["bash", "-c", f'{limit}exec "$0" -m deblur_cli datasets get tiny', sys.executable],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_no_room_is_one_line_and_what_came_is_kept(run, tiny, server, tmp_path):
    with start(tiny, file_blocks=20) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 5, err.decode()
    assert b"no room left in" in err
    assert b"free some, and the same command goes on" in err
    assert files_below(tmp_path / "data" / "tiny") == {"tiny.tar.gz.part": server.content[: 20 * 1024]}
    assert run("datasets", "get", "tiny", env=tiny).code == 0
    assert files_below(tmp_path / "data" / "tiny") == FILES


def test_too_small_a_disk_is_found_out_before_anything_is_downloaded(run, tiny, server, tmp_path):
    plugin = plugin_of(tmp_path)
    plugin.write_text(plugin.read_text().replace(f"size={len(server.content)}", f"size={10**18}"))
    done = run("datasets", "get", "tiny", env=tiny)
    assert done.code == 5
    assert "MB are needed and" in done.err
    assert server.asked == []


def test_ctrl_c_keeps_what_came(run, tiny, server, tmp_path):
    server.pause_s = 0.3
    part = tmp_path / "data" / "tiny" / "tiny.tar.gz.part"
    with start(tiny) as process:
        until = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size) and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err.decode()
    kept = part.read_bytes()
    assert 0 < len(kept) < len(server.content)
    assert server.content.startswith(kept)
    assert set(files_below(part.parent)) == {part.name}
    server.pause_s = 0
    assert run("datasets", "get", "tiny", env=tiny).code == 0
    assert server.asked[-1] == f"bytes={len(kept)}-"
    assert files_below(tmp_path / "data" / "tiny") == FILES


def test_a_download_that_was_complete_asks_the_server_nothing(run, tiny, server, tmp_path):
    (tmp_path / "data" / "tiny").mkdir()
    (tmp_path / "data" / "tiny" / "tiny.tar.gz.part").write_bytes(server.content)
    assert run("datasets", "get", "tiny", env=tiny).code == 0
    assert server.asked == []
    assert files_below(tmp_path / "data" / "tiny") == FILES


def test_the_table_tells_where_it_looked_and_what_is_there(run, tmp_path):
    for part in ("train", "test"):
        for kind in ("blur", "sharp"):
            file = tmp_path / "gopro" / part / "scene" / kind / "1.png"
            file.parent.mkdir(parents=True)
            file.write_bytes(png(1))
    done = run("datasets", env={"DEBLUR_DATA": str(tmp_path)})
    assert done.code == 0
    rows = {line.split()[0]: line for line in done.out.splitlines()}
    assert list(rows) == [
        "NAME",
        "cifar10",
        "gopro",
        "gopro-gamma",
        "kodak",
        "reds",
        "reds-jpeg",
        "reds_x4",
        "sample",
    ]
    assert f"{tmp_path}/gopro  " in rows["gopro"]
    assert "train 1, test 1" in rows["gopro"]
    assert "CC BY 4.0" in rows["gopro"]
    assert f"not in {tmp_path}/reds" in rows["reds"]
    assert "made when asked for" in rows["sample"]
    assert "deblur datasets get cifar10" in done.err


def test_without_a_data_root_the_variable_is_named(run, monkeypatch):
    monkeypatch.delenv("DEBLUR_DATA", raising=False)
    done = run("datasets")
    assert done.code == 0
    assert "DEBLUR_DATA is not set" in done.err
    got = run("datasets", "get", "cifar10")
    assert (got.code, "name a folder with --to" in got.err) == (2, True)


def test_json_says_all_of_each_data_set(run, tmp_path):
    found = {
        item["name"]: item for item in run("datasets", "--json", env={"DEBLUR_DATA": str(tmp_path)}).json()
    }
    cifar10 = found["cifar10"]
    assert cifar10["archive"] == {
        "url": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "checksum": "md5:c32a1d4ab5d03f1284b67883e8d87530",
        "size": 170052171,
    }
    assert (cifar10["found"], cifar10["kind"], cifar10["preset"]) == (False, "pictures", "cifar10-s0")
    assert cifar10["looked_in"] == str(tmp_path / "cifar10")
    for name, item in found.items():
        assert item["licence"], name
        assert item["credit"], name
        assert item["obtain"], name
    assert found["sample"]["found"]


@pytest.mark.parametrize("name", ["gopro", "gopro-gamma", "reds", "reds-jpeg", "reds_x4"])
def test_sets_behind_a_form_or_a_click_print_the_steps(run, name):
    done = run("datasets", "get", name)
    assert done.code == 0
    assert "open https://seungjunnah.github.io/Datasets/" in done.out
    assert f"expected: DEBLUR_DATA/{name.partition('-')[0]}/" in done.out
    assert "licence: CC BY 4.0" in done.out
    (facts,) = run("datasets", "get", name, "--json").json()
    assert facts["name"] == name
    assert len(facts["obtain"]) > 1


def test_a_misspelt_name_is_answered_with_the_near_ones(run):
    done = run("datasets", "get", "cifar")
    assert done.code == 4
    assert "there is no data set 'cifar'; did you mean cifar10?" in done.err
