"""What reports print of their networks' scores: the declarations against tables typed from the reports."""

import math
from collections.abc import Iterator

import pytest

from deblur_cli import Reported
from deblur_cli.evaluation.protocols import PROTOCOLS
from deblur_cli.host.checks import DeclarationError
from deblur_cli.host.manager import Host

HOST = Host.discover(environ={})
MODELS, METRICS = HOST.models, HOST.metrics

# Figures as printed; "-" where there is none. LogCosh in 1e-4, MSE in 1e-3, MAE in 1e-2, as in the first report. The
# second project's tables cut digits off (0.003897 is 0.00389 there), so their figures bound ours from below.
PRINTED = """
model                            protocol          logcosh  ssim     psnr      mse     mae
resnet16                         cifar10-s0        9.794    0.9034   29.09     1.965   2.888
unet16                           cifar10-s0        10.44    0.9001   29.32     2.095   2.898
rednet30                         cifar10-s0        6.966    0.9258   33.52     1.398   2.165
resnet16                         reds-s0-512       8.669    0.8554   29.49     1.742   2.536
unet16                           reds-s0-512       8.763    0.8646   30.41     1.761   2.312
rednet30                         reds-s0-512       5.793    0.8976   31.98     1.163   1.884
msdeblurwgan                     cifar10-s0        -        0.9054   31.49     1.734   2.471
rednet30wgan                     cifar10-s0        -        0.9012   31.98     1.900   2.482
msdeblurwgan_5                   reds-s0-256       -        0.8031   27.11     1.729   2.495
deblurgan                        gopro-256-nearest -        -        26.77     -       -
deblurgan                        gopro-256-nearest -        -        25.06     -       -
deblurgan/output=clip            gopro-full        -        0.958    28.70     -       -
resunet1                         cifar10-s2        -        0.930    28.49     1.8     -
resunet3                         cifar10-s2        -        0.935    29.03     1.6     -
eddensenet                       cifar10-s2        -        0.90     27.62     2.1     -
caessc_d22_f128_half_no_sigmoid  cifar10-s2        -        0.839    24.85     3.89    -
caessc_d22_f128_half             cifar10-s2        -        0.916    28.12     2.0     -
caessc_d30_f64                   cifar10-s2        -        0.919    28.95     1.8     -
srndeblur_cifar                  cifar10-s2        -        0.9225   29.23     1.75    -
srndeblur_cifar/lstm=dense       cifar10-s2        -        0.9188   29.38     1.74    -
srndeblur_reds                   reds-s2           -        0.8105   27.23     2       -
srn_deblurnet                    gopro-full        -        0.9342   30.26     -       -
unet20                           cifar10-s3        -        0.874477 27.181793 2.962   -
pix2pix                          gopro-256-resize  -        0.810    25.41     -       -
pix2pix_sa                       gopro-256-resize  -        0.808    25.41     -       -
pix2pix_sa_gr                    gopro-256-resize  -        0.858    27.29     -       -
pix2pix_sa_sn                    gopro-256-resize  -        0.831    26.05     -       -
pix2pix_full                     gopro-256-resize  -        0.831    27.05     -       -
pix2pix                          gopro-256-crop    -        0.810    25.41     -       -
pix2pix_sa                       gopro-256-crop    -        0.808    25.41     -       -
pix2pix_sa_gr                    gopro-256-crop    -        0.858    27.29     -       -
pix2pix_sa_sn                    gopro-256-crop    -        0.831    26.05     -       -
pix2pix_full                     gopro-256-crop    -        0.831    27.05     -       -
rir                              gopro-full        -        0.640    22.70     -       -
rir_large                        gopro-full        -        0.671    23.46     -       -
deblurgan_edge                   gopro-full        -        0.773    25.27     -       -
deblurgan_feedback               gopro-full        -        0.827    27.20     -       -
"""
BLURRED = """
protocol                         logcosh  ssim     psnr    mse     mae
cifar10-s0                       34.48    0.7135   24.67   6.317   4.517
reds-s0-512                      19.54    0.8237   28.80   2.594   2.118
reds-s0-256                      -        0.8359   27.68   3.120   2.390
"""
UNITS = {"logcosh": 1e-4, "mse": 1e-3, "mae": 1e-2, "psnr": 1.0, "ssim": 1.0}


def rows(table: str) -> Iterator[tuple[list[str], dict[str, tuple[float, float]]]]:
    """Names at the left of each row, and by metric the figure with one unit of its last digit."""
    titles, *lines = (line.split() for line in table.strip().splitlines())
    for line in lines:
        names = [word for title, word in zip(titles, line, strict=True) if title not in UNITS]
        figures = {
            title: (float(word) * UNITS[title], 10.0 ** -len(word.partition(".")[2]) * UNITS[title])
            for title, word in zip(titles, line, strict=True)
            if title in UNITS and word != "-"
        }
        yield names, figures


def declared() -> Iterator[tuple[str, Reported]]:
    for name, model in MODELS.items():
        for item in model.reported:
            yield "/".join([name, *(f"{key}={value}" for key, value in item.options.items())]), item


