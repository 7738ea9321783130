"""Double DQN: Q-learning from the replay towards a target network (Mnih et al., 2015)."""

from jaxdqn.agent import learner as learner_lib
from jaxdqn.agent import q_learning
from jaxdqn.algorithms import q_learners, replayed
from jaxdqn.assembly import parts
from jaxdqn.envs import api as envs
from jaxdqn.settings import config as config_lib


def make_learner(
    config: config_lib.Config, spec: envs.EnvSpec, axis_name: str | None
) -> learner_lib.Learner:
    """The update step of a run."""
    network, head = parts.make_network(config, spec), parts.make_head(config)
    bootstrap = q_learning.greedy(network, head, double_q=config.double_q)
    return q_learners.make_learner(config, spec, axis_name, bootstrap)


ALGORITHM = replayed.algorithm(make_learner)
