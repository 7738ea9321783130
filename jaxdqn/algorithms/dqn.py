"""Double DQN: Q-learning from the replay towards a target network (Mnih et al., 2015)."""

from jaxdqn.agent import learner as learner_lib
from jaxdqn.agent import q_learning
from jaxdqn.algorithms import replayed
from jaxdqn.assembly import parts
from jaxdqn.envs import api as envs
from jaxdqn.settings import config as config_lib


def make_learner(
    config: config_lib.Config, spec: envs.EnvSpec, axis_name: str | None
) -> learner_lib.Learner:
    """The update step of a run."""
    network = parts.make_network(config, spec)
    return learner_lib.make_learner(
        network.init,
        learner_lib.UpdateRule(
            q_learning.make_loss(network, parts.make_head(config), double_q=config.double_q),
            parts.make_optimizer(config),
            has_target=True,
            target_tau=config.target_tau,
            target_period_updates=config.target_period_updates,
            stop_when_refused=config.on_nonfinite == "stop",
            axis_name=axis_name,
        ),
    )


ALGORITHM = replayed.algorithm(make_learner)
