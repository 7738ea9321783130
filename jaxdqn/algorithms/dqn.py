"""Double DQN: Q-learning from the replay towards a target network (Mnih et al., 2015)."""

from jaxdqn.agent import networks, q_learning
from jaxdqn.agent.heads import api as heads
from jaxdqn.algorithms import learners, replayed
from jaxdqn.settings import config as config_lib


def make_bootstrap(
    config: config_lib.Config, network: networks.Network, head: heads.Head
) -> q_learning.Bootstrap:
    """What follows transitions: the return of the best action."""
    return q_learning.greedy(network, head, double_q=config.double_q)


make_learner = learners.with_target(make_bootstrap)
ALGORITHM = replayed.algorithm(make_learner)
