"""Update steps of algorithms, towards a target network or towards known targets."""

from jaxdqn.agent import learner as learner_lib
from jaxdqn.agent import networks, q_learning
from jaxdqn.assembly import parts
from jaxdqn.envs import api as envs
from jaxdqn.settings import config as config_lib


def make_learner(
    config: config_lib.Config,
    spec: envs.EnvSpec,
    axis_name: str | None,
    bootstrap: q_learning.Bootstrap,
) -> learner_lib.Learner:
    """Makes an update step towards a target network.

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


def make_learner_without_target(
    config: config_lib.Config,
    network: networks.Network,
    axis_name: str | None,
    loss: learner_lib.LossFn,
) -> learner_lib.Learner:
    """Makes an update step without a target network, which gets the learning rate with each step.

    Args:
      config: of the run.
      network: of the run.
      axis_name: mesh axis of the batch; None for one device.
      loss: what it lowers.
    """
    return learner_lib.make_learner(
        network.init,
        learner_lib.UpdateRule(
            loss,
            parts.make_optimizer(config, learning_rate=1.0),
            stop_when_refused=config.on_nonfinite == "stop",
            axis_name=axis_name,
        ),
    )
