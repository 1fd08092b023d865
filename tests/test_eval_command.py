"""`deblur eval` as users type it, on pairs in real files, with networks whose effect is known."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

Run = Callable[..., object]


@pytest.fixture
def pairs(tmp_path: Path, photo: np.ndarray) -> Path:
    """Three pairs of 48x40 pixels in blur/ and sharp/; the last is identical."""
    rng = np.random.default_rng(1)
    for number, noise in enumerate((12, 4, 0)):
        sharp = photo[8 * number : 8 * number + 40, :48].astype(np.float64)
        blurry = np.clip(np.rint(sharp + rng.normal(0, noise, sharp.shape)), 0, 255)
        for folder, picture in (("blur", blurry), ("sharp", sharp)):
            (tmp_path / "pairs" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.astype(np.uint8)).save(tmp_path / "pairs" / folder / f"{number}.png")
    return tmp_path / "pairs"


def expected_scores(pairs: Path) -> dict[str, tuple[float, float]]:
    """PSNR and SSIM of each blurred picture, by scikit-image from the files."""
    scores = {}
    for path in sorted((pairs / "blur").glob("[01].png")):
        blurry, sharp = (np.asarray(Image.open(p)) / 255 for p in (path, pairs / "sharp" / path.name))
        scores[path.stem] = (
            peak_signal_noise_ratio(sharp, blurry, data_range=1),
            structural_similarity(
                sharp,
                blurry,
                data_range=1,
                channel_axis=-1,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            ),
        )
    return scores


def test_the_identity_scores_as_the_blurred_input_and_both_as_scikit_image_says(run, identity, pairs) -> None:
    ran = run("eval", "-m", identity.weights["identity"], "--data", pairs, "--json", env=identity.env)
    assert ran.code == 0, ran.err
    (found,) = ran.json()
    psnr = [scores[0] for scores in expected_scores(pairs).values()]
    ssim = [scores[1] for scores in expected_scores(pairs).values()]
    assert found["pictures"] == 3
    assert (found["identical_blurry"], found["identical_restored"]) == (1, 1)
    for kind in ("blurry", "restored"):
        assert found[kind]["psnr"] == pytest.approx(np.mean(psnr), abs=1e-4)
        assert found[kind]["ssim"] == pytest.approx((sum(ssim) + 1) / 3, abs=1e-6)
    pooled = -10 * np.log10(sum(10 ** (-value / 10) for value in psnr) / 3)
    assert found["pooled_psnr_blurry"] == pytest.approx(pooled, abs=1e-4)
    assert found["gain"] == {"psnr": 0, "ssim": 0}
    assert found["seconds_per_picture"] > 0


def test_the_record_says_what_its_numbers_hold_for(run, identity, pairs) -> None:
    ran = run(
        "eval",
        "-m",
        identity.weights["identity"],
        "--data",
        pairs,
        "--limit",
        2,
        "--json",
        "--tile",
        16,
        env=identity.env,
    )
    (found,) = ran.json()
    protocol, record = found["protocol"], found["run"]
    assert (protocol["data"], protocol["split"]) == ("pairs", "val")  # where the folder lies decides nothing
    assert (protocol["pairs"], protocol["available"]) == (2, 3)
    assert (protocol["name"], protocol["border_px"], protocol["rounding"]) == ("", 0, "none")
    assert len(protocol["hash"]) == 8
    assert len(found["pairs_sha256"]) == 64
    assert "window 11x11" in found["metrics"]["ssim"]
    assert (record["dtype"], record["device"], record["tile"]) == ("float32", "cpu", "16")
    assert record["tiling"] == "exact"
    assert len(found["weights_sha256"]) == 64
    assert found["pictures"] == 2


def test_an_overlap_that_is_too_small_is_recorded_as_approximate(run, rednet_weights, pairs) -> None:
    words = ("eval", "-m", rednet_weights, "--data", pairs, "--tile", 16, "--json")
    assert run(*words).json()[0]["run"]["tiling"] == "exact"
    assert run(*words, "--overlap", 1).json()[0]["run"]["tiling"] == "approximate"


def test_nothing_is_said_of_tiling_where_no_picture_could_be_read(run, rednet_weights, pairs) -> None:
    for file in pairs.rglob("*.png"):
        file.write_bytes(b"torn")
    ran = run("eval", "-m", rednet_weights, "--data", pairs, "--json")
    assert ran.code == 1
    assert ran.json()[0]["run"]["tiling"] is None


def test_the_precision_asked_for_is_the_one_recorded(run, rednet_weights, pairs) -> None:
    words = ("eval", "-m", rednet_weights, "--data", pairs, "--json")
    exact, reduced = (run(*words, "--dtype", dtype).json()[0] for dtype in ("float32", "bfloat16"))
    assert (exact["run"]["dtype"], reduced["run"]["dtype"]) == ("float32", "bfloat16")
    assert exact["restored"]["psnr"] != reduced["restored"]["psnr"]
    assert exact["restored"]["psnr"] == pytest.approx(reduced["restored"]["psnr"], abs=0.05)


def test_the_table_shows_baseline_gain_and_conditions(run, identity, pairs) -> None:
    ran = run(
        "eval",
        "-m",
        identity.weights["identity"],
        "--data",
        pairs,
        "--metrics",
        "psnr",
        "mae",
        env=identity.env,
    )
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].startswith("pairs#")
    assert lines[1].split()[:4] == ["model", "PSNR", "dB", "gain"]
    assert "MAE" in lines[1]
    assert "SSIM" not in lines[1]
    mean = np.mean([scores[0] for scores in expected_scores(pairs).values()])
    assert lines[2].startswith("blurred input")
    assert f"{mean:.2f}" in lines[2]
    assert lines[3].startswith("identity")
    assert "+0.00" in lines[3]
    for part in ("split val", "all 3 pairs", "border cut 0 px", "float32", "device cpu", "identical"):
        assert part in ran.out


def test_several_models_and_metrics_may_follow_one_option(run, identity, rednet_weights, pairs) -> None:
    ran = run(
        "eval", "-m", identity.weights["identity"], rednet_weights, "--metrics", "psnr,ssim", "mse", "--data", pairs,
        "--json", env=identity.env,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    first, second = ran.json()
    assert first["model"] == "identity (identity.safetensors)"
    assert second["model"] == "rednet30 (tiny.safetensors)"
    assert list(second["gain"]) == ["psnr", "ssim", "mse"]
    assert first["blurry"] == second["blurry"]
    assert second["gain"]["psnr"] != 0


def test_scores_of_every_picture_are_written(run, identity, pairs, tmp_path) -> None:
    lines, table, summary = tmp_path / "each.jsonl", tmp_path / "each.csv", tmp_path / "table.csv"
    words = ("eval", "-m", identity.weights["identity"], "--data", pairs)
    assert run(*words, "--per-image", lines, "--csv", summary, env=identity.env).code == 0
    assert run(*words, "--per-image", table, env=identity.env).code == 0
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    expected = expected_scores(pairs)
    assert [record["name"] for record in records] == ["0", "1", "2"]
    assert records[0]["blurry"]["psnr"] == pytest.approx(expected["0"][0], abs=1e-4)
    assert records[2]["blurry"]["psnr"] is None
    assert records[2]["identical_restored"] is True
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["ssim_restored"]) == pytest.approx(expected["1"][1], abs=1e-6)
    with summary.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["pictures"], row["dtype"]) == ("3", "float32")


def test_a_torn_picture_fails_alone_and_the_exit_code_is_1(run, identity, pairs) -> None:
    (pairs / "blur" / "1.png").write_bytes((pairs / "blur" / "1.png").read_bytes()[:200])
    ran = run("eval", "-m", identity.weights["identity"], "--data", pairs, "--json", env=identity.env)
    assert ran.code == 1
    (found,) = ran.json()
    assert (found["pictures"], found["failed"]) == (2, 1)
    assert found["failures"][0]["name"] == "1"
    assert "1.png" in ran.err


def test_a_torn_picture_is_named_once_for_several_models(run, identity, rednet_weights, pairs) -> None:
    (pairs / "blur" / "0.png").write_bytes(b"no picture")
    ran = run("eval", "-m", identity.weights["identity"], rednet_weights, "--data", pairs, env=identity.env)
    assert ran.code == 1
    assert ran.err.count("0.png") == 1
    assert "identity (identity.safetensors), rednet30 (tiny.safetensors)" in ran.err


def test_a_model_without_weights_ends_it_before_anything_is_measured(run, identity, pairs, tmp_path) -> None:
    scores = tmp_path / "scores.jsonl"
    ran = run(
        "eval",
        "-m",
        identity.weights["slow"],
        "identity",
        "--data",
        pairs,
        "--per-image",
        scores,
        env=identity.env,
    )
    assert ran.code == 4
    assert "no weights" in ran.err
    assert not ran.out
    assert not scores.exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--metrics", "psrn"), 4, "psnr"),
        (("--data", "smaple"), 4, "sample"),
        (("--data", "nowhere/"), 4, "nowhere"),
        (("--per-image", "scores.xlsx"), 2, ".jsonl"),
        (("--protocol", "gopro-ful"), 2, "gopro-full"),
        (("--protocol", "gopro-full", "--split", "val", "--quantise"), 2, "--split, --quantise"),
        (("--protocol", "gopro-full", "cifar10-s0", "--data", "x"), 2, "--data with one protocol"),
        (("--rounding", "up"), 2, "nearest"),
        (("--metrics", "lpips"), 4, "--lpips-weights"),
        (("--limit", "0"), 2, "limit"),
        (("--data", ""), 2, "--data ''"),
        (("--psnr-cap", "inf"), 2, "number of dB"),
        (("--csv", "-", "--json"), 2, "--csv and --json cannot share stdout"),
        (("--csv", "a.txt", "--latex", "./a.txt"), 2, "--csv and --latex name the same file"),
        (("--record", __file__), 1, "where a folder is needed"),
        (("--csv", "nowhere/a.csv"), 1, "its folder does not exist"),
    ],
)
def test_mistakes_are_answered_with_what_to_do(run, identity, words, code, says) -> None:
    ran = run("eval", "-m", identity.weights["identity"], *words, env=identity.env)
    assert ran.code == code, ran.err
    assert says in ran.err


def weights_of(identity, folder: Path, gain: float) -> Path:
    """A file of the identity network that darkens; all have one name."""
    import torch

    from deblur_cli.weights import Header, write_weights

    folder.mkdir()
    path = folder / "best.safetensors"
    write_weights(path, {"gain": torch.full((1,), gain)}, Header(model="identity", licence="MIT"))
    return path


def test_weights_files_of_one_name_are_told_apart(run, identity, pairs, tmp_path) -> None:
    kept, plain, dark = (
        tmp_path / "kept",
        *(weights_of(identity, tmp_path / name, gain) for name, gain in (("plain", 1.0), ("dark", 0.5))),
    )
    words = ("eval", "--data", pairs, "--record", kept, "--json", "--metrics", "mae", "-m")
    first, second = run(*words, plain, dark, env=identity.env).json()
    assert first["gain"]["mae"] == 0
    assert second["gain"]["mae"] > 0.1
    assert (first["model"], second["model"]) == (f"identity ({plain})", f"identity ({dark})")
    assert len(list(kept.iterdir())) == 2
    for path in (plain, dark, plain):  # one by one they have one name, and neither takes the other's record
        assert run(*words, path, env=identity.env).json()[0]["model"] == "identity (best.safetensors)"
    alone = [json.loads(path.read_text())["weights_sha256"] for path in kept.glob("identity-best*")]
    assert sorted(alone) == sorted((first["weights_sha256"], second["weights_sha256"]))


def test_folders_of_one_name_do_not_pass_for_one_another(run, identity, pairs, tmp_path) -> None:
    other, kept = tmp_path / "other" / "pairs", tmp_path / "kept"
    shutil.copytree(pairs, other)
    shutil.copy(other / "sharp" / "0.png", other / "blur" / "0.png")
    words = ("eval", "-m", identity.weights["identity"], "--json", "--record", kept, "--data")
    ran = run(*words, pairs, other, env=identity.env)
    assert ran.code == 2
    assert f"{pairs} and {other} have one name" in ran.err
    one, two = (run(*words, folder, env=identity.env).json()[0] for folder in (pairs, other))
    assert one["protocol"]["hash"] == two["protocol"]["hash"]
    found = sorted(json.loads(path.read_text())["pairs_sha256"] for path in kept.iterdir())
    assert found == sorted((one["pairs_sha256"], two["pairs_sha256"]))
    assert len(run(*words, pairs, f"{pairs}/", env=identity.env).json()) == 1
    assert len(list(kept.iterdir())) == 2


def test_a_record_of_a_long_name_can_be_written(run, identity, pairs, tmp_path) -> None:
    long = tmp_path / f"{'n' * 230}.safetensors"
    shutil.copy(identity.weights["identity"], long)
    ran = run("eval", "-m", long, "--data", pairs, "--record", tmp_path / "kept", env=identity.env)
    assert ran.code == 0, ran.err
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_a_record_with_failures_gives_way_to_the_next(run, identity, pairs, tmp_path) -> None:
    kept, picture = tmp_path / "kept", pairs / "blur" / "0.png"
    words = ("eval", "-m", identity.weights["identity"], "--data", pairs, "--record", kept)
    whole = picture.read_bytes()
    picture.write_bytes(b"torn")
    assert run(*words, env=identity.env).code == 1
    picture.write_bytes(whole)
    assert run(*words, env=identity.env).code == 0
    (path,) = kept.iterdir()
    assert json.loads(path.read_text())["failed"] == 0


def test_a_model_that_is_named_twice_is_measured_once(run, identity, pairs) -> None:
    weights = identity.weights["identity"]
    other = weights.parent / ".." / weights.parent.name / weights.name
    assert len(run("eval", "-m", weights, other, "--data", pairs, "--json", env=identity.env).json()) == 1


def test_what_cannot_be_written_is_found_out_before_anything_is_measured(
    run, identity, pairs, tmp_path
) -> None:
    started = tmp_path / "started"
    env = {**identity.env, "SLOW_STARTED": str(started)}
    (tmp_path / "folder.csv").mkdir()
    ran = run(
        "eval", "-m", identity.weights["slow"], "--data", pairs, "--csv", tmp_path / "folder.csv", env=env
    )
    assert ran.code == 2
    assert "it is a folder" in ran.err
    assert not started.exists()


def test_least_gain_is_in_the_metric_that_it_names(run, identity, tmp_path, photo) -> None:
    for number in range(5):
        sharp = photo[8 * number : 8 * number + 40, :48]
        for folder, picture in (("blur", sharp // (2 + number)), ("sharp", sharp)):
            (tmp_path / "five" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(tmp_path / "five" / folder / f"{number}.png")
    words = ("eval", "-m", identity.weights["identity"], "--data", tmp_path / "five")
    assert (
        "least gain, identity (identity.safetensors), PSNR: "
        in run(*words, "--metrics", "blur", "psnr", env=identity.env).out
    )
    ran = run(*words, "--metrics", "ms-ssim", env=identity.env)
    assert ran.code == 1
    assert ran.err.count("161x161") == 1  # what fails alike is said once
    assert "0, 1, 2 and 2 more (identity (identity.safetensors)): ms-ssim needs" in ran.err


def test_without_data_the_sample_set_is_measured(run, identity) -> None:
    ran = run(
        "eval",
        "-m",
        identity.weights["identity"],
        "--metrics",
        "psnr",
        "ssim",
        "--limit",
        2,
        "--json",
        env=identity.env,
    )
    assert ran.code == 0, ran.err
    (found,) = ran.json()
    assert found["protocol"]["data"] == "sample"
    assert found["pictures"] == 2
    assert 10 < found["blurry"]["psnr"] < 45
    assert 0.2 < found["blurry"]["ssim"] < 0.99


@pytest.mark.realdata
def test_the_baseline_of_real_pairs_is_the_one_measured_elsewhere(run, identity) -> None:
    # reds_x4/val: 25.51 dB and 0.7966, by scikit-image on the files
    ran = run("eval", "-m", identity.weights["identity"], "--data", "reds_x4", "--json", env=identity.env)
    assert ran.code == 0, ran.err
    (found,) = ran.json()
    assert found["pictures"] == 3
    assert found["blurry"]["psnr"] == pytest.approx(25.51, abs=0.005)
    assert found["blurry"]["ssim"] == pytest.approx(0.7966, abs=0.00005)


@pytest.fixture
def gopro(tmp_path: Path, photo: np.ndarray) -> Path:
    """A data root with two GoPro test pairs of 320x180."""
    rng = np.random.default_rng(2)
    picture = np.asarray(Image.fromarray(photo).resize((320, 180), Image.Resampling.BICUBIC)).astype(float)
    for number in (1, 2):
        for kind, noise in (("sharp", 0), ("blur", 5 * number)):
            path = tmp_path / "root" / "gopro" / "test" / "GOPR01" / kind / f"00000{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noisy = np.clip(np.rint(picture + rng.normal(0, noise, picture.shape)), 0, 255)
            Image.fromarray(noisy.astype(np.uint8)).save(path)
    return tmp_path / "root"


def test_a_protocol_prepares_measures_and_names_itself(run, identity, gopro) -> None:
    ran = run(
        "eval", "--protocol", "gopro-256-nearest", "gopro-256-crop", "gopro-full", "-m", identity.weights["identity"], "--json",
        env={**identity.env, "DEBLUR_DATA": str(gopro)},
    )  # fmt: skip
    assert ran.code == 1, ran.err
    squeezed, centre, whole = ran.json()

    def prepared(path: Path, name: str) -> np.ndarray:
        picture = Image.open(path)
        if name == "gopro-256-nearest":
            picture = picture.resize((256, 256), Image.Resampling.NEAREST)
        return np.asarray(picture) / 255

    for found, name in ((squeezed, "gopro-256-nearest"), (whole, "gopro-full")):
        assert found["protocol"]["name"] == name
        assert found["protocol"]["expected"] == 1111
        blurry, sharp = (
            [prepared(path, name) for path in sorted(gopro.rglob(f"{kind}/*.png"))]
            for kind in ("blur", "sharp")
        )
        scores = [peak_signal_noise_ratio(s, b, data_range=1) for s, b in zip(sharp, blurry, strict=True)]
        assert found["restored"]["psnr"] == pytest.approx(np.mean(scores), abs=1e-4)
        assert set(found["restored"]) == {"psnr", "ssim", "mse", "mae"}
    assert (centre["pictures"], centre["failed"]) == (0, 2)  # 320x180 has no 256x256
    assert ran.err.count("measures the 256x256 pixels at its centre") == 1  # said once of both


def test_two_runs_give_the_same_digits_with_any_number_of_threads_and_near_ones_in_other_tiles(
    run, rednet_weights, gopro
) -> None:
    words = ("eval", "--protocol", "gopro-full", "-m", rednet_weights, "--json")
    env = {"DEBLUR_DATA": str(gopro)}
    whole, again, tiled = (
        run(*words, *more, env=env).json()[0] for more in ((), ("--workers", 3), ("--tile", 64))
    )
    measured = (
        "protocol",
        "blurry",
        "restored",
        "gain",
        "std",
        "std_blurry",
        "pooled_psnr_restored",
        "pairs_sha256",
        "worst",
    )
    assert {name: whole[name] for name in measured} == {name: again[name] for name in measured}
    assert tiled["protocol"]["hash"] == whole["protocol"]["hash"]
    assert tiled["restored"]["psnr"] == pytest.approx(whole["restored"]["psnr"], abs=1e-3)
    assert tiled["restored"]["ssim"] == pytest.approx(whole["restored"]["ssim"], abs=1e-5)


def test_a_network_of_one_size_is_measured_in_pieces_of_that_size(rednet_weights, pairs) -> None:
    from torch import nn

    from deblur_cli.evaluation.protocols import Protocol
    from deblur_cli.evaluation.session import Contender, measure, open_task
    from deblur_cli.host.declarations import Geometry
    from deblur_cli.host.manager import Host
    from deblur_cli.restore.restorer import Restorer
    from deblur_cli.weights import resolve

    host = Host.discover(environ={})
    source = resolve(host, str(rednet_weights))
    fixed = replace(source.model, geometry=Geometry(halo=None, fixed_size=16))
    restorer = Restorer(nn.Conv2d(3, 3, 1), model=fixed, device="cpu", dtype="float32")
    task = open_task(host, Protocol(data="", split="val", pieces=(16, 16)), data=str(pairs))
    (record,) = measure(task, [Contender(source=source, restorer=restorer, settings={})]).records
    assert (record["pictures"], record["failed"]) == (3, 0)
    assert record["run"]["tiling"] == "exact"


def test_a_model_that_fails_is_counted_and_the_others_go_on(run, identity, pairs) -> None:
    ran = run(
        "eval", "-m", identity.weights["failing"], identity.weights["identity"], "--data", pairs, "--json", env=identity.env
    )  # fmt: skip
    assert ran.code == 1
    failing, whole = ran.json()
    assert (failing["pictures"], failing["failed"], failing["restored"]["psnr"]) == (0, 3, None)
    assert (whole["pictures"], whole["failed"]) == (3, 0)
    assert "RuntimeError: this network always fails" in ran.err


def test_several_data_sets_give_a_table_each(run, identity, pairs, gopro) -> None:
    words = (
        "eval",
        "-m",
        identity.weights["identity"],
        "--data",
        pairs,
        "gopro",
        "--metrics",
        "psnr",
        "blur",
    )
    env = {**identity.env, "DEBLUR_DATA": str(gopro)}
    lines = run(*words, env=env).out.splitlines()
    assert [line.partition("#")[0] for line in lines if "#" in line and " " not in line] == ["pairs", "gopro"]
    first, second = run(*words, "--json", env=env).json()
    assert first["protocol"]["hash"] != second["protocol"]["hash"]
    assert 0 < second["blurry"]["blur"] < 1


def test_choices_of_ones_own_are_said_and_change_the_hash(run, identity, pairs) -> None:
    words = ("eval", "-m", identity.weights["identity"], "--data", pairs, "--json")
    plain, rounded, bordered, capped = (
        run(*words, *more, env=identity.env).json()[0]
        for more in ((), ("--quantise",), ("--border", 4), ("--psnr-cap", 100))
    )
    assert len({found["protocol"]["hash"] for found in (plain, rounded, bordered, capped)}) == 4
    assert "rounded to 8 bit" in rounded["protocol"]["text"]
    assert "border cut 4 px" in bordered["protocol"]["text"]
    psnr = [scores[0] for scores in expected_scores(pairs).values()]
    assert capped["restored"]["psnr"] == pytest.approx((sum(psnr) + 100) / 3, abs=1e-4)
    assert capped["identical_restored"] == 1


def test_what_else_changes_the_result_is_part_of_the_models_name(run, identity, pairs) -> None:
    words = ("eval", "-m", identity.weights["identity"], "--data", pairs, "--json")
    labels = [
        run(*words, *more, env=identity.env).json()[0]["model"]
        for more in ((), ("--strength", 0.5, "--dtype", "bfloat16"), ("--tile", 16))
    ]
    name = "identity (identity.safetensors)"
    assert labels == [name, f"{name}, bfloat16, strength 0.5", name]


def test_tables_and_records_are_written_where_they_are_wanted(run, identity, pairs, tmp_path) -> None:
    words = ("eval", "-m", identity.weights["identity"], "--data", pairs)
    ran = run(
        *words, "--markdown", tmp_path / "t.md", "--latex", tmp_path / "t.tex", "--record", tmp_path / "kept", "--json",
        env=identity.env,
    )  # fmt: skip
    (found,) = ran.json()
    (path,) = (tmp_path / "kept").iterdir()
    assert path.name == f"identity-identity.safetensors.pairs-val.{found['protocol']['hash']}.json"
    assert json.loads(path.read_text()) == found
    assert f"### pairs#{found['protocol']['hash']}" in (tmp_path / "t.md").read_text()
    assert "\\begin{tabular}" in (tmp_path / "t.tex").read_text()
    on_stdout = run(*words, "--markdown", "-", env=identity.env)
    assert on_stdout.out.startswith("### pairs#")
    rows = list(csv.DictReader(run(*words, "--csv", "-", env=identity.env).out.splitlines()))
    assert [row["protocol_hash"] for row in rows] == [found["protocol"]["hash"]]
    assert float(rows[0]["ssim_restored"]) == pytest.approx(found["restored"]["ssim"])


def test_protocols_are_listed(run) -> None:
    assert "gopro-full" in run("eval", "--list-protocols").out
    listed = {item["name"]: item for item in run("eval", "--list-protocols", "--json").json()}
    assert listed["reds-s0-512"]["pieces"] == [128, 96]


def test_an_interrupted_evaluation_goes_on_where_it_stopped(run, identity, pairs, tmp_path) -> None:
    started = tmp_path / "started"
    env = {
        **os.environ,
        **identity.env,
        "DEBLUR_CACHE": str(tmp_path / "cache"),
        "SLOW_STARTED": str(started),
    }
    words = [
        "eval",
        "-m",
        str(identity.weights["slow"]),
        "--data",
        str(pairs),
        "--tile",
        "16",
        "--json",
    ]  # 9 tiles of 0.2 s
    process = subprocess.Popen(
        [sys.executable, "-m", "deblur_cli", *words],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    kept = tmp_path / "cache" / "evaluations"
    while process.poll() is None and not list(kept.glob("*.jsonl")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    assert "the same command goes on from there" in err
    (ledger,) = kept.iterdir()
    done = len(ledger.read_text().splitlines())
    assert done in (1, 2)

    other = {name: env[name] for name in ("DEBLUR_CACHE", *identity.env)}
    again = run(*words, env=other)
    assert again.code == 0, again.err
    assert f"going on from {done} {'picture' if done == 1 else 'pictures'} that" in again.err
    assert not list(kept.iterdir())
    fresh = run(*words, env=other)
    assert "going on" not in fresh.err
    assert again.json()[0]["restored"] == fresh.json()[0]["restored"]
    assert again.json()[0]["pairs_sha256"] == fresh.json()[0]["pairs_sha256"]


def test_an_interruption_loses_nothing_of_the_data_sets_before(run, identity, pairs, tmp_path) -> None:
    second = tmp_path / "second"
    shutil.copytree(pairs, second)
    env = {**os.environ, **identity.env, "DEBLUR_CACHE": str(tmp_path / "cache")}
    words = ["eval", "-m", str(identity.weights["slow"]), "--data", str(pairs), str(second), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "deblur_cli", *words], env=env, stderr=subprocess.PIPE, text=True
    )
    kept = tmp_path / "cache" / "evaluations"
    while process.poll() is None and len(list(kept.glob("*.jsonl"))) < 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    again = run(*words, env={name: env[name] for name in ("DEBLUR_CACHE", *identity.env)})
    assert "going on from 3 pictures" in again.err
    assert [found["pictures"] for found in again.json()] == [3, 3]
    assert not list(kept.iterdir())
