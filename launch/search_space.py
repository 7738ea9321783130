"""The settings that a search varies: a TOML file that names them with their values.

learning_rate = { low = 1e-5, high = 1e-2, log = true }
batch_size = { low = 32, high = 256, step = 32 }
n_step = [1, 3, 5]
hidden_sizes = ["64,64", "256,256"]
"""

import pathlib
import tomllib
import typing
from collections.abc import Mapping
from typing import Any

import optuna

from jaxdqn import errors
from jaxdqn.cli import setting_flags
from jaxdqn.settings import config, setting
from launch import sweep_flags

Distribution = (
    optuna.distributions.CategoricalDistribution
    | optuna.distributions.IntDistribution
    | optuna.distributions.FloatDistribution
)
Space = dict[str, Distribution]
_RIGHT = "must be a list of values, or { low = ..., high = ... }, optionally with log or step"


def read(path: pathlib.Path) -> Space:
    """The settings of a file and what each may be.

    Raises:
      SettingError: the file cannot be read, or a setting or a value is none.
    """
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise errors.SettingError("search", f"{path} cannot be read: {error}") from None
    if not content:
        raise errors.SettingError("search", f"{path} names no settings")
    hints = typing.get_type_hints(config.Config)
    return {name: _distribution(name, told, hints) for name, told in content.items()}


def typed(params: Mapping[str, Any]) -> list[str]:
    """A trial's values as a user types them, such as 'n_step=3'."""
    return [f"{name}={setting.as_typed(value)}" for name, value in params.items()]


def words(space: Space) -> list[str]:
    """What each setting may be, such as 'n_step: 1 to 5'."""
    return [f"{name}: {_words(distribution)}" for name, distribution in sorted(space.items())]


def _words(distribution: Distribution) -> str:
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return str(list(distribution.choices))
    step = "" if distribution.step is None else f" in steps of {distribution.step}"
    log = ", log" if distribution.log else ""
    return f"{distribution.low} to {distribution.high}{step}{log}"


def start(space: Space, settings: config.Config) -> dict[str, Any]:
    """The values of some settings that lie in the space, to begin with."""
    values = {name: getattr(settings, name) for name in space}
    values = {
        name: setting.as_typed(value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }
    return {name: value for name, value in values.items() if _holds(space[name], value)}


def _distribution(name: str, told: Any, hints: Mapping[str, Any]) -> Distribution:
    """What a setting may be.

    Raises:
      SettingError: it is no setting, or what is told is no range of it.
    """
    if name not in hints or name in sweep_flags.OWN | {"preset"}:
        problem = "cannot be searched" if name in hints else "is not a setting of jaxdqn.train"
        raise errors.SettingError("search", f"{name} {problem}")
    if isinstance(told, list) and told:
        for value in told:
            _check(name, value, hints[name])
        return optuna.distributions.CategoricalDistribution(told)
    if not isinstance(told, dict) or not {"low", "high"} <= set(told) <= {
        *("low", "high", "log", "step")
    }:
        raise errors.SettingError("search", f"{name}: {_RIGHT}")
    kind = setting.kind_of(hints[name])
    if kind not in (int, float):
        raise errors.SettingError("search", f"{name}: must be a list of values")
    whole = kind is int
    for end in ("low", "high"):
        _check(name, told[end], hints[name])
    if not isinstance(told.get("log", False), bool):
        raise errors.SettingError("search", f"{name}: log must be true or false")
    if not setting.fits(told.get("step", 1), kind):
        right = "a whole number" if whole else "a number"
        raise errors.SettingError("search", f"{name}: step must be {right}")
    made = optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution
    try:
        return made(**told)
    except (ValueError, TypeError) as error:
        raise errors.SettingError("search", f"{name}: {error}") from None


def _check(name: str, value: Any, hint: Any) -> None:
    """Refuses a value that the setting cannot have.

    Raises:
      SettingError: it is one.
    """
    parsed = value
    if setting.kind_of(hint) is tuple and isinstance(value, str):
        parsed = setting_flags.parse([f"--{name}={value}"])[name]
    allowed = setting.described(config.Config)[name].allowed
    parts = parsed if isinstance(parsed, tuple) else (parsed,)
    if not setting.fits(parsed, hint):
        right = '; must be text, such as "64,64"' if setting.kind_of(hint) is tuple else ""
        raise errors.SettingError("search", f"{name} cannot be {value!r}{right}")
    if parsed is not None and allowed and not all(map(allowed.holds, parts)):
        raise errors.SettingError("search", f"{name} is {value}; must be {allowed.text}")


def _holds(distribution: Distribution, value: Any) -> bool:
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return value in distribution.choices
    low, high, step = distribution.low, distribution.high, distribution.step
    if value is None or not low <= value <= high:
        return False
    number = (value - low) / (step or 1)  # of steps, with the rounding errors of floats
    return not step or abs(number - round(number)) < 1e-8
