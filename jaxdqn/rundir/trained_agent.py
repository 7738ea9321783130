"""A trained agent, read from its run's folder."""

import dataclasses
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdqn import errors
from jaxdqn.assembly import env_spec, parts
from jaxdqn.checkpointing import checkpoint_folders, checkpoint_params
from jaxdqn.envs import api, registry
from jaxdqn.rundir import layout, metrics
from jaxdqn.settings import config as config_lib


class SavedAgent(NamedTuple):
    """The parameters of one checkpoint, and their run."""

    path: pathlib.Path
    config: config_lib.Config
    spec: api.EnvSpec
    step: int
    params: Any  # of the network
    evaluation: metrics.Row | None  # what the run itself scored at this step, if that is finite


def load(path: pathlib.Path, checkpoint: str) -> SavedAgent:
    """Reads a run's parameters. It writes nothing and executes nothing from the files.

    The run may be under way: if it deletes the checkpoint meanwhile, a newer one is read.

    Args:
      path: the run directory.
      checkpoint: 'latest', 'best' by the run's own evaluations, or a step.

    Raises:
      SettingError: there is no such run or no such checkpoint.
      RunError: it cannot be read.
    """
    config = read_config(path)
    spec = env_spec.describe(config)
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        parts.params_like(config, spec),
    )
    while True:
        step, evaluation = _choose(path, checkpoint)
        try:
            params = checkpoint_params.restore(path / layout.CHECKPOINTS, step, like)
        except errors.RunError:
            if step in checkpoint_folders.steps_in(path / layout.CHECKPOINTS):
                raise
        else:
            return SavedAgent(path, config, spec, step, params, evaluation)


def untrained(path: pathlib.Path) -> SavedAgent:
    """A run's agent before its first step, for random play; needs no checkpoint.

    Raises:
      SettingError: there is no such run.
      RunError: it cannot be read.
    """
    config = read_config(path)
    spec = env_spec.describe(config)
    shapes = parts.params_like(config, spec)
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return SavedAgent(path, config, spec, step=0, params=params, evaluation=None)


def elsewhere(agent: SavedAgent, env: str) -> SavedAgent:
    """The same agent in another environment, such as another source's of the same game.

    Args:
      agent: keeps the options of its environment.
      env: as a user typed it.

    Raises:
      SettingError: there is no such environment, it does not have these options, or its frames or
        actions are not those of the agent.
    """
    try:
        config = dataclasses.replace(agent.config, env=registry.resolve(env))
    except api.UnknownGameError as error:
        raise errors.SettingError("env", str(error)) from None
    spec = env_spec.describe(config)
    if not _alike(spec, agent.spec):
        raise errors.SettingError(
            "env", f"{_taken(spec)} in {spec.env_id}; the agent knows {_taken(agent.spec)}"
        )
    return agent._replace(config=config, spec=spec)


def _alike(one: api.EnvSpec, other: api.EnvSpec) -> bool:
    """Whether a network of one environment sees and does the same in the other."""
    if (one.frame_shape, one.frame_dtype) != (other.frame_shape, other.frame_dtype):
        return False
    if one.action_names and other.action_names:  # where one lacks them, only numbers are known
        return one.action_names == other.action_names
    return one.num_actions == other.num_actions


def _taken(spec: api.EnvSpec) -> str:
    """What a network sees and does, for a message."""
    shape = "x".join(map(str, spec.frame_shape))
    return f"frames of {shape} {spec.frame_dtype} and actions {', '.join(spec.actions)}"


def read_config(path: pathlib.Path) -> config_lib.Config:
    """The settings of the run in a folder.

    Raises:
      SettingError: there is no run.
      RunError: this version cannot read its settings.
    """
    stored = layout.read_settings(path)
    if stored is None:
        raise errors.SettingError("run_dir", f"{path} holds no run")
    try:
        return config_lib.from_stored(stored)
    except ValueError as error:
        raise errors.RunError(
            f"{path / layout.CONFIG_FILE} cannot be used by this version: {error}"
        ) from None


def _choose(path: pathlib.Path, checkpoint: str) -> tuple[int, metrics.Row | None]:
    """The step of the requested checkpoint, and the run's own evaluation of it.

    Raises:
      SettingError: there is none.
      RunError: it cannot be read.
    """
    steps = checkpoint_folders.steps_in(path / layout.CHECKPOINTS)
    if not steps:
        raise errors.SettingError("run_dir", f"{path} has no checkpoint yet")
    evaluations = metrics.scored(metrics.read(path / metrics.FILE))
    scored = {row["step"]: row for row in evaluations if row["step"] in steps}
    if checkpoint == "latest":
        step = steps[-1]
    elif checkpoint == "best":
        best = metrics.best(list(scored.values()))
        if best is None:
            raise errors.SettingError(
                "checkpoint", f"{path} has no checkpoint that was evaluated; use latest or a step"
            )
        step = best["step"]
    else:
        saved = ", ".join(map(str, steps))
        if not checkpoint.isdecimal():
            raise errors.SettingError(
                "checkpoint",
                f"is {checkpoint!r}; must be latest, best or one of these steps: {saved}",
            )
        if int(checkpoint) not in steps:
            raise errors.SettingError("checkpoint", f"is {checkpoint}; {path} has {saved}")
        step = int(checkpoint)
    return step, scored.get(step)
