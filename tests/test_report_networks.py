"""The networks have the figures of their reports, take any size, and are built by the files that hold them.

The table is typed from the reports, not from the declarations, and each figure is measured in another way
than the conformance kit does it.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import inf, prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from deblur_cli import Option, Restorer, Values
from deblur_cli.errors import PictureError
from deblur_cli.host.manager import Host
from deblur_cli.networks import PictureStatistics, SelfAttention, Window
from deblur_cli.weights import load_network, resolve

HOST = Host.discover(environ={})
SOAK = bool(os.environ.get("DEBLUR_SOAK"))

SIGMOID, TANH, RELU, ELU, LINEAR = (0.0, 1.0), (-1.0, 1.0), (0.0, inf), (-1.0, inf), (-inf, inf)
"""What the last layer's output cannot leave."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network as its report has it.

    halo : None where it sees the whole picture; frozen : what it is where the network is told of that
    fixed : the side of the only pictures it takes, if any; signed : its range
    """

    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    parameters: int
    kmacs: float
    multiple_of: int
    halo: int | None
    output: tuple[float, float]
    frozen: int | None = None
    fixed: int | None = None
    signed: bool = False

    @property
    def side(self) -> int:
        """Of a small square that it takes, px."""
        return self.fixed or max(32, self.multiple_of)

    def __str__(self) -> str:
        return "-".join([self.model, *(f"{name}={value}" for name, value in self.options.items())])


TABLE = (
    Row(model="resnet16", parameters=7_360_396, kmacs=300.3, multiple_of=8, halo=44, output=LINEAR),
    Row(model="unet16", parameters=482_067, kmacs=35.4, multiple_of=8, halo=51, output=RELU),
    Row(model="unet16", options={"output": "linear"}, parameters=482_067, kmacs=35.4, multiple_of=8, halo=51,
        output=LINEAR),
    Row(model="rednet30", parameters=1_076_739, kmacs=1071.0, multiple_of=1, halo=30, output=ELU),
    Row(model="resunet1", parameters=1_008_963, kmacs=204.5, multiple_of=4, halo=42, output=SIGMOID),
    Row(model="resunet3", parameters=1_969_987, kmacs=388.8, multiple_of=4, halo=82, output=SIGMOID),
    Row(model="eddensenet", parameters=424_927, kmacs=225.3, multiple_of=4, halo=46, output=SIGMOID),
    Row(model="caessc_d22_f128_half_no_sigmoid", parameters=8_217_868, kmacs=2052.8, multiple_of=2, halo=84,
        output=RELU),
    Row(model="caessc_d22_f128_half", parameters=8_217_868, kmacs=2052.8, multiple_of=2, halo=84, output=SIGMOID),
    Row(model="caessc_d30_f64", parameters=2_881_420, kmacs=2876.8, multiple_of=1, halo=60, output=SIGMOID),
    Row(model="srndeblur_cifar", options={"lstm": "none"}, parameters=13_747_026, kmacs=1096.2, multiple_of=8,
        halo=529, output=SIGMOID),
    Row(model="srndeblur_cifar", options={"lstm": "dense"}, parameters=15_404_370, kmacs=1097.8, multiple_of=8,
        halo=None, fixed=32, output=SIGMOID),
    Row(model="srndeblur_cifar", options={"lstm": "conv"}, parameters=17_024_338, kmacs=1352.2, multiple_of=8,
        halo=553, output=SIGMOID),
    Row(model="srndeblur_reds", options={"lstm": "conv"}, parameters=5_019_894, kmacs=365.5, multiple_of=8,
        halo=573, output=LINEAR),
    # Not in the report, but follows from it: without two ConvLSTMs of 819,456 parameters, which cost that on a
    # sixteenth of the pixels and on a quarter of those, and reach 2 px each way where a pixel is one of 4, then of 8.
    Row(model="srndeblur_reds", options={"lstm": "none"}, parameters=3_380_982, kmacs=301.5, multiple_of=8,
        halo=549, output=LINEAR),
    Row(model="srn_deblurnet", options={"lstm": "conv"}, parameters=8_061_411, kmacs=1370.9, multiple_of=16,
        halo=1315, output=LINEAR),
    Row(model="srn_deblurnet", options={"lstm": "none"}, parameters=6_881_251, kmacs=1274.2, multiple_of=16,
        halo=1287, output=LINEAR),
    Row(model="msdeblurwgan", parameters=11_928_961, kmacs=5243.2, multiple_of=4, halo=568, output=TANH, signed=True),
    Row(model="msdeblurwgan", options={"up_features": 64}, parameters=11_939_017, kmacs=5249.3, multiple_of=4, halo=568,
        output=TANH, signed=True),
    Row(model="msdeblurwgan_5", parameters=3_311_233, kmacs=1480.0, multiple_of=4, halo=176, output=TANH, signed=True),
    Row(model="rednet30wgan", parameters=1_076_739, kmacs=1071.0, multiple_of=1, halo=30, output=TANH, signed=True),
    Row(model="deblurgan", parameters=11_378_179, kmacs=756.1, multiple_of=4, halo=None, frozen=84, output=TANH,
        signed=True),
    Row(model="deblurgan", options={"norm": "batch"}, parameters=11_388_675, kmacs=756.1, multiple_of=4, halo=84,
        output=TANH, signed=True),
    Row(model="verysimple_deblurgan", parameters=1_079_555, kmacs=83.1, multiple_of=4, halo=None, frozen=36,
        output=(-2.0, 2.0), signed=True),
    Row(model="deblurgan_edge", parameters=11_381_315, kmacs=759.2, multiple_of=4, halo=None, frozen=84, output=TANH,
        signed=True),
    Row(model="deblurgan_feedback", parameters=16_097_795, kmacs=1935.7, multiple_of=4, halo=None, frozen=100,
        output=TANH, signed=True),
    Row(model="pix2pix", parameters=54_419_459, kmacs=92.3, multiple_of=256, halo=None, output=TANH, signed=True),
    Row(model="pix2pix_sa", parameters=58_291_848, kmacs=184.7, multiple_of=256, halo=None, output=TANH, signed=True),
    Row(model="pix2pix_sa_gr", parameters=58_291_848, kmacs=184.7, multiple_of=256, halo=None, output=TANH, signed=True),
    Row(model="pix2pix_sa_sn", parameters=58_291_848, kmacs=184.7, multiple_of=256, halo=None, output=TANH, signed=True),
    Row(model="pix2pix_full", parameters=58_504_840, kmacs=184.7, multiple_of=256, halo=None, output=TANH, signed=True),
    Row(model="rir", parameters=56_873_514, kmacs=922.7, multiple_of=16, halo=None, output=TANH, signed=True),
    Row(model="rir_large", parameters=232_734_378, kmacs=1299.1, multiple_of=32, halo=None, output=TANH, signed=True),
    Row(model="unet20", parameters=1_941_139, kmacs=46.3, multiple_of=16, halo=107, output=RELU),
)  # fmt: skip
BY_DEFAULT = {"srndeblur_cifar": "none", "srndeblur_reds": "conv", "srn_deblurnet": "conv"}
"""The one that takes pictures of any size, or the report's."""

