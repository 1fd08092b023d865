"""`deblur results`: tables, CSV files and plots of kept records; broken and foreign files are named and counted."""

import csv
import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_records import record
from PIL import Image

from deblur_cli.evaluation.breakdown import sigma_table
from deblur_cli.evaluation.results import by_data, flat_rows, newest, read_records
from deblur_cli.evaluation.score_tables import by_pairs, by_protocol, cross_table, score_table
from deblur_cli.evaluation.typeset import as_latex, as_markdown, as_text
from deblur_cli.host.manager import Host

METRICS = Host.discover(environ={}).metrics

REPORTED = {
    "scores": {"psnr": 33.52},
    "blurry": {"psnr": 24.67},
    "where": "A report, table 3",
    "note": "other pictures",
}


def keep(folder: Path, name: str, made: object, *, age: float = 0) -> Path:
    """Write a record, as old as so many seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(made if isinstance(made, str) else json.dumps(made))
    os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))
    return path


def on_reds(model: str, **others: Any) -> dict[str, Any]:
    return record(model, data="reds", protocol="reds-s2", hash="11111111", **others)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Two models on one set of data, one of them on another one, too."""
    folder = tmp_path / "records"
    keep(
        folder, "a.json", record("rednet30.photo", restored={"psnr": 26.25, "ssim": 0.75}, reported=REPORTED)
    )
    keep(folder, "b.json", record("unet16.photo", restored={"psnr": 27.0, "ssim": 0.7}, kmacs_per_pixel=35.4,
                                  parameters=482_067))  # fmt: skip
    keep(folder, "c.json", on_reds("rednet30.photo", restored={"psnr": 29.0}))
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def line_of(text: str, start: str) -> list[str]:
    """The words of the first line that begins so, after that."""
    return next(line for line in text.splitlines() if line.startswith(start)).removeprefix(start).split()


