"""Update steps of algorithms, towards a target network or towards known returns."""

from collections.abc import Callable

from jaxdqn.agent import learner as learner_lib
from jaxdqn.agent import networks, q_learning
from jaxdqn.agent.heads import api as heads
from jaxdqn.assembly import parts
from jaxdqn.envs import api as envs
from jaxdqn.settings import config as config_lib

# (config, spec, mesh axis of the batch or None for one device) -> the update step of a run
MakeLearner = Callable[[config_lib.Config, envs.EnvSpec, str | None], learner_lib.Learner]
MakeBootstrap = Callable[[config_lib.Config, networks.Network, heads.Head], q_learning.Bootstrap]


def with_target(make_bootstrap: MakeBootstrap) -> MakeLearner:
    """Update steps towards a target network.

    Args:
      make_bootstrap: makes what follows transitions.
    """

    def make_learner(
        config: config_lib.Config, spec: envs.EnvSpec, axis_name: str | None
    ) -> learner_lib.Learner:
        network, head = parts.make_network(config, spec), parts.make_head(config)
        return learner_lib.make_learner(
            network.init,
            learner_lib.UpdateRule(
                q_learning.make_loss(network, head, make_bootstrap(config, network, head)),
                parts.make_optimizer(config),
                has_target=True,
                target_tau=config.target_tau,
                target_period_updates=config.target_period_updates,
                stop_when_refused=config.on_nonfinite == "stop",
                axis_name=axis_name,
            ),
        )

    return make_learner


def without_target(
    config: config_lib.Config,
    network: networks.Network,
    axis_name: str | None,
    loss: learner_lib.LossFn,
) -> learner_lib.Learner:
    """An update step without a target network. It takes the learning rate with each call.

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
