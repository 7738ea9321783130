"""The update step of algorithms that learn towards a target network; they differ in the target."""

from jaxdqn.agent import learner as learner_lib
from jaxdqn.agent import q_learning
from jaxdqn.assembly import parts
from jaxdqn.envs import api as envs
from jaxdqn.settings import config as config_lib


def make_learner(
    config: config_lib.Config,
    spec: envs.EnvSpec,
    axis_name: str | None,
    bootstrap: q_learning.Bootstrap,
) -> learner_lib.Learner:
    """The update step of a run.

    Args:
      config: of the run.
      spec: of its environments.
      axis_name: mesh axis of the batch; None for one device.
      bootstrap: what follows transitions.
    """
    network, head = parts.make_network(config, spec), parts.make_head(config)
    return learner_lib.make_learner(
        network.init,
        learner_lib.UpdateRule(
            q_learning.make_loss(network, head, bootstrap),
            parts.make_optimizer(config),
            has_target=True,
            target_tau=config.target_tau,
            target_period_updates=config.target_period_updates,
            stop_when_refused=config.on_nonfinite == "stop",
            axis_name=axis_name,
        ),
    )
