"""Options of parts: what a part declares at its registration, besides the settings of all runs.

`--part_options=width=2,kind=soft` sets two of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxdqn import errors
from jaxdqn.settings import registry, setting

Value = bool | int | float | str
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
}
_BOOLS = {"true": True, "false": False}


def values(entries: Iterable[registry.Entry], given: Sequence[str]) -> dict[str, Value]:
    """The options of parts, by name: the defaults, changed by what the user gave.

    Parts that declare an option of the same name share it.

    Args:
      entries: the parts.
      given: of `name=value`.

    Raises:
      SettingError: no part has such an option, or the value is not of its kind.
    """
    found: dict[str, Value] = {name: x for entry in entries for name, x in entry.options.items()}
    defaults: Mapping[str, Value] = dict(found)
    seen: set[str] = set()
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise _error(f"is {text!r}; must be options and their values, such as width=2")
        if name not in defaults:
            known = ", ".join(f"{n}={setting.as_typed(x)}" for n, x in defaults.items())
            raise _error(f"has {name!r}; the parts of this run have {known or 'no options'}")
        if name in seen:
            raise _error(f"has {name} twice")
        seen.add(name)
        found[name] = _parsed(name, value, type(defaults[name]))
    return found


def _parsed(name: str, text: str, kind: type[Any]) -> Value:
    try:
        value: Value = _BOOLS[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        raise _error(f"has {name}={text}; must be {_KINDS[kind]}") from None
    return value


def _error(problem: str) -> errors.SettingError:
    return errors.SettingError("part_options", problem)