each_row = pytest.mark.parametrize("row", TABLE, ids=str)


def test_no_network_is_left_out_of_the_table() -> None:
    """But for this project's own."""
    assert set(HOST.models) - {"swift"} == {row.model for row in TABLE}


@each_row
def test_the_network_has_exactly_the_reports_number_of_parameters(row: Row) -> None:
    with torch.device("meta"):
        network = HOST.model(row.model).build(row.options)
    assert sum(item.numel() for item in network.parameters()) == row.parameters


@each_row
def test_a_pixel_costs_what_the_report_says(row: Row) -> None:
    side = row.fixed or 256
    with torch.device("meta"):
        network = HOST.model(row.model).build(row.options).eval()
        with _multiplications(network) as counts, torch.no_grad():
            network(torch.zeros(1, 3, side, side))
    assert sum(counts) / side**2 / 1000 == pytest.approx(row.kmacs, rel=5e-3)


@each_row
def test_the_declared_geometry_is_the_reports(row: Row) -> None:
    model = HOST.model(row.model)
    geometry = model.geometry_for(row.options)
    assert (geometry.multiple_of, geometry.halo, geometry.frozen_halo, geometry.fixed_size) == (
        row.multiple_of, row.halo, row.frozen, row.fixed,
    )  # fmt: skip
    assert model.values is (Values.SIGNED if row.signed else Values.UNIT)


