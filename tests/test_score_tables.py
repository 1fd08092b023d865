"""Tables of scores: what stands in which column, what is marked, and that every form of a table says the same."""

import csv
import io
import re

import pytest
from evaluation_records import record
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from deblur_cli.errors import UsageError
from deblur_cli.evaluation.score_tables import cross_table, score_table
from deblur_cli.evaluation.typeset import (
    Cell,
    Column,
    Row,
    Table,
    as_csv,
    as_latex,
    as_markdown,
    as_text,
)
from deblur_cli.host.manager import Host

METRICS = Host.discover(environ={}).metrics

FIRST = record("rednet30.photo", restored={"psnr": 26.254, "ssim": 0.75, "mse": 0.0031})
SECOND = record("unet16.photo", restored={"psnr": 27.0, "ssim": 0.74, "mse": 0.0029})
REPORTED = {
    "scores": {"psnr": 33.52, "mse": 0.0013985},
    "blurry": {"psnr": 24.67},
    "where": "A report, table 3",
    "note": "over others",
}


def shown(table: Table) -> list[dict[str, str]]:
    """Each row by title; a title that comes again has the metric's name before it."""
    titles, rows = as_text(table)
    names, metric = [], ""
    for title in titles:
        metric = title if title.split()[0].lower() in METRICS else metric
        names.append(title if title not in ("gain", "report") else f"{metric.partition(' ')[0]} {title}")
    assert len(set(names)) == len(names)
    return [dict(zip(names, row, strict=True)) for row in rows]


# Models under one protocol


def test_each_model_stands_below_the_blurred_input() -> None:
    table = score_table([FIRST, SECOND], METRICS)
    assert table.title == "gopro-full#0a1b2c3d"
    blurred, first, second = shown(table)
    assert [row["model"] for row in (blurred, first, second)] == [
        "blurred input", "rednet30.photo", "unet16.photo",
    ]  # fmt: skip
    assert (blurred["PSNR dB"], blurred["PSNR gain"]) == ("25.00 ", "")
    assert (first["PSNR dB"], first["PSNR gain"]) == ("26.25 ", "+1.25")
    assert (blurred["pooled dB"].strip(), first["pooled dB"].strip("*")) == ("24.50", "26.75")
    assert (first["SSIM"], first["SSIM gain"]) == ("0.7500*", "+0.2500")
    assert (first["pictures"], first["s/picture"], first["end to end"], first["peak MB"]) == (
        "11", "0.512", "0.75", "123",
    )  # fmt: skip
    assert blurred["s/picture"] == blurred["peak MB"] == ""


def test_the_best_value_of_each_metric_is_marked_and_the_blurred_input_never() -> None:
    better = record("blind", restored={"psnr": 24.0, "ssim": 0.75, "mse": 0.9}, blurry={"psnr": 30.0, "ssim": 0.99, "mse": 0.0001})  # fmt: skip
    rows = shown(score_table([better, record("worse", restored={"psnr": 23.0, "ssim": 0.7, "mse": 0.95},
                                             blurry=better["blurry"])], METRICS))  # fmt: skip
    marked = [{title for title, text in row.items() if "*" in text} for row in rows]
    assert marked[0] == set()
    assert marked[1] >= {"PSNR dB", "SSIM", "MSE"}  # of an error the least
    assert not marked[2] & {"PSNR dB", "SSIM", "MSE"}


def test_what_looks_the_same_is_equally_good() -> None:
    twins = [
        record(name, restored={"psnr": value}) for name, value in (("a", 27.001), ("b", 26.999), ("c", 26.9))
    ]
    rows = shown(score_table(twins, METRICS))
    assert [row["PSNR dB"] for row in rows[1:]] == ["27.00*", "27.00*", "26.90 "]


def test_one_model_alone_is_not_the_best_of_anything() -> None:
    assert not score_table([FIRST], METRICS).best()


def test_a_metric_that_nobody_declares_any_more_is_shown_and_not_judged() -> None:
    rows = shown(
        score_table(
            [record(name, restored={"nima": value}) for name, value in (("a", 5.0), ("b", 6.0))], METRICS
        )
    )
    assert [row["NIMA"] for row in rows] == ["0.5000", "5.0000", "6.0000"]


