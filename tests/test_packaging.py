"""The wheel holds what it must and works away from the checkout; the Makefile and constraints agree with the project file."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

import deblur_cli
from deblur_cli.host.manager import Host

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a virtual environment that has the wheel and the dependencies, but not the checkout."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(programs / "python"),
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    # The dependencies are linked one by one: a .pth naming this interpreter's whole site-packages would bring the
    # editable installation of the checkout and its entry points along.
    dependencies = folder / "dependencies"
    dependencies.mkdir()
    for scheme in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(scheme).iterdir():
            if not entry.name.startswith(("deblur", "_deblur", "__editable__")) and entry.suffix != ".pth":
                (dependencies / entry.name).symlink_to(entry)
    for site_packages in folder.rglob("site-packages"):
        (site_packages / "dependencies.pth").write_text(f"{dependencies}\n", encoding="utf-8")
    return programs


@pytest.mark.slow
def test_the_wheel_holds_the_core_the_plugins_and_the_weights_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names}
    metadata = f"deblur_cli-{deblur_cli.__version__}.dist-info"
    families = {folder.name for folder in (ROOT / "plugins").glob("deblur_*")}
    assert top == {"deblur_cli", metadata} | families
    released = {file.name for file in (ROOT / "weights").glob("*.safetensors")}
    assert {
        name.rsplit("/", 1)[1]
        for name in names
        if name.startswith("deblur_cli/_released/") and name.endswith(".safetensors")
    } == released
    assert {"deblur_cli/py.typed", "deblur_cli/blur/presets/photo-mix.toml"} <= set(names)
    assert {f"deblur_cli/evaluation/page/page.{kind}" for kind in ("html", "css", "js")} <= set(names)
    assert not [name for name in names if name.endswith((".pyc", ".png", ".jpg"))]


@pytest.mark.slow
def test_the_wheel_names_its_licence_command_and_plugins(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        folder = f"deblur_cli-{deblur_cli.__version__}.dist-info"
        metadata = Parser().parsestr(archive.read(f"{folder}/METADATA").decode())
        points = archive.read(f"{folder}/entry_points.txt").decode()
        assert f"{folder}/licenses/LICENSE" in archive.namelist()
    assert metadata["Name"] == "deblur-cli"
    assert metadata["License-Expression"] == "MIT"
    assert "deblur = deblur_cli.cli.app:main" in points
    for family in (ROOT / "plugins").glob("deblur_*"):
        assert f"{family.name} = {family.name}" in points


def run_installed(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A program, without any variable that could lead it back to the checkout."""
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("DEBLUR_", "PYTHON"))
    }
    return subprocess.run(words, cwd=cwd, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_installed_wheel_knows_nothing_of_the_checkout(installed: Path, tmp_path: Path) -> None:
    code = (
        "import sys, deblur_cli, deblur_rednet; print(deblur_cli.__file__, deblur_rednet.__file__, sys.path)"
    )
    shown = run_installed(str(installed / "python"), "-c", code, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert str(ROOT / "deblur_cli") not in shown.stdout
    assert str(ROOT / "plugins") not in shown.stdout


@pytest.mark.slow
def test_the_installed_wheel_lists_the_models_of_its_plugins(installed: Path, tmp_path: Path) -> None:
    listed = run_installed(str(installed / "deblur"), "models", "--json", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    names = {model.name for model in Host.discover().models.values()}
    assert all(json.dumps(name) in listed.stdout for name in names)


@pytest.mark.slow
def test_the_installed_wheel_restores_a_picture_from_another_folder(
    installed: Path, photo_file: Path, rednet_weights: Path
) -> None:
    words = (str(installed / "deblur"), photo_file.name, "--weights", str(rednet_weights), "--device", "cpu")
    done = run_installed(*words, cwd=photo_file.parent)
    assert done.returncode == 0, done.stderr
    with Image.open(photo_file) as before, Image.open(photo_file.with_name("photo.deblurred.png")) as after:
        assert after.size == before.size


def test_every_dependency_is_pinned_to_a_version_that_the_project_file_allows() -> None:
    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            pin = Requirement(line)
            (exact,) = pin.specifier
            assert exact.operator == "==", f"{line} is not pinned to one version"
            pins[canonicalize_name(pin.name)] = exact.version
    project = PROJECT["project"]
    asked = project["dependencies"] + [
        line for extra in project["optional-dependencies"].values() for line in extra
    ]
    for requirement in map(Requirement, asked):
        version = pins.get(canonicalize_name(requirement.name))
        assert version, f"constraints.txt does not pin {requirement.name}"
        assert requirement.specifier.contains(version), f"{requirement} does not allow {version}"


def test_the_pinned_torch_is_the_one_at_work() -> None:
    """`make` must never bring in another torch than the tested one (a local build such as +cpu is the same version)."""
    pinned = re.search(
        r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert pinned
    assert distribution("torch").version.split("+")[0] == pinned[1]


def test_the_version_is_the_same_everywhere() -> None:
    assert PROJECT["project"]["version"] == deblur_cli.__version__
    try:
        assert distribution("deblur-cli").version == deblur_cli.__version__
    except PackageNotFoundError:
        pytest.fail("deblur-cli is not installed in this environment: run make test")


def test_the_changelog_has_the_form_that_tools_read() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# Changelog"
    headings = [line for line in lines if line.startswith("#")]
    assert "## Unreleased" in headings[1]
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert {line[4:] for line in headings if line.startswith("### ")} <= kinds


def test_the_makefile_has_the_targets_that_the_documents_name() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for document in ("README.md", "CONTRIBUTING.md", "docs/architecture.md", ".ci/run"):
        named = set(
            re.findall(
                r"(?:`|^\s*)make ([a-z-]+)", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE
            )
        )
        assert named <= targets, f"{document} names {sorted(named - targets)}"


def test_ci_runs_the_documented_commands_and_no_hidden_ones() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    lines = [line for line in script.read_text(encoding="utf-8").splitlines() if line.startswith("make ")]
    assert lines == ["make system", "make test"]


@pytest.mark.parametrize(("required", "code"), [("browser", 0), ("browser,realdata", 1)])
def test_a_required_mark_turns_a_skip_into_a_failure(required: str, code: int, tmp_path: Path) -> None:
    test = "import pytest\n@pytest.mark.realdata\n@pytest.mark.skip(reason='no data')\ndef test_on_data(): pass\n"
    (tmp_path / "test_data.py").write_text(test, encoding="utf-8")
    environ = {**os.environ, "DEBLUR_REQUIRE_MARKS": required, "PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider"]
    command += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), "test_data.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert ("DEBLUR_REQUIRE_MARKS wants realdata" in done.stdout) == bool(code)