@pytest.mark.parametrize(("name", "lstm"), BY_DEFAULT.items())
def test_the_recurrent_cell_by_default(name: str, lstm: str) -> None:
    assert HOST.model(name).options["lstm"].default == lstm


@contextmanager
def _multiplications(network: nn.Module) -> Iterator[list[float]]:
    """Counts, layer by layer: each number of a kernel is used once for each output, or input if it is transposed."""
    counts: list[float] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        match module:
            case nn.Conv2d():
                counts.append(module.weight.numel() * prod(output.shape[-2:]))
            case nn.ConvTranspose2d():
                counts.append(module.weight.numel() * prod(inputs[0].shape[-2:]))
            case nn.Linear() | nn.LSTM() | nn.LSTMCell():
                counts.append(sum(item.numel() for item in module.parameters() if item.ndim == 2))
            case SelfAttention():  # besides its convolutions: each place looks at all, by an eighth of the features
                features, places = output.shape[1], prod(output.shape[-2:])
                counts.append(places**2 * (features // 8 + features))

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    yield counts
    for hook in hooks:
        hook.remove()


FELT_FURTHEST = {"srndeblur_cifar": 1, "srndeblur_reds": 4, "srn_deblurnet": 1}
"""Where on the grid of its stride a pixel of these wide networks lies that is felt further than its neighbours are."""


@each_row
def test_the_half_extent_is_exact(row: Row) -> None:
    """Something that is no number passes through every layer, whatever its weights, to all that depends on it.

    So the network stays as it is, but for what its geometry does not depend on: it is narrowed. A pixel at a distance of
    the half-extent is felt, and none at a greater one. `make soak` takes the network itself, and leaves nothing out.
    """
    network = _built(row.model, row.options if SOAK else _narrow(row))
    network = network.double()  # in float32 some kernels compute several pixels together, and spread it
    if row.halo is None:
        picture = torch.rand(1, 3, row.side, row.side, dtype=torch.float64)
        picture[:, :, 0, 0] = torch.nan
        with torch.no_grad():
            assert network(picture).isnan().all()
        if row.frozen is None:
            return
        row = replace(row, halo=row.frozen)
    phases: Sequence[int] = range(row.multiple_of)
    ways: Sequence[bool] = (False, True)
    if row.model in FELT_FURTHEST and not SOAK:
        phases, ways = (FELT_FURTHEST[row.model],), (False,)
    found = [_reach(network, row, phase=phase, down=down) for phase in phases for down in ways]
    assert max(found) == row.halo


def _narrow(row: Row) -> dict[str, Any]:
    """The options of the row, and those of a small variant that change nothing about the geometry."""
    model = HOST.model(row.model)
    geometry = model.geometry_for(row.options)
    options = dict(row.options)
    for name, value in {**model.tiny, **({"width": 4} if "width" in model.options else {})}.items():
        if name not in options and model.geometry_for({**options, name: value}) == geometry:
            options[name] = value
    return options


def _reach(network: nn.Module, row: Row, *, phase: int, down: bool) -> int:
    """How far an input pixel is felt along a strip; one step of the stride further than the row says would show.

    What the network takes from the whole strip it was told before.

    phase : its place on the grid of the stride; down : whether the strip is upright
    """
    assert row.halo is not None
    step = row.multiple_of
    middle = (row.halo // step + 2) * step
    strip = torch.rand(1, 3, step, 2 * middle + step, dtype=torch.float64)
    statistics = PictureStatistics(network)
    with torch.no_grad():
        if statistics:
            statistics.release()
            statistics.at(Window.of(*(slice(0, side) for side in (strip.mT if down else strip).shape[-2:])))
            network(strip.mT if down else strip)
            statistics.tell()
        strip[..., middle + phase] = torch.nan
        changed = network(strip.mT).mT if down else network(strip)
    felt = changed.isnan().any(dim=(0, 1, 2)).nonzero().flatten()
    return int((felt - middle - phase).abs().max())


@pytest.mark.parametrize(
    ("layers", "phases", "reach"),
    [
        ([nn.Conv2d(3, 3, 5, padding=2), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1)], 1, 3),
        ([nn.Conv2d(3, 3, 3, stride=2, padding=1), nn.Sigmoid(), nn.Upsample(scale_factor=2)], 2, 2),
        ([nn.MaxPool2d(4), nn.ELU(), nn.ConvTranspose2d(3, 3, 4, stride=4)], 4, 3),
        ([nn.BatchNorm2d(3), nn.LeakyReLU(0.3), nn.Tanh()], 1, 0),
    ],
)
def test_the_reach_of_known_layers_is_found(layers: list[nn.Module], phases: int, reach: int) -> None:
    network = nn.Sequential(*layers).eval().double()
    row = Row(model="known", parameters=0, kmacs=0, multiple_of=phases, halo=reach, output=LINEAR)
    assert max(_reach(network, row, phase=phase, down=False) for phase in range(phases)) == reach


@each_row
def test_the_output_fills_its_range_and_never_leaves_it(row: Row) -> None:
    """Random parameters so large that the last activation is driven to both ends."""
    lowest, highest = row.output
    options = {**HOST.model(row.model).tiny, **row.options}
    side = row.fixed or max(32, HOST.model(row.model).geometry_for(options).multiple_of)
    found = []
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        network = _built(row.model, options).double()
        with torch.no_grad():
            for item in network.parameters():
                item.normal_(0, 3, generator=generator)
            picture = torch.rand(1, 3, side, side, dtype=torch.float64, generator=generator)
            found.append(network(2 * picture - 1 if row.signed else picture).flatten())
    values = torch.cat(found)
    assert values.isfinite().all()
    assert lowest <= values.min() < (lowest + 1e-3 if lowest > -inf else -10)
    assert (highest - 1e-3 if highest < inf else 10) < values.max() <= highest


@pytest.mark.parametrize("row", [row for row in TABLE if row.fixed is None], ids=str)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 13), (31, 37)], ids=str)
def test_pictures_of_any_size_are_restored(row: Row, size: tuple[int, int]) -> None:
    """As the network restores the picture mirrored to a multiple of its stride, in whole numbers again."""
    network = _built(row.model, _narrow(row))
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)

    restored = Restorer(
        network, model=HOST.model(row.model), options=_narrow(row), device="cpu", dtype="float32"
    ).restore_array(picture)

    more = [(0, -side % row.multiple_of) for side in size]
    padded = np.pad(picture, (*more, (0, 0)), mode="reflect").astype(np.float32) / 255
    x = torch.from_numpy(padded.transpose(2, 0, 1))[None]
    with torch.no_grad():
        output = ((network(2 * x - 1) + 1) / 2 if row.signed else network(x))[0].numpy()
    expected = np.rint(255 * output.clip(0, 1)).transpose(1, 2, 0)[: size[0], : size[1]]
    assert (restored.shape, restored.dtype) == (picture.shape, np.uint8)
    assert np.abs(restored - expected).max() <= 1  # a tie may fall to either side
    assert np.ptp(expected) > 0 or size == (1, 1)


