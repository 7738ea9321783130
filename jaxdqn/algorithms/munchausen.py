"""Munchausen DQN: Q-learning towards a soft target, with a bonus for probable actions."""

from jaxdqn.agent import learner as learner_lib
from jaxdqn.agent import munchausen
from jaxdqn.algorithms import q_learners, replayed
from jaxdqn.assembly import parts
from jaxdqn.envs import api as envs
from jaxdqn.settings import config as config_lib


def make_learner(
    config: config_lib.Config, spec: envs.EnvSpec, axis_name: str | None
) -> learner_lib.Learner:
    """The update step of a run."""
    bootstrap = munchausen.soft(
        parts.make_network(config, spec),
        parts.make_head(config),
        temperature=config.policy_temperature,
        bonus_factor=config.bonus_factor,
        bonus_min=config.bonus_min,
    )
    return q_learners.make_learner(config, spec, axis_name, bootstrap)


ALGORITHM = replayed.algorithm(make_learner)
