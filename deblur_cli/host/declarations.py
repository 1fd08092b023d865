"""What a plugin declares: frozen values, cheap to import, checked for sense when they are made.

Nothing here imports torch or numpy. Code is named by import path ("package.module:name") and imported when used.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from types import MappingProxyType
from typing import Any

from deblur_cli.errors import MissingError, NotEnoughRoomError, memory_ran_out
from deblur_cli.host.checks import (
    TYPE_WORDS,
    DeclarationError,
    is_int,
    is_number,
    near_or_all,
    require,
    require_import_path,
    require_name,
)
from deblur_cli.host.recipes import Recipe

API = 1
"""Version of this contract. A plugin may set `API` in its module; a newer one than this is set aside."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def import_object(path: str) -> Any:
    """The object that an import path such as "package.module:Class" names.

    Raises ImportError or AttributeError where it does not exist. `Any`: the caller knows what it asked for.
    """
    module, _, attributes = path.partition(":")
    value: Any = import_module(module)
    for attribute in attributes.split("."):
        value = getattr(value, attribute)
    return value


class Values(StrEnum):
    """The range of a network's input and output. The restorer maps pictures to it and back."""

    UNIT = "unit"  # [0, 1]
    SIGNED = "signed"  # [-1, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What tiling must know about a network.

    multiple_of : height and width must be multiples of this, in pixels; so must tile origins
    halo : half-extent, the largest distance in pixels at which an input pixel changes an output pixel;
        None where some layer looks at the whole picture
    frozen_halo : the half-extent of a network that looks at the whole picture, once it is told of that (OfPicture);
        None where it cannot be told all
    fixed_size : the only height and width accepted, in pixels, or None
    overlap : for a halo so wide that exact tiles would read more than twice the picture: the pixels that tiles read
        around what they keep instead. Such tiling is approximate. None where tiles are always exact
    hint : what to do about the geometry, for messages: which option makes it smaller
    """

    multiple_of: int = 1
    halo: int | None
    frozen_halo: int | None = None
    fixed_size: int | None = None
    overlap: int | None = None
    hint: str = ""

    def __post_init__(self) -> None:
        require(
            is_int(self.multiple_of) and self.multiple_of >= 1,
            "geometry.multiple_of",
            self.multiple_of,
            "an integer >= 1",
        )
        require(
            self.halo is None or (is_int(self.halo) and self.halo >= 0),
            "geometry.halo",
            self.halo,
            "an integer >= 0, or None",
        )
        require(
            self.frozen_halo is None
            or (is_int(self.frozen_halo) and self.frozen_halo >= 0 and self.halo is None),
            "geometry.frozen_halo",
            self.frozen_halo,
            "an integer >= 0 beside halo=None, or None",
        )
        require(
            self.fixed_size is None
            or (is_int(self.fixed_size) and self.fixed_size >= 1 and self.fixed_size % self.multiple_of == 0),
            "geometry.fixed_size",
            self.fixed_size,
            "a positive multiple of multiple_of, or None",
        )
        require(
            self.overlap is None
            or (is_int(self.overlap) and self.halo is not None and 0 <= self.overlap < self.halo),
            "geometry.overlap",
            self.overlap,
            "an integer >= 0 below the halo, or None",
        )

    @property
    def reach(self) -> int | None:
        """The half-extent of all that a network does not take from the whole picture; None where that is not known."""
        return self.frozen_halo if self.halo is None else self.halo


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Figures for the model list; the conformance kit compares them with the built network.

    parameters : trainable scalars; kmacs_per_pixel : thousand multiply-accumulates per input pixel
    bytes_per_pixel : most memory of activations during a forward pass over 1024x1024 pixels, in float32 as the restorer
        runs it, per pixel of the picture; None where it is not stated
    """

    parameters: int
    kmacs_per_pixel: float
    bytes_per_pixel: int | None = None

    def __post_init__(self) -> None:
        require(
            is_int(self.parameters) and self.parameters >= 0,
            "facts.parameters",
            self.parameters,
            "an integer >= 0",
        )
        require(
            is_number(self.kmacs_per_pixel) and self.kmacs_per_pixel >= 0,
            "facts.kmacs_per_pixel",
            self.kmacs_per_pixel,
            "a number >= 0",
        )
        require(
            self.bytes_per_pixel is None or (is_int(self.bytes_per_pixel) and self.bytes_per_pixel >= 0),
            "facts.bytes_per_pixel",
            self.bytes_per_pixel,
            "an integer >= 0, or None",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One keyword argument of a network that users may set. least : of a number, the smallest that is taken"""

    type: type
    default: Any  # of `type`
    help: str
    choices: tuple[Any, ...] = ()
    least: float | None = None

    def __post_init__(self) -> None:
        require(
            self.type in (bool, int, float, str), "option.type", self.type, "one of bool, int, float, str"
        )
        require(type(self.default) is self.type, "option.default", self.default, f"a {self.type.__name__}")
        require(
            not self.choices or self.default in self.choices,
            "option.default",
            self.default,
            f"one of {self.choices}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A released weights file. `file` lies beside the plugin's package, or in the host's released weights."""

    tag: str
    file: str
    sha256: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        require_name(self.tag, "weights.tag")
        require(
            isinstance(self.file, str) and self.file.endswith(".safetensors"),
            "weights.file",
            self.file,
            "a .safetensors file name",
        )
        require(
            self.sha256 is None or bool(_SHA256.fullmatch(self.sha256)),
            "weights.sha256",
            self.sha256,
            "64 hexadecimal digits",
        )
        require(
            self.url is None or self.sha256 is not None,
            "weights.sha256",
            self.sha256,
            "given wherever there is a url",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What a report prints of a network's scores, to stand beside ours.

    protocol : the name of the protocol that comes nearest to how it was measured
    scores : by name of a metric; of psnr the mean over the pictures
    blurry : of the blurred pictures, where it prints them
    where : report and table; note : what to know before the two are compared
    options : of the network that was measured, where they are not the defaults
    """

    protocol: str
    scores: Mapping[str, float]
    where: str
    note: str = ""
    blurry: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_name(self.protocol, "reported.protocol")
        for name in ("scores", "blurry"):
            scores = getattr(self, name)
            require(
                isinstance(scores, Mapping) and all(map(is_number, scores.values())),
                f"reported.{name}",
                scores,
                "a mapping of metrics to numbers",
            )
            object.__setattr__(self, name, MappingProxyType(dict(scores)))
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A network that restores pictures.

    network : import path of a callable that takes the options as keywords and returns a torch.nn.Module, which maps
        (B, 3, H, W) float32 in the range `values` to the same shape and range. In training mode it may return several
        pictures, the finest first, for a loss of several scales
    source : the report or publication that it is taken from; paper : another one that this follows, if any
    geometry : a Geometry, or a function (options) -> Geometry
    licence : of the code; each weights file states its own
    reported : what its report says of its scores
    preference : of our models with weights the one with the greatest number is the default
    tiny : options of a variant that trains in seconds, for tests; empty = the network as it is
    """

    name: str
    summary: str
    source: str
    network: str
    geometry: Geometry | Callable[[Mapping[str, Any]], Geometry]
    facts: Facts
    licence: str
    paper: str = ""
    values: Values = Values.UNIT
    options: Mapping[str, Option] = field(default_factory=dict)
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    weights: tuple[Weights, ...] = ()
    reported: tuple[Reported, ...] = ()
    preference: int = 0
    tiny: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_name(self.name, "model.name")
        require(
            "." not in self.name, "model.name", self.name, "without a dot, which separates the tag of weights"
        )
        for name in ("summary", "source", "licence"):
            value = getattr(self, name)
            require(
                isinstance(value, str) and bool(value.strip()),
                f"model {self.name}: {name}",
                value,
                "a text that says something",
            )
        require_import_path(self.network, f"model {self.name}: network")
        require(self.values in tuple(Values), f"model {self.name}: values", self.values, " or ".join(Values))
        object.__setattr__(self, "values", Values(self.values))
        require(isinstance(self.facts, Facts), f"model {self.name}: facts", self.facts, "a Facts")
        for name, kind in (("options", Option), ("recipes", Recipe)):
            mapping = getattr(self, name)
            require(
                isinstance(mapping, Mapping) and all(isinstance(value, kind) for value in mapping.values()),
                f"model {self.name}: {name}",
                mapping,
                f"a mapping of names to {kind.__name__}",
            )
            object.__setattr__(self, name, MappingProxyType(dict(mapping)))
        require(isinstance(self.tiny, Mapping), f"model {self.name}: tiny", self.tiny, "a mapping of options")
        object.__setattr__(self, "tiny", MappingProxyType(dict(self.tiny)))
        unknown = set(self.tiny) - set(self.options)
        require(not unknown, f"model {self.name}: tiny", sorted(unknown), "made of declared options")
        require(
            all(isinstance(item, Weights) for item in self.weights),
            f"model {self.name}: weights",
            self.weights,
            "a tuple of Weights",
        )
        require(
            all(
                isinstance(item, Reported) and not set(item.options) - set(self.options)
                for item in self.reported
            ),
            f"model {self.name}: reported",
            self.reported,
            "a tuple of Reported with declared options",
        )
        tags = [item.tag for item in self.weights]
        require(len(set(tags)) == len(tags), f"model {self.name}: weights", tags, "of different tags")
        require(
            isinstance(self.geometry_for({}), Geometry),
            f"model {self.name}: geometry",
            self.geometry,
            "a Geometry for the default options",
        )

    def resolve_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options with their values: the given ones over the defaults.

        Raises DeclarationError for an unknown name or a value that the option does not take.
        """
        return _resolve(f"model {self.name}", self.options, given)

    def geometry_for(self, options: Mapping[str, Any]) -> Geometry:
        """The geometry of the network built with these options (defaults for those not given)."""
        if isinstance(self.geometry, Geometry):
            return self.geometry
        return self.geometry(self.resolve_options(options))

    def build(self, options: Mapping[str, Any] | None = None) -> Any:
        """A fresh network (torch.nn.Module; `Any` because this module must not import torch).

        Raises
        ------
        MissingError : the network cannot be imported or built; names the cause
        NotEnoughRoomError : memory does not hold it
        """
        resolved = self.resolve_options(options or {})
        try:
            return import_object(self.network)(**resolved)
        except Exception as error:  # a stranger's code may raise anything
            if memory_ran_out(error):
                given = ", ".join(f"{name}={value}" for name, value in resolved.items())
                raise NotEnoughRoomError(
                    f"memory does not hold the network of model {self.name} with {given or 'its options'}; make it smaller"
                ) from error
            why = (str(error).splitlines() or ["no message"])[0]  # PyTorch's may go on with a trace of C++
            raise MissingError(
                f"the network {self.network} of model {self.name} cannot be built: {type(error).__name__}: {why}; "
                f"`deblur plugins check {self.name}` shows more"
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A measure of a restored picture, against the sharp one or by itself.

    function : import path of (restored, sharp) -> float, both (H, W, C) float32 arrays in [0, 1]; of (restored) -> float
        where `reference` is False. One of `function` and `build` is given
    build : import path of (**options) -> such a function, for a metric that must be prepared first, with a file of weights
    reference : whether the sharp picture is needed
    higher_is_better, unit, decimals : how tables show it
    options : what a user may set; files : which of them are paths of files, "" = none
    """

    name: str
    summary: str
    function: str = ""
    build: str = ""
    reference: bool = True
    higher_is_better: bool
    unit: str = ""
    decimals: int = 4
    options: Mapping[str, Option] = field(default_factory=dict, hash=False)
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_name(self.name, "metric.name")
        _require_function_or_build(f"metric {self.name}", self.function, self.build)
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))
        _require_options(f"metric {self.name}", self.options, self.files)

    def resolve_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options with their values. Raises DeclarationError for an unknown name or a value that does not fit."""
        return _resolve(f"metric {self.name}", self.options, given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A downloadable archive of a data set. checksum : "sha256:...", or "md5:..." where only that is published; size in bytes."""

    url: str
    checksum: str
    size: int

    def __post_init__(self) -> None:
        require(
            self.checksum.partition(":")[0] in ("sha256", "md5"),
            "archive.checksum",
            self.checksum,
            "sha256:... or md5:...",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A named set of pairs, or of sharp pictures to be blurred.

    pairs : import path of (root: Path, split: str) -> sequence of deblur_cli.data.Pair; raises MissingError
        where the folder does not hold it
    sharp : import path of (root: Path, split: str) -> sequence of deblur_cli.data.SharpPicture, for a set without
        blurred pictures; `preset` then says how they are blurred unless the user does. One of `pairs` and `sharp` is given
    folder : its folder below DEBLUR_DATA; layout : what is expected, for messages
    splits : the parts its authors made, which are what `split` can be; of sharp pictures a preset divides val off train
    generated : whether it is made on the spot, so that no root is needed
    licence, credit : of the pictures; obtain : how a user gets them, one step a line
    archive : a file that `deblur datasets get` may download
    """

    name: str
    summary: str
    layout: str
    pairs: str = ""
    sharp: str = ""
    preset: str = ""
    splits: tuple[str, ...] = ("train", "val")
    folder: str = ""
    generated: bool = False
    licence: str = ""
    credit: str = ""
    obtain: str = ""
    archive: Archive | None = None

    def __post_init__(self) -> None:
        require_name(self.name, "dataset.name")
        require(
            bool(self.pairs) != bool(self.sharp),
            f"dataset {self.name}: pairs",
            self.pairs,
            "an import path, unless `sharp` is one",
        )
        require_import_path(
            self.pairs or self.sharp, f"dataset {self.name}: {'pairs' if self.pairs else 'sharp'}"
        )
        require(
            bool(self.preset) == bool(self.sharp),
            f"dataset {self.name}: preset",
            self.preset,
            "the name of a preset where `sharp` is given, and nothing else",
        )


class Stage(StrEnum):
    """Where in the physics of a photograph a degradation happens; a spec that breaks this order is warned of."""

    FRAMES = "frames"  # makes one picture of several frames
    SCENE = "scene"  # changes the light itself, so the sharp picture too
    BLUR = "blur"
    SENSOR = "sensor"  # noise
    FILE = "file"  # acts on the stored 8-bit code values


@dataclass(frozen=True, slots=True, kw_only=True)
class Degradation:
    """A step that a spec can name: a kind of blur, noise or compression.

    params : import path of the frozen dataclass of its parameters, fields made by deblur_cli.blur.params.number
    apply : import path of (image, params, rng) -> image, (H, W, C) float32 in [0, 1], a numpy Generator
    kernel : import path of (params, rng) -> kernel, an odd square float64 array that sums to 1. Without `apply` the
        picture is convolved with it; else it is only shown and recorded
    bound : the distance in px at which it looks: a number, or the import path of (node) -> int, where `node` holds the
        distribution of each parameter by name
    draw : import path of (node, rng, number) -> params, where drawing each parameter by itself does not do
    stage : where in the physics it happens; a SCENE degradation changes the sharp picture too, a FILE one acts on stored
        8-bit values
    places : whether it differs from place to place: `apply` and `kernel` then take `window=` too
    codes : whether `apply` takes uint8 code values as well, of which it may return uint8: what acts on stored pixels is
        then spared the way to floats and back
    """

    name: str
    summary: str
    params: str
    bound: int | str
    apply: str = ""
    kernel: str = ""
    draw: str = ""
    stage: Stage = Stage.BLUR
    places: bool = False
    codes: bool = False

    def __post_init__(self) -> None:
        require_name(self.name, "degradation.name")
        where = f"degradation {self.name}"
        require_import_path(self.params, f"{where}: params")
        require(
            bool(self.apply or self.kernel),
            f"{where}: apply",
            self.apply,
            "an import path, unless `kernel` is one",
        )
        for name in ("apply", "kernel", "draw"):
            if getattr(self, name):
                require_import_path(getattr(self, name), f"{where}: {name}")
        if isinstance(self.bound, str):
            require_import_path(self.bound, f"{where}: bound")
        else:
            require(is_int(self.bound) and self.bound >= 0, f"{where}: bound", self.bound, "an integer >= 0")
        require(self.stage in tuple(Stage), f"{where}: stage", self.stage, " or ".join(Stage))
        object.__setattr__(self, "stage", Stage(self.stage))


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A training loss. One of `function` and `build` is given.

    function : import path of (restored, sharp, **options) -> scalar tensor, both (B, C, H, W) in the network's range
    build : import path of (values: Values, **options) -> such a function of two arguments, for a loss that must be
        prepared first. Where it is an nn.Module it is moved to the device and never trained
    options : what a recipe may set besides weight and scales
    files : which of the options are paths of files, "" = none; a run keeps their SHA-256, and weights no more than the name
    """

    name: str
    summary: str
    function: str = ""
    build: str = ""
    options: Mapping[str, Option] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_name(self.name, "loss.name")
        _require_function_or_build(f"loss {self.name}", self.function, self.build)
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))
        _require_options(f"loss {self.name}", self.options, self.files)
        require(
            not {"weight", "scales"} & set(self.options),
            f"loss {self.name}: options",
            dict(self.options),
            "without weight and scales, which are those of every loss",
        )

    def resolve_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options with their values. Raises DeclarationError for an unknown name or a value that does not fit."""
        return _resolve(f"loss {self.name}", self.options, given)


def _require_function_or_build(owner: str, function: str, build: str) -> None:
    require(
        bool(function) != bool(build), f"{owner}: function", function, "an import path, unless `build` is one"
    )
    require_import_path(function or build, f"{owner}: {'function' if function else 'build'}")


def _require_options(owner: str, options: Mapping[str, Option], files: tuple[str, ...]) -> None:
    require(
        all(isinstance(option, Option) for option in options.values()),
        f"{owner}: options",
        dict(options),
        "a mapping of names to Option",
    )
    require(
        all(name in options and options[name].type is str for name in files),
        f"{owner}: files",
        files,
        "names of its options that are texts",
    )


def _resolve(owner: str, options: Mapping[str, Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given values over the defaults. owner : for messages, such as "model rednet30" """
    resolved = {name: option.default for name, option in options.items()}
    for name, value in given.items():
        option = options.get(name)
        if option is None:
            raise DeclarationError(f"{owner} has no option {name!r}{near_or_all(name, options)}")
        if option.type is float and is_int(value):
            value = float(value)
        require(type(value) is option.type, f"{owner}: option {name}", value, TYPE_WORDS[option.type])
        require(
            not option.choices or value in option.choices,
            f"{owner}: option {name}",
            value,
            f"one of {', '.join(map(str, option.choices))}",
        )
        require(
            option.least is None or value >= option.least,
            f"{owner}: option {name}",
            value,
            f"at least {option.least}",
        )
        resolved[name] = value
    return resolved
