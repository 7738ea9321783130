"""What a setting says about itself, as the metadata of a dataclass field."""

import dataclasses
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxdqn.settings import ranges


class Condition(NamedTuple):
    """A setting is read only where another one has some value."""

    cause: str  # the other setting
    holds: Callable[[Any], bool]  # of its value


class Setting(NamedTuple):
    """All that is known of a setting besides its name, its type and its default."""

    help: str
    allowed: ranges.Range | None  # of a list, each part is in the range; None always may stand
    read_if: tuple[Condition, ...]  # all must hold; who sets it in another case is refused
    may_change: bool  # when a run is resumed: it changes no number that was finite
    splits_groups: bool  # runs that differ in it are two groups of a report
    on_card: bool  # model cards show it
    gives_meaning: bool  # to parameters: those of another value mean something else
    paper: str  # that what it switches on comes from; '' if it needs none
    is_env_option: bool  # environments are made with it; None leaves it to the environment


def setting(
    default: Any,
    help_text: str,
    allowed: ranges.Range | None = None,
    *,
    read_if: Condition | Sequence[Condition] = (),
    may_change: bool = False,
    splits_groups: bool = True,
    on_card: bool = False,
    gives_meaning: bool = False,
    paper: str = "",
    is_env_option: bool = False,
) -> Any:
    """A field of a settings dataclass; the arguments are those of `Setting`."""
    described = Setting(
        help=help_text,
        allowed=allowed,
        read_if=(read_if,) if isinstance(read_if, Condition) else tuple(read_if),
        may_change=may_change,
        splits_groups=splits_groups,
        on_card=on_card,
        gives_meaning=gives_meaning,
        paper=paper,
        is_env_option=is_env_option,
    )
    return dataclasses.field(default=default, metadata={"setting": described})


def described(settings: Any) -> dict[str, Setting]:
    """What each field of a settings dataclass, or of an instance, says about itself."""
    return {field.name: field.metadata["setting"] for field in dataclasses.fields(settings)}


def as_typed(value: Any) -> str:
    """A setting's value as a user types it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def kind_of(hint: Any) -> Any:
    """The type of a field's values by its hint, without None and without what a tuple holds."""
    if isinstance(hint, types.UnionType):
        hint = next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    return typing.get_origin(hint) or hint


def fits(value: Any, hint: Any) -> bool:
    """Whether a value read from JSON is of the kind that a field holds.

    Args:
      value: a list must have become a tuple.
      hint: the field's type.
    """
    if isinstance(hint, types.UnionType):
        return any(fits(value, choice) for choice in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        (item,) = {*typing.get_args(hint)} - {...}
        return isinstance(value, tuple) and all(fits(part, item) for part in value)
    if isinstance(value, bool):  # which is an int to Python
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)
