"""How plugins are found and named: installed ones, those of DEBLUR_PLUGINS, clashes, defaults, near names."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import deblur_cli
from deblur_cli.errors import MissingError
from deblur_cli.host.checks import DeclarationError
from deblur_cli.host.declarations import Facts, Geometry, Metric, Model, Option, Weights
from deblur_cli.host.failures import Stage
from deblur_cli.host.manager import Host, Plugin
from deblur_cli.host.optimizers import Optimizer
from deblur_cli.host.recipes import Recipe

PLUGIN = """
from deblur_cli import Facts, Geometry, Model, hookimpl

@hookimpl
def deblur_models():
    for name in {names!r}:
        yield Model(
            name=name, summary="of {module}", source="this test", network="json:loads", geometry=Geometry(halo=0),
            facts=Facts(parameters=1, kmacs_per_pixel=1.0), licence="MIT",
        )
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Lay a distribution beside its metadata as pip does, with one plugin module that declares these models."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    modules = []

    def install(distribution: str, *names: str, module: str | None = None, entry: str | None = None) -> None:
        module = module or distribution.replace("-", "_") + "_module"
        modules.append(module)
        (site / f"{module}.py").write_text(PLUGIN.format(names=names, module=module))
        info = site / f"{distribution.replace('-', '_')}-2.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.5\n")
        (info / "entry_points.txt").write_text(f"[deblur_cli]\n{entry or module} = {module}\n")

    yield install
    for name in modules:
        sys.modules.pop(name, None)


def model(name: str = "some", **changes: object) -> Model:
    said: dict[str, object] = {
        "name": name,
        "summary": "a test",
        "source": "this test",
        "network": "json:loads",
        "geometry": Geometry(halo=0),
        "facts": Facts(parameters=1, kmacs_per_pixel=1.0),
        "licence": "MIT",
    }
    return Model(**(said | changes))


def plugin(name: str, *models: Model, distribution: str = "") -> Plugin:
    return Plugin(
        name=name, distribution=distribution, version="1", module=name, folder=None, declarations=models
    )


def test_first_party_plugins_load_and_nothing_fails() -> None:
    host = Host.discover(environ={})
    assert host.failures == ()
    assert {"rednet30"} <= set(host.models)
    assert {"psnr", "ssim"} <= set(host.metrics)
    assert {"gopro", "reds", "sample"} <= set(host.datasets)
    assert {"gaussian", "camera_shake", "noise", "jpeg"} <= set(host.degradations)
    assert {"logcosh", "charbonnier"} <= set(host.losses)
    assert deblur_cli.models() == tuple(host.models)


def test_loading_every_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys; from deblur_cli.host.manager import Host; host = Host.discover(); assert host.models, host.failures;"
        "print(*sorted({'torch', 'numpy', 'cv2', 'PIL', 'skimage', 'scipy', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_an_installed_distribution_is_found_with_its_version(install: Callable[..., None]) -> None:
    install("deblur-outside", "outside")
    host = Host.discover(environ={})
    found = host.plugin_of(host.model("outside"))
    assert (found.name, found.distribution, found.version) == (
        "deblur_outside_module",
        "deblur-outside",
        "2.5",
    )
    assert not found.first_party
    assert host.models["outside"] is host.models["deblur_outside_module:outside"]


def test_a_name_of_ours_stays_ours_and_both_are_reached_by_plugin_and_name(
    install: Callable[..., None],
) -> None:
    install("aaa-first", "rednet30")
    host = Host.discover(environ={})
    assert host.plugin_of(host.model("rednet30")).first_party
    assert host.model("aaa_first_module:rednet30").summary == "of aaa_first_module"
    assert host.model("deblur_rednet:rednet30") is host.model("rednet30")
    assert "aaa_first_module:rednet30" in list(host.models)
    (clash,) = host.failures
    assert (clash.stage, clash.plugin) == (Stage.CLASH, "aaa_first_module")
    assert "ask for aaa_first_module:rednet30" in clash.error


def test_between_others_the_distribution_first_in_the_alphabet_keeps_the_name(
    install: Callable[..., None],
) -> None:
    install("zebra", "motion", module="a_module")
    install("ape", "motion", "still", module="z_module")
    host = Host.discover(environ={})
    assert host.model("motion").summary == "of z_module"
    assert host.model("a_module:motion").summary == "of a_module"
    assert host.model("still").summary == "of z_module"


def test_two_plugins_of_one_name_are_told_apart_by_their_distribution(install: Callable[..., None]) -> None:
    install("ape", "motion", entry="same")
    install("zebra", "motion", entry="same")
    host = Host.discover(environ={})
    assert host.model("same:motion").summary == "of ape_module"
    assert host.model("zebra:same:motion").summary == "of zebra_module"


