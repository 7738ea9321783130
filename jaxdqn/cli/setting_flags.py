"""Every setting of a run as an absl flag."""

import dataclasses
import types
import typing
from typing import Any

from absl import flags

from jaxdqn import errors
from jaxdqn.settings import config, presets, setting

# The flags below belong to the program that defines them: its `--help` shows them.
flags.disclaim_key_flags()


def define_settings() -> None:
    """Defines one flag for each field of `Config`. Unset flags are None: the preset decides."""
    hints = typing.get_type_hints(config.Config)
    described = setting.described(config.Config)
    for field in dataclasses.fields(config.Config):
        kind, default = hints[field.name], field.default
        if isinstance(kind, types.UnionType):
            kind = next(arg for arg in typing.get_args(kind) if arg is not types.NoneType)
        text = described[field.name].help
        shown = [] if default in (None, "", ()) else [f"default: {_as_typed(default)}"]
        shown += [
            f"{name}: {_as_typed(preset.settings[field.name])}"
            for name, preset in presets.GENERAL.items()
            if preset.settings.get(field.name, default) != default
        ]
        text += f" ({'; '.join(shown)})" if shown else ""
        if kind is bool:
            flags.DEFINE_boolean(field.name, None, text)
        elif kind is int:
            flags.DEFINE_integer(field.name, None, text)
        elif kind is float:
            flags.DEFINE_float(field.name, None, text)
        elif kind is str:
            flags.DEFINE_string(field.name, None, text)
        else:
            flags.DEFINE_list(field.name, None, text)


def given_settings() -> dict[str, Any]:
    """The settings that the user gave, by name.

    Raises:
      SettingError: a list of numbers contains something else.
    """
    names = [field.name for field in dataclasses.fields(config.Config)]
    given = {name: flags.FLAGS[name].value for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if isinstance(value, list):
            try:
                given[name] = tuple(int(item) for item in value)
            except ValueError:
                raise errors.SettingError(
                    name, f"is {','.join(value)!r}; must be whole numbers separated by commas"
                ) from None
    return given


def _as_typed(value: Any) -> str:
    """A setting's value as a user types it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()
