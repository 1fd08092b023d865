"""The commands `models` and `plugins`, and a plugin of one's own from the first line to the installed package."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from deblur_cli.host.inspection import winners

COLUMNS = 80


def test_models_lists_every_model_within_80_columns(run) -> None:
    listed = run("models")
    assert listed.code == 0
    assert "rednet30" in listed.out
    assert "1.08M" in listed.out
    assert all(len(line) <= COLUMNS for line in listed.out.splitlines())
    assert listed.err.splitlines() == [f"-m {alias} is {weights}" for alias, weights in winners().items()]


def test_models_as_json_holds_what_a_machine_needs(run) -> None:
    found = {item["name"]: item for item in run("models", "--json").json()}["rednet30"]
    expected = {
        "plugin": "deblur_rednet", "distribution": "deblur-cli", "parameters": 1_076_739, "macs_per_pixel": 1_071_000,
        "multiple_of": 1, "halo": 30, "tiling": "exact", "license": "MIT", "problems": [],
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected
    for weights in found["weights"]:
        assert {"tag", "licence", "present"} <= set(weights)
        assert weights["present"]
        assert weights["licence"]


def test_models_imports_nothing_heavy() -> None:
    code = (
        "import sys; from deblur_cli.cli.app import main; main(['models']);"
        "print('heavy:', *sorted({'torch', 'numpy', 'cv2', 'PIL', 'skimage'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "rednet30" in done.stdout
    assert done.stdout.splitlines()[-1] == "heavy:"


def test_models_show_tells_all_about_one(run) -> None:
    shown = run("models", "show", "rednet30")
    assert shown.code == 0
    for word in ("1,076,739", "30 px", "exact", "depth", "one of 2, 5, 10, 15", "recipe", "report", "MIT"):
        assert word in shown.out
    (facts,) = run("models", "show", "rednet30", "--json").json()
    assert facts["recipes"]["report"]["loss"] == {"logcosh": {"weight": 1.0, "scales": "finest"}}
    misspelt = run("models", "show", "rednet3")
    assert misspelt.code == 4
    assert "did you mean rednet30" in misspelt.err


def test_plugins_lists_what_each_brings(run) -> None:
    assert run("plugins").code == 0
    found = {item["plugin"]: item for item in run("plugins", "--json").json()}
    assert found["deblur_rednet"]["models"] == ["rednet30", "rednet30wgan"]
    assert "psnr" in found["metrics"]["metrics"]
    assert all(len(line) <= COLUMNS for line in run("plugins").out.splitlines())
    left_out = run("plugins", "--json", env={"DEBLUR_PLUGINS_DISABLE": "deblur_rednet"}).json()
    assert {"plugin": "deblur_rednet", "state": "disabled"} in left_out


def test_a_sound_plugin_passes_its_check(run) -> None:
    checked = run("plugins", "check", "losses")
    assert checked.code == 0
    assert checked.out.strip() == "losses: everything holds (6 losses)"
    assert run("plugins", "check", "lossses").code == 4
    assert run("plugins", "check", "losses", env={"DEBLUR_PLUGINS_DISABLE": "losses"}).code == 4


def test_a_plugin_that_imports_torch_at_once_is_told_so(run, tmp_path: Path) -> None:
    (tmp_path / "heavy_plugin.py").write_text("import numpy\n")
    checked = run(
        "plugins", "check", "heavy_plugin", env={"DEBLUR_PLUGINS": str(tmp_path / "heavy_plugin.py")}
    )
    sys.modules.pop("heavy_plugin", None)
    assert checked.code == 3
    assert "imports numpy" in checked.out


@pytest.mark.parametrize("name", ["", "Motion", "../up", "my plugin", "3d", "a--b", "cli", "deblur-cli"])
def test_a_name_that_cannot_be_a_package_is_refused(name: str, run, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    refused = run("plugins", "new", name)
    assert refused.code == 2
    assert set(tmp_path.iterdir()) == before


def test_a_new_plugin_never_replaces_a_folder(run, tmp_path: Path) -> None:
    assert run("plugins", "new", "motion").code == 0
    (tmp_path / "deblur-motion" / "README.md").write_text("mine")
    again = run("plugins", "new", "deblur-motion")
    assert again.code == 2
    assert "is there already" in again.err
    assert (tmp_path / "deblur-motion" / "README.md").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if "motion" in path.name] == ["deblur-motion"]


@pytest.mark.slow
def test_a_new_plugin_keeps_the_contract_before_it_is_installed(run, tmp_path: Path) -> None:
    written = run("plugins", "new", "fast-unet", "-o", tmp_path / "projects", "--json")
    folder = tmp_path / "projects" / "deblur-fast-unet"
    assert written.json() == [{"folder": str(folder), "package": "deblur_fast_unet", "model": "fast-unet"}]
    env = {"DEBLUR_PLUGINS": str(folder / "deblur_fast_unet")}
    checked = run("plugins", "check", "deblur_fast_unet", env=env, subprocess=True)
    assert checked.code == 0, checked.out
    assert "everything holds (1 model)" in checked.out
    ruff = Path(sys.executable).with_name("ruff")
    linted = subprocess.run(
        [
            ruff,
            "check",
            "--isolated",
            "--select=E,F,W,I,B,UP,RUF",
            "--line-length=120",
            "--target-version=py311",
            ".",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert linted.returncode == 0, linted.stdout


@pytest.mark.slow
def test_a_new_plugin_installs_passes_its_tests_and_restores_like_ours(
    run, tmp_path: Path, photo_file: Path
) -> None:
    """In an environment of its own that sees this one's packages; no network is needed."""
    assert run("plugins", "new", "motion").code == 0
    project = tmp_path / "deblur-motion"
    python = _environment(tmp_path / "venv")
    _call(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", str(project))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    listed = _call(python, "-m", "deblur_cli", "models", "--json", cwd=elsewhere)
    assert '"distribution": "deblur-motion"' in listed
    assert '"rednet30"' in listed
    tested = _call(
        python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(project / "tests"), cwd=project
    )
    assert "13 passed" in tested

    make_weights = (
        "import sys; from pathlib import Path; from deblur_motion import MODELS;"
        "from deblur_cli.weights import Header, write_weights;"
        "write_weights(Path(sys.argv[1]), MODELS[0].build().state_dict(), Header(model='motion', licence='MIT'))"
    )
    weights = elsewhere / "motion.safetensors"
    _call(python, "-c", make_weights, str(weights), cwd=elsewhere)
    restored = elsewhere / "restored.png"
    _call(python, "-m", "deblur_cli", str(photo_file), "-m", "motion", "--weights", str(weights), "--dtype", "float32", "-o", str(restored), cwd=elsewhere)  # fmt: skip
    from PIL import Image, ImageChops

    # its last convolution starts at zero, so the fresh network returns the picture itself
    with Image.open(photo_file) as before, Image.open(restored) as after:
        assert ImageChops.difference(before, after).getbbox() is None


def _environment(folder: Path) -> Path:
    """A fresh virtual environment with pip that sees the packages of this one; gives its python."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = Path(_call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    here = sysconfig.get_path("purelib")
    # addsitedir: .pth files there count too, such as that of an editable install
    (site / "borrowed.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    return python


def _call(*words: object, cwd: Path | None = None) -> str:
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, cwd=cwd, env=env, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