@pytest.mark.parametrize("row", [row for row in TABLE if row.fixed is not None], ids=str)
def test_a_network_of_one_size_refuses_the_others_and_says_which_option_takes_them(row: Row) -> None:
    options = {**HOST.model(row.model).tiny, **row.options}
    restorer = Restorer(
        _built(row.model, options),
        model=HOST.model(row.model),
        options=options,
        device="cpu",
        dtype="float32",
    )
    assert restorer.restore_array(np.zeros((32, 32, 3), np.uint8)).shape == (32, 32, 3)
    for size in ((1, 1), (32, 31), (33, 32), (64, 64)):
        with pytest.raises(PictureError, match=r"takes pictures of 32x32 px only.*lstm=conv"):
            restorer.restore_array(np.zeros((*size, 3), np.uint8))


def _built(name: str, options: Mapping[str, Any]) -> nn.Module:
    """A fresh network in eval mode, always the same."""
    torch.manual_seed(0)
    network: nn.Module = HOST.model(name).build(options)
    return network.eval()


def _other(option: Option) -> Any:
    """Another value than the default, for a network that is no larger."""
    if option.choices:
        return next(value for value in option.choices if value != option.default)
    return {bool: not option.default, int: 2 if option.default == 4 else 4, float: 0.5}[option.type]