def test_the_reports_figures_stand_in_the_same_row_and_their_baseline_in_that_of_the_blurred() -> None:
    told = record("rednet30.photo", restored={"psnr": 26.0, "ssim": 0.7, "mse": 0.003}, reported=REPORTED)
    table = score_table([told, SECOND], METRICS)
    blurred, first, second = shown(table)
    assert (blurred["PSNR report"], first["PSNR report"], second["PSNR report"]) == ("24.67", "33.52", "")
    assert first["MSE report"] == "0.0013985", "no digit is lost"
    assert "SSIM report" not in first
    assert any(note == "report, rednet30.photo: A report, table 3; over others" for note in table.notes)
    assert first["PSNR report"].count("*") == 0, "a report's figure is never the best"


def test_deviations_stand_behind_the_means_when_asked() -> None:
    _, first, _ = shown(score_table([FIRST, SECOND], METRICS, deviations=True))
    assert first["PSNR dB"] == "26.25  ± 0.12"
    assert first["SSIM"] == "0.7500* ± 0.1250"


def test_some_metrics_can_be_chosen() -> None:
    titles, _ = as_text(score_table([FIRST], METRICS, chosen=["ssim"]))
    assert titles[:3] == ["model", "SSIM", "gain"]
    assert "PSNR dB" not in titles


def test_what_is_undefined_or_was_not_measured_shows_so() -> None:
    none = record("a", restored={"psnr": None}, blurry={"psnr": None}, pictures=0, seconds_per_picture=None,
                  seconds_end_to_end=None, peak_memory_bytes=None, pooled_psnr_restored=None)  # fmt: skip
    other = record("b", restored={"psnr": 26.0, "ssim": 0.7}, blurry={"psnr": None, "ssim": 0.5})
    blurred, first, _ = shown(score_table([none, other], METRICS))
    assert (blurred["PSNR dB"], first["PSNR dB"], first["pooled dB"]) == ("-", "-", "-")
    assert (blurred["SSIM"], first["SSIM"], first["s/picture"]) == ("0.5000", "", "")


def test_records_of_other_pixels_get_a_baseline_of_their_own_and_do_not_compete() -> None:
    partly = record(
        "partly", restored={"psnr": 35.0}, blurry={"psnr": 30.0}, pairs="others", failed=2, pictures=9
    )
    table = score_table([record("whole", restored={"psnr": 26.0}), partly], METRICS)
    assert [(row["model"], row["PSNR dB"]) for row in shown(table)] == [
        ("blurred input", "25.00"), ("whole", "26.00"), ("blurred input", "30.00"), ("partly", "35.00"),
    ]  # fmt: skip
    assert "partly: 2 of 11 pictures failed" in table.notes


def test_two_files_of_one_label_are_told_apart_by_their_weights() -> None:
    old, new = (record(restored={"psnr": 26.0}, weights=word) for word in ("old", "new"))
    labels = [row["model"] for row in shown(score_table([old, new], METRICS))[1:]]
    assert labels == [f"rednet30.photo ({item['weights_sha256'][:10]})" for item in (old, new)]


def test_scores_of_different_protocols_never_share_a_table() -> None:
    with pytest.raises(UsageError, match="gopro-full#0a1b2c3d, gopro-full#ffffffff"):
        score_table([FIRST, record(restored={"psnr": 26.0}, hash="ffffffff")], METRICS)


def test_whoever_chooses_alike_may_compare_whatever_the_name() -> None:
    unnamed = record("unnamed", restored={"psnr": 27.5}, protocol="")
    assert shown(score_table([FIRST, unnamed], METRICS))[2]["PSNR dB"] == "27.50*"
    titles, _ = as_text(cross_table([FIRST, unnamed], "psnr", METRICS))
    assert titles == ["model", "gopro (gopro-full#0a1b2c3d)"]


def test_the_notes_say_what_the_numbers_mean() -> None:
    notes = score_table([FIRST, SECOND], METRICS).notes
    text = "\n".join(notes)
    assert "data: gopro, split test, all 11 pairs; RGB as stored" in notes
    assert f"rednet30.photo {FIRST['weights_sha256'][:12]}" in text
    assert "PSNR: mean over the pictures where it is finite" in text
    assert f"SSIM: {METRICS['ssim'].summary}" in text
    assert "median of 10, without the first, which warms up" in text
    assert "finite before and after" not in text
    told = score_table([record(restored={"psnr": 26.0}, identical_blurry=1, warm_up_excluded=False)], METRICS)
    assert any("finite before and after" in note for note in told.notes)
    assert any("warm-up included" in note for note in told.notes)


