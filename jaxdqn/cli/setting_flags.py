"""Every setting of a run as an absl flag."""

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any

from absl import flags

from jaxdqn import errors
from jaxdqn.settings import config, general, setting

# The flags below belong to the program that defines them: its `--help` shows them.
flags.disclaim_key_flags()


def define_settings(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one flag for each field of `Config`. Unset flags are None: the preset decides.

    Args:
      flag_values: get the flags; by default those of the program.
    """
    hints = typing.get_type_hints(config.Config)
    described = setting.described(config.Config)
    for field in dataclasses.fields(config.Config):
        kind, default = setting.kind_of(hints[field.name]), field.default
        text = described[field.name].help
        shown = [] if default in (None, "", ()) else [f"default: {setting.as_typed(default)}"]
        shown += [
            f"{name}: {setting.as_typed(preset.settings[field.name])}"
            for name, preset in general.GENERAL.items()
            if preset.settings.get(field.name, default) != default
        ]
        text += f" ({'; '.join(shown)})" if shown else ""
        if kind is bool:
            flags.DEFINE_boolean(field.name, None, text, flag_values=flag_values)
        elif kind is int:
            flags.DEFINE_integer(field.name, None, text, flag_values=flag_values)
        elif kind is float:
            flags.DEFINE_float(field.name, None, text, flag_values=flag_values)
        elif kind is str:
            flags.DEFINE_string(field.name, None, text, flag_values=flag_values)
        else:
            flags.DEFINE_list(field.name, None, text, flag_values=flag_values)


def given_settings(flag_values: flags.FlagValues = flags.FLAGS) -> dict[str, Any]:
    """The settings that the user gave, by name.

    Args:
      flag_values: have been parsed; by default those of the program.

    Raises:
      SettingError: a list of numbers contains something else.
    """
    hints = typing.get_type_hints(config.Config)
    given = {name: flag_values[name].value for name in setting.described(config.Config)}
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if isinstance(value, list):
            kind, _ = typing.get_args(hints[name])  # of tuple[kind, ...]
            try:
                given[name] = tuple(map(kind, value))
            except ValueError:
                raise errors.SettingError(
                    name, f"is {','.join(value)!r}; must be whole numbers separated by commas"
                ) from None
    return given


def with_files(words: Sequence[str]) -> list[str]:
    """The flags of another command line, with those of its files in their places.

    Raises:
      SettingError: a file cannot be read.
    """
    try:
        given: list[str] = flags.FlagValues().read_flags_from_files(list(words))
    except (flags.Error, UnicodeDecodeError) as error:
        raise errors.SettingError("flagfile", str(error)) from None
    return given


def parse(words: Sequence[str]) -> dict[str, Any]:
    """The settings among the flags of another command line, by name. It passes over other flags.

    Raises:
      SettingError: a value is not of its setting's kind, or a file of flags cannot be read.
    """
    flag_values = flags.FlagValues()
    define_settings(flag_values)
    try:
        flag_values(["", *with_files(words)], known_only=True)
    except flags.Error as error:  # 'flag --n_step=x: invalid literal ...'
        name, _, problem = str(error).removeprefix("flag --").partition(": ")
        raise errors.SettingError(name, problem) from None
    return given_settings(flag_values)


def is_list(name: str) -> bool:
    """Whether this is a setting whose value is a list, such as 64,64."""
    hint = typing.get_type_hints(config.Config).get(name)
    return typing.get_origin(hint) is tuple