def test_a_csv_for_each_set_of_data(run, records: Path, tmp_path: Path) -> None:
    done = run("results", records, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["gopro.csv", "reds.csv"]
    first, second = rows_of(tmp_path / "out" / "gopro.csv")
    kept = json.loads((records / "a.json").read_text())
    assert {name: first[name] for name in ("model", "network", "tag", "parameters", "kmacs_per_pixel")} == {
        "model": "rednet30.photo", "network": "rednet30", "tag": "photo", "parameters": "1076739", "kmacs_per_pixel": "1071.0",
    }  # fmt: skip
    assert (first["protocol"], first["protocol_hash"]) == ("gopro-full", "0a1b2c3d")
    assert first["weights_sha256"] == kept["weights_sha256"][:12]
    assert (first["pictures"], first["failed"]) == ("11", "0")
    assert (first["psnr_restored"], first["psnr_blurry"], first["psnr_gain"]) == ("26.25", "25.0", "1.25")
    assert (first["pooled_psnr_restored"], first["identical_restored"]) == ("26.75", "0")
    assert (first["seconds_per_picture"], first["device"], first["dtype"]) == ("0.51234", "cpu", "float32")
    assert (first["psnr_reported"], first["reported_in"]) == ("33.52", "A report, table 3")
    assert (second["model"], second["psnr_reported"]) == ("unet16.photo", "")
    (reds,) = rows_of(tmp_path / "out" / "reds.csv")
    assert "ssim_restored" not in reds


def test_the_tables_one_a_protocol_and_one_over_data_sets(run, records: Path) -> None:
    out = run("results", records).out
    assert [line for line in out.splitlines() if re.fullmatch(r"\S+#\w+", line)] == [
        "gopro-full#0a1b2c3d", "reds-s2#11111111",
    ]  # fmt: skip
    assert line_of(out, "blurred input")[:2] == ["25.00", "24.67"]
    assert line_of(out, "rednet30.photo")[:3] == ["26.25", "+1.25", "33.52"]
    assert line_of(out, "unet16.photo")[:2] == ["27.00*", "+2.00"]
    crossed = out[out.index("PSNR dB over data sets") :]
    assert line_of(crossed, "model") == ["gopro", "(gopro-full#0a1b2c3d)", "reds", "(reds-s2#11111111)"]
    assert line_of(crossed, "rednet30.photo") == ["26.25", "(+1.25)", "29.00", "(+4.00)"]
    assert out.count("PSNR: mean over the pictures where it is finite") == 1, (
        "what holds for all is said once"
    )


def test_a_table_wider_than_the_terminal_comes_in_parts(records: Path) -> None:
    """On a pseudo-terminal of 64 columns nothing is folded, each part names the models, and gains stay with their metric."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "deblur_cli", "results", records / "a.json", records / "b.json"],
        stdout=theirs, env={**os.environ, "COLUMNS": "64", "NO_COLOR": "1", "TERM": "dumb"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    with suppress(OSError):  # Linux answers so at the end
        while part := os.read(ours, 65536):
            seen += part
    os.close(ours)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", seen.decode())
    heads = [line.split() for line in text.splitlines() if line.split()[:1] == ["model"]]
    assert heads == [
        ["model", "PSNR", "dB", "gain", "report", "pooled", "dB"],
        ["model", "identical", "SSIM", "gain", "pictures"],
        ["model", "s/picture", "end", "to", "end", "metrics", "peak", "MB"],
    ]
    assert text.count("unet16.photo ") == 3 + 1  # and among the weights


def test_one_set_of_data_needs_no_table_over_them(run, records: Path) -> None:
    assert "over data sets" not in run("results", records / "a.json", records / "b.json").out


def test_scores_of_two_protocols_of_one_data_set_stand_in_two_tables_and_one_csv(run, tmp_path: Path) -> None:
    for hash, value in (("aaaaaaaa", 26.0), ("bbbbbbbb", 28.0)):
        keep(tmp_path / "r", f"{hash}.json", record(restored={"psnr": value}, hash=hash))
    done = run("results", tmp_path / "r", "-o", tmp_path / "out")
    assert done.out.count("blurred input") == 2
    assert "*" not in done.out
    assert [row["protocol_hash"] for row in rows_of(tmp_path / "out" / "gopro.csv")] == [
        "aaaaaaaa",
        "bbbbbbbb",
    ]


def test_the_newest_of_two_records_counts_and_a_note_says_so(run, tmp_path: Path) -> None:
    old = keep(tmp_path / "old", "a.json", record(restored={"psnr": 20.0}), age=100)
    new = keep(tmp_path / "new", "a.json", record(restored={"psnr": 26.0}))
    for order in ((old, new), (new, old)):
        done = run("results", *order)
        assert done.code == 0
        assert line_of(done.out, "rednet30.photo")[0] == "26.00"
        assert f"the newest of 2 records is taken, {new}; not {old}" in done.err


def test_when_a_record_was_made_counts_more_than_when_its_file_was_copied(run, tmp_path: Path) -> None:
    made = {"old": "2026-01-02T03:04:05+00:00", "new": "2026-01-02T03:04:06+00:00"}
    for name, created in made.items():
        keep(
            tmp_path / "r",
            f"{name}.json",
            {**record("unet16.photo", restored={"psnr": 26.0}), "created": created},
            age=100 * (name == "new"),
        )
    assert f"is taken, {tmp_path / 'r' / 'new.json'};" in run("results", tmp_path / "r").err


def test_other_weights_of_one_label_are_another_model(run, tmp_path: Path) -> None:
    for word in ("one", "two"):
        keep(tmp_path / "r", f"{word}.json", record(restored={"psnr": 26.0}, weights=word))
    out = run("results", tmp_path / "r").out
    assert len(re.findall(r"^rednet30\.photo \(\w{10}\) ", out, re.MULTILINE)) == 2


def test_other_pixels_under_one_hash_are_warned_of_and_stand_apart(run, tmp_path: Path) -> None:
    keep(tmp_path / "r", "a.json", record("a", restored={"psnr": 26.0}))
    keep(tmp_path / "r", "b.json", record("b", restored={"psnr": 29.0}, pairs="others", failed=1))
    done = run("results", tmp_path / "r")
    assert "gopro-full#0a1b2c3d: models measured different pixels" in done.err
    assert "scores stand apart: a; b" in done.err
    assert done.out.count("blurred input") == 2
    assert "b: 1 of 12 pictures failed" in done.out


WHOLE = record(restored={"psnr": 26.0})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"schema": 1,', "no JSON: Expecting property name"),
        ("", "no JSON"),
        ('{"a": 1}', "JSON, but no record of deblur eval"),
        ("[1, 2]", "JSON, but no record of deblur eval"),
        ("[" * 100_000, "recursion"),
        (WHOLE | {"schema": 2}, "a record of schema 2, from a newer deblur; this one knows 1"),
        (WHOLE | {"protocol": None}, "a record without its protocol"),
        (WHOLE | {"protocol": {"data": "gopro"}}, "'hash' is missing or not a text"),
        (WHOLE | {"pictures": "11"}, "'pictures' is missing or not a count"),
        (WHOLE | {"pictures": True}, "'pictures' is missing or not a count"),
        (WHOLE | {"restored": {"psnr": "26"}}, "'restored' is missing or not scores by metric"),
        (
            json.dumps(WHOLE | {"restored": {"psnr": float("nan")}}),
            "'restored' is missing or not scores by metric",
        ),
        (WHOLE | {"blurry": {}}, "'blurry' is missing or not of all metrics"),
        (WHOLE | {"seconds_per_picture": "fast"}, "'seconds_per_picture' is missing or not a number or null"),
        (WHOLE | {"by_sigma": [{"from": 0}]}, "'by_sigma' is missing or not of ranges with scores"),
        (WHOLE | {"weights_sha256": 5}, "'weights_sha256' is missing or not a text or null"),
        (
            WHOLE | {"reported": {"scores": {"psnr": "x"}, "where": "w"}},
            "'reported' is missing or not of scores",
        ),
        ({name: value for name, value in WHOLE.items() if name != "gain"}, "'gain' is missing"),
    ],
)
def test_what_is_no_record_is_named_and_counted_and_the_rest_goes_on(
    run, records: Path, content: object, why: str
) -> None:
    path = keep(records, "odd.json", content)
    done = run("results", records)
    assert done.code == 1
    (line,) = [line for line in done.err.splitlines() if str(path) in line]
    assert why in line
    assert "1 of 4 files hold no record" in done.err
    assert line_of(done.out, "unet16.photo")[0] == "27.00*"


MISSING = object()


@pytest.mark.parametrize("where", [None, "protocol", "reported", "run"])
def test_a_record_with_any_one_value_changed_is_refused_or_makes_all_tables(
    tmp_path: Path, where: str | None
) -> None:
    whole = record("a", restored={"psnr": 26.0}, reported=REPORTED, by_sigma=sigmas(40.0))
    other = record("b", restored={"psnr": 27.0}, by_sigma=sigmas(41.0))
    refused = 0
    for key in whole if where is None else whole[where]:
        for value in (MISSING, None, -5, "x", [], {}, True, [1], {"psnr": "x"}, {"psnr": None}, 1.5):
            changed = json.loads(json.dumps(whole))
            owner = changed if where is None else changed[where]
            if value is MISSING:
                del owner[key]
            else:
                owner[key] = value
            found, unusable = read_records(
                [keep(tmp_path, "a.json", changed), keep(tmp_path, "b.json", other)]
            )
            refused += len(unusable)
            records, _ = newest(found)
            by_data(records)
            flat_rows(records)
            tables = [cross_table(records, "psnr", METRICS)]
            for same in by_protocol(records):
                tables.append(score_table(same, METRICS, deviations=True))
                tables += filter(None, map(sigma_table, by_pairs(same)))
            for table in tables:
                as_text(table), as_latex(table), as_markdown(table)
    assert bool(refused) == (where != "run")


def test_bytes_that_are_no_text_are_no_record(run, records: Path) -> None:
    (records / "odd.json").write_bytes(b"\x89PNG\xff\xfe")
    done = run("results", records)
    assert done.code == 1
    assert f"{records / 'odd.json'}: no JSON: not even text" in done.err


def test_names_that_are_no_text_or_move_the_cursor_are_escaped(run, tmp_path: Path) -> None:
    keep(
        tmp_path / "r",
        "a.json",
        record(restored={"psnr": 26.0}, data="d\ud800") | {"model": "a\udcff\n\x1b[31m"},
    )
    table, text = tmp_path / "t.tex", tmp_path / "t.md"
    done = run("results", tmp_path / "r", "-o", tmp_path / "out", "--latex", table, "--markdown", text)
    assert done.code == 0, done.err
    assert r"a\udcff\n\x1b[31m" in done.out
    (row,) = rows_of(tmp_path / "out" / "d-ud800.csv")
    assert row["model"] == r"a\udcff\n\x1b[31m"
    assert all("\x1b" not in path.read_text() for path in (table, text))


def test_where_there_is_no_record_at_all_that_is_said(run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run("results", tmp_path / "empty", tmp_path / "missing.json")
    assert done.code == 1
    assert f"{tmp_path / 'empty'}: the folder holds no *.json" in done.err
    assert f"{tmp_path / 'missing.json'}: no such file or directory" in done.err
    assert "deblur eval --record FOLDER keeps one" in done.err
    assert done.out == ""


def test_the_folder_records_is_taken_where_none_is_named(run, records: Path) -> None:
    assert line_of(run("results", cwd=records.parent).out, "unet16.photo")[0] == "27.00*"


def test_lines_as_eval_prints_them_are_records_too(run, records: Path, tmp_path: Path) -> None:
    lines = [json.dumps(json.loads(path.read_text())) for path in sorted(records.iterdir())]
    path = tmp_path / "printed.jsonl"
    path.write_text("\n".join(lines) + "\n")
    assert run("results", path).out == run("results", records).out
    path.write_text("\n".join([*lines, '{"torn": ']))
    assert run("results", path).code == 1


def test_json_has_a_line_a_record(run, records: Path, tmp_path: Path) -> None:
    printed = run("results", records, "--json", "-o", tmp_path / "out").json()
    assert [(row["model"], row["protocol_hash"]) for row in printed] == [
        ("rednet30.photo", "0a1b2c3d"), ("unet16.photo", "0a1b2c3d"), ("rednet30.photo", "11111111"),
    ]  # fmt: skip
    assert printed[1]["psnr_gain"] == 2.0
    assert printed[1]["psnr_reported"] is None
    written = rows_of(tmp_path / "out" / "gopro.csv")
    assert {
        name: "" if printed[1][name] is None else str(printed[1][name]) for name in written[1]
    } == written[1]


def test_markdown_and_latex_hold_the_same_tables(run, records: Path, tmp_path: Path) -> None:
    done = run("results", records, "--markdown", tmp_path / "t.md", "--latex", tmp_path / "t.tex", "--std")
    assert done.code == 0, done.err
    markdown, latex = (tmp_path / "t.md").read_text(), (tmp_path / "t.tex").read_text()
    titles = ["gopro-full#0a1b2c3d", "reds-s2#11111111", "PSNR dB over data sets", "SSIM over data sets"]
    assert re.findall(r"^### (.*)$", markdown, re.MULTILINE) == titles
    assert [text.replace("\\#", "#") for text in re.findall(r"\\caption\{(.*)\}", latex)] == titles
    assert "**27.00** ± 0.12" in markdown
    assert "\\textbf{27.00} $\\pm$ 0.12" in latex
    assert latex.count("\\begin{tabular}") == latex.count("\\end{tabular}") == 4


def sigmas(*values: float | None) -> list[dict[str, float | None]]:
    ranges = [(0.0, 0.28), (0.28, 0.5), (2.5, 3.0)]
    return [
        {"from": low, "to": high, "pictures": 5, "psnr_blurry": 30.0 - low, "psnr_restored": value}
        for (low, high), value in zip(ranges, values, strict=False)
    ]


def test_psnr_by_the_sigma_of_the_blur_has_a_table_where_all_models_have_it(run, tmp_path: Path) -> None:
    folder = tmp_path / "records"
    keep(folder, "a.json", record("a", restored={"psnr": 26.0}, by_sigma=sigmas(None, 31.5, 28.25)))
    keep(folder, "b.json", record("b", restored={"psnr": 27.0}, by_sigma=sigmas(50.0, 32.5, 28.0)))
    out = run("results", folder).out
    table = out[out.index("gopro-full#0a1b2c3d: PSNR by the sigma of the blur") :]
    assert line_of(table, "0 to 0.28") == ["5", "30.00", "-", "50.00"]
    assert line_of(table, "2.5 to 3") == ["5", "27.50", "28.25", "28.00"]
    keep(folder, "b.json", record("b", restored={"psnr": 27.0}, by_sigma=sigmas(50.0, 32.5)))
    assert "by the sigma" not in run("results", folder).out, "of other ranges"
    keep(folder, "b.json", record("b", restored={"psnr": 27.0}))
    assert "by the sigma" not in run("results", folder).out


def test_metrics_can_be_chosen(run, records: Path) -> None:
    out = run("results", records, "--metrics", "ssim").out
    assert "PSNR" not in out
    assert "SSIM over data sets" in out
    assert "reds-s2#11111111" not in out, "no table without a column"


def test_an_unknown_metric_is_refused_and_a_swallowed_file_pointed_out(run, records: Path) -> None:
    refused = run("results", records, "--metrics", "psnr", "sssim")
    assert refused.code == 2
    assert "--metrics sssim: no record has it; they have psnr, ssim" in refused.err
    assert "records stand before --metrics" in run("results", "--metrics", "psnr", records).err


def test_existing_outputs_are_kept_unless_told_otherwise(run, records: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "reds.csv").write_text("mine")
    refused = run("results", records, "-o", out, "--markdown", tmp_path / "t.md")
    assert refused.code == 2
    assert f"{out / 'reds.csv'} exists already" in refused.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "records"]
    assert [path.name for path in out.iterdir()] == ["reds.csv"]
    assert run("results", records, "-o", out, "--overwrite").code == 0
    assert rows_of(out / "reds.csv")[0]["model"] == "rednet30.photo"


def test_a_record_is_never_written_over(run, records: Path) -> None:
    before = (records / "a.json").read_bytes()
    done = run("results", records, "--markdown", records / "a.json", "--overwrite")
    assert done.code == 2
    assert "is one of the records" in done.err
    assert (records / "a.json").read_bytes() == before


def test_outputs_are_tried_before_any_is_written(run, records: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    same = tmp_path / "same.txt"
    twice = run("results", records, "--markdown", same, "--latex", same)
    assert (twice.code, f"{same} is named for two outputs" in twice.err) == (2, True)
    for words, says in (
        (("--plot", tmp_path / "p.svg", "--markdown", tmp_path / "no/t.md"), "its folder does not exist"),
        (("--plot", tmp_path / "p.svg", "-o", records / "a.json"), "is a file, where a folder is needed"),
    ):
        refused = run("results", records, *words)
        assert (refused.code, refused.out) == (1, "")
        assert says in refused.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_table_for_a_paper_goes_to_stdout_alone(run, records: Path, tmp_path: Path) -> None:
    kept = run("results", records, "--latex", tmp_path / "t.tex")
    assert kept.code == 0, kept.err
    printed = run("results", records, "--latex", "-")
    assert printed.out == (tmp_path / "t.tex").read_text()
    refused = run("results", records, "--latex", "-", "--json")
    assert (refused.code, "--latex and --json cannot share stdout" in refused.err) == (2, True)


def test_data_sets_whose_names_make_one_file_name_get_two(run, tmp_path: Path) -> None:
    for number, data in enumerate(("my/set", "my:set", "../../My-Set")):
        keep(
            tmp_path / "r", f"{number}.json", record(restored={"psnr": 26.0}, data=data, hash=f"{number:08}")
        )
    assert run("results", tmp_path / "r", "-o", tmp_path / "out").code == 0
    written = {path.name: rows_of(path)[0]["data"] for path in (tmp_path / "out").iterdir()}
    assert written == {"my-set.csv": "my/set", "my-set-2.csv": "my:set", "My-Set-3.csv": "../../My-Set"}


def test_what_eval_keeps_and_what_it_prints_make_the_same_tables(
    run, identity, rednet_weights, photo, tmp_path: Path
) -> None:
    """Real evaluations of two networks on two sets of data."""
    for number, data in enumerate(("near", "far")):
        for at in range(2):
            sharp = photo[16 * at : 16 * at + 48, :64]
            for name, pixels in (("sharp", sharp), ("blur", np.roll(sharp, number + 1, axis=1))):
                path = tmp_path / data / name / f"{at}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    words = (
        "eval",
        "-m",
        identity.weights["identity"],
        rednet_weights,
        "--metrics",
        "psnr",
        "mse",
        "--record",
        "kept",
        "--json",
    )
    printed = []
    for data in ("near", "far"):
        done = run(*words, "--data", data, env=identity.env)
        assert done.code == 0, done.err
        printed.append(done.out)
    (tmp_path / "printed.jsonl").write_text("".join(printed))
    kept = run("results", "kept", "-o", "out")
    assert kept.code == 0, kept.err
    assert sorted(run("results", "printed.jsonl").out) == sorted(kept.out)
    for data, lines in zip(("near", "far"), printed, strict=True):
        rows = {row["model"]: row for row in rows_of(tmp_path / "out" / f"{data}.csv")}
        for made in map(json.loads, lines.splitlines()):
            row = rows[made["model"]]
            assert float(row["psnr_restored"]) == pytest.approx(made["restored"]["psnr"], rel=1e-9)
            assert float(row["mse_gain"]) == pytest.approx(made["gain"]["mse"], rel=1e-9, abs=1e-12)
            assert row["protocol_hash"] == made["protocol"]["hash"]
            assert row["parameters"] == str(made["parameters"])
    identical = line_of(kept.out, next(name for name in rows if "identity" in name))
    assert identical[1] == "+0.00"
    assert kept.out.count("over data sets") == 1, "of PSNR; nobody asked for that of MSE"


# Plots


def points_of(svg: str, *, colour: str) -> list[tuple[float, float]]:
    """Where markers of a colour stand within the panels, px from the top left corner."""
    groups = re.findall(
        r'<g clip-path="[^"]*">\s*<use [^>]*?x="([\d.]+)" y="([\d.]+)"[^>]*style="[^"]*(#[0-9a-f]{6})', svg
    )
    return [(float(x), float(y)) for x, y, found in groups if found == colour]


def test_the_plot_has_each_model_where_its_cost_and_score_say(run, records: Path, tmp_path: Path) -> None:
    keep(records, "d.json", record("third", restored={"psnr": 28.0}, kmacs_per_pixel=3_000.0, parameters=5))
    done = run(
        "results", records / "a.json", records / "b.json", records / "d.json", "--plot", tmp_path / "p.svg"
    )
    assert done.code == 0, done.err
    svg = (tmp_path / "p.svg").read_text()
    (rednet, printed), (unet,), (third,) = (
        points_of(svg, colour=colour) for colour in ("#0072b2", "#d55e00", "#009e73")
    )
    across = [np.log(cost) for cost in (1071.0, 35.4, 3000.0)]
    shares = (rednet[0] - unet[0]) / (third[0] - unet[0])
    assert shares == pytest.approx((across[0] - across[1]) / (across[2] - across[1]), abs=0.01)
    assert (rednet[1] - unet[1]) / (third[1] - unet[1]) == pytest.approx((26.25 - 27) / (28 - 27), abs=0.01)
    assert printed[0] == rednet[0]
    assert (rednet[1] - printed[1]) / (unet[1] - third[1]) == pytest.approx(33.52 - 26.25, abs=0.05)
    for text in ("rednet30.photo", "blurred input", "the report's own figure", "PSNR dB", "gopro: gopro-full#0a1b2c3d, 11",
                 "thousand multiply-accumulates a pixel"):  # fmt: skip
        assert text in svg or f"<!-- {text}" in svg, text


def test_a_panel_for_each_protocol_and_no_point_without_a_cost(run, records: Path, tmp_path: Path) -> None:
    keep(records, "d.json", record("odd", restored={"psnr": 28.0}, kmacs_per_pixel=None))
    assert run("results", records, "--plot", tmp_path / "p.svg").code == 0
    svg = (tmp_path / "p.svg").read_text()
    assert "gopro: gopro-full#0a1b2c3d" in svg
    assert "reds: reds-s2#11111111" in svg
    assert "not drawn, for want of a figure: odd" in svg
    assert run("results", records, "--plot", tmp_path / "q.svg", "--against", "parameters").code == 0
    assert "not drawn" not in (tmp_path / "q.svg").read_text()


def frames_of(svg: str) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Top left and bottom right corners of the panels and of the legend, in points."""
    frames: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"axes": [], "legend": []}
    for name, path in re.findall(r'<g id="(axes|legend)_\d+">\s*<g id="patch_\d+">\s*<path d="([^"]*)"', svg):
        points = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", path), float)
        frames[name].append((points.min(0), points.max(0)))
    return frames