def test_a_clash_is_raised_in_strict_mode(install: Callable[..., None]) -> None:
    install("aaa-first", "rednet30")
    with pytest.raises(Exception, match="held by deblur_rednet"):
        Host.discover(environ={"DEBLUR_STRICT": "1"})


def test_plugins_can_be_left_out_by_plugin_or_distribution(install: Callable[..., None]) -> None:
    install("deblur-outside", "outside")
    for name in ("deblur_outside_module", "deblur-outside"):
        host = Host.discover(environ={"DEBLUR_PLUGINS_DISABLE": f"nothing, {name}"})
        assert "outside" not in host.models
        assert host.disabled == ("deblur_outside_module",)
    assert "rednet30" not in Host.discover(environ={"DEBLUR_PLUGINS_DISABLE": "deblur_rednet"}).models


def test_a_file_a_module_and_a_folder_can_be_plugins_without_installing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "by_file.py").write_text(PLUGIN.format(names=("a",), module="by_file"))
    (tmp_path / "by_module.py").write_text(PLUGIN.format(names=("b",), module="by_module"))
    (tmp_path / "by_folder").mkdir()
    (tmp_path / "by_folder" / "__init__.py").write_text(
        "from by_folder.inner import NAMES\n"
        + PLUGIN.replace("{names!r}", "NAMES").format(module="by_folder")
    )
    (tmp_path / "by_folder" / "inner.py").write_text("NAMES = ('c',)")
    try:
        host = Host.discover(
            environ={"DEBLUR_PLUGINS": f"{tmp_path / 'by_file.py'}, by_module,{tmp_path / 'by_folder'}/"}
        )
        assert host.failures == ()
        assert [host.model(name).summary for name in "abc"] == ["of by_file", "of by_module", "of by_folder"]
        assert host.plugin_of(host.model("c")).folder == tmp_path / "by_folder"
        again = Host.discover(environ={"DEBLUR_PLUGINS": str(tmp_path / "by_file.py")})
        assert again.model("a") == host.model("a")
    finally:
        for name in ("by_file", "by_module", "by_folder", "by_folder.inner"):
            sys.modules.pop(name, None)


def test_naming_an_installed_plugin_again_does_not_load_it_twice() -> None:
    host = Host.discover(environ={"DEBLUR_PLUGINS": "deblur_rednet"})
    assert host.failures == ()
    assert list(host.models) == list(Host.discover(environ={}).models)


