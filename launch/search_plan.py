"""What a search looks for: a game, seeds, the settings that may vary, and how they are scored."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxdqn import errors
from jaxdqn.cli import setting_flags
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import presets, setting
from launch import search_space


class Plan(NamedTuple):
    """What is searched."""

    runs_dir: pathlib.Path
    env: str
    seeds: Sequence[int]
    train_flags: Sequence[str]  # of all runs
    space: search_space.Space
    score: str  # 'last' evaluation or 'mean' of all

    @property
    def asked(self) -> list[str]:
        """What makes the scores of two searches comparable."""
        given = setting_flags.parse(self.train_flags)
        settings = [f"{name}={setting.as_typed(x)}" for name, x in sorted(given.items())]
        space = search_space.words(self.space)
        return [self.env, str(list(self.seeds)), *settings, *space, self.score]

    def resolved(self, params: Mapping[str, Any]) -> config_lib.Config | None:
        """The settings of a trial's runs; None if they do not fit each other: its runs say so.

        Args:
          params: what the trial chose, of which some may have no effect with the rest.
        """
        typed = [f"--{each}" for each in search_space.typed(params)]
        try:
            given = setting_flags.parse([*self.train_flags, *typed])
            preset = given.pop("preset", "")
            return presets.resolve(self.env, preset, given, optional=params)
        except errors.SettingError:
            return None

    def read(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What a trial sets, by name, without what has no effect with the rest."""
        config = self.resolved(params)
        return {
            name: value
            for name, value in params.items()
            if not (config and config.why_unread(name))
        }

    def settings(self, params: Mapping[str, Any]) -> list[str]:
        """The same as a user types it."""
        return search_space.typed(self.read(params))
