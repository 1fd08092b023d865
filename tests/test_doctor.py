"""`deblur doctor` says what is there, what works and what to do about the rest."""

import hashlib
import json
import platform
from importlib import metadata

import pytest

from deblur_cli import __version__


@pytest.fixture
def healthy(identity):
    """An environment in which the default model has weights."""
    return {**identity.env, "DEBLUR_MODEL": str(identity.weights["identity"])}


def test_everything_in_order_is_code_0_and_a_restored_picture(run, healthy):
    ran = run("doctor", "--json", env=healthy)
    assert ran.code == 0, ran.err
    [report] = ran.json()
    assert report["problems"] == []
    assert report["program"]["deblur"] == __version__
    assert platform.python_version() in report["program"]["python"]
    assert report["libraries"]["torch"] == metadata.version("torch")
    assert "identity" in report["self-test"]["model"]
    assert report["self-test"]["seconds"] > 0
    assert {"cpu", "auto", "memory"} <= report["devices"].keys()
    assert report["plugins"]["deblur_rednet"] == f"deblur-cli {__version__}"


def test_the_text_holds_what_the_json_holds(run, healthy):
    text = run("doctor", env=healthy).out
    for part in (
        "program",
        "libraries",
        "devices",
        "plugins",
        "weights",
        "settings",
        "folders",
        "self-test",
        "no problems found",
    ):
        assert part in text.splitlines()
    assert metadata.version("torch") in text


def test_a_broken_plugin_is_a_problem_with_its_reason(run, healthy, tmp_path):
    (tmp_path / "broken.py").write_text("import nosuchmodule\n")
    ran = run(
        "doctor", "--json", env={**healthy, "DEBLUR_PLUGINS": f"identity_plugin,{tmp_path / 'broken.py'}"}
    )
    assert ran.code == 3
    [problem] = ran.json()[0]["problems"]
    assert "nosuchmodule" in problem
    assert "deblur plugins check" in problem


def test_two_opencvs_are_a_problem(run, healthy, tmp_path):
    installed = {name for name in ("opencv-python", "opencv-python-headless") if _is_installed(name)}
    [other] = {"opencv-python", "opencv-python-headless"} - installed
    folder = tmp_path / f"{other.replace('-', '_')}-5.0.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {other}\nVersion: 5.0.0\n")
    ran = run("doctor", env={**healthy, "PYTHONPATH": f"{healthy['PYTHONPATH']}:{tmp_path}"}, subprocess=True)
    assert ran.code == 3
    assert "overwrite each other's files" in ran.out


def _is_installed(name):
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def test_weights_are_shown_with_their_hash_and_a_damaged_file_is_found(run, healthy, tmp_path, identity):
    package = tmp_path / "weighty"
    package.mkdir()
    content = identity.weights["identity"].read_bytes()
    (package / "good.safetensors").write_bytes(content)
    (package / "bad.safetensors").write_bytes(content[:-1] + b"\x00")
    sha256 = hashlib.sha256(content).hexdigest()
    (package / "__init__.py").write_text(
        "from deblur_cli import Facts, Geometry, Model, Weights, hookimpl\n"
        "@hookimpl\n"
        "def deblur_models():\n"
        "    return [Model(name='weighty', summary='s', source='t', network='weighty.network:N', geometry=Geometry(halo=0),\n"
        "        facts=Facts(parameters=1, kmacs_per_pixel=1), licence='MIT', weights=tuple(\n"
        f"            Weights(tag=tag, file=f'{{tag}}.safetensors', sha256='{sha256}') for tag in ('good', 'bad', 'gone')))]\n"
    )
    env = {
        **healthy,
        "DEBLUR_PLUGINS": "identity_plugin,weighty",
        "PYTHONPATH": f"{healthy['PYTHONPATH']}:{tmp_path}",
    }
    ran = run("doctor", "--json", env=env)
    assert ran.code == 3, ran.out
    [report] = ran.json()
    assert sha256 in report["weights"]["weighty.good"]
    assert "DAMAGED" not in report["weights"]["weighty.good"]
    assert "DAMAGED" in report["weights"]["weighty.bad"]
    assert "not installed" in report["weights"]["weighty.gone"]
    assert len(report["problems"]) == 2


def test_settings_are_shown_with_where_they_come_from(run, healthy, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('device = "cpu"\ndtype = "float32"\n')
    env = {
        **healthy,
        "DEBLUR_CONFIG": str(file),
        "DEBLUR_DTYPE": "auto",
        "DEBLUR_FROBNICATE": "1",
        "DEBLUR_DATA": "/nosuchfolder",
    }
    ran = run("doctor", "--json", env=env)
    settings = ran.json()[0]["settings"]
    assert settings["device"] == f"cpu (from {file})"
    assert settings["dtype"] == "auto (from DEBLUR_DTYPE)"
    assert "means nothing to deblur" in settings["DEBLUR_FROBNICATE"]
    assert ran.json()[0]["problems"] == ["DEBLUR_DATA names /nosuchfolder, which is no folder"]


def test_a_settings_file_that_cannot_be_read_is_one_finding_among_others(run, healthy, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("nonsense")
    ran = run("doctor", "--json", env={**healthy, "DEBLUR_CONFIG": str(file)})
    assert ran.code == 3
    [report] = ran.json()
    assert str(file) in json.dumps(report["problems"])
    assert report["libraries"]["numpy"]


def test_a_model_without_weights_is_a_problem_that_says_what_to_do(run, identity):
    ran = run("doctor", "--json", env={**identity.env, "DEBLUR_MODEL": "identity"})
    assert ran.code == 3
    assert "deblur train" in ran.json()[0]["problems"][0]