# Models over sets of data


def test_a_column_for_each_protocol_with_gains_in_brackets() -> None:
    others = [
        record(name, restored={"psnr": value}, data="reds", protocol="reds-s2", hash="11111111")
        for name, value in (("rednet30.photo", 29.0), ("srn", 28.0))
    ]
    unnamed = record("srn", restored={"psnr": 31.0}, data="mine", protocol="", hash="22222222")
    table = cross_table([FIRST, *others, SECOND, unnamed], "psnr", METRICS)
    titles, rows = as_text(table)
    assert titles == ["model", "gopro (gopro-full#0a1b2c3d)", "reds (reds-s2#11111111)", "mine#22222222"]
    assert rows == [
        ["blurred input", "25.00         ", "25.00         ", "25.00        "],
        ["rednet30.photo", "26.25  (+1.25)", "29.00* (+4.00)", " " * 8],
        ["unet16.photo", "27.00* (+2.00)", " " * 9, " " * 8],
        ["srn", " " * 9, "28.00  (+3.00)", "31.00 (+6.00)"],
    ]
    assert any("reds-s2#11111111: reds, split test" in note and "11 pictures" in note for note in table.notes)
    alone = record("a", restored={"psnr": 26.0}) | {"pictures": 1}
    assert any(note.endswith("; 1 picture") for note in cross_table([alone], "psnr", METRICS).notes)


def test_other_pixels_under_one_hash_have_a_column_of_their_own() -> None:
    changed = record("b", restored={"psnr": 40.0}, pairs="others")
    titles, rows = as_text(cross_table([record("a", restored={"psnr": 26.0}), changed], "psnr", METRICS))
    assert len(titles) == 3
    assert titles[2] == f"gopro (gopro-full#0a1b2c3d), pairs {changed['pairs_sha256'][:8]}"
    assert [[cell.strip() for cell in row[1:]] for row in rows[1:]] == [
        ["26.00 (+1.00)", ""], ["", "40.00 (+15.00)"],
    ]  # fmt: skip


# Forms


ODD = r"""a|b_c *d* \e `f` <g> [h](i) {j} #k 5% $l$ ~m~ ^n & o_"""
TABLE = Table(
    title="Scores_of #1",
    columns=(
        Column(title="model", number=False),
        Column(title="PSNR dB", name="psnr", higher_is_better=True),
        Column(title="MSE", higher_is_better=False),
        Column(title="gain"),
    ),
    rows=(
        Row((Cell("blurred input"), Cell("40.00", 40.0), Cell("0.001", 0.001), Cell()), baseline=True),
        Row((Cell(ODD), Cell("26.25 ± 1.00", 26.2512), Cell("0.020", 0.02), Cell("+1.25", 1.2512))),
        Row((Cell("[b]"), Cell("25.00 ± 1.00", 25.0), Cell("0.010", 0.01), Cell("-0.25", -0.25))),
    ),
    notes=("it holds for 5% of_all_",),
)


def test_csv_has_values_that_are_not_rounded() -> None:
    header, blurred, odd, last = csv.reader(io.StringIO(as_csv(TABLE)))
    assert header == ["model", "psnr", "MSE", "gain"]
    assert blurred == ["blurred input", "40.0", "0.001", ""]
    assert odd == [ODD, "26.2512", "0.02", "1.2512"]
    assert last[1:] == ["25.0", "0.01", "-0.25"]


def rendered(markdown: str) -> tuple[str, list[list[tuple[str, bool]]], list[str]]:
    """Heading, cells with whether something in them is bold, and list items, as an independent renderer reads them."""
    heading, cells, items = "", [], []
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(markdown)
    for at, token in enumerate(tokens):
        if token.type == "tr_open":
            cells.append([])
        if token.type != "inline":
            continue
        assert token.children is not None
        kinds = {child.type for child in token.children}
        assert kinds <= {"text", "text_special", "strong_open", "strong_close"}, kinds
        text = "".join(child.content for child in token.children)
        before = tokens[at - 1].type
        if before == "heading_open":
            heading = text
        elif before in ("th_open", "td_open"):
            cells[-1].append((text, "strong_open" in kinds))
        else:
            items.append(text)
    return heading, cells, items


