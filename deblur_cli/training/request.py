"""What a user asks for, as a value that run.json holds and a resumed run takes up again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from deblur_cli.errors import UsageError
from deblur_cli.host.recipe_values import as_values, from_values
from deblur_cli.host.recipes import Recipe
from deblur_cli.training.feeding.device_cache import Cache
from deblur_cli.training.feeding.material import Preparation


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for; saved in run.json and all that a resumed run needs.

    data : names of data sets or folders, prepared as `preparation` says
    recipe : as resolved, the user's changes included; recipe_name : where it came from
    epochs, steps, minutes : at most one of them, instead of the recipe's epochs
    dtype : of the convolutions; parameters are float32 but for "float64"
    init : weights to start from
    channels_last : the memory format; compile : whether to compile the network that is released
    deterministic : whether to refuse operations that differ from run to run
    cache : what is kept of decoded pictures, see Cache
    tensorboard : whether events for it are written
    """

    model: str
    data: tuple[str, ...]
    preparation: Preparation = field(default_factory=Preparation)
    recipe: Recipe
    recipe_name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None
    seed: int = 0
    workers: int = 0
    device: str = "auto"
    dtype: str = "auto"
    init: str | None = None
    channels_last: bool = True
    compile: bool = False
    deterministic: bool = False
    cache: str = Cache.MEMORY
    tensorboard: bool = False
    save_every_s: float = 300.0

    def as_values(self) -> dict[str, Any]:
        """As run.json holds it."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return values | {
            "data": list(self.data),
            "preparation": asdict(self.preparation),
            "recipe": as_values(self.recipe),
            "options": dict(self.options),
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any], *, run: Path) -> "Request":
        """The request that the run.json of a run holds.

        Raises UsageError where it lacks something or does not fit.
        """
        known = {item.name: values[item.name] for item in fields(cls) if item.name in values}
        try:
            request = cls(
                **known
                | {
                    "data": tuple(values["data"]),
                    "preparation": Preparation(**values["preparation"]),
                    "recipe": from_values(values["recipe"]),
                }
            )
            for part in (request, request.preparation):
                _require_types(part)
            if not (
                isinstance(values["data"], list)
                and request.data
                and all(isinstance(name, str) for name in request.data)
            ):
                raise TypeError(f"data is {values['data']!r}")
            return request
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{run}/run.json does not fit this version ({error}); begin a new run with another -o"
            ) from error


def _require_types(part: "Request | Preparation") -> None:
    """Raise TypeError where a value is of another type than its field."""
    for name, hint in get_type_hints(type(part)).items():
        value = getattr(part, name)
        kinds = [
            get_origin(kind) or kind for kind in (get_args(hint) if isinstance(hint, UnionType) else (hint,))
        ]
        if not isinstance(value, (*kinds, int) if float in kinds else tuple(kinds)):
            raise TypeError(f"{name} is {value!r}")
