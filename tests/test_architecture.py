"""The tree is the architecture: what may import what, and that the written word agrees with the code."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import deblur_cli
from deblur_cli.host import hookspecs

ROOT = Path(__file__).parents[1]
CORE = ROOT / "deblur_cli"
FAMILIES = sorted(folder.name for folder in (ROOT / "plugins").glob("deblur_*"))

# From the top down. A package imports from its own level and from those below, never from above.
LEVELS = (
    ("cli", "__main__"),
    ("deblur_cli", "testing"),  # "deblur_cli" is the public API, deblur_cli/__init__.py
    ("restore", "training", "evaluation", "data"),
    ("pictures", "blur", "losses", "metrics", "weights", "networks"),
    ("host",),
    ("errors",),
)
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}


def part_of(module: str) -> str:
    """The part of the core a module belongs to: "restore" for deblur_cli.restore.tiling."""
    pieces = module.split(".")
    return pieces[1] if len(pieces) > 1 else pieces[0]


def imports_of(file: Path) -> Iterator[tuple[int, str, str]]:
    """Line, module and name of every import of our own packages, those inside functions included."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            yield from ((node.lineno, node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)


def core_modules() -> Iterator[tuple[Path, str]]:
    for file in sorted(CORE.rglob("*.py")):
        pieces = file.relative_to(CORE).with_suffix("").parts
        yield file, "deblur_cli" if pieces == ("__init__",) else pieces[0]


def test_imports_in_the_core_point_downward_only() -> None:
    wrong = []
    for file, part in core_modules():
        if part == "_released":
            continue
        for line, module, name in imports_of(file):
            if module.split(".")[0] != "deblur_cli":
                continue
            target = part_of(module if module != "deblur_cli" or name not in LEVEL else f"{module}.{name}")
            if target == "deblur_cli" and name == "__version__":
                continue  # a text, written into files; the package is imported before any of its parts anyway
            if LEVEL[target] < LEVEL[part]:
                wrong.append(f"{file.relative_to(ROOT)}:{line} ({part}) imports {module} {name}")
    assert not wrong, "\n".join(wrong)


def test_every_part_of_the_core_has_its_level() -> None:
    parts = {part for _, part in core_modules()}
    assert parts <= set(LEVEL), f"without a level in this test: {sorted(parts - set(LEVEL))}"


def test_no_two_parts_of_one_level_import_each_other() -> None:
    edges: dict[str, set[str]] = {}
    for file, part in core_modules():
        targets = {part_of(module) for _, module, _ in imports_of(file) if module.startswith("deblur_cli.")}
        edges.setdefault(part, set()).update(
            target for target in targets if target != part and LEVEL.get(target) == LEVEL[part]
        )
    both = sorted((a, b) for a, targets in edges.items() for b in targets if a < b and a in edges.get(b, ()))
    assert not both


def words_of(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every string and identifier; docstrings and help texts may show a model's name as an example."""
    shown = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    shown |= {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "help"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in shown:
            yield node.lineno, node.value
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def test_the_core_names_no_family() -> None:
    families = {family.removeprefix("deblur_") for family in FAMILIES}
    assert families
    found = [
        f"{file.relative_to(ROOT)}:{line}: {word!r}"
        for file, _ in core_modules()
        for line, word in words_of(ast.parse(file.read_text(encoding="utf-8")))
        if any(family in word.lower() for family in families)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_imports_public_names_and_no_other_family(family: str) -> None:
    allowed = {"deblur_cli.networks", "deblur_cli.losses", "deblur_cli.training.strategies"}
    for file in (ROOT / "plugins" / family).rglob("*.py"):
        for line, module, name in imports_of(file):
            where = f"{file.relative_to(ROOT)}:{line}"
            top = module.split(".")[0]
            assert top not in set(FAMILIES) - {family}, f"{where} imports another family"
            if top == "deblur_cli":
                public = module == "deblur_cli" and name in deblur_cli.__all__
                assert public or module in allowed, f"{where} imports {module} {name}, which is not public"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_the_files_a_reader_expects(family: str) -> None:
    folder = ROOT / "plugins" / family
    assert (folder / "__init__.py").is_file()
    assert (folder / "network.py").is_file()
    declared = {entry.name: entry.value for entry in entry_points(group="deblur_cli")}
    assert declared.get(family) == family, "one line in pyproject.toml names it"


@pytest.mark.parametrize(
    "statement",
    [
        "import deblur_cli",
        "import deblur_cli; deblur_cli.models()",
        "from deblur_cli.host.manager import Host; host = Host.discover(); "
        "assert host.models and host.metrics and host.datasets and host.degradations and host.losses and not host.failures, host.failures",
        "import deblur_cli.cli.app",
    ],
)
def test_loading_every_plugin_imports_neither_torch_nor_numpy(statement: str) -> None:
    heavy = "{'torch', 'numpy', 'cv2', 'PIL', 'skimage', 'scipy', 'tifffile'}"
    code = f"import sys\n{statement}\nheavy = {heavy} & set(sys.modules)\nassert not heavy, heavy"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DEBLUR_")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_public_face_is_complete() -> None:
    for name in deblur_cli.__all__:
        assert getattr(deblur_cli, name) is not None


def hooks() -> set[str]:
    return {name for name in vars(hookspecs) if name.startswith("deblur_")}


def test_every_hook_is_documented_and_no_other() -> None:
    text = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(deblur_[a-z]+)(?:\(\))?` \|", text, re.MULTILINE)) == hooks()
    assert set(re.findall(r"def (deblur_[a-z]+)\(", text)) <= hooks()


def test_every_hook_is_implemented_by_the_core_or_a_family_and_by_a_test() -> None:
    sources = [
        file.read_text(encoding="utf-8")
        for folder in (CORE, ROOT / "plugins")
        for file in folder.rglob("*.py")
        if file.name != "hookspecs.py"
    ]
    tests = [file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("*.py")]
    for hook in hooks():
        assert any(f"def {hook}(" in text for text in sources), f"{hook} has no user"
        assert any(hook in text for text in tests), f"{hook} has no test"
