"""Runs that were made before, as curves of their presets."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks import score_curves, timed_runs
from jaxdqn import errors
from jaxdqn.cli import paths
from jaxdqn.envs import api, registry
from jaxdqn.reporting import found_runs
from jaxdqn.rundir import known_curves
from jaxdqn.settings import config as config_lib


class Earlier(NamedTuple):
    """A run that a benchmark did not make."""

    path: pathlib.Path
    game: str
    variant: timed_runs.Variant
    seed: int

    def curve(self, rate: timed_runs.Rate | None) -> score_curves.Curve:
        """Its own evaluations."""
        return score_curves.read(self.path, rate, is_from_elsewhere=True)


def read(folders: Sequence[str] | None) -> list[Earlier]:
    """Reads runs.

    Args:
      folders: of the runs; None: there are none.

    Raises:
      SettingError: one of them has no evaluations or other settings than its preset, or is a
        second run of the same seed.
    """
    found: list[Earlier] = []
    for name in folders or ():
        one = _read(paths.usable("runs", name))
        if any(one[1:] == other[1:] for other in found):
            raise errors.SettingError("runs", f"has {name}, a second run of {one.variant.name}")
        found.append(one)
    return found


def _read(path: pathlib.Path) -> Earlier:
    run = found_runs.read(path)
    if run.problem or run.config is None:
        raise errors.SettingError("runs", f"has {path}: {run.problem}")
    if run.best_score is None or not run.last:
        raise errors.SettingError("runs", f"has {path}; must have a score of its own")
    game = _game(run.config.env)
    variant = timed_runs.Variant(run.config.preset, run.config.preset, {})
    if names := changed(timed_runs.settings(variant, game), run.config):
        raise errors.SettingError(
            "runs", f"has {path}, which changes {names}; must have the settings of {variant.preset}"
        )
    return Earlier(path, game, variant, run.config.seed)


def changed(usual: config_lib.Config, its: config_lib.Config) -> str:
    """The settings by which one run learns or is scored otherwise than another, as flags; '' for
    none."""
    one, other = (known_curves.telling_settings(config) for config in (usual, its))
    # What a run keeps changes nothing unless it is resumed.
    names = {n for n in one | other if one.get(n) != other.get(n)} - {"checkpoint_replay"}
    return ", ".join(f"--{name}" for name in sorted(names))


def _game(env_id: str) -> str:
    """What `--env` takes: the plain name, unless that is the game of another source."""
    plain = registry.game(env_id).plain_name
    try:
        return plain if registry.resolve(plain) == env_id else env_id
    except api.UnknownGameError:
        return env_id
