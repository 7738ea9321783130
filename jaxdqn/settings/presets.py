"""Named settings. Each says what it should produce, or that it has not been run yet."""

import dataclasses
import textwrap
from collections.abc import Collection, Mapping
from typing import Any

from jaxdqn import errors
from jaxdqn.envs import api, registry
from jaxdqn.settings import atari, general, published, registries, tutorials
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import registry as registry_lib

_PUBLISHED = (
    "Published agents; unlike in some of their references, returns end at lost lives, FIRE is "
    "pressed at the start, and kernels are initialized with lecun_normal. NAME_sticky plays as in "
    "Dopamine: sticky actions (Machado et al., 2018), at most one no-op, no FIRE, and returns that "
    "do not end at lost lives"
)
_WIDTH = 94  # of the listing

PRESETS: Mapping[str, general.Preset] = {
    **general.GENERAL,
    **{
        name: general.Preset({**atari.ATARI, **agent.settings}, agent.expected, group=_PUBLISHED)
        for name, agent in published.AGENTS.items()
    },
    **{
        f"{name}_sticky": general.Preset(
            {**atari.ATARI, **agent.settings, **published.STICKY},
            f"{name} that plays as in Dopamine; not yet run",
            group="",
        )
        for name, agent in published.AGENTS.items()
    },
    **{
        name: general.Preset(
            {
                **(general.GENERAL[tutorial.base].settings if tutorial.base else {}),
                **tutorial.settings,
            },
            tutorial.expected,
            tutorial.env,
            "Published tutorials",
        )
        for name, tutorial in tutorials.TUTORIALS.items()
    },
}


def groups() -> dict[str, dict[str, general.Preset]]:
    """The presets that are listed, by group and name."""
    found: dict[str, dict[str, general.Preset]] = {}
    for name, preset in PRESETS.items():
        if preset.group:
            found.setdefault(preset.group, {})[name] = preset
    return found


def listing() -> str:
    """Every preset with its game and what it should produce, in groups, as text."""
    lines: list[str] = []
    indent = 6 * " "
    for group, members in groups().items():
        lines += [""] if lines else []
        lines += textwrap.wrap(group, _WIDTH)
        for name, preset in members.items():
            lines.append(f"  {name} ({preset.games})")
            lines += textwrap.wrap(
                preset.expected, _WIDTH, initial_indent=indent, subsequent_indent=indent
            )
    return "\n".join(lines)


def _algorithm_of(merged: Mapping[str, Any]) -> registry_lib.Entry:
    name = merged.get("algorithm", config_lib.Config.algorithm)
    default = registries.ALGORITHMS[config_lib.Config.algorithm]
    return registries.ALGORITHMS.get(name, default)  # a wrong one is refused later


def _rollout_rows(merged: Mapping[str, Any]) -> int:
    """Rows of each environment that a rollout needs, with the stacks of its first steps."""
    return sum(
        merged.get(name, getattr(config_lib.Config, name))
        for name in ("frame_stack", "rollout_steps")
    )


def default_for(game: api.GameInfo) -> str:
    """The preset of a game if the user names none."""
    return game.preset or ("laptop" if game.family == api.ATARI else "classic")


def reason(config: config_lib.Config) -> str:
    """Why a run has its preset: 'default for Atari games'; '' if the user named another."""
    game = registry.game(config.env)
    if config.preset != default_for(game):
        return ""
    if game.preset:
        return f"default for {game.plain_name}"
    return "default for Atari games" if game.family == api.ATARI else "default for other games"


def advice(config: config_lib.Config, on_cpu: bool) -> str:
    """Which preset suits the hardware better: 'atari_fast is for accelerators'; '' for none."""
    preset = PRESETS[config.preset]
    return preset.on_cpu if on_cpu else preset.on_accelerator


def resolve(
    env: str, preset: str, changes: Mapping[str, Any], optional: Collection[str] = ()
) -> config_lib.Config:
    """The settings of a run: defaults, then the preset, then what the user set.

    Args:
      env: a plain name or a full id, or '' for the game of the preset.
      preset: a name in `PRESETS`, or '' for the game's own.
      changes: settings by name, as the user gave them.
      optional: names of changes that may be without effect.

    Raises:
      SettingError: no game, an unknown game or preset, invalid settings, or some without effect.
    """
    if preset and preset not in PRESETS:
        raise errors.SettingError(
            "preset", f"is {preset!r}; must be one of {', '.join(sorted(PRESETS))}"
        )
    env = env or (PRESETS[preset].env if preset else "")
    if not env:
        raise errors.SettingError("env", "name a game, such as --env=Breakout")
    try:
        env_id = registry.resolve(env)
    except api.UnknownGameError as error:
        raise errors.SettingError("env", str(error)) from None
    preset = preset or default_for(registry.game(env_id))
    merged = {**PRESETS[preset].settings, **changes, "env": env_id, "preset": preset}
    num_envs = merged.get("num_envs", config_lib.Config.num_envs)
    if "replay_capacity" not in changes and "rollouts" in _algorithm_of(merged).reads:
        merged["replay_capacity"] = num_envs * _rollout_rows(merged)
    elif "replay_capacity" not in changes and "replay_capacity" in merged and num_envs > 0:
        # The preset's capacity adapts to the user's number of environments.
        merged["replay_capacity"] -= merged["replay_capacity"] % num_envs
    config = dataclasses.replace(config_lib.Config(), **merged)
    for name in changes:  # who sets one that is not read expects what will not happen
        if name not in optional and (cause := config.why_unread(name)):
            raise errors.SettingError(name, f"has no effect with {cause}")
    return config
