"""`-m fast` and `-m best`: which weights they stand for follows from records, and every command knows them."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from deblur_cli.errors import UsageError
from deblur_cli.evaluation.results import newest, read_records
from deblur_cli.evaluation.winners import winners
from deblur_cli.host.inspection import released_path
from deblur_cli.host.inspection import winners as aliases
from deblur_cli.host.manager import Host
from deblur_cli.weights import file_sha256

WEIGHTS = Path(__file__).parents[1] / "weights"


def record(name: str, protocol: str, gain: float | None, seconds: float) -> dict[str, Any]:
    network, tag = name.split(".")
    return {
        "model": f"{name}, bfloat16", "network": network, "tag": tag, "weights_sha256": f"hash of {name}",
        "protocol": {"name": protocol, "hash": "01234567", "data": protocol}, "gain": {"psnr": gain},
        "seconds_per_picture": seconds,
    }  # fmt: skip


def table(rows: Iterable[tuple[str, float, float, float]]) -> list[dict[str, Any]]:
    """name, seconds, gain under one protocol, gain under another"""
    return [
        record(name, protocol, gain, seconds)
        for name, seconds, *gains in rows
        for protocol, gain in zip(("one", "other"), gains, strict=True)
    ]


SLOW = ("slow.photo", 9.0, 2.0, 1.0)
QUICK = ("quick.photo", 1.0, 0.5, 0.1)
BETTER = ("better.photo", 1.9, 0.9, 0.3)


def test_best_gains_most_and_fast_gains_most_of_the_quick_ones() -> None:
    found = winners(table([QUICK, SLOW, BETTER]))
    assert found["best"] == {
        "weights": "slow.photo", "sha256": "hash of slow.photo", "mean_gain_db": 1.5, "seconds_per_picture": 9.0,
    }  # fmt: skip
    assert found["fast"]["weights"] == "better.photo"
    assert found["fast"]["mean_gain_db"] == pytest.approx(0.6)
    too_slow = ("better.photo", 2.1, 0.9, 0.3)
    assert winners(table([QUICK, SLOW, too_slow]))["fast"]["weights"] == "quick.photo"


def test_only_what_weights_do_by_themselves_counts() -> None:
    helped = [
        {**item, "model": "quick.photo, self-ensemble", "gain": {"psnr": 9.0}} for item in table([QUICK])
    ]
    assert winners([*table([QUICK, SLOW]), *helped]) == winners(table([QUICK, SLOW]))


def test_a_protocol_of_sharp_pictures_decides_nothing() -> None:
    sharp = [record(name, "sharp", None, 1.0) for name in ("quick.photo", "slow.photo")]
    assert winners([*table([QUICK, SLOW]), *sharp])["best"]["mean_gain_db"] == 1.5


def test_weights_that_lack_a_protocol_are_not_compared() -> None:
    with pytest.raises(UsageError, match=r"slow.photo has not been measured under other#01234567, as others"):
        winners([*table([QUICK]), record("slow.photo", "one", 9.0, 1.0)])
    with pytest.raises(UsageError, match="deblur eval --record"):
        winners([])


def test_records_of_an_earlier_release_are_not_mixed_in() -> None:
    earlier = [{**item, "weights_sha256": "another"} for item in table([QUICK])]
    with pytest.raises(UsageError, match=r"two different weights quick\.photo; remove"):
        winners([*table([QUICK, SLOW]), *earlier])


def test_the_winners_are_those_of_the_records_that_are_kept() -> None:
    """Recomputed from weights/records; so records, winners and released files belong together."""
    found, unusable = read_records([WEIGHTS / "records"])
    assert not unusable
    records, _ = newest(found)
    kept = json.loads((WEIGHTS / "winners.json").read_text())
    assert kept == winners(records)
    host = Host.discover(environ={})
    released = {
        f"{model.name}.{item.tag}": file_sha256(path)
        for model in host.models.values()
        for item in model.weights
        if (path := released_path(model, item))
    }
    measured = {f"{item['network']}.{item['tag']}": item["weights_sha256"] for item in records}
    assert measured == {name: sha256 for name, sha256 in released.items() if name.endswith(".photo")}
    assert f"{host.default_model()}.photo" == aliases()["fast"]


def test_the_tables_in_the_documents_are_made_of_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(WEIGHTS.parent / "docs"))
    photo_scores = import_module("photo_scores")
    for path, text in photo_scores.pages():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is old: make docs"
    kept = {(item["model"], item["protocol"]["name"]): item for item in photo_scores.records()}
    gain = kept[aliases()["best"], "gopro-full"]["gain"]["psnr"]
    assert f"| {gain:+.2f} / " in (WEIGHTS.parent / "README.md").read_text(encoding="utf-8")


def test_the_module_writes_what_it_finds(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "deblur_cli.evaluation.winners",
        WEIGHTS / "records",
        "-o",
        tmp_path / "won.json",
    ]
    subprocess.run(words, check=True)
    assert (tmp_path / "won.json").read_bytes() == (WEIGHTS / "winners.json").read_bytes()


def test_an_alias_names_weights_wherever_a_model_is_named(
    run: Callable[..., Any], photo_file: Path, tmp_path: Path
) -> None:
    best = aliases()["best"]
    for name, out in (("best", "alias.png"), (best, "name.png")):
        ran = run(photo_file, "-m", name, "-o", tmp_path / out, "--device", "cpu")
        assert ran.code == 0, ran.err
    assert (tmp_path / "alias.png").read_bytes() == (tmp_path / "name.png").read_bytes()
    listed = run("models", "--json").json()
    assert [f"{item['name']}.{part['tag']}" for item in listed for part in item["weights"] if "best" in part["aliases"]] == [best]  # fmt: skip
    assert f"-m best is {best}" in run("models").err
    assert run("models", "show", "best").out == run("models", "show", best.partition(".")[0]).out
    assert "name.tag, fast, best" in " ".join(run("deblur", "--help").out.replace("│", " ").split())