OPTIONS = [(name, option) for name in dict.fromkeys(row.model for row in TABLE) if name in HOST.models
           for option in HOST.models[name].options]  # fmt: skip


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_option_makes_another_network(name: str, option: str) -> None:
    """By its layers, or by what it makes of a picture."""
    model = HOST.model(name)
    values = (model.options[option].default, _other(model.options[option]))
    networks = [_built(name, {**model.tiny, option: value}) for value in values]
    shapes = [{key: value.shape for key, value in network.state_dict().items()} for network in networks]
    if shapes[0] == shapes[1]:
        side = max(32, model.geometry_for({}).multiple_of)
        picture = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            first, second = (network.train(option == "dropout")(picture) for network in networks)
        assert not torch.equal(first, second)


@pytest.fixture(scope="session")
def small_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pairs of 32x32 px, some noise and its mean over 3x3."""
    from scipy.ndimage import uniform_filter

    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for name in ("blur", "sharp"):
        (folder / name).mkdir()
    for i in range(4):
        sharp = rng.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(sharp).save(folder / "sharp" / f"{i}.png")
        Image.fromarray(uniform_filter(sharp, (3, 3, 0))).save(folder / "blur" / f"{i}.png")
    return folder


SET: Mapping[str, Mapping[str, Any]] = {
    "resnet16": {"width": 8},
    "unet16": {"levels": 2, "width": 4, "output": "linear"},
    "rednet30": {"depth": 2, "width": 4},
    "rednet30wgan": {"depth": 2, "width": 4, "activation": "relu"},
    "msdeblurwgan_5": {"blocks": 1, "width": 4, "up_features": 5},
    "deblurgan": {
        "width": 4, "blocks": 1, "norm": "batch", "dropout": 0.25, "output": "clip", "iterations": 1, "edge": True,
    },
    "pix2pix": {"attention": "sa+ca", "residual": "average", "spectral_norm": True, "width": 4, "depth": 4},
    "rir": {"levels": 2, "width": 4, "residual": "sum", "spectral_norm": False},
    "resunet3": {"blocks": 1, "width": 4},
    "eddensenet": {"growth": 4, "layers": 2},
    "caessc_d30_f64": {"depth": 6, "width": 4, "half": True, "output": "relu"},
    "srndeblur_cifar": {"lstm": "dense", "deconv_act": "sigmoid", "width": 4, "blocks": 1},
    "srndeblur_reds": {"carry_state": True, "width": 4, "blocks": 1},
    "srn_deblurnet": {"lstm": "none", "width": 4, "blocks": 1},
}  # fmt: skip
"""Of each kind of network all options, with other values than by default."""


@pytest.mark.parametrize("name", SET)
def test_a_training_by_the_command_takes_the_options_and_its_file_builds_the_network(
    name: str, run: Callable[..., Any], small_pairs: Path, tmp_path: Path
) -> None:
    model = HOST.model(name)
    options = dict(SET[name])
    words = [f"model.{item}={str(value).lower()}" for item, value in options.items()]

    trained = run(
        "train", "--data", small_pairs, "-m", name, "-o", "mine", "--steps", "2", "--device", "cpu",
        "--set", *words, "batch_size=2",
    )  # fmt: skip

    assert trained.code == 0, trained.err
    source = resolve(HOST, str(tmp_path / "mine"))
    assert source.model.name == name
    assert {item: source.options[item] for item in options} == options
    made, wanted = load_network(source), model.build(options)
    assert [item.shape for item in made.parameters()] == [item.shape for item in wanted.parameters()]

    size = model.geometry_for(options).fixed_size
    height, width = (size, size) if size else (31, 37)
    picture = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "odd.png")
    restored = run("odd.png", "-m", "mine", "--force", "--device", "cpu", "--dtype", "float32")
    assert restored.code == 0, restored.err
    with Image.open(tmp_path / "odd.deblurred.png") as found:
        assert (found.size, found.mode) == ((width, height), "RGB")
        again = Restorer(made, model=model, options=source.options, device="cpu", dtype="float32")
        assert np.array_equal(np.asarray(found), again.restore_array(picture))


def test_the_command_names_every_option() -> None:
    """Those of the table above are all that there are."""
    assert {name: set(HOST.model(name).options) - set(options) for name, options in SET.items()} == {
        name: {"lstm"} if name == "srndeblur_reds" else set() for name in SET
    }
