"""Plugins that are broken in many ways: each is set aside and explained, and everything else goes on."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deblur_cli.errors import MissingError
from deblur_cli.host.failures import Stage
from deblur_cli.host.manager import Host

HEAD = """
from deblur_cli import Facts, Geometry, Model, hookimpl

def model(**changes):
    said = dict(
        name="wanted", summary="a test", source="this test", network="json:loads", geometry=Geometry(halo=0),
        facts=Facts(parameters=1, kmacs_per_pixel=1.0), licence="MIT",
    )
    return Model(**(said | changes))
"""


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A way to be broken. says : what the explanation must hold."""

    code: str
    stage: Stage
    says: str


BROKEN = {
    "import_error": Broken(
        code="import no_such_module_at_all", stage=Stage.IMPORT, says="no_such_module_at_all"
    ),
    "syntax_error": Broken(code="def (:", stage=Stage.IMPORT, says="SyntaxError"),
    "raises_on_import": Broken(code="1 / 0", stage=Stage.IMPORT, says="ZeroDivisionError"),
    "exits_on_import": Broken(code="import sys\nsys.exit(7)", stage=Stage.IMPORT, says="sys.exit(7)"),
    "needs_newer_host": Broken(
        code="from deblur_cli import NotWrittenYet",
        stage=Stage.IMPORT,
        says="pip install --upgrade deblur-cli",
    ),
    "exits_in_hook": Broken(
        code=HEAD + "@hookimpl\ndef deblur_models():\n    raise SystemExit",
        stage=Stage.CALL,
        says="sys.exit()",
    ),
    "raises_in_hook": Broken(
        code=HEAD + "@hookimpl\ndef deblur_models():\n    return {}['nothing']",
        stage=Stage.CALL,
        says="KeyError",
    ),
    "returns_none": Broken(
        code=HEAD + "@hookimpl\ndef deblur_models():\n    pass", stage=Stage.CALL, says="not None"
    ),
    "returns_text": Broken(
        code=HEAD + "@hookimpl\ndef deblur_models():\n    return 'wanted'",
        stage=Stage.CALL,
        says="not one str",
    ),
    "returns_one_model": Broken(
        code=HEAD + "@hookimpl\ndef deblur_models():\n    return model()",
        stage=Stage.CALL,
        says="must return an iterable of Model, not one Model",
    ),
    "returns_wrong_items": Broken(
        code=HEAD + "@hookimpl\ndef deblur_models():\n    return [model(), 'wanted']",
        stage=Stage.CALL,
        says="str 'wanted'",
    ),
    "raises_late": Broken(
        code=HEAD + "@hookimpl\ndef deblur_models():\n    yield model()\n    raise OSError('too late')",
        stage=Stage.CALL,
        says="too late",
    ),
    "never_ends": Broken(
        code=HEAD + "@hookimpl\ndef deblur_models():\n    while True:\n        yield model()",
        stage=Stage.CALL,
        says="more than",
    ),
    "misspelt_hook": Broken(
        code=HEAD + "@hookimpl\ndef deblur_model():\n    return [model()]",
        stage=Stage.REGISTER,
        says="did you mean deblur_models",
    ),
    "unmarked_hook": Broken(
        code=HEAD + "def deblur_models():\n    return [model()]", stage=Stage.REGISTER, says="@hookimpl"
    ),
    "hook_with_argument": Broken(
        code=HEAD + "@hookimpl\ndef deblur_models(config):\n    return [model()]",
        stage=Stage.REGISTER,
        says="config",
    ),
    "declares_twice": Broken(
        code=HEAD + "@hookimpl\ndef deblur_models():\n    return [model(), model()]",
        stage=Stage.CALL,
        says="more than once",
    ),
    "nonsense": Broken(
        code=HEAD + "@hookimpl\ndef deblur_models():\n    return [model(geometry=Geometry(halo=-3))]",
        stage=Stage.DECLARE,
        says="geometry.halo is -3",
    ),
    "nonsense_path": Broken(
        code=HEAD + "@hookimpl\ndef deblur_models():\n    return [model(network='not a path')]",
        stage=Stage.DECLARE,
        says="model wanted: network is 'not a path'",
    ),
    "prints": Broken(code=HEAD + "print('hello there')", stage=Stage.IMPORT, says="hello there"),
    "prints_in_hook": Broken(
        code=HEAD + "@hookimpl\ndef deblur_models():\n    print('hello again')\n    return [model()]",
        stage=Stage.CALL,
        says="hello again",
    ),
    "closes_stdout": Broken(code="import sys\nsys.stdout.close()", stage=Stage.IMPORT, says="closed file"),
    "newer_api": Broken(code=HEAD + "API = 99", stage=Stage.REGISTER, says="needs plugin API 99"),
    "nonsense_api": Broken(code=HEAD + "API = 'one'", stage=Stage.REGISTER, says="API is 'one'"),
}