def test_markdown_reads_as_the_table_and_the_best_is_bold() -> None:
    heading, cells, items = rendered(as_markdown(TABLE))
    assert heading == "Scores_of #1"
    assert items == list(TABLE.notes)
    assert [[text for text, _ in row] for row in cells] == [
        ["model", "PSNR dB", "MSE", "gain"],
        ["blurred input", "40.00", "0.001", ""],
        [ODD, "26.25 ± 1.00", "0.020", "+1.25"],
        ["[b]", "25.00 ± 1.00", "0.010", "-0.25"],
    ]
    assert [(row, column) for row, line in enumerate(cells) for column, (_, bold) in enumerate(line) if bold] == [
        (2, 1), (3, 2),
    ]  # fmt: skip
    assert "**26.25** ± 1.00" in as_markdown(TABLE)
    assert "| --- | ---: | ---: | ---: |" in as_markdown(TABLE)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1).map(str.strip).filter(bool))
def test_no_text_breaks_out_of_its_cell_in_markdown(text: str) -> None:
    table = Table(
        title="t", columns=(Column(title="model"), Column(title="n")), rows=(Row((Cell(text), Cell("1"))),)
    )
    _, cells, _ = rendered(as_markdown(table))
    assert [cell for cell, _ in cells[1]] == [text, "1"]


def test_latex_is_of_booktabs_with_the_best_bold() -> None:
    text = as_latex(TABLE)
    lines = [line.strip() for line in text.splitlines()]
    assert lines[1] == "\\begin{table}"
    assert "\\begin{tabular}{lrrr}" in lines
    assert "\\caption{Scores\\_of \\#1}" in lines
    for rule in ("\\toprule", "\\midrule", "\\bottomrule"):
        assert lines.count(rule) == 1
    body = lines[lines.index("\\midrule") + 1 : lines.index("\\bottomrule")]
    assert body[0] == "blurred input & 40.00 & 0.001 &  \\\\"
    assert body[1].endswith("& \\textbf{26.25} $\\pm$ 1.00 & 0.020 & $+$1.25 \\\\")
    assert body[2] == "{}[b] & 25.00 $\\pm$ 1.00 & \\textbf{0.010} & $-$0.25 \\\\"
    assert "it holds for 5\\% of\\_all\\_.\\par" in lines


LATEX_MEANS = {
    "\\textbackslash{}": "\\", "\\textasciitilde{}": "~", "\\textasciicircum{}": "^", "\\textless{}": "<",
    "\\textgreater{}": ">", "\\textbar{}": "|", "$-$": "-", "$+$": "+", "$\\pm$": "±", "{}": "",
    **{f"\\{sign}": sign for sign in "&%$#_{}"},
}  # fmt: skip


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1).map(str.strip).filter(bool))
def test_no_text_is_a_command_in_latex(text: str) -> None:
    """Read back word by word: only what is known to mean one letter stands there, and the letters are the text's."""
    table = Table(title="t", columns=(Column(title="model"),), rows=(Row((Cell(text),)),))
    (cell,) = [
        line for line in as_latex(table).splitlines() if line.endswith(" \\\\") and "model" not in line
    ]
    known = "|".join(map(re.escape, LATEX_MEANS))
    words = re.findall(rf"{known}|.", cell.strip().removesuffix(" \\\\"))
    assert "".join(LATEX_MEANS.get(word, word) for word in words) == text
    assert not {word for word in words if word not in LATEX_MEANS} & set("\\{}$&#%_^~")


def test_a_second_baseline_is_ruled_off_in_latex() -> None:
    twice = Table(title="t", columns=TABLE.columns, rows=TABLE.rows + TABLE.rows)
    assert as_latex(twice).count("\\midrule") == 2


def test_a_row_of_another_length_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="row 0 has 1 cells for 2 columns"):
        Table(title="t", columns=(Column(title="a"), Column(title="b")), rows=(Row((Cell("a"),)),))