def agrees(value: float, figure: float, digit: float, *, cut: bool) -> bool:
    """Whether a value is what is printed, or begins with it where digits were cut off."""
    if cut:
        return figure - 1e-12 <= value < figure + digit
    return math.isclose(value, figure, rel_tol=1e-12)


def test_the_declarations_are_what_reports_print_and_no_more() -> None:
    left = list(declared())
    for (label, protocol), figures in rows(PRINTED):
        (found, *_) = [
            (name, item) for name, item in left if (name, item.protocol) == (label, protocol)
        ] or pytest.fail(f"{label} has no figures for {protocol}")
        left.remove(found)  # of two runs of one network, in their order
        item = found[1]
        assert set(item.scores) == set(figures), label
        cut = protocol in ("cifar10-s2", "reds-s2")
        for metric, (figure, digit) in figures.items():
            assert agrees(item.scores[metric], figure, digit, cut=cut), (label, protocol, metric)
    assert not left, "declared, but in no table"


def test_the_blurred_pictures_scores_are_those_of_the_first_report() -> None:
    printed = {protocol: figures for (protocol,), figures in rows(BLURRED)}
    seen = set()
    for label, item in declared():
        assert bool(item.blurry) == (item.protocol in printed), label
        for metric, value in item.blurry.items():
            assert value == pytest.approx(printed[item.protocol][metric][0], rel=1e-12), (label, metric)
            seen.add((item.protocol, metric))
        assert set(item.blurry) <= set(item.scores), "a baseline stands beside a score"
    assert seen == {(protocol, metric) for protocol, figures in printed.items() for metric in figures}


def test_the_figures_are_consistent_but_where_a_note_says_so() -> None:
    """log(cosh(x)) <= x^2 / 2, and by Jensen a mean of PSNR is at least the PSNR of the mean error."""
    odd = set()
    for label, item in declared():
        if "logcosh" in item.scores:
            assert item.scores["logcosh"] <= item.scores["mse"] / 2, label
        for name, scores in (("network", item.scores), ("blurred", item.blurry)):
            if "mse" in scores and scores["psnr"] < -10 * math.log10(scores["mse"]):
                odd.add((label, name))
                assert "does not belong to its PSNR" in item.note
        if "logcosh" in item.blurry:
            assert item.blurry["logcosh"] > item.blurry["mse"] / 2
            assert "computed in another way" in item.note
    assert odd == {("msdeblurwgan_5", "network")}


def test_each_figure_belongs_to_a_protocol_that_measures_its_metrics() -> None:
    for label, item in declared():
        assert item.protocol in PROTOCOLS, label
        assert set(item.scores) <= set(METRICS), label


def test_each_figure_says_where_it_stands() -> None:
    authors = {"cifar10-s0": "Orlandi", "reds-s0-512": "Orlandi", "reds-s0-256": "Orlandi", "cifar10-s3": "Agosto",
               "cifar10-s2": "Dicosola", "reds-s2": "Dicosola", "gopro-256-nearest": "Lin"}  # fmt: skip
    for label, item in declared():
        assert item.where.startswith(authors.get(item.protocol, ("Lenka", "Kupyn", "Tao"))), label
        assert ("table" in item.where) == item.where.startswith("Orlandi"), (
            "only the first report numbers its tables"
        )


def test_what_is_quoted_or_not_comparable_is_said() -> None:
    notes = {(label, item.protocol): item.note for label, item in declared()}
    assert "not comparable" in notes["deblurgan/output=clip", "gopro-full"]
    assert "complex-wavelet" in notes["deblurgan/output=clip", "gopro-full"]
    assert "ssim-matlab3d" in notes["srn_deblurnet", "gopro-full"]
    for (label, protocol), note in notes.items():
        if protocol == "cifar10-s2":
            assert "draws its blur anew" in note, label
        if label.startswith("pix2pix"):
            assert "cropped" in note


def test_options_of_what_was_measured_are_those_that_the_network_takes() -> None:
    for name, model in MODELS.items():
        for item in model.reported:
            resolved = model.resolve_options(item.options)
            assert all(resolved[key] != model.options[key].default for key in item.options), name


@pytest.mark.parametrize("field", ["scores", "blurry"])
@pytest.mark.parametrize("scores", [{"psnr": "33"}, {"psnr": True}, [33.5], None])
def test_figures_that_are_no_numbers_are_refused(field: str, scores: object) -> None:
    given = {"scores": {"psnr": 1.0}, field: scores}
    with pytest.raises(DeclarationError, match=rf"reported\.{field}"):
        Reported(protocol="p", where="w", **given)  # type: ignore[arg-type]


def test_the_command_shows_them_beside_the_weights_scores(run) -> None:
    (facts,) = run("models", "show", "rednet30wgan", "--json").json()
    (reported,) = facts["reported"]
    (item,) = MODELS["rednet30wgan"].reported
    assert (reported["protocol"], reported["where"]) == (item.protocol, item.where)
    assert (reported["restored"], reported["blurry"]) == (dict(item.scores), dict(item.blurry))
    page = " ".join(run("models", "show", "rednet30wgan").out.split())
    assert "reported cifar10-s0: SSIM 0.7135 -> 0.9012, PSNR 24.67 -> 31.98 dB" in page
    assert "(Orlandi, Pinardi, table 4.1)" in page
