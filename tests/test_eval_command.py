"""`deblur eval` as users type it, on pairs in real files, with networks whose effect is known."""

import csv
import json
from collections.abc import Callable
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
    conditions, record = found["conditions"], found["run"]
    assert (conditions["data"], conditions["split"], conditions["pairs"], conditions["limit"]) == (
        str(pairs),
        "val",
        3,
        2,
    )
    assert conditions["border_px"] == 0
    assert len(conditions["pairs_sha256"]) == 64
    assert "window 11x11" in conditions["metrics"]["ssim"]
    assert (record["dtype"], record["device"], record["tile"]) == ("float32", "cpu", "16")
    assert record["tiling"] == "exact"
    assert len(record["weights_sha256"]) == 64
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
    assert lines[0].split()[:4] == ["model", "PSNR", "dB", "gain"]
    assert "MAE" in lines[0]
    assert "SSIM" not in lines[0]
    mean = np.mean([scores[0] for scores in expected_scores(pairs).values()])
    assert lines[1].startswith("blurred input")
    assert f"{mean:.2f}" in lines[1]
    assert lines[2].startswith("identity")
    assert "+0.00" in lines[2]
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
        (("--csv", "table.txt"), 2, ".csv"),
        (("--limit", "0"), 2, "limit"),
    ],
)
def test_mistakes_are_answered_with_what_to_do(run, identity, words, code, says) -> None:
    ran = run("eval", "-m", identity.weights["identity"], *words, env=identity.env)
    assert ran.code == code, ran.err
    assert says in ran.err


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
    assert found["conditions"]["data"] == "sample"
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