def test_many_models_leave_the_panel_its_size(run, tmp_path: Path) -> None:
    for number in range(60):
        keep(tmp_path / "r", f"{number}.json", record(f"model{number}.photo", restored={"psnr": 26.0}))
    assert run("results", tmp_path / "r", "--plot", tmp_path / "p.svg").code == 0
    frames = frames_of((tmp_path / "p.svg").read_text())
    ((low, high),), ((_, legend_high),) = frames["axes"], frames["legend"]
    assert high[1] - low[1] > 2.4 * 72
    assert legend_high[1] < low[1]


def test_there_are_as_many_panels_as_protocols_and_no_legend_hides_one(run, tmp_path: Path) -> None:
    for number in range(5):
        made = record(
            f"a model of a long name, number {number}", restored={"psnr": 26.0}, hash=f"{number:08}"
        )
        keep(tmp_path / "r", f"{number}.json", made)
    assert run("results", tmp_path / "r", "--plot", tmp_path / "p.svg").code == 0
    svg = (tmp_path / "p.svg").read_text()
    assert len(re.findall(r"<!-- PSNR dB -->", svg)) == 5
    frames = frames_of(svg)
    assert len(frames["axes"]) == 5
    ((low, high),) = frames["legend"]
    assert low.min() >= 0
    assert high[0] <= float(re.findall(r'viewBox="0 0 ([\d.]+)', svg)[0])
    assert all(high[1] < top[1] for top, _ in frames["axes"])


def test_the_plot_is_a_picture_of_the_asked_kind(run, records: Path, tmp_path: Path) -> None:
    assert run("results", records, "--plot", tmp_path / "p.png", "--against", "seconds").code == 0
    with Image.open(tmp_path / "p.png") as image:
        assert image.width > 700
    assert "must end in .png or .svg or .pdf" in run("results", records, "--plot", tmp_path / "p.jpg").err
    assert "choose one of macs, parameters, seconds" in run("results", records, "--against", "cost").err


def test_nothing_to_draw_is_said(run, tmp_path: Path) -> None:
    path = keep(tmp_path, "a.json", record(restored={"psnr": None}, blurry={"psnr": None}))
    done = run("results", path, "--plot", tmp_path / "p.png", "-o", tmp_path / "out")
    assert done.code == 2
    assert "nothing to draw: no record has both psnr and macs" in done.err
    assert [item for item in tmp_path.rglob("*") if item.is_file()] == [path], "nothing else is written then"
