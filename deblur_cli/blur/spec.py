"""A spec: everything that decides how pairs are made of sharp pictures, as one frozen value.

`deblur_cli.blur.spec_file` reads it from TOML; presets are such files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from deblur_cli.blur.borders import Border
from deblur_cli.blur.distributions import Distribution
from deblur_cli.blur.light import Light, WorkingLight
from deblur_cli.blur.operations import load_operation
from deblur_cli.blur.params import complete
from deblur_cli.host.declarations import Degradation

SCHEMA = 1


class SourceKind(StrEnum):
    """What the sharp pictures come from."""

    IMAGES = "images"
    FRAMES = "frames"  # consecutive frames of a video, averaged
    PAIRS = "pairs"  # blurred pictures are there already
    CIFAR10 = "cifar10"


class Select(StrEnum):
    """How a mixture takes its branch."""

    RANDOM = "random"  # by the probabilities
    CYCLE = "cycle"  # in turn, one a draw


class Redraw(StrEnum):
    """Whether a training that blurs on the fly draws anew."""

    EPOCH = "epoch"
    NEVER = "never"  # each picture is blurred once, as if the pairs had been made before


class Group(StrEnum):
    """What must not be torn apart by a split."""

    FILE = "file"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operation. slot : its number among all steps, counted depth first from 1

    node : distributions by parameter, for those the spec names
    prob : probability with which it is applied; None = always, and nothing is drawn for it
    light : overrides the spec's
    """

    slot: int
    op: str
    node: Mapping[str, Distribution] = field(default_factory=dict)
    prob: float | None = None
    light: WorkingLight | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One of several alternatives. p : its probability."""

    p: float
    steps: "tuple[Step | Mix, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """One of several branches is taken."""

    slot: int
    branches: tuple[Branch, ...]
    select: Select = Select.RANDOM
    prob: float | None = None


class Filter(StrEnum):
    """How a picture is resized."""

    BILINEAR = "bilinear"
    AREA = "area"
    BICUBIC = "bicubic"
    NEAREST = "nearest"  # by pixel centres, as Pillow does


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """Before anything else.

    size : (width, height) in px, or None where `scale` is given, a factor for both
    antialias : filter as wide as the reduction (Pillow's) instead of a fixed width
    """

    size: tuple[int, int] | None = None
    scale: float | None = None
    filter: Filter = Filter.BILINEAR
    antialias: bool = False

    def target(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in px that a picture of this height and width gets."""
        if self.size is not None:
            return self.size[1], self.size[0]
        assert self.scale is not None
        return max(1, round(height * self.scale)), max(1, round(width * self.scale))


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """splits : share of each part by name, summing to 1; group : what stays in one part."""

    splits: Mapping[str, float] = field(default_factory=lambda: {"train": 0.9, "val": 0.05, "test": 0.05})
    group: Group = Group.FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """How pairs are made.

    light : what the steps act on; border : what happens at the edge
    draws : how often each picture is degraded; patches : patches in each draw
    patch : (height, width) of patches in px, None = whole pictures
    grid : (rows, columns) of equal tiles that a whole picture is cut into afterwards, or None
    flips : mirror pairs at random
    candidates : places tried for each patch; the one with most detail is taken
    redraw : see Redraw
    text : the TOML it came from, "" for one made in Python
    """

    name: str
    seed: int
    steps: tuple[Step | Mix, ...] = ()
    source: SourceKind = SourceKind.IMAGES
    light: WorkingLight = Light.SRGB
    border: Border = Border.REFLECT101
    draws: int = 1
    patches: int = 1
    patch: tuple[int, int] | None = None
    resize: Resize | None = None
    grid: tuple[int, int] | None = None
    flips: bool = False
    candidates: int = 1
    redraw: Redraw = Redraw.EPOCH
    output: Output = field(default_factory=Output)
    text: str = ""


def margin(spec: Spec, operations: Mapping[str, Degradation]) -> int:
    """Px that are cut off at each edge, of sharp and blurred alike: 0 unless the border is crop-valid.

    The sum of the bounds of the steps, of a mixture the greatest, so that all pairs get one size.
    """
    return reach(spec, operations) if spec.border is Border.CROP_VALID else 0


def reach(spec: Spec, operations: Mapping[str, Degradation]) -> int:
    """The distance in px at which all steps together look."""
    return _bound(spec.steps, operations)


def walk(steps: Sequence[Step | Mix]) -> Iterator[Step | Mix]:
    """All steps and mixtures, depth first: in the order of their slots."""
    for step in steps:
        yield step
        if isinstance(step, Mix):
            for branch in step.branches:
                yield from walk(branch.steps)


def _bound(steps: Sequence[Step | Mix], operations: Mapping[str, Degradation]) -> int:
    total = 0
    for step in steps:
        if isinstance(step, Mix):
            total += max(_bound(branch.steps, operations) for branch in step.branches)
        else:
            total += step_bound(step, operations[step.op])
    return total


def step_bound(step: Step, operation: Degradation) -> int:
    """The distance in px at which any drawn instance of a step looks."""
    if isinstance(operation.bound, int):
        return operation.bound
    loaded = load_operation(operation)  # cached: asked for each pair
    assert loaded.bound is not None
    return int(loaded.bound(complete(loaded.params, step.node)))
