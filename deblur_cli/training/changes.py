"""`--set optimizer.lr=2e-4`: single values of a recipe changed from outside."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deblur_cli.errors import UsageError
from deblur_cli.host.checks import DeclarationError, near_or_all
from deblur_cli.host.recipe_values import (
    NONE,
    Values,
    as_values,
    from_values,
    names_of,
    part_of,
    refuse_unknown,
)
from deblur_cli.host.recipes import Recipe
from deblur_cli.host.schedules import Schedule
from deblur_cli.host.strategies import Strategy


@dataclass(frozen=True, slots=True)
class Change:
    """One change. text : as typed; keys : where it leads; value : what is to be there"""

    text: str
    keys: tuple[str, ...]
    value: Any

    @classmethod
    def parse(cls, text: str) -> "Change":
        """Read "KEY.KEY=VALUE", where VALUE is TOML, or else a text as it stands.

        Raises UsageError where it is no assignment.
        """
        name, equals, value = text.partition("=")
        keys = tuple(key.strip() for key in name.split("."))
        if not equals or not all(keys) or not text.isprintable():
            raise UsageError(
                f"--set {text!a}: write it as KEY=VALUE, such as epochs=20, optimizer.lr=2e-4 or "
                "optimizer.betas=[0.9,0.99]"
            )
        return cls(text, keys, _read(value.strip()))

    @property
    def order(self) -> tuple[int, bool]:
        """What comes first: schedule=cosine before schedule.warmup_steps=50, in whatever order they were typed."""
        return len(self.keys), self.keys[-1] != "kind"

    def apply(self, values: Values) -> None:
        """Change the values of a recipe, which are complete, and the network's options under "model", in place.

        Raises UsageError where it leads nowhere.
        """
        try:
            first, *rest = self.keys
            if first == "loss":
                _put_loss(values, rest, self.value)
            elif first == "model":
                _put_option(values["model"], rest, self.value)
            else:
                _put(Recipe, values, self.keys, self.value, whole=values)
        except DeclarationError as error:
            raise UsageError(f"--set {self.text}: {str(error).removeprefix('recipe.')}") from error


def _read(text: str) -> Any:
    try:
        document = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return document["value"] if len(document) == 1 else text


def _put(
    declaration: type, table: Values, keys: Sequence[str], value: Any, *, whole: Values, where: str = ""
) -> None:
    """Set one value of a declaration's, or deeper inside of it. where : the way here; whole : all values of the recipe"""
    name, *rest = keys
    here = f"{where}.{name}" if where else name
    if declaration is Recipe and name in whole["model"] and name not in names_of(Recipe):
        raise DeclarationError(f"a recipe has no {name!r}; did you mean model.{name}?")
    if declaration is not dict:
        refuse_unknown(declaration, name, where=where)
    if not rest:
        if name == "kind" and issubclass(declaration, Schedule | Strategy) and value != table.get("kind"):
            table.clear()  # what else is there belongs to the former kind
        table[name] = value
        return
    inside = table.get(name, NONE)
    part = None if declaration is dict else part_of(declaration, name, inside)
    if part is None:
        raise DeclarationError(f"{here} is a single value and has no {rest[0]!r}; set {here} itself")
    if inside == NONE:  # a part that is absent comes to be
        inside = table[name] = _fresh(here, whole)
    elif isinstance(inside, str) and issubclass(part, Schedule | Strategy):  # a kind alone
        inside = table[name] = {"kind": inside}
    if not isinstance(inside, dict):
        raise DeclarationError(f"{here} is {inside!r} and has no {rest[0]!r}")
    _put(part, inside, rest, value, whole=whole, where=here)


def _fresh(where: str, whole: Values) -> Values:
    """What an absent part begins with: the optimiser of a critic is, where nothing is said, the network's."""
    return dict(whole["optimizer"]) if where == "strategy.optimizer" else {}


def _put_loss(values: Values, keys: Sequence[str], value: Any) -> None:
    """loss=mse replaces the loss; loss.mae=0.5 adds mae to it or weighs it anew; loss.mae=none takes it out."""
    if not keys:
        values["loss"] = as_values(from_values({"loss": value}))["loss"]
        return
    terms = values["loss"]
    name, *rest = keys
    if not rest and value == NONE:
        if name not in terms:
            raise DeclarationError(f"loss has no {name!r}{near_or_all(name, terms)}")
        del terms[name]
    elif not rest and isinstance(value, dict):
        terms[name] = value
    elif len(rest) > 1:
        raise DeclarationError(f"loss.{name}.{rest[0]} is a single value and has no {rest[1]!r}")
    else:
        terms.setdefault(name, {})[rest[0] if rest else "weight"] = value


def _put_option(options: Values, keys: Sequence[str], value: Any) -> None:
    if len(keys) != 1:
        known = ", ".join(f"model.{name}" for name in options) or "none"
        raise DeclarationError(
            f"the options of the network are {known}; the network itself is chosen with --model"
        )
    options[keys[0]] = value