@pytest.fixture(autouse=True)
def forget_test_plugins() -> Iterator[None]:
    """Each test loads its plugins anew."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(("/tmp", "/var")):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write a plugin file and return its path."""

    def write(name: str, code: str) -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(code)
        return path

    return write


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_set_aside_with_its_reason(
    name: str, write: Callable[[str, str], Path], capsys
) -> None:
    path = write(name, BROKEN[name].code)
    host = Host.discover(environ={"DEBLUR_PLUGINS": str(path)})
    (failure,) = host.failures
    assert failure.plugin == name
    assert failure.stage == BROKEN[name].stage
    assert BROKEN[name].says in failure.error
    assert "\n" not in failure.error
    assert "Traceback" in failure.traceback
    assert failure.source == path
    assert "rednet30" in host.models
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", BROKEN)
def test_strict_mode_raises_what_the_plugin_raised(name: str, write: Callable[[str, str], Path]) -> None:
    path = write(name, BROKEN[name].code)
    with pytest.raises((Exception, SystemExit)) as raised:
        Host.discover(environ={"DEBLUR_PLUGINS": str(path), "DEBLUR_STRICT": "1"})
    assert any(f"raised by the plugin {name}" in note for note in raised.value.__notes__)


def test_an_interrupt_during_import_is_not_swallowed(write: Callable[[str, str], Path]) -> None:
    path = write("interrupted", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Host.discover(environ={"DEBLUR_PLUGINS": str(path)})


def test_a_misspelt_hook_does_not_spoil_the_plugins_after_it(write: Callable[[str, str], Path]) -> None:
    misspelt = write("a_misspelt", BROKEN["misspelt_hook"].code)
    sound = write("b_sound", HEAD + "@hookimpl\ndef deblur_models():\n    return [model()]")
    host = Host.discover(environ={"DEBLUR_PLUGINS": f"{misspelt},{sound}"})
    assert [failure.plugin for failure in host.failures] == ["a_misspelt"]
    assert "wanted" in host.models


def test_asking_for_a_model_that_a_broken_plugin_would_have_brought_tells_why(
    write: Callable[[str, str], Path],
) -> None:
    path = write("newer_api", BROKEN["newer_api"].code)
    host = Host.discover(environ={"DEBLUR_PLUGINS": str(path)})
    with pytest.raises(
        MissingError, match=r"'wanted' is missing because the plugin newer_api .*needs plugin API 99"
    ):
        host.model("wanted")
    with pytest.raises(MissingError, match="did you mean rednet30"):
        host.model("rednet3O")


def test_every_command_goes_on_among_broken_plugins(write, run, identity, photo_file: Path) -> None:
    paths = [str(write(name, broken.code)) for name, broken in BROKEN.items()]
    env = {**identity.env, "DEBLUR_PLUGINS": ",".join([identity.env["DEBLUR_PLUGINS"], *paths])}
    listed = run("models", "--json", env=env, subprocess=True)
    assert listed.code == 0
    assert {"identity", "rednet30"} <= {item["name"] for item in listed.json()}
    for name, broken in BROKEN.items():
        assert f"plugin {name}, {broken.stage}: " in listed.err
    restored = run(photo_file, *identity.args(), env=env, subprocess=True)
    assert restored.code == 0, restored.err
    assert photo_file.with_name("photo.deblurred.png").is_file()


def test_plugins_lists_the_reasons(write, run) -> None:
    paths = ",".join(str(write(name, broken.code)) for name, broken in BROKEN.items())
    listed = run("plugins", "--json", env={"DEBLUR_PLUGINS": paths})
    assert listed.code == 0
    found = {item["plugin"]: item for item in listed.json()}
    for name, broken in BROKEN.items():
        assert found[name]["state"] == "set aside"
        assert found[name]["stage"] == broken.stage
        assert broken.says in found[name]["error"]
    assert found["deblur_rednet"]["state"] == "ok"
    plain = run("plugins", env={"DEBLUR_PLUGINS": paths})
    assert "misspelt_hook (DEBLUR_PLUGINS) is set aside, register" in plain.out


def test_check_shows_the_traceback_and_exits_with_3(write, run) -> None:
    path = write("raises_in_hook", BROKEN["raises_in_hook"].code)
    checked = run("plugins", "check", "raises_in_hook", env={"DEBLUR_PLUGINS": str(path)})
    assert checked.code == 3
    assert "return {}['nothing']" in checked.out
    assert "KeyError" in checked.err
    as_json = run("plugins", "check", "raises_in_hook", "--json", env={"DEBLUR_PLUGINS": str(path)})
    assert as_json.code == 3
    assert "KeyError" in json.loads(as_json.out)["traceback"]


BROKEN_MODELS = {
    "weights_gone": (
        "weights=(Weights(tag='photo', file='nowhere.photo.safetensors'),), network='{module}_net:Net'",
        "weights file nowhere.photo.safetensors is missing",
        True,
    ),
    "no_module": ("network='{module}_nowhere:Net'", "there is no module", True),
    "no_class": ("network='{module}_net:Nat'", "defines no Nat", True),
    "raises_when_built": ("network='{module}_net:Raises'", "RuntimeError: cannot be built", False),
    "no_network": ("network='json:dumps'", "TypeError", False),
    "wrong_facts": ("network='{module}_net:Net'", "facts.parameters is 1, the network has 12", False),
    "wrong_halo": (
        "network='{module}_net:Net', geometry=Geometry(halo=3)", "geometry.halo is 3 by default, the layers reach 0 px", False
    ),
    "wrong_shape": ("network='{module}_net:Shrinks'", "at 1 x 2 pixels the input is (1, 3, 1, 2), the output (1, 3, 1, 1)", False),
    "no_loss": (
        "network='{module}_net:Net', recipes={{'fast': Recipe(loss='no-such-loss')}}", "recipe fast: there is no loss 'no-such-loss'", False
    ),
}  # fmt: skip
NETWORK = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
    def forward(self, x):
        return self.conv(x)

class Raises(nn.Module):
    def __init__(self):
        raise RuntimeError("cannot be built")

class Shrinks(Net):
    def forward(self, x):
        return self.conv(x)[..., :1, :1]
"""


@pytest.mark.parametrize("name", BROKEN_MODELS)
def test_a_model_with_a_broken_network_or_weights_is_explained(name: str, write, run, tmp_path: Path) -> None:
    changes, says, visible_at_once = BROKEN_MODELS[name]
    write(f"{name}_net", NETWORK)
    code = f"{HEAD}\nfrom deblur_cli import Recipe, Weights\n@hookimpl\ndef deblur_models():\n    return [model({changes})]"
    path = write(name, code.replace("{module}", name).replace("{{", "{").replace("}}", "}"))
    env = {"DEBLUR_PLUGINS": str(path), "PYTHONPATH": str(tmp_path)}
    sys.path.insert(0, str(tmp_path))
    try:
        checked = run("plugins", "check", name, env=env)
        listed = run("models", "--json", env=env)
    finally:
        sys.path.remove(str(tmp_path))
    assert checked.code == 3, checked.err
    assert says in checked.out
    assert listed.code == 0
    if visible_at_once:
        assert says in listed.err
        assert says in next(item for item in listed.json() if item["name"] == "wanted")["problems"][0]
    assert any(item["name"] == "rednet30" for item in listed.json())


def test_using_a_model_whose_weights_file_is_gone_tells_so(write, run, photo_file: Path) -> None:
    weights = "weights=(Weights(tag='photo', file='nowhere.photo.safetensors'),)"
    code = f"{HEAD}\nfrom deblur_cli import Weights\n@hookimpl\ndef deblur_models():\n    return [model({weights})]"
    refused = run(photo_file, "-m", "wanted", env={"DEBLUR_PLUGINS": str(write("gone", code))})
    assert refused.code == 4
    assert "nowhere.photo.safetensors of wanted.photo is not installed" in refused.err


def test_using_a_model_whose_network_does_not_build_tells_why(write, run, identity, photo_file: Path) -> None:
    write("unbuilt_net", NETWORK)
    code = (
        HEAD
        + "@hookimpl\ndef deblur_models():\n    return [model(name='identity', network='unbuilt_net:Raises')]"
    )
    env = {"DEBLUR_PLUGINS": str(write("unbuilt", code)), "PYTHONPATH": str(photo_file.parent)}
    refused = run(photo_file, *identity.args(), env=env, subprocess=True)
    assert refused.code == 4
    assert (
        "unbuilt_net:Raises of model identity cannot be built: RuntimeError: cannot be built" in refused.err
    )
    assert not photo_file.with_name("photo.deblurred.png").exists()
