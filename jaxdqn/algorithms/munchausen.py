"""Munchausen DQN: Q-learning towards a soft target, with a bonus for probable actions."""

from jaxdqn.agent import munchausen, networks, q_learning
from jaxdqn.agent.heads import api as heads
from jaxdqn.algorithms import learners, replayed
from jaxdqn.settings import config as config_lib


def make_bootstrap(
    config: config_lib.Config, network: networks.Network, head: heads.Head
) -> q_learning.Bootstrap:
    """What follows transitions: returns of the target network's policy, and the bonus."""
    return munchausen.soft(
        network,
        head,
        temperature=config.policy_temperature,
        bonus_factor=config.bonus_factor,
        bonus_min=config.bonus_min,
    )


make_learner = learners.with_target(make_bootstrap)
ALGORITHM = replayed.algorithm(make_learner)
