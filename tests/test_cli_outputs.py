"""Where results go is decided, and contradictions are found, before anything is restored."""

import os
from pathlib import Path

import pytest

from deblur_cli.cli.outputs import Input, Naming, parse_shard, plan_jobs
from deblur_cli.errors import UsageError


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def named(*names):
    return [Input(path=Path(name), relative=Path(Path(name).name), named=True) for name in names]


def found(folder, *names):
    return [Input(path=Path(folder, name), relative=Path(name), named=False) for name in names]


STDIN = Input(path=None, relative=Path("-"), named=True)


def targets(inputs, **naming):
    jobs, left_out = plan_jobs(inputs, Naming(**naming))
    assert not left_out
    return [job.target.as_posix() if job.target else None for job in jobs]


def touch(*names):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


@pytest.mark.parametrize(
    ("inputs", "naming", "expected"),
    [
        (named("a/b.jpg"), {}, ["a/b.deblurred.jpg"]),
        (named("a/b.c.JPG"), {}, ["a/b.c.deblurred.JPG"]),
        (named("a/b.jpg"), {"suffix": "_x"}, ["a/b_x.jpg"]),
        (named("a/b.jpg"), {"format": "png"}, ["a/b.deblurred.png"]),
        (named("a/b.jpg"), {"format": "png", "suffix": ""}, ["a/b.png"]),
        (named("a/b.jpg"), {"output": "c.png"}, ["c.png"]),
        (named("a/b.jpg"), {"output": "out/"}, ["out/b.jpg"]),
        (named("a/b.jpg"), {"output": "out/", "suffix": ".x"}, ["out/b.x.jpg"]),
        (named("a/b.jpg", "c/d.png"), {"output": "out"}, ["out/b.jpg", "out/d.png"]),
        (found("a", "b.jpg"), {"output": "out"}, ["out/b.jpg"]),
        (found("a", "b.jpg", "deep/er/b.jpg"), {"output": "out/"}, ["out/b.jpg", "out/deep/er/b.jpg"]),
        (named("a/b.jpg"), {"output": "-"}, [None]),
        ([STDIN], {}, [None]),
        ([STDIN], {"output": "c.png"}, ["c.png"]),
        (named("a/b.jpg", "a/b.jpg", "a/../a/b.jpg"), {}, ["a/b.deblurred.jpg"]),
    ],
)
def test_every_output_has_the_name_that_the_options_say(inputs, naming, expected):
    assert targets(inputs, **naming) == expected


def test_an_existing_folder_needs_no_slash():
    Path("out").mkdir()
    assert targets(named("a.jpg"), output="out") == ["out/a.jpg"]


@pytest.mark.parametrize(
    ("inputs", "naming", "hint"),
    [
        (named("a.png", "a.jpg"), {"format": "png"}, "would both be written to a.deblurred.png"),
        (named("x/a.png", "y/a.png"), {"output": "out/"}, "would both be written to out/a.png"),
        (named("a.png", "b.png"), {"output": "c.png"}, "there are several pictures"),
        (named("a.png", "b.png"), {"output": "-"}, "-o - takes one picture, got 2"),
        (named("a.png"), {"output": "out"}, "is it a file or a folder?"),
        (named("a.png"), {"suffix": ""}, "would be replaced by its own result"),
        (named("a.png"), {"output": "./a.png"}, "would be replaced by its own result"),
        (named("x/a.png", "out/b.png", "y/b.png"), {"output": "out"}, "would be replaced"),
        ([STDIN], {"output": "out/"}, "the picture from stdin has no name"),
    ],
)
def test_what_contradicts_itself_is_refused(inputs, naming, hint):
    with pytest.raises(UsageError, match=hint.replace("?", r"\?")):
        plan_jobs(inputs, Naming(**naming))


def test_an_input_that_another_result_would_replace_is_refused():
    touch("x/a.png", "out/a.png")
    with pytest.raises(UsageError, match=r"out/a.png"):
        plan_jobs(named("x/a.png", "out/a.png"), Naming(output="out/"))


def test_results_of_an_earlier_run_are_left_out():
    touch("a/b.jpg", "a/b.deblurred.jpg", "a/out/b.jpg")
    jobs, left_out = plan_jobs(named("a/b.jpg", "a/b.deblurred.jpg"), Naming())
    assert ([job.output for job in jobs], [item.name for item in left_out]) == (
        ["a/b.deblurred.jpg"],
        ["a/b.deblurred.jpg"],
    )
    jobs, left_out = plan_jobs(found("a", "b.jpg", "out/b.jpg"), Naming(output="a/out"))
    assert ([job.output for job in jobs], [item.name for item in left_out]) == (
        ["a/out/b.jpg"],
        ["a/out/b.jpg"],
    )


def test_a_link_to_another_folder_does_not_hide_a_collision():
    Path("real").mkdir()
    os.symlink("real", "link")
    with pytest.raises(UsageError, match="would both be written"):
        plan_jobs(named("real/a.png", "link/a.jpg"), Naming(format="png"))


def test_shards_are_counted_from_one():
    assert parse_shard("1/4") == (1, 4)
    assert parse_shard("4/4") == (4, 4)


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", "1/4/2", ""])
def test_a_shard_that_does_not_exist_is_refused(text):
    with pytest.raises(UsageError, match="give I/N with I from 1 to N"):
        parse_shard(text)
