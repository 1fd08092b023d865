"""Defaults of the user's own: flag before environment before settings file before what is built in."""

import pytest

from deblur_cli.cli.defaults import SETTINGS, read_defaults, settings_path
from deblur_cli.errors import UsageError


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Write a settings file and make it the user's."""

    def write(text):
        path = tmp_path / "my settings.toml"
        path.write_text(text, encoding="utf-8")
        monkeypatch.setenv("DEBLUR_CONFIG", str(path))
        return path

    return write


def test_a_flag_wins_over_the_environment_which_wins_over_the_file(run, photo_file, identity, settings):
    def output(*flags, **env):
        ran = run("photo.png", *identity.args(), *flags, "--dry-run", "--json", env={**identity.env, **env})
        return ran.json()[0]["output"]

    assert output() == "photo.deblurred.png"
    settings('suffix = ".file"')
    assert output() == "photo.file.png"
    assert output(DEBLUR_SUFFIX=".variable") == "photo.variable.png"
    assert output("--suffix", ".flag", DEBLUR_SUFFIX=".variable") == "photo.flag.png"


def test_a_home_that_is_no_folder_holds_no_settings(tmp_path):
    (tmp_path / "home").write_text("")
    assert read_defaults({"DEBLUR_CONFIG": str(tmp_path / "home" / "settings.toml")}) == {}


def test_the_model_may_be_a_default(run, photo_file, identity, settings):
    env = {**identity.env, "DEBLUR_MODEL": "nosuchmodel"}
    assert "nosuchmodel" in run("photo.png", "--dry-run", env=env).err
    settings('model = "othermodel"')
    assert "othermodel" in run("photo.png", "--dry-run", env=identity.env).err


def test_one_model_may_be_the_default_where_several_can_be_named(run, identity):
    ran = run("eval", "--limit", "1", env={**identity.env, "DEBLUR_MODEL": "nosuchmodel"})
    assert ran.code == 4
    assert "'nosuchmodel'" in ran.err


def test_a_weights_file_alone_names_its_model_whatever_the_default(run, photo_file, identity):
    env = {**identity.env, "DEBLUR_MODEL": "rednet30"}
    ran = run("photo.png", "--weights", identity.weights["identity"], "--dry-run", env=env)
    assert ran.code == 0, ran.err
    assert "identity" in ran.out


def test_dashes_and_underscores_are_one_in_the_file(settings):
    path = settings('max_memory = "2GB"\noverlap = 3')
    found = read_defaults({"DEBLUR_CONFIG": str(path)})
    assert found["max-memory"].value == "2GB"
    assert found["overlap"].value == 3
    assert found["overlap"].source == str(path)


def test_without_a_file_or_variables_nothing_is_set(tmp_path):
    assert read_defaults({"DEBLUR_CONFIG": str(tmp_path / "none.toml"), "DEBLUR_MODEL": ""}) == {}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("modle = 'x'", "did you mean model?"),
        ("frobnicate = 1", "it may set: model, device"),
        ("model = [1]", "must be one text or number"),
        ("model = ", "cannot read your settings file"),
    ],
)
def test_a_wrong_settings_file_is_named_with_what_is_wrong(run, photo_file, settings, text, hint):
    path = settings(text)
    ran = run("photo.png")
    assert ran.code == 2
    assert hint in ran.err
    assert str(path) in ran.err
    with pytest.raises(UsageError):
        read_defaults({"DEBLUR_CONFIG": str(path)})


def test_a_wrong_settings_file_stops_neither_help_nor_version(run, settings):
    settings("nonsense")
    assert run("--help").code == 0
    assert run("--version").code == 0


def test_a_default_of_the_wrong_kind_is_traced_to_where_it_was_set(run, photo_file):
    ran = run("photo.png", env={"DEBLUR_OVERLAP": "many"})
    assert ran.code == 2
    assert "DEBLUR_OVERLAP" in ran.err
    ran = run("photo.png", "--overlap", "many")
    assert "DEBLUR_OVERLAP" not in ran.err


def test_the_data_root_is_not_a_default_of_an_option():
    assert "data" not in SETTINGS


def test_the_settings_file_lies_in_the_users_own_folder(session_dirs):
    assert str(settings_path({})).startswith(session_dirs["XDG_CONFIG_HOME"])