def test_an_object_can_be_a_plugin_and_bring_one_of_each_kind(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    every = tmp_path / "every_kind.py"
    every.write_text("""
from deblur_cli import Dataset, Degradation, Facts, Geometry, Loss, Metric, Model, hookimpl

class Plugin:
    @hookimpl
    def deblur_models(self):
        yield Model(
            name="one", summary="s", source="s", network="json:loads", geometry=Geometry(halo=0),
            facts=Facts(parameters=1, kmacs_per_pixel=1.0), licence="MIT",
        )
    @hookimpl
    def deblur_metrics(self):
        return {Metric(name="one", summary="s", function="json:loads", higher_is_better=True)}
    @hookimpl
    def deblur_datasets(self):
        return [Dataset(name="one", summary="s", pairs="json:loads", layout="l")]
    @hookimpl
    def deblur_degradations(self):
        return (Degradation(name="one", summary="s", apply="json:loads", params="json:loads", bound=0),)
    @hookimpl
    def deblur_losses(self):
        return iter([Loss(name="one", summary="s", function="json:loads")])

PLUGIN = Plugin()
""")
    try:
        host = Host.discover(environ={"DEBLUR_PLUGINS": "every_kind:PLUGIN"})
        assert host.failures == ()
        kinds = (host.model, host.metric, host.dataset, host.degradation, host.loss)
        assert [type(find("one")).__name__ for find in kinds] == [
            "Model",
            "Metric",
            "Dataset",
            "Degradation",
            "Loss",
        ]
    finally:
        sys.modules.pop("every_kind", None)


def test_a_folder_in_deblur_plugins_takes_the_place_of_its_installed_self(
    install: Callable[..., None], tmp_path: Path
) -> None:
    install("deblur-outside", "outside", module="outside_plugin")
    (tmp_path / "outside_plugin").mkdir()
    (tmp_path / "outside_plugin" / "__init__.py").write_text(PLUGIN.format(names=("outside",), module="work"))
    host = Host.discover(environ={"DEBLUR_PLUGINS": str(tmp_path / "outside_plugin")})
    assert host.failures == ()
    assert host.model("outside").summary == "of work"


def test_what_deblur_plugins_names_in_vain_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("")
    missing = tmp_path / "missing.py"
    host = Host.discover(
        environ={"DEBLUR_PLUGINS": f"{missing},{tmp_path / 'random.py'},no_such_module_here"}
    )
    errors = {failure.plugin: failure.error for failure in host.failures}
    assert f"there is no file {missing}" in errors["missing"]
    assert "give random.py another name" in errors["random"]
    assert "No module named 'no_such_module_here'" in errors["no_such_module_here"]


def test_unknown_names_are_answered_with_near_ones_for_every_kind() -> None:
    host = Host.discover(environ={})
    for ask, wrong, right in (
        (host.model, "rednet3", "rednet30"),
        (host.metric, "PSNR ", "psnr"),
        (host.dataset, "gropo", "gopro"),
        (host.degradation, "gausian", "gaussian"),
        (host.loss, "log-cosh", "logcosh"),
    ):
        with pytest.raises(MissingError, match=f"did you mean .*{right}"):
            ask(wrong)
    with pytest.raises(MissingError, match=r"there are: .*rednet30"):
        host.model("xyz")


def test_the_default_model_is_the_first_of_ours_with_weights() -> None:
    released = (Weights(tag="photo", file="x.safetensors"),)
    ours = plugin(
        "ours",
        model("zoom", weights=released),
        model("unet", weights=released),
        model("all"),
        distribution="deblur-cli",
    )
    other = plugin("other", model("aaa", weights=released))
    assert Host([ours, other]).default_model() == "unet"
    assert (
        Host([plugin("ours", model("b"), model("a"), distribution="deblur-cli"), other]).default_model()
        == "aaa"
    )
    assert Host([ours], environ={"DEBLUR_MODEL": "zoom.photo"}).default_model() == "zoom.photo"
    with pytest.raises(MissingError, match="no plugin brings a model"):
        Host([]).default_model()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: model("Some Name"), "model.name"),
        (lambda: model("some.tag"), "without a dot"),
        (lambda: model(summary=" "), "model some: summary"),
        (lambda: model(network="module"), "model some: network"),
        (lambda: model(values="percent"), "model some: values"),
        (lambda: model(geometry=lambda options: 3), "model some: geometry"),
        (lambda: model(options={"width": 3}), "model some: options"),
        (lambda: model(options=["width"]), "model some: options"),
        (lambda: model(tiny={"width": 3}), "model some: tiny"),
        (lambda: model(weights=[Weights(tag="a", file="a.safetensors")] * 2), "of different tags"),
        (lambda: Geometry(halo=2.5), "geometry.halo"),
        (lambda: Geometry(halo=0, multiple_of=8, fixed_size=12), "geometry.fixed_size"),
        (lambda: Facts(parameters=-1, kmacs_per_pixel=1), "facts.parameters"),
        (lambda: Facts(parameters=1, kmacs_per_pixel=float("nan")), "facts.kmacs_per_pixel"),
        (lambda: Option(type=int, default="3", help=""), "option.default"),
        (lambda: Option(type=int, default=True, help=""), "option.default"),
        (lambda: Option(type=int, default=3, help="", choices=(1, 2)), "option.default"),
        (lambda: Option(type=list, default=[], help=""), "option.type"),
        (lambda: Weights(tag="photo", file="a.pth"), "weights.file"),
        (lambda: Weights(tag="photo", file="a.safetensors", url="https://example.org"), "weights.sha256"),
        (lambda: Weights(tag="photo", file="a.safetensors", sha256="12"), "weights.sha256"),
        (lambda: Optimizer(lr=-1.0), "optimizer.lr"),
        (lambda: Optimizer(kind="sgd"), "optimizer.kind"),
        (lambda: Recipe(start="nowhere"), "recipe.start"),
        (lambda: Recipe(freeze_norm_after=2), "recipe.freeze_norm_after"),
        (
            lambda: Metric(name="m", summary="", function="no path", higher_is_better=True),
            "metric m: function",
        ),
    ],
)
def test_a_declaration_that_contradicts_itself_names_the_field(make: Callable[[], object], says: str) -> None:
    with pytest.raises(DeclarationError, match=says):
        make()


def test_options_are_resolved_over_their_defaults_and_checked() -> None:
    declared = model(
        options={
            "width": Option(type=int, default=8, help="features"),
            "gain": Option(type=float, default=1.0, help="gain"),
            "norm": Option(type=str, default="batch", choices=("batch", "none"), help="norm"),
        }
    )
    assert declared.resolve_options({"gain": 2}) == {"width": 8, "gain": 2.0, "norm": "batch"}
    for wrong, says in (
        ({"wdth": 3}, "no option 'wdth'"),
        ({"width": 1.5}, "width"),
        ({"norm": "layer"}, "one of"),
    ):
        with pytest.raises(DeclarationError, match=says):
            declared.resolve_options(wrong)
